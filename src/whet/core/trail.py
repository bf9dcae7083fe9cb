"""The last changes of a study's trials, in order, so that who keeps in step need not look at all that is unfinished."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from whet.core.trial import Trial

_MOST = 2_048  # changes that are kept; who is further behind compares everything


class Trail:
    """What became of trials, change by change; shared by the snapshots of a study, each seeing its own length of it."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        self._n_dropped = 0
        self._mutex = Lock()

    def extended(self, n: int, trials: Sequence[Trial]) -> tuple[Trail, int]:
        """Return a trail with *trials* after the first *n* changes, and its length.

        It is this one, unless another snapshot has gone another way. One that goes the same way once more, as what is
        written does after its preview, shares it.
        """
        with self._mutex:
            start = n - self._n_dropped
            there = self._trials[start : start + len(trials)] if start >= 0 else None
            if there is None or there != trials[: len(there)]:
                branch = Trail()
                branch._trials.extend(trials)
                return branch, len(trials)
            self._trials.extend(trials[len(there) :])
            if len(self._trials) > _MOST:
                n_old = len(self._trials) - _MOST // 2
                del self._trials[:n_old]
                self._n_dropped += n_old
            return self, n + len(trials)

    def numbers(self, start: int, end: int) -> set[int] | None:
        """Return which trials the changes from *start* to *end* were of; ``None``: they are no longer known."""
        with self._mutex:
            if start < self._n_dropped:
                return None
            return {trial.number for trial in self._trials[start - self._n_dropped : end - self._n_dropped]}
