"""Reading the log in Hugging Face's ``trainer_state.json``.

The trainer writes the whole log anew into each checkpoint's directory, so an entry is met again in every later copy;
it counts once. The log is read entry by entry, so that half of a file is no trouble and a long one can be paused at.
"""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH116

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator

from whet.executors.metric_value import Pair

_MOST_BYTES = 64 << 20
_BLOCK = 1 << 20
_MOST_ENTRIES = 200_000  # of all copies together
_LOG = re.compile(r'"log_history"\s*:\s*\[')  # within a text there would be a backslash before each quote
_BETWEEN = re.compile(r"[\s,]*")
_decode = json.JSONDecoder(parse_int=float).raw_decode  # an int of 5,000 digits would be refused, as a float not


class TrainerFile:
    """One copy of the log.

    Args:
        path: of the copy.
        known: what the entries of all copies say that have been taken in; added to.
    """

    def __init__(self, path: bytes, known: set[int]) -> None:
        self._path, self._known = path, known
        self._signature: tuple[int, ...] = ()

    def skip(self, deadline: float) -> None:
        """Leave out the file as it is now; what another attempt writes counts, with all that it goes on from."""
        try:
            self._signature = _signature(os.stat(self._path))
        except OSError:
            return

    def hurry(self) -> None:
        """Do nothing: the last entry is found only behind all the others."""

    def read(self, feed: Callable[[list[Pair]], None], *, is_whole: bool) -> Iterator[None]:
        """Feed the entries that are new, pausing after each."""
        status = os.stat(self._path)
        signature = _signature(status)
        if signature == self._signature or not stat.S_ISREG(status.st_mode):
            return
        blocks = []
        fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            for at in range(0, _MOST_BYTES, _BLOCK):
                blocks.append(os.pread(fd, _BLOCK, at))
                if not blocks[-1]:
                    break
                yield
        finally:
            os.close(fd)
        for entry in _entries(b"".join(blocks).decode("utf-8", "replace")):
            pairs = [(name, value) for name, value in entry.items() if isinstance(value, float)]
            said = hash(tuple(sorted(map(str, pairs))))
            if pairs and said not in self._known and len(self._known) < _MOST_ENTRIES:
                self._known.add(said)
                feed(pairs)
            yield
        self._signature = signature


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _entries(text: str) -> Iterator[dict[str, object]]:
    """Yield the entries of the log as far as it is written."""
    found = _LOG.search(text)
    at = found.end() if found else len(text)
    while between := _BETWEEN.match(text, at):
        at = between.end()
        if not text.startswith("{", at):
            return
        try:
            entry, at = _decode(text, at)
        except (ValueError, RecursionError):
            return
        yield entry
