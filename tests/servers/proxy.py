"""A TCP proxy before a PostgreSQL server that loses what a network loses: replies to COMMIT, or connections anywhere.

It reads the server's messages (https://www.postgresql.org/docs/current/protocol-message-formats.html), so it can pass
on a COMMIT and cut the connection in place of the reply: the client cannot know what came of it.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_ENCRYPTION_REQUESTS = (80877103, 80877104)  # codes in place of the protocol's version: TLS and GSSAPI
_AT_ONCE = 65536


class Proxy:
    """Passes bytes between clients and the server at *port* of 127.0.0.1, from a thread; use it as a context manager.

    Args:
        port: the server's.
        drops: is asked at each reply to a COMMIT whether it is lost, and the connection with it.
        cut_after: is asked at each new connection after how many bytes, both ways together, it is cut; ``None``: never.

    Attributes:
        port: where clients connect.
        n_dropped: how many replies to COMMIT were lost.
        n_cut: how many connections were cut at some byte.
    """

    def __init__(
        self,
        port: int,
        *,
        drops: Callable[[], bool] = lambda: False,
        cut_after: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.n_dropped = self.n_cut = 0
        self._server_port, self._drops, self._cut_after = port, drops, cut_after
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = listening.getsockname()[1]
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(listening),))
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self, listening: socket.socket) -> None:
        server = await asyncio.start_server(self._connected, sock=listening)
        await self._ended.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, EOFError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until one side has had enough, or the connection is cut."""
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = await _startup(reader, writer)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            server_writer.write(first)
            left = _Left(self._cut_after())
            ways = [
                asyncio.create_task(_copy(reader, server_writer, left)),
                asyncio.create_task(self._copy_replies(server_reader, writer, left)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            self.n_cut += left.is_over
        finally:
            server_writer.transport.abort()

    async def _copy_replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: _Left) -> None:
        """Pass messages on one by one; end in place of a reply to COMMIT that is lost."""
        while True:
            head = await reader.readexactly(5)
            message = head + await reader.readexactly(int.from_bytes(head[1:], "big") - 4)
            if message[:1] == b"C" and message[5:-1] == b"COMMIT" and self._drops():
                self.n_dropped += 1
                return
            writer.write(left.of(message))
            await writer.drain()
            if left.is_over:
                return


class _Left:
    """How many bytes a connection still passes on."""

    def __init__(self, n: int | None) -> None:
        self._n = n
        self.is_over = False

    def of(self, data: bytes) -> bytes:
        if self._n is None:
            return data
        passed = data[: self._n]
        self._n -= len(passed)
        self.is_over = self._n == 0
        return passed


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the message that opens a session; encryption, which hides all later ones, is declined."""
    while True:
        head = await reader.readexactly(8)
        length, code = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        message = head + await reader.readexactly(length - 8)
        if code not in _ENCRYPTION_REQUESTS:
            return message
        writer.write(b"N")
        await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: _Left) -> None:
    while data := await reader.read(_AT_ONCE):
        writer.write(left.of(data))
        with suppress(ConnectionError):
            await writer.drain()
        if left.is_over:
            return


def now_and_then(share: float, seed: int, *, up_to: int) -> Callable[[], bool]:
    """Return what says yes with probability *share*, *up_to* times at most; also twice in a row."""
    rng, left = random.Random(seed), up_to

    def decide() -> bool:
        nonlocal left
        is_yes = left > 0 and rng.random() < share
        left -= is_yes
        return is_yes

    return decide


def at_any_byte(most: int, seed: int, *, up_to: int) -> Callable[[], int | None]:
    """Return what cuts *up_to* connections after 1 to *most* bytes each, as likely at each order of magnitude."""
    rng, left = random.Random(seed), up_to

    def decide() -> int | None:
        nonlocal left
        left -= 1
        return None if left < 0 else int(most ** rng.random())

    return decide
