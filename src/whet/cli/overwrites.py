"""Noticing that trials write over each other's files, as they do when all run in one directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from whet.core.trial import Trial
from whet.text import one_line

_MOST_FILES = 500  # of the directory that are looked at
_MOST_LOOKS = 50  # after so many trials it is clear, or will not become so


@dataclass(slots=True)
class _Span:
    """When a trial ran, in seconds since the epoch; ``end`` is infinity while it does."""

    number: int
    start: float
    end: float = float("inf")


class Overwrites:
    """Watches the files of a directory that trials share; says once which of them two trials have written.

    Args:
        directory: in which the trials run. Files that are there already are left out of account: the program, its
            data, and the file that our own output goes to, perhaps through ``tee``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._before = _names(directory)
        self._spans: list[_Span] = []
        self._seen: dict[str, tuple[float, set[int]]] = {}  # when a file was written, and by one of which trials
        self._n_looks = 0

    def started(self, trial: Trial) -> None:
        """Take note that an attempt begins."""
        if self._n_looks < _MOST_LOOKS and trial.started_at is not None:
            self._spans.append(_Span(trial.number, trial.started_at))

    def ended(self, trial: Trial) -> str | None:
        """Take note that an attempt has ended; return a warning if it wrote what another had written."""
        if self._n_looks >= _MOST_LOOKS:
            return None
        self._n_looks += 1
        for span in self._spans:
            if span.number == trial.number and trial.ended_at is not None:
                span.end = min(span.end, trial.ended_at)
        for name, written_at in self._files():
            before, writers_before = self._seen.get(name, (0.0, set()))
            if written_at == before:
                continue
            writers = {span.number for span in self._spans if span.start <= written_at <= span.end}
            self._seen[name] = (written_at, writers)
            # Trials that run at the same time cannot be told apart; those that cannot have been the same one can.
            if writers and writers_before and not writers & writers_before:
                self._n_looks = _MOST_LOOKS
                return (
                    f"{one_line(name)} was written by one trial and then by another; if that is not meant, "
                    "--chdir gives each trial a directory of its own, and {trial_dir} in an argument names one"
                )
        return None

    def _files(self) -> list[tuple[str, float]]:
        try:
            with os.scandir(self._directory) as entries:
                return [
                    (entry.name, entry.stat().st_mtime)
                    for entry in islice(entries, _MOST_FILES)
                    if entry.name not in self._before and entry.is_file(follow_symlinks=False)
                ]
        except OSError:
            return []


def _names(directory: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))  # noqa: PTH208 -- names, however many there are
    except OSError:
        return frozenset()
