"""Rungs that wait for everybody: the rounds of successive halving, one after the other and beside each other.

A round is a bracket: its number says what it begins with. What becomes of it follows from where its trials are, so
there is nothing to remember. No slot waits for a rung: where there is one more, the next round begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count, pairwise

from whet.algorithms.brackets import Rung as Planned
from whet.algorithms.brackets import halving
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume, Stop
from whet.core.trial import State
from whet.errors import SearchExhausted
from whet.points.rungs import Place, Rungs, level_of
from whet.schedulers.ladder import Ladder, at_level, checked_eta, goes_on, is_busy, ordinal, standing_of


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is to be done in a round.

    Attributes:
        n_missing: trials that it has still to begin.
        resumed: paused trials that go on, the best of the highest rung first.
        stopped: paused trials that do not.
    """

    n_missing: int
    resumed: list[Resume]
    stopped: list[Stop]


class Rounds:
    """A scheduler whose rungs are planned.

    Args:
        name: for error messages.
        eta: one trial in eta goes on; at least 2.

    Raises:
        UsageError: *eta* is out of range.
    """

    def __init__(self, name: str, eta: float) -> None:
        self.eta = checked_eta(eta)
        self._ladder = Ladder(name, eta)
        self._seen: Rungs | None = None
        self._standings: dict[int, tuple[int, bool, _Standing]] = {}  # (version, is_closing, standing) of open rounds

    def planned(self, number: int, levels: tuple[float, ...]) -> tuple[Planned, ...]:
        """Return the rungs of round *number*, lowest first; the last of them is on the highest of *levels*."""
        raise NotImplementedError

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return who goes on, who does not, and new trials; see `Scheduler`."""
        rungs = self._ladder.climbed(history)
        last = rungs.last_bracket
        is_open = {b for b in rungs.n_unfinished if b is not None}.union([last] if last >= 0 else [])
        resumed: list[Assignment] = []
        stopped: list[Assignment] = []
        missing: dict[int, int] = {}
        self._see(rungs, history, is_open, is_closing=not n_new)
        for b, (_, _, standing) in self._standings.items():
            stopped += standing.stopped
            resumed += standing.resumed
            if standing.n_missing:
                missing[b] = standing.n_missing
        resumed = resumed[:n]
        new = self._new(rungs, missing, last, min(n - len(resumed), n_new))
        assigned = [*stopped, *resumed, *new]
        if not assigned and not is_busy(history):
            raise SearchExhausted
        return assigned

    def decide(self, history: History, number: int) -> Decision:
        """Return whether the trial has reached its budget; see `Scheduler`."""
        return self._ladder.decide_at_budget(history, number)

    def reason(self, history: History, number: int) -> str:
        """Return the rank of the trial so far, and how many will go on; see `Reasons`."""
        rungs = self._ladder.climbed(history)
        place = rungs.places[number]
        level = level_of(rungs.levels, place.budget)
        standing = standing_of(history.problem, rungs, number, level)
        plan = self.planned(place.bracket or 0, rungs.levels)
        now = level - (len(rungs.levels) - len(plan))
        if not place.points[level].is_finite or not 0 <= now < len(plan) - 1:
            return standing
        fewer = f", or one in {self.eta:g} where fewer come" if plan[now].n > 1 else ""
        return f"{standing} so far; {goes_on(plan[now + 1].n)} once {plan[now].n} are there{fewer}"

    def _see(self, rungs: Rungs, history: History, is_open: set[int], *, is_closing: bool) -> None:
        """Bring the standings of open rounds up to date: anew only where something has changed."""
        before, self._standings = self._standings if rungs is self._seen else {}, {}
        self._seen = rungs
        for b in sorted(is_open):
            known, version = before.get(b), rungs.versions[b]
            if known is None or known[0] != version or known[1] != is_closing:
                known = version, is_closing, self._standing(history, rungs, b, is_closing=is_closing)
            self._standings[b] = known

    def _standing(self, history: History, rungs: Rungs, b: int, *, is_closing: bool) -> _Standing:
        """Return what is to be done in round *b*; with *is_closing* it gets no trials beyond those that it has."""
        plan = self.planned(b, rungs.levels)
        lowest = len(rungs.levels) - len(plan)
        members = set(rungs.members[b])
        if len(members) < plan[0].n:
            if not is_closing and not _has_closed(rungs, b, plan):
                return _Standing(plan[0].n - len(members), [], [])
            plan = halving(len(members), tuple(rung.budget for rung in plan), self.eta)
        stopped: list[Stop] = []
        for level, (now, after) in enumerate(pairwise(plan), start=lowest):
            if not all(_is_done(rungs, number, level) for number in members):
                break
            ranked = [number for number in rungs.rung(b, level) if number in members]
            chosen = [number for number in ranked if _may_go_on(rungs, number, level)]
            # Who has gone on keeps the place, whoever has joined the rung since: no rung gets above its quota.
            chosen.sort(key=lambda number: not _has_gone_on(rungs.places[number], rungs, level))
            chosen = chosen[: after.n]
            going = set(chosen)
            where = at_level(history.problem, now.budget)
            stopped += [
                Stop(number, f"{ordinal(rank)} of {len(members)} {where}, {goes_on(after.n)}")
                for rank, number in enumerate(ranked, start=1)
                if number not in going and rungs.places[number].state is State.PAUSED
            ]
            members = going
            resumed = [Resume(number, after.budget) for number in chosen if _waits(rungs, number, level)]
            if resumed:
                return _Standing(0, resumed, stopped)
        return _Standing(0, [], stopped)

    def _new(self, rungs: Rungs, missing: Mapping[int, int], last: int, n: int) -> list[Assignment]:
        """Return *n* new trials: those that are *missing* in rounds that have begun, then those of new rounds."""
        new: list[Assignment] = []
        for b in chain(missing, count(last + 1)):
            if len(new) >= n:
                break
            first = self.planned(b, rungs.levels)[0]
            room = missing.get(b, first.n)
            new += [New(first.budget, b, room=room)] * min(room, n - len(new))
        return new


def _has_closed(rungs: Rungs, b: int, plan: tuple[Planned, ...]) -> bool:
    """Tell whether the first rung of round *b* was closed: somebody has gone on."""
    lowest = len(rungs.levels) - len(plan)
    return any(_has_gone_on(rungs.places[number], rungs, lowest) for number in rungs.members[b])


def _is_done(rungs: Rungs, number: int, level: int) -> bool:
    """Tell whether nothing more will come of the trial on *level*."""
    place = rungs.places[number]
    is_there = place.top >= level and (place.state is State.PAUSED or _has_gone_on(place, rungs, level))
    return is_there or place.state.is_final


def _may_go_on(rungs: Rungs, number: int, level: int) -> bool:
    """Tell whether the trial, which has reached *level*, has gone on from there or still can."""
    place = rungs.places[number]
    return place.points[level].is_finite and (not place.state.is_final or _has_gone_on(place, rungs, level))


def _waits(rungs: Rungs, number: int, level: int) -> bool:
    """Tell whether the trial is paused on *level*."""
    place = rungs.places[number]
    return place.state is State.PAUSED and not _has_gone_on(place, rungs, level)


def _has_gone_on(place: Place, rungs: Rungs, level: int) -> bool:
    return level_of(rungs.levels, place.budget) > level
