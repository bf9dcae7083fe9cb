"""``whet doctor``: is the store sound, and is this a place where whet can work?"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import click

from whet._version import __version__
from whet.cli.lookup import folder_of, hint, opened, store_option
from whet.cli.render import fields, say, size
from whet.cli.standing import is_script
from whet.core.protocols import Store
from whet.core.trial import State
from whet.errors import StoreError, StudyNotFound, UsageError
from whet.storage.doctor import check, sqlite_note
from whet.storage.mounts import shared_file_system
from whet.storage.open import DEFAULT_STORE, file_of, is_server, need_driver
from whet.storage.recovery import recover, recover_from_server
from whet.storage.urls import without_password
from whet.text import counted, one_line

_SQLITE_URL = re.compile(r"sqlite(?:\+\w+)?:///", re.IGNORECASE)
_LITTLE_SPACE = 200_000_000  # bytes
_MOST_NAMED = 5
_FINDINGS = 1  # exit code
_PATIENCE_S = 10.0


@click.command("doctor")
@click.option(
    "--recover",
    "destination",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Save what can be read of a damaged store, or one on a server, in a new FILE; the store is left as it is.",
)
@store_option
def doctor_command(destination: Path | None, store: str | None) -> int:
    """Check the store and what whet needs, and say what is wrong and what to do about it.

    Exit code 0: all is well; 1: something is not. Notes are no findings. Safe while a run goes on.
    """
    where = DEFAULT_STORE if store is None else store
    if destination is not None:
        for line in _recovered(where, destination):
            say(line)
        say(f"saved in {destination}; look at it with: whet history --store {destination}")
        return 0
    facts, findings = _on_server(where) if is_server(where) else _in_file(where, must_exist=store is not None)
    for line in fields([*_here(), *facts]):
        say(line)
    notes = list(_notes(where, store)) if not findings else []
    for title, items in (("finding", findings), ("note", notes)):
        for item in items:
            say(f"\n{title}: {item}")
    say(f"\n{counted(len(findings), 'finding')}" if findings else "\nall is well")
    return _FINDINGS if findings else 0


def _recovered(store: str, destination: Path) -> list[str]:
    """Save what can be read of *store* and return what is to be said about it."""
    if not is_server(store):
        return recover(_path_of(store), destination)
    need_driver()
    from whet.storage.postgres import PostgresDatabase

    with closing(PostgresDatabase(store, must_exist=True, wait_s=_PATIENCE_S)) as database:
        return recover_from_server(database, destination)


def _on_server(url: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Return facts and findings about a store in PostgreSQL."""
    need_driver()
    import psycopg

    from whet.storage.postgres_doctor import look

    place = without_password(url)
    try:
        state = look(url)
    except StoreError as error:
        return [("psycopg", psycopg.__version__), ("store", place)], [str(error)]
    what = "not there yet" if state.format is None else f"{size(state.size_bytes)}, format {state.format}"
    leases = f"{state.n_held} held, {state.n_leases - state.n_held} run out" if state.n_leases else "none"
    return [
        ("postgresql", f"{state.version} (psycopg {psycopg.__version__})"),
        ("store", f"{place} ({what})"),
        ("connections", f"{state.n_connections} of {state.max_connections}"),
        ("leases", leases),
    ], list(state.findings)


def _in_file(store: str, *, must_exist: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """Return facts and findings about a store that is a file."""
    path = _path_of(store)
    if must_exist and not path.exists():
        raise UsageError(f"{path} does not exist")
    what = size(path.stat().st_size) if path.exists() else "not there yet"
    return [("sqlite", sqlite3.sqlite_version), ("store", f"{path} ({what})")], list(_findings(path))


def _path_of(store: str) -> Path:
    """Return the file that *store*, a path or a URL, names."""
    url = _SQLITE_URL.match(store)
    if store == ":memory:" or (url and store[url.end() :] in ("", ":memory:")):
        raise UsageError("a store in memory ends with its process; there is nothing to check")
    if url is None and "://" in store:
        file_of(store)  # says what is wrong with it
    return Path(store[url.end() :] if url else store).expanduser()


def _here() -> Iterator[tuple[str, str]]:
    yield "whet", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "system", platform.platform()


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


def _notes(where: str, store: str | None) -> Iterator[str]:
    """Yield what is good to know and harms nothing."""
    path = None if is_server(where) else _path_of(where)
    if path is not None and (note := sqlite_note()) is not None:
        yield note
    try:
        with opened(store) as studies:
            yield from _notes_on_studies(studies, path, store)
    except StudyNotFound:
        return  # there is no store yet
    except StoreError as error:
        yield str(error)


def _notes_on_studies(studies: Store, path: Path | None, store: str | None) -> Iterator[str]:
    records = studies.studies()
    known = {folder_of(studies, record) for record in records}
    for record in records:
        n_running = studies.summary(record.id).counts.get(State.RUNNING, 0)
        if n_running and record.holder is None and is_script(record):
            what = f"{one_line(record.name)} was killed with {counted(n_running, 'trial')} running"
            yield f"{what}; they run again with: {hint('resume', record.name, store)}"
        elif n_running and (lost := studies.lease(record.id)):
            n_lost = sum(trial.owner in lost for trial in studies.load(record.id).running)
            if n_lost:
                what = f"{one_line(record.name)}: {counted(n_lost, 'trial')} ran in processes that are lost"
                yield f"{what}; whoever asks next gets what they left"
    # Elsewhere than in a directory of our own, other people's directories would be named here.
    ours = None if path is None else path.resolve().parent
    if ours is not None and ours.name == Path(DEFAULT_STORE).parent.name:
        strange = sorted(entry for entry in ours.iterdir() if entry.is_dir() and _is_strange(entry, known))
        if strange:
            names = ", ".join(one_line(str(entry)) for entry in strange[:_MOST_NAMED])
            more = f" and {len(strange) - _MOST_NAMED} more" if len(strange) > _MOST_NAMED else ""
            yield f"no study is known for {names}{more}; remove what is not needed any more"


def _is_strange(entry: Path, known: Collection[Path]) -> bool:
    """Tell whether *entry* belongs to nothing: neither to a study, nor to a database on a server."""
    return entry not in known and "@" not in entry.name
