"""Who holds something: a process, named so that another one on the same host can tell whether it still lives."""

from __future__ import annotations

import os
import socket
import uuid

_names: dict[int, str] = {}  # by pid: a forked child gets a name of its own


def this_process() -> str:
    """Return this process's name as an owner: host, pid and a nonce that a later process with that pid lacks."""
    pid = os.getpid()
    if pid not in _names:
        _names[pid] = f"{socket.gethostname()}:{pid}:{uuid.uuid4().hex[:8]}"
    return _names[pid]


def is_gone(owner: str | None) -> bool:
    """Tell whether *owner* certainly lives no more; of another host nothing is certain."""
    if owner is None:
        return True
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if not host or not rest.isdecimal() or host != socket.gethostname():
        return False
    pid = int(rest)
    if pid == os.getpid():
        return owner != this_process()
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # another user's
    return False
