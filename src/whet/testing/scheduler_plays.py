"""Searches to try schedulers on: a real study, asked and told in any order, and what must hold all the while."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from whet.core import jsontext
from whet.core.asking import requeue_drafts
from whet.core.handing import hand_out
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Reasons, Resume, Scheduler, Stop, Store
from whet.core.trial import State, Trial
from whet.errors import NotReady, SearchExhausted, StateError
from whet.study import Study, load
from whet.testing.sampler_histories import reloaded

Make = Callable[[], Scheduler]

PROBLEMS: Mapping[str, Mapping[str, Any]] = {
    "epochs": {"fidelity": {"epochs": (1, 27)}},
    "levels that are no whole numbers": {"objective": "maximize", "fidelity": {"epochs": (1, 52)}},
    "a fraction": {"fidelity": {"subset": (0.1, 1.0)}},
    "hardly any extent": {"objective": {"loss": "min"}, "fidelity": {"epochs": (2, 6)}},
    "a constraint": {"objective": {"loss": "min"}, "constraints": ["ms <= 0.7"], "fidelity": {"epochs": (1, 9)}},
    "two objectives": {"objective": {"loss": "min", "acc": "max"}, "fidelity": {"epochs": (1, 9)}},
    "no fidelity": {},
}
N_STEPS = 27  # that a trial has where there is no fidelity
_ODD = (math.inf, -math.inf, 1e308, -1e308, 0.0)
_ODD_STEPS = (0.0, -5.0, 0.5, 1e300)


def study_of(problem: str, scheduler: Scheduler, seed: int = 0, store: Store | str | None = None) -> Study:
    """Return a new study of one of `PROBLEMS`, whose configs are random."""
    options = dict(PROBLEMS[problem])
    space = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
    return Study(space, options.pop("objective", "minimize"), **options, scheduler=scheduler, sampler="random",
                 seed=seed, store=store, name="play")  # fmt: skip


def measured(history: History, config: Mapping[str, Any], step: float) -> dict[str, float]:
    """Return what a trial with *config* reports at *step*: curves fall, and cross each other."""
    share = step / _end_of(history)
    values = {}
    for name in history.problem.metrics:
        a, b = _shape(name, jsontext.dumps(dict(config)))
        values[name] = a + b / (1 + 9 * min(share, 1.0))
    for objective in history.problem.objectives:
        values[objective.name] *= objective.sign
    return values


@cache
def _shape(name: str, config: str) -> tuple[float, float]:
    """Return where the curve of a metric ends, and how far above that it begins; *config* is JSON."""
    a, b = (zlib.crc32(jsontext.dumps([name, key, jsontext.loads(config)]).encode()) / 2**32 for key in "ab")
    return a, b


def _end_of(history: History) -> float:
    return N_STEPS if history.problem.fidelity is None else history.problem.fidelity.high


class Watched:
    """A scheduler whose every answer is checked, against the contract and against that of a fresh one.

    Args:
        make: returns a new scheduler.
        every: which answers are compared with those of a fresh one: each, every second, …

    Attributes:
        checks: called with the history and what was assigned, after each time.
    """

    def __init__(self, make: Make, every: int = 1) -> None:
        self._make, self._every = make, every
        self._live = make()
        self._n_asked = 0
        self.keeps_lost = getattr(self._live, "keeps_lost", False)
        self.checks: list[Callable[[History, Sequence[Assignment]], None]] = [check_assigned]

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """See `Scheduler`."""
        answer = self._answer(history, lambda one, known: one.assign(known, n, n_new))
        if answer is None:
            raise SearchExhausted
        assert isinstance(answer, list), f"assign returned {answer!r}"
        n_started = sum(isinstance(one, Resume | New) for one in answer)
        assert n_started <= n, f"{n_started} assignments for {n} free slots: {answer}"
        for check in self.checks:
            check(history, answer)
        return answer

    def decide(self, history: History, number: int) -> Decision:
        """See `Scheduler`."""
        answer = self._answer(history, lambda one, known: one.decide(known, number))
        assert isinstance(answer, Decision), f"decide returned {answer!r}"
        return answer

    def reason(self, history: History, number: int) -> str:
        """See `Reasons`."""
        if not isinstance(self._live, Reasons):
            return ""
        text = self._answer(history, lambda one, known: one.reason(known, number) if isinstance(one, Reasons) else "")
        assert isinstance(text, str) and "\n" not in text and len(text) <= 200, f"no short text: {text!r}"
        return text

    def _answer(self, history: History, ask: Callable[[Scheduler, History], Any]) -> Any:
        """Return what the live scheduler answers, ``None`` for exhausted, having compared it with a fresh one."""
        answer = _answer_of(self._live, history, ask)
        self._n_asked += 1
        if self._n_asked % self._every == 0:
            assert _answer_of(self._live, history, ask) == answer, "asked again, it answers something else"
            fresh = _answer_of(self._make(), reloaded(history), ask)
            assert fresh == answer, f"a fresh scheduler answers {fresh}, the live one {answer}"
        return answer


def _answer_of(one: Scheduler, history: History, ask: Callable[[Scheduler, History], Any]) -> Any:
    try:
        return ask(one, history)
    except SearchExhausted:
        return None


def check_assigned(history: History, assigned: Sequence[Assignment]) -> None:
    """See that *assigned* is possible: paused trials, each once, and budgets that lie on the axis and grow."""
    fidelity = history.problem.fidelity
    numbers = [one.number for one in assigned if not isinstance(one, New)]
    assert len(set(numbers)) == len(numbers), f"a trial is assigned twice: {assigned}"
    for one in assigned:
        if not isinstance(one, New):
            trial = history.unfinished.get(one.number)
            assert trial is not None and trial.state is State.PAUSED, f"{one} is about a trial that is not paused"
        if isinstance(one, Stop):
            continue
        if fidelity is None:
            assert isinstance(one, New) and one.budget is None, f"{one}: there is no fidelity"
            continue
        assert one.budget is not None and fidelity.low <= one.budget <= fidelity.high, f"{one} is off the axis"
        assert not fidelity.is_integer or one.budget == int(one.budget), f"{one}: budgets are whole numbers"
        if isinstance(one, Resume):
            before = history.unfinished[one.number].budget
            assert before is None or before < one.budget, f"{one}: the budget does not grow, it was {before}"


@dataclass
class Attempt:
    """A trial that somebody runs, and the last step that it has reported."""

    trial: Trial
    step: float = 0.0


@dataclass
class Play:
    """A search by several workers, who do what *rng* says.

    Attributes:
        make: returns a new scheduler.
        problem: one of `PROBLEMS`.
        rng: who is next, and what goes wrong.
        n_workers, n_trials: as of a search.
        is_hostile: reports are also repeated, late, missing or no numbers; trials fail and are lost.
        every: see `Watched`.
        n_given: configs that are enqueued on the way.
        seed: of the study, whose configs it decides.
        store: where the study is kept; by default in memory.
        started: (number, budget) of each attempt, in order.
    """

    make: Make
    problem: str
    rng: Random
    n_workers: int = 3
    n_trials: int = 16
    is_hostile: bool = True
    every: int = 1
    n_given: int = 0
    seed: int = 0
    store: Store | str | None = None
    started: list[tuple[int, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin the study."""
        self.watched = Watched(self.make, self.every)
        self.study = study_of(self.problem, self.watched, self.seed, self.store)
        self.running: list[Attempt] = []
        self._is_waiting = False  # nothing can be asked before something has happened
        self._goes_on = self.rng.random() < 0.5  # attempts have a checkpoint; else they start again

    @property
    def history(self) -> History:
        """What is known."""
        return self.study.ledger.history

    def to_the_end(self) -> Study:
        """Go on until nothing is left to do; see that this comes."""
        for _ in range(400 * self.n_trials):
            if not self.go_on():
                return self.study
        raise AssertionError(f"the search does not end: {self.history.counts()}")

    def go_on(self) -> bool:
        """Let one thing happen; tell whether there was one."""
        if self.n_given and self.rng.random() < 0.1:
            self.n_given -= 1
            self.study.enqueue({"x": self.rng.random(), "y": self.rng.random()})
            self._is_waiting = False
        may_ask = len(self.running) < self.n_workers and not self._is_waiting
        if may_ask and (not self.running or self.rng.random() < 0.5):
            return self._ask() or bool(self.running)
        if not self.running:
            return False
        attempt = self.rng.choice(self.running)
        if self._is_over(attempt):
            self.running.remove(attempt)
        self._is_waiting = False
        return True

    def _ask(self) -> bool:
        """Start a trial; tell whether there was one."""
        n_new = max(0, self.n_trials - self.history.n_asked)
        try:
            trials = hand_out(self.study.ledger, self.study.sampler, self.study.scheduler, 1, n_new)
        except SearchExhausted:
            self._is_waiting = True
            return False
        except NotReady:
            assert self.running, f"it waits for ever: {self.history.counts()}, {n_new} new ones allowed"
            self._is_waiting = True
            return False
        (trial,) = trials
        assert trial.state is State.RUNNING
        self.started.append((trial.number, trial.budget))
        self.running.append(Attempt(trial, _begun_at(trial, goes_on=self._goes_on)))
        return True

    # ---- what attempts do
    def _is_over(self, attempt: Attempt) -> bool:
        """Let *attempt* do something; tell whether it has ended."""
        if self.is_hostile and self.rng.random() < 0.3:
            return self._misfortune(attempt)
        end = attempt.trial.budget or _end_of(self.history)
        stride = _end_of(self.history) / N_STEPS
        if self.history.problem.fidelity is not None and self.history.problem.fidelity.is_integer:
            stride = math.ceil(stride)
        step = min(end, attempt.step + stride * self.rng.choice((1, 1, 2, 3)))
        if attempt.step >= end:
            return self._tell(attempt, end)
        attempt.step = step
        return self._report(attempt, self._measured(attempt, step), step)

    def _misfortune(self, attempt: Attempt) -> bool:
        """Let something happen that should not."""
        values = self._measured(attempt, attempt.step or 1)
        match self.rng.randrange(9):
            case 0:
                return self._report(attempt, values, attempt.step)  # again, or of step 0
            case 1:
                return self._report(attempt, values, attempt.step / 2)
            case 2:
                return self._report(attempt, values, self.rng.choice(_ODD_STEPS))
            case 3:
                return self._report(attempt, dict.fromkeys(values, math.nan), attempt.step + 1)
            case 4:
                return self._report(attempt, dict.fromkeys(values, self.rng.choice(_ODD)), attempt.step + 1)
            case 5:
                return self._report(attempt, {**values, next(iter(values)): math.nan}, attempt.step + 1)
            case 6:
                self.study.fail(attempt.trial)
                return True
            case 7:
                self.lose(attempt.trial.number)
                return True
            case _:
                return self._tell(attempt, attempt.step or 1)  # before its budget is spent

    def lose(self, number: int) -> None:
        """Let the process that runs trial *number* be gone."""
        drafts = requeue_drafts(self.history, lambda owner: True, now=time.time)
        self.study.ledger.commit([draft for draft in drafts if draft.trial == number])

    def _measured(self, attempt: Attempt, step: float) -> dict[str, float]:
        return measured(self.history, attempt.trial.config or {}, step)

    def _report(self, attempt: Attempt, values: Mapping[str, float], step: float) -> bool:
        decision = self.study.report(attempt.trial, values, step=step)
        trial = self.study.ledger.trial(attempt.trial.number)
        if decision is Decision.CONTINUE:
            assert trial.state is State.RUNNING
            return False
        assert trial.state is (State.STOPPED if decision is Decision.STOP else State.PAUSED)
        self._check_over(attempt)
        return True

    def _tell(self, attempt: Attempt, step: float) -> bool:
        self.study.tell(attempt.trial, self._measured(attempt, step))
        self._check_over(attempt)
        return True

    def _check_over(self, attempt: Attempt) -> None:
        """See that what has ended stays as it is."""
        try:
            self.study.report(attempt.trial, self._measured(attempt, 1), step=1)
        except StateError:
            return
        raise AssertionError(f"trial {attempt.trial.number} has stopped or paused, and still reports")


