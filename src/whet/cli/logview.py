"""A trial's logs as they are shown: the end of them, safe to print, or as they grow."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from whet.executors.metrics import strip_ansi
from whet.text import printable

_BLOCK = 64 * 1024
_LONGEST_LINE = 64 * 1024  # characters; of a longer line, pieces are shown as they come


class Cleaner:
    r"""Turns the bytes of a log into text that is safe to print, in bounded memory.

    Of a line that overwrites itself with ``\r``, as progress bars do, the last state that is not blank is shown.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._is_cut = False  # the beginning of the line has been shown

    def feed(self, data: bytes) -> str:
        """Return what can be shown now that *data* has come."""
        *lines, rest = (self._pending + self._decoder.decode(data)).split("\n")
        shown = [f"{_shown(line)}\n" for line in lines]
        *earlier, last = rest.split("\r")
        before = _last_state(earlier)
        self._pending = f"{before}\r{last}" if before else last
        self._is_cut &= not lines
        if len(self._pending) > _LONGEST_LINE:
            shown.append(_shown(self._pending))
            self._pending, self._is_cut = "", True
        return "".join(shown)

    def rest(self) -> str:
        """Return what is left: a last line without an end, which is given one."""
        line = _shown(self._pending + self._decoder.decode(b"", final=True))
        is_cut, self._pending, self._is_cut = self._is_cut, "", False
        return f"{line}\n" if line or is_cut else ""


def _shown(line: str) -> str:
    return printable(strip_ansi(_last_state(line.split("\r")))).replace("\n", " ")


def _last_state(states: list[str]) -> str:
    return next((state for state in reversed(states) if state.strip()), "")


class GrowingLog:
    """A log file, there or not yet, read from where the last reading ended.

    Attributes:
        name: of the file.
    """

    def __init__(self, path: Path, n_lines: int | None) -> None:
        """Begin at the last *n_lines* lines, or at the beginning."""
        self.name = path.name
        self._path = path
        self._n_lines = n_lines
        self._file: BinaryIO | None = None

    def read(self) -> Iterator[bytes]:
        """Yield what has come since the last call, in pieces."""
        if self._file is None:
            self._open()
        if self._file is not None:
            while data := self._file.read(_BLOCK):
                yield data

    @property
    def is_replaced(self) -> bool:
        """Tell whether a log beyond its cap has been put in order, so that there is no place to go on from."""
        return self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0

    def begin_next(self) -> bool:
        """Turn to the log of the next attempt if there is one; tell whether there is."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        if self._file is None or os.path.samestat(found, os.fstat(self._file.fileno())) or self.is_replaced:
            return False
        self.close()
        self._n_lines = None
        return True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            # Not through a link: the trial could have made one that leads anywhere.
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        self._file = os.fdopen(fd, "rb", buffering=0)
        if self._n_lines is not None:
            self._file.seek(tail_start(self._file, self._n_lines))


def tail_start(file: BinaryIO, n_lines: int) -> int:
    """Return where the last *n_lines* lines of *file* begin, reading no more of it than these."""
    end = file.seek(0, os.SEEK_END)
    n_left = n_lines + 1  # line ends to meet; the one at the very end is that of the last line
    at = end
    while at > 0:
        start = max(0, at - _BLOCK)
        file.seek(start)
        block = file.read(at - start)
        if at == end and not block.endswith(b"\n"):
            n_left -= 1
        position = len(block)
        while n_left and (position := block.rfind(b"\n", 0, position)) >= 0:
            n_left -= 1
        if not n_left:
            return start + position + 1
        at = start
    return 0


class Printer:
    """Prints what the logs of a trial hold: cleaned and, if *is_headed*, each under its name; or byte for byte."""

    def __init__(self, names: Sequence[str], *, is_raw: bool, is_headed: bool) -> None:
        self._cleaners = {name: Cleaner() for name in names}
        self._is_raw, self._is_headed = is_raw, is_headed
        self._last: str | None = None  # the log printed last
        self._is_fresh = True  # nothing has been printed yet

    def data(self, name: str, data: bytes) -> None:
        """Print *data*, which comes from log *name*; what a cleaned line lacks waits for the rest of it."""
        if self._is_raw:
            out = sys.stderr.buffer if name.startswith("stderr") else sys.stdout.buffer
            out.write(data)
            out.flush()
        else:
            self._text(name, self._cleaners[name].feed(data))

    def end(self, name: str) -> None:
        """Print what still waits of log *name*."""
        if not self._is_raw:
            self._text(name, self._cleaners[name].rest())

    def heading(self, text: str) -> None:
        """Print a line of our own between what the trial printed; not if it is to be byte for byte."""
        if not self._is_raw:
            sys.stdout.write(f"{'' if self._is_fresh else chr(10)}==> {text} <==\n")
            sys.stdout.flush()
            self._is_fresh = False

    def _text(self, name: str, text: str) -> None:
        if not text:
            return
        if self._is_headed and name != self._last:
            self.heading(name)
        self._last, self._is_fresh = name, False
        sys.stdout.write(text)
        sys.stdout.flush()
