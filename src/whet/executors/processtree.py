"""A trial's processes: finding them, measuring them, ending them.

On Linux a process that watches over a trial is a *child subreaper*: whatever the trial starts becomes a child of the
watcher once its own parent is gone, however often it forks and whether or not it calls ``setsid``. So no descendant
escapes, "no child left" means that nothing of the trial runs any more, and signals go to children that the watcher has
not reaped yet, whose process ids cannot have been given to anybody else.

Elsewhere (macOS) there is no such thing. There the trial's process group is ended, and while the trial itself runs also
the tree below it as ``ps`` shows it. What calls ``setsid`` and outlives its parent is not found there, nor is what a
slot process that was killed leaves behind.
"""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH110, PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

_PR_SET_CHILD_SUBREAPER = 36
_HAS_PROC = sys.platform == "linux"


def become_subreaper() -> bool:
    """Make this process the one to which orphaned descendants fall; tell whether that worked."""
    if not _HAS_PROC:
        return False
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def children(pid: int) -> list[int]:
    """Return the children of *pid*, those that nobody has waited for included."""
    with contextlib.suppress(OSError):  # a thread or the process is gone, or the kernel was built without this file
        if _HAS_PROC:
            found: list[int] = []
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    found.extend(map(int, file.read().split()))
            return found
    return [child for child, (parent, _) in table().items() if parent == pid]


def table() -> dict[int, tuple[int, int]]:
    """Return the parent and the resident bytes of every process of the machine."""
    if not _HAS_PROC:
        return _table_by_ps()
    page = os.sysconf("SC_PAGE_SIZE")
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            found[int(entry)] = (int(fields[1]), int(fields[21]) * page)
    return found


def _table_by_ps() -> dict[int, tuple[int, int]]:
    import subprocess

    with subprocess.Popen(["ps", "-axo", "pid=,ppid=,rss="], stdout=subprocess.PIPE) as process:
        rows = [line.split() for line in process.communicate()[0].splitlines()]
    found = {int(pid): (int(parent), int(kib) * 1024) for pid, parent, kib in rows}
    found.pop(process.pid, None)
    return found


def descendants(root: int) -> list[int]:
    """Return every process below *root*, parents before children."""
    children_of: Callable[[int], Iterable[int]] = children
    if not _HAS_PROC:
        parents = {pid: parent for pid, (parent, _) in table().items()}

        def children_of(pid: int) -> Iterable[int]:
            return [child for child, parent in parents.items() if parent == pid]

    found = [root]
    for pid in found:
        found.extend(child for child in children_of(pid) if child not in found)
    return found[1:]


def resident_bytes(root: int) -> int:
    """Return the memory of all processes below *root*; pages that several of them share count for each."""
    if not _HAS_PROC:
        sizes = table()
        return sum(sizes[pid][1] for pid in descendants(root) if pid in sizes)
    page = os.sysconf("SC_PAGE_SIZE")
    n_pages = 0
    for pid in descendants(root):
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                n_pages += int(file.read().split()[1])
        except OSError:
            continue
    return n_pages * page


def proportional_bytes(root: int) -> int | None:
    """Return the memory of all processes below *root*, each shared page once; ``None`` if that cannot be told."""
    n_kib = 0
    for pid in descendants(root):
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                n_kib += next(int(line.split()[1]) for line in file if line.startswith(b"Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            if not os.path.exists(f"/proc/{pid}"):
                continue
            return None
        except (OSError, StopIteration):
            return None
    return n_kib * 1024


class Descendants:
    """What one trial has started, as seen by the slot process, whose only child the trial was at first."""

    def __init__(self, trial: int, *, is_subreaper: bool) -> None:
        self._trial = trial  # also its process group
        self._is_subreaper = is_subreaper
        self._told: set[int] = set()  # processes and groups that have got SIGTERM

    def any_left(self, has_children: bool, spared: set[int]) -> bool:
        """Tell whether anything but the *spared* is left; to be asked once the trial itself has been waited for."""
        if has_children and any(child not in spared for child in children(os.getpid())):
            return True
        return not self._is_subreaper and _send(os.killpg, self._trial, 0)

    def terminate(self) -> None:
        """Send SIGTERM to every process in reach that has not got it yet."""
        for group in self._groups():
            if group not in self._told:
                self._told.add(group)
                _send(os.killpg, group, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to every process in reach."""
        for group in self._groups():
            _send(os.killpg, group, signal.SIGKILL)

    def _groups(self) -> list[int]:
        if self._is_subreaper:
            return _groups_of(children(os.getpid()))
        return [self._trial, *_groups_of(descendants(os.getpid()))]


def kill_children(spared: Iterable[int]) -> bool:
    """Send SIGKILL to the children of this process that are not *spared*; tell whether there were any."""
    doomed = [child for child in children(os.getpid()) if child not in spared]
    for group in _groups_of(doomed):
        _send(os.killpg, group, signal.SIGKILL)
    return bool(doomed)


def _groups_of(pids: list[int]) -> list[int]:
    """Return the process groups of *pids*, all of which come from a trial.

    A trial starts in a session of its own, and no process can join a group outside its session: all members of these
    groups come from the trial as well, and our own group is never among them.
    """
    groups = []
    for pid in pids:
        try:
            groups.append(os.getpgid(pid))
        except ProcessLookupError:
            continue
    return list(dict.fromkeys(group for group in groups if group != os.getpgrp()))


def _send(kill: Callable[[int, int], None], pid: int, signum: int) -> bool:
    """Send a signal if there is anybody to get it; tell whether there is."""
    try:
        kill(pid, signum)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs as another user now
        return True
    return True


def kill_marked(mark: bytes, patience_s: float = 5.0) -> None:
    """Kill every process whose environment holds *mark*: the last resort, when nobody watches over a trial any more.

    Linux only, and a process that overwrote its environment is not found. Each process is opened before it is looked
    at, so that its id cannot pass to another one in between.
    """
    if not _HAS_PROC or not hasattr(os, "pidfd_open"):
        return
    deadline = time.monotonic() + patience_s
    while [entry for entry in os.listdir("/proc") if entry.isdigit() and _kill_if_marked(int(entry), mark)]:
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _kill_if_marked(pid: int, mark: bytes) -> bool:
    """Send SIGKILL to the process if it is marked; tell whether to look again, at it or at what it left behind."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        has_program = bool(_read(pid, "cmdline"))  # looked at before the variables, as both come at once
        environ = _read(pid, "environ")
        if not environ and not has_program:
            return _is_starting(pid)
        if mark not in environ.split(b"\0"):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _is_starting(pid: int) -> bool:
    """Tell whether a process that has neither arguments nor variables is about to get them: it has a program.

    Without this, what was being started at the moment of the look would get away. A thread of the kernel has no
    program, and a process that was given no variables still has its own name as an argument.
    """
    return bool(os.readlink(f"/proc/{pid}/exe"))  # noqa: PTH115 - the runner loads nothing that it can do without


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
