"""Workers on a virtual clock: they train what a study hands out, as far and as fast as their curves say."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from whet.core.events import Draft
from whet.core.handing import hand_out
from whet.core.ledger import Ledger
from whet.core.protocols import Appended, Decision
from whet.core.telling import fail, report, tell
from whet.core.trial import Cause, Trial
from whet.core.values import metrics_of
from whet.errors import NotReady, SearchExhausted, UsageError
from whet.study import Study
from whet.testing.courses import Course, Curves
from whet.testing.simulated import EndReason, Record, Simulated

_SLACK = 1e-9  # relative; a sum of thirds is not exact


class ClockLedger(Ledger):
    """A ledger that writes down the time of a clock that somebody else sets.

    Attributes:
        now: seconds.
    """

    now = 0.0

    def commit(self, drafts: Sequence[Draft], **options: Any) -> Appended:
        """See `Ledger.commit`."""
        timed = [Draft(d.kind, d.trial, d.payload, d.token, self.now) for d in drafts]
        return super().commit(timed, **options)

    def took_s(self, trial: Trial) -> float | None:
        """Say nothing: how long an attempt took is what the times written down say."""
        return None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a simulated search ends; ``None``: there is no such bound.

    Attributes:
        n_trials: configs that it may ask for.
        budget: units of the fidelity that its workers may train in all.
        timeout_s: virtual seconds.
    """

    n_trials: int | None = None
    budget: float | None = None
    timeout_s: float | None = None


@dataclass(slots=True)
class _Attempt:
    """A trial on a worker.

    Attributes:
        trial: as it was started.
        course: of its config.
        began_s: when its first step began.
        elapsed: seconds from then to the end of each step.
        stops: how many steps are done at each of its events to come.
        next: the first of these.
        done: how many steps were done at the last event.
    """

    trial: Trial
    course: Course
    began_s: float
    elapsed: Sequence[float]
    stops: Iterator[int]
    next: int
    done: int

    @property
    def due_s(self) -> float:
        """When its next event is."""
        return self.began_s + (self.elapsed[self.next - 1] if self.next > self.done else 0.0)

    @property
    def cost(self) -> float:
        """What the steps up to its next event add to the fidelity."""
        steps = self.course.steps
        return steps[self.next - 1] - (steps[self.done - 1] if self.done else 0)


