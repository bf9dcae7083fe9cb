"""What one attempt has measured: the last value of every metric, the rows to report, and the file that keeps all."""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable

from whet.core.jsontext import dumps
from whet.executors.metric_value import Pair
from whet.executors.metrics import MetricReader, Reading, find_metric, folded
from whet.private import open_file

_MAX_NAMES = 1_000
_MAX_ROWS = 1_000  # that wait for the coordinator
_MAX_WAITING = 64 * 1024  # characters of metrics.jsonl that are not written yet
_BLOCK = 64 * 1024
_BLOCKS_AT_ONCE = 16


class Readings:
    """The metrics of one attempt.

    Attributes:
        last: the last value of every metric seen, by name.
    """

    def __init__(self, watch: Iterable[str] | None, pattern: str | None, path: bytes, cap_bytes: int) -> None:
        """Begin with nothing.

        Args:
            watch: the metrics to report as rows; ``None`` for all.
            pattern: of lines that are not read otherwise.
            path: of the file that keeps all.
            cap_bytes: of that file.
        """
        self.last: dict[str, float] = {}
        self._reader = MetricReader(pattern)
        self._streams_all = watch is None
        self._matching: dict[str, list[str]] = {wanted: [] for wanted in watch or ()}
        self._sources: dict[str, str] = {}  # where each metric was seen first; empty: in the output
        self._simple_sources: dict[str, str] = {}
        self._streamed: dict[str, str] = {}  # the name seen that each metric on watch stands for
        self._rows: list[tuple[float, dict[str, float]]] = []
        self._path, self._room = path, cap_bytes
        self._fd = -1
        self._waiting: list[str] = []
        self._n_waiting = 0
        self._notes: dict[str, None] = {}

    def feed(self, line: bytes) -> None:
        """Take in a line of output."""
        self._keep(self._reader.feed(line.decode("utf-8", "replace")))

    def feed_json(self, line: bytes) -> None:
        """Take in a line of the file that the program appends to on purpose."""
        self._keep(self._reader.feed_json(line.decode("utf-8", "replace")))

    def feed_pairs(self, source: str, pairs: list[Pair]) -> None:
        """Take in what a file of metrics says at one place; *source* is what kind of file that is.

        Of a metric that several kinds of files hold, or that is printed as well, the first that was seen counts.
        """
        self._keep(self._reader.read_pairs(pairs), source)

    def feed_row(self, step: float, metrics: dict[str, float]) -> None:
        """Take in what a function has reported."""
        self._keep(Reading(int(step) if step.is_integer() else step, metrics, counted=False))

    def feed_values(self, metrics: dict[str, float]) -> None:
        """Take in the values that a function ended with, which belong to no step."""
        self.last.update({name: value for name, value in metrics.items() if self._counts(name, "")})

    @property
    def has_news(self) -> bool:
        """Tell whether there is anything to report or to write."""
        return bool(self._rows or self._waiting)

    def take_rows(self) -> list[tuple[float, dict[str, float]]]:
        """Return the rows that have not been reported yet, and forget them."""
        rows, self._rows = self._rows, []
        return rows

    def write(self) -> None:
        """Write what waits to ``metrics.jsonl``; what finds no room is dropped, with one note."""
        text = "".join(self._waiting).encode()
        self._waiting.clear()
        self._n_waiting = 0
        if not text or self._room <= 0:
            return
        if len(text) > self._room:
            self._notes["metrics.jsonl has reached its cap; later readings are not in it"] = None
            text = text[: text.rfind(b"\n", 0, self._room) + 1] + b'{"note":"the file has reached its cap"}\n'
            self._room = 0
        self._room -= len(text)
        try:
            if self._fd < 0:
                self._fd = open_file(self._path, os.O_WRONLY | os.O_TRUNC)
            os.write(self._fd, text)
        except OSError as error:
            self._notes[f"metrics.jsonl could not be written: {error.strerror}"] = None

    def close(self) -> list[str]:
        """Write the rest; return notes on what is missing."""
        self.write()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return list(self._notes)

    def _keep(self, reading: Reading | None, source: str = "") -> None:
        if reading is None:
            return
        metrics = {name: value for name, value in reading.metrics.items() if self._counts(name, source)}
        if not metrics:
            return
        self.last.update(metrics)
        streamed = {wanted: metrics[seen] for wanted, seen in self._streamed.items() if seen in metrics}
        if self._streams_all:
            streamed = metrics
        if streamed:
            self._rows.append((float(reading.step), streamed))
            if len(self._rows) > _MAX_ROWS:
                self._thin()
        if self._room > 0:
            line = dumps({"step": reading.step, "time": round(time.time(), 3), "metrics": metrics}) + "\n"
            self._waiting.append(line)
            self._n_waiting += len(line)
            if self._n_waiting > _MAX_WAITING:
                self.write()

    def _counts(self, name: str, source: str) -> bool:
        """Tell whether a metric is read from this source; take note of one that is new."""
        found = self._sources.get(name)
        if found is None:
            simple = folded(name) or name
            if self._simple_sources.get(simple, source) != source or not self._admit(name):
                return False
            found = self._sources[name] = self._simple_sources[simple] = source
        return found == source

    def _admit(self, name: str) -> bool:
        """Take note of a metric that is new; tell whether there is room for it."""
        is_wanted = False
        for wanted, matching in self._matching.items():
            if find_metric(wanted, [name]) is None or len(matching) >= _MAX_NAMES:
                continue
            is_wanted = True
            matching.append(name)
            seen = find_metric(wanted, matching)
            if seen is None:
                self._streamed.pop(wanted, None)
            else:
                self._streamed[wanted] = seen
        if is_wanted or len(self._sources) < _MAX_NAMES:
            return True
        self._notes[f"more than {_MAX_NAMES} metrics: later names were left out"] = None
        return False

    def _thin(self) -> None:
        """Drop every second row, but none that holds the latest value of a metric."""
        latest = {name: i for i, (_, metrics) in enumerate(self._rows) for name in metrics}
        keep = set(latest.values())
        self._rows = [row for i, row in enumerate(self._rows) if i % 2 or i in keep]


class GrowingFile:
    """The file of JSON lines that a program appends to; read as it grows."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._rest = b""
        try:
            self._offset = os.stat(path).st_size  # what is there is an earlier attempt's
        except OSError:
            self._offset = 0

    def read(self, feed: Callable[[bytes], None]) -> bool:
        """Feed the lines completed since the last call, of about 1 MB; tell whether anything was new."""
        try:
            status = os.stat(self._path)
            if status.st_size == self._offset or not stat.S_ISREG(status.st_mode):
                return False
            if status.st_size < self._offset:  # begun anew
                self._offset, self._rest = 0, b""
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            for _ in range(_BLOCKS_AT_ONCE):
                data = os.pread(fd, _BLOCK, self._offset)
                if not data:
                    break
                self._offset += len(data)
                *ended, rest = (self._rest + data).split(b"\n")
                self._rest = rest[: _BLOCK + 1]
                for line in ended:
                    self._feed(line, feed)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def finish(self, feed: Callable[[bytes], None], max_bytes: int) -> None:
        """Feed what is left, at most about *max_bytes* of it, an unterminated last line included."""
        end = self._offset + max_bytes
        while self._offset < end and self.read(feed):
            pass
        self._feed(self._rest, feed)
        self._rest = b""

    @staticmethod
    def _feed(line: bytes, feed: Callable[[bytes], None]) -> None:
        if len(line) <= _BLOCK and line.strip():  # of an object that is longer, a part would be misread
            feed(line)
