"""Who holds something: a process, named so that another one beside it can tell whether it still lives.

Beside it is who shares its process ids: on the same host, since its last start, in the same container.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress
from functools import cache
from hashlib import blake2s
from pathlib import Path

_names: dict[int, str] = {}  # by pid: a forked child gets a name of its own


def this_process() -> str:
    """Return this process's name as an owner: `pid_space`, pid, and a nonce that another one with that pid lacks."""
    pid = os.getpid()
    if pid not in _names:
        _names[pid] = f"{pid_space()}:{pid}:{uuid.uuid4().hex[:8]}"
    return _names[pid]


def pid_space() -> str:
    """Return the name of that within which a process id says who is meant: this host, between two starts of it.

    The host's own name is not enough. Machines of a cloud may all be called ``localhost``, and containers with one host
    name may each count their processes on their own.
    """
    return f"{socket.gethostname()}/{_mark_of_pids()}"


@cache
def boot_id() -> str:
    """Return what tells this run of the host's kernel from any other, as its monotonic clock starts anew with each."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


@cache
def _mark_of_pids() -> str:
    namespace = 0
    with suppress(OSError):  # Linux alone has it
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - no path of files
    return blake2s(f"{boot_id()} {namespace}".encode(), digest_size=4).hexdigest()


def is_beside(owner: str | None) -> bool:
    """Tell whether *owner* is another process beside this one, alive or not, so that one can know when it is gone."""
    return _pid_of(owner) is not None and owner != this_process()


class Watch:
    """Tells of processes beside this one that have died: not at once, as what they ran may take a while to end.

    Args:
        after_s: seconds since this has found out.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._gone_since: dict[str, float] = {}

    def is_left(self, owner: str) -> bool:
        """Tell whether it was found so long ago that *owner* is gone."""
        if not is_beside(owner) or not is_gone(owner):
            return False
        now = time.monotonic()
        return now - self._gone_since.setdefault(owner, now) >= self._after_s


def is_gone(owner: str | None) -> bool:
    """Tell whether *owner* certainly lives no more; of those elsewhere, or before the host's last start, nothing is."""
    if owner is None:
        return True
    pid = _pid_of(owner)
    if pid is None:
        return False
    if pid == os.getpid():
        return owner != this_process()
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # another user's
    return False


def _pid_of(owner: str | None) -> int | None:
    """Return the process id of *owner*, ``None`` where it means nothing here."""
    host, _, rest = (owner or "").rpartition(":")[0].rpartition(":")
    return int(rest) if host and rest.isdecimal() and host == pid_space() else None
