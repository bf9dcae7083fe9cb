"""One of a trial's two outputs, on its way into a log and to the reader of metrics."""

from __future__ import annotations

import os

from whet.executors.logs import CappedLog, LineSplitter, Tail
from whet.executors.readings import Readings

_READ_BYTES = 64 * 1024
_EXACT_BYTES = 4 << 20  # of a stream; after that a flood is sampled: of what comes in one piece, the newest lines
_FLOOD_LINES = 20


class Stream:
    """Our end of an output.

    Attributes:
        fd: what to wait on and to read from.
        tail: its last bytes.
    """

    def __init__(self, fd: int, log: CappedLog, *, is_read: bool = True) -> None:
        """Take over the descriptor *fd*; with *is_read*, what comes is read for metrics."""
        self.fd = fd
        self._is_read = is_read
        self.log = log
        self.tail = Tail()
        self._lines = LineSplitter()
        self._n_bytes = 0

    def pump(self, readings: Readings) -> int:
        """Take in a piece of output; return its size: 0 at the end of the stream, -1 if nothing has come."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return -1
        except OSError:  # how a terminal ends on Linux
            return 0
        self.log.write(data)
        self.tail.add(data)
        self._n_bytes += len(data)
        if not self._is_read:
            return len(data)
        for line in self._lines.feed(data, None if self._n_bytes <= _EXACT_BYTES else _FLOOD_LINES):
            readings.feed(line)
        return len(data)

    def finish(self, readings: Readings) -> str:
        """Take in the last line, close the file; return what went wrong with it."""
        if self._is_read:
            readings.feed(self._lines.rest())
        os.close(self.fd)
        return self.log.close()
