"""The coordinator's end of the processes beside the trials: starting a runner, and talking to its slot processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import ExecutorError
from whet.executors.logs import Tail
from whet.executors.packing import anonymous_file
from whet.executors.wire import Unpacker, pack

_READY_S = 60.0
_DEATH_S = 0.5
_SEND_S = 10.0
CLOSE_S = 10.0  # how long to wait for processes that end
_RECEIVE_BYTES = 256 * 1024
_COMPLAINT_BYTES = 16 * 1024
_SCARCE = {
    errno.EAGAIN: "the limit of processes is reached: end some, or raise it (ulimit -u, pids.max of the container)",
    errno.ENOMEM: "there is no memory left: use fewer --workers",
    errno.EMFILE: "the limit of open files is reached: raise it (ulimit -n), or use fewer --workers",
    errno.ENFILE: "the system's limit of open files is reached: use fewer --workers",
}
# Appended, not put in front: what lies beside this package must not stand in for the standard library.
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from whet.executors.runner import main; main(sys.argv[2])"


RUNNER_VARIABLE = "WHET_RUNNER"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python for a guard that calls functions.

    Attributes:
        options: of the interpreter.
        program: what it runs; finds the package's parent directory and the settings in ``sys.argv``.
        env: its environment.
        fds: descriptors that it inherits besides ours.
        ready_s: how long it may take to come up.
    """

    options: Sequence[str]
    program: str
    env: Mapping[str, str]
    fds: Sequence[int]
    ready_s: float


class Runner:
    """A guard and its slot processes.

    Attributes:
        ready_s: how long they may take to come up.
        mark: what all processes that come from the guard carry in their environment, if anything.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], n_slots: int, stderr: int, ready_s: float, mark: bytes | None
    ) -> None:
        self._process = process
        self._n_alive = n_slots
        self._stderr = stderr
        self.ready_s, self.mark = ready_s, mark

    def has_ended(self) -> bool:
        """Tell whether the guard is gone; one that was just killed gets a moment for it."""
        try:
            self._process.wait(_DEATH_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the guard, which may be loading for a long time; slot processes that it has forked end by themselves."""
        self._process.kill()

    def lose(self) -> None:
        """Take note that one of its slots is gone; with the last one the guard goes as well."""
        self._n_alive -= 1
        if not self._n_alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_S)
            os.close(self._stderr)
            self._stderr = -1

    def complaints(self) -> str:
        """Return what the processes had to say when they broke, for the message of an error."""
        if self._stderr < 0:
            return ""
        size = os.fstat(self._stderr).st_size
        tail = Tail()
        tail.add(os.pread(self._stderr, _COMPLAINT_BYTES, max(0, size - _COMPLAINT_BYTES)))
        return tail.text()


class Slot:
    """The connection to one slot process.

    Attributes:
        token: of the attempt that runs there, ``None`` if none does.
        mark: what that attempt's processes carry in their environment.
    """

    def __init__(self, connection: socket.socket, runner: Runner) -> None:
        connection.settimeout(_SEND_S)
        self._connection, self._runner = connection, runner
        self._inbox = Unpacker()
        self._pid: int | None = None  # known once it is ready
        self.token: str | None = None
        self.mark = b""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._connection.fileno()

    def wait_until_ready(self) -> None:
        """Wait for a slot process that has just been started.

        Raises:
            ExecutorError: it has not come up.
        """
        deadline = time.monotonic() + self._runner.ready_s
        while self._pid is None:
            left_s = deadline - time.monotonic()
            messages = self.receive() if left_s > 0 and _is_readable(self.fileno(), left_s) else None
            if messages is None:
                why = self._runner.complaints() or f"it ended, or did not answer within {self._runner.ready_s:g} s"
                raise ExecutorError(f"the process beside the trials could not be started: {why}")

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message; tell whether the slot process takes it. One that is there and does not is killed."""
        try:
            self._connection.sendall(pack(dict(message)))
        except TimeoutError:  # it is suspended, or the machine is out of memory; it has half of a message now
            assert self._pid is not None, "a message to a slot process that was not waited for"
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
                self._connection.shutdown(socket.SHUT_RDWR)
            return False
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]] | None:
        """Return the messages that have come, or ``None`` if the slot process is gone."""
        try:
            data = self._connection.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        messages = self._inbox.feed(data)
        if messages and "ready" in messages[0]:
            self._pid = messages.pop(0)["ready"]
        return messages

    def marks(self) -> list[bytes]:
        """Return what processes of the attempt may carry in their environment, if nobody watches over them any more.

        A process that was forked and never started another program has the environment of the guard, so those are
        found by the guard's mark; its other trials go down with it anyway.
        """
        guards = self._runner.mark
        return [self.mark] if guards is None or not self._runner.has_ended() else [self.mark, guards]

    def hang_up(self) -> None:
        """Say that nothing more will be sent: the slot process ends. What has not come up yet is ended."""
        if self._pid is None:
            self._runner.kill()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> str:
        """Give the connection back; return what the process had to say when it broke."""
        complaints = self._runner.complaints()
        self._connection.close()
        self._runner.lose()
        return complaints


def _is_readable(fd: int, timeout_s: float) -> bool:
    poller = select.poll()  # select() takes no descriptors beyond 1023
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def start_runner(
    n_slots: int, settings: Mapping[str, Any], lock: int | None = None, interpreter: Interpreter | None = None
) -> list[Slot]:
    """Start a guard with *n_slots* slot processes; return the connections to them, which may not be ready yet.

    Each of them keeps a copy of the descriptor *lock* until it ends. Without *interpreter*, the guard is an isolated
    one that runs programs.

    Raises:
        ExecutorError: processes or files are used up, or there is no interpreter to start.
    """
    ours: list[socket.socket] = []
    theirs: list[socket.socket] = []
    stderr = -1
    mark = None if interpreter is None else uuid.uuid4().hex
    try:
        for _ in range(n_slots):
            our_end, their_end = socket.socketpair()
            ours.append(our_end)
            theirs.append(their_end)
        stderr = anonymous_file("whet-stderr")
        fds = [end.fileno() for end in theirs]
        text = json.dumps({**settings, "fds": fds, "lock": lock, "coordinator": os.getpid()})
        process = _popen(text, [*fds, *([] if lock is None else [lock])], stderr, interpreter, mark)
    except OSError as error:
        for end in ours:
            end.close()
        if stderr >= 0:
            os.close(stderr)
        remedy = _SCARCE.get(error.errno or 0, "is the Python that runs whet still there?")
        raise ExecutorError(f"the process beside the trials cannot be started ({error.strerror}): {remedy}") from error
    finally:
        for end in theirs:
            end.close()
    ready_s = _READY_S if interpreter is None else interpreter.ready_s
    marked = None if mark is None else f"{RUNNER_VARIABLE}={mark}".encode()
    runner = Runner(process, n_slots, stderr, ready_s, marked)
    return [Slot(end, runner) for end in ours]


def _popen(
    text: str, fds: list[int], stderr: int, interpreter: Interpreter | None, mark: str | None
) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    if interpreter is None:
        argv, cwd, env = [sys.executable, "-I", "-S", "-c", _PROGRAM, root, text], "/", None
    else:
        argv, cwd = [sys.executable, *interpreter.options, "-c", interpreter.program, root, text], None
        env = {**interpreter.env, RUNNER_VARIABLE: mark or ""}
        fds = [*fds, *interpreter.fds]
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if interpreter is None else stderr,
        stderr=stderr,
        pass_fds=fds,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
