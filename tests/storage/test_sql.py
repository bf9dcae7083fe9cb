"""The SQLite store in use: writing, waiting, holding, and the speed that comes from looking things up."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.storage import worker
from whet.core.events import Draft, Event, Kind
from whet.errors import (
    StateError,
    StoreBusy,
    StudyBusy,
)
from whet.storage import schema
from whet.storage.sql import SqlStore
from whet.storage.sqlite import SQL
from whet.testing.store_writer import Writer, settings_of

# ---- writing


def test_only_a_durable_write_waits_for_the_disk(writer: Writer) -> None:
    """2 is FULL: an fsync at each commit. 1 is NORMAL: none, in WAL mode (https://sqlite.org/pragma.html#pragma_synchronous)."""
    connection = writer.store._database._connection  # type: ignore[attr-defined]
    for durable, level in ((True, 2), (False, 1), (False, 1), (True, 2)):
        writer.write(reserve=1, durable=durable)
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)


def test_a_write_locks_before_it_reads(writer: Writer) -> None:
    """Else another program's write in between could not be waited for: SQLite would fail at once."""
    said: list[str] = []
    writer.store._database._connection.set_trace_callback(said.append)  # type: ignore[attr-defined]
    writer.write(reserve=1)
    assert (said[0], said[-1]) == ("BEGIN IMMEDIATE", "COMMIT")


def test_what_another_program_locks_is_waited_for_and_then_said(path: Path) -> None:
    with closing(SqlStore(path, wait_s=0.2)) as store, closing(sqlite3.connect(path)) as other:
        writer = Writer(store, store.create("a", settings_of()).id)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another program keeps"):
            writer.write(reserve=1)
        assert store.load(writer.study).n_numbers == 0
        other.rollback()
        assert writer.write(reserve=1) == [0]


