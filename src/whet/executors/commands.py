"""Running programs: each attempt is a process tree of its own, watched over by a slot process.

`whet.executors.runner` tells what stands beside a trial and who notices whose death; this module is the coordinator's
side of it. The program's output is read for metrics there; what arrives here are rows of the metrics on watch.
"""

from __future__ import annotations

import math
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from whet.core.protocols import Ended, Happening, Launch, Reported
from whet.errors import ExecutorError, UsageError, WhetError
from whet.executors.metrics import MetricReader
from whet.executors.processtree import kill_marked
from whet.executors.slots import CLOSE_S, Slot, start_runner
from whet.executors.turns import say_nothing, take_turn
from whet.executors.wire import from_os

TOKEN_VARIABLE = "WHET_TOKEN"  # noqa: S105 - the name of a variable; what it holds is no secret


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run as an attempt.

    Attributes:
        argv: the program and its arguments; without a slash, the program is looked up in the ``PATH`` of ``env``.
        cwd: where it runs.
        env: its environment; nothing else is passed on, apart from ``WHET_TOKEN``, the attempt's fencing token.
        trial_dir: where ``stdout.log``, ``stderr.log`` and ``metrics.jsonl`` go; made if missing. Such files of an
            earlier attempt are kept as ``stdout.attempt1.log`` and so on.
        timeout_s: wall-clock limit.
        memory_bytes: limit of the memory that all its processes hold together.
        pty: whether its output is a terminal to it.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    trial_dir: Path
    timeout_s: float | None = None
    memory_bytes: int | None = None
    pty: bool = False

    def __post_init__(self) -> None:
        """Check what the system would refuse, or take for something else."""
        if not self.argv or not self.argv[0]:
            raise UsageError("a command needs a program to run; argv is empty")
        for i, item in enumerate(self.argv):
            if "\0" in item:
                raise UsageError(f"argument {i} of the command holds a NUL character, which no program can be given")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise UsageError(
                    f"the environment variable {name!r} cannot be passed on: it holds '=' or NUL, or no name"
                )
        if self.timeout_s is not None and not (0 < self.timeout_s < math.inf):
            raise UsageError(f"a time limit is a positive number of seconds, got {self.timeout_s!r}")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise UsageError(f"a memory limit is a positive number of bytes, got {self.memory_bytes!r}")
        own = self.env.get("WHET_METRICS")
        if own and (self.cwd / own).resolve() == (self.trial_dir / "metrics.jsonl").resolve():
            raise UsageError("WHET_METRICS names metrics.jsonl of the trial, which whet writes; name another file")