def _begun_at(trial: Trial, *, goes_on: bool) -> float:
    """Return the step from which a new attempt of *trial* goes on, 0 if it starts again."""
    return max(0.0, trial.curve.last_step() or 0.0) if goes_on else 0.0


def one_by_one(
    make: Make, problem: str, n_trials: int, killed: Sequence[int] = (), *, goes_on: bool = True
) -> list[Any]:
    """Return what a single worker comes to: who went how far in which order, and what became of each.

    Before each of the events that *killed* counts, the worker is killed, and resumes with a fresh scheduler. Attempts
    go on from a checkpoint that has every step, or else start again.
    """
    study = study_of(problem, make())
    store, n_events, sequence = study.ledger.store, 0, list[tuple[int, float | None]]()
    while True:
        try:
            n_new = max(0, n_trials - study.ledger.history.n_asked)
            (trial,) = hand_out(study.ledger, study.sampler, study.scheduler, 1, n_new)
        except SearchExhausted:
            break
        if not sequence or sequence[-1] != (trial.number, trial.budget):
            sequence.append((trial.number, trial.budget))
        history = study.ledger.history
        end = trial.budget or _end_of(history)
        stride = 1 if end == int(end) else end / 5
        step = _begun_at(trial, goes_on=goes_on)
        while True:
            n_events += 1
            if n_events in killed:
                study = load("play", store, scheduler=make(), sampler="random")
                study.ledger.commit(requeue_drafts(study.ledger.history, lambda owner: True, now=time.time))
                break
            if step >= end:
                study.tell(trial, measured(history, trial.config or {}, end))
                break
            step = min(end, step + stride)
            if study.report(trial, measured(history, trial.config or {}, step), step=step) is not Decision.CONTINUE:
                break
    ended = [(t.number, t.config, t.state, t.budget, t.bracket, list(t.curve), dict(t.values)) for t in study.trials]
    return [sequence, ended]
