"""The files in a trial's directory that frameworks keep their metrics in, found and read while the trial runs.

TensorBoard's event files, Lightning's ``metrics.csv`` and Hugging Face's ``trainer_state.json``. All work is done in
slices of some milliseconds, for the process beside the trial has limits to enforce meanwhile. A round looks through the
directory, as far as some entries (the next round goes on from there), then reads what is new in every file.
"""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH119, PTH120

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from whet.executors.metric_csv import CsvFile
from whet.executors.metric_tfevents import CorruptRecords, Decode, EventFile, load_decoder
from whet.executors.metric_trainer import TrainerFile
from whet.executors.metric_value import Pair, step_rank
from whet.executors.readings import Readings

_ROUND_S = 1.0  # between two rounds
_MOST_ROUND_S = 30.0  # where looking through the directory is slow
_SLICE_S, _PAUSE_S = 0.012, 0.03
_DEPTH = 6
_ENTRIES = 2_000  # looked at in a round
_FINAL_ENTRIES = 50_000
_MOST_DIRECTORIES = 10_000  # that wait to be looked through
_MOST_FILES = 1_000
_MOST_NAMES = 10_000
_BASELINE_S = 2.0
_FINISH_S, _HURRY_S = 5.0, 1.0

_CHECKPOINT = re.compile(rb"checkpoint-[0-9]+")
_EVENTS = b"events.out.tfevents."
_SPLITS = {b"train", b"training", b"val", b"valid", b"validation", b"eval", b"evaluation", b"test"}

MetricFile = CsvFile | EventFile | TrainerFile
Feed = Callable[[list[Pair]], None]


