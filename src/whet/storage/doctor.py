"""Is a store sound? What `whet doctor` looks at."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from whet.core import jsontext
from whet.core.columns import Finished
from whet.core.given import GivenConfig
from whet.core.history import History
from whet.core.problem import Problem
from whet.core.protocols import StudyRecord
from whet.core.trial import State
from whet.errors import StoreAway, StoreBusy, StoreError, StudyNotFound, UsageError
from whet.storage import rows
from whet.storage.batch import value_to_rank
from whet.storage.database import Database, Session
from whet.storage.files import size
from whet.storage.sql import SqlStore
from whet.storage.sqlite import SqliteFile
from whet.storage.statements import NO_LIMIT

_MAX_FINDINGS = 10  # of a kind
_EVENTS_AT_ONCE = 5000


def check(path: Path | str) -> list[str]:
    """Return what is wrong with the store at *path*, a sentence each; nothing if all is well.

    Reads everything: some 15 s for 100,000 trials. Safe while the store is in use.
    """
    path = Path(path)
    try:
        if path.is_file() and size(path) == 0:
            return []  # a store that nothing has been written to
        file = SqliteFile(path, must_exist=True, wait_s=5.0)
    except (StoreError, StudyNotFound, UsageError) as error:
        return [str(error)]
    try:
        return _check_file(file) or check_studies(file)
    except StoreError as error:
        return [str(error)]
    finally:
        file.close()


def sqlite_note() -> str | None:
    """Return what there is to know of the SQLite that this Python uses, if it is not of the newest."""
    version = sqlite3.sqlite_version_info
    if version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45):
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} can, in rare cases, damage a file when two programs write back its log at "
        "the same time (https://sqlite.org/wal.html#walresetbug, mended in 3.51.3). Processes of whet take turns and "
        "are safe; do not open the file with another program while whet is running"
    )


def differences(one: History, other: History) -> list[str]:
    """Return how two histories differ, a phrase each; nothing if they say the same."""
    found = []
    for name in ("seed", "repeats", "seq", "n_numbers", "settings", "pending_commands"):
        here, there = repr(getattr(one, name)), repr(getattr(other, name))  # as text, in which NaN equals itself
        if here != there:
            found.append(f"{name} {here} against {there}")
    for mine, yours in zip_longest(one.given.configs, other.given.configs):
        if _told(mine) != _told(yours):
            found.append(f"the config given {_told(mine)} against {_told(yours)}")
    for number in sorted(one.unfinished.keys() | other.unfinished.keys()):
        here, there = repr(one.unfinished.get(number)), repr(other.unfinished.get(number))
        if here != there:
            found.append(f"trial {number}: {here} against {there}")
    if len(one.finished) != len(other.finished):
        found.append(f"{len(one.finished)} finished trials against {len(other.finished)}")
    for mine, yours in zip(one.finished, other.finished, strict=False):
        if _told(mine) != _told(yours):
            found.append(f"finished trial {mine.number}: {_told(mine)} against {_told(yours)}")
    return found


def _told(row: Finished | GivenConfig | None) -> str:
    if row is not None and isinstance(row.config, str):
        row = replace(row, config=jsontext.loads(row.config))
    return repr(row)


def _check_file(file: SqliteFile) -> list[str]:
    with file.reading() as cursor:
        damage = [text for (text,) in cursor.execute(f"PRAGMA integrity_check({_MAX_FINDINGS})") if text != "ok"]
        orphans = cursor.execute("PRAGMA foreign_key_check").fetchall()
        (mode,) = cursor.execute("PRAGMA journal_mode").fetchone()
    findings = [f"{file.path} is damaged: {text}" for text in damage]
    if orphans:
        findings.append(f"{file.path} has {len(orphans)} rows of studies that do not exist")
    if mode != "wal" and not file.read_only:
        findings.append(f"{file.path} is not in WAL mode but in mode {mode!r}: open it once with whet")
    return findings


def check_studies(database: Database) -> list[str]:
    """Return where the studies of *database* contradict themselves, a sentence each, and close it.

    Raises:
        StoreError: it cannot be read at all, or not now.
    """
    store = SqlStore(database)
    findings = []
    for record in store.studies():
        try:
            found = _check_log(store, record.id) + _check_rows(database, record)
        except (StoreAway, StoreBusy):
            raise
        except Exception as error:  # whatever it is, it is what is wrong with this study
            found = [f"it cannot be read ({type(error).__name__}: {error})"]
        more = len(found) - _MAX_FINDINGS
        findings += [f"study {record.name!r}: {text}" for text in found[:_MAX_FINDINGS]]
        if more > 0:
            findings.append(f"study {record.name!r}: … and {more} more")
    return findings


def _check_log(store: SqlStore, study: int) -> list[str]:
    """Return how the fold of the log differs from the projection."""
    loaded = store.load(study)
    folded: History | None = None
    while folded is None or folded.seq < loaded.seq:
        after = 0 if folded is None else folded.seq
        events = store.events(study, after=after, limit=min(_EVENTS_AT_ONCE, loaded.seq - after))
        for seq in (event.seq for event in events):
            if seq != after + 1:
                break
            after = seq
        if not events or after != events[-1].seq:
            return [f"the log has a gap after event {after}"]
        folded = (folded or History.begin(events[0].payload)).extended(events)
    return [f"the log and the trials disagree: {text}" for text in differences(folded, loaded)]


def _check_rows(database: Database, record: StudyRecord) -> list[str]:
    """Return what is wrong with the figures that are kept so that nobody has to count."""
    problem = Problem.from_json(record.settings["problem"])
    of_study = {"study_id": record.id}

    def work(session: Session) -> list[str]:
        progress = rows.progress_of(session.execute(database.sql.progress, of_study).fetchone())
        values = dict(session.execute(database.sql.ranks, of_study).fetchall())
        counts = dict.fromkeys(State, 0)
        findings = []
        for row in session.execute(database.sql.page, {**of_study, "after": -1, "limit": NO_LIMIT}):
            trial = rows.trial_of(row)
            counts[trial.state] += 1
            if values[trial.number] != value_to_rank(trial, problem):
                findings.append(f"trial {trial.number} is ranked by {values[trial.number]}, not by its value")
        if counts != progress.counts:
            findings.append(f"the counts {progress.counts} are not those of the trials, {counts}")
        return findings

    return database.read(work)
