"""ASHA: halving without waiting. Whoever is among the best one in eta of those known at a level goes on.

Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, algorithm 2 (``promotion``). The
variant ``stopping`` has each trial go on by itself or end there, as in Ray Tune and Syne Tune.
"""

from __future__ import annotations

from itertools import islice
from typing import Literal

from whet.algorithms.brackets import bracket, n_best
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume
from whet.errors import SearchExhausted, UsageError
from whet.points.rungs import Rungs, level_of
from whet.schedulers.ladder import Ladder, checked_eta, goes_on, is_busy, standing_of


class ASHA:
    """Asynchronous successive halving.

    ``stopping``: every trial may go to the highest budget, and each time it reaches a level it goes on only if it is
    among the best floor(n / eta) of the n trials known there with it, or the best of all while n is less than 2 eta.
    So the first trial goes on, and each of the next few only if it is ahead of all before it. Where the first eta go on
    whatever they come to, less is left for the rest: simulated with one worker and a budget of 20 whole trainings, the
    best is worse by more than a third after a quarter of it, and about as good at the end.

    A trial that fails, is cancelled or comes to no finite number has lost its places: on every rung it still counts as
    known, but as the worst. And as long as nobody else has gone on from a level, those apart, whoever comes there goes
    on. Else the few trials after a best one that comes to nothing would all be stopped for being behind it, and none
    might be trained to the end. Who was told to stop counts as gone on until it has. What was stopped stays so: only a
    search whose last trials come to nothing may end without a trained one.

    ``promotion``: every trial pauses at its budget, at first the lowest level. Where a slot is free, the best paused
    trial of the highest rung on which one is among the best floor(n / eta) goes on to the next level; without one a new
    trial begins. When no new ones may begin and nobody is ahead, the best go on one by one until one trial has been
    trained to the end.

    Configs that people enqueue run to the end, and count on the rungs of the first bracket. Trials that were added with
    what came of them are compared with nobody, as nothing is known of them on their way there; those that have failed
    count on the lowest rung, as the worst.

    Args:
        eta: one trial in eta goes on, with eta times the budget; at least 2.
        type: which variant.
        brackets: how many lowest levels there are: trials of the second bracket are first compared at the second level,
            and so on. Trials are spread over brackets in the proportions of Hyperband, which give each the same budget.
            More than there are levels count as that many.

    Raises:
        UsageError: an option is out of range.
    """

    def __init__(
        self,
        *,
        eta: float = 3,
        type: Literal["stopping", "promotion"] = "stopping",  # noqa: A002
        brackets: int = 1,
    ) -> None:
        if type not in ("stopping", "promotion"):
            raise UsageError(f"asha: type must be 'stopping' or 'promotion', got {type!r}")
        if isinstance(brackets, bool) or not isinstance(brackets, int) or brackets < 1:
            raise UsageError(f"asha: brackets must be a whole number of at least 1, got {brackets!r}")
        self.eta, self.type, self.brackets = checked_eta(eta), type, brackets
        self._ladder = Ladder("asha", eta, given_in=0, sinks_lost=type == "stopping")

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return promotions, if that is the variant, and new trials; see `Scheduler`."""
        rungs = self._ladder.climbed(history)
        assigned: list[Assignment] = []
        if self.type == "promotion":
            assigned += self._promoted(rungs, n)
        assigned += self._new(rungs, min(n - len(assigned), n_new))
        if assigned or (self.type == "promotion" and is_busy(history)):
            return assigned
        last = self._last(rungs) if self.type == "promotion" and not n_new else None
        if last is None:
            raise SearchExhausted
        return [last]

    def decide(self, history: History, number: int) -> Decision:
        """Return whether the trial is among the best where it is; see `Scheduler`."""
        if self.type == "promotion":
            return self._ladder.decide_at_budget(history, number)
        place = self._ladder.place(history, number)
        if place.bracket is None or not place.reached_since(history.unfinished[number].n_before):
            return Decision.CONTINUE
        is_lost = self._lost_at(history, number, self._ladder.climbed(history)) is not None
        return Decision.STOP if is_lost else Decision.CONTINUE

    def reason(self, history: History, number: int) -> str:
        """Return the rank of the trial, and how many go on; see `Reasons`."""
        rungs = self._ladder.climbed(history)
        place = rungs.places[number]
        lost_at = self._lost_at(history, number, rungs) if self.type == "stopping" else None
        level = level_of(rungs.levels, place.budget) if lost_at is None else lost_at
        standing = standing_of(history.problem, rungs, number, level)
        if not place.points[level].is_finite:
            return standing
        n_known = len(rungs.rung(place.bracket, level))
        n = n_best(n_known, self.eta)
        if self.type == "stopping":
            return f"{standing}, {goes_on(max(1, n))}"
        return f"{standing}; {goes_on(n) if n else 'more have to come before one goes on'}"

    def _lost_at(self, history: History, number: int, rungs: Rungs) -> int | None:
        """Return the lowest level that the last report has reached where the trial is not among the best."""
        place = rungs.places[number]
        for level in place.reached_since(history.unfinished[number].n_before):
            if (place.bracket or 0) <= level < len(rungs.levels) - 1:
                rung = rungs.rung(place.bracket, level)
                n = max(1, n_best(len(rung), self.eta))
                is_alone = rungs.n_passed[place.bracket, level] == 1
                if not place.points[level].is_finite or (rung.rank(number) >= n and not is_alone):
                    return level
        return None

    def _promoted(self, rungs: Rungs, n: int) -> list[Assignment]:
        """Return up to *n* promotions, highest level first."""
        resumed: list[Assignment] = []
        for level in range(len(rungs.levels) - 2, -1, -1):
            for b in range(min(self.brackets, level + 1)):
                rung = rungs.rung(b, level)
                for number in rung.paused(n_best(len(rung), self.eta)):
                    if len(resumed) == n:
                        return resumed
                    resumed.append(Resume(number, rungs.levels[level + 1]))
        return resumed

    def _new(self, rungs: Rungs, n: int) -> list[Assignment]:
        """Return *n* new trials, each in the bracket that is furthest behind its share."""
        budgets = rungs.levels
        top = len(budgets) - 1
        n_brackets = min(self.brackets, len(budgets))
        shares = [bracket(top - b, budgets, self.eta)[0].n for b in range(n_brackets)] if n_brackets > 1 else [1]
        counts = [len(rungs.members[b]) for b in range(n_brackets)]
        new: list[Assignment] = []
        for _ in range(n):
            b = min(range(n_brackets), key=lambda b: ((counts[b] + 1) / shares[b], b))
            counts[b] += 1
            new.append(New(budgets[b] if self.type == "promotion" else budgets[-1], b))
        return new

    def _last(self, rungs: Rungs) -> Resume | None:
        """Return the promotion that brings one trial nearer to the end, if none has come there."""
        top = len(rungs.levels) - 1
        if any(rungs.n_passed[b, top] for b in range(min(self.brackets, top + 1))):
            return None
        for level in range(top - 1, -1, -1):
            there = [rungs.rung(b, level) for b in range(min(self.brackets, level + 1))]
            best = [number for rung in there for number in islice(rung.paused(len(rung)), 1)]
            if best:
                chosen = min(best, key=lambda number: (rungs.places[number].points[level], number))
                return Resume(chosen, rungs.levels[level + 1])
        return None
