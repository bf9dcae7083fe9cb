"""Who spends the budget of programs: whether a scheduler can with what it is given, and how much has been spent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whet.algorithms.brackets import levels
from whet.cli.budgets import STEP, THREE_WAYS
from whet.cli.script import ScriptRun
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import Fidelity, Problem
from whet.core.protocols import New, Scheduler, Store
from whet.core.trial import Trial
from whet.core.values import Rules
from whet.errors import SearchExhausted, UsageError
from whet.points.rungs import place_of
from whet.schedulers.fifo import Fifo
from whet.schedulers.names import check_scheduler, described, scheduler_of, settings_text
from whet.text import number, one_line

_N_TRIED = 1_000  # new trials that a scheduler is asked for, to see what it gives them
_PAGE = 5_000  # events that are read at a time
_AT_LEVELS = re.compile(r"\b(asha|median|percentile)\b")  # these look at trials on the way


# ---- before a run
def check_spending(scheduler: Scheduler, problem: Problem, run: ScriptRun, lookahead: int | None) -> list[str]:
    """See that *scheduler* can spend the budget of *problem* on the program of *run*; return what to know about it.

    Raises:
        UsageError: it cannot; the message says what it takes.
    """
    if isinstance(scheduler, Fifo):
        return []
    name = described(scheduler)
    try:
        new = _first_new(scheduler, problem, lookahead)
    except UsageError as error:
        if problem.fidelity is None and _can_with_steps(scheduler, problem, lookahead):
            raise UsageError(f"--scheduler {name} has to know how far trials go: {THREE_WAYS}") from None
        raise UsageError(f"--scheduler: {error}") from None
    axis = problem.fidelity
    if axis is None:
        return []
    if not any(one.budget is not None and one.budget < axis.high for one in new):
        if not run.counts_steps and _AT_LEVELS.search(name):
            raise UsageError(
                f"--scheduler {name} ends trials on the way, and one that is given a part of {axis.name} says nothing "
                'before its end; use hyperband, successive_halving or "asha(type=promotion)", which give more to those '
                "that did best"
            )
        return []
    if not run.tells_budget:
        raise UsageError(
            f"--scheduler {name} gives more to trials that did best, and --fidelity {run.fidelity} passes nothing that "
            f"tells {run.program.file_name} how far it may go; name the argument that does, as in --fidelity "
            "epochs=1:81, or put {budget} into one, or use --scheduler asha or median, which end trials on the way"
        )
    if run.has_checkpoint:
        return []
    return [
        f"a trial that is given more starts {run.program.file_name} again from zero, and that counts as spent; with "
        "{checkpoint_in} and {checkpoint_out} in its arguments it can go on from where it was"
    ]


def _first_new(scheduler: Scheduler, problem: Problem, lookahead: int | None) -> list[New]:
    """Return what the first new trials would be given.

    Raises:
        UsageError: the scheduler cannot do with the problem.
    """
    check_scheduler(scheduler, problem, lookahead)
    return first_new(scheduler, History(problem, 0), _N_TRIED)


def first_new(scheduler: Scheduler, history: History, n: int) -> list[New]:
    """Return what up to *n* new trials would be given now.

    Raises:
        UsageError: the scheduler cannot do with the problem.
    """
    try:
        return [one for one in scheduler.assign(history, n, n) if isinstance(one, New)]
    except SearchExhausted:
        return []


def _can_with_steps(scheduler: Scheduler, problem: Problem, lookahead: int | None) -> bool:
    try:
        return bool(_first_new(scheduler, replace(problem, fidelity=Fidelity(STEP, 1, 81)), lookahead))
    except UsageError:
        return False


def spender_text(settings: Mapping[str, Any]) -> str:
    """Return the scheduler of a study from its settings, empty where every trial runs to its end."""
    return "" if settings.get("scheduler", "none") == "none" else settings_text(settings)


# ---- afterwards
@dataclass(frozen=True, slots=True)
class Spent:
    """What all attempts of a study have spent, as far as they have reported.

    Attributes:
        total: in the unit of the fidelity.
        again: the part of it in which attempts came no farther than an earlier one of their trial.
    """

    total: float
    again: float


@dataclass(slots=True)
class _Attempt:
    """The steps that an attempt has reported: the first one, the next higher one, and the highest."""

    before: float  # how far earlier attempts of the trial came
    from_zero: bool  # whether one of them has counted from 0
    first: float = math.nan
    second: float = math.nan
    top: float = 0.0

    def add(self, steps: Iterable[float], most: float) -> None:
        for step in steps:
            if math.isnan(self.first):
                self.first = step
            elif math.isnan(self.second) and step > self.first:
                self.second = step
            self.top = max(self.top, min(step, most))

    def start(self, *, is_time: bool, goes_on: bool) -> float:
        """Return where it began: as far before its first report as that is before the next."""
        if is_time or math.isnan(self.first):
            return 0.0
        if math.isnan(self.second):
            return min(self.before, self.first) if goes_on else 0.0
        return max(0.0, self.first if self.from_zero else self.first - (self.second - self.first))


def spent_in(events: Iterable[Event], axis: Fidelity, *, is_told: bool, goes_on: bool) -> Spent:
    """Return what the attempts in *events*, the log of a study, have spent, those that were run again included.

    Args:
        events: in order.
        axis: what steps are of.
        is_told: whether programs are told their budget: then they have spent no more, whatever their steps are.
        goes_on: whether attempts can go on from a checkpoint; it matters to those with a single report.
    """
    attempts: dict[int, _Attempt] = {}
    budgets: dict[int, float] = {}
    total = again = 0.0

    def close(attempt: _Attempt) -> None:
        nonlocal total, again
        start = attempt.start(is_time=axis.is_time, goes_on=goes_on)
        total += max(0.0, attempt.top - start)
        again += max(0.0, min(attempt.before, attempt.top) - start)

    for event in events:
        if event.trial is None:
            continue
        if event.payload.get("budget") is not None:
            budgets[event.trial] = event.payload["budget"]
        elif event.kind is Kind.STARTED:
            earlier = attempts.get(event.trial)
            if earlier is not None:
                close(earlier)
            if earlier is None:
                attempts[event.trial] = _Attempt(0.0, from_zero=False)
            else:
                before = max(earlier.before, earlier.top)
                attempts[event.trial] = _Attempt(before, from_zero=earlier.from_zero or earlier.first == 0)
        elif event.kind is Kind.REPORTED and event.trial in attempts:
            most = budgets.get(event.trial, axis.high) if is_told else math.inf
            attempts[event.trial].add((row[0] for row in event.payload["rows"]), most)
    for attempt in attempts.values():
        close(attempt)
    return Spent(total, again)


def events_of(store: Store, study: int) -> Iterator[Event]:
    """Yield the log of a study, read in pages."""
    after = 0
    while page := store.events(study, after, _PAGE):
        yield from page
        after = page[-1].seq


def spent_text(spent: Spent, axis: Fidelity) -> str:
    """Return ``spent 412 epochs, as much as 5.1 full trials (57 of that repeated)``."""
    amount = number(float(f"{spent.total:.4g}")) if spent.total < 10_000 else f"{round(spent.total):,}"
    again = f" ({number(float(f'{spent.again:.4g}'))} of that repeated)" if spent.again > 0 else ""
    name = one_line("steps" if axis.name == STEP else axis.name, 60)
    unit = name if name.isalpha() and name.endswith("s") else f"of {name}"
    return f"spent {amount} {unit}, as much as {spent.total / axis.high:.1f} full trials{again}"


# ---- of one trial
def rungs_of(trial: Trial, problem: Problem, settings: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the levels of a study's scheduler that *trial* has reached, each with what counts of it there.

    That is the first objective; none where the study has no fidelity, or its scheduler no levels.
    """
    axis = problem.fidelity
    if axis is None or not problem.objectives:
        return []
    try:
        scheduler = scheduler_of(settings)
    except UsageError:  # one of the user's own
        return []
    parts: Sequence[Scheduler] = getattr(scheduler, "parts", (scheduler,))
    eta = next((part.eta for part in parts if hasattr(part, "eta")), None)
    if eta is None:
        return []
    known = levels(axis.low, axis.high, eta, is_integer=axis.is_integer)
    place = place_of(trial, problem, known, Rules.from_json(settings.get("rules", {})).take)
    sign = problem.objectives[0].sign
    return [(level, sign * point.values[0]) for level, point in zip(known, place.points, strict=False)]
