"""A limit on how long a fit takes.

A fit whose time is over is told so by an exception that is raised inside it: in the main thread of a process by
SIGALRM, which also ends waiting for the system, in other threads (and on Windows) by a thread that has the
interpreter raise it. Neither can interrupt compiled code that does not return to the interpreter. A worker process,
which may end, is therefore ended by force some time later; the watchdog of `faulthandler` does it, which is a thread
in C and needs no interpreter. Such code in the user's own process is waited for, and counts as too late then.
"""

from __future__ import annotations

import ctypes
import faulthandler
import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

# The exception can be swallowed, by a bare `except` or in a callback from compiled code: so often it comes again.
_AGAIN_S = 1.0
# So long after its time is over a fit in a worker is ended by force: this part of its time, within these bounds.
_GRACE = 0.1
_LEAST_GRACE_S, _MOST_GRACE_S = 2.0, 60.0

_is_watched = False  # by the watchdog of this process: there is but one, and the outermost fit has it


class FitTimeout(TimeoutError):
    """A fit took longer than ``fit_timeout``."""


class _Stop(BaseException):
    """Raised in a call whose time is over; no Exception, as searches within the fit and scorers go on after those."""


def too_late(seconds: float) -> str:
    """Return what is said of a fit that took longer than *seconds*."""
    return f"took longer than fit_timeout={seconds:g} s"


def within(seconds: float, call: Callable[[], T], report: Any = None) -> T:
    """Return what *call* returns, if that takes no longer than *seconds*.

    Args:
        seconds: how long it may take.
        call: what is to be done.
        report: an open file; then the process may be ended by force, and the file says so before.

    Raises:
        FitTimeout: it took longer.
    """
    limit = _limit_here(seconds)
    began = time.monotonic()
    try:
        try:
            limit.begin()
            with _Watchdog(seconds, report):
                result = call()
        finally:
            limit.end()
    except _Stop:
        limit.end()
        if not limit.has_struck:  # it is for a call around this one
            raise
    except Exception as error:
        if limit.has_struck:  # somebody made another one of ours
            raise FitTimeout(too_late(seconds)) from error
        raise
    if limit.has_struck or time.monotonic() - began > seconds:
        raise FitTimeout(too_late(seconds))
    return result


def _limit_here(seconds: float) -> _Alarm | _Watch:
    is_main = threading.current_thread() is threading.main_thread()
    # A handler that is not Python's (None) could not be put back.
    if is_main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is not None:
        return _Alarm(seconds)
    return _Watch(seconds)


class _Alarm:
    """Raises `_Stop` in the main thread by SIGALRM. Somebody else's alarm goes on, and rings when it should."""

    def __init__(self, seconds: float) -> None:
        self.has_struck = False
        self._seconds = seconds
        self._is_over = False
        self._is_set = False

    def begin(self) -> None:
        self._previous: Any = signal.getsignal(signal.SIGALRM)
        self._interval, self._theirs = 0.0, -math.inf  # until it is known, an alarm can only be theirs
        self._due = math.inf
        self._is_set = True
        signal.signal(signal.SIGALRM, self._ring)
        left, self._interval = signal.setitimer(signal.ITIMER_REAL, 0)
        now = time.monotonic()
        self._theirs = now + left if left else math.inf
        self._due = now + self._seconds
        self._arm()

    def end(self) -> None:
        """Strike no more, and put back what was there."""
        self._is_over = True
        if not self._is_set:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._previous)
        if self._theirs < math.inf:
            signal.setitimer(signal.ITIMER_REAL, max(self._theirs - time.monotonic(), 1e-6), self._interval)
        self._is_set = False

    def _arm(self) -> None:
        if self._due < math.inf:
            due = min(self._due, self._theirs)
            signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 1e-6))

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now >= self._theirs:
            self._theirs = now + self._interval if self._interval else math.inf
            self._arm()
            self._ring_theirs(signum, frame)
        if self._is_over:
            return
        is_due = now >= self._due
        if is_due:
            self._due = now + _AGAIN_S
            self.has_struck = True
        self._arm()
        if is_due:
            raise _Stop

    def _ring_theirs(self, signum: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(signum, frame)
        elif self._previous == signal.SIG_DFL:  # which ends the process
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)


class _Watch:
    """Raises `_Stop` in the thread that made it, from another one."""

    def __init__(self, seconds: float) -> None:
        self.has_struck = False
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def begin(self) -> None:
        threading.Thread(target=self._strike, name="fit_timeout", daemon=True).start()

    def end(self) -> None:
        """Strike no more; what was raised and has not come yet is taken back."""
        while True:
            try:
                self._ended.set()
                with self._lock:
                    _raise_in(self._thread, None)
                return
            except _Stop:  # here it came
                continue

    def _strike(self) -> None:
        wait_s = self._seconds
        while not self._ended.wait(wait_s):
            with self._lock:
                if not self._ended.is_set():
                    self.has_struck = True
                    _raise_in(self._thread, _Stop)
            wait_s = _AGAIN_S


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    what = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


class _Watchdog:
    """Ends this process by force when a call takes much longer than *seconds*, and writes to *report* that it did."""

    def __init__(self, seconds: float, report: Any) -> None:
        self._after_s = seconds + min(max(_GRACE * seconds, _LEAST_GRACE_S), _MOST_GRACE_S)
        self._report = None if _is_watched else report

    def __enter__(self) -> None:
        global _is_watched  # noqa: PLW0603
        if self._report is not None:
            _is_watched = True
            faulthandler.dump_traceback_later(self._after_s, exit=True, file=self._report)

    def __exit__(self, *_: object) -> None:
        global _is_watched  # noqa: PLW0603
        if self._report is not None:
            faulthandler.cancel_dump_traceback_later()
            _is_watched = False
