"""``whet logs``: what trials printed. ``whet artifacts``: the files that they made."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import click

from whet.cli.artifacts import Artifact, artifacts_of, copy_artifacts, trial_folders
from whet.cli.logview import GrowingLog, Printer
from whet.cli.lookup import all_trials, find, folder_of, hint, opened, store_option, trial_numbered
from whet.cli.owned import log_name
from whet.cli.render import print_table, say, size
from whet.cli.standing import as_it_is
from whet.core.protocols import Store, StudyRecord
from whet.core.trial import Trial
from whet.describe import state_text, trial_name
from whet.errors import UsageError
from whet.storage.places import place_on_server
from whet.text import counted, one_line

_LOOK_S = 0.2
_STREAMS = ("stdout", "stderr")
_WIDEST_PATH = 1000


@click.command("logs")
@click.argument("name")
@click.option("--stdout", "stream", flag_value="stdout", default=None, help="Only what it printed on standard output.")
@click.option("--stderr", "stream", flag_value="stderr", help="Only what it printed on standard error.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the trial ends.")
@click.option("--raw", is_flag=True, help="Byte for byte, standard error to standard error; else safe for a terminal.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="What attempt N printed; by default the last.")
@store_option
def logs_command(
    name: str,
    stream: str | None,
    tail: int | None,
    follow: bool,
    raw: bool,
    attempt: int | None,
    store: str | None,
) -> int:
    """Print what a trial printed, as in `whet logs NAME/3`; with NAME list the logs of all its trials."""
    with opened(store) as studies:
        target = find(studies, name)
        if target.number is None:
            if stream or raw or follow or attempt or tail is not None:
                example = one_line(f"{target.study.name}/0")
                raise UsageError(f"these options are about one trial: say which, as in {example}")
            _list_logs(studies, target.study)
            return 0
        trial = trial_numbered(studies, target.study, target.number)
        folder = folder_of(studies, target.study) / str(target.number)
        is_last = attempt is None or attempt == trial.attempt
        names = [log_name(s, None if is_last else attempt) for s in _STREAMS if stream in (None, s)]
        with ExitStack() as stack:
            logs = [stack.enter_context(closing(GrowingLog(folder / log, tail))) for log in names]
            n_filled = sum(_n_bytes(folder / log) > 0 for log in names)
            printer = Printer(names, is_raw=raw, is_headed=n_filled > 1 or (follow and len(names) > 1))
            if follow and is_last:
                _follow(studies, target.study, target.number, logs, printer)
                return 0
            has_any = _print_new(logs, printer, is_all=True)
    return (
        0 if has_any else _explain_nothing(trial, attempt, folder, names, is_shared=bool(place_on_server(studies.url)))
    )


def _print_new(logs: Sequence[GrowingLog], printer: Printer, *, is_all: bool) -> bool:
    """Print what has come, last lines without an end only if *is_all* there will be; tell whether there was any."""
    has_any = False
    for log in logs:
        for data in log.read():
            has_any = True
            printer.data(log.name, data)
        if is_all:
            printer.end(log.name)
    return has_any


def _follow(store: Store, study: StudyRecord, number: int, logs: Sequence[GrowingLog], printer: Printer) -> None:
    """Print what comes until the trial has ended, or waits while nobody is there to run it."""
    cut: set[str] = set()
    while True:
        study = store.studies(study.name)[0]
        trial = as_it_is(study, trial_numbered(store, study, number), store.lease(study.id))
        is_over = trial.state.is_final or (trial.token is None and study.holder is None)
        _print_new(logs, printer, is_all=is_over)
        for log in logs:
            if log.is_replaced and log.name not in cut:
                cut.add(log.name)
                printer.heading(f"{log.name} reached its cap; its end is in the file (--tail)")
            elif log.begin_next():
                cut.discard(log.name)
                printer.end(log.name)
                printer.heading(f"{log.name} of attempt {trial.attempt}")
                _print_new([log], printer, is_all=is_over)
        if is_over:
            return
        time.sleep(_LOOK_S)


def _explain_nothing(trial: Trial, attempt: int | None, folder: Path, names: Sequence[str], *, is_shared: bool) -> int:
    """Say why there is nothing to print, and return the exit code: 0 if the trial has been quiet.

    With *is_shared* the study is used from several machines.
    """
    is_there = any(os.path.lexists(folder / name) for name in names)
    if is_there:
        text = f"trial {trial.number} has printed nothing"
    elif not trial.attempt:
        text = f"trial {trial.number} has not been started yet ({state_text(trial)})"
    elif attempt is not None and attempt > trial.attempt:
        text = f"trial {trial.number} has had {counted(trial.attempt, 'attempt')}, so there is none numbered {attempt}"
    else:
        elsewhere = "; each machine keeps those of the trials that it ran" if is_shared else ""
        text = f"the logs of trial {trial.number} are not there: {folder}{elsewhere}"
    say(f"whet: {text}", err=True)
    return 0 if is_there else 1


def _list_logs(store: Store, study: StudyRecord) -> None:
    folder, lost = folder_of(store, study), store.lease(study.id)
    rows = []
    for trial in all_trials(store, study):
        sizes = [_shown_size(folder / str(trial.number) / log_name(stream)) for stream in _STREAMS]
        rows.append((trial_name(study.name, trial.number), state_text(as_it_is(study, trial, lost)), *sizes))
    if rows:
        print_table(("TRIAL", "STATE", "STDOUT", "STDERR"), rows)
    else:
        say(f"{one_line(study.name)} has no trials yet")


def _n_bytes(path: Path) -> int:
    """Return the size of a file, -1 if there is none."""
    try:
        return path.lstat().st_size
    except OSError:
        return -1


def _shown_size(path: Path) -> str:
    n_bytes = _n_bytes(path)
    return "-" if n_bytes < 0 else size(n_bytes)


@click.command("artifacts")
@click.argument("name")
@click.option("--copy-to", "destination", type=click.Path(path_type=Path), metavar="DIR", help="Copy them into DIR.")
@store_option
def artifacts_command(name: str, destination: Path | None, store: str | None) -> int:
    """List the files that a trial made, as in `whet artifacts NAME/3`, or with NAME those of all its trials.

    These are the files in the trial's directory, whet's own logs and readings left out. Links are not followed. Copying
    overwrites nothing; with NAME, the files of each trial go into a directory called as its number.
    """
    with opened(store) as studies:
        target = find(studies, name)
        folder = folder_of(studies, target.study)
        if target.number is None:
            numbers = trial_folders(folder)
        else:
            numbers = [trial_numbered(studies, target.study, target.number).number]
    found = {number: artifacts_of(folder / str(number)) for number in numbers}
    if not any(found.values()):
        place = folder if target.number is None else folder / str(target.number)
        say(f"whet: no files but whet's own in {place}", err=True)
        return 0
    if destination is None:
        _list_artifacts(found, folder, name if target.number is None else None, store)
        return 0
    places = {number: destination if target.number is not None else destination / str(number) for number in found}
    n_copied, n_left_out = copy_artifacts(
        [(folder / str(number), artifact, places[number]) for number, each in found.items() for artifact in each]
    )
    say(f"copied {counted(n_copied, 'file')} to {destination}")
    if n_left_out:
        say(f"left out, as they are no regular files: {n_left_out} (links are not followed)", err=True)
    return 0


def _list_artifacts(found: dict[int, list[Artifact]], folder: Path, study: str | None, store: str | None) -> None:
    rows = [
        (str(number), artifact.shown_path, size(artifact.n_bytes) if artifact.is_file else artifact.kind)
        for number, each in found.items()
        for artifact in each
    ]
    print_table(("TRIAL", "FILE", "SIZE"), rows, widest=_WIDEST_PATH)
    total = sum(artifact.n_bytes for each in found.values() for artifact in each if artifact.is_file)
    say(f"\n{counted(len(rows), 'file')}, {size(total)}, in {folder}")
    if study is not None and len(found) > 1:
        say(f"to copy them: {hint('artifacts', study, store, '--copy-to', 'DIR')}")
