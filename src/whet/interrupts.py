"""Signals that end a run: noted when they come, heeded when the loop is ready for them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from types import FrameType, TracebackType
from typing import Any, Literal

How = Literal["interrupt", "terminate", "kill"]
SignalReason = Literal["interrupted", "terminated", "hangup"]

# What each signal is a reason for, and how it ends what runs.
BY_SIGNAL: Mapping[int, tuple[SignalReason, How]] = {
    signal.SIGINT: ("interrupted", "interrupt"),
    signal.SIGTERM: ("terminated", "terminate"),
    signal.SIGHUP: ("hangup", "terminate"),
}
_SAID = {"interrupted": "Ctrl-C", "terminated": "SIGTERM", "hangup": "SIGHUP"}


class Interrupts:
    """A context in which Ctrl-C, SIGTERM and SIGHUP are collected instead of acted on; restores the old handlers.

    Outside the main thread, where Python allows no handlers, it collects nothing.
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for signum in BY_SIGNAL:
                # A process started by nohup ignores SIGHUP, and is meant to.
                if signal.getsignal(signum) is not signal.SIG_IGN or signum == signal.SIGINT:
                    self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            if handler is not None:  # else it was set by what is not Python, and cannot be set from here
                signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._came.append(signum)

    def take(self) -> list[int]:
        """Return the signals that have come since the last call, in order."""
        came, self._came = self._came, []
        return came


def first_words(reason: SignalReason, n_running: int) -> str:
    """Return what a person is told at once when a signal has come, with *n_running* attempts in progress."""
    if not n_running:
        return f"{_SAID[reason]}: ending"
    again = " (Ctrl-C again: at once)" if reason == "interrupted" else ""
    return f"{_SAID[reason]}: no new trials; {n_running} running are being ended{again}"
