"""The processes beside the trials: one slot process for each slot, and the guard that they come from.

The coordinator starts one interpreter, with nothing but the standard library's light modules and this package's. It
forks a slot process for each slot and stays as their *guard*. A slot process runs one trial at a time, as its child,
and talks to the coordinator through a socket of its own (`whet.executors.wire`).

Who notices whose death:

* the coordinator's: every slot process, by the end of its socket or (Linux) by the coordinator's process handle. It
  ends its trial, with the grace period, and itself.
* a slot process's: the guard, to which on Linux the trial and all its descendants fall. It kills them, and only then
  closes its copy of the socket, which is how the coordinator hears that the attempt is lost.
* the guard's: every slot process, by the end of a pipe. It ends its trial, and itself.

Signals that a terminal or a service manager sends to all processes (SIGINT, SIGTERM, SIGHUP) are ignored here: the
coordinator decides what they mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from math import inf
from types import FrameType
from typing import Any

from whet.executors.attempt import Attempt
from whet.executors.processtree import become_subreaper, kill_children
from whet.executors.spawning import CannotStart
from whet.executors.wire import Unpacker, pack

_READ_BYTES = 64 * 1024
_BURY_PATIENCE_S = 30.0

# From an order, the descriptors that are no business of the trial, and whether we are a subreaper, to the attempt.
MakeAttempt = Callable[[dict[str, Any], list[int], bool], Attempt]


def main(text: str) -> None:
    """Run a guard for programs until the coordinator is gone; *text* is the settings as JSON."""
    settings = json.loads(text)
    prepare(settings)
    serve(settings, lambda order, private, is_subreaper: Attempt(order, settings, is_subreaper=is_subreaper))


def prepare(settings: dict[str, Any]) -> None:
    """Make this process one that can be a guard; correct the descriptors in *settings*."""
    ignore_signals()
    become_subreaper()
    # select() takes no descriptors beyond 1023, and ours have the coordinator's numbers.
    settings["fds"] = [_renumbered(fd) for fd in settings["fds"]]
    for name in ("lock", "function"):  # the lock stays open as long as we and the slot processes live
        if settings.get(name) is not None:
            settings[name] = _renumbered(settings[name])


def ignore_signals() -> None:
    """Leave the signals that a terminal sends to all processes to the coordinator."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def serve(settings: dict[str, Any], make_attempt: MakeAttempt) -> None:
    """Fork the slot processes and be their guard until the coordinator is gone."""
    controls = list(settings["fds"])
    coordinator = _handle_of(settings["coordinator"])
    lifeline, held = os.pipe()
    slots: dict[int, int] = {}
    for control in list(controls):
        try:
            pid = os.fork()
        except OSError:  # no processes left: the coordinator sees the end of this slot's socket
            controls.remove(control)
            os.close(control)
            continue
        if not pid:
            for other in {held, *controls} - {control}:
                os.close(other)
            lock = [] if settings["lock"] is None else [settings["lock"]]
            _serve(control, [lifeline, *coordinator], lock, make_attempt)
        slots[pid] = control
    os.close(lifeline)
    _guard(slots)


def _renumbered(fd: int) -> int:
    """Return a copy of *fd*, closed here, with the lowest free number; trials do not inherit it."""
    lowest = os.dup(fd)
    os.close(fd)
    return lowest


def _handle_of(coordinator: int) -> list[int]:
    """Return a descriptor that becomes readable when the coordinator ends, if there is such a thing here.

    The end of the socket alone would not do: whatever the coordinator forks holds a copy of its end.
    """
    try:
        handle = os.pidfd_open(coordinator)
    except (AttributeError, OSError):
        handle = -1
    if os.getppid() != coordinator:
        sys.exit(0)
    return [handle] if handle >= 0 else []


# ---------------------------------------------------------------------------------------------------------- the guard
def _guard(slots: dict[int, int]) -> None:
    """Wait for the slot processes to end; end what they leave behind."""
    while slots:
        pid, _ = os.waitpid(-1, 0)
        if pid in slots:
            ended = [slots.pop(pid), *_bury(slots)]
            for control in ended:
                os.close(control)


def _bury(slots: dict[int, int]) -> list[int]:
    """Kill the orphans that have fallen to us; return the sockets of the slots that ended meanwhile."""
    ended = []
    n_quiet = 0
    deadline = time.monotonic() + _BURY_PATIENCE_S
    # Twice, since the kernel's list of children may miss some that are being handed over.
    while n_quiet < 2 and time.monotonic() < deadline:
        n_quiet = 0 if kill_children(slots.keys()) else n_quiet + 1
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if pid in slots:
                    ended.append(slots.pop(pid))
        time.sleep(0.005)
    return ended


