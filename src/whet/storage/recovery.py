"""Saves what can be read of a damaged store into a new one.

The log is read first, row by row where pages of it are lost. A trial whose events are not all there is taken from its
row among the trials instead, if that can be read; so a result is lost only where both are.
"""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from whet.core import jsontext
from whet.core.events import Draft, Event, Kind
from whet.core.problem import Problem
from whet.core.trial import ASKED_FIELDS, GIVERS, State, Trial, advance
from whet.errors import StateError, StoreDamaged, StoreFull, UsageError, WhetError
from whet.storage import rows, schema
from whet.storage.database import Database
from whet.storage.files import beside
from whet.storage.locks import WriteLock
from whet.storage.sql import SqlStore
from whet.storage.sqlite import SQL
from whet.storage.statements import Statements

_T = TypeVar("_T")
_Query = tuple[str, Mapping[str, int]]
_PAGE = 4096  # bytes; SQLite's default, which we never change
_ROWS_A_PAGE = 200  # at most: the shortest row takes more than 20 bytes
_MAX_STUDIES = 10_000
_AT_ONCE = 2000  # drafts in one append
_DECODING = (ValueError, TypeError, KeyError, AttributeError)
_HIGHEST = 2**40  # of a number, or of an event, in a database that does not say how large it is
_UNREADABLE = (sqlite3.DatabaseError, StoreDamaged, StoreFull)  # of a server that cannot read its disk, the last one
_ENDINGS = {
    State.WAITING: Kind.REQUEUED,
    State.PAUSED: Kind.PAUSED,
    State.COMPLETED: Kind.COMPLETED,
    State.STOPPED: Kind.STOPPED,
    State.FAILED: Kind.FAILED,
    State.CANCELLED: Kind.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class _Study:
    id: int
    name: str
    created_at: float | None
    settings: str  # JSON


@dataclass(frozen=True, slots=True)
class _Source:
    """What is read from, row by row where it is damaged.

    Attributes:
        sql: the statements that it understands.
        rows: runs some of them, each with its parameters, in one transaction.
        highest: no trial and no event has a higher number.
    """

    sql: Statements
    rows: Callable[[Sequence[_Query]], list[Sequence[Any]]]
    highest: int


def recover(path: Path | str, to: Path | str) -> list[str]:
    """Write what can be read of the store at *path* into a new one at *to*; *path* itself is left as it is.

    Returns:
        What was saved and what was lost, a sentence for each study.

    Raises:
        UsageError: there is no file *path*, or there is one at *to* already.
        StoreDamaged: nothing can be read at all.
        StoreError: *to* cannot be written.
    """
    path, to = Path(path), Path(to)
    if not path.is_file():
        raise UsageError(f"there is nothing to recover from: {path} is no file")
    _check_free(to)
    with tempfile.TemporaryDirectory(prefix="whet-recover-", dir=to.parent) as folder:
        copy = _copied(path, Path(folder))
        with closing(_opened(copy, Path(folder))) as connection:
            (n_pages,) = connection.execute("PRAGMA page_count").fetchone()

            def rows_of(queries: Sequence[_Query]) -> list[Sequence[Any]]:
                return [connection.execute(*query).fetchall() for query in queries]

            source = _Source(SQL, rows_of, n_pages * _ROWS_A_PAGE)
            return _recover(source, to, str(path))


def recover_from_server(database: Database, to: Path | str) -> list[str]:
    """Write what can be read of *database*, which is on a server, into a new file *to*; it is left as it is.

    See `recover`. A server that cannot be reached is no damage.
    """
    to = Path(to)
    _check_free(to)

    def rows_of(queries: Sequence[_Query]) -> list[Sequence[Any]]:
        return database.read(lambda session: [session.execute(*query).fetchall() for query in queries])

    source = _Source(database.sql, rows_of, _HIGHEST)
    return _recover(source, to, database.place)


def _check_free(to: Path) -> None:
    if os.path.lexists(to):
        raise UsageError(f"{to} exists already; give the name of a new file")


def _recover(source: _Source, to: Path, place: str) -> list[str]:
    studies = _studies(source)
    if not studies:
        raise StoreDamaged(f"no study can be read in {place}: it has none, or all of it is lost")
    with closing(SqlStore(to)) as store:
        return [_recover_study(source, store, study) for study in studies]


# ---------------------------------------------------------------------------------------------------- the damaged file
def _copied(path: Path, folder: Path) -> Path:
    """Copy the database and its log, while no process of ours writes."""
    lock = WriteLock(beside(path, ".lock"), wait_s=10.0)
    with closing(lock), lock.held() if os.access(path.parent, os.W_OK) else nullcontext():
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(beside(path, suffix), folder / f"copy{suffix}")
    return folder / "copy"


def _opened(copy: Path, folder: Path) -> sqlite3.Connection:
    """Open the copy; where its first page is lost, with the one that every new store has."""
    connection = _readable(copy)
    if connection is None:
        fresh = folder / "fresh"
        SqlStore(fresh).close()
        with closing(sqlite3.connect(fresh)) as connection_to_fresh:
            connection_to_fresh.execute("DROP TABLE lease")  # an older file has none, and nobody needs it here
        first = bytearray(fresh.read_bytes()[:_PAGE])
        first[24:28], first[92:96] = b"\0\0\0\1", b"\0\0\0\0"  # they differ: the size is taken from the file
        first[32:40] = bytes(8)  # no free pages
        with copy.open("r+b") as file:
            file.write(first)
        connection = _readable(copy)
    if connection is None:
        raise StoreDamaged("nothing can be read: the file is no store of whet, or all of it is lost")
    for statement in (statement for statements in schema.MIGRATIONS.values() for statement in statements):
        with suppress(sqlite3.DatabaseError):  # most files have it already: their version may be what is lost
            connection.execute(statement)
    return connection


def _readable(copy: Path) -> sqlite3.Connection | None:
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        names = set()
    if not {"study", "event", "trial"} <= names:
        connection.close()
        return None
    return connection


def _salvaged(
    source: _Source, query: str, decode: Callable[[Sequence[Any]], _T], low: int, high: int, **parameters: int
) -> tuple[list[_T], bool]:
    """Return the rows that *query* finds between *low* and *high*, and whether some could not be read.

    A range that cannot be read is halved until the lost rows stand alone.
    """
    try:
        (found,) = source.rows([(query, {**parameters, "low": low, "high": high})])
    except _UNREADABLE:
        if low >= high:
            return [], True
        middle = (low + high) // 2
        first, _ = _salvaged(source, query, decode, low, middle, **parameters)
        second, _ = _salvaged(source, query, decode, middle + 1, high, **parameters)
        return first + second, True
    return _decoded(found, decode)


def _decoded(found: Sequence[Any], decode: Callable[[Sequence[Any]], _T]) -> tuple[list[_T], bool]:
    """Return *found* rows decoded, and whether some could not be."""
    decoded = []
    for row in found:
        with suppress(*_DECODING):
            decoded.append(decode(row))
    return decoded, len(decoded) < len(found)


# ---------------------------------------------------------------------------------------------------- studies
def _studies(source: _Source) -> list[_Study]:
    """Return the studies that there are; one whose row is lost gets a name from its id."""
    salvaged = partial(_salvaged, source, low=1, high=_MAX_STUDIES)
    known, _ = salvaged(source.sql.study_range, lambda row: _Study(row[0], row[1], row[2], row[3]))
    begun, _ = salvaged(source.sql.begun_range, lambda row: _Study(row[0], f"recovered-{row[0]}", None, row[1]))
    return sorted({study.id: study for study in begun + known}.values(), key=lambda study: study.id)


def _recover_study(source: _Source, store: SqlStore, study: _Study) -> str:
    events, trials, is_whole = _events_and_trials(source, study.id)
    begun = next((event.payload for event in events if event.kind is Kind.CREATED), None)
    try:
        settings = begun or jsontext.loads(study.settings)
        Problem.from_json(settings["problem"])
        record = store.create(study.name, settings, created_at=study.created_at)
    except (*_DECODING, WhetError) as error:
        return f"study {study.name!r} is lost: its settings cannot be read ({error})"
    drafts, n_from_rows = _drafts(events, {trial.number: trial for trial in trials})
    seq = 1
    for start in range(0, len(drafts), _AT_ONCE):
        chunk = drafts[start : start + _AT_ONCE]
        done = store.append(record.id, chunk, after=seq, durable=start + _AT_ONCE >= len(drafts))
        seq = done.events[-1].seq
    n_saved = sum(store.summary(record.id).counts.values())
    said = f"study {study.name!r}: {n_saved} trials were saved"
    if n_from_rows:
        said += f", {n_from_rows} of them without the story of their attempts"
    return said + ("" if is_whole else "; parts of it could not be read")


def _events_and_trials(source: _Source, study: int) -> tuple[list[Event], list[Trial], bool]:
    """Return what can be read of a study, of one moment if it is whole, and whether it is."""
    queries = [source.sql.event_range, source.sql.trial_range]
    given = {"study_id": study, "low": 0, "high": source.highest}
    try:
        found = source.rows([(query, given) for query in queries])
    except _UNREADABLE:
        salvaged = partial(_salvaged, source, low=0, high=source.highest, study_id=study)
        (events, _), (trials, _) = salvaged(queries[0], rows.event_of), salvaged(queries[1], rows.trial_of)
        return events, trials, False
    (events, some_events), (trials, some_trials) = _decoded(found[0], rows.event_of), _decoded(found[1], rows.trial_of)
    return events, trials, not (some_events or some_trials)


def _drafts(events: Sequence[Event], trials: Mapping[int, Trial]) -> tuple[list[Draft], int]:
    """Return the drafts that make the study anew, and how many trials were taken from their rows.

    Commands are left out: nobody waits for their outcome any more.
    """
    kept: list[Event] = []
    folded: dict[int, Trial] = {}
    for event in events:
        if event.trial is None and event.kind in (Kind.AMENDED, Kind.ANNOTATED):
            kept.append(event)
        elif event.trial is not None:
            with suppress(StateError, AssertionError, *_DECODING):
                folded[event.trial] = advance(folded.get(event.trial), event)
                kept.append(event)
    from_rows = [trial for number, trial in sorted(trials.items()) if repr(folded.get(number)) != repr(trial)]
    replaced = {trial.number for trial in from_rows}
    drafts = [
        Draft(event.kind, event.trial, event.payload, time=event.time) for event in kept if event.trial not in replaced
    ]
    from_rows.sort(key=lambda trial: trial.ended_at or math.inf)
    for trial in from_rows:
        drafts += _life(trial)
    return drafts, len(from_rows)


def _life(trial: Trial) -> Iterator[Draft]:
    """Give drafts that lead to *trial* as it is, as if there had been one attempt."""
    number, at = trial.number, trial.asked_at
    asked = next((kind for kind, giver in GIVERS.items() if giver == trial.given), Kind.ASKED)
    if asked is Kind.ASKED:
        yield Draft(Kind.CLAIMED, number, {"owner": trial.owner}, time=at)
    if trial.config is None:
        return
    yield Draft(asked, number, {name: getattr(trial, name) for name in ASKED_FIELDS}, time=at)
    if trial.attempt:
        started = {"token": trial.token or "recovered", "owner": trial.owner}
        yield Draft(Kind.STARTED, number, started, time=trial.started_at)
    if trial.curve:
        yield Draft(Kind.REPORTED, number, {"rows": list(trial.curve.once(trial.n_earlier))}, time=trial.started_at)
    if trial.attributes or trial.note:
        yield Draft(Kind.ANNOTATED, number, {"attributes": trial.attributes, "note": trial.note}, time=at)
    kind = _ENDINGS.get(trial.state)
    if kind is not None and (trial.attempt or kind is Kind.CANCELLED or asked is Kind.ADDED):
        said: dict[str, Any] = {"values": trial.values, "cause": trial.cause, "message": trial.message}
        said |= {"exit_code": trial.exit_code, "duration_s": trial.measured_s}
        said["reason"] = trial.message  # of those that did not fail
        yield Draft(kind, number, said, time=trial.ended_at)
