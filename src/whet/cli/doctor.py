"""``whet doctor``: is the store sound, and is this a place where whet can work?"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from whet._version import __version__
from whet.cli.lookup import folder_of, hint, opened, store_option
from whet.cli.render import fields, say, size
from whet.cli.standing import is_script
from whet.core.trial import State
from whet.errors import StoreError, UsageError
from whet.storage.doctor import check, sqlite_note
from whet.storage.mounts import shared_file_system
from whet.storage.open import DEFAULT_STORE, open_store
from whet.storage.recovery import recover
from whet.text import counted, one_line

_SQLITE_URL = re.compile(r"sqlite(?:\+\w+)?:///", re.IGNORECASE)
_LITTLE_SPACE = 200_000_000  # bytes
_MOST_NAMED = 5
_FINDINGS = 1  # exit code


@click.command("doctor")
@click.option(
    "--recover",
    "destination",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Save what can be read of a damaged store into a new FILE; the damaged one is left as it is.",
)
@store_option
def doctor_command(destination: Path | None, store: str | None) -> int:
    """Check the store and what whet needs, and say what is wrong and what to do about it.

    Exit code 0: all is well; 1: something is not. Notes are no findings. Safe while a run goes on.
    """
    path = _path_of(DEFAULT_STORE if store is None else store)
    if destination is not None:
        for line in recover(path, destination):
            say(line)
        say(f"saved in {destination}; look at it with: whet history --store {destination}")
        return 0
    if store is not None and not path.exists():
        raise UsageError(f"{path} does not exist")
    for line in fields(_facts(path)):
        say(line)
    findings = list(_findings(path))
    notes = list(_notes(path, store)) if not findings else []
    for title, items in (("finding", findings), ("note", notes)):
        for item in items:
            say(f"\n{title}: {item}")
    say(f"\n{counted(len(findings), 'finding')}" if findings else "\nall is well")
    return _FINDINGS if findings else 0


def _path_of(store: str) -> Path:
    """Return the file that *store*, a path or a URL, names."""
    url = _SQLITE_URL.match(store)
    if store == ":memory:" or (url and store[url.end() :] in ("", ":memory:")):
        raise UsageError("a store in memory ends with its process; there is nothing to check")
    if url is None and "://" in store:
        open_store(store).close()  # says what is wrong with it
    return Path(store[url.end() :] if url else store).expanduser()


def _facts(path: Path) -> Iterator[tuple[str, str]]:
    yield "whet", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "sqlite", sqlite3.sqlite_version
    yield "system", platform.platform()
    yield "store", f"{path} ({size(path.stat().st_size)})" if path.exists() else f"{path} (not there yet)"


def _findings(path: Path) -> Iterator[str]:
    """Yield what is wrong, each with what to do about it."""
    if path.exists():
        yield from check(path)
    folder = _nearest(path.parent)
    kind = None if path.exists() else shared_file_system(folder)  # `check` has told of an existing one
    if kind is not None:
        yield f"{folder} is on a network file system ({kind}), where no store is safe; choose a local disk with --store"
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        what = path if path.exists() and os.access(folder, os.W_OK) else folder
        yield f"{what} cannot be written to, so nothing can be run; change its permissions, or choose another --store"
    n_free = shutil.disk_usage(folder).free
    if n_free < _LITTLE_SPACE:
        yield f"only {size(n_free)} are free on the disk of {folder}; make room before the next run"


def _nearest(folder: Path) -> Path:
    """Return *folder*, or the nearest directory above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


def _notes(path: Path, store: str | None) -> Iterator[str]:
    """Yield what is good to know and harms nothing."""
    note = sqlite_note()
    if note is not None:
        yield note
    if not path.exists():
        return
    try:
        yield from _notes_on_studies(path, store)
    except StoreError as error:
        yield str(error)


def _notes_on_studies(path: Path, store: str | None) -> Iterator[str]:
    with opened(store) as studies:
        records = studies.studies()
        known = {folder_of(studies, record) for record in records}
        for record in records:
            n_running = studies.summary(record.id).counts.get(State.RUNNING, 0)
            if n_running and record.holder is None and is_script(record):
                what = f"{one_line(record.name)} was killed with {counted(n_running, 'trial')} running"
                yield f"{what}; they run again with: {hint('resume', record.name, store)}"
    # Elsewhere than in a directory of our own, other people's directories would be named here.
    ours = path.resolve().parent
    if ours.name == Path(DEFAULT_STORE).parent.name:
        strange = sorted(entry for entry in ours.iterdir() if entry.is_dir() and entry not in known)
        if strange:
            names = ", ".join(one_line(str(entry)) for entry in strange[:_MOST_NAMED])
            more = f" and {len(strange) - _MOST_NAMED} more" if len(strange) > _MOST_NAMED else ""
            yield f"no study is known for {names}{more}; remove what is not needed any more"
