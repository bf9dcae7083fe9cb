"""Files of older formats: opened, brought up to date after a copy, recovered (F24). Each format has its file here."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from whet.core.trial import Cause, State
from whet.errors import StoreFull
from whet.storage import schema
from whet.storage.doctor import check
from whet.storage.recovery import recover
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer

_DATA = Path(__file__).parent / "data"
_OLDER = range(1, schema.SCHEMA_VERSION)
_TABLES = list(schema.metadata.tables)


@pytest.fixture(params=_OLDER)
def version(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


@pytest.fixture
def path(version: int, tmp_path: Path) -> Path:
    path = tmp_path / "whet.db"
    shutil.copyfile(_DATA / f"format-{version}.db", path)
    assert _version(path) == version
    return path


def _version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _see_that_all_is_there(store: SqlStore) -> None:
    first, second = store.studies()
    assert (first.name, second.name, first.settings["n_trials"]) == ("first", "second", 9)
    trials = store.trials(first.id)
    assert [trial.state for trial in trials] == [
        *[State.COMPLETED, State.COMPLETED, State.RUNNING, State.FAILED, State.WAITING]
    ]
    assert [trial.values for trial in trials[:2]] == [{"loss": 0.5}, {"loss": 0.25}]
    assert (list(trials[2].curve), trials[2].why, trials[3].cause) == ([(1.0, 0.5)], {"how": "x"}, Cause.ERROR)
    assert {(trial.given, trial.note) for trial in trials} == {(None, "")}
    history = store.load(first.id)
    assert (history.best(), history.n_numbers, history.given.configs) == (1, 6, ())


def test_an_older_file_is_brought_up_to_date_after_a_copy(path: Path, version: int) -> None:
    with closing(SqlStore(path)) as store:
        _see_that_all_is_there(store)
        writer = Writer(store, 1)
        writer.complete(loss=0.125)
        assert writer.history.best() == 6
    assert _version(path) == schema.SCHEMA_VERSION
    assert check(path) == []
    copy = path.with_name(f"whet.db.format-{version}")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["whet.db", copy.name, "whet.db.lock"]
    assert _version(copy) == version
    copy.rename(path)
    with closing(sqlite3.connect(path)) as one:
        one.execute("ATTACH ? AS two", (str(_DATA / f"format-{version}.db"),))
        for table in ("study", "event", "trial", "curve"):
            assert one.execute(f"SELECT * FROM main.{table} EXCEPT SELECT * FROM two.{table}").fetchall() == []
            n_rows = [one.execute(f"SELECT count(*) FROM {name}.{table}").fetchone() for name in ("main", "two")]
            assert n_rows[0] == n_rows[1]


def test_an_older_file_has_the_tables_of_a_new_one_in_the_end(path: Path, tmp_path: Path) -> None:
    SqlStore(path).close()
    SqlStore(tmp_path / "new.db").close()
    columns = []
    for file in (path, tmp_path / "new.db"):
        with closing(sqlite3.connect(file)) as connection:
            found = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in _TABLES}
            keys = {name: connection.execute(f"PRAGMA foreign_key_list({name})").fetchall() for name in _TABLES}
            columns.append((found, keys))
            assert all(found.values())
    assert columns[0] == columns[1]


def test_leases_are_kept_in_what_was_an_older_file(path: Path) -> None:
    with closing(SqlStore(path)) as store:
        store.lease(1, "a", for_s=0.001)
        while store.lease(1) != {"a"}:
            pass
        assert store.lease(2) == frozenset()
        store.delete(1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM lease").fetchone() == (0,)


def test_what_the_log_holds_is_in_the_copy_too(path: Path, version: int) -> None:
    """The file as a killed process leaves it: what was written last is not in the file itself yet."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE study SET name = 'renamed' WHERE id = 1")
    connection.commit()
    assert path.with_name("whet.db-wal").stat().st_size > 0
    with closing(SqlStore(path)) as store:
        assert store.studies()[0].name == "renamed"
    connection.close()
    with closing(sqlite3.connect(path.with_name(f"whet.db.format-{version}"))) as copy:
        assert copy.execute("SELECT name FROM study WHERE id = 1").fetchone() == ("renamed",)


def test_what_somebody_left_who_was_killed_while_copying_does_no_harm(path: Path, version: int) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(f"whet.db.format-{version}.part{suffix}").write_bytes(b"half a copy")
    with closing(SqlStore(path)) as store:
        _see_that_all_is_there(store)
    names = sorted(entry.name for entry in path.parent.iterdir())
    assert names == ["whet.db", f"whet.db.format-{version}", "whet.db.lock"]


def test_many_open_an_older_file_at_once(path: Path) -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with closing(SqlStore(path)) as store:
                _see_that_all_is_there(store)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert check(path) == []


def test_a_file_that_cannot_be_copied_stays_as_it_is(path: Path, version: int) -> None:
    path.with_name(f"whet.db.format-{version}").mkdir()  # in the way
    with pytest.raises(StoreFull):
        SqlStore(path)
    assert _version(path) == version
    assert not path.with_name(f"whet.db.format-{version}.part").exists()
    path.with_name(f"whet.db.format-{version}").rmdir()
    with closing(SqlStore(path)) as store:
        _see_that_all_is_there(store)


def test_an_older_file_that_can_only_be_read_is_refused_with_the_remedy(
    path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.storage.sqlite.prepare", lambda *_: True)  # for root every file can be written to
    with pytest.raises(StoreFull, match=r"older format.*copy it"):
        SqlStore(path)
    assert _version(path) == version


def test_an_older_file_is_recovered(path: Path, version: int, tmp_path: Path) -> None:
    assert recover(path, tmp_path / "saved.db") == [
        "study 'first': 5 trials were saved",
        "study 'second': 1 trials were saved",
    ]
    with closing(SqlStore(tmp_path / "saved.db")) as store:
        _see_that_all_is_there(store)
    assert _version(path) == version


def test_an_older_file_without_its_first_page_is_recovered(path: Path, tmp_path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 4096)
    recover(path, tmp_path / "saved.db")
    with closing(SqlStore(tmp_path / "saved.db")) as store:
        _see_that_all_is_there(store)
