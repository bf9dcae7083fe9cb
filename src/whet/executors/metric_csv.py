"""Reading a table of metrics that a program keeps in a file of comma-separated values, such as Lightning's metrics.csv.

The first line names the columns; each line below is a reading. Loggers rewrite the whole file when a column is added,
and some do so whenever they save. So the lines that have been taken in are remembered by what they say, without their
empty cells and in whatever order of columns, and after a rewrite only the others count.
"""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import csv
import io
import os
import stat
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator

from whet.executors.metric_value import Pair, value_of

_BLOCK = 64 * 1024  # also the longest line
_TAIL = 64  # bytes before our place in the file that tell a rewrite from an append
_HURRIED_BYTES = 64 * 1024
_MOST_KNOWN = 200_000  # lines remembered by what they say; those beyond by their place


class CsvFile:
    """One such file, read as it grows and changes."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._signature: tuple[int, ...] = ()
        self._known = array("q")  # the hash of each line of this pass through the file
        self._before: Counter[int] = Counter()  # of the lines of earlier passes that have not been met again
        self._n = self._n_before = 0
        self._is_earlier = False  # all that has been read is an earlier attempt's
        self._begin_anew()

    def skip(self, deadline: float) -> None:
        """Leave out what is in the file now, an earlier attempt's, and read it as far as the *deadline* allows."""
        try:
            is_read = all(time.monotonic() < deadline for _ in self.read(_leave_out, is_whole=False))
            if not is_read:
                self._go_to_end(0)
                self._signature = _signature(os.stat(self._path))
        except OSError:
            return
        self._is_earlier = True

    def hurry(self) -> None:
        """Go to the last lines of the file, for there is no time to read all."""
        self._go_to_end(_HURRIED_BYTES)

    def read(self, feed: Callable[[list[Pair]], None], *, is_whole: bool) -> Iterator[None]:
        """Feed the lines that are new, pausing after each; with *is_whole*, an unterminated last one, too."""
        status = os.stat(self._path)
        signature = _signature(status)
        is_unchanged = signature == self._signature and (self._is_earlier or not is_whole)
        if is_unchanged or not stat.S_ISREG(status.st_mode):
            return
        if self._is_earlier and not _is_larger(signature, self._signature):
            self._begin_anew()
        fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while data := self._next(fd):
                end = data.rfind(b"\n") + 1
                if not end and len(data) <= _BLOCK and not is_whole:
                    break
                for line in io.BytesIO(data[:end] if end else data):
                    self._take(line, feed)
                    yield
        finally:
            os.close(fd)
        self._signature = signature

    # ---- where we are in the file
    def _begin_anew(self) -> None:
        if not self._is_earlier:  # what another attempt begins anew may say the same again, and counts
            self._n_before = max(self._n_before, self._n)
            self._before.update(self._known)
        self._is_earlier = False
        self._known = array("q")
        self._n = self._offset = 0
        self._head = self._tail = b""  # the first line, and what we have read last, as they stand in the file
        self._header: list[str] | None = None
        self._is_in_long_line = False

    def _next(self, fd: int) -> bytes:
        """Return what follows in the file, from its beginning if it has been rewritten."""
        while True:
            data = os.pread(fd, _BLOCK + 1, self._offset)
            # Looked at after the reading: what was read before a rewrite is no more in doubt than ever.
            before = os.pread(fd, len(self._tail), self._offset - len(self._tail))
            if before == self._tail and os.pread(fd, len(self._head), 0) == self._head:
                return data
            self._begin_anew()

    def _go_to_end(self, margin: int) -> None:
        """Go to the end of the file, or to the first line that begins in its last *margin* bytes."""
        try:
            with open(self._path, "rb") as file:
                if self._header is None:
                    self._take(file.readline(_BLOCK), _leave_out)
                start = file.seek(0, os.SEEK_END) - margin
                if start <= self._offset:
                    return
                file.seek(start)
                self._offset = start + len(file.readline() if margin else b"")
                n = min(_TAIL, self._offset)
                self._tail = os.pread(file.fileno(), n, self._offset - n)
        except OSError:
            return

    # ---- lines
    def _take(self, line: bytes, feed: Callable[[list[Pair]], None]) -> None:
        self._is_earlier = False
        if not self._offset:
            self._head = line
        self._offset += len(line)
        self._tail = (self._tail + line[-_TAIL:])[-_TAIL:]
        is_ended = line.endswith(b"\n")
        is_too_long = self._is_in_long_line or len(line) > _BLOCK
        self._is_in_long_line = is_too_long and not is_ended
        if is_too_long or not line.strip():
            return
        if self._header is None:
            self._take_header(line)
            return
        cells = _cells(line)
        if len(cells) != len(self._header):
            return
        filled = [(name, cell) for name, cell in zip(self._header, cells, strict=True) if cell.strip()]
        if self._is_new(hash(tuple(sorted(filled)))):
            pairs = [(name, value) for name, cell in filled if name and (value := value_of(name, cell)) is not None]
            if pairs:
                feed(pairs)

    def _take_header(self, line: bytes) -> None:
        cells = [cell.strip() for cell in _cells(line)]
        is_header = any(cell and value_of(cell, cell) is None for cell in cells)
        self._header = cells if is_header else []

    def _is_new(self, said: int) -> bool:
        """Take note of a line; tell whether it had not been met before the file was rewritten."""
        self._n += 1
        if self._n > _MOST_KNOWN:
            return self._n > self._n_before
        self._known.append(said)
        if not self._before[said]:
            return True
        self._before[said] -= 1
        return False


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_larger(signature: tuple[int, ...], before: tuple[int, ...]) -> bool:
    """Tell whether something may have been appended to a file."""
    return signature[0] == before[0] and signature[1] > before[1]


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r\n")]), [])
    except csv.Error:
        return []


def _leave_out(pairs: list[Pair]) -> None:
    """Take in what is of no interest."""
