"""Median and percentile stopping: a trial stops once others were better on average by the step that it has reached.

Source: Golovin et al., Google Vizier: A Service for Black-Box Optimization, KDD 2017, section 3.2.1: a trial stops at
step s if its best value by then is strictly worse than the median of the running averages, up to s, of the others.
All that have come as far count, and not only the trials that are complete: those get better as the search goes on, and
there are none when many run at once. Trials need not report at the same steps: what counts is the last report by s.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_left, insort

import numpy as np

from whet.algorithms.cube import Floats
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.trial import State, Trial
from whet.core.values import Take
from whet.errors import UsageError
from whet.points.rungs import take_of
from whet.schedulers.stopper import Stopper, check_count, check_grace, check_number, is_in_grace, reported, shown

_N_SEEDS = 10  # trials, the longest, whose steps a new memo begins with: many at once cost little more than one
_NOTHING: Floats = np.empty(0)


class Percentile(Stopper):
    """Stops a trial whose best value is not among the best *percent* of the averages of the others.

    Args:
        percent: of the trials that have come as far, those that set the bar: 50 is the median, 25 stops more.
        n_start: others that must have come as far before any trial stops there.
        grace: step before which nothing stops; by default the lowest fidelity, where there is one.

    Raises:
        UsageError: an option that makes no sense.
    """

    def __init__(self, *, percent: float = 25.0, n_start: int = 5, grace: float | None = None) -> None:
        check_number("percentile", "percent", percent, 0.0, "a number between 0 and 100")
        if not 0 < percent < 100:
            raise UsageError(f"percentile: percent is a number between 0 and 100, got {percent!r}")
        check_count("percentile", "n_start", n_start)
        if grace is not None:
            check_grace("percentile", grace)
        self.percent, self.n_start, self.grace = percent, n_start, grace
        self._averages = Averages()

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial* is to stop; nothing where it goes on."""
        return _verdict(self._averages, history, trial, self.percent, self.n_start, self.grace)


