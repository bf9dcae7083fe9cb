"""What trials have come to at the levels of a fidelity: who is how far, and who is ahead of whom there.

A trial is at a level from its first report on whose step is at least that. One that fails is the worst on the level
that it was on its way to.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Floats
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.problem import Problem
from whet.core.trial import Curve, State, Trial
from whet.core.values import Rules, Take
from whet.points.standings import FrontRung, Point, Rung

NO_ROW = 2**62  # in the place of a row of the curve, where a trial has failed before there was one


@dataclass(frozen=True, slots=True)
class Place:
    """How far a trial has come.

    Attributes:
        number, bracket, state, budget: of the trial.
        points: what it came to at each level reached, from the lowest on.
        steps: of the reports that count there.
        rows: the rows of the curve that hold these, `NO_ROW` for the level that a trial failed on.
        is_lost: it has ended without a number to show: it failed, was cancelled, or came to no finite number.
    """

    number: int
    bracket: int | None
    state: State
    budget: float | None
    points: tuple[Point, ...]
    steps: tuple[float, ...]
    rows: tuple[int, ...]
    is_lost: bool = False

    @property
    def top(self) -> int:
        """The highest level reached, -1 before the first."""
        return len(self.points) - 1

    def reached_since(self, n_rows: int) -> range:
        """Return the levels that were reached after the first *n_rows* rows of the curve."""
        return range(sum(row < n_rows for row in self.rows), len(self.rows))

    @property
    def n_passed(self) -> int:
        """How many of the levels reached it was not stopped on, 0 for one that is lost."""
        return 0 if self.is_lost else max(0, len(self.points) - (self.state is State.STOPPED))

    def is_beyond(self, level: int, levels: Sequence[float]) -> bool:
        """Tell whether what counts at *level* was reported as late as at the next of *levels*."""
        return level + 1 < len(levels) and self.steps[level] >= levels[level + 1]


class Rungs:
    """The places of all trials and their order on each rung, kept in step with a history.

    Args:
        levels: of the fidelity, ascending.
        given_in: the bracket on whose rungs trials count that people gave; ``None``: on rungs of their own. They do not
            count on a level where nothing is known of them before the next one.
        sinks_lost: trials that are lost become the worst on all rungs, whatever they had come to before.

    Attributes:
        places: by number, of every trial that has a config.
        members: the numbers of each bracket's trials.
        n_unfinished: how many trials of a bracket are not in a final state, for those brackets that have any.
        last_bracket: the highest that there is, -1 without one.
        n_passed: how many trials of a bracket that are not lost have reached a level, and were not stopped there.
        n_finished: how many trials have ended, as far as is known here.
    """

    def __init__(self, levels: Sequence[float], given_in: int | None = None, *, sinks_lost: bool = False) -> None:
        self.levels = tuple(levels)
        self._given_in = given_in
        self._sinks_lost = sinks_lost
        self._since: History | None = None
        self._n_put = 0  # never forgotten, so that no state of a bracket has the version of another
        self.versions: dict[int | None, int] = {}
        self._forget()

    def _forget(self) -> None:
        self.places: dict[int, Place] = {}
        self.members: defaultdict[int | None, list[int]] = defaultdict(list)
        self.n_unfinished: Counter[int | None] = Counter()
        self.last_bracket = -1
        self.n_passed: Counter[tuple[int | None, int]] = Counter()
        self._rungs: dict[tuple[int | None, int], Rung] = {}
        self._kind = Rung

    @property
    def n_finished(self) -> int:  # noqa: D102 - see the class
        return 0 if self._since is None else self._since.n_finished

    def follow(self, history: History, *, anew: bool = True) -> bool:
        """Take in what is new; costs that much where *history* is what became of the one before.

        Where it is not, begin anew, or, without *anew*, do nothing and return False.
        """
        changes = None if self._since is None else history.changes_since(self._since)
        if changes is None or not all(map(self._continues, changes)):
            if not anew:
                return False
            self._forget()
            self._kind = Rung if len(history.problem.objectives) < 2 else FrontRung
            changes = [*history.finished, *history.unfinished.values()]
        take = take_of(history)
        for trial in changes:
            if trial.config is not None:
                self._put(place_of(trial, history.problem, self.levels, take))
        self._since = history
        return True

    def rung(self, bracket: int | None, level: int) -> Rung:
        """Return the rung of *bracket* on *level*, counted from the lowest."""
        key = (self._bracket(bracket), level)
        if key not in self._rungs:
            self._rungs[key] = self._kind()
        return self._rungs[key]

    def _bracket(self, bracket: int | None) -> int | None:
        """Return the bracket on whose rungs trials of *bracket* count."""
        return self._given_in if bracket is None else bracket

    def _continues(self, trial: Trial | Finished) -> bool:
        """Tell whether *trial* may be what became of the one known; a preview may have given its number otherwise."""
        before = self.places.get(trial.number)
        return before is None or (trial.config is not None and trial.bracket == before.bracket)

    def _put(self, place: Place) -> None:
        before = self.places.get(place.number)
        self._n_put += 1
        self.versions[place.bracket] = self._n_put
        self.places[place.number] = place
        if before is None:
            self.members[place.bracket].append(place.number)
            self.last_bracket = max(self.last_bracket, -1 if place.bracket is None else place.bracket)
        self._count(before, place)
        paused_at = level_of(self.levels, place.budget) if place.state is State.PAUSED else -1
        points = tuple(map(_lost, place.points)) if self._sinks_lost and place.is_lost else place.points
        for level, point in enumerate(points):
            if place.bracket is None and place.is_beyond(level, self.levels):
                self.rung(None, level).drop(place.number)
            else:
                self.rung(place.bracket, level).put(place.number, point, is_paused=level == paused_at)
        for level in range(len(place.points), 0 if before is None else len(before.points)):
            self.rung(place.bracket, level).drop(place.number)  # it runs again

    def _count(self, before: Place | None, place: Place) -> None:
        """Take in that a trial was at *before* and is at *place*."""
        was_open = before is not None and not before.state.is_final
        self.n_unfinished[place.bracket] += (not place.state.is_final) - was_open
        if not self.n_unfinished[place.bracket]:
            del self.n_unfinished[place.bracket]
        bracket, n_then, n_now = self._bracket(place.bracket), 0 if before is None else before.n_passed, place.n_passed
        for level in range(min(n_then, n_now), max(n_then, n_now)):
            self.n_passed[bracket, level] += 1 if n_now > n_then else -1


def level_of(levels: Sequence[float], budget: float | None) -> int:
    """Return the highest of *levels* within *budget*, the lowest if none is."""
    return max(0, bisect_right(levels, 0.0 if budget is None else budget) - 1)


def take_of(history: History) -> Take:
    """Return how the reports of a study are taken."""
    return Rules.from_json(history.settings.get("rules", {})).take


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
    if trial.state is State.FAILED and len(points) < len(levels):
        points.append(Point(True, (math.inf,) * len(problem.objectives)))
        steps.append(levels[len(points) - 1])
        rows.append(NO_ROW)
    is_lost = trial.state in (State.FAILED, State.CANCELLED)
    if trial.state in (State.STOPPED, State.COMPLETED) and trial.curve:
        is_lost = _ends_in_nan(trial.curve) or (bool(points) and not points[-1].is_finite)
    known = (tuple(points), tuple(steps), tuple(rows))
    return Place(trial.number, trial.bracket, trial.state, trial.budget, *known, is_lost)


def _ends_in_nan(curve: Curve) -> bool:
    """Tell whether the last report has no number, which is what a trial is stopped on by whatever scheduler."""
    n = curve.width - 1
    return all(map(math.isnan, struct.unpack_from(f"<{n}d", curve.packed, len(curve.packed) - 8 * n)))


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


def _lost(point: Point) -> Point:
    """Return the worst that there is in the place of *point*."""
    return Point(True, (math.inf,) * len(point.values))


def _point(values: Floats, problem: Problem) -> Point:
    known = dict(zip(problem.metrics, values.tolist(), strict=True))
    signed = tuple(objective.sign * known[objective.name] for objective in problem.objectives)
    if any(map(math.isnan, signed)):
        return Point(True, (math.inf,) * len(signed))
    # What is not known yet may still be met.
    is_broken = any(not c.is_met_by(known[c.name]) for c in problem.constraints if not math.isnan(known[c.name]))
    return Point(is_broken, signed)