def test_a_stopped_writer_is_waited_for_and_then_said(path: Path) -> None:
    with closing(SqlStore(path, wait_s=0.2)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        with (path.parent / "whet.db.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for _ in range(2):
                with pytest.raises(StoreBusy, match=r"more than 0\.2 s.*stopped or suspended"):
                    writer.write(reserve=1)
            assert store.load(writer.study).n_numbers == 0
        assert writer.write(reserve=1) == [0]
        assert writer.write(reserve=1) == [1]


def test_a_lock_that_is_freed_is_taken(path: Path) -> None:
    with closing(SqlStore(path, wait_s=30.0)) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        lock = (path.parent / "whet.db.lock").open()
        fcntl.flock(lock, fcntl.LOCK_EX)
        timer = threading.Timer(0.3, lock.close)
        timer.start()
        assert writer.write(reserve=1) == [0]
        timer.join()
        with (path.parent / "whet.db.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and given back


def test_a_link_to_the_file_is_the_same_store(writer: Writer, path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with closing(SqlStore(link)) as other, writer.store.hold(writer.study):
        with pytest.raises(StudyBusy), other.hold(writer.study):
            pass
        assert Writer(other, writer.study).write(reserve=1) == [0]
    assert sorted(entry.name for entry in link.parent.iterdir()) == ["link.db"]


def test_a_deleted_study_leaves_nothing(writer: Writer, path: Path) -> None:
    writer.complete(loss=1.0)
    writer.write(Draft(Kind.REPORTED, writer.start(), {"rows": [[1, 0.5]]}, "token 1"))
    with writer.store.hold(writer.study):
        assert path.with_name("whet.db.1.lock").exists()
    writer.store.delete(writer.study)
    with closing(sqlite3.connect(path)) as connection:
        for table in schema.metadata.tables:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert not path.with_name("whet.db.1.lock").exists()


# ---- processes


def test_a_killed_holder_leaves_no_lock_even_with_a_child_that_lives(writer: Writer, path: Path) -> None:
    with worker.start("hold", path, writer.study) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        with pytest.raises(StudyBusy, match=f"pid {process.pid} on "), writer.store.hold(writer.study):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            assert child.is_running()
            assert writer.store.studies()[0].holder is None
            with writer.store.hold(writer.study):
                assert writer.store.studies()[0].holder.startswith(f"pid {os.getpid()} ")  # type: ignore[union-attr]
        finally:
            child.kill()


def test_looking_who_holds_a_study_disturbs_nobody(writer: Writer, path: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        with closing(SqlStore(path)) as store:
            while not stop.is_set():
                store.studies()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            with writer.store.hold(writer.study):
                pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_forked_child_opens_the_store_anew(writer: Writer, path: Path) -> None:
    with worker.start("fork", path, writer.study) as process:
        said, child, parent = process.communicate()[0].splitlines()
    assert said.startswith("StoreError")
    assert "open the store again in the child" in said
    assert (child, parent) == ("[0]", "[1]")


# ---- look-ups: what is asked often never reads all trials


@pytest.mark.parametrize(
    "query", ["study_named", "progress", "events", "trial", "free", "page", "page_newest_first", "lowest", "highest"]
)
def test_frequent_questions_are_look_ups(store: SqlStore, query: str) -> None:
    names = ("study_id", "name", "number", "after", "limit")
    connection = store._database._connection
    assert connection is not None
    plan = connection.execute(f"EXPLAIN QUERY PLAN {getattr(SQL, query)}", dict.fromkeys(names, 1)).fetchall()
    steps = [step for *_, step in plan]
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step], steps


# ---- leases


def test_who_looks_at_leases_writes_nothing(writer: Writer) -> None:
    said: list[str] = []
    writer.store.lease(writer.study, "a", for_s=60.0)
    writer.store._database._connection.set_trace_callback(said.append)  # type: ignore[attr-defined]
    writer.store.lease(writer.study)
    assert said[0] == "BEGIN"
    assert not [statement for statement in said if statement.startswith(("INSERT", "DELETE", "UPDATE"))]


def test_a_lease_costs_no_fsync(writer: Writer) -> None:
    connection = writer.store._database._connection  # type: ignore[attr-defined]
    writer.store.lease(writer.study, "a", for_s=60.0)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_leases_end_when_the_host_is_started_anew(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock starts anew with it, so what it says of a time before means nothing."""
    store, study = writer.store, writer.study
    store.lease(study, "a", for_s=1000.0)
    monkeypatch.setattr("whet.storage.sqlite.boot_id", lambda: "another boot")
    assert store.lease(study) == {"a"}
    assert store.lease(study, "b", for_s=1000.0) == {"a"}
    monkeypatch.undo()
    assert store.lease(study) == {"b"}


def test_leases_do_not_heed_the_wall_clock(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    store, study = writer.store, writer.study
    store.lease(study, "a", for_s=1000.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert store.lease(study) == frozenset()


# ---- for its owner alone


@pytest.fixture
def open_to_all() -> Iterator[None]:
    """No umask that would hide what we make."""
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_to_all")
def test_what_the_store_makes_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".whet" / "whet.db"
    with closing(SqlStore(path)) as store:
        study = Writer(store, store.create("a", settings_of()).id)
        with store.hold(study.study):
            study.complete(loss=1.0)
            modes = {entry.name: _mode(entry) for entry in path.parent.iterdir()}
    names = ("whet.db", "whet.db-wal", "whet.db-shm", "whet.db.lock", f"whet.db.{study.study}.lock")
    assert modes == dict.fromkeys(names, 0o600)
    assert (_mode(path.parent), _mode(path.parent.parent)) == (0o700, 0o700)


@pytest.mark.usefixtures("open_to_all")
def test_what_is_there_already_keeps_its_mode(path: Path) -> None:
    SqlStore(path).close()
    path.chmod(0o640)
    path.parent.chmod(0o750)
    with closing(SqlStore(path)) as store:
        store.create("a", settings_of())
        assert (_mode(path), _mode(path.with_name("whet.db-wal")), _mode(path.parent)) == (0o640, 0o640, 0o750)


def test_what_is_kept_of_a_refused_append_does_not_keep_later_ones_from_writing(path: Path, writer: Writer):
    """A cursor that was not read to its end goes on reading after a rollback, as long as a traceback has it."""
    study = writer.study

    def refuse(foreign: Sequence[Event]) -> None:
        raise StateError("somebody was faster")

    number = writer.ask()
    with closing(SqlStore(path, wait_s=1.0)) as store, closing(SqlStore(path)) as other:
        with pytest.raises(StateError) as refused:
            store.append(study, [Draft(Kind.ANNOTATED, number, {"note": "a"})], after=0, check=refuse)
        other.append(study, [], reserve=3)
        assert len(store.append(study, [], reserve=1, owner="us").numbers) == 1
        assert refused.tb is not None  # with all frames that it went through
