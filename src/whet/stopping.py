"""When the whole search ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from whet.core.history import History
from whet.core.trial import State
from whet.errors import UsageError

LimitReached = Literal["timeout", "target", "failures"]
_FAILURES_AT_THE_START = 3  # in a row and before anything completed: the script is broken, not the configs


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one search; ``None``: unbounded.

    Attributes:
        n_trials: configs to ask in the whole study; repeats of a config do not count.
        timeout_s: seconds that this run may take.
        target: value of the first objective that is good enough.
        max_failures: failed trials in the whole study after which it ends; by default the study ends when the
            first three trials fail.

    Raises:
        UsageError: a bound that is not positive, or a target that is no finite number.
    """

    n_trials: int | None = None
    timeout_s: float | None = None
    target: float | None = None
    max_failures: int | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that end a search before it begins."""
        for name in ("n_trials", "timeout_s", "max_failures"):
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise UsageError(f"{name} must be greater than 0, got {bound!r}")
        if self.target is not None and not math.isfinite(self.target):
            raise UsageError(f"the target must be a finite number, got {self.target!r}")


def reason_to_end(limits: Limits, history: History, elapsed_s: float, n_before: int = 0) -> LimitReached | None:
    """Return which limit has been reached, as ``"timeout"``, ``"target"`` or ``"failures"``, or ``None``.

    The count of trials is no reason to end what runs: it bounds what is asked. Failures at the start are those among
    the trials that ended after the first *n_before*, so that a resumed study gets its chance.
    """
    if limits.timeout_s is not None and elapsed_s >= limits.timeout_s:
        return "timeout"
    if limits.target is not None and _target_is_met(limits.target, history):
        return "target"
    if _has_failed_too_often(limits, history, n_before):
        return "failures"
    return None


def _target_is_met(target: float, history: History) -> bool:
    if not history.just_ended or not history.problem.objectives:
        return False
    objective = history.problem.objectives[0]
    return any(
        trial.state is State.COMPLETED
        and history.problem.is_feasible(trial.values)
        and objective.sign * trial.values.get(objective.name, math.nan) <= objective.sign * target
        for trial in history.just_ended
    )


def _has_failed_too_often(limits: Limits, history: History, n_before: int) -> bool:
    if not any(trial.state is State.FAILED for trial in history.just_ended):
        return False
    if limits.max_failures is not None:
        return history.counts()[State.FAILED] >= limits.max_failures
    first = [row.state for row in history.finished[n_before : n_before + _FAILURES_AT_THE_START]]
    return len(first) == _FAILURES_AT_THE_START and set(first) == {State.FAILED}