class Simulation:
    """A search under way. Its workers and the clock live here, all that is known of the search in the study.

    Args:
        study: to be run; its ledger writes virtual times.
        curves: what a config comes to.
        n_workers: how many trials run at a time.
        bounds: where it ends.
        checkpoints: a trial that goes on does only the steps that it has not done before; else it starts from zero.
        report_at: the steps that are reported; ``None``: every one.
    """

    def __init__(
        self,
        study: Study,
        curves: Curves,
        n_workers: int,
        bounds: Bounds,
        *,
        checkpoints: bool = True,
        report_at: Collection[float] | None = None,
    ) -> None:
        self.study = study
        self._curves, self._bounds = curves, bounds
        self._checkpoints = checkpoints
        self._report_at = None if report_at is None else frozenset(report_at)
        self._now, self._n_idle, self._n_asked = 0.0, n_workers, 0
        self._due: list[tuple[float, int]] = []  # (time of its next event, number), a heap
        self._attempts: dict[int, _Attempt] = {}
        self._reached: dict[int, tuple[int, float | None]] = {}  # steps done and budget of trials that may go on
        problem = study.ledger.history.problem
        self._is_timed = problem.fidelity is not None and problem.fidelity.is_time
        self._record = Record(problem)
        self._reason: EndReason | None = None

    def run(self) -> Simulated:
        """Return what the search comes to.

        Raises:
            UsageError: a curve begins beyond the budget that its trial was given, or the scheduler waits for ever.
        """
        while self.tick():
            pass
        return self._record.result(self.study, self._now, self._reason or "exhausted")

    def tick(self) -> bool:
        """Give idle workers something to do, and let the next step end; tell whether there was one."""
        if self._n_idle:
            self._fill()
        if not self._due or self._reason is not None:
            return False
        time_s, number = self._due[0]
        attempt = self._attempts[number]
        cost, budget, timeout_s = attempt.cost, self._bounds.budget, self._bounds.timeout_s
        if budget is not None and self._record.spent + cost > budget * (1 + _SLACK):
            self._end("budget")
        elif timeout_s is not None and time_s > timeout_s:
            self._end("timeout")
        else:
            heapq.heappop(self._due)
            self._set_clock(time_s)
            self._record.spent += cost
            self._step(number, attempt)
        return self._reason is None

    def _end(self, reason: EndReason) -> None:
        """End the search; what runs has been running until now."""
        self._reason = reason
        if reason == "timeout":
            assert self._bounds.timeout_s is not None
            self._set_clock(self._bounds.timeout_s)
        self._record.busy_s += sum(self._now - attempt.began_s for attempt in self._attempts.values())

    def _set_clock(self, time_s: float) -> None:
        self._now = time_s
        ledger = self.study.ledger
        if isinstance(ledger, ClockLedger):
            ledger.now = time_s

    # ---- starting
    def _fill(self) -> None:
        """Start trials on idle workers, as far as the study has some for them.

        Raises:
            UsageError: it has none, and nothing is running that could change that.
        """
        budget, study = self._bounds.budget, self.study
        if budget is not None and self._record.spent >= budget * (1 - _SLACK):
            return self._end("budget")
        while self._n_idle:
            n_trials = self._bounds.n_trials
            n_new = None if n_trials is None else n_trials - self._n_asked
            try:
                trials = hand_out(study.ledger, study.sampler, study.scheduler, self._n_idle, n_new)
            except SearchExhausted:
                return None
            except NotReady:
                if not self._due and n_new != 0 and not self._is_space_exhausted():
                    raise UsageError(
                        f"the scheduler {type(study.scheduler).__name__} waits for trials, and none is running; where "
                        "it has nothing more to do, `assign` raises SearchExhausted"
                    ) from None
                return None
            for trial in trials:
                self._start(trial)
        return None

    def _is_space_exhausted(self) -> bool:
        """Tell whether a number was given back, as the sampler had no config for it."""
        return any(trial.is_reserved for trial in self.study.ledger.history.active.values())

    def _start(self, trial: Trial) -> None:
        assert trial.config is not None, "it was started"
        self._n_asked += trial.attempt == 1
        course = self._curves(trial.config)
        if not isinstance(course, Course):
            raise UsageError(f"curves returns a Course for each config, got {course!r}")
        if self._is_timed:
            course = course.timed()
        n = len(course.steps) if trial.budget is None else bisect_right(course.steps, trial.budget)
        if not n:
            raise UsageError(
                f"trial {trial.number} was given a budget of {trial.budget:g}, and its curve begins at "
                f"{course.steps[0]:g}: let the fidelity begin there, or the curve earlier"
            )
        before, reached = self._reached.pop(trial.number, (0, None))
        if reached is not None and trial.budget == reached:
            raise UsageError(
                f"the scheduler {type(self.study.scheduler).__name__} lets trial {trial.number} go on to {reached:g}, "
                "which it has reached: it might do so for ever"
            )
        done = min(before, n) if self._checkpoints else 0
        stops = self._stops(course, done, n)
        attempt = _Attempt(trial, course, self._now, course.elapsed(done), stops, next(stops), done)
        self._attempts[trial.number] = attempt
        self._n_idle -= 1
        heapq.heappush(self._due, (attempt.due_s, trial.number))

    def _stops(self, course: Course, done: int, n: int) -> Iterator[int]:
        """Yield after how many steps there is something to say, the last of *n* in any case."""
        for i in range(done + 1, n):
            step = course.steps[i - 1]
            if step == course.fails_at or self._report_at is None or step in self._report_at:
                yield i
        yield n

    # ---- what a step comes to
    def _step(self, number: int, attempt: _Attempt) -> None:
        """Let the study know what the step that ends now came to."""
        ledger, scheduler, course = self.study.ledger, self.study.scheduler, attempt.course
        is_new, attempt.done = attempt.next > attempt.done, attempt.next
        step, value = course.steps[attempt.done - 1], course.values[attempt.done - 1]
        if step == course.fails_at:
            fail(ledger, attempt.trial, Cause.ERROR.value, f"the course fails at {step:g}")
            return self._leave(number, attempt)
        if is_new:
            self._record.note(self._now, number, step, metrics_of(value))
            is_said = self._report_at is None or step in self._report_at
            if is_said and report(ledger, scheduler, attempt.trial, value, step) is not Decision.CONTINUE:
                return self._leave(number, attempt)
        if (following := next(attempt.stops, None)) is not None:
            attempt.next = following
            return heapq.heappush(self._due, (attempt.due_s, number))
        tell(ledger, scheduler, attempt.trial, value)
        return self._leave(number, attempt)

    def _leave(self, number: int, attempt: _Attempt) -> None:
        """Free the worker of a trial whose attempt is over."""
        del self._attempts[number]
        self._n_idle += 1
        self._record.busy_s += self._now - attempt.began_s
        history = self.study.ledger.history
        if number in history.unfinished:
            self._reached[number] = (attempt.done, attempt.trial.budget)
        elif (leader := history.leader()) is not None:
            self._record.complete(self._now, attempt.course.steps[attempt.done - 1], leader)
