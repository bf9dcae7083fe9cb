"""Studies in a PostgreSQL database: transactions that outlive the loss of a connection, and who runs a study."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psycopg

from whet.core.owner import is_gone
from whet.errors import StoreError, StudyBusy
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
from whet.storage.rows import Written
from whet.storage.urls import without_password

_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_KEPT_S = 7 * 24 * 3600.0  # receipts of sessions that did not end well
_RECEIPT = (
    f"INSERT INTO {SCHEMA}.receipt (session, last, at) VALUES (%(session)s, %(last)s, {NOW}) "  # noqa: S608
    "ON CONFLICT (session) DO UPDATE SET last = excluded.last, at = excluded.at"
)
# Waits for a transaction of this session that has not ended yet, if there is one: it has written its receipt first.
_LAST_RECEIPT = (
    f"INSERT INTO {SCHEMA}.receipt (session, last, at) VALUES (%(session)s, 0, {NOW}) "  # noqa: S608
    "ON CONFLICT (session) DO UPDATE SET at = excluded.at RETURNING last"
)
_OLD_RECEIPTS = f"DELETE FROM {SCHEMA}.receipt WHERE session = %(session)s OR at < {NOW} - {_KEPT_S}"  # noqa: S608


class _Session:
    """A transaction on *connection*. With a *pipeline*, statements travel together, when the first row is needed."""

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline | None) -> None:
        self._connection, self._pipeline = connection, pipeline
        self._is_underway = False

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None, /) -> _Rows:
        cursor = self._connection.cursor(binary=True)
        cursor.execute(query.encode(), parameters)
        self._is_underway = True
        return _Rows(self, cursor)

    def settle(self) -> None:
        """Wait for the answers to all that was sent.

        The server is told that nothing follows for now: else it would take us for busy, and if we are suspended before
        the transaction ends, it would never end it (`idle_in_transaction_session_timeout`).
        """
        if self._is_underway and self._pipeline is not None:
            self._pipeline.sync()
        self._is_underway = False


class _Rows:
    """The rows that a statement gives, once its answer is there."""

    def __init__(self, session: _Session, cursor: psycopg.Cursor[Any]) -> None:
        self._session, self._cursor = session, cursor

    def fetchone(self) -> Any:
        self._session.settle()
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        self._session.settle()
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())


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
        self._connection: psycopg.Connection | None = None
        self._lost: dict[int, str] = {}  # studies that this process ran, and whom they were given to since

        def first() -> None:
            prepare(self._connected(), self.place, must_exist=must_exist)
            self._is_verified = True

        try:
            self._insisting(first)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------------------------------ transactions
    def read(self, work: Callable[[_Session], T]) -> T:
        """See `Database.read`."""
        with self._mutex:
            return self._insisting(lambda: self._transaction(_READING, work))

    def write(self, work: Callable[[_Session], T], *, study: int | None = None, durable: bool = True) -> T:
        """See `Database.write`. All are durable: what others have seen must not be gone after a crash of the server."""
        with self._mutex:
            if study in self._lost:
                raise StudyBusy(self._lost[study])
            self._n_commits += 1
            receipt = {"session": self._session, "last": self._n_commits}
            computed: list[T] = []  # by a transaction whose fate is not known

            def receipted(session: _Session) -> T:
                session.execute(_RECEIPT, receipt)
                result = work(session)
                computed.append(result)
                return result

            def once() -> T:
                if computed and self._is_committed(receipt):
                    return computed[-1]
                computed.clear()
                return self._transaction(_WRITING, receipted)

            return self._insisting(once)

    def _transaction(self, begin: str, work: Callable[[_Session], T]) -> T:
        connection = self._connected()
        together = connection.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()
        try:
            with together as pipeline:
                session = _Session(connection, pipeline)
                session.execute(begin)
                result = work(session)
                session.execute("COMMIT")
        except BaseException:
            with suppress(psycopg.Error):
                connection.rollback()
            raise
        return result

    def _is_committed(self, receipt: Mapping[str, Any]) -> bool:
        """Tell whether the transaction that wrote *receipt* is there, once it can come to be there no more."""
        found: Any = self._connected().execute(_LAST_RECEIPT.encode(), receipt).fetchone()
        return bool(found[0] == receipt["last"])

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
                now = time.monotonic()
                deadline = now + self._wait_s if deadline is None else deadline
                if now >= deadline:
                    raise away(error, self.place) from error
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

    def holders(self, studies: Sequence[int]) -> dict[int, Holder]:
        """See `Database.holders`."""
        found = self.read(lambda session: holders(session, studies)) if studies else []
        return {study: holder for study, owner, holder in reversed(found) if not is_gone(owner)}

    def forget(self, study: int) -> None:
        """See `Database.forget`. Nothing is left."""

    # ------------------------------------------------------------------------------------------------ the connection
    def _connected(self) -> psycopg.Connection:
        connection = self._connection
        if connection is None or is_broken(connection):
            self._connection = None
            if connection is not None:
                connection.close()
            self._connection = connection = connected(self._options, self._wait_s)
        return connection

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
        with self._mutex:
            self._is_closed = True
            connection, self._connection = self._connection, None
            if connection is None:
                return
            if self._n_commits and not is_broken(connection):
                with suppress(psycopg.Error):
                    connection.execute(_OLD_RECEIPTS.encode(), {"session": self._session})
            connection.close()
