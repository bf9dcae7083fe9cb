"""What the schedulers that halve have in common: eta, the levels of a study's fidelity, and who is where on them."""

from __future__ import annotations

import math

from whet.algorithms.brackets import levels
from whet.core.history import History
from whet.core.lookahead import lookahead_of
from whet.core.problem import Problem
from whet.core.protocols import Decision
from whet.errors import UsageError
from whet.points.rungs import Place, Rungs, level_of, place_of, take_of
from whet.space.plain import is_number


def checked_eta(eta: float) -> float:
    """Return *eta*, of which one config in so many goes on, with so many times the budget.

    Raises:
        UsageError: it is no number of at least 2.
    """
    if not is_number(eta) or not 2 <= eta < math.inf:
        raise UsageError(f"eta must be a number of at least 2 (one config in eta goes on), got {eta!r}")
    return eta


class Ladder:
    """The rungs of whatever study is looked at, kept in step with its history.

    Args:
        name: of the scheduler, for error messages.
        eta: from one level to the next.
        given_in, sinks_lost: see `Rungs`.
        n_levels: how many there are at most, the highest ones.
    """

    def __init__(
        self,
        name: str,
        eta: float,
        given_in: int | None = None,
        n_levels: int | None = None,
        *,
        sinks_lost: bool = False,
    ) -> None:
        self._name, self._eta, self._given_in, self._n_levels = name, eta, given_in, n_levels
        self._sinks_lost = sinks_lost
        self._problem: Problem | None = None
        self._levels: tuple[float, ...] = ()
        self._rungs: list[Rungs] = []

    def climbed(self, history: History) -> Rungs:
        """Return the rungs with all that is known.

        A deterministic study shows each trial what was known when its config was chosen, now this, now that: then there
        are some rungs for each, and those that have come the farthest on the way to *history* follow it.

        Raises:
            UsageError: as for :meth:`levels`.
        """
        self._see(history.problem)
        lookahead = lookahead_of(history)
        if lookahead is not None:
            self._rungs.sort(key=lambda rungs: -rungs.n_finished)
        for rungs in self._rungs:
            if rungs.follow(history, anew=False):
                return rungs
        if not self._rungs or (lookahead is not None and len(self._rungs) < lookahead + 2):
            self._rungs.append(Rungs(self._levels, self._given_in, sinks_lost=self._sinks_lost))
        rungs = self._rungs[-1]
        rungs.follow(history)
        return rungs

    def place(self, history: History, number: int) -> Place:
        """Return how far a trial that has not ended has come, which costs less than to know where all are.

        Raises:
            UsageError: as for :meth:`levels`.
        """
        self._see(history.problem)
        return place_of(history.unfinished[number], history.problem, self._levels, take_of(history))

    def decide_at_budget(self, history: History, number: int) -> Decision:
        """Return what a trial does that runs up to its budget: it pauses there, or stops if it has no number to show.

        Raises:
            UsageError: as for :meth:`levels`.
        """
        place = self.place(history, number)
        level = level_of(self._levels, place.budget)
        if place.bracket is None or level == len(self._levels) - 1 or place.top < level:
            return Decision.CONTINUE
        return Decision.PAUSE if place.points[level].is_finite else Decision.STOP

    def _see(self, problem: Problem) -> None:
        if problem is not self._problem:
            self._levels, self._rungs, self._problem = self.levels(problem), [], problem

    def levels(self, problem: Problem) -> tuple[float, ...]:
        """Return the levels of the fidelity of *problem*, ascending.

        Raises:
            UsageError: it has no fidelity, no objective, or no two levels.
        """
        fidelity = problem.fidelity
        if fidelity is None:
            raise UsageError(
                f"the scheduler {self._name} needs a fidelity, along which trials can be cut short: "
                "fidelity={'epochs': (1, 81)} for a function, --fidelity epochs=1:81 for a script that reports its "
                'epochs, --epochs "budget(1, 81)" for one that has such an option'
            )
        if not problem.objectives:
            raise UsageError(f"the scheduler {self._name} needs an objective to tell which trials are the best")
        found = levels(fidelity.low, fidelity.high, self._eta, is_integer=fidelity.is_integer)
        if len(found) < 2:
            raise UsageError(
                f"the scheduler {self._name} needs two levels, and with eta={self._eta:g} there is one from "
                f"{fidelity.low:g} to {fidelity.high:g}: lower the lowest {fidelity.name}"
                + (f" or eta (at most {fidelity.high / fidelity.low:g})" if fidelity.high >= 2 * fidelity.low else "")
            )
        return found if self._n_levels is None else found[-self._n_levels :]


def is_busy(history: History) -> bool:
    """Tell whether a trial is running, or waits to be."""
    return any(trial.config is not None for trial in history.active.values())


def at_level(problem: Problem, level: float) -> str:
    """Return where on the fidelity a level is: ``at 9 epochs``, ``at 1 epoch``, ``at subset 0.3``."""
    assert problem.fidelity is not None, "checked before"
    amount, name = str(int(level)) if level == int(level) else f"{level:.4g}", problem.fidelity.name
    if not name.endswith("s"):
        return f"at {name} {amount}"
    return f"at {amount} {name[:-1] if amount == '1' else name}"


def standing_of(problem: Problem, rungs: Rungs, number: int, level: int) -> str:
    """Return the rank of trial *number* on a level that it has reached: ``12th of 15 at 9 epochs``."""
    place, where = rungs.places[number], at_level(problem, rungs.levels[level])
    if not place.points[level].is_finite:
        return f"no finite number {where}"
    rung = rungs.rung(place.bracket, level)
    return f"{ordinal(rung.rank(number) + 1)} of {len(rung)} {where}"


def ordinal(n: int) -> str:
    """Return *n* as in ``1st``, ``2nd``."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def goes_on(n: int) -> str:
    """Return ``the best goes on``, ``the best 5 go on``."""
    return "the best goes on" if n == 1 else f"the best {n} go on"
