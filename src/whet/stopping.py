"""When the whole search ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from whet.core.history import History
from whet.core.trial import State
from whet.errors import UsageError

LimitReached = Literal["timeout", "target", "failures"]
_FAILURES_AT_THE_START = 3  # of a run, before anything else came of it: the script is broken, not the configs


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one search; ``None``: unbounded.

    Attributes:
        n_trials: configs to ask in the whole study; repeats of a config do not count.
        timeout_s: seconds that this run may take.
        target: value of the first objective that is good enough.
        max_failures: failed trials in the whole study after which it ends; by default a run ends when the first
            three of its trials fail.

    Raises:
        UsageError: a bound that is not positive, or a target that is no finite number.
    """

    n_trials: int | None = None
    timeout_s: float | None = None
    target: float | None = None
    max_failures: int | None = None

    def __post_init__(self) -> None:
        """Refuse bounds that end a search before it begins."""
        for name in ("n_trials", "max_failures"):
            count = getattr(self, name)
            if count is None:
                continue
            if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
                raise UsageError(f"{name} must be a whole number greater than 0, got {count!r}")
            object.__setattr__(self, name, int(count))  # numpy's are no JSON
        if self.timeout_s is not None and not (_is_number(self.timeout_s) and self.timeout_s > 0):
            raise UsageError(f"the timeout must be a number of seconds greater than 0, got {self.timeout_s!r}")
        if self.target is not None and not (_is_number(self.target) and math.isfinite(self.target)):
            raise UsageError(f"the target must be a finite number, got {self.target!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def limits_of(history: History) -> Limits:
    """Return the limits in the settings of a study."""
    return Limits(**history.settings.get("limits", {}))


def reason_to_end(limits: Limits, history: History, elapsed_s: float, before: History) -> LimitReached | None:
    """Return which limit has been reached, as ``"timeout"``, ``"target"`` or ``"failures"``, or ``None``.

    The count of trials is no reason to end what runs: it bounds what is asked. Only failures that are not in *before*,
    the history when the run began, end it, so that a resumed study gets its chance.
    """
    if limits.timeout_s is not None and elapsed_s >= limits.timeout_s:
        return "timeout"
    if limits.target is not None and history.reaches(limits.target):
        return "target"
    if history.n_finished > before.n_finished and _has_failed_too_often(limits, history, before):
        return "failures"
    return None


def _has_failed_too_often(limits: Limits, history: History, before: History) -> bool:
    n_failed = history.n_ended(State.FAILED)
    n_new = n_failed - before.n_ended(State.FAILED)
    if limits.max_failures is not None:
        return n_new > 0 and n_failed >= limits.max_failures
    if n_new < _FAILURES_AT_THE_START:
        return False
    # A paused trial came to something, too.
    is_paused = history.n_paused > 0 or any(trial.n_kept for trial in history.active.values())
    return not is_paused and history.n_ended(State.COMPLETED, State.STOPPED) == before.n_ended(
        State.COMPLETED, State.STOPPED
    )
