"""`whet doctor` on PostgreSQL: what is wrong is said, and what can be read of it is saved (F23)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.postgres import Database, Server
from tests.storage.test_damage import _ending
from whet.core.events import Draft, Kind
from whet.core.trial import Trial
from whet.errors import StoreAway, StoreDamaged, UsageError
from whet.storage.doctor import check
from whet.storage.open import open_store
from whet.storage.postgres import PostgresDatabase
from whet.storage.postgres_doctor import look
from whet.storage.recovery import recover_from_server
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of

_N_TRIALS = 60


def _fill(url: str) -> None:
    """Make two studies with trials in every state."""
    with closing(SqlStore(PostgresDatabase(url))) as store:
        for name in ("one", "two"):
            writer = Writer(store, store.create(name, settings_of(note="x" * 50)).id)
            writer.write(reserve=_N_TRIALS)
            for number in range(_N_TRIALS):
                token = f"token {number}"
                life = [
                    Draft(Kind.ASKED, number, {"config": {"lr": number / 7, "note": name * 20}, "group": number}),
                    Draft(Kind.STARTED, number, {"token": token, "owner": "me"}),
                    Draft(Kind.REPORTED, number, {"rows": [[step, 1 / (step + 1)] for step in range(20)]}, token),
                    _ending(number, token),
                ]
                writer.write(*life[: 1 if number % 11 == 0 else 3 if number % 13 == 0 else 4])


def _trials(store: object) -> dict[str, dict[int, Trial]]:
    return {
        record.name: {trial.number: trial for trial in store.trials(record.id)}  # type: ignore[attr-defined]
        for record in store.studies()  # type: ignore[attr-defined]
    }


def _do(database: Database, sql: str) -> list[tuple[object, ...]]:
    return database.server.do(sql, database=database.name)


@pytest.fixture(scope="module")
def sound(postgres_server: Server) -> Iterator[Database]:
    """A database to be copied, not changed."""
    database = postgres_server.database()
    _fill(database.url)
    yield database
    postgres_server.drop(database)


@pytest.fixture
def filled(sound: Database, postgres_server: Server) -> Iterator[Database]:
    """A copy to damage."""
    database = postgres_server.database(copied=sound)
    yield database
    postgres_server.drop(database)


def test_a_sound_database_is_clean(filled: Database) -> None:
    state = look(filled.url)
    assert state.findings == ()
    assert state.version.startswith(tuple("0123456789"))
    assert state.format == 3
    assert state.size_bytes > 100_000
    assert 1 <= state.n_connections <= state.max_connections == 200


def test_a_database_without_tables_is_clean_and_stays_empty(postgres: Database) -> None:
    state = look(postgres.url)
    assert (state.format, state.findings, state.n_leases) == (None, (), 0)
    assert _do(postgres, "SELECT count(*) FROM pg_namespace WHERE nspname = 'whet'") == [(0,)]


def test_leases_are_counted(filled: Database) -> None:
    with closing(open_store(filled.url)) as store:
        study = store.studies("one")[0].id
        store.lease(study, "a", for_s=100)
        store.lease(study, "b", for_s=100)
        store.lease(study, "c", for_s=0.001)
        _do(filled, "UPDATE whet.lease SET ends_at = 0, for_s = -1e9 WHERE owner LIKE '%c%'")
        state = look(filled.url)
        assert (state.n_leases, state.n_held) == (3, 2)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE whet.trial SET state = 'failed' WHERE study = 1 AND number = 5", "study 'one'"),
        ("UPDATE whet.study SET counts = '{}' WHERE name = 'two'", "study 'two'"),
        ("DELETE FROM whet.event WHERE study = 2 AND seq = 77", "gap after event 76"),
        ("UPDATE whet.event SET payload = '{' WHERE study = 1 AND seq = 100", "cannot be read"),
        ("UPDATE whet.study SET settings = 'nothing' WHERE name = 'one'", "did not write"),
        ("UPDATE whet.trial SET value = 7 WHERE study = 1 AND number = 6", "trial 6 is ranked by 7.0"),
    ],
)
def test_what_is_wrong_is_said(filled: Database, damage: str, said: str) -> None:
    _do(filled, damage)
    findings = look(filled.url).findings
    assert any(said in finding for finding in findings), findings
    assert all(filled.server.password not in finding for finding in findings)


def test_a_table_that_is_missing_is_said(filled: Database) -> None:
    _do(filled, "DROP TABLE whet.curve")
    with pytest.raises(StoreDamaged, match=r"whet\.curve"):
        look(filled.url)


def test_rights_that_are_missing_are_named(filled: Database) -> None:
    url = filled.url.replace("tester:", "reader:")
    _do(filled, f"CREATE ROLE reader LOGIN PASSWORD '{filled.server.password}'")
    try:
        assert "GRANT USAGE ON SCHEMA whet" in look(url).findings[0]
        _do(filled, "GRANT USAGE ON SCHEMA whet TO reader")
        _do(filled, "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA whet TO reader")
        assert "GRANT UPDATE, DELETE ON ALL TABLES IN SCHEMA whet" in look(url).findings[0]
        _do(filled, "DROP SCHEMA whet CASCADE")
        assert "GRANT CREATE ON DATABASE" in look(url).findings[0]
    finally:
        _do(filled, "DROP OWNED BY reader")
        _do(filled, "DROP ROLE reader")


def test_a_server_that_may_lose_what_it_acknowledged_is_a_finding(postgres_files: Path) -> None:
    with Server(postgres_files, fsync="off", full_page_writes="off") as server:
        findings = look(server.database().url).findings
    assert "fsync = off" in findings[0]
    assert "full_page_writes = off" in findings[1]


def test_what_cannot_be_reached_is_said_without_the_password(postgres: Database) -> None:
    secret = "pr1vate"
    with pytest.raises(UsageError, match="lets nobody in") as refused:
        look(postgres.url.replace(postgres.server.password, secret))
    with pytest.raises(UsageError, match="no database 'missing'"):
        look(postgres.url.replace(postgres.name, "missing"))
    with pytest.raises(StoreAway) as away:
        look(f"postgresql://tester:{secret}@127.0.0.1:1/whet")
    for error in (refused.value, away.value):
        assert secret not in str(error)
        assert secret not in repr(error.__cause__)


# ---- saving what can be read


def test_all_of_a_sound_database_is_saved(filled: Database, tmp_path: Path) -> None:
    to = tmp_path / "saved.db"
    with closing(PostgresDatabase(filled.url, must_exist=True)) as database:
        said = recover_from_server(database, to)
        assert said == [f"study '{name}': {_N_TRIALS} trials were saved" for name in ("one", "two")]
        with pytest.raises(UsageError, match="exists already"):
            recover_from_server(database, to)
    with closing(open_store(filled.url)) as there, closing(SqlStore(to)) as here:
        assert repr(_trials(here)) == repr(_trials(there))
    assert check(to) == []
    assert look(filled.url).findings == ()


def test_what_was_not_written_by_whet_is_left_out(filled: Database, tmp_path: Path) -> None:
    _do(filled, "UPDATE whet.event SET payload = '{' WHERE study = 1 AND seq BETWEEN 100 AND 110")
    _do(filled, "UPDATE whet.study SET settings = 'nothing' WHERE name = 'two'")  # the log has it, too
    with closing(PostgresDatabase(filled.url, must_exist=True)) as database:
        said = recover_from_server(database, tmp_path / "saved.db")
    assert said[0].startswith(f"study 'one': {_N_TRIALS} trials were saved, ")
    assert said[0].endswith("parts of it could not be read")
    assert said[1] == f"study 'two': {_N_TRIALS} trials were saved"
    assert check(tmp_path / "saved.db") == []


def test_nothing_to_save_is_said_and_no_file_is_left(postgres: Database, tmp_path: Path) -> None:
    open_store(postgres.url).close()
    with closing(PostgresDatabase(postgres.url)) as database, pytest.raises(StoreDamaged, match="no study"):
        recover_from_server(database, tmp_path / "saved.db")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def broken(own_postgres: Server) -> Iterator[Database]:
    """A database, a page of whose log has been overwritten on the disk."""
    database = own_postgres.database()
    _fill(database.url)
    ((file,),) = own_postgres.do("SELECT pg_relation_filepath('whet.event')", database=database.name)
    own_postgres.stop()
    path = own_postgres.folder / "data" / str(file)
    owner = path.stat()
    with path.open("r+b") as pages:
        pages.seek(2 * 8192)
        pages.write(os.urandom(8192))
    assert (path.stat().st_uid, path.stat().st_gid) == (owner.st_uid, owner.st_gid)
    own_postgres.start()
    yield database


def test_a_damaged_page_is_found_and_the_rest_is_saved(broken: Database, tmp_path: Path) -> None:
    assert look(broken.url).findings
    with closing(PostgresDatabase(broken.url, must_exist=True)) as database:
        said = recover_from_server(database, tmp_path / "saved.db")
    assert len(said) == 2
    assert "parts of it could not be read" in said[0]
    with closing(SqlStore(tmp_path / "saved.db")) as store:
        found = _trials(store)
    assert {name: len(trials) for name, trials in found.items()} == {
        "one": _N_TRIALS,
        "two": _N_TRIALS,
    }  # by their rows
    assert check(tmp_path / "saved.db") == []


def test_a_server_that_is_gone_is_no_damage(own_postgres: Server, tmp_path: Path) -> None:
    database = own_postgres.database()
    _fill(database.url)
    with closing(PostgresDatabase(database.url, wait_s=0.5)) as opened:
        own_postgres.crash()
        with pytest.raises(StoreAway):
            recover_from_server(opened, tmp_path / "saved.db")
    assert not (tmp_path / "saved.db").exists()