class Median(Stopper):
    """Stops a trial whose best value is worse than the median of the averages of the others.

    Args:
        n_start: others that must have come as far before any trial stops there.
        grace: step before which nothing stops; by default the lowest fidelity, where there is one.

    Raises:
        UsageError: an option that makes no sense.
    """

    def __init__(self, *, n_start: int = 5, grace: float | None = None) -> None:
        check_count("median", "n_start", n_start)
        if grace is not None:
            check_grace("median", grace)
        self.n_start, self.grace = n_start, grace
        self._averages = Averages()

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial* is to stop; nothing where it goes on."""
        return _verdict(self._averages, history, trial, 50.0, self.n_start, self.grace)


def _verdict(
    averages: Averages, history: History, trial: Trial, percent: float, n_start: int, grace: float | None
) -> str:
    steps, values = reported(history, trial)
    if is_in_grace(grace, history, steps):
        return ""
    step, best = steps[-1], float(values.min())
    bar, n = averages.percentile(history, trial.number, step, percent)
    if n < n_start or not best > bar:
        return ""
    whose = "the median" if percent == 50 else f"the best {percent:g} %"
    return f"{shown(best, history)} is worse than {whose} of {n} trials at step {step:g} ({shown(bar, history)})"


class Averages:
    """The running averages of all trials at the steps that were asked for, in order, kept in step with a history."""

    def __init__(self) -> None:
        self._since: History | None = None
        self._steps: Floats = _NOTHING  # (k,) asked for so far, in the order in which they were
        self._sorted: list[array[float]] = []  # for each of them the averages of all trials that have come as far
        self._at: dict[int, Floats] = {}  # (k,) those of a trial that has not ended; NaN where it has not come as far

    def percentile(self, history: History, number: int, step: float, percent: float) -> tuple[float, int]:
        """Return the *percent* percentile of the averages of all trials but *number* at *step*, and how many there are.

        Beyond 100, steps count in two digits, as there would be no end to them: what has come to 1,234 is compared with
        the averages up to 1,200.
        """
        self._follow(history, number)
        step = coarse(step)
        if step not in self._steps:
            self._add_steps(history, np.array([step]))
        k = int(np.flatnonzero(self._steps == step)[0])
        row = self._sorted[k]
        own = self._at[number][k]
        at = len(row) if math.isnan(own) else bisect_left(row, own)
        n = len(row) - (at < len(row))
        if not n:
            return math.inf, 0
        place = (n - 1) * percent / 100
        low, share = int(place), place % 1
        below, above = (row[i + (i >= at)] for i in (low, min(low + 1, n - 1)))
        return (below if not share or below == above else (1 - share) * below + share * above), n

    def _follow(self, history: History, number: int) -> None:
        """Take in what is new; costs that much where *history* is what became of the one before."""
        changes = None if self._since is None else history.changes_since(self._since)
        if changes is None:
            finished = history.finished
            self._steps, self._sorted, self._at = _NOTHING, [], {}
            longest = heapq.nlargest(_N_SEEDS, finished, key=lambda trial: len(trial.curve.packed))
            first: list[Trial | Finished] = [history.unfinished[number], *longest]
            seen = np.concatenate([reported(history, trial)[0] for trial in first])
            self._add_steps(history, np.unique([coarse(step) for step in seen.tolist()]))
        else:
            for trial in changes:
                self._put(history, trial)
        self._since = history

    def _add_steps(self, history: History, steps: Floats) -> None:
        """Begin to keep the averages at *steps*, none of which is kept already."""
        before, self._steps = self._steps, steps
        rows: list[list[float]] = [[] for _ in steps]
        take = take_of(history)
        trials: list[Trial | Finished] = [*history.finished, *history.unfinished.values()]
        for trial in trials:
            at = self._averages_of(history, trial, take)
            for k in np.flatnonzero(~np.isnan(at)):
                rows[k].append(float(at[k]))
            if isinstance(trial, Trial):
                self._at[trial.number] = np.concatenate([self._at.get(trial.number, _NOTHING), at])
        self._steps = np.concatenate([before, steps])
        self._sorted += [array("d", sorted(row)) for row in rows]

    def _put(self, history: History, trial: Trial | Finished) -> None:
        """Note the averages of *trial* in the place of what was known of it."""
        now = self._averages_of(history, trial, take_of(history))
        before = self._at.pop(trial.number, None)
        if before is None:
            before = np.full(len(now), math.nan)
        is_new = ~((now == before) | (np.isnan(now) & np.isnan(before)))
        for k in np.flatnonzero(is_new):
            row = self._sorted[k]
            if not math.isnan(before[k]):
                del row[bisect_left(row, before[k])]
            if not math.isnan(now[k]):
                insort(row, float(now[k]))
        if isinstance(trial, Trial):
            self._at[trial.number] = now

    def _averages_of(self, history: History, trial: Trial | Finished, take: Take) -> Floats:
        """Return the mean of what *trial* has reported by each step, (k,); NaN where it has not come as far.

        A complete trial has come as far as any: there is no more of it.
        """
        steps, values = reported(history, trial, take)
        if not len(steps):
            return np.full(len(self._steps), math.nan)
        n_reports = steps.searchsorted(self._steps, side="right")
        has_come = n_reports > 0
        if trial.state is not State.COMPLETED:
            has_come &= self._steps <= steps[-1]
        with np.errstate(invalid="ignore", over="ignore"):  # of opposite infinities, and beyond the largest number
            means = np.cumsum(values) / np.arange(1, len(values) + 1)
        means[np.isnan(means)] = math.inf
        return np.where(has_come, means[np.maximum(n_reports, 1) - 1], math.nan)


def coarse(step: float) -> float:
    """Return *step* in two digits where it is beyond 100, rounded towards 0."""
    if not abs(step) > 100 or math.isinf(step):
        return step
    unit = 10.0 ** (math.floor(math.log10(abs(step))) - 1)
    return math.trunc(step / unit) * unit
