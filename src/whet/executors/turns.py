"""One executor after the other: a lock that the processes beside the trials hold as long as they live."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from whet.errors import ExecutorError
from whet.private import make_folder, open_file

_LOOK_S = 0.05
_QUIET_S = 0.5  # waiting as long as this is not worth a word


def say_nothing(wait_s: float) -> None:
    """Let a wait of up to *wait_s* seconds begin without a word."""


def take_turn(path: Path, wait_s: float, on_wait: Callable[[float], None] = say_nothing) -> int:
    """Lock the file *path* and return its descriptor; the lock ends when all copies of the descriptor are closed.

    If that takes longer than a moment, *on_wait* is called once with the seconds that it may take.

    Raises:
        ExecutorError: the file cannot be made, or others have held the lock for *wait_s* seconds.
    """
    try:
        make_folder(path.parent)
        fd = open_file(path, os.O_RDWR)
    except OSError as error:
        raise ExecutorError(f"{path} cannot be made ({error.strerror}): is the folder writable?") from error
    began = time.monotonic()
    is_said = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited_s = time.monotonic() - began
            if waited_s > wait_s:
                os.close(fd)
                raise ExecutorError(
                    f"trials of an earlier run have not ended within {wait_s:.0f} s; end them by hand "
                    f"(fuser {path} lists the processes beside them), then resume"
                ) from None
            if waited_s > _QUIET_S and not is_said:
                is_said = True
                on_wait(wait_s)
            time.sleep(_LOOK_S)
        except BaseException:  # Ctrl-C
            os.close(fd)
            raise
        else:
            return fd
