"""One attempt as the slot process beside it sees it: started, listened to, limited, ended, and told about.

An attempt ends in four steps. The trial's own process ends, by itself or because it was asked to. Then whatever else it
has started is ended (SIGTERM, a second, SIGKILL). Then the pipes are emptied. Only then is there a result.
"""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH118

from __future__ import annotations

import errno
import math
import os
import signal
import time
from typing import Any

from whet.executors.logs import CappedLog, keep_earlier
from whet.executors.metric_files import MetricFiles
from whet.executors.processtree import Descendants, children, proportional_bytes, resident_bytes
from whet.executors.readings import GrowingFile, Readings
from whet.executors.spawning import CannotStart, launch
from whet.executors.streams import Stream
from whet.executors.wire import to_os
from whet.private import make_folder

_LEFTOVER_GRACE_S = 1.0  # for what the trial left behind, and between SIGTERM and SIGKILL after an interrupt
_KILL_PATIENCE_S = 30.0  # after which a process that SIGKILL does not end (another user's) is left alone
_SWEEP_S = 0.02
_MEMORY_S = 0.2
_SHARED_MEMORY_S = 1.0
_FOLLOW_S = 0.25
_REPORT_S = 0.05
_DRAIN_READS = 64
_FINAL_BYTES = 64 << 20  # of the program's own metrics file that are read at its end


