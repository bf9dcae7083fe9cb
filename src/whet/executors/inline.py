"""Running functions one after the other, here and now: the executor without processes."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

from whet.core.protocols import Decision, Ended, Happening, Launch, Reported
from whet.errors import ExecutorError, UsageError
from whet.executors.calling import CallEnd, Function, call
from whet.executors.live import Channel, LiveTrial, TrialFacts

_ATTEND_S = 0.1
_UNDECIDED_S = 0.001


class InlineExecutor:
    """Calls a function inside :meth:`start`; what came of it is there for :meth:`poll`.

    Nothing protects the caller from the function: one that exits the process, or never returns, takes it along.
    """

    def __init__(
        self, fn: Function | Callable[[LiveTrial], object], *, folder: Path | None = None, slots: int = 1
    ) -> None:
        """Keep the function.

        Args:
            fn: called with the trial; see `whet.executors.calling.bind`.
            folder: where trials keep their files, each in a folder named after its number.
            slots: how many results may wait to be polled.

        Raises:
            UsageError: *slots* is not positive.
        """
        if slots < 1:
            raise UsageError(f"an executor needs at least one slot, got {slots}")
        self.slots, self.is_blocking = slots, True
        self._fn, self._folder = fn, folder
        self._n_taken = 0
        self._happened: deque[Happening] = deque()
        self._answers: dict[str, Decision | None] = {}  # of the attempts that run; None: nobody has said anything
        self._is_closed = False

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        """Run the attempt to its end.

        Raises:
            ExecutorError: the executor is closed, or the results of as many attempts as it has slots wait.
        """
        if self._is_closed:
            raise ExecutorError("the executor is closed")
        if self._n_taken >= self.slots:
            raise ExecutorError(f"all {self.slots} slots are taken: poll for what has ended")
        self._n_taken += 1
        self._answers[launch.token] = None
        folder = None if self._folder is None else self._folder / str(launch.number)
        began = time.monotonic()
        with _Interruptible() as signals:
            trial = LiveTrial(TrialFacts.of(launch), folder, self._channel(launch.token, attend, signals))
            try:
                end = call(self._fn, trial)
            except KeyboardInterrupt:  # at the last moment
                end = CallEnd("interrupted", "", trial.reported)
        del self._answers[launch.token]
        duration_s = time.monotonic() - began
        self._happened.append(Ended(launch.token, end.cause, None, end.metrics, end.message, duration_s))

    def decided(self, token: str, decision: Decision) -> None:
        """Answer the attempt that waits for what is decided on its last report."""
        if self._answers.get(token, Decision.STOP) in (None, Decision.CONTINUE):
            self._answers[token] = decision

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """Let the next report of the attempt raise `TrialStopped`: nothing else can end a function here."""
        if token in self._answers:
            self._answers[token] = Decision.STOP

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened since the last call; wait only where nothing has and nothing runs."""
        if not self._happened and not self._answers:
            time.sleep(timeout_s)
        happened = [self._happened.popleft() for _ in range(len(self._happened))]
        self._n_taken -= sum(isinstance(happening, Ended) for happening in happened)
        return happened

    def close(self) -> None:
        """Drop what nobody has polled for."""
        self._is_closed = True
        self._happened.clear()

    def _channel(self, token: str, attend: Callable[[], None] | None, signals: _Interruptible) -> Channel:
        thread = threading.get_ident()
        attended_at = time.monotonic()

        def let_attend() -> None:
            nonlocal attended_at
            if attend is not None:
                with signals.held_off():
                    attend()
            attended_at = time.monotonic()

        def report(step: float, metrics: dict[str, float], *, waits: bool) -> str:
            if token not in self._answers:  # a thread that the function has left behind
                return Decision.STOP
            if waits and self._answers.get(token) is Decision.CONTINUE:
                self._answers[token] = None
            self._happened.append(Reported(token, [(step, metrics)]))
            # The caller is no more made for several threads than most are.
            if attend is not None and threading.get_ident() == thread:
                if waits:
                    let_attend()
                    while self._answers[token] is None:
                        time.sleep(_UNDECIDED_S)
                        let_attend()
                elif time.monotonic() - attended_at >= _ATTEND_S:
                    let_attend()
            return self._answers.get(token, Decision.STOP) or Decision.CONTINUE

        return report


class _Interruptible:
    """A context in which Ctrl-C interrupts the function, besides what the caller's own handler does about it."""

    def __init__(self) -> None:
        self._previous = signal.getsignal(signal.SIGINT)
        self._is_needed = (
            callable(self._previous)
            and self._previous is not signal.default_int_handler  # which does so already
            and threading.current_thread() is threading.main_thread()
        )

    def __enter__(self) -> _Interruptible:
        if self._is_needed:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._is_needed:
            signal.signal(signal.SIGINT, self._previous)

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Return a context in which only the caller's own handler is there."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(signum, frame)
        raise KeyboardInterrupt
