"""What is SQLite's own about a store: the connection, its transactions, and the file's checks when it is opened."""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Double, bindparam, literal_column
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.elements import ClauseElement

from whet._version import __version__
from whet.core.owner import boot_id
from whet.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreTooNew
from whet.storage import schema
from whet.storage.database import Session, T
from whet.storage.files import beside, inode, make_private, prepare, size
from whet.storage.locks import Holder, WriteLock, hold, holder, let_go
from whet.storage.rows import Written
from whet.storage.statements import Statements

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DIALECT = sqlite.dialect(paramstyle="named")
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def remedy_for(path: Path) -> str:
    """Return what to do about a damaged file."""
    return f"To save what can be read of it in a new file: whet doctor --store {shlex.quote(str(path))} --recover FILE"


def _compiled(statement: ClauseElement) -> str:
    """Return *statement* as SQLite's SQL with named parameters."""
    return str(statement.compile(dialect=_DIALECT))


SQL = Statements(_compiled, sqlite.insert, bindparam("now", type_=Double), literal_column("-1e300", Double))


class _Session:
    """A transaction on *connection*.

    At its end its cursors are closed. One that was not read to its end would go on reading after a rollback, as long as
    anybody has it (a traceback, say), and as soon as somebody else has written, SQLite refuses to write beside it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursors: list[sqlite3.Cursor] = []

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None, /) -> sqlite3.Cursor:
        cursor = self._connection.execute(query, parameters or {})
        self._cursors.append(cursor)
        return cursor

    def executemany(self, query: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self._connection.executemany(query, rows).close()

    def close(self) -> None:
        for cursor in self._cursors:
            cursor.close()


class SqliteFile:
    """A database file of ours, open: one connection, used by one thread at a time.

    Attributes:
        path, place: absolute, links resolved; and as text.
        remedy: what to do where it holds what whet did not write.
        read_only: whether the file or its folder cannot be written to.

    Raises:
        StoreError: the file cannot be used; the kind of error says why. It is left as it was.
        StudyNotFound: there is no such file and *must_exist* is set.
    """

    sql = SQL

    def __init__(self, path: Path, *, must_exist: bool, wait_s: float) -> None:
        self.path = Path(os.path.realpath(path))  # by whatever name it is opened, it has the same lock files
        self.place = str(self.path)
        self.remedy = remedy_for(self.path)
        with self.translated():
            self.read_only = prepare(self.path, must_exist)
        self._wait_s = wait_s
        self._mutex = threading.RLock()
        self._pid = os.getpid()
        self._is_durable: bool | None = None
        self._connection: sqlite3.Connection | None = None
        self._write_lock = WriteLock(beside(self.path, ".lock"), wait_s)
        with self.translated():
            self._connection = self._connect()
            try:
                self._verify()
            except BaseException:
                self.close()
                raise
        self._inode = inode(self.path)

    @property
    def url(self) -> str:
        """The place as `open_store` reads it."""
        path = str(self.path)
        return path if "?" in path else f"sqlite:///{path}"

    def read(self, work: Callable[[Session], T]) -> T:
        """See `Database.read`."""
        with self.reading(), closing(_Session(self._open_connection())) as session:
            return work(session)

    def write(self, work: Callable[[Session], T], *, study: int | None = None, durable: bool = True) -> T:
        """See `Database.write`."""
        with self.writing(durable=durable), closing(_Session(self._open_connection())) as session:
            return work(session)

    def put(self, session: Session, rows: Written) -> None:
        """See `Database.put`."""
        assert isinstance(session, _Session), "of this database"
        session.executemany(SQL.add_event, rows.event)
        session.executemany(SQL.add_trial, rows.trial[: rows.n_new])
        session.executemany(SQL.put_trial, rows.trial[rows.n_new :])
        session.executemany(SQL.put_curve, rows.curve)
        session.execute(SQL.set_progress, {"study_id": rows.study, **rows.progress})

    def moment(self) -> dict[str, Any]:
        """See `Database.moment`. All processes are on this host, whose clock nobody sets and each boot starts anew."""
        return {"now": time.monotonic(), "boot": boot_id()}

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """Give a cursor in a read transaction: everything read belongs to one moment."""
        self._open_connection()  # a forked child may find the mutex locked for ever
        with self._mutex, self.translated(), self._transaction("BEGIN") as cursor:
            yield cursor

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Cursor]:
        """Give a cursor in a write transaction, committed at the end, rolled back by an exception.

        A durable one is on the disk at the end, by one fsync. Another one costs no fsync: it survives the death of
        this process, and is on the disk with the next durable one, as both are in the same log.
        """
        self._open_connection()  # as above
        with self._mutex, self.translated():
            self._refuse_if_read_only()
            with self._write_lock.held():
                if inode(self.path) != self._inode:
                    raise StoreError(
                        f"{self.path} was deleted, moved or replaced while it was in use, so nothing was written; "
                        "put it back, or start again"
                    )
                if durable != self._is_durable:
                    self._pragma(f"synchronous={'FULL' if durable else 'NORMAL'}")
                    self._is_durable = durable
                with self._transaction("BEGIN IMMEDIATE") as cursor:
                    yield cursor

    @contextmanager
    def hold(self, study: int, *, shared: bool) -> Iterator[bool]:
        """Be the one process that runs *study*, or one of several that share it, if that can be: the value tells."""
        with self.translated():
            self._refuse_if_read_only()
            fd = hold(self._hold_path(study), shared=shared)
        try:
            yield fd is not None
        finally:
            if fd is not None:
                let_go(fd)

    def holders(self, studies: Sequence[int]) -> dict[int, Holder]:
        """See `Database.holders`."""
        found = {study: holder(self._hold_path(study)) for study in studies}
        return {study: who for study, who in found.items() if who is not None}

    def forget(self, study: int) -> None:
        """Remove what is kept for *study* beside the database; by its holder."""
        self._hold_path(study).unlink(missing_ok=True)

    def _hold_path(self, study: int) -> Path:
        return beside(self.path, f".{study}.lock")

    def close(self) -> None:
        """Close the connection. The last one to close folds the write-ahead log into the file."""
        if os.getpid() != self._pid:
            return  # it belongs to the parent
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                # Under the lock, as every write is: no two processes of ours ever write back the log at the same time,
                # which SQLite before 3.51.3 does not survive in all cases (https://sqlite.org/wal.html#walresetbug).
                locked = nullcontext() if self.read_only else self._write_lock.held()
                with suppress(StoreError, OSError, sqlite3.Error), locked:
                    connection.close()
            self._write_lock.close()

    # ------------------------------------------------------------------------------------------------ opening
    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            make_private(self.path)  # its log and the log's index get the mode of the file
        try:
            return self._connect_as("ro" if self.read_only else "rwc")
        except sqlite3.OperationalError:
            # A log cannot be read where its index cannot be made. Where there is none, nobody is writing.
            if not self.read_only or size(beside(self.path, "-wal")):
                raise
            return self._connect_as("ro&immutable=1")

    def _connect_as(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(os.fsencode(self.path))}?mode={mode}"
        # Transactions are begun in `_transaction`: the driver by itself would begin them too late.
        connection = sqlite3.connect(uri, uri=True, timeout=self._wait_s, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA application_id").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _verify(self) -> None:
        """See that the file is ours, making the tables in a new one."""
        if self._pragma("page_count") == 0 and not self.read_only:
            with self._write_lock.held():
                if self._pragma("page_count") == 0 and size(self.path) == 0:  # SQLite takes a single byte for none
                    self._create()
        if self._pragma("application_id") != schema.APPLICATION_ID:
            raise StoreDamaged(
                f"{self.path} is a database, but not one of whet; it is left as it is: give another file with --store"
            )
        version = int(self._pragma("user_version"))
        if version > schema.SCHEMA_VERSION:
            raise StoreTooNew(
                f"{self.path} was written by a newer whet: it has format {version}, and whet {__version__} knows "
                f"formats up to {schema.SCHEMA_VERSION}; upgrade with `pip install -U whet`"
            )
        if not self.read_only and self._pragma("journal_mode") != "wal":
            with self._write_lock.held():
                self._pragma("journal_mode=WAL")
        if version < schema.SCHEMA_VERSION:
            self._migrate()

    def _migrate(self) -> None:
        """Bring a file of an older format up to date, after a copy of it as it is."""
        if self.read_only:
            raise StoreFull(
                f"{self.path} is of an older format, and cannot be brought up to date as it cannot be written to: "
                "copy it to where it can"
            )
        with self._write_lock.held():
            version = int(self._pragma("user_version"))
            if version >= schema.SCHEMA_VERSION:
                return  # another process was faster
            self._back_up(beside(self.path, f".format-{version}"))
            with self._transaction("BEGIN IMMEDIATE") as cursor:
                for older in range(version, schema.SCHEMA_VERSION):
                    for statement in schema.MIGRATIONS[older]:
                        cursor.execute(statement)
                self._pragma(f"user_version={schema.SCHEMA_VERSION}")

    def _back_up(self, to: Path) -> None:
        """Copy the database, with what is in its log, to the file *to*, which is whole or not there at all."""
        part = beside(to, ".part")
        for suffix in ("", "-journal", "-wal", "-shm"):  # of one who was killed here: SQLite would apply them to ours
            beside(part, suffix).unlink(missing_ok=True)
        try:
            make_private(part)
            with closing(sqlite3.connect(part)) as copy:
                self._open_connection().backup(copy)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    def _create(self) -> None:
        # In the rollback journal, not yet in WAL mode: so the file is complete, or empty, at every moment.
        with self._transaction("BEGIN IMMEDIATE") as cursor:
            for table in schema.TABLES:
                cursor.execute(str(CreateTable(table).compile(dialect=_DIALECT)))
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    cursor.execute(str(CreateIndex(index).compile(dialect=_DIALECT)))
            self._pragma(f"application_id={schema.APPLICATION_ID}")
            self._pragma(f"user_version={schema.SCHEMA_VERSION}")

    # ------------------------------------------------------------------------------------------------ helpers
    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Cursor]:
        connection = self._open_connection()
        if connection.in_transaction:  # one that could not be rolled back when the disk failed
            connection.rollback()
        cursor = connection.cursor()
        cursor.execute(begin)
        try:
            yield cursor
            connection.commit()
        finally:
            cursor.close()
            if connection.in_transaction:
                connection.rollback()

    def _pragma(self, text: str) -> Any:
        row = self._open_connection().execute(f"PRAGMA {text}").fetchone()
        return None if row is None else row[0]

    def _open_connection(self) -> sqlite3.Connection:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self.path} was opened by process {self._pid} and this is its child {os.getpid()}; "
                "open the store again in the child"
            )
        if self._connection is None:
            raise StoreError(f"the store {self.path} is closed; open it again")
        return self._connection

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise StoreFull(f"{self.path} cannot be written to: no permission, or a read-only disk")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn errors of SQLite and of the operating system into ours."""
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # our own mistake
        except (sqlite3.Error, OSError) as error:
            raise store_error(error, self.path) from error


def store_error(error: BaseException | None, path: Path) -> StoreError:
    """Return what *error*, of SQLite or the operating system, means for the one who uses *path*."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = sqlite3.SQLITE_CORRUPT if code is None else code & 0xFF
    if isinstance(error, OSError):
        return StoreFull(f"{path} cannot be used ({error.strerror}): is the disk full, read-only or gone?")
    if primary in _BUSY:
        return StoreBusy(f"another program keeps {path} locked ({error}); close what else has it open")
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull(f"there is no space left on the disk of {path}; free some and go on: nothing is damaged")
    if primary == sqlite3.SQLITE_IOERR:
        return StoreFull(f"{path} cannot be read or written ({error}): is the disk full, failing or gone?")
    if primary in _UNWRITABLE:
        return StoreFull(f"{path} cannot be opened or written to ({error}): no permission, or its folder is gone")
    if primary in (sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_INTERRUPT):
        return StoreError(f"{path}: {error}")
    return StoreDamaged(f"{path} is damaged, or no database at all ({error}); it is left as it is. {remedy_for(path)}")
