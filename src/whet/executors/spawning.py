"""Starting a trial's program, and saying in plain words why one cannot be started."""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH112, PTH113, PTH118, PTH123

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence

# What a Python process ignores, or what a shell lets its background jobs ignore, is not passed on to the program.
_DEFAULTED = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGXFSZ", "SIGCHLD")
    if hasattr(signal, name)
]
_N_TRIES = 5  # where processes are scarce for a moment
_FIRST_WAIT_S = 0.1
_ROWS, _COLUMNS = 50, 200


class CannotStart(Exception):
    """The program cannot be started; says why and what to do."""


def launch(argv: list[bytes], env: Mapping[bytes, bytes], cwd: bytes, *, on_terminal: bool) -> tuple[int, int, int]:
    """Start a program in a session of its own; return its process id and our ends of stdout and stderr.

    Standard input is that of this process. This process is in *cwd* for a moment, and in ``/`` afterwards.

    Raises:
        CannotStart: the program cannot be started.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for _ in range(2):
            our_end, their_end = _open_terminal() if on_terminal else open_pipe()
            ours.append(our_end)
            theirs.append(their_end)
        out, err = ours
        return _spawn(argv, env, cwd, *theirs), out, err
    except BaseException as error:
        for fd in ours:
            os.close(fd)
        if isinstance(error, OSError):
            what = "terminal" if on_terminal else "pipe"
            raise CannotStart(f"no {what} could be opened for the program's output: {error.strerror}") from None
        raise
    finally:
        for fd in theirs:
            os.close(fd)


def _spawn(argv: list[bytes], env: Mapping[bytes, bytes], cwd: bytes, out: int, err: int) -> int:
    try:
        os.chdir(cwd)
    except OSError as error:
        raise CannotStart(_cwd_trouble(cwd, error)) from None
    try:
        program = _find(argv[0], env)
        actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
        wait_s = _FIRST_WAIT_S
        for n_left in reversed(range(_N_TRIES)):
            try:
                return os.posix_spawn(
                    program, argv, env, file_actions=actions, setsid=True, setsigdef=_DEFAULTED, setsigmask=()
                )
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ENOMEM) or not n_left:
                    raise CannotStart(_exec_trouble(program, argv, env, error)) from None
            time.sleep(wait_s)
            wait_s *= 2
    finally:
        os.chdir("/")
    raise AssertionError("unreachable")


def open_pipe() -> tuple[int, int]:
    """Return a pipe: the end that we read without blocking, and the end for the program."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return ours, theirs


def _open_terminal() -> tuple[int, int]:
    r"""Return a pseudo-terminal of 200 x 50 characters that changes nothing of what is written (``\n`` stays)."""
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    os.set_blocking(ours, False)
    return ours, theirs


def _find(name: bytes, env: Mapping[bytes, bytes]) -> bytes:
    """Return the path of a program: as given if it holds a slash, else from the PATH that the program will see."""
    if b"/" in name:
        return name
    for directory in env.get(b"PATH", os.fsencode(os.defpath)).split(b":"):
        path = os.path.join(directory or b".", name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise CannotStart(
        f"the program {_shown(name)} was not found in any directory of PATH: check its spelling, or give its path"
    )


def _cwd_trouble(cwd: bytes, error: OSError) -> str:
    return (
        f"the working directory {_shown(cwd)} cannot be entered ({error.strerror}): create it, or run from another one"
    )


def _exec_trouble(program: bytes, argv: Sequence[bytes], env: Mapping[bytes, bytes], error: OSError) -> str:
    shown = _shown(program)
    match error.errno:
        case errno.ENOENT if not os.path.lexists(program):
            return f"the program {shown} does not exist: check its spelling and the working directory"
        case errno.ENOENT | errno.EACCES if (interpreter := _interpreter(program)) is not None:
            return (
                f"the program {shown} cannot be started ({error.strerror}): its first line asks for {interpreter}; "
                "correct that line, or name the interpreter in front of the program"
            )
        case errno.EACCES if os.path.isdir(program):
            return f"{shown} is a directory, not a program: name the file to run"
        case errno.EACCES:
            return (
                f"the program {shown} is not executable: chmod +x it, or name its interpreter in front of it "
                "(python, bash)"
            )
        case errno.ENOEXEC:
            return (
                f"{shown} is neither a program for this machine nor a script with a '#!' line: add that line, "
                "or name its interpreter in front of it (python, bash)"
            )
        case errno.E2BIG:
            n_bytes = sum(len(item) + 1 for item in argv) + sum(len(k) + len(v) + 2 for k, v in env.items())
            return (
                f"the arguments and the environment of {shown} take {n_bytes} bytes, more than the system passes to a "
                "program (one argument: 131072 bytes on Linux): put large values into a file and pass its path"
            )
        case errno.EAGAIN | errno.ENOMEM:
            return (
                f"no process could be started for {shown} ({error.strerror}): the limit of processes or of memory is "
                "reached; use fewer --workers, or raise the limit (ulimit -u, pids.max of the container)"
            )
    return f"the program {shown} cannot be started: {error.strerror}"


def _interpreter(program: bytes) -> str | None:
    """Return what the first line of a script that we may execute asks for, if that line is a ``#!`` line."""
    try:
        if not os.access(program, os.X_OK) or not os.path.isfile(program):
            return None
        with open(program, "rb") as file:
            first = file.readline(256)
    except OSError:
        return None
    return _shown(first[2:].strip(b" \t\n")) if first.startswith(b"#!") else None


def _shown(name: bytes) -> str:
    return repr(name[:300].decode("utf-8", "replace"))