class Attempt:
    """A running attempt.

    Attributes:
        readings: what it has measured so far.
        streams: the outputs that are still open, by file descriptor.
        is_over: nothing of it runs any more.
    """

    def __init__(self, order: dict[str, Any], settings: dict[str, Any], *, is_subreaper: bool) -> None:
        """Start the program.

        Raises:
            CannotStart: it cannot be started.
        """
        self._order, self._grace_s = order, settings["grace_s"]
        self.is_over = False
        directory, cap = to_os(order["trial_dir"]), settings["log_cap_bytes"]
        _prepare(directory, order["attempt"])
        self.readings = Readings(settings["watch"], settings["pattern"], os.path.join(directory, b"metrics.jsonl"), cap)
        env = {to_os(name): to_os(value) for name, value in order["env"].items()}
        own_file = env.get(b"WHET_METRICS")
        self._file = GrowingFile(os.path.join(to_os(order["cwd"]), own_file)) if own_file else None
        decoder_paths = settings.get("decoder_paths")  # missing where no files of metrics are read
        self._metric_files = None if decoder_paths is None else MetricFiles(directory, self.readings, decoder_paths)
        self._began = time.monotonic()
        self._pid, *fds = self._launch(order, env)
        is_function = "call" in order
        logs = [
            CappedLog(os.path.join(directory, name), cap, is_lazy=is_function)
            for name in (b"stdout.log", b"stderr.log")
        ]
        self._out, self._err = (Stream(fd, log, is_read=not is_function) for fd, log in zip(fds, logs, strict=True))
        self.streams = {stream.fd: stream for stream in (self._out, self._err)}
        self._descendants = Descendants(self._pid, is_subreaper=is_subreaper)
        self._exit_code: int | None = None
        self._duration_s = 0.0
        self._has_others = False
        self._spared: set[int] = set()
        self._cause: str | None = None
        self._lead = ""
        self._was_interrupted = False
        self._level = 0  # the harshest signal that everything has got
        self._level_at_end = 0  # when the trial's own process ended; what it left behind may need harsher ones
        self._term_at = self._kill_at = math.inf
        self._limit_at = self._began + (order["timeout_s"] or math.inf)
        self._memory_at = self._began if order["memory_bytes"] else math.inf
        self._follow_at = self._began + _FOLLOW_S if self._file else math.inf
        self._report_at = self._began

    def _launch(self, order: dict[str, Any], env: dict[bytes, bytes]) -> tuple[int, int, int]:
        """Start it; return its process id and our ends of its outputs."""
        argv = [to_os(item) for item in order["argv"]]
        return launch(argv, env, to_os(order["cwd"]), on_terminal=order["pty"])

    @property
    def readable(self) -> list[int]:
        """The descriptors to wait on."""
        return list(self.streams)

    # ---- what happens to it
    def pump(self, fd: int) -> None:
        """Read from the stream that is readable."""
        if self.streams[fd].pump(self.readings) == 0:
            del self.streams[fd]

    def reap(self) -> None:
        """Wait for the children that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._has_others = False
                return
            if not pid:
                self._has_others = True
                return
            self._spared.discard(pid)
            if pid == self._pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
                self._duration_s = time.monotonic() - self._began
                self._level_at_end = self._level

    def end(self, how: str, grace_s: float | None = None) -> None:
        """Begin to end the attempt: ``interrupt``, ``terminate`` or ``kill``; what is under way becomes no milder."""
        now = time.monotonic()
        grace_s = self._grace_s if grace_s is None else grace_s
        match how:
            case "interrupt":
                if not self._was_interrupted and not self._level and self._exit_code is None:
                    self._was_interrupted = True
                    os.killpg(self._pid, signal.SIGINT)
                self._term_at = min(self._term_at, now + grace_s)
                self._kill_at = min(self._kill_at, now + grace_s + _LEFTOVER_GRACE_S)
            case "terminate":
                self._term_at = min(self._term_at, now)
                self._kill_at = min(self._kill_at, now + grace_s)
            case "kill":
                self._kill_at = min(self._kill_at, now)

    def decided(self, decision: str) -> None:
        """Hear what was decided on the last report; a program cannot be told."""

    def takes_question(self) -> bool:
        """Tell, once, whether the attempt waits for what is decided on its last report; a program never does."""
        return False

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._exit_code is None:
            self._check_limits(now)
        elif not self._is_anything_left(now):
            self.is_over = True
            return
        elif self._level < signal.SIGKILL:
            self.end("terminate", _LEFTOVER_GRACE_S)
        now = time.monotonic()
        if now >= self._kill_at:
            self._level = signal.SIGKILL
            self._descendants.kill()
        elif now >= self._term_at:
            self._level = signal.SIGTERM
            self._descendants.terminate()
        if self._file and now >= self._follow_at:
            self._file.read(self.readings.feed_json)
            self._follow_at = now + _FOLLOW_S
        if self._metric_files:
            self._metric_files.tick(now)

    def is_report_due(self, now: float) -> bool:
        """Tell whether news should go to the coordinator and the file now; at most every 50 ms."""
        return self.readings.has_news and now >= self._report_at

    def reported(self, now: float) -> None:
        """Take note that the news has been taken care of."""
        self._report_at = now + _REPORT_S

    def wake_at(self, now: float) -> float:
        """Return when :meth:`tick` is to be called at the latest, infinity if not before something happens."""
        times = [self._follow_at, self._metric_files.wake_at if self._metric_files else math.inf]
        if self.readings.has_news:
            times.append(self._report_at)
        if self._exit_code is None and self._cause is None:
            times += [self._limit_at, self._memory_at]
        if self._level == signal.SIGKILL or self._exit_code is not None:
            times.append(now + _SWEEP_S)  # what forks meanwhile is met by the next sweep
        else:
            times.append(self._kill_at if self._level else min(self._term_at, self._kill_at))
        return min(times)

    # ---- limits
    def _check_limits(self, now: float) -> None:
        if self._cause is not None:
            return
        if now >= self._limit_at:
            self._cause = "timeout"
            self._lead = f"it ran longer than its limit of {self._order['timeout_s']:g} s"
            self.end("terminate")
        elif now >= self._memory_at:
            self._memory_at = now + _MEMORY_S
            self._check_memory(self._order["memory_bytes"])

    def _check_memory(self, limit: int) -> None:
        used = resident_bytes(os.getpid())
        if used <= limit:
            return
        # Forked workers share pages with their parent, and resident sizes count these for each of them.
        if used_once := proportional_bytes(os.getpid()):
            used = used_once
        if used <= limit:
            self._memory_at = time.monotonic() + _SHARED_MEMORY_S
            return
        self._cause = "memory"
        self._lead = f"its processes held {used / 2**20:,.0f} MiB, above the limit of {limit / 2**20:,.0f} MiB"
        self.end("kill")

    def _is_anything_left(self, now: float) -> bool:
        """Tell whether something of the trial still runs, now that its own process has ended."""
        if not self._descendants.any_left(self._has_others, self._spared):
            return False
        if now > self._kill_at + _KILL_PATIENCE_S:
            self._spared.update(children(os.getpid()))
            self._lead += " (processes of it that run as another user could not be ended)"
            return False
        return True

    # ---- the result
    def result(self) -> dict[str, Any]:
        """Empty the pipes, close the files; return the fields of the `Ended` that says what has become of it."""
        assert self._exit_code is not None, "a result was asked for while the trial runs"
        for stream in self.streams.values():
            # Bounded, for the other end may be held by a process that is not ours.
            for _ in range(_DRAIN_READS):
                if stream.pump(self.readings) <= 0:
                    break
        notes = [note for note in (self._out.finish(self.readings), self._err.finish(self.readings)) if note]
        if self._file:
            self._file.finish(self.readings.feed_json, _FINAL_BYTES)
        cause = self._cause or self._own_cause(self._exit_code)
        unread: list[str] = []
        if self._metric_files:
            self._metric_files.finish(is_whole=cause is None)
            unread = list(self._metric_files.notes)
        notes += [*unread, *self.readings.close()]
        return {
            "cause": cause,
            "exit_code": self._told_exit_code(self._exit_code),
            "metrics": self.readings.last,
            "message": self._message(notes) if cause else "\n".join(unread),
            "duration_s": self._duration_s,
        }

    def _own_cause(self, exit_code: int) -> str | None:
        """Return what ended it, if we did not."""
        if exit_code < 0:
            return "signal"
        return "exit_code" if exit_code else None

    def _told_exit_code(self, exit_code: int) -> int | None:
        """Return the exit code that is worth telling."""
        return exit_code

    def _message(self, notes: list[str]) -> str:
        tail = self._err.tail.text() or self._out.tail.text()
        lead = self._lead if self._cause else _lead(self._exit_code or 0, self._level_at_end) + self._lead
        if not tail and not lead:
            lead = f"it ended with exit code {self._exit_code} and printed nothing"
        return "\n".join(part for part in (lead, *notes, tail) if part)


def _prepare(directory: bytes, attempt: int) -> None:
    """Make the trial's directory, and put aside what an earlier attempt wrote there.

    Raises:
        CannotStart: something in its place leads elsewhere.
    """
    try:
        make_folder(directory, may_be_link=False)
    except OSError as error:
        if error.errno == errno.EPERM:  # it would lead somewhere else
            raise CannotStart(f"the trial's folder cannot be {os.fsdecode(directory)}: {error.strerror}") from None
        return  # the logs will say so; the trial itself may not need it
    for name in ("stdout.log", "stderr.log", "metrics.jsonl"):
        keep_earlier(directory, name, attempt)


def _lead(exit_code: int, level: int) -> str:
    if exit_code >= 0:
        return ""
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if -exit_code == signal.SIGKILL and level < signal.SIGKILL:
        return (
            "it was ended by SIGKILL, which whet did not send; most often that is the kernel, out of memory "
            "(see dmesg): use fewer --workers, or give each trial less to hold"
        )
    return f"it was ended by {name}"