class CommandExecutor:
    """Runs programs on this machine."""

    def __init__(
        self,
        render: Callable[[Launch], Command],
        *,
        slots: int = 1,
        watch: Sequence[str] = (),
        metric_pattern: str | None = None,
        grace_s: float = 10.0,
        log_cap_bytes: int = 50_000_000,
        lock_path: Path | None = None,
        on_wait: Callable[[float], None] = say_nothing,
    ) -> None:
        """Start the processes that will stand beside the trials.

        Args:
            render: says what an attempt runs.
            slots: how many attempts run at a time.
            watch: the metrics that are reported while an attempt runs, under exactly these names, for whatever name
                in the output they stand (`whet.executors.metrics.find_metric`).
            metric_pattern: a regular expression for lines that are not read otherwise.
            grace_s: how long a trial that was asked to end may take for it.
            log_cap_bytes: the size above which only the first and the last half of a log are kept.
            lock_path: a file that is locked as long as a process beside the trials lives. An executor waits for those
                of an earlier one, whose coordinator was killed and whose trials are being ended, so that no two
                attempts of a trial ever run at once.
            on_wait: is called once if that takes more than a moment, with the seconds that it may take.

        Raises:
            UsageError: a value that makes no sense.
            ExecutorError: no processes can be started, or those of an earlier executor do not end.
        """
        if slots < 1:
            raise UsageError(f"an executor needs at least one slot, got {slots}")
        if not 0 <= grace_s < math.inf:
            raise UsageError(f"a grace period is a number of seconds from 0, got {grace_s!r}")
        if log_cap_bytes < 2:
            raise UsageError(f"the cap of a log is a number of bytes from 2, got {log_cap_bytes}")
        MetricReader(metric_pattern)
        self.slots = slots
        self._render = render
        self._settings = {
            "watch": list(watch),
            "pattern": metric_pattern,
            "grace_s": grace_s,
            "log_cap_bytes": log_cap_bytes,
        }
        self._selector = selectors.PollSelector()  # takes no file descriptor of its own
        self._connected: list[Slot] = []
        self._happened: deque[Happening] = deque()
        self._is_closed = False
        self._began: dict[str, float] = {}
        self._lock = None if lock_path is None else take_turn(lock_path, grace_s + CLOSE_S, on_wait)
        try:
            self._connect(slots)
        except BaseException:
            self.close()  # or nobody else could take the lock as long as this process lives
            raise

    def start(self, launch: Launch) -> None:
        """Start an attempt on a free slot. A command that cannot be rendered ends it with cause ``error``.

        Raises:
            ExecutorError: no slot is free, or no process can be started beside the trials.
        """
        if self._is_closed:
            raise ExecutorError("the executor is closed")
        try:
            command = self._render(launch)
        except (WhetError, OSError) as error:
            self._happened.append(Ended(launch.token, "error", None, {}, str(error), 0.0))
            return
        order = _order(command, launch)
        while True:
            slot = self._free_slot()
            slot.token, slot.mark = launch.token, os.fsencode(f"{TOKEN_VARIABLE}={launch.token}")
            self._began[launch.token] = time.monotonic()
            if slot.send(order):
                return
            slot.token = None
            self._disconnect(slot)

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """Ask an attempt to end; see `whet.core.protocols.Executor`."""
        for slot in self._connected:
            if slot.token == token:
                slot.send({"stop": how})  # if it does not take that, poll finds it gone

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened, waiting up to *timeout_s* seconds for the first thing."""
        deadline = time.monotonic() + timeout_s
        self._listen(0.0 if self._happened else timeout_s)
        while not self._happened and (left_s := deadline - time.monotonic()) > 0:
            self._listen(left_s)
        happened = list(self._happened)
        self._happened.clear()
        return happened

    def close(self) -> None:
        """End every attempt now and give back all processes. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        for slot in self._connected:
            if slot.token is not None:
                slot.send({"stop": "kill"})
            slot.hang_up()
        deadline = time.monotonic() + CLOSE_S
        while self._connected and (left_s := deadline - time.monotonic()) > 0:
            self._listen(left_s)
        for slot in list(self._connected):
            self._disconnect(slot)
        self._selector.close()
        self._happened.clear()
        if self._lock is not None:
            os.close(self._lock)

    # ---- slots
    def _free_slot(self) -> Slot:
        free = next((slot for slot in self._connected if slot.token is None), None)
        if free is None:
            if len(self._connected) >= self.slots:
                raise ExecutorError(f"all {self.slots} slots are taken: wait for an attempt to end")
            self._connect(self.slots - len(self._connected))
            free = self._connected[-1]
        free.wait_until_ready()
        return free

    def _connect(self, n: int) -> None:
        for slot in start_runner(n, self._settings, self._lock):
            self._connected.append(slot)
            self._selector.register(slot, selectors.EVENT_READ, slot)

    def _disconnect(self, slot: Slot) -> str:
        self._connected.remove(slot)
        self._selector.unregister(slot)
        return slot.close()

    # ---- messages
    def _listen(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            slot: Slot = key.data
            messages = slot.receive()
            if messages is None:
                self._lose(slot)
                continue
            for message in messages:
                self._take(slot, message)

    def _take(self, slot: Slot, message: Mapping[str, Any]) -> None:
        assert slot.token is not None, "a message from a slot that is free"
        if rows := message.get("rows"):
            self._happened.append(Reported(slot.token, [(step, metrics) for step, metrics in rows]))
        if (end := message.get("end")) is not None:
            self._began.pop(slot.token, None)
            self._happened.append(Ended(slot.token, **end))
            slot.token = None

    def _lose(self, slot: Slot) -> None:
        """Take note of the death of a slot process, and make sure that nothing of its attempt runs any more."""
        complaints = self._disconnect(slot)
        if slot.token is None:
            return
        # The guard has seen to it already, unless it was killed together with the slot process.
        kill_marked(slot.mark)
        duration_s = time.monotonic() - self._began.pop(slot.token)
        message = "the process beside the trial was killed or did not answer; what ran of the trial was ended"
        self._happened.append(Ended(slot.token, "lost", None, {}, f"{message}\n{complaints}".strip(), duration_s))


def _order(command: Command, launch: Launch) -> dict[str, Any]:
    """Return the command as it goes over the wire."""
    env = {from_os(name): from_os(value) for name, value in command.env.items()}
    env[TOKEN_VARIABLE] = from_os(launch.token)
    return {
        "argv": [from_os(item) for item in command.argv],
        "env": env,
        "cwd": from_os(command.cwd.absolute()),
        "trial_dir": from_os(command.trial_dir.absolute()),
        "attempt": launch.attempt,
        "timeout_s": command.timeout_s,
        "memory_bytes": command.memory_bytes,
        "pty": command.pty,
    }
