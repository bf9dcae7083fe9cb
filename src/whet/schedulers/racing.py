"""Racing: on folds, seeds or instances one after the other, a trial stops once a test says that it loses to the best.

Each report is an instance, and its step says which: a trial that reports step 3 has dealt with the third fold, say. It
is compared with the best complete trial on those instances that both have dealt with, pair by pair, as some instances
are harder than others for all. The test is made again at each report, so that more good trials stop than *p* says.

Sources: Birattari et al., A Racing Algorithm for Configuring Metaheuristics, GECCO 2002; the signed-rank test in the
place of Friedman's as there are two to compare.
"""

from __future__ import annotations

import math

import numpy as np

from whet.algorithms.signed_rank import p_larger
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.trial import State, Trial
from whet.core.values import Take
from whet.errors import UsageError
from whet.points.rungs import reports_of
from whet.schedulers.stopper import Stopper, check_count, check_number, shown


class Racing(Stopper):
    """Stops a trial that is worse than the best complete one by a paired signed-rank test.

    The objective is what its reports come to: ``take="mean:N"`` with N instances, or what the function returns.

    Args:
        p: chance to stop a trial that is as good as the best, at each test; between 0 and 1.
        n_min: instances that both must have dealt with before any trial stops.

    Raises:
        UsageError: an option that makes no sense.
    """

    def __init__(self, *, p: float = 0.1, n_min: int = 4) -> None:
        check_number("racing", "p", p, 0.0, "a number between 0 and 1")
        if not 0 < p < 1:
            raise UsageError(f"racing: p is a number between 0 and 1, got {p!r}")
        check_count("racing", "n_min", n_min)
        self.p, self.n_min = p, n_min
        self._best: Finished | None = None
        self._since: History | None = None

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial* is to stop; nothing where it goes on."""
        self._follow(history)
        if self._best is None:
            return ""
        best, own = _by_instance(history, self._best), _by_instance(history, trial)
        pairs = [(own[step], best[step]) for step in sorted(own.keys() & best.keys())]
        ours, theirs = np.reshape(pairs, (-1, 2)).T
        # Of two that are infinite neither is worse; a mean that is better needs no test.
        with np.errstate(invalid="ignore"):
            differences = np.nan_to_num(ours - theirs, nan=0.0, posinf=math.inf, neginf=-math.inf)
            is_better = len(pairs) == 0 or ours.mean() <= theirs.mean()
        if len(pairs) < self.n_min or is_better:
            return ""
        p = p_larger(differences)
        if p >= self.p:
            return ""
        means = f"{shown(ours.mean(), history)} against {shown(theirs.mean(), history)}"
        return f"worse than trial {self._best.number} on {len(pairs)} instances ({means} on average, p = {p:.2g})"

    def _follow(self, history: History) -> None:
        """Find the best complete trial; costs what is new where *history* is what became of the one before."""
        changes = None if self._since is None else history.changes_since(self._since)
        if changes is None:
            self._best, changes = None, list(history.finished)
        objective = history.problem.objectives[0]
        for row in changes:
            if not isinstance(row, Finished) or row.state is not State.COMPLETED or math.isnan(row.values[0]):
                continue
            if not history.problem.is_feasible(dict(zip(history.problem.metrics, row.values, strict=True))):
                continue
            key = (objective.sign * row.values[0], row.number)
            if self._best is None or key < (objective.sign * self._best.values[0], self._best.number):
                self._best = row
        self._since = history


def _by_instance(history: History, trial: Trial | Finished) -> dict[float, float]:
    """Return the value of each instance, to be minimised, whatever order they come in; of several the last."""
    if not trial.curve:
        return {}
    _, steps, values = reports_of(trial.curve, history.problem, Take())
    signed = history.problem.objectives[0].sign * values[:, 0]
    return dict(zip(steps.tolist(), np.where(np.isnan(signed), math.inf, signed).tolist(), strict=True))