class MetricFiles:
    """The files of metrics of one attempt.

    Attributes:
        wake_at: when there is something to do for :meth:`tick`, by the monotonic clock.
        notes: on what could not be read.
    """

    def __init__(self, directory: bytes, readings: Readings, decoder_paths: list[str]) -> None:
        """Look for the files of earlier attempts, whose contents are left out of account."""
        self._directory, self._readings, self._decoder_paths = directory, readings, decoder_paths
        self._files: dict[bytes, tuple[MetricFile, Feed] | None] = {}  # nothing: of no more interest
        self._trainer_logs: dict[bytes, set[int]] = {}
        self._names: dict[tuple[str, bytes, str], str] = {}
        self._owners: dict[tuple[str, str], bytes] = {}
        self._decode: Decode | None = None
        self._is_decoder_missing = False
        self._walk_s = 0.0
        self.notes: dict[str, None] = {}
        self._leave_out_what_is_there()
        self._walk = _entries_below(directory)
        self._round: Iterator[None] = self._new_round()
        self.wake_at = time.monotonic() + _ROUND_S

    def tick(self, now: float) -> None:
        """Do what is due, for some milliseconds."""
        if now < self.wake_at:
            return
        deadline = time.monotonic() + _SLICE_S
        for _ in self._round:
            if time.monotonic() >= deadline:
                self.wake_at = time.monotonic() + _PAUSE_S
                return
        self._round = self._new_round()
        self.wake_at = time.monotonic() + min(max(_ROUND_S, 20 * self._walk_s), _MOST_ROUND_S)

    def finish(self, *, is_whole: bool) -> None:
        """Read the rest, the trial having ended; of very much, the end.

        Args:
            is_whole: the program has ended well, so that what it wrote last is not half of something.
        """
        self._walk = _entries_below(self._directory)
        self._round = self._new_round(_FINAL_ENTRIES, is_whole=is_whole)
        if _is_done_before(self._round, time.monotonic() + _FINISH_S):
            return
        self.notes["the files of metrics held more than could be read at the trial's end: some was left out"] = None
        for followed in self._files.values():
            if followed is not None:
                followed[0].hurry()
        self._round = self._new_round(0, is_whole=is_whole)
        _is_done_before(self._round, time.monotonic() + _HURRY_S)

    # ---- a round
    def _new_round(self, n_entries: int = _ENTRIES, *, is_whole: bool = False) -> Iterator[None]:
        yield from self._look_around(n_entries)
        for path in list(self._files):
            yield from self._read(path, is_whole=is_whole)
            yield

    def _look_around(self, n_entries: int) -> Iterator[None]:
        self._walk_s = 0.0
        began = time.monotonic()
        found = []
        n = 0
        for path in islice(self._walk, n_entries):
            n += 1
            if path is not None:
                found.append(path)
            self._walk_s += time.monotonic() - began
            yield
            began = time.monotonic()
        if n < n_entries:
            self._walk = _entries_below(self._directory)
        for path in sorted(found, key=_rank):
            self._follow(path)

    def _read(self, path: bytes, *, is_whole: bool) -> Iterator[None]:
        followed = self._files[path]
        if followed is None:
            return
        file, feed = followed
        try:
            yield from file.read(feed, is_whole=is_whole)
        except CorruptRecords as problem:
            name = os.fsdecode(os.path.relpath(path, self._directory))
            self.notes[f"{name!a} is damaged and was not read to its end: {problem}"] = None
            self._files[path] = None
        except (OSError, MemoryError):  # gone, or not to be read just now
            return

    # ---- files
    def _leave_out_what_is_there(self) -> None:
        deadline = time.monotonic() + _BASELINE_S
        entries = islice(_entries_below(self._directory), _FINAL_ENTRIES)
        for path in sorted((path for path in entries if path is not None), key=_rank):
            if file := self._follow(path):
                file.skip(deadline)

    def _follow(self, path: bytes) -> MetricFile | None:
        """Begin to follow a file, unless that has been done."""
        if path in self._files:
            return None
        if len(self._files) >= _MOST_FILES:
            self.notes[f"more than {_MOST_FILES:,} files of metrics: later ones were left out"] = None
            return None
        name, run = os.path.basename(path), os.path.dirname(path)
        file: MetricFile
        if name == b"metrics.csv":
            kind, file = "metrics.csv", CsvFile(path)
        elif name == b"trainer_state.json":
            if _CHECKPOINT.fullmatch(os.path.basename(run)):
                run = os.path.dirname(run)
            kind, file = "trainer_state.json", TrainerFile(path, self._trainer_logs.setdefault(run, set()))
        else:
            if not (decode := self._decoder()):
                self._files[path] = None
                return None
            kind, file = "TensorBoard", EventFile(path, decode)
        self._files[path] = file, partial(self._feed, kind, run)
        return file

    def _decoder(self) -> Decode | None:
        if self._decode is None and not self._is_decoder_missing:
            try:
                self._decode = load_decoder(self._decoder_paths)
            except ImportError as error:
                self._is_decoder_missing = True
                what = f" ({error})" if self._decoder_paths else ""
                self.notes[
                    f"TensorBoard event files were found but could not be read{what}: pip install 'whet[tensorboard]'"
                ] = None
        return self._decode

    # ---- names
    def _feed(self, kind: str, run: bytes, pairs: list[Pair]) -> None:
        named = [(name if step_rank(name) is not None else self._name(kind, run, name), value) for name, value in pairs]
        self._readings.feed_pairs(kind, named)

    def _name(self, kind: str, run: bytes, name: str) -> str:
        """Return what the metric is called: its name, behind the last directories of its file where that is needed."""
        key = kind, run, name
        if key not in self._names:
            if len(self._names) >= _MOST_NAMES:
                return name  # far beyond the number of metrics that are kept
            self._names[key] = self._new_name(kind, run, name)
        return self._names[key]

    def _new_name(self, kind: str, run: bytes, name: str) -> str:
        below = os.path.relpath(run, self._directory)
        parts = [] if below == b"." else below.split(b"/")
        candidates = [
            "/".join([*(os.fsencode(part).decode("utf-8", "replace") for part in parts[len(parts) - n :]), name])
            for n in range(len(parts) + 1)
        ]
        if kind == "TensorBoard" and parts and _is_part_of_name(parts[-1], name):
            del candidates[0]
        for candidate in candidates:
            if self._owners.setdefault((kind, candidate), run) == run:
                return candidate
        return candidates[-1]


def _is_part_of_name(directory: bytes, tag: str) -> bool:
    """Tell whether a directory of event files says what the tag leaves open.

    As Keras's ``train`` and ``validation`` do, and those that torch's ``add_scalars("loss", {"val": ...})`` makes.
    """
    return directory.lower() in _SPLITS or directory.startswith(tag.replace("/", "_").encode() + b"_")


def _rank(path: bytes) -> tuple[bool, bytes, bytes]:
    """Return what files found together are sorted by: event files last, in the order of the time in their name.

    The first file with a metric is the one that counts, and gives it its name.
    """
    name = os.path.basename(path)
    return name.startswith(_EVENTS), name, path


def _is_done_before(work: Iterator[None], deadline: float) -> bool:
    return all(time.monotonic() < deadline for _ in work)


def _entries_below(directory: bytes) -> Iterator[bytes | None]:
    """Yield for each entry below a directory its path, or nothing if it is no file of metrics; follow no links."""
    waiting = deque([(directory, 1)])
    while waiting:
        directory, depth = waiting.popleft()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if is_directory and depth < _DEPTH and len(waiting) < _MOST_DIRECTORIES:
                        waiting.append((entry.path, depth + 1))
                    is_of_interest = entry.name in (b"metrics.csv", b"trainer_state.json") or entry.name.startswith(
                        _EVENTS
                    )
                    yield entry.path if is_of_interest and entry.is_file(follow_symlinks=False) else None
        except OSError:
            continue
