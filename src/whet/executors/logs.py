r"""A trial's output: kept raw in files of bounded size, cut into logical lines, its end made safe to print."""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH104, PTH105, PTH108, PTH118, PTH119

from __future__ import annotations

import os
import re

from whet.executors.metrics import strip_ansi
from whet.private import open_file

_BLOCK = 1 << 20
_LINE_BYTES = 64 * 1024  # of a line that are looked at for metrics
_TAIL_BYTES = 16 * 1024  # of a stream that are kept for the message of a failure
_N_LINES = 20
_N_CHARS = 3500
# What could reorder or break a line on a terminal, beyond the control characters that `strip_ansi` removes.
_TREACHEROUS = re.compile("[\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class CappedLog:
    """A file that keeps the first and the last bytes written to it, half of the cap each, and never fails.

    What goes beyond the first half is written in a ring behind it, which :meth:`close` puts in order, with a line in
    between that says how much was left out; until then (or if the writer is killed) the second half of a log beyond
    its cap is rotated. What cannot be written, for the disk is full, is dropped and counted.
    """

    def __init__(self, path: bytes, cap_bytes: int, *, is_lazy: bool = False) -> None:
        """Make the file; if *is_lazy* only once there is something to write."""
        self._path = path
        self._head = cap_bytes // 2
        self._ring = cap_bytes - self._head
        self._n_written = 0  # what was overwritten later included
        self._n_lost = 0
        self._trouble = ""
        self._fd = -1
        self._is_made = False
        if not is_lazy:
            self._make()

    def _make(self) -> None:
        self._is_made = True
        try:
            self._fd = open_file(self._path, os.O_RDWR | os.O_TRUNC)
        except OSError as error:
            self._trouble = error.strerror or str(error)

    def write(self, data: bytes) -> None:
        """Append *data*."""
        if not self._is_made and data:
            self._make()
        rest = memoryview(data)
        while rest and self._fd >= 0:
            at, room = self._place(self._n_written)
            try:
                n = os.pwrite(self._fd, rest[:room], at)
            except OSError as error:
                self._trouble = error.strerror or str(error)
                break
            self._n_written += n
            rest = rest[n:]
        self._n_lost += len(rest)

    def close(self) -> str:
        """Put the file in order; return what went wrong with it, empty if nothing did. Idempotent."""
        if self._fd >= 0:
            try:
                self._put_in_order()
            except OSError as error:
                self._trouble = error.strerror or str(error)
            os.close(self._fd)
            self._fd = -1
        name = os.fsdecode(os.path.basename(self._path))
        if self._n_lost:
            return f"{self._n_lost} bytes could not be written to {name}: {self._trouble}"
        return f"{name} could not be put in order: {self._trouble}" if self._trouble and self._n_written else ""

    def _place(self, position: int) -> tuple[int, int]:
        """Return where in the file the byte at *position* of the output goes, and how many go there in one piece."""
        if position < self._head:
            return position, self._head - position
        into = (position - self._head) % self._ring
        return self._head + into, self._ring - into

    def _put_in_order(self) -> None:
        n_left_out = self._n_written - self._head - self._ring
        if n_left_out <= 0:
            return
        oldest, n_behind = self._place(self._n_written)
        part = self._path + b".part"
        out = open_file(part, os.O_WRONLY | os.O_TRUNC)
        try:
            self._copy(out, 0, self._head)
            _write_all(out, b"\n[whet: %d bytes left out here]\n" % n_left_out)
            self._copy(out, oldest, n_behind)
            self._copy(out, self._head, oldest - self._head)
            os.replace(part, self._path)
        except OSError:
            os.unlink(part)
            raise
        finally:
            os.close(out)

    def _copy(self, out: int, start: int, n: int) -> None:
        end = start + n
        while start < end and (block := os.pread(self._fd, min(_BLOCK, end - start), start)):
            _write_all(out, block)
            start += len(block)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def keep_earlier(directory: bytes, name: str, attempt: int) -> None:
    """Rename file *name*, left by the attempt before *attempt*, to ``stdout.attempt1.log`` and the like."""
    stem, _, suffix = name.rpartition(".")
    path = os.path.join(directory, name.encode())
    try:
        os.rename(path, os.path.join(directory, f"{stem}.attempt{attempt - 1}.{suffix}".encode()))
    except OSError:
        return  # nearly always: there is none


class LineSplitter:
    r"""Cuts a stream into logical lines, in bounded memory.

    A line ends with ``\n``; of its states, set apart by ``\r`` as progress bars do, the last one that is not blank
    counts; of that its first 64 KiB are kept.
    """

    def __init__(self) -> None:
        self._state = b""  # what follows the last \r
        self._before = b""  # the last state before it that is not blank

    def feed(self, data: bytes, n_newest: int | None = None) -> list[bytes]:
        """Take in *data*; return the lines that are complete now, or only the *n_newest* of them."""
        if n_newest is None:
            *ended, rest = data.split(b"\n")
        else:
            *ended, rest = data.rsplit(b"\n", n_newest + 1)
            if len(ended) > n_newest:
                del ended[0]
                self.rest()
        lines = []
        for piece in ended:
            self._add(piece)
            lines.append(self.rest())
        self._add(rest)
        return lines

    def rest(self) -> bytes:
        """Return the line so far and begin a new one."""
        line = self._state if self._state.strip() else self._before
        self._state = self._before = b""
        return line

    def _add(self, piece: bytes) -> None:
        if not self._state and b"\r" not in piece:
            self._state = piece[:_LINE_BYTES]
            return
        for i, state in enumerate(piece.split(b"\r")):
            if i:
                self._before = self._state if self._state.strip() else self._before
                self._state = b""
            self._state += state[: _LINE_BYTES - len(self._state)]


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._bytes = b""
        self._is_cut = False

    def add(self, data: bytes) -> None:
        """Append *data*."""
        kept = b"" if len(data) >= _TAIL_BYTES else self._bytes
        self._is_cut = self._is_cut or len(kept) < len(self._bytes) or len(kept) + len(data) > _TAIL_BYTES
        self._bytes = (kept + data)[-_TAIL_BYTES:]

    def text(self) -> str:
        """Return the last lines as text that is safe to print: at most 20 lines, 3,500 characters."""
        splitter = LineSplitter()
        lines = [printable(line) for line in [*splitter.feed(self._bytes), splitter.rest()]]
        if self._is_cut and len(lines) > 1:
            del lines[0]  # its beginning is missing, perhaps that of an escape sequence
        lines = [line.rstrip() for line in lines]
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines[-_N_LINES:])[-_N_CHARS:].strip("\n")


def printable(line: bytes) -> str:
    """Return a line of output as text without escape sequences and control characters."""
    return _TREACHEROUS.sub("", strip_ansi(line.decode("utf-8", "replace")).replace("\n", " "))
