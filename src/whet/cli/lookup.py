"""From what a person types after a command, ``NAME`` or ``NAME/3``, to the study and the trial that are meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from whet.cli.script import ScriptRun
from whet.cli.standing import standing_of
from whet.cli.unsound import oddity
from whet.core.jsontext import MISREAD
from whet.core.protocols import Store, StudyRecord
from whet.core.trial import Trial
from whet.errors import StoreDamaged, StudyNotFound, UsageError, WhetError
from whet.storage.open import DEFAULT_STORE, open_store
from whet.storage.places import study_dir
from whet.storage.urls import without_password
from whet.text import one_line, shell_line

_MOST_DIGITS = 18  # of a trial's number; databases count to 2^63
_PAGE = 250  # trials read at a time; each may bring a thousand reports

store_option = click.option(
    "--store",
    metavar="WHERE",
    help=f"A file or postgresql://HOST/DATABASE, where the studies are kept; by default {DEFAULT_STORE}.",
)
json_option = click.option("--json", "is_json", is_flag=True, help="Print one JSON object per line.")


@contextmanager
def opened(store: str | None) -> Iterator[Store]:
    """Open an existing store, the default one if *store* is ``None``, and close it at the end.

    Raises:
        StudyNotFound: there is no such file.
        StoreError: the file cannot be used, or holds what whet has not written.
    """
    found = open_store(DEFAULT_STORE if store is None else store, must_exist=True)
    try:
        yield found
    except WhetError:
        raise
    except MISREAD as error:
        what = oddity(found)
        if not what:
            raise
        raise StoreDamaged(
            f"the store holds something that whet has not written: {what}. Somebody has changed it; whet doctor says "
            "more, and --store names another one"
        ) from error
    finally:
        found.close()


@dataclass(frozen=True, slots=True)
class Target:
    """A study, and the number of one of its trials if one was meant."""

    study: StudyRecord
    number: int | None = None


def find(store: Store, text: str) -> Target:
    """Return what *text* means: the study of that very name, else for ``NAME/3`` trial 3 of study ``NAME``.

    Raises:
        StudyNotFound: there is no such study; the message lists the closest names.
        UsageError: there is such a study, but what follows its name is no number.
    """
    try:
        return Target(store.studies(text)[0])
    except StudyNotFound:
        name, slash, number = text.rpartition("/")
        if not slash:
            raise
        is_number = number.isascii() and number.isdigit()
        try:
            study = store.studies(name)[0]
        except StudyNotFound as nearer:
            if is_number:
                raise nearer from None
        else:
            if is_number and len(number) <= _MOST_DIGITS:
                return Target(study, int(number))
            expected = f"expected the number of a trial behind the slash, as in {one_line(name)}/0"
            raise UsageError(f"study {name!r}: {expected}; got {number!r}") from None
        raise


def find_study(store: Store, text: str) -> StudyRecord:
    """Return the study that *text* names.

    Raises:
        StudyNotFound: there is none; the message lists the closest names.
        UsageError: *text* names a trial.
    """
    target = find(store, text)
    if target.number is not None:
        raise UsageError(f"{text} is a trial; expected the name of a study, such as {target.study.name}")
    return target.study


def trial_numbered(store: Store, study: StudyRecord, number: int) -> Trial:
    """Return trial *number* of *study*.

    Raises:
        UsageError: the study has no such trial, or none yet.
    """
    found = store.trials(study.id, numbers=[number])
    if found:
        return found[0]
    n_planned = standing_of(store, study).n_planned
    if study.holder is not None and (n_planned is None or number < n_planned):
        raise UsageError(f"trial {number} of {study.name!r} has not begun yet; {study.holder} runs the study")
    last = store.trials(study.id, limit=1, newest_first=True)
    known = f"its trials go from 0 to {last[0].number}" if last else "it has no trials yet"
    raise UsageError(f"study {study.name!r} has no trial {number}; {known}")


def all_trials(store: Store, study: StudyRecord, *, after: int = -1, page: int | None = None) -> Iterator[Trial]:
    """Yield the trials of *study* beyond number *after* in order, read in pages so that any number of them is fine.

    *page* is how many will probably be used.
    """
    n = min(page or _PAGE, _PAGE)
    while True:
        found = store.trials(study.id, after=after, limit=n)
        yield from found
        if len(found) < n:
            return
        after, n = found[-1].number, _PAGE


def folder_of(store: Store, study: StudyRecord) -> Path:
    """Return the directory of *study*, in which each trial has one that is called as its number."""
    run = study.settings.get("run") or {}
    base = Path(run["cwd"]) if "cwd" in run else None
    return study_dir(store.url, study.name, base, str(run.get("on_server", "")))


def hint(command: str, name: str, store: str | None, *options: str) -> str:
    """Return a command of whet about study or trial *name*, in the same store, ready to paste but for a password."""
    where = [] if store is None else ["--store", without_password(store)]
    return shell_line(["whet", command, *where, *options, *(["--"] if name.startswith("-") else []), name])


class CommandLines:
    """The command lines of a study's trials, ready to paste.

    Attributes:
        trouble: why there are none, empty if there are or if the study runs no program.
    """

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self.trouble = ""
        self._study, self._folder = study, folder_of(store, study)
        self._run = ScriptRun.from_settings(study.settings) if study.settings.get("run") else None

    def of(self, trial: Trial) -> str | None:
        """Return the command line of *trial*, ``None`` if there is none."""
        if self._run is None or self.trouble:
            return None
        try:
            return self._run.command_line(trial, self._study.name, self._folder / str(trial.number))
        except WhetError as error:
            self.trouble = f"the command line cannot be put together again: {error}"
            return None
