"""Running a function: each attempt is a process of its own, forked from one that has the function loaded.

The processes beside the trials are those of `whet.executors.commands`; see `whet.executors.runner` for who notices
whose death, and `whet.executors.trials` for what a trial is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from whet.core.protocols import Decision, Happening, Launch
from whet.executors.calling import Function
from whet.executors.packing import pack, pack_value
from whet.executors.pool import TOKEN_VARIABLE, Pool, check_bounds, check_limits, trial_variables
from whet.executors.slots import Interpreter, Slot, start_runner
from whet.executors.turns import say_nothing
from whet.executors.wire import from_os

_IS_FORK_SAFE = sys.platform == "linux"  # elsewhere system libraries start threads of their own
_READY_S = 600.0  # importing what a function needs may take its time
# Our package and the standard library come first, and the caller's path once they are loaded.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from whet.executors.forkserver import main; main(sys.argv[2])"


class ProcessExecutor:
    """Runs a function in processes on this machine."""

    def __init__(
        self,
        fn: Function,
        *,
        slots: int = 1,
        folder: Path,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        grace_s: float = 10.0,
        log_cap_bytes: int = 50_000_000,
        lock_path: Path | None = None,
        on_wait: Callable[[float], None] = say_nothing,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Send the function to the processes that will stand beside the trials, and wait until it is loaded there.

        Args:
            fn: from `whet.executors.calling.bind`.
            slots: how many attempts run at a time.
            folder: where trials keep their files, each in a folder named after its number.
            timeout_s: wall-clock limit of an attempt.
            memory_bytes: limit of the memory that all processes of an attempt hold together.
            grace_s: how long a trial that was asked to end may take for it.
            log_cap_bytes: the size above which only the first and the last half of a log are kept.
            lock_path: a file that is locked as long as a process beside the trials lives; see `Pool`.
            on_wait: is called once if waiting for it takes more than a moment, with the seconds that it may take.
            env: the environment of the trials; that of this process, if not given.

        Raises:
            UsageError: the function cannot be sent to another process, or a value makes no sense.
            ExecutorError: no processes can be started, or the function cannot be loaded there.
        """
        check_bounds(slots, grace_s, log_cap_bytes)
        check_limits(timeout_s, memory_bytes)
        self.slots, self.is_blocking = slots, False
        self._folder, self._cwd = folder.absolute(), Path.cwd()
        self._limits = {"timeout_s": timeout_s, "memory_bytes": memory_bytes}
        self._env = {n: value for n, value in (os.environ if env is None else env).items() if not n.startswith("WHET_")}
        self._settings = {
            "watch": None,
            "pattern": None,
            "grace_s": grace_s,
            "log_cap_bytes": log_cap_bytes,
            "is_loaded_once": _IS_FORK_SAFE,
        }
        self._packed = pack(fn)
        self._is_closed = False
        try:
            self._pool = Pool(slots, self._connect, lock_path=lock_path, grace_s=grace_s, on_wait=on_wait)
        except BaseException:
            self._packed.close()
            raise
        try:
            self._pool.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        """Start an attempt on a free slot.

        Raises:
            ExecutorError: no slot is free, or no process can be started beside the trials.
        """
        self._pool.check_open()
        self._pool.begin(launch.token, self._order(launch))

    def decided(self, token: str, decision: Decision) -> None:
        """Answer an attempt that waits for what is decided on its last report; end one that is not to go on."""
        if self._pool.takes_question(token) or decision is not Decision.CONTINUE:
            self._pool.tell(token, {"decision": decision.value})

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """Ask an attempt to end; see `whet.core.protocols.Executor`."""
        self._pool.tell(token, {"stop": how})

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened, waiting up to *timeout_s* seconds for the first thing."""
        return self._pool.poll(timeout_s)

    def close(self) -> None:
        """End every attempt now and give back all processes. Idempotent."""
        self._pool.close()
        if not self._is_closed:
            self._is_closed = True
            self._packed.close()

    def _connect(self, n: int, lock: int | None) -> list[Slot]:
        settings = {**self._settings, "function": self._packed.fd, "table_at": self._packed.table_at}
        # The caller's flags and warnings, and nothing of the working directory in front of the standard library.
        options = [*subprocess._args_from_interpreter_flags(), "-P"]  # type: ignore[attr-defined]
        interpreter = Interpreter(options, _PROGRAM, self._env, [self._packed.fd], _READY_S)
        return start_runner(n, settings, lock, interpreter)

    def _order(self, launch: Launch) -> dict[str, Any]:
        """Return the attempt as it goes over the wire."""
        directory = self._folder / str(launch.number)
        budget = "" if launch.budget is None else f"{launch.budget:g}"
        variables = {**trial_variables(launch, directory, budget), TOKEN_VARIABLE: launch.token}
        return {
            "call": {
                "number": launch.number,
                "config": pack_value(dict(launch.config)),
                "seed": launch.seed,
                "budget": launch.budget,
                "waits": launch.waits,
                "attempt": launch.attempt,
            },
            "env": {name: from_os(value) for name, value in variables.items()},
            "cwd": from_os(self._cwd),
            "trial_dir": from_os(directory),
            "attempt": launch.attempt,
            **self._limits,
        }
