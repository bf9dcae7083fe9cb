"""Real studies in memory, driven by ask, report and tell, while every assignment and decision is looked at."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import whet
from whet.core.handing import hand_out
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume, Scheduler, Stop
from whet.core.trial import State, Trial
from whet.errors import NotReady, SearchExhausted
from whet.schedulers.names import SCHEDULERS, scheduler_named

# What a config comes to at a step: metrics or a number; an exception is a failure.
Curve = Callable[[Mapping[str, Any], float], float | Mapping[str, float]]
SPACE = {"x": whet.Float(0.0, 1.0)}
# Every scheduler with as few options as it can do with.
EACH = tuple("threshold(upper=9)" if name == "threshold" else name for name in SCHEDULERS)


def falling(config: Mapping[str, Any], step: float) -> float:
    """Return a value that falls with the steps, the faster the larger x is, so that the curves cross."""
    x = float(config["x"])
    return abs(x - 0.3) + x / step


@dataclass
class Watched:
    """A scheduler, each of whose answers a fresh one has to give as well.

    Attributes:
        assigned: what it said, with the history it said it of.
        stopped: trials that were stopped or paused, with the history of that.
    """

    way: str
    assigned: list[tuple[History, Assignment]] = field(default_factory=list)
    decided: list[tuple[History, int, Decision, str]] = field(default_factory=list)
    fresh_every: int = 1

    def __post_init__(self) -> None:
        self._live: Any = scheduler_named(self.way)
        self._n = 0

    def _fresh(self) -> Scheduler | None:
        self._n += 1
        return scheduler_named(self.way) if self._n % self.fresh_every == 0 else None

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        fresh = self._fresh()
        try:
            found: list[Assignment] = self._live.assign(history, n, n_new)
        except SearchExhausted:
            found = []
            if fresh is not None:
                assert raises(lambda: fresh.assign(history, n, n_new))
            raise
        if fresh is not None:
            assert fresh.assign(history, n, n_new) == found
        assert sum(not isinstance(one, Stop) for one in found) <= n
        assert sum(isinstance(one, New) for one in found) <= n_new
        self.assigned += [(history, one) for one in found]
        return found

    def decide(self, history: History, number: int) -> Decision:
        decision: Decision = self._live.decide(history, number)
        fresh = self._fresh()
        if fresh is not None:
            assert fresh.decide(history, number) is decision
        reason = self._live.reason(history, number) if decision is not Decision.CONTINUE else ""
        self.decided.append((history, number, decision, reason))
        return decision

    def reason(self, history: History, number: int) -> str:
        reason: str = self._live.reason(history, number)
        assert reason and reason == reason.strip() and len(reason) < 120
        return reason


def raises(call: Callable[[], object]) -> bool:
    try:
        call()
    except SearchExhausted:
        return True
    return False


@dataclass
class Driven:
    """What came of a study.

    Attributes:
        cost: steps that were made, by trial.
        most: how many trials ran at a time at most.
        waited: how often a slot was free, new trials were allowed, and there was nothing to do but to wait.
    """

    study: whet.Study
    watched: Watched
    cost: dict[int, int]
    most: int
    waited: int

    @property
    def trials(self) -> list[Trial]:
        return self.study.trials

    def of(self, bracket: int | None) -> list[Trial]:
        return [trial for trial in self.trials if trial.bracket == bracket]


def driven(
    way: str,
    n_trials: int,
    workers: int = 1,
    curve: Curve = falling,
    *,
    high: int = 27,
    seed: int = 0,
    fresh_every: int = 7,
    before: Callable[[whet.Study], object] = lambda study: None,
    between: Callable[[whet.Study, int], object] = lambda study, tick: None,
    **options: Any,
) -> Driven:
    """Run a study of *n_trials* to its end with so many workers, which take turns by chance.

    Args:
        way: the scheduler as typed.
        high: of the fidelity, which begins at 1.
        before: called with the study before its first trial.
        between: called with the study and a count before each report.
        options: of the study.
    """
    watched = Watched(way, fresh_every=fresh_every)
    given = {"space": SPACE, "sampler": "random", "fidelity": {"epochs": (1, high)}} | options
    study = whet.Study(**given, scheduler=watched, seed=seed)
    before(study)
    run = Driven(study, watched, {}, 0, 0)
    rng, running, tick = random.Random(seed), dict[int, tuple[Trial, int]](), 0
    while True:
        for number in [number for number in running if number not in study.ledger.history.unfinished]:
            del running[number]  # cancelled meanwhile
        while len(running) < workers:
            n_left = n_trials - sum(trial.given is None for trial in run.trials)
            try:
                (trial,) = hand_out(study.ledger, study.sampler, watched, 1, max(0, min(1, n_left)))
            except NotReady:
                assert any(t.state is not State.PAUSED for t in study.ledger.history.unfinished.values())
                run.waited += n_left > 0
                break
            except SearchExhausted:
                break
            running[trial.number] = (trial, int(trial.curve.last_step() or 0))
        if not running:
            return run
        run.most = max(run.most, len(running))
        tick += 1
        between(study, tick)
        number = rng.choice(sorted(running))
        trial, step = running[number]
        if number not in study.ledger.history.unfinished:
            continue
        if not _goes_on(run, trial, step + 1, curve, high):
            del running[number]
        else:
            running[number] = (trial, step + 1)


def _goes_on(run: Driven, trial: Trial, step: int, curve: Curve, high: int) -> bool:
    """Make one step of *trial*; tell whether its attempt goes on."""
    run.cost[trial.number] = run.cost.get(trial.number, 0) + 1
    try:
        value = curve(trial.config or {}, step)
    except ArithmeticError as error:
        run.study.fail(trial, message=str(error))
        return False
    decision = run.study.report(trial, value, step=step)
    if decision is not Decision.CONTINUE:
        return False
    if step >= (trial.budget or high):
        run.study.tell(trial, value)
        return False
    return True


def at_level(history: History, bracket: int | None, level: float) -> list[tuple[float, int]]:
    """Return (value, number) of the trials of a bracket that have come as far as *level*, the best first.

    For one objective that is minimised; those that failed on their way there are not among them.
    """
    found = []
    for trial in [*history.finished, *history.unfinished.values()]:
        reached = [value for step, value in trial.curve if step >= level]
        if trial.bracket == bracket and reached:
            found.append((math.inf if math.isnan(reached[0]) else reached[0], trial.number))
    return sorted(found)


def resumes(run: Driven) -> list[tuple[History, Resume]]:
    """Return every promotion, with what was known."""
    return [(history, one) for history, one in run.watched.assigned if isinstance(one, Resume)]


def value_of(trial: Trial) -> float:
    return trial.values["value"]
