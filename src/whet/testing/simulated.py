"""What a simulated search came to."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whet.core.problem import Problem
from whet.core.trial import Trial
from whet.points.fidelities import levels_of
from whet.study import Study

EndReason = Literal["exhausted", "budget", "timeout"]
EVENT = np.dtype([("time_s", "<f8"), ("number", "<i8"), ("step", "<f8"), ("value", "<f8")])


@dataclass(frozen=True, slots=True)
class Incumbent:
    """A trial that has become the best one.

    Attributes:
        time_s: when, in virtual seconds.
        number: of the trial.
        step: how far it was trained.
        value: of the objective, in the user's sign.
    """

    time_s: float
    number: int
    step: float
    value: float


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulated search came to; times are seconds of the virtual clock, from 0 on.

    Attributes:
        study: as a real search leaves it; trials that were in progress at the end are running still.
        events: what was reported, in order: an array with the fields ``time_s``, ``number``, ``step``, ``value`` (of
            the first objective, NaN where it is unknown).
        spent: units of the fidelity trained in all, steps that were done again included.
        busy_s: seconds that workers were training, added up.
        end_s: when the search ended.
        reason: why: nothing left to do, or the budget or the time is spent.
        incumbents: the best completed trial over time, from the first on; empty unless there is one objective.
        leaders: the best trial on the highest level that any has reached, over time, likewise. The levels are those
            of halving by three and the lowest there is, whatever the scheduler, so that schedulers can be compared.
    """

    study: Study
    events: NDArray[np.void]
    spent: float
    busy_s: float
    end_s: float
    reason: EndReason
    incumbents: tuple[Incumbent, ...]
    leaders: tuple[Incumbent, ...]

    @property
    def trials(self) -> list[Trial]:
        """Every trial, by number; their times are virtual."""
        return self.study.trials


class Record:
    """What is noted while a search goes on.

    Attributes:
        spent, busy_s: see `Simulated`.
    """

    def __init__(self, problem: Problem) -> None:
        self.spent = self.busy_s = 0.0
        self._times_s, self._numbers, self._steps, self._values = array("d"), array("q"), array("d"), array("d")
        self._problem = problem
        fidelity = problem.fidelity
        self._levels: tuple[float, ...] = ()
        if fidelity is not None and len(problem.objectives) == 1:
            self._levels = levels_of(fidelity)
        self._level, self._level_of = -1, dict[int, int]()  # the highest level reached, and of trials that may get on
        self._incumbents: list[Incumbent] = []
        self._leaders: list[Incumbent] = []

    def note(self, time_s: float, number: int, step: float, metrics: Mapping[str, float]) -> None:
        """Note what a trial came to."""
        objectives = self._problem.objectives
        value = metrics.get(objectives[0].name, math.nan) if objectives else math.nan
        self._times_s.append(time_s)
        self._numbers.append(number)
        self._steps.append(step)
        self._values.append(value)
        level = bisect_right(self._levels, step) - 1
        if level < 0 or level < self._level or level <= self._level_of.get(number, -1):
            return
        self._level_of[number] = level
        if not math.isfinite(value) or not self._problem.is_feasible(metrics):
            return
        sign = objectives[0].sign
        if level > self._level or sign * value < sign * self._leaders[-1].value:
            self._level = level
            self._leaders.append(Incumbent(time_s, number, step, value))

    def complete(self, time_s: float, step: float, leader: tuple[int, float]) -> None:
        """Note that after a trial has ended at *step* the best one is *leader*, its number and value."""
        number, value = leader
        if not self._incumbents or self._incumbents[-1].number != number:
            self._incumbents.append(Incumbent(time_s, number, step, value))

    def result(self, study: Study, end_s: float, reason: EndReason) -> Simulated:
        """Return all that was noted."""
        events = np.empty(len(self._numbers), EVENT)
        columns = (self._times_s, self._numbers, self._steps, self._values)
        for name, column in zip(EVENT.names or (), columns, strict=True):
            events[name] = column
        events.flags.writeable = False
        totals = (self.spent, self.busy_s, end_s, reason)
        return Simulated(study, events, *totals, tuple(self._incumbents), tuple(self._leaders))
