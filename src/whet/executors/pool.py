"""The slots of an executor whose attempts run in processes: which are free, what comes from them, which are lost."""

from __future__ import annotations

import math
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from whet.core.protocols import Ended, Happening, Launch, Reported
from whet.errors import ExecutorError, UsageError
from whet.executors.processtree import kill_marked
from whet.executors.slots import CLOSE_S, Slot
from whet.executors.turns import say_nothing, take_turn

METRICS_FILE = "metrics.in.jsonl"  # to which a trial appends what it reports on purpose
TOKEN_VARIABLE = "WHET_TOKEN"  # noqa: S105 - the name of a variable; what it holds is no secret


def check_bounds(slots: int, grace_s: float, log_cap_bytes: int) -> None:
    """Check what every executor of processes is given.

    Raises:
        UsageError: a value that makes no sense.
    """
    if slots < 1:
        raise UsageError(f"an executor needs at least one slot, got {slots}")
    if not 0 <= grace_s < math.inf:
        raise UsageError(f"a grace period is a number of seconds from 0, got {grace_s!r}")
    if log_cap_bytes < 2:
        raise UsageError(f"the cap of a log is a number of bytes from 2, got {log_cap_bytes}")


def check_limits(timeout_s: float | None, memory_bytes: int | None) -> None:
    """Check the limits of one trial.

    Raises:
        UsageError: a value that makes no sense.
    """
    if timeout_s is not None and not (0 < timeout_s < math.inf):
        raise UsageError(f"a time limit is a positive number of seconds, got {timeout_s!r}")
    if memory_bytes is not None and memory_bytes <= 0:
        raise UsageError(f"a memory limit is a positive number of bytes, got {memory_bytes!r}")


class Pool:
    """Slots, and the attempts that run on them."""

    def __init__(
        self,
        n_slots: int,
        connect: Callable[[int, int | None], list[Slot]],
        *,
        lock_path: Path | None = None,
        grace_s: float = 10.0,
        on_wait: Callable[[float], None] = say_nothing,
    ) -> None:
        """Start the processes that will stand beside the trials.

        Args:
            n_slots: how many attempts run at a time.
            connect: starts that many slot processes, which keep a copy of a descriptor, and connects to them.
            lock_path: a file that is locked as long as a process beside the trials lives. An executor waits for those
                of an earlier one, whose coordinator was killed and whose trials are being ended, so that no two
                attempts of a trial ever run at once.
            grace_s: how long a trial that was asked to end may take for it.
            on_wait: is called once if the wait takes more than a moment, with the seconds that it may take.

        Raises:
            ExecutorError: no processes can be started, or those of an earlier executor do not end.
        """
        self._n_slots, self._start_slots = n_slots, connect
        self._selector = selectors.PollSelector()  # takes no file descriptor of its own
        self._connected: list[Slot] = []
        self._happened: deque[Happening] = deque()
        self._is_closed = False
        self._began: dict[str, float] = {}
        self._asking: set[str] = set()  # tokens of attempts that wait for a decision
        self._lock = None if lock_path is None else take_turn(lock_path, grace_s + CLOSE_S, on_wait)
        try:
            self._connect(n_slots)
        except BaseException:
            self.close()  # or nobody else could take the lock as long as this process lives
            raise

    def wait_until_ready(self) -> None:
        """Wait for the slot processes.

        Raises:
            ExecutorError: one has not come up.
        """
        for slot in self._connected:
            slot.wait_until_ready()

    def check_open(self) -> None:
        """See that attempts can still be started.

        Raises:
            ExecutorError: they cannot.
        """
        if self._is_closed:
            raise ExecutorError("the executor is closed")

    def add(self, ended: Ended) -> None:
        """Let an attempt that was never started end."""
        self._happened.append(ended)

    def begin(self, token: str, order: Mapping[str, Any]) -> None:
        """Start an attempt on a free slot.

        Raises:
            ExecutorError: no slot is free, or no process can be started beside the trials.
        """
        while True:
            slot = self._free_slot()
            slot.token, slot.mark = token, os.fsencode(f"{TOKEN_VARIABLE}={token}")
            self._began[token] = time.monotonic()
            if slot.send(order):
                return
            slot.token = None
            self._disconnect(slot)

    def tell(self, token: str, message: Mapping[str, Any]) -> None:
        """Send a message to the slot of an attempt, if there is one."""
        for slot in self._connected:
            if slot.token == token:
                slot.send(message)  # if it does not take that, poll finds it gone

    def takes_question(self, token: str) -> bool:
        """Tell, once, whether an attempt has asked for a decision."""
        if token not in self._asking:
            return False
        self._asking.remove(token)
        return True

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
            if len(self._connected) >= self._n_slots:
                raise ExecutorError(f"all {self._n_slots} slots are taken: wait for an attempt to end")
            self._connect(self._n_slots - len(self._connected))
            free = self._connected[-1]
        free.wait_until_ready()
        return free

    def _connect(self, n: int) -> None:
        for slot in self._start_slots(n, self._lock):
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
        if message.get("asks"):
            self._asking.add(slot.token)
        if (end := message.get("end")) is not None:
            self._began.pop(slot.token, None)
            self._asking.discard(slot.token)
            self._happened.append(Ended(slot.token, **end))
            slot.token = None

    def _lose(self, slot: Slot) -> None:
        """Take note of the death of a slot process, and make sure that nothing of its attempt runs any more."""
        if slot.token is None:
            self._disconnect(slot)
            return
        # The guard has seen to it already, unless it was killed together with the slot process.
        marks = slot.marks()
        complaints = self._disconnect(slot)
        for mark in marks:
            kill_marked(mark)
        duration_s = time.monotonic() - self._began.pop(slot.token)
        message = "the process beside the trial was killed or did not answer; what ran of the trial was ended"
        self._happened.append(Ended(slot.token, "lost", None, {}, f"{message}\n{complaints}".strip(), duration_s))


def trial_variables(launch: Launch, directory: Path, budget: str) -> dict[str, str]:
    """Return what every attempt finds in its environment about itself; *directory* is its trial's."""
    return {
        "WHET_STUDY": launch.study,
        "WHET_TRIAL": str(launch.number),
        "WHET_ATTEMPT": str(launch.attempt),
        "WHET_TRIAL_DIR": str(directory),
        "WHET_SEED": str(launch.seed),
        "WHET_BUDGET": budget,
        "WHET_METRICS": str(directory / METRICS_FILE),
    }
