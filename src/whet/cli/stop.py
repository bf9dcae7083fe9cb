"""``whet stop``: end a study or a trial, from any shell. ``whet delete``: remove a study and its files."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from whet.cli.artifacts import trial_folders
from whet.cli.lookup import find, find_study, folder_of, hint, opened, store_option, trial_numbered
from whet.cli.render import say
from whet.cli.standing import as_it_is, is_script, standing_of
from whet.core.events import Draft, Kind
from whet.core.protocols import Store, StudyRecord
from whet.describe import state_text, trial_name
from whet.errors import StudyBusy, UsageError, WhetError
from whet.storage.places import RUNNER_LOCK
from whet.text import counted, one_line, printable

_LOOK_S = 0.1


@click.command("stop")
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Return at once, not when it has ended.")
@store_option
def stop_command(name: str, no_wait: bool, store: str | None) -> int:
    """End the run of study NAME; `whet resume NAME` goes on with it. With NAME/3 cancel its trial 3 for good.

    Works from any shell. Running trials are asked to end, and ended after a grace period; those of a study that is
    stopped run again when it is resumed.
    """
    with opened(store) as studies:
        target = find(studies, name)
        if target.number is not None:
            _cancel(studies, target.study, target.number, is_waiting=not no_wait)
        elif target.study.holder is None:
            say(f"{one_line(target.study.name)} is not running: {standing_of(studies, target.study).counts_text}")
        else:
            _stop(studies, target.study, store, is_waiting=not no_wait)
    return 0


def _stop(store: Store, study: StudyRecord, where: str | None, *, is_waiting: bool) -> None:
    give_command(store, study, {"command": "stop"})
    if not is_waiting:
        say(f"asked {study.holder} to stop {one_line(study.name)}")
        return
    say(f"waiting for {study.holder} to end its trials; Ctrl-C stops waiting, not the stopping", err=True)
    while study.holder is not None:
        time.sleep(_LOOK_S)
        study = store.studies(study.name)[0]
    say(f"stopped {one_line(study.name)}: {standing_of(store, study).counts_text}")
    say(f"to go on: {hint('resume', study.name, where) if is_script(study) else 'start the program that ran it again'}")


def _cancel(store: Store, study: StudyRecord, number: int, *, is_waiting: bool) -> None:
    """Cancel a trial: by whoever runs the study, else here and now."""
    name = trial_name(study.name, number)
    trial = as_it_is(study, trial_numbered(store, study, number), store.lease(study.id))
    if trial.state.is_final:
        say(f"{name} has ended already: {state_text(trial)}")
        return
    was_told = False
    while True:
        study = store.studies(study.name)[0]
        if study.holder is None:
            _cancel_here(store, study, number)
        elif not was_told:
            give_command(store, study, {"command": "cancel", "trial": number})
            was_told = True
            if not is_waiting:
                say(f"asked {study.holder} to cancel {name}")
                return
        else:
            time.sleep(_LOOK_S)
        trial = trial_numbered(store, study, number)
        if trial.state.is_final:
            say(f"{name}: {state_text(trial)}")
            return


def _cancel_here(store: Store, study: StudyRecord, number: int) -> None:
    """Cancel a trial of a study that nobody runs, and see to it that nobody begins to meanwhile."""
    try:
        with store.hold(study.id):
            trial = trial_numbered(store, study, number)
            if not trial.state.is_final:
                draft = Draft(Kind.CANCELLED, number, time=time.time())
                store.append(study.id, [draft])
    except StudyBusy:
        time.sleep(_LOOK_S)  # somebody does; the caller looks again


def give_command(store: Store, study: StudyRecord, command: Mapping[str, Any]) -> None:
    """Log a command for the process that runs *study*."""
    store.append(study.id, [Draft(Kind.COMMAND, None, command, time=time.time())])


@click.command("delete")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--keep-files", is_flag=True, help="Leave the directory with logs and artifacts where it is.")
@store_option
def delete_command(name: str, yes: bool, keep_files: bool, store: str | None) -> int:
    """Remove study NAME: its record and the directory with its logs and artifacts. There is no way back."""
    with opened(store) as studies:
        study = find_study(studies, name)
        if study.holder is not None:
            first = hint("stop", study.name, store)
            raise StudyBusy(f"study {study.name!r} is running ({study.holder}), so it is not deleted; first: {first}")
        folder = folder_of(studies, study)
        is_kept = keep_files or folder.is_symlink()
        numbers = [] if is_kept else _removable(studies, study, folder)
        what = f"{one_line(study.name)} ({standing_of(studies, study).counts_text})"
        files = f" and the files of {counted(len(numbers), 'trial')} in {one_line(str(folder))}" if numbers else ""
        if not yes and not _is_sure(f"delete {what}{files}?"):
            say("nothing was deleted", err=True)
            return 1
        # The files first: if this is cut short, the study is still there to be deleted, and its name is not free.
        with studies.hold(study.id):
            for number in numbers:
                _remove(folder / str(number))
            n_others = 0 if is_kept else _remove_if_empty(folder)
        studies.delete(study.id)
    say(f"deleted {what}{files}")
    if n_others:
        say(f"{folder} holds {n_others:,} more that no trial of this study made; it was left alone", err=True)
    elif is_kept and os.path.lexists(folder):
        why = "" if keep_files else ", which is a link"
        say(f"its files were left in {folder}{why}", err=True)
    return 0


def _removable(store: Store, study: StudyRecord, folder: Path) -> list[int]:
    """Return the numbers of the study's trials that have a directory."""
    last = store.trials(study.id, limit=1, newest_first=True)
    return [number for number in trial_folders(folder) if last and number <= last[0].number]


def _remove(folder: Path) -> None:
    """Remove a trial's directory; links in it are removed, not followed."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise WhetError(
            f"{error.filename} could not be removed ({error.strerror}), so the study was not deleted; "
            "remove it by hand and delete again, or add --keep-files"
        ) from error


def _remove_if_empty(folder: Path) -> int:
    """Remove a study's directory, unless it holds something else: return how much."""
    with suppress(OSError):
        for lock in (folder / RUNNER_LOCK, *folder.glob("runner-*.lock")):  # the latter of tuned functions
            lock.unlink(missing_ok=True)
        folder.rmdir()
        return 0
    with suppress(OSError):
        return sum(1 for _ in folder.iterdir())
    return 0


def _is_sure(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"{printable(question)} There is nobody to ask here; add --yes")
    return click.confirm(printable(question), err=True)
