"""Keeps one PostgreSQL server for the process that started this one, and removes every trace when that process ends.

``python keeper.py FOLDER PORT BIN USER`` with a pipe as standard input, one order a line: ``start``, ``stop fast``,
``stop immediate``, ``stop kill``. Each is answered by a line, ``ok`` or what went wrong. At the end of the input, or
when the process that started this one dies in any way, the server is ended and FOLDER is deleted.

Standard library only: it is up in a moment, and imports nothing of what is tested.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

READY_IN_S = 60.0  # crash recovery on a busy machine included
_PR_SET_PDEATHSIG = 1
_CHILDREN_LEFT = "pre-existing shared memory block"
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}


def environment() -> dict[str, str]:
    """Return what PostgreSQL's programs get: nobody's PGHOST, messages in English, and no mark of a stray process."""
    kept = ("PATH", "TMPDIR")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "LC_ALL": "C", "TZ": "UTC"}


def as_user(user: str) -> dict[str, object]:
    """Return arguments of `subprocess.Popen` that make a child run as *user*; "" is who runs this."""
    if not user:
        return {}
    import pwd

    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Kept:
    """The server's process."""

    def __init__(self, folder: Path, port: int, programs: Path, user: str) -> None:
        self._folder, self._port, self._programs, self._user = folder, port, programs, user
        self._process: subprocess.Popen[bytes] | None = None
        self._log, self._log_from = folder / "log", 0  # and where the log of the present start begins

    def start(self) -> str:
        """Start the server and wait until it takes connections; after a SIGKILL its children may still be about."""
        if self._process is not None:
            return "it runs already"
        deadline = time.monotonic() + READY_IN_S
        self._launch()
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                if _CHILDREN_LEFT not in self._last_lines():
                    self._process = None
                    return "it ended at once: " + self._last_lines()
                time.sleep(0.1)
                self._launch()
            if self._is_ready():
                return "ok"
            time.sleep(0.02)
        return "it did not get ready: " + self._last_lines()

    def _launch(self) -> None:
        self._log_from = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment(),
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                **as_user(self._user),
            )

    def _is_ready(self) -> bool:
        """Look into postmaster.pid: its first line names the process, its last one says how far that is."""
        try:
            lines = (self._folder / "data/postmaster.pid").read_text(encoding="utf-8").split()
        except OSError:
            return False
        return bool(lines) and lines[0] == str(self._process.pid) and lines[-1] == "ready"

    def stop(self, how: str) -> str:
        if self._process is None:
            return "it does not run"
        process, self._process = self._process, None
        process.send_signal(_SIGNALS[how])
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"it did not end after {_SIGNALS[how].name}"
        return "ok"

    def remove(self) -> None:
        if self._process is not None:
            self.stop("immediate")
        for _ in range(50):  # after a SIGKILL the server's own children need a moment to see it
            shutil.rmtree(self._folder, ignore_errors=True)
            if not self._folder.exists():
                return
            time.sleep(0.1)

    def _last_lines(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace")[-2000:]


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _orders() -> select.poll:
    """Return what wakes when an order comes, when the input ends, and when the process that started this one dies.

    The end of the input is not enough: a process that was forked there and lives on would keep it open.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            poll.register(os.pidfd_open(os.getppid()), select.POLLIN)
    return poll


def main(folder: str, port: str, programs: str, user: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kept = Kept(Path(folder), int(port), Path(programs), user)
    poll = _orders()
    pending = b""
    try:
        while not any(fd != 0 for fd, _ in poll.poll()):
            read = os.read(0, 4096)
            if not read:
                return
            *orders, pending = (pending + read).split(b"\n")
            for order in orders:
                what, _, how = order.decode().partition(" ")
                answer = kept.start() if what == "start" else kept.stop(how)
                os.write(1, answer.replace("\n", " | ").encode() + b"\n")
    finally:
        kept.remove()


if __name__ == "__main__":
    main(*sys.argv[1:])
