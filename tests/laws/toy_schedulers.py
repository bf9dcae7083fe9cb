"""A scheduler that keeps its contract, and others that each break one promise of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from whet.algorithms.brackets import levels
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume
from whet.core.trial import State
from whet.errors import SearchExhausted

WORST = float("inf")


class Halver:
    """Lets one trial in three of those that have come to a level go on to the next, one level after the other."""

    eta = 3

    def __init__(self) -> None:
        pass

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        budgets = self.levels(history)
        assigned = self.promoted(history, budgets)[:n]
        assigned += [New(budgets[0], 0) for _ in range(min(n_new, n - len(assigned)))]
        if assigned or self.is_busy(history):
            return assigned
        last = self.last(history, budgets)
        if not last:
            raise SearchExhausted
        return last

    def decide(self, history: History, number: int) -> Decision:
        trial = history.unfinished[number]
        if trial.budget is None or trial.budget == self.levels(history)[-1]:
            return Decision.CONTINUE
        return Decision.CONTINUE if self.value_at(history, trial, trial.budget) is None else Decision.PAUSE

    def levels(self, history: History) -> tuple[float, ...]:
        fidelity = history.problem.fidelity
        assert fidelity is not None
        return levels(fidelity.low, fidelity.high, self.eta, is_integer=fidelity.is_integer)

    def is_busy(self, history: History) -> bool:
        return any(t.state is not State.PAUSED and t.config is not None for t in history.unfinished.values())

    def promoted(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        found: list[Assignment] = []
        for level, above in pairwise(budgets):
            rung = self.rung(history, level)
            best = [number for _, number in rung[: len(rung) // self.eta]]
            found += [Resume(number, above) for number in best if self.is_left(history, number, level)]
        return found

    def last(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        """Return what brings the best one nearer to the end, where none has come there."""
        if any(value < WORST for value, _ in self.rung(history, budgets[-1])):
            return []
        for level, above in reversed(list(pairwise(budgets))):
            left = [number for _, number in self.rung(history, level) if self.is_left(history, number, level)]
            if left:
                return [Resume(left[0], above)]
        return []

    def is_left(self, history: History, number: int, level: float) -> bool:
        trial = history.unfinished.get(number)
        return trial is not None and trial.state is State.PAUSED and trial.budget == level

    def rung(self, history: History, level: float) -> list[tuple[float, int]]:
        """Return (value, number) of the trials that have come to *level*, the best first."""
        known = [
            (self.value_at(history, trial, level), trial.number)
            for trial in (*history.finished, *history.unfinished.values())
            if trial.config is not None and trial.bracket == 0
        ]
        return sorted((value, number) for value, number in known if value is not None)

    def value_at(self, history: History, trial: Any, level: float) -> float | None:
        sign = history.problem.objectives[0].sign
        for row in trial.curve:
            if row[0] >= level:
                return sign * row[1] if row[1] == row[1] else WORST
        return WORST if trial.state in (State.FAILED, State.CANCELLED) else None


class Counting(Halver):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self._n_asked = 0

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        self._n_asked += 1
        return super().assign(history, n if self._n_asked % 3 else 1, n_new)[: 1 + self._n_asked % 3]

    def promoted(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        return super().promoted(history, budgets) if self._n_asked % 2 else []


class Sticky(Halver):
    """Keeps what it made of the first history with so many trials: a memo without a key."""

    def __init__(self) -> None:
        self._memo: dict[tuple[int, float], list[tuple[float, int]]] = {}

    def rung(self, history: History, level: float) -> list[tuple[float, int]]:
        return self._memo.setdefault((history.seq, level), super().rung(history, level))


class Remembering(Halver):
    """Goes by the order in which it heard of trials, which no history tells."""

    def __init__(self) -> None:
        self._heard: list[int] = []

    def decide(self, history: History, number: int) -> Decision:
        self._heard.append(number)
        return super().decide(history, number)

    def promoted(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        return [one for one in super().promoted(history, budgets) if one.number in self._heard]  # type: ignore[union-attr]


class WaitsForEver(Halver):
    """Waits for a rung to fill when no new trials come."""

    def last(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        return []

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        try:
            return super().assign(history, n, n_new)
        except SearchExhausted:
            return []


class LeavesUnfinished(Halver):
    """Ends with nothing trained to the end."""

    def last(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        return []


class WaitsForSuccess(Halver):
    """Waits where trials have failed, for those that are to come."""

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        n_good = sum(value < WORST for value, _ in self.rung(history, self.levels(history)[0]))
        return super().assign(history, n, n_new if n_good or history.n_finished < 4 else 0)


class PromotesTheWorst(Halver):
    """Takes large for good."""

    def rung(self, history: History, level: float) -> list[tuple[float, int]]:
        return [(-value, number) for value, number in reversed(super().rung(history, level))]


class PromotesMost(Halver):
    """Lets two in three go on."""

    def promoted(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        found: list[Assignment] = []
        for level, above in pairwise(budgets):
            rung = self.rung(history, level)
            best = [number for _, number in rung[: 2 * len(rung) // self.eta]]
            found += [Resume(number, above) for number in reversed(best) if self.is_left(history, number, level)]
        return found


class PromotesTheRunning(Halver):
    """Resumes trials that are on their way to a level."""

    def is_left(self, history: History, number: int, level: float) -> bool:
        trial = history.unfinished.get(number)
        return trial is not None and (trial.budget or 0) <= self.levels(history)[-2]


class PromotesTwice(Halver):
    """Lets a trial go on for two slots."""

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        assigned = super().assign(history, n, n_new)
        return assigned + [one for one in assigned if isinstance(one, Resume)][:1]


class Marking(Halver):
    """Resumes a trial with the budget that it has."""

    def promoted(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        found = super().promoted(history, budgets)
        return [replace(one, budget=budgets[0]) if isinstance(one, Resume) else one for one in found]


class OffTheAxis(Halver):
    """Has levels that are none of the fidelity's."""

    def levels(self, history: History) -> tuple[float, ...]:
        return tuple(2.5 * level for level in super().levels(history))


