"""What trials have come to at the levels of a fidelity: who is how far, and who is ahead of whom there.

A trial is at a level from its first report on whose step is at least that. One that fails is the worst on the level
that it was on its way to.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Floats
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.problem import Problem
from whet.core.trial import Curve, State, Trial
from whet.core.values import Rules, Take

NO_ROW = 2**62  # in the place of a row of the curve, where a trial has failed before there was one


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """What counts of a trial at a level: smaller is better.

    Attributes:
        is_broken: a constraint is broken.
        values: of the objectives, to be minimised; infinite where the trial failed or reported no number.
    """

    is_broken: bool
    values: tuple[float, ...]

    @property
    def is_finite(self) -> bool:
        """Whether every objective is a finite number."""
        return all(map(math.isfinite, self.values))


@dataclass(frozen=True, slots=True)
class Place:
    """How far a trial has come.

    Attributes:
        number, bracket, state, budget: of the trial.
        points: what it came to at each level reached, from the lowest on.
        steps: of the reports that count there.
        rows: the rows of the curve that hold these, `NO_ROW` for the level that a trial failed on.
    """

    number: int
    bracket: int | None
    state: State
    budget: float | None
    points: tuple[Point, ...]
    steps: tuple[float, ...]
    rows: tuple[int, ...]

    @property
    def top(self) -> int:
        """The highest level reached, -1 before the first."""
        return len(self.points) - 1

    def reached_since(self, n_rows: int) -> range:
        """Return the levels that were reached after the first *n_rows* rows of the curve."""
        return range(sum(row < n_rows for row in self.rows), len(self.rows))


class Rung:
    """The trials of a bracket that have reached a level, the best first."""

    def __init__(self) -> None:
        self._order: list[tuple[Point, int]] = []
        self._points: dict[int, Point] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, number: int) -> bool:
        return number in self._points

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers, the best first; of equal ones the lower number."""
        return (number for _, number in self._order)

    def rank(self, number: int) -> int:
        """Return how many trials are ahead of trial *number*, which is one of them."""
        return bisect_left(self._order, (self._points[number], number))

    def put(self, number: int, point: Point) -> None:
        """Note what trial *number* has come to, in the place of what was known."""
        known = self._points.get(number)
        if known == point:
            return
        if known is not None:
            del self._order[bisect_left(self._order, (known, number))]
        self._points[number] = point
        insort(self._order, (point, number))

    def drop(self, number: int) -> None:
        """Forget trial *number*, which is one of them."""
        del self._order[bisect_left(self._order, (self._points.pop(number), number))]


class Rungs:
    """The places of all trials and their order on each rung, kept in step with a history.

    Args:
        levels: of the fidelity, ascending.

    Attributes:
        places: by number, of every trial that has a config.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = tuple(levels)
        self.places: dict[int, Place] = {}
        self._rungs: dict[tuple[int | None, int], Rung] = {}
        self._since: History | None = None

    def follow(self, history: History) -> None:
        """Take in what is new; costs that much where *history* is what became of the one before."""
        changes = None if self._since is None else history.changes_since(self._since)
        if changes is None:
            self.places, self._rungs = {}, {}
            changes = [*history.finished, *history.unfinished.values()]
        take = Rules.from_json(history.settings.get("rules", {})).take
        for trial in changes:
            if trial.config is not None:
                self._put(place_of(trial, history.problem, self.levels, take))
        self._since = history

    def rung(self, bracket: int | None, level: int) -> Rung:
        """Return the rung of *bracket* on *level*, counted from the lowest."""
        return self._rungs.setdefault((bracket, level), Rung())

    def _put(self, place: Place) -> None:
        before = self.places.get(place.number)
        self.places[place.number] = place
        for level, point in enumerate(place.points):
            self.rung(place.bracket, level).put(place.number, point)
        for level in range(len(place.points), 0 if before is None else len(before.points)):
            self.rung(place.bracket, level).drop(place.number)  # it runs again


def place_of(trial: Trial | Finished, problem: Problem, levels: Sequence[float], take: Take) -> Place:
    """Return how far *trial* has come on *levels*, its reports being taken as *take* says."""
    points: list[Point] = []
    steps: list[float] = []
    rows: list[int] = []
    if trial.curve:
        which, at, values = reports_of(trial.curve, problem, take)
        first = np.maximum.accumulate(at).searchsorted(levels)
        for row in first[first < len(at)]:
            points.append(_point(values[row], problem))
            steps.append(float(at[row]))
            rows.append(int(which[row]))
    if trial.state in (State.FAILED, State.CANCELLED) and len(points) < len(levels):
        points.append(Point(True, (math.inf,) * len(problem.objectives)))
        steps.append(levels[len(points) - 1])
        rows.append(NO_ROW)
    return Place(trial.number, trial.bracket, trial.state, trial.budget, tuple(points), tuple(steps), tuple(rows))


def reports_of(curve: Curve, problem: Problem, take: Take) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return the reports that say something of the objectives.

    Returns:
        (k,) their rows in the curve, (k,) their steps, and (k, m) the problem's metrics there, in the user's sign, NaN
        where unknown; the objectives as *take* takes them. A report of nothing but NaN says that all is lost.
    """
    table = np.frombuffer(curve.packed, dtype="<f8").reshape(-1, curve.width)
    n = len(problem.objectives)
    is_unknown = np.isnan(table[:, 1:])
    which = np.flatnonzero(~is_unknown[:, :n].any(axis=1) | is_unknown.all(axis=1))
    values = table[which, 1:]
    if take.kind == "best":
        for i, objective in enumerate(problem.objectives):
            values[:, i] = (np.fmin if objective.sign > 0 else np.fmax).accumulate(values[:, i])
    elif take.kind == "mean" and take.n > 1:
        means = [values[max(0, row + 1 - take.n) : row + 1, :n].mean(axis=0) for row in range(len(values))]
        values[:, :n] = np.reshape(means, (len(values), n))
    return which, table[which, 0], values


def _point(values: Floats, problem: Problem) -> Point:
    known = dict(zip(problem.metrics, values.tolist(), strict=True))
    signed = tuple(objective.sign * known[objective.name] for objective in problem.objectives)
    if any(map(math.isnan, signed)):
        return Point(True, (math.inf,) * len(signed))
    # What is not known yet may still be met.
    is_broken = any(not c.is_met_by(known[c.name]) for c in problem.constraints if not math.isnan(known[c.name]))
    return Point(is_broken, signed)
