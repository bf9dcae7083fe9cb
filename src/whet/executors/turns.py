"""One executor after the other: a lock that the processes beside the trials hold as long as they live."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from whet.errors import ExecutorError

_LOOK_S = 0.05


def take_turn(path: Path, wait_s: float) -> int:
    """Lock the file *path* and return its descriptor; the lock ends when all copies of the descriptor are closed.

    Raises:
        ExecutorError: the file cannot be made, or others have held the lock for *wait_s* seconds.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ExecutorError(f"{path} cannot be made ({error.strerror}): is the folder writable?") from error
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise ExecutorError(
                    f"trials of an earlier run have not ended within {wait_s:.0f} s; end them by hand "
                    f"(fuser {path} lists the processes beside them), then resume"
                ) from None
            time.sleep(_LOOK_S)
        except BaseException:  # Ctrl-C
            os.close(fd)
            raise
        else:
            return fd
