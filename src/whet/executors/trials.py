"""An attempt that is a function, as the slot process beside it sees it: forked, listened to, and told about.

A trial (`whet.executors.forked`) that dies without a word on its end is judged by its exit code.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH106

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any

from whet.executors.attempt import Attempt
from whet.executors.forked import HELD_BACK, Load, be_trial
from whet.executors.spawning import CannotStart, open_pipe
from whet.executors.wire import Unpacker, pack, to_os

_READ_BYTES = 64 * 1024
_SESSION_PATIENCE_S = 5.0


class FunctionAttempt(Attempt):
    """A running attempt that is a call of a function."""

    def __init__(
        self, order: dict[str, Any], settings: dict[str, Any], load: Load, private: list[int], *, is_subreaper: bool
    ) -> None:
        """Fork the trial.

        Args:
            order: what to run.
            settings: of the executor.
            load: gives the function; called in the trial.
            private: descriptors of ours that the trial is to close.
            is_subreaper: orphans of the trial fall to this process.

        Raises:
            CannotStart: it cannot be forked.
        """
        self._load, self._private = load, private
        self._inbox = Unpacker()
        self._end: dict[str, Any] | None = None
        self._asks = False
        self._channel: socket.socket | None = None
        super().__init__(order, settings, is_subreaper=is_subreaper)

    def _launch(self, order: dict[str, Any], env: dict[bytes, bytes]) -> tuple[int, int, int]:
        opened: list[int] = []
        try:
            for _ in range(2):
                opened += open_pipe()
            ours, theirs = socket.socketpair()
        except OSError as error:
            for fd in opened:
                os.close(fd)
            raise CannotStart(f"no pipe could be opened for the trial: {error.strerror}") from None
        out, out_end, err, err_end = opened
        # What comes before the trial is ready for it waits there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            pid = os.fork()
        except OSError as error:
            for fd in (out, err):
                os.close(fd)
            ours.close()
            raise CannotStart(
                f"no process could be started for the trial ({error.strerror}): the limit of processes or of memory is "
                "reached; use fewer workers, or raise the limit (ulimit -u, pids.max of the container)"
            ) from None
        else:
            if not pid:
                closed = [*self._private, out, err, ours.detach()]
                be_trial(order, env, self._load, theirs, (out_end, err_end), closed, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for fd in (out_end, err_end):
                os.close(fd)
            theirs.close()
        ours.setblocking(False)
        self._channel = ours
        self._wait_for_session()
        return pid, out, err

    def _wait_for_session(self) -> None:
        """Wait until the trial has a session of its own, to which signals can be sent."""
        assert self._channel is not None
        _has_more(self._channel, _SESSION_PATIENCE_S)

    @property
    def readable(self) -> list[int]:
        """What to wait on."""
        return [*super().readable, *([] if self._channel is None else [self._channel.fileno()])]

    def pump(self, fd: int) -> None:
        """Read from the output or the channel that is readable."""
        if self._channel is None or fd != self._channel.fileno():
            super().pump(fd)
        elif not self._hear():
            self._channel.close()
            self._channel = None

    def _hear(self) -> bool:
        """Take in what the trial says; tell whether it may say more."""
        assert self._channel is not None
        try:
            data = self._channel.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for message in self._inbox.feed(data):
            if "row" in message:
                step, metrics = message["row"]
                self.readings.feed_row(step, metrics)
                self._asks = self._asks or message["asks"]
            elif "end" in message:
                self._take_end(message["end"])
        return bool(data)

    def _take_end(self, end: dict[str, Any]) -> None:
        """Take note of what the call ended in; what its own `atexit` does after that has the grace period."""
        self.readings.feed_values(end.pop("metrics"))
        self._end = end
        self._end_softly()

    def _end_softly(self) -> None:
        now = time.monotonic()
        self._term_at = min(self._term_at, now + self._grace_s)
        self._kill_at = min(self._kill_at, now + 2 * self._grace_s)

    def decided(self, decision: str) -> None:
        """Pass on a decision; a trial that is not to go on is ended if it does not end by itself."""
        if self._channel is not None:
            with contextlib.suppress(OSError):  # it has just ended
                self._channel.send(pack({"decision": decision}))
        if decision != "continue":
            self._end_softly()

    def takes_question(self) -> bool:
        """Tell, once, whether the trial waits for what is decided on its last report."""
        asks, self._asks = self._asks, False
        return asks

    def is_report_due(self, now: float) -> bool:
        """Tell whether news should go to the coordinator now: at once where the trial waits for an answer."""
        return self._asks or super().is_report_due(now)

    def _check_limits(self, now: float) -> None:
        if self._end is None:  # else the limits were kept
            super()._check_limits(now)

    # ---- the result
    def result(self) -> dict[str, Any]:
        """Empty the pipes, close the files; return the fields of the `Ended` that says what has become of it."""
        while self._channel is not None:
            before = self._channel
            self.pump(self._channel.fileno())
            if self._channel is before and not _has_more(before):
                before.close()
                self._channel = None
        result = super().result()
        with contextlib.suppress(OSError):
            os.rmdir(to_os(self._order["trial_dir"]))  # if nothing was put there
        return result

    def _own_cause(self, exit_code: int) -> str | None:
        if self._end is not None:
            cause: str | None = self._end["cause"]
            return cause
        return super()._own_cause(exit_code) or "exit_code"

    def _told_exit_code(self, exit_code: int) -> int | None:
        return None if self._end is not None else exit_code

    def _message(self, notes: list[str]) -> str:
        if self._cause is None and self._end is not None:
            return "\n".join([self._end["message"], *notes])
        if self._cause is None and self._exit_code is not None and self._exit_code >= 0:
            self._lead = (
                f"the function ended its process with exit code {self._exit_code} instead of returning "
                "(os._exit, or a library that does so)"
            )
        return super()._message(notes)


def _has_more(channel: socket.socket, wait_s: float = 0.0) -> bool:
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    return bool(poller.poll(wait_s * 1000))
