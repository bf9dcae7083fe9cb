"""How far a run has come, and how long it may still take."""

from __future__ import annotations

from collections import deque

from whet.core.history import History
from whet.core.trial import Trial
from whet.stopping import Limits

_N_RECENT = 50  # trials whose durations say how long the next ones may take


class Progress:
    """Counts of a run and an estimate of its end.

    Args:
        slots: trials at the same time.
        n_configs: how many the search holds at most; ``None``: endless.
    """

    def __init__(self, slots: int, n_configs: int | None) -> None:
        self._slots, self._n_configs = slots, n_configs
        self._durations: deque[float] = deque(maxlen=_N_RECENT)

    def note(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        if trial.duration_s is not None:
            self._durations.append(trial.duration_s)

    def n_total(self, history: History) -> int | None:
        """Return how many trials there will be in the whole study, ``None`` if only time or a target bounds them."""
        limit = Limits(**history.settings.get("limits", {})).n_trials
        bounds = [n for n in (limit, self._n_configs) if n is not None]
        return min(bounds) * history.repeats if bounds else None

    def eta_s(self, history: History) -> float | None:
        """Return about how many seconds are left, ``None`` while nobody can know."""
        n_total = self.n_total(history)
        if n_total is None or not self._durations:
            return None
        mean_s = sum(self._durations) / len(self._durations)
        return max(0, n_total - history.n_finished) * mean_s / self._slots

    def fraction_text(self, history: History, last: int | None = None) -> str:
        """Return ``12/50``, or ``12`` where the end is not known; with *last*, as it was when that trial ended."""
        n_total, n = self.n_total(history), history.n_finished
        if last is not None:
            ended = (row.number for row in reversed(history.finished))
            n -= next((i for i, number in enumerate(ended) if number == last), 0)
        return f"{n:,}" if n_total is None else f"{n:,}/{n_total:,}"
