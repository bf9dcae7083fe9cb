"""Who spends the budget of programs: whether a scheduler can with what it is given, and how much has been spent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from whet.cli.budgets import STEP, THREE_WAYS
from whet.cli.reach import Reach, Row
from whet.cli.script import ScriptRun
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import Fidelity, Problem
from whet.core.protocols import New, Scheduler, Store
from whet.core.trial import Trial
from whet.errors import SearchExhausted, UsageError
from whet.points.rungs import place_of
from whet.schedulers.fifo import Fifo
from whet.schedulers.freeze_thaw import FreezeThaw
from whet.schedulers.ladder import Ladder
from whet.schedulers.names import check_scheduler, described, lookers, scheduler_of, settings_text
from whet.schedulers.together import parts_of
from whet.text import number, one_line

_N_TRIED = 1_000  # new trials that a scheduler is asked for, to see what it gives them
_PAGE = 5_000  # events that are read at a time


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
        if not run.counts_steps and lookers(scheduler):
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
    """An attempt in progress: when it began, and what it has reported.

    Attributes:
        began: in seconds since the epoch.
        before: how far earlier attempts of the trial came.
        from_zero: whether one of them has counted from 0.
        rows: of its reports.
        latest: when it was last heard of.
    """

    began: float
    before: float
    from_zero: bool
    rows: list[Row] = field(default_factory=list)
    latest: float = 0.0

    @property
    def steps(self) -> list[float]:
        """Those of its reports."""
        return [row[0] or 0.0 for row in self.rows]


_ENDED = frozenset({Kind.PAUSED, Kind.COMPLETED, Kind.STOPPED, Kind.FAILED, Kind.CANCELLED, Kind.REQUEUED})
_ENDED_WELL = frozenset({Kind.PAUSED, Kind.COMPLETED, Kind.STOPPED})


class _Books:
    """What attempts have spent, while their events are read."""

    def __init__(self, reach: Reach, *, goes_on: bool) -> None:
        self._reach, self._goes_on = reach, goes_on
        self._budgets: dict[int, float] = {}
        self._running: dict[int, _Attempt] = {}
        self._known: dict[int, tuple[float, bool]] = {}  # of trials: how far they came, whether they counted from 0
        self._total = self._again = 0.0

    def read(self, event: Event) -> None:
        """Take in the next event."""
        trial, payload = event.trial, event.payload
        if trial is None:
            return
        attempt = self._running.get(trial)
        # That an attempt was interrupted may be found out long after.
        if attempt is not None and (event.kind is not Kind.REQUEUED or payload.get("cause")):
            took_s = payload.get("duration_s")  # measured, where whoever ran it has said so
            attempt.latest = event.time if took_s is None else attempt.began + took_s
        if payload.get("budget") is not None:
            self._budgets[trial] = payload["budget"]
        elif event.kind is Kind.STARTED:
            self._close(trial)
            self._running[trial] = _Attempt(event.time, *self._known.get(trial, (0.0, False)), latest=event.time)
        elif event.kind is Kind.REPORTED and attempt is not None:
            attempt.rows.extend(payload["rows"])
        elif event.kind in _ENDED and attempt is not None:
            if event.kind in _ENDED_WELL and self._reach.is_filled_in(attempt.rows, self._budgets.get(trial)):
                attempt.rows.pop()
            self._close(trial)

    def spent(self) -> Spent:
        """Return what has been spent, by attempts in progress as well."""
        for trial in list(self._running):
            self._close(trial)
        return Spent(self._total, self._again)

    def _close(self, trial: int) -> None:
        attempt = self._running.pop(trial, None)
        axis = self._reach.problem.fidelity
        if attempt is None or axis is None:
            return
        if self._reach.is_time:
            start, top = 0.0, max(0.0, attempt.latest - attempt.began)
        else:
            most = self._budgets.get(trial, axis.high) if self._reach.is_told else math.inf
            start, top = self._start(attempt), max((min(step, most) for step in attempt.steps), default=0.0)
        self._total += max(0.0, top - start)
        self._again += max(0.0, min(attempt.before, top) - start)
        from_zero = attempt.from_zero or attempt.steps[:1] == [0]
        self._known[trial] = (max(attempt.before, top), from_zero)

    def _start(self, attempt: _Attempt) -> float:
        """Return where *attempt* began: as far before its first report as that is before the next higher one.

        That is not beyond where earlier ones came.
        """
        if not attempt.rows:
            return 0.0
        first, *others = attempt.steps
        second = next((step for step in others if step > first), None)
        if second is None:
            return min(attempt.before, first) if self._goes_on else 0.0
        start = first if attempt.from_zero else first - (second - first)
        return max(0.0, min(attempt.before, start))


def spent_in(events: Iterable[Event], reach: Reach, *, goes_on: bool) -> Spent:
    """Return what the attempts in *events*, the log of a study, have spent, those that were run again included.

    Those that were told their budget have spent no more, whatever their steps are; see `Reach` for those that ended
    before it. Where time is what counts, it is that from the beginning of each attempt to its end.

    Args:
        events: in order.
        reach: of the study.
        goes_on: whether attempts can go on from a checkpoint; it matters to those with a single report.
    """
    books = _Books(reach, goes_on=goes_on)
    for event in events:
        books.read(event)
    return books.spent()


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
def rungs_of(trial: Trial, reach: Reach, settings: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the levels of a study's scheduler that *trial* has reached, each with what counts of it there.

    That is the first objective; none where the study has no fidelity, or its scheduler no levels.
    """
    problem = reach.problem
    try:
        scheduler = scheduler_of(settings)
    except UsageError:  # one of the user's own
        return []
    levels = levels_of(scheduler, problem)
    place = place_of(reach.as_reported(trial), problem, levels, reach.take)
    return [(level, problem.objectives[0].sign * p.values[0]) for level, p in zip(levels, place.points, strict=False)]


def levels_of(scheduler: Scheduler, problem: Problem) -> tuple[float, ...]:
    """Return the levels at which *scheduler* compares trials, ascending; none where it has no such."""
    for part in parts_of(scheduler):
        if (eta := getattr(part, "eta", None)) is not None:
            n_levels = part.levels if isinstance(part, FreezeThaw) else None
            try:
                return Ladder(described(part), eta, n_levels=n_levels).levels(problem)
            except UsageError:  # the problem has none
                return ()
    return ()