# ---------------------------------------------------------------------------------------------------- a slot process
def _serve(control: int, lifelines: list[int], others: list[int], make_attempt: MakeAttempt) -> None:
    """Be a slot process; never return."""
    status = 1
    try:
        _SlotProcess(control, lifelines, others, make_attempt).run()
        status = 0
    except BaseException:  # nothing may unwind into the guard's stack
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


class _SlotProcess:
    def __init__(self, control: int, lifelines: list[int], others: list[int], make_attempt: MakeAttempt) -> None:
        self._control, self._lifelines, self._make_attempt = control, lifelines, make_attempt
        self._is_subreaper = become_subreaper()
        self._inbox = Unpacker()
        self._outbox = bytearray()
        self._attempt: Attempt | None = None
        self._is_alone = False  # the coordinator or the guard is gone
        self._wake, wake = os.pipe()
        self._private = [control, *lifelines, *others, self._wake, wake]
        for fd in (control, self._wake, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Run attempts until the coordinator or the guard is gone."""
        self._say({"ready": os.getpid()})
        while self._attempt is not None or not self._is_alone:
            now = time.monotonic()
            readable, writable = self._wait(now)
            if self._wake in readable:
                os.read(self._wake, _READ_BYTES)
                if self._attempt is not None:
                    self._attempt.reap()
            if not self._is_alone:
                self._heed(readable, writable)
            if self._attempt is not None:
                self._care_for(self._attempt, readable)

    def _wait(self, now: float) -> tuple[list[int], list[int]]:
        reads = [self._wake]
        timeout_s = inf
        if not self._is_alone:
            reads += [self._control, *self._lifelines]
        if self._attempt is not None:
            reads += self._attempt.readable
            timeout_s = max(0.0, self._attempt.wake_at(now) - now)
        writes = [self._control] if self._outbox else []
        readable, writable, _ = select.select(reads, writes, [], None if timeout_s == inf else timeout_s)
        return readable, writable

    def _heed(self, readable: list[int], writable: list[int]) -> None:
        """Listen to the coordinator, and write what it has not taken yet."""
        if not set(self._lifelines).isdisjoint(readable):
            self._be_alone()
            return
        try:
            if writable:
                del self._outbox[: os.write(self._control, self._outbox)]
            data = os.read(self._control, _READ_BYTES) if self._control in readable else None
        except BlockingIOError:
            return
        except OSError:  # the other end is closed
            data = b""
        if data == b"":
            self._be_alone()
        for message in self._inbox.feed(data or b""):
            if "stop" in message:
                if self._attempt is not None:
                    self._attempt.end(message["stop"])
            elif "decision" in message:
                if self._attempt is not None:
                    self._attempt.decided(message["decision"])
            else:
                self._begin(message)

    def _be_alone(self) -> None:
        self._is_alone = True
        self._outbox.clear()
        if self._attempt is not None:
            self._attempt.end("terminate")

    def _begin(self, order: dict[str, Any]) -> None:
        assert self._attempt is None, "a slot runs one attempt at a time"
        try:
            self._attempt = self._make_attempt(order, self._private, self._is_subreaper)
        except CannotStart as error:
            end: dict[str, Any] = {
                "cause": "error",
                "exit_code": None,
                "metrics": {},
                "message": str(error),
                "duration_s": 0.0,
            }
            self._say({"end": end})

    def _care_for(self, attempt: Attempt, readable: list[int]) -> None:
        for fd in set(attempt.readable).intersection(readable):
            attempt.pump(fd)
        now = time.monotonic()
        attempt.tick(now)
        if attempt.is_over:
            end = attempt.result()
            self._say({"rows": attempt.readings.take_rows(), "end": end})
            self._attempt = None
        elif attempt.is_report_due(now):
            attempt.readings.write()
            if not self._outbox:
                self._report(attempt)
            attempt.reported(now)

    def _report(self, attempt: Attempt) -> None:
        rows, asks = attempt.readings.take_rows(), attempt.takes_question()
        if rows:
            self._say({"rows": rows, "asks": asks})
        elif asks:  # nothing of the report counts, as beyond the most names: nobody else will answer
            attempt.decided("continue")

    def _say(self, message: dict[str, Any]) -> None:
        """Send a message, at once as far as the coordinator takes it."""
        if self._is_alone:
            return
        self._outbox += pack(message)
        try:
            del self._outbox[: os.write(self._control, self._outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self._be_alone()


def _nothing(signum: int, frame: FrameType | None) -> None:
    """Let SIGCHLD write to the wake-up pipe, which an ignored signal would not."""
