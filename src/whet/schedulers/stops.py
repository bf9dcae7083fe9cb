"""Stops that look at one trial alone: bounds on its objective, a loss that has blown up, no progress any more."""

from __future__ import annotations

import math

import numpy as np

from whet.core.history import History
from whet.core.trial import Trial
from whet.errors import UsageError
from whet.schedulers.stopper import Stopper, check_count, check_grace, check_number, reported, shown


class Threshold(Stopper):
    """Stops a trial whose objective leaves its bounds or is no finite number.

    Args:
        lower: the least that the objective may be, in the user's sign; by default, beside *upper*, anything finite.
        upper: the most that it may be, likewise.
        grace: step before which nothing stops.

    Raises:
        UsageError: an option that makes no sense.
    """

    def __init__(self, *, lower: float | None = None, upper: float | None = None, grace: float = 0) -> None:
        for name, bound in (("lower", lower), ("upper", upper)):
            if bound is not None:
                check_number("threshold", name, bound)
        if lower is None and upper is None:
            raise UsageError("threshold: there is no bound; give lower, upper or both, as in threshold(upper=10)")
        if lower is not None and upper is not None and lower > upper:
            raise UsageError(f"threshold: nothing lies between lower, {lower!r}, and upper, {upper!r}")
        check_grace("threshold", grace)
        self.lower, self.upper, self.grace = lower, upper, grace

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial* is to stop; nothing where it goes on."""
        steps, signed = reported(history, trial)
        values = history.problem.objectives[0].sign * signed[steps >= self.grace]
        if not np.isfinite(values).all():
            return "the objective is no finite number"
        if self.lower is not None and len(values) and values.min() < self.lower:
            return f"{values.min():.6g} is below {self.lower:g}"
        if self.upper is not None and len(values) and values.max() > self.upper:
            return f"{values.max():.6g} is above {self.upper:g}"
        return ""


class Divergence(Stopper):
    """Stops a trial whose objective is no finite number, or far worse than at its first report.

    A loss of 2 at first has diverged once it is 2 * *factor* or more. An objective that is to be large has once it is
    (2 - *factor*) times its first value or less: for an accuracy, 1.5 is half of it, and from 2 on none has.

    Args:
        factor: more than 1.
        grace: step before which nothing stops, and before which reports are not looked at.

    Raises:
        UsageError: an option that makes no sense.
    """

    def __init__(self, *, factor: float = 3.0, grace: float = 0) -> None:
        check_number("divergence", "factor", factor, 1.0, "a number above 1")
        if factor <= 1:
            raise UsageError(f"divergence: factor is a number above 1, got {factor!r}")
        check_grace("divergence", grace)
        self.factor, self.grace = factor, grace

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial* is to stop; nothing where it goes on."""
        steps, values = reported(history, trial)
        values = values[steps >= self.grace]
        if not np.isfinite(values).all():
            return "the objective is no finite number"
        if len(values) < 2:
            return ""
        first, worst = float(values[0]), float(values.max())
        if worst - first < (self.factor - 1) * abs(first) or first == 0:
            return ""
        return f"{shown(worst, history)} is far worse than {shown(first, history)} at first"


class Patience(Stopper):
    """Stops a trial whose objective has not become better for *n* reports.

    Args:
        n: reports without progress after which a trial stops.
        min_delta: what counts as progress is to be better than the best so far by more than this.
        grace: step before which nothing stops, and before which reports are not looked at.

    Raises:
        UsageError: an option that makes no sense.

    Source: Prechelt, Early Stopping - But When?, 1998, the criterion UP, counted from the best report so far.
    """

    def __init__(self, *, n: int = 10, min_delta: float = 0.0, grace: float = 0) -> None:
        check_count("patience", "n", n)
        check_number("patience", "min_delta", min_delta, 0.0, "a number from 0 on")
        check_grace("patience", grace)
        self.n, self.min_delta, self.grace = n, min_delta, grace

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial* is to stop; nothing where it goes on."""
        steps, values = reported(history, trial)
        best, n_idle = math.inf, 0
        for value in values[steps >= self.grace].tolist():
            if value < best - self.min_delta:
                best, n_idle = value, 0
            else:
                n_idle += 1
        if n_idle < self.n:
            return ""
        return f"no better than {shown(best, history)} for {n_idle} reports"
