"""Studies in a PostgreSQL database: transactions that outlive the loss of a connection, and who runs a study."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from whet.core.owner import is_gone
from whet.errors import StoreError, StudyBusy
from whet.storage import schema
from whet.storage.database import Session, T
from whet.storage.holdings import Holding, holders
from whet.storage.locks import Holder
from whet.storage.postgres_link import (
    REMEDY,
    away,
    connected,
    first_error,
    is_broken,
    is_passing,
    options_of,
    store_error,
)
from whet.storage.postgres_tables import NOW, PUT, SCHEMA, SQL, prepare, put_rows
from whet.storage.postgres_wire import Wire
from whet.storage.rows import Written
from whet.storage.urls import without_password

_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_ANSWER_S = 60.0  # within which a server answers, beyond what a statement may wait for others
_LAST_ANSWER_S = 5.0  # when the store is closed
_KEPT_S = 7 * 24 * 3600.0  # receipts of sessions that did not end well
# This transaction does not wait for the disk, the next one does: see `PostgresDatabase.write`.
_RECEIPT = (
    "WITH level AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)) "  # noqa: S608
    f"INSERT INTO {SCHEMA}.receipt (session, last, at) SELECT %(session)s, %(last)s, {NOW} FROM level "
    "ON CONFLICT (session) DO UPDATE SET last = excluded.last, at = excluded.at"
)
# Writers of a study wait in line, and hand it on when they commit: not yet on the disk, see `PostgresDatabase.write`.
_ALONE = f"SELECT pg_advisory_xact_lock({schema.APPLICATION_ID}, hashint8(%(study)s))"
_LASTING = f"UPDATE {SCHEMA}.receipt SET at = {NOW} WHERE session = %(session)s"  # noqa: S608
_IS_ON_DISK = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN true ELSE pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() END"
)
# Waits for a transaction of this session that has not ended yet, if there is one: it has written its receipt first.
_LAST_RECEIPT = (
    f"INSERT INTO {SCHEMA}.receipt (session, last, at) VALUES (%(session)s, 0, {NOW}) "  # noqa: S608
    "ON CONFLICT (session) DO UPDATE SET at = excluded.at RETURNING last"
)
_OLD_RECEIPTS = f"DELETE FROM {SCHEMA}.receipt WHERE session = %(session)s OR at < {NOW} - {_KEPT_S}"  # noqa: S608


class PostgresDatabase:
    """A PostgreSQL database that holds our tables, open: one connection at a time, made anew when it breaks.

    Args:
        url: ``postgresql://…``, with options of libpq; what it does not say, libpq finds in its environment.
        must_exist: refuse a database without our tables, instead of making them.
        wait_s: how long to wait for a server that has gone away, and for others who write.

    Raises:
        UsageError: the URL is none, or the server knows no such database or user.
        StoreError: the database cannot be used; the kind of error says why.
        StudyNotFound: *must_exist*, and there are no tables.
    """

    sql = SQL
    remedy = REMEDY

    def __init__(self, url: str, *, must_exist: bool = False, wait_s: float = 60.0) -> None:
        self.url = self.place = without_password(url)
        self._options = options_of(url)
        self._wait_s = wait_s
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._session = uuid.uuid4().hex
        self._n_commits = 0
        self._is_closed = False
        self._is_verified = False
        self._has_receipt = False  # perhaps
        self._connection: psycopg.Connection | None = None
        self._wire: Wire  # of the connection
        self._lost: dict[int, str] = {}  # studies that this process ran, and whom they were given to since

        def first() -> None:
            self._connected()
            assert self._connection is not None
            prepare(self._connection, self.place, must_exist=must_exist)
            self._is_verified = True

        try:
            self._insisting(first)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------------------------------ transactions
    def read(self, work: Callable[[Wire], T]) -> T:
        """See `Database.read`."""

        def seen(wire: Wire) -> tuple[T, bool]:
            result = work(wire)
            return result, wire.execute(_IS_ON_DISK).fetchone()[0]

        self._refuse_if_not_ours()  # in a forked child, a thread that is not there may have the mutex for ever
        with self._mutex:
            result, is_on_disk = self._insisting(lambda: self._transaction(_READING, seen))
            if not is_on_disk:
                self._insisting(self._wait_for_disk)
            return result

    def write(self, work: Callable[[Wire], T], *, study: int | None = None, durable: bool = True) -> T:
        """See `Database.write`. What anybody has written or seen is on the disk: it must not be gone after a crash.

        So all writes are durable. But a study is handed on to the next writer before: the log of the server is written
        in order, so what the next one commits lasts only if this does, and many wait for the disk together.
        """
        self._refuse_if_not_ours()
        with self._mutex:
            if study in self._lost:
                raise StudyBusy(self._lost[study])
            self._n_commits += 1
            receipt = {"session": self._session, "last": self._n_commits}
            computed: list[T] = []  # by a transaction whose fate is not known

            def receipted(wire: Wire) -> T:
                wire.execute(_RECEIPT, receipt)
                if study is not None:
                    wire.execute(_ALONE, {"study": study})
                result = work(wire)
                computed.append(result)
                return result

            def once() -> T:
                if computed and self._is_committed(receipt):
                    return computed[-1]
                computed.clear()
                return self._transaction(_WRITING, receipted)

            return self._insisting(once)

    def _transaction(self, begin: str, work: Callable[[Wire], T]) -> T:
        wire = self._connected()
        try:
            wire.begin(begin)
            result = work(wire)
            wire.execute("COMMIT")
            if begin == _WRITING:
                self._has_receipt = True
                wire.execute(_LASTING, {"session": self._session})
            wire.end()
        except BaseException:
            wire.undo()
            raise
        return result

    def _wait_for_disk(self) -> None:
        """Wait until what was seen is on the disk; who may only look cannot, and writes nothing that relies on it."""
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
            self._transaction(_WRITING, lambda wire: wire.execute(_LAST_RECEIPT, {"session": self._session}))

    def _is_committed(self, receipt: Mapping[str, Any]) -> bool:
        """Tell whether the transaction that wrote *receipt* is there, once it can come to be there no more."""
        last = self._transaction(_WRITING, lambda session: session.execute(_LAST_RECEIPT, receipt).fetchone()[0])
        return bool(last == receipt["last"])

    def _insisting(self, once: Callable[[], T]) -> T:
        """Do *once* again and again while it fails of what goes by, as when the server is started anew."""
        deadline: float | None = None
        pause_s, n_conflicts = _PAUSE_S, 0
        while True:
            self._refuse_if_not_ours()
            try:
                return once()
            except psycopg.Error as error:
                is_away = is_broken(self._connection)
                if is_away and not self._is_verified:
                    mistake = first_error(error, self.place)
                    if mistake is not None:
                        raise mistake from error
                n_conflicts += error.sqlstate == "23505"  # two create a study of one name: the later one finds it
                if not (is_away or is_passing(error) or (error.sqlstate == "23505" and n_conflicts <= 1)):
                    raise store_error(error, self.place) from error
                now, is_first = time.monotonic(), deadline is None
                deadline = now + self._wait_s if deadline is None else deadline
                if now >= deadline:
                    raise away(error, self.place) from error
                if is_first and is_away:  # the connection alone may be lost: the server is there
                    continue
            time.sleep(pause_s * random.SystemRandom().uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def put(self, session: Session, rows: Written) -> None:
        """See `Database.put`. One statement: who waits for this study waits for its way."""
        session.execute(PUT, {"study_id": rows.study, **rows.progress, "rows": put_rows(rows)})

    # ------------------------------------------------------------------------------------------------ who runs it
    def moment(self) -> dict[str, Any]:
        """See `Database.moment`. The statements ask the server."""
        return {"boot": ""}

    @contextmanager
    def hold(self, study: int, *, shared: bool) -> Iterator[bool]:
        """See `Database.hold`. A thread renews it; a machine that is lost holds nothing after half a minute."""
        holding = Holding(self, study, shared, lambda lost: self._lost.__setitem__(study, lost))
        if not holding.take():
            yield False
            return
        try:
            with holding.renewed():
                yield True
        finally:
            self._lost.pop(study, None)
            if not is_broken(self._connection):  # else nobody waits for a server any more to say that
                holding.give_back()

    def holders(self, studies: Sequence[int]) -> dict[int, Holder]:
        """See `Database.holders`."""
        found = self.read(lambda session: holders(session, studies)) if studies else []
        return {study: holder for study, owner, holder in reversed(found) if not is_gone(owner)}

    def forget(self, study: int) -> None:
        """See `Database.forget`. Nothing is left."""

    # ------------------------------------------------------------------------------------------------ the connection
    def _connected(self) -> Wire:
        connection = self._connection
        if connection is None or is_broken(connection) or not self._wire.is_idle:
            self._connection = None
            if connection is not None:
                connection.close()
            made = connected(self._options, self._wait_s)
            self._wire = Wire(made, self._wait_s + _ANSWER_S)
            self._connection = made
        return self._wire

    def _refuse_if_not_ours(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self.place} was opened by process {self._pid} and this is its child {os.getpid()}; "
                "open the store again in the child"
            )
        if self._is_closed:
            raise StoreError(f"the store {self.place} is closed; open it again")

    def close(self) -> None:
        """See `Database.close`. A server that does not answer is not waited for."""
        if os.getpid() != self._pid:
            return  # the connection is the parent's
        self._is_closed = True  # before a thread that waits for a server gives the mutex back
        with self._mutex:
            if self._has_receipt and not is_broken(self._connection):
                self._wire.patience_s = _LAST_ANSWER_S
                with suppress(psycopg.Error):
                    self._transaction(_WRITING, lambda wire: wire.execute(_OLD_RECEIPTS, {"session": self._session}))
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
