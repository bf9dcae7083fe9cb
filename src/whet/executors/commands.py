"""Running programs: each attempt is a process tree of its own, watched over by a slot process.

`whet.executors.runner` tells what stands beside a trial and who notices whose death; this module is the coordinator's
side of it. The program's output is read for metrics there; what arrives here are rows of the metrics on watch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from whet.core.protocols import Decision, Ended, Happening, Launch, Reported
from whet.errors import UsageError, WhetError
from whet.executors.metric_tfevents import decoder_paths
from whet.executors.metrics import MetricReader
from whet.executors.pool import TOKEN_VARIABLE, Pool, check_bounds, check_limits
from whet.executors.slots import Slot, start_runner
from whet.executors.turns import say_nothing
from whet.executors.wire import from_os


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
        check_limits(self.timeout_s, self.memory_bytes)
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
        counts_steps: bool = True,
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
            counts_steps: whether the steps of reports are those of the study's fidelity; where they are of something
                else, all are reported at step 0.
            grace_s: how long a trial that was asked to end may take for it.
            log_cap_bytes: the size above which only the first and the last half of a log are kept.
            lock_path: a file that is locked as long as a process beside the trials lives; see `Pool`.
            on_wait: is called once if waiting for it takes more than a moment, with the seconds that it may take.

        Raises:
            UsageError: a value that makes no sense.
            ExecutorError: no processes can be started, or those of an earlier executor do not end.
        """
        check_bounds(slots, grace_s, log_cap_bytes)
        MetricReader(metric_pattern)
        self.slots, self.is_blocking = slots, False
        self._render, self._counts_steps = render, counts_steps
        self._settings = {
            "watch": list(watch),
            "pattern": metric_pattern,
            "grace_s": grace_s,
            "log_cap_bytes": log_cap_bytes,
            "decoder_paths": decoder_paths(),
        }
        self._pool = Pool(slots, self._connect, lock_path=lock_path, grace_s=grace_s, on_wait=on_wait)

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        """Start an attempt on a free slot. A command that cannot be rendered ends it with cause ``error``.

        Raises:
            ExecutorError: no slot is free, or no process can be started beside the trials.
        """
        self._pool.check_open()
        try:
            command = self._render(launch)
        except (WhetError, OSError) as error:
            self._pool.add(Ended(launch.token, "error", None, {}, str(error), 0.0))
            return
        self._pool.begin(launch.token, _order(command, launch))

    def decided(self, token: str, decision: Decision) -> None:
        """End an attempt that is to stop: programs do not wait to be told that they may go on.

        One that pauses has reached the budget that it was told. It ends by itself, and may have to save where it is.
        """
        if decision is Decision.STOP:
            self.stop(token, "terminate")

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """Ask an attempt to end; see `whet.core.protocols.Executor`."""
        self._pool.tell(token, {"stop": how})

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened, waiting up to *timeout_s* seconds for the first thing."""
        happenings = self._pool.poll(timeout_s)
        return happenings if self._counts_steps else list(map(_without_steps, happenings))

    def close(self) -> None:
        """End every attempt now and give back all processes. Idempotent."""
        self._pool.close()

    def _connect(self, n: int, lock: int | None) -> list[Slot]:
        return start_runner(n, self._settings, lock)


def _without_steps(happening: Happening) -> Happening:
    if not isinstance(happening, Reported):
        return happening
    return replace(happening, rows=[(0.0, metrics) for _, metrics in happening.rows])


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
