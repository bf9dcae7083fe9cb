"""Who holds something: a process, named so that another one on the same host can tell whether it still lives."""

from __future__ import annotations

import os
import socket
import uuid

_NONCE = uuid.uuid4().hex[:8]
_PID = os.getpid()


def this_process() -> str:
    """Return this process's name as an owner: host, pid and a nonce that a later process with that pid lacks."""
    global _NONCE, _PID
    if os.getpid() != _PID:
        _NONCE, _PID = uuid.uuid4().hex[:8], os.getpid()
    return f"{socket.gethostname()}:{_PID}:{_NONCE}"


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
