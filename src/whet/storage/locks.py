"""Locks between processes, by ``flock``: the kernel gives them back when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from whet.errors import StoreBusy
from whet.private import FILE_MODE

_PROBES = 10  # a holder is believed only after so many attempts: somebody may just be looking who holds it
_PROBE_PAUSE_S = 0.02
_LOOKS = 3
_LOOK_PAUSE_S = 0.005
_SINCE = re.compile(r"(?P<who>.*) since (?P<since>\d+\.\d+)")
_open_fds: set[int] = set()
_of_thread = threading.local()  # held: the paths of the locks that this thread holds


class Holder(NamedTuple):
    """Who runs a study: ``pid 123 on host``, and since when, in seconds since the epoch, if that is known."""

    who: str
    since: float | None

    def __str__(self) -> str:
        """Return both for a sentence."""
        if self.since is None:
            return self.who
        return f"{self.who} since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC"


class WriteLock:
    """A lock that is taken for each write. Those who wait get it in the order in which they came."""

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._fd: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StoreBusy: another process has held it all the time that we wait.
            OSError: the lock file cannot be made.
        """
        held: set[Path] = _of_thread.__dict__.setdefault("held", set())
        if self._path in held:  # a store is closed by the garbage collection while another one of the file writes
            yield
            return
        if self._fd is None:
            self._fd = _open(self._path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()
        held.add(self._path)
        try:
            yield
        finally:
            held.discard(self._path)
            fcntl.flock(self._fd, fcntl.LOCK_UN)  # not just closed: a forked child may have a copy

    def _wait(self) -> None:
        """Wait in line. ``flock`` knows no time limit, so a thread waits for us and we wait for the thread."""
        fd = self._fd
        assert fd is not None
        waiter = _Waiter(fd)
        try:
            waiter.done.wait(self._wait_s)
        except BaseException:  # Ctrl-C
            if waiter.abandon():
                fcntl.flock(fd, fcntl.LOCK_UN)
            else:
                self._fd = None
            raise
        if not waiter.done.is_set() and not waiter.abandon():
            self._fd = None  # the thread closes it once it gets the lock
            raise StoreBusy(
                f"another process has been writing for more than {self._wait_s:g} s and holds {self._path}; "
                "if it is stopped or suspended, let it go on or end it"
            )

    def close(self) -> None:
        """Give back the file."""
        if self._fd is not None:
            _close(self._fd)
            self._fd = None


class _Waiter(threading.Thread):
    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True, name="whet-store-lock")
        self.done = threading.Event()
        self._fd = fd
        self._mutex = threading.Lock()
        self._abandoned = False
        self.start()

    def run(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        with self._mutex:
            if self._abandoned:
                _close(self._fd)
            else:
                self.done.set()

    def abandon(self) -> bool:
        """Stop waiting; tell whether the lock has come at the last moment after all and is to be given back."""
        with self._mutex:
            self._abandoned = not self.done.is_set()
            return not self._abandoned


def hold(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock file *path* for as long as this process lives or until :func:`let_go`; ``None``: it is held.

    The file says who took it last. Another holder in this process counts as well. With *shared* others may hold it,
    too, if they share it.
    """
    fd = _open(path)
    for _ in range(_PROBES):
        with suppress(BlockingIOError):
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{this_holder()} since {time.time():.3f}\n".encode(errors="replace"), 0)
            return fd
        time.sleep(_PROBE_PAUSE_S)
    _close(fd)
    return None


def let_go(fd: int) -> None:
    """Give back what :func:`hold` took."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    _close(fd)


def this_holder() -> str:
    """Return this process as people are told who holds something: ``pid 123 on host``."""
    return f"pid {os.getpid()} on {socket.gethostname()}"


def holder(path: Path) -> Holder | None:
    """Return who holds the lock file *path*; ``None``: nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        for _ in range(_LOOKS):  # it may be held for a moment by somebody who looks as we do
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return None
            time.sleep(_LOOK_PAUSE_S)
        said = os.pread(fd, 500, 0).decode(errors="replace").strip()
    finally:
        os.close(fd)
    match = _SINCE.fullmatch(said)  # another version says less
    return Holder(said or "another process", None) if match is None else Holder(match["who"], float(match["since"]))


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    _open_fds.add(fd)
    return fd


def _close(fd: int) -> None:
    _open_fds.discard(fd)
    os.close(fd)


def _drop_in_child() -> None:
    """Close the copies that a forked child has: as long as one is open, the parent's death frees no lock."""
    for fd in _open_fds:
        with suppress(OSError):
            os.close(fd)
    _open_fds.clear()


os.register_at_fork(after_in_child=_drop_in_child)
