"""How far attempts have come by themselves, where whet has filled in what they did not report at their end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from whet.cli.script import ScriptRun
from whet.core.problem import Objective, Problem
from whet.core.trial import State, Trial, evolved
from whet.core.values import Rules, Take
from whet.errors import WhetError

_ENDED_WELL = (State.COMPLETED, State.STOPPED, State.PAUSED)
Row = Sequence[float | None]  # the step, then each metric of the problem; None or NaN: not said


@dataclass(frozen=True, slots=True)
class Reach:
    """What it takes to tell how far the attempts of a study have come.

    An attempt that ends well has a last row at its budget, with its final values, if no report was as far
    (`whet.core.ending.end_drafts`). Whether that budget was spent follows from the rows before it:

    - Time is measured: the attempt came as far as the time it took.
    - One that is told its budget and has reported at one step at most has spent it all. It says nothing on the way: a
      metric that is printed once, with no step beside it, counts as step 1, and shares of the data as step 0.
    - Any other ended early by itself if the row is farther ahead of those before it than these are of one another, and
      says nothing new: its values are what the rows before come to. Then it came as far as the last of these.

    Attributes:
        problem: of the study.
        take: how reports become a value.
        is_told: whether attempts are told their budget.
    """

    problem: Problem
    take: Take
    is_told: bool

    @classmethod
    def of(cls, problem: Problem, settings: Mapping[str, Any]) -> Reach:
        """Return that of the study with these *settings*."""
        return cls(problem, Rules.from_json(settings.get("rules", {})).take, _is_told(settings))

    @property
    def is_time(self) -> bool:
        """Whether the fidelity is measured."""
        return self.problem.fidelity is not None and self.problem.fidelity.is_time

    def is_filled_in(self, rows: Sequence[Row], budget: float | None) -> bool:
        """Tell whether the last of the *rows* of an attempt that has ended well stands for more than it has done.

        *budget* is its trial's; ``None``: the whole fidelity.
        """
        axis = self.problem.fidelity
        if axis is None or not rows or rows[-1][0] != (axis.high if budget is None else budget):
            return False
        if axis.is_time:  # what is measured is never so round
            return True
        *before, last = rows
        steps = sorted({row[0] or 0.0 for row in before})
        end = last[0] or 0.0
        if len(steps) <= self.is_told or steps[-1] >= end:
            return False
        longest = max((b - a for a, b in pairwise(steps)), default=steps[0])
        if end - steps[-1] <= longest:
            return False
        return all(
            _comes_to(before, i, objective, self.take, last[i])
            for i, objective in enumerate(self.problem.objectives, 1)
        )

    def as_reported(self, trial: Trial) -> Trial:
        """Return *trial* without the row that stands for more than its last attempt has done.

        Where time is what counts, that row is then at the time which the attempt took.
        """
        if trial.state not in _ENDED_WELL:
            return trial
        rows = list(trial.curve)
        is_silent = len(rows) - trial.n_earlier < 2  # the attempt had nothing left to report: see the interrupted one
        if not self.is_filled_in(rows[trial.n_kept if is_silent else trial.n_earlier :], trial.budget):
            return trial
        curve = trial.curve.first(len(rows) - 1)
        if self.is_time and trial.duration_s is not None:
            step, *values = rows[-1]
            curve = curve.extended([(min(step, trial.duration_s), *values)])
        return evolved(trial, curve=curve)


def _is_told(settings: Mapping[str, Any]) -> bool:
    """Tell whether attempts are told their budget; functions can ask for it."""
    if not isinstance(settings.get("run"), Mapping):
        return True
    try:
        return ScriptRun.from_settings(settings).tells_budget
    except WhetError:  # another version's, perhaps: its command line cannot be put together any more
        return True


def _comes_to(rows: Sequence[Row], i: int, objective: Objective, take: Take, value: float | None) -> bool:
    """Tell whether what *rows* say of *objective*, in column *i*, comes to *value*."""
    known = [at for row in rows if (at := row[i]) is not None and not math.isnan(at)]
    if not known or value is None:
        return False
    if take.kind == "best":
        return value == objective.sign * min(objective.sign * at for at in known)
    last = known[-take.n :]
    return math.isclose(value, sum(last) / len(last), rel_tol=1e-9)
