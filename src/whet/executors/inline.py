"""Running functions one after the other, here and now: the executor without processes."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Literal

from whet.core.protocols import Ended, Happening, Launch, Reported
from whet.errors import ExecutorError, UsageError
from whet.executors.logs import Tail

Report = Callable[[float, Mapping[str, float]], None]
Function = Callable[[Launch, Report], Mapping[str, float] | float | None]


class InlineExecutor:
    """Calls a function inside :meth:`start`; what came of it is there for :meth:`poll`.

    Nothing protects the caller from the function: one that exits the process, or never returns, takes it along.
    """

    def __init__(self, fn: Function, slots: int = 1) -> None:
        """Keep the function.

        Args:
            fn: called with the launch and with ``report(step, metrics)``; returns its metrics, a number (the metric
                ``value``), or nothing. What it returns of a metric that it has reported counts as reported last.
            slots: how many results may wait to be polled.

        Raises:
            UsageError: *slots* is not positive.
        """
        if slots < 1:
            raise UsageError(f"an executor needs at least one slot, got {slots}")
        self.slots = slots
        self._fn = fn
        self._n_taken = 0
        self._happened: deque[Happening] = deque()
        self._is_closed = False

    def start(self, launch: Launch) -> None:
        """Run the attempt to its end.

        Raises:
            ExecutorError: the executor is closed, or the results of as many attempts as it has slots wait.
        """
        if self._is_closed:
            raise ExecutorError("the executor is closed")
        if self._n_taken >= self.slots:
            raise ExecutorError(f"all {self.slots} slots are taken: poll for what has ended")
        self._n_taken += 1
        metrics: dict[str, float] = {}
        last_step = 0.0

        def report(step: float, reported: Mapping[str, float]) -> None:
            nonlocal last_step
            row = {name: float(value) for name, value in reported.items()}
            last_step = float(step)
            metrics.update(row)
            self._happened.append(Reported(launch.token, [(last_step, row)]))

        began = time.monotonic()
        try:
            returned = _metrics(self._fn(launch, report))
            if corrected := {n: value for n, value in returned.items() if n in metrics and value != metrics[n]}:
                report(last_step, corrected)
            metrics.update(returned)
        except (Exception, SystemExit):
            cause: Literal["error"] | None = "error"
            message = _safe(traceback.format_exc())
        else:
            cause, message = None, ""
        self._happened.append(Ended(launch.token, cause, None, metrics, message, time.monotonic() - began))

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """Do nothing: whatever was started has ended."""

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened since the last call, at once: nothing runs meanwhile."""
        happened = list(self._happened)
        self._happened.clear()
        self._n_taken = 0
        return happened

    def close(self) -> None:
        """Drop what nobody has polled for."""
        self._is_closed = True
        self._happened.clear()


def _safe(text: str) -> str:
    """Return the last lines of *text*, without what a terminal would take for more than text."""
    tail = Tail()
    tail.add(text.encode("utf-8", "replace"))
    return tail.text()


def _metrics(returned: object) -> dict[str, float]:
    if returned is None:
        return {}
    if isinstance(returned, Mapping):
        return {str(name): float(value) for name, value in returned.items()}
    if isinstance(returned, Real):
        return {"value": float(returned)}
    raise TypeError(
        f"the function returned {returned!r} ({type(returned).__name__}); expected a number, a mapping of metrics to "
        "numbers, or None"
    )
