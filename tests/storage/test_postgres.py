"""The PostgreSQL store: opening and refusing, connections that break at the worst moment, and who runs a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import USER, Database, Server
from tests.servers.proxy import Proxy, now_and_then
from tests.storage import worker
from whet.core.events import Draft, Event, Kind
from whet.errors import (
    StoreAway,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreTooNew,
    StudyBusy,
    StudyExists,
    StudyNotFound,
    UsageError,
)
from whet.storage import holdings, postgres_link, schema
from whet.storage.open import open_store
from whet.storage.postgres import PostgresDatabase
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of


@pytest.fixture
def store(postgres: Database) -> Iterator[SqlStore]:
    with closing(SqlStore(PostgresDatabase(postgres.url))) as store:
        yield store


@pytest.fixture
def writer(store: SqlStore) -> Writer:
    return Writer(store, store.create("study", settings_of()).id)


def _do(database: Database, sql: str, *values: object) -> list[tuple[object, ...]]:
    return database.server.do(sql, *values, database=database.name)


def _end_connections(database: Database) -> int:
    """End every other connection to the database, and wait until they are gone."""
    n = database.server.terminate(database)
    while _do(database, "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", database.name):
        time.sleep(0.01)
    return n


# ---- opening


def test_a_store_is_found_by_any_way_of_naming_it(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = postgres.server
    with closing(open_store(postgres.url)) as store:
        study = store.create("a", settings_of())
    rest = postgres.url.partition("://")[2]
    for url in (f"postgres://{rest}", f"postgresql+psycopg://{rest}", f"POSTGRESQL://{rest}", postgres.socket_url):
        with closing(open_store(url)) as store:
            assert store.studies("a") == [study]
    with closing(open_store(f"{postgres.url}?sslmode=disable&application_name=mine&connect_timeout=3")) as store:
        assert _do(postgres, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'mine'") == [(1,)]
        assert store.url.endswith("?sslmode=disable&application_name=mine&connect_timeout=3")
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(server.port))
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGDATABASE", postgres.name)
    monkeypatch.setenv("PGPASSWORD", server.password)
    with closing(open_store("postgresql://")) as store:
        assert store.studies("a") == [study]
    monkeypatch.delenv("PGPASSWORD")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{server.port}:*:{USER}:{server.password}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    with closing(open_store(f"postgresql:///{postgres.name}")) as store:
        assert store.studies("a") == [study]


def test_the_password_is_nowhere(store: SqlStore, postgres: Database) -> None:
    password = postgres.server.password
    assert password in postgres.url
    assert store.url == postgres.url.replace(f":{password}", "")
    with pytest.raises(StudyNotFound) as caught:
        store.studies("none")
    assert password not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda url, _: url.replace("tester:", "tester:not"), UsageError, "lets nobody in.*PGPASSWORD or ~/.pgpass"),
        (lambda url, _: url.replace("tester:", "nobody-such:"), UsageError, "lets nobody in"),
        (lambda url, name: url.replace(name, "no-such"), UsageError, "no database 'no-such'.*createdb no-such"),
        (lambda url, name: url.replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:").replace(name, "x"), UsageError, "'x'"),
        (lambda url, _: url.replace("127.0.0.1", "no-such.invalid"), StoreAway, "cannot be reached"),
        (lambda url, name: f"postgresql://tester:hunter2@127.0.0.1:1/{name}", StoreAway, "cannot be reached"),
        (lambda *_: "postgresql://tester:hunter2@h:port/x", UsageError, "cannot be read as the URL"),
        (lambda *_: "postgresql://tester:hunter2@h/x?no_such_option=1", UsageError, "cannot be read as the URL"),
        (lambda *_: "postgresql://tester:hun/ter2@h/x", (UsageError, StoreAway), "postgresql://tester@h/x"),
        (lambda *_: "postgresql://tester:p@hunter2@h.invalid/x", UsageError, "percent-encoded"),
        (lambda *_: "postgresql://127.0.0.1:1/hunter2@h.invalid/x", UsageError, "percent-encoded"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_its_password(
    postgres: Database, change: object, error: type[Exception], said: str
) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=said) as caught:
        open_store(change(postgres.url, postgres.name))  # type: ignore[operator]
    for text in (postgres.server.password, "hunter2", "ter2"):
        assert text not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 30, "a mistake is not waited for"


def test_without_psycopg_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'whet\[postgres\]'"):
        open_store("postgresql://h/x")


def test_tables_that_are_not_there_are_not_made_for_those_who_look(postgres: Database) -> None:
    with pytest.raises(StudyNotFound, match="no studies yet"):
        open_store(postgres.url, must_exist=True)
    assert _do(postgres, "SELECT 1 FROM pg_namespace WHERE nspname = 'whet'") == []


def test_many_make_the_tables_at_once(postgres: Database) -> None:
    problems: list[BaseException] = []
    gate = threading.Barrier(8)

    def work(name: str) -> None:
        try:
            gate.wait()
            with closing(open_store(postgres.url)) as store:
                store.create(name, settings_of())
                with pytest.raises(StudyExists):
                    store.create("same", settings_of())
        except BaseException as error:
            if "DID NOT RAISE" not in str(error):
                problems.append(error)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with closing(open_store(postgres.url)) as store:
        assert sorted(record.name for record in store.studies()) == [*"01234567", "same"]


def test_a_newer_format_is_refused_with_the_versions(store: SqlStore, postgres: Database) -> None:
    _do(postgres, "UPDATE whet.format SET version = 99")
    with pytest.raises(StoreTooNew, match=rf"format 99, .* up to {schema.SCHEMA_VERSION}; upgrade"):
        open_store(postgres.url)


def test_an_older_format_is_brought_up_to_date_once(
    writer: Writer, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.complete(loss=0.5)
    newer = schema.SCHEMA_VERSION + 1
    monkeypatch.setattr(schema, "SCHEMA_VERSION", newer)
    monkeypatch.setitem(schema.SERVER_MIGRATIONS, newer - 1, ("CREATE TABLE whet.more (id INTEGER)",))
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with closing(open_store(postgres.url)) as store:
                assert store.load(writer.study).best() == 0
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert _do(postgres, "SELECT version FROM whet.format") == [(newer,)]


def test_somebody_elses_tables_are_left_alone(postgres: Database) -> None:
    _do(postgres, "CREATE SCHEMA whet")
    _do(postgres, "CREATE TABLE whet.study (id INTEGER)")
    with pytest.raises(StoreDamaged, match="not one of whet: it has study"):
        open_store(postgres.url)
    _do(postgres, "CREATE TABLE whet.format (file TEXT)")
    with pytest.raises(StoreDamaged, match="not as whet made it"):
        open_store(postgres.url)
    _do(postgres, "DROP TABLE whet.format")
    _do(postgres, "CREATE TABLE whet.format (version INTEGER)")
    with pytest.raises(StoreDamaged, match="does not say of which format"):
        open_store(postgres.url)
    assert _do(postgres, "SELECT count(*) FROM pg_class WHERE relnamespace = 'whet'::regnamespace") == [(2,)]


def test_a_database_that_cannot_hold_every_name_is_refused(postgres_server: Server) -> None:
    name = "whet_latin"
    postgres_server.do(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    database = Database(postgres_server, name)
    try:
        with pytest.raises(UsageError, match="encoding LATIN1"):
            open_store(database.url)
    finally:
        postgres_server.drop(database)


@pytest.fixture
def guest(postgres: Database) -> Iterator[str]:
    """The URL of the database for a role that may do nothing."""
    role = f"guest_{postgres.name}"
    _do(postgres, f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    yield postgres.url.replace(f"{USER}:{postgres.server.password}", f"{role}:secret")
    _end_connections(postgres)
    _do(postgres, f"DROP OWNED BY {role}")
    _do(postgres, f"DROP ROLE {role}")


def test_who_may_only_look_can_look(postgres: Database, guest: str) -> None:
    with pytest.raises(StoreFull, match=r"permission denied.*needs CREATE"):
        open_store(guest)
    with closing(open_store(postgres.url)) as store:
        study = Writer(store, store.create("a", settings_of()).id)
        study.complete(loss=1.0)
    with pytest.raises(StoreFull, match=r"permission denied.*all rights"):
        open_store(guest)
    role = guest.partition("://")[2].partition(":")[0]
    _do(postgres, f"GRANT USAGE ON SCHEMA whet TO {role}")
    _do(postgres, f"GRANT SELECT ON ALL TABLES IN SCHEMA whet TO {role}")
    with closing(open_store(guest)) as store:
        assert store.load(study.study).best() == 0
        assert store.studies("a")[0].holder is None
        assert store.lease(study.study) == frozenset()
        for use in (lambda: store.create("b", settings_of()), lambda: store.hold(study.study).__enter__()):
            with pytest.raises(StoreFull, match="permission denied"):
                use()


def test_a_schema_made_for_us_is_enough(postgres: Database, guest: str) -> None:
    role = guest.partition("://")[2].partition(":")[0]
    _do(postgres, f"CREATE SCHEMA whet AUTHORIZATION {role}")
    with closing(open_store(guest)) as store:
        store.create("a", settings_of())


def test_settings_of_the_database_change_nothing(postgres: Database) -> None:
    """Read-only by default, isolation that fails instead of waiting, commits that a crash loses, floats cut short."""
    _do(postgres, "CREATE FUNCTION public.max(float8) RETURNS float8 LANGUAGE sql AS 'SELECT 0::float8'")
    for setting in (
        "default_transaction_isolation = serializable",
        "synchronous_commit = off",
        "extra_float_digits = 0",
        "search_path = public",
        "bytea_output = escape",
        "statement_timeout = '1ms'",
        "default_transaction_read_only = on",
    ):
        _do(postgres, f'ALTER DATABASE "{postgres.name}" SET {setting}')
    with closing(SqlStore(PostgresDatabase(postgres.url))) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        number = writer.start({"lr": 1 / 3})
        writer.write(Draft(Kind.REPORTED, number, {"rows": [[1, 0.1 + 0.2]]}, f"token {number}"))
        writer.write(Draft(Kind.COMPLETED, number, {"values": {"loss": 0.1 + 0.2}}, f"token {number}"))
        trial = store.trials(writer.study)[0]
        assert (list(trial.curve), trial.values, trial.started_at) == (
            [(1.0, 0.1 + 0.2)],
            {"loss": 0.1 + 0.2},
            writer.history.finished[0] and store.events(writer.study, after=3)[0].time,
        )
        connection = store._database._connection  # type: ignore[attr-defined]
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("30s",)


# ---- connections that break


@pytest.mark.parametrize("when", ["check", "fresh"])
def test_a_connection_that_ends_in_the_middle_of_an_append(writer: Writer, postgres: Database, when: str) -> None:
    other = Writer(writer.store, writer.study)
    other.write(reserve=1)
    calls: list[int] = []

    def end(_: object) -> list[Draft]:
        calls.append(1)
        if len(calls) < 3:
            assert _end_connections(postgres) == 1
        return []

    assert writer.write(reserve=1, **{when: end}) == [1]
    assert len(calls) == 3
    assert [event.trial for event in writer.store.events(writer.study, after=1)] == [0, 1]


def test_what_a_callback_refuses_is_not_tried_again(writer: Writer) -> None:
    calls: list[int] = []

    def refuse(_: list[Event]) -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        writer.write(reserve=1, check=refuse)
    assert len(calls) == 1
    assert writer.write(reserve=1) == [0], "and the connection goes on"


def test_a_connection_that_has_ended_is_made_anew(writer: Writer, postgres: Database) -> None:
    store, study = writer.store, writer.study
    for use in (
        lambda: store.load(study),
        lambda: store.create("b", settings_of()),
        lambda: store.lease(study, "a", for_s=9.0),
        lambda: store.lease(study),
        lambda: store.hold(study).__enter__(),
        lambda: store.studies(),
        lambda: writer.write(reserve=1),
    ):
        assert _end_connections(postgres) == 1
        use()
    assert store.load(study).n_numbers == 1


def test_commits_whose_replies_are_lost_happen_once(postgres: Database) -> None:
    open_store(postgres.url).close()
    with Proxy(postgres.server.port, drops=now_and_then(0.5, 3, up_to=40)) as proxy:
        with closing(open_store(postgres.by(proxy.port))) as store:
            names = [f"study {number}" for number in range(5)]
            studies = [store.create(name, settings_of()).id for name in names]
            with pytest.raises(StudyExists):
                store.create(names[0], settings_of())
            writer = Writer(store, studies[0])
            for number in range(15):
                assert writer.complete(loss=float(number)) == number
            with store.hold(studies[0]):
                assert writer.write(reserve=2) == [15, 16]
            store.delete(studies[1])
            with pytest.raises(StudyNotFound):
                store.delete(studies[1])
        assert proxy.n_dropped > 20
    with closing(open_store(postgres.url)) as store:
        assert [record.name for record in store.studies()] == [names[0], *names[2:]]
        events = store.events(studies[0])
        assert [event.seq for event in events] == list(range(1, 1 + 1 + 15 * 4 + 2))
        assert store.load(studies[0]).n_finished == 15


def test_a_server_that_is_started_anew_is_waited_for(own_postgres: Server) -> None:
    database = own_postgres.database()
    with closing(open_store(database.url)) as store, ExitStack() as stack:
        writer = Writer(store, store.create("a", settings_of()).id)
        stack.enter_context(store.hold(writer.study))
        own_postgres.crash("immediate")
        timer = threading.Timer(0.5, own_postgres.start)
        timer.start()
        assert writer.write(reserve=1) == [0]
        timer.join()
        with closing(open_store(database.url)) as other, pytest.raises(StudyBusy), other.hold(writer.study):
            pass


def test_what_nobody_could_renew_while_the_server_was_down_has_not_run_out(own_postgres: Server) -> None:
    database = own_postgres.database()
    with closing(open_store(database.url)) as store, closing(open_store(database.url)) as other:
        study = store.create("a", settings_of()).id
        with store.hold(study):
            store.lease(study, "a", for_s=1000.0)
            store.lease(study, "b", for_s=0.001)
            own_postgres.restart()
            for table in ("holding", "lease"):  # as if it had been down for long
                own_postgres.do(f"UPDATE whet.{table} SET ends_at = 0", database=database.name)
            assert other.lease(study) == {"b"}
            with pytest.raises(StudyBusy), other.hold(study):
                pass


def test_what_is_read_is_on_the_disk(own_postgres: Server) -> None:
    """Else a process would know events that are gone after a crash, and could not write any more."""
    database = own_postgres.database()
    own_postgres.do("ALTER SYSTEM SET wal_writer_delay = '10s'")  # the server by itself takes its time
    own_postgres.do("SELECT pg_reload_conf()")
    with closing(open_store(database.url)) as store, psycopg.connect(database.url, autocommit=True) as other:
        study = store.create("a", settings_of()).id
        other.execute("SET synchronous_commit = off")
        for _ in range(20):
            other.execute("UPDATE whet.study SET last_event_at = last_event_at + 1")
            (at,) = other.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or ("",)
            store.events(study)
            assert other.execute("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", (at,)).fetchone() == (True,)


def test_a_server_that_stays_away_is_said_and_nothing_is_stuck(own_postgres: Server) -> None:
    database = own_postgres.database()
    with closing(SqlStore(PostgresDatabase(database.url, wait_s=0.3))) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        own_postgres.stop()
        for use in (lambda: writer.write(reserve=1), lambda: store.load(1), lambda: store.lease(1, "a", for_s=1.0)):
            with pytest.raises(StoreAway, match="cannot be reached"):
                use()
        own_postgres.start()
        assert writer.write(reserve=1) == [0]
        own_postgres.stop()


def test_what_is_interrupted_while_it_is_undone_leaves_nothing_behind(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = writer.store._database  # type: ignore[attr-defined]
    wire = database._wire

    def interrupt(*_: object) -> list[Draft]:
        monkeypatch.setattr(wire, "_exchanged", interrupt)  # and once more, by whoever is impatient
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.write(reserve=2, check=interrupt)
    assert database._connection.closed
    assert writer.write(reserve=1) == [0]
    assert writer.store.load(writer.study).n_numbers == 1


def test_what_was_given_up_in_the_middle_is_not_part_of_what_comes_next(writer: Writer, postgres: Database) -> None:
    database = writer.store._database  # type: ignore[attr-defined]
    database._wire.begin("BEGIN")
    database._wire.execute("DELETE FROM whet.study")
    assert writer.write(reserve=1) == [0]
    assert _do(postgres, "SELECT n_numbers FROM whet.study") == [(1,)]


@pytest.mark.timeout(60)
def test_a_child_says_so_also_when_a_thread_of_its_parent_was_writing(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = writer.store._database  # type: ignore[attr-defined]
    is_held, is_said = threading.Event(), threading.Event()

    def hold() -> None:
        with database._mutex:
            is_held.set()
            is_said.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    monkeypatch.setattr(database, "_pid", -1)
    for use in (lambda: writer.store.studies(), lambda: writer.write(reserve=1)):
        with pytest.raises(StoreError, match="open the store again in the child"):
            use()
    is_said.set()
    thread.join()


@pytest.mark.timeout(60)
def test_who_closes_does_not_wait_for_those_who_wait_for_a_server(own_postgres: Server) -> None:
    store = SqlStore(PostgresDatabase(own_postgres.database().url, wait_s=1000.0))
    writer, said = Writer(store, store.create("a", settings_of()).id), []
    own_postgres.stop()

    def write() -> None:
        try:
            writer.write(reserve=1)
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    while store._database._connection is not None:  # type: ignore[attr-defined]
        time.sleep(0.01)
    store.close()
    thread.join()
    assert "is closed" in said[0]


def test_a_lost_connection_is_not_told_on_stderr(writer: Writer, postgres: Database) -> None:
    """As by psycopg's own pipelines, which log it, and Python prints what nobody else takes."""
    code = (
        "import sys, psycopg\n"
        "from whet.storage.open import open_store\n"
        "def end(_, once=iter([1])):\n"
        "    if next(once, None):\n"
        "        with psycopg.connect(sys.argv[1], autocommit=True) as other:\n"
        "            other.execute('SELECT pg_terminate_backend(pid) FROM pg_stat_activity '\n"
        "                          'WHERE datname = current_database() AND pid <> pg_backend_pid()')\n"
        "print(open_store(sys.argv[1]).append(int(sys.argv[2]), [], reserve=1, check=end).numbers)\n"
    )
    command = [sys.executable, "-c", code, postgres.url, str(writer.study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0]\n", "")


def test_a_server_that_hangs_is_left(postgres: Database) -> None:
    with closing(SqlStore(PostgresDatabase(postgres.url, wait_s=5.0))) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        database = store._database
        assert isinstance(database, PostgresDatabase)
        database._wire.patience_s = 0.3
        pid = database._connection.info.backend_pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert writer.write(reserve=1) == [0]
        finally:
            os.kill(pid, signal.SIGCONT)
    with closing(open_store(postgres.url)) as store:
        assert store.load(writer.study).n_numbers == 1


def test_a_lock_that_another_program_keeps_is_said(postgres: Database) -> None:
    with closing(SqlStore(PostgresDatabase(postgres.url, wait_s=0.3))) as store:
        writer = Writer(store, store.create("a", settings_of()).id)
        with psycopg.connect(postgres.url) as other:
            other.execute("SELECT 1 FROM whet.study FOR UPDATE")
            with pytest.raises(StoreBusy, match="too long"):
                writer.write(reserve=1)
            assert store.load(writer.study).n_numbers == 0
        assert writer.write(reserve=1) == [0]


def test_a_suspended_writer_holds_nobody_up(
    writer: Writer, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_link._SESSION, "idle_in_transaction_session_timeout", "100ms")
    with closing(open_store(postgres.url)) as slow_store:
        slow, calls = Writer(slow_store, writer.study), []

        def suspended(_: list[Event]) -> None:
            calls.append(1)
            if len(calls) == 1:
                assert writer.write(reserve=1) == [0]  # waits for the server to end the other one's transaction

        assert slow.write(reserve=1, check=suspended) == [1]
        assert len(calls) == 2


def test_tables_that_are_gone_are_said(writer: Writer, postgres: Database) -> None:
    _do(postgres, "DROP SCHEMA whet CASCADE")
    with pytest.raises(StoreDamaged, match="not as whet made it"):
        writer.write(reserve=1)


def test_an_older_copy_in_its_place_is_noticed(writer: Writer, postgres: Database) -> None:
    writer.complete(loss=1.0)
    _do(postgres, "DELETE FROM whet.event WHERE seq > 2")
    _do(postgres, "UPDATE whet.study SET last_seq = 2")
    with pytest.raises(StoreDamaged, match="only 2 of the 5 events"):
        writer.write(reserve=1)


def test_what_others_wrote_into_the_tables_is_no_code_and_is_said(writer: Writer, postgres: Database) -> None:
    _do(postgres, "UPDATE whet.study SET settings = 'gASVKAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU'")
    with pytest.raises(StoreDamaged, match="whet did not write"):
        open_store(postgres.url).load(writer.study)


def test_sessions_leave_no_receipts(writer: Writer, postgres: Database) -> None:
    writer.complete(loss=1.0)
    _do(postgres, "INSERT INTO whet.receipt VALUES ('crashed long ago', 7, 0), ('alive', 7, 1e12)")
    assert _do(postgres, "SELECT count(*) FROM whet.receipt") == [(3,)]
    writer.store.close()
    assert _do(postgres, "SELECT session FROM whet.receipt") == [("alive",)]


def test_who_looked_leaves_no_receipt(writer: Writer, postgres: Database) -> None:
    with closing(open_store(postgres.url)) as other:
        other._database._wait_for_disk()  # type: ignore[attr-defined]
        assert _do(postgres, "SELECT count(*) FROM whet.receipt") == [(2,)]
    assert _do(postgres, "SELECT count(*) FROM whet.receipt") == [(1,)]


def test_text_that_postgresql_cannot_take_is_not_cut_short(writer: Writer) -> None:
    with pytest.raises((StudyNotFound, StoreError)):
        writer.store.studies("study\0more")


# ---- who runs it


def test_a_killed_holder_on_this_host_holds_nothing(writer: Writer, postgres: Database) -> None:
    with worker.start("hold", postgres.url, writer.study) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(StudyBusy, match=f"pid {process.pid} on .* since "), writer.store.hold(writer.study):
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert writer.store.studies()[0].holder is None
            with writer.store.hold(writer.study):
                assert writer.store.studies()[0].holder.startswith(f"pid {os.getpid()} ")  # type: ignore[union-attr]
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_holder_on_a_lost_machine_holds_nothing_after_a_while(
    writer: Writer, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, study = writer.store, writer.study
    with store.hold(study):
        _do(postgres, "UPDATE whet.holding SET owner = '\"elsewhere:1:x\"', who = '\"pid 1 on elsewhere\"'")
        with closing(open_store(postgres.url)) as other:
            with pytest.raises(StudyBusy, match="pid 1 on elsewhere since"), other.hold(study):
                pass
            monkeypatch.setattr(holdings, "HOLD_S", 0.01)
            _do(postgres, "UPDATE whet.holding SET ends_at = 0")
            time.sleep(0.02)
            monkeypatch.setattr(holdings, "_BEATS", 0.0001)
            assert other.studies()[0].holder is None
            with other.hold(study):
                pass


def test_a_holder_keeps_its_hold_however_long_it_runs(
    writer: Writer, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "HOLD_S", 0.3)
    with writer.store.hold(writer.study), closing(open_store(postgres.url)) as other:
        for _ in range(10):
            time.sleep(0.1)
            with pytest.raises(StudyBusy), other.hold(writer.study):
                pass
        assert _end_connections(postgres) == 2
        for _ in range(5):
            time.sleep(0.1)
            assert other.studies()[0].holder is not None
    assert _do(postgres, "SELECT count(*) FROM whet.holding") == [(0,)]


def test_who_was_thought_lost_cannot_write_as_the_holder_any_more(
    writer: Writer, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holdings, "HOLD_S", 0.3)
    with writer.store.hold(writer.study):
        assert writer.write(reserve=1) == [0]
        _do(postgres, "UPDATE whet.holding SET id = 'another', owner = '\"elsewhere:1:x\"', "
            "who = '\"pid 1 on elsewhere\"', ends_at = 1e12")  # fmt: skip
        with pytest.raises(StudyBusy, match=r"run by pid 1 on elsewhere.*taken for lost"):
            for _ in range(100):
                time.sleep(0.05)
                writer.write(durable=False)
        assert writer.store.load(writer.study).n_numbers == 1, "it may look"
    assert Writer(writer.store, writer.study).write(reserve=1) == [1], "as any other process may"


def test_a_forked_child_opens_the_store_anew(writer: Writer, postgres: Database) -> None:
    with worker.start("fork", postgres.url, writer.study) as process:
        said, child, parent = process.communicate()[0].splitlines()
    assert said.startswith("StoreError")
    assert "open the store again in the child" in said
    assert (child, parent) == ("[0]", "[1]")


def test_a_closed_store_says_so(store: SqlStore) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.studies()


# ---- many processes


def test_processes_share_a_study(writer: Writer, postgres: Database) -> None:
    n_processes, n_trials = 4, 10
    with ExitStack() as stack:
        processes = [
            stack.enter_context(worker.start("write", postgres.url, writer.study, n_trials)) for _ in range(n_processes)
        ]
        said = [process.communicate()[0].splitlines() for process in processes]
        assert [process.returncode for process in processes] == [0] * n_processes
    events = writer.store.events(writer.study)
    assert [event.seq for event in events] == list(range(1, 2 + 5 * n_trials * n_processes))
    acknowledged = [word for lines in said for line in lines[1:] for word in line.split()]
    assert sorted(acknowledged) == sorted(f"{event.seq}:{event.kind}:{event.trial}" for event in events[1:])
    assert writer.store.load(writer.study).n_finished == n_trials * n_processes
