"""Statements to a PostgreSQL server and their rows, as few packets as can be: libpq's own pipeline mode.

psycopg's own cursors wake the server for each statement and take longer than it does. All that time the study is
locked, so it is what every other process waits for.
"""

from __future__ import annotations

import re
import select
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGresult

_PARAMETER = re.compile(r"%\((\w+)\)s")
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Rows:
    """The rows that a statement gives. The first one that is needed sends all that was not sent yet."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loaded: Iterator[Any] = iter(())

    def put(self, result: PGresult) -> None:
        """Take the answer."""
        self._loaded = iter(self._wire.loaded(result))

    def fetchone(self) -> Any:
        """See `whet.storage.database.Found`."""
        self._wire.settle()
        return next(self._loaded, None)

    def fetchall(self) -> list[Any]:
        """See `whet.storage.database.Found`."""
        self._wire.settle()
        return list(self._loaded)

    def __iter__(self) -> Iterator[Any]:
        """See `whet.storage.database.Found`."""
        return iter(self.fetchall())


class Wire:
    """Runs statements on *connection*, each prepared at its first use, between :meth:`begin` and :meth:`end`.

    A server that says nothing for *patience_s* is taken for lost, though the network says that it is there.
    """

    def __init__(self, connection: psycopg.Connection, patience_s: float) -> None:
        self._connection, self._libpq = connection, connection.pgconn
        self.patience_s = patience_s
        self._prepared: dict[str, tuple[bytes, list[str]]] = {}
        self._n_prepared = 0
        self._sent: list[Rows] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is begun, nor left of what was given up in the middle."""
        libpq = self._libpq
        return libpq.pipeline_status == PipelineStatus.OFF and libpq.transaction_status == TransactionStatus.IDLE

    def execute(self, query: str, parameters: Mapping[str, Any] | None = None, /) -> Rows:
        """See `whet.storage.database.Session`."""
        if query not in self._prepared:
            self._prepare(query)
        name, wanted = self._prepared[query]
        given = parameters or {}
        self._libpq.send_query_prepared(name, [_text(given[key]) for key in wanted], result_format=Format.BINARY)
        return self._awaited()

    def begin(self, statement: str) -> None:
        """Begin a transaction by *statement*."""
        self._libpq.enter_pipeline_mode()
        self.execute(statement)

    def end(self) -> None:
        """Wait for what was sent last.

        Raises:
            psycopg.Error: it was not possible, or what came of it is not known.
        """
        self.settle()
        self._libpq.exit_pipeline_mode()

    def undo(self) -> None:
        """Roll back what was begun and failed. Where that cannot be, the connection is closed, which does the same."""
        try:
            self.settle()
            self.execute("ROLLBACK")
            self.settle()
            self._libpq.exit_pipeline_mode()
        except BaseException as error:
            self._connection.close()
            if not isinstance(error, psycopg.Error):  # a second Ctrl-C
                raise

    def settle(self) -> None:
        """Send what was not sent yet, and wait for all answers.

        The server is told that nothing follows for now: else it would take us for busy, and if we are suspended before
        the transaction ends, it would never end it (`idle_in_transaction_session_timeout`).
        """
        if not self._sent:
            return
        sent, self._sent = self._sent, []
        try:
            self._libpq.pipeline_sync()
            results = self._exchanged()
        except BaseException:  # in the middle of it, as by Ctrl-C: what comes next would be taken for something else
            self._connection.close()
            raise
        for rows, result in zip(sent, results, strict=False):
            if result.status not in _GOOD:
                self._prepared.clear()  # those that came after it were not prepared
                raise error_from_result(result)
            rows.put(result)

    def loaded(self, result: PGresult) -> Sequence[Any]:
        """Return the rows of *result* as Python's values."""
        if not result.ntuples:
            return ()
        transformer = Transformer(self._connection)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)

    # ------------------------------------------------------------------------------------------------ helpers
    def _prepare(self, query: str) -> None:
        names = list(dict.fromkeys(_PARAMETER.findall(query)))
        text = _PARAMETER.sub(lambda match: f"${1 + names.index(match[1])}", query)
        self._n_prepared += 1
        name = b"whet_%d" % self._n_prepared
        self._libpq.send_prepare(name, text.encode())
        self._awaited()
        self._prepared[query] = name, names

    def _awaited(self) -> Rows:
        rows = Rows(self)
        self._sent.append(rows)
        return rows

    def _exchanged(self) -> list[PGresult]:
        """Send what libpq has and return the answers, up to the one that says that nothing follows."""
        libpq, poll, is_sent = self._libpq, select.poll(), False
        results: list[PGresult] = []
        poll.register(libpq.socket, select.POLLIN | select.POLLOUT)
        while True:
            if not poll.poll(1000 * self.patience_s):
                raise psycopg.OperationalError(f"the server has not answered for {self.patience_s:g} s")
            if not is_sent and not libpq.flush():
                is_sent = True
                poll.modify(libpq.socket, select.POLLIN)
            else:
                libpq.consume_input()
            while not libpq.is_busy():
                result = libpq.get_result()
                if result is None:  # between the answers of two statements
                    if libpq.status != ConnStatus.OK:  # or there is none to come
                        raise psycopg.OperationalError("the connection is lost")
                    continue
                if result.status == ExecStatus.PIPELINE_SYNC:
                    return results
                results.append(result)


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, list):
        return f"{{{','.join(map(str, value))}}}".encode()
    text = str(value).encode()
    if b"\0" in text:  # where libpq would end it
        raise psycopg.DataError("PostgreSQL cannot take text with the character 0")
    return text