class Greedy(Halver):
    """Takes more slots than are free."""

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        return super().assign(history, n + 1, n_new + 1)


class Literal(Halver):
    """Expects a report at exactly each level, and numbers in it."""

    def value_at(self, history: History, trial: Any, level: float) -> float | None:
        rows = {row[0]: row[1] for row in trial.curve}
        if rows and max(rows) >= level:
            return history.problem.objectives[0].sign * rows[level]
        return super().value_at(history, replace(trial, curve=type(trial.curve)()), level)


class HoldsAttemptsAgainst(Halver):
    """Stops a trial whose process was lost."""

    def decide(self, history: History, number: int) -> Decision:
        return Decision.STOP if history.unfinished[number].attempt > 4 else super().decide(history, number)


class GoesByEvents(Halver):
    """Promotes only at every third event of the log."""

    def promoted(self, history: History, budgets: Sequence[float]) -> list[Assignment]:
        return super().promoted(history, budgets) if history.seq % 3 == 0 else []


class AboveQuota(Halver):
    """Says how many there are on a rung, and starts more."""

    def planned(self, bracket: int, budgets: Sequence[float]) -> list[Any]:
        del bracket
        return [type("Planned", (), {"n": 3 ** (len(budgets) - 1 - i) // 3}) for i in range(len(budgets))]


class Wordless(Halver):
    """Answers in words of its own."""

    def decide(self, history: History, number: int) -> Any:
        return super().decide(history, number) is Decision.CONTINUE


class Rambling(Halver):
    """Gives a page of reasons."""

    def reason(self, history: History, number: int) -> str:
        return f"trial {number}\n" * 100
