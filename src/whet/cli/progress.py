"""How far a run has come, and how long it may still take."""

from __future__ import annotations

from whet.core.history import History
from whet.core.trial import Trial
from whet.progress import Pace
from whet.stopping import Limits
from whet.text import fraction


class Progress:
    """Counts of a run and an estimate of its end.

    Args:
        slots: trials at the same time.
        n_configs: how many the search holds at most; ``None``: endless.
    """

    def __init__(self, slots: int, n_configs: int | None) -> None:
        self._n_configs = n_configs
        self._pace = Pace(slots)

    def note(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        self._pace.note(trial)

    def n_total(self, history: History) -> int | None:
        """Return how many trials there will be in the whole study, ``None`` if only time or a target bounds them."""
        limit = Limits(**history.settings.get("limits", {})).n_trials
        bounds = [n for n in (limit, self._n_configs) if n is not None]
        return min(bounds) * history.repeats if bounds else None

    def eta_s(self, history: History) -> float | None:
        """Return about how many seconds are left, ``None`` while nobody can know."""
        if history.settings.get("scheduler", "none") != "none":
            return None  # those that have ended were the short ones
        n_total = self.n_total(history)
        return self._pace.left_s(None if n_total is None else n_total - history.n_finished)

    def fraction_text(self, history: History, last: int | None = None) -> str:
        """Return ``12/50``, or ``12`` where the end is not known; with *last*, as it was when that trial ended."""
        n_total, n = self.n_total(history), history.n_finished
        if last is not None:
            ended = (row.number for row in reversed(history.finished))
            n -= next((i for i, number in enumerate(ended) if number == last), 0)
        return fraction(n, n_total)
