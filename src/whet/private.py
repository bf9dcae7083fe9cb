"""Files and folders that nobody but their owner may read, whatever the umask, and that no link leads astray.

Standard library only: the processes beside trials use it.
"""

# Paths may be bytes here, which pathlib does not take.
# ruff: noqa: PTH100, PTH102, PTH112, PTH114, PTH120

from __future__ import annotations

import errno
import os
import stat

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_N_OURS = 3  # the last parts of a path that whet makes: its folder, the study's and the trial's

_Path = str | bytes | os.PathLike[str]


def make_folder(path: _Path, *, may_be_link: bool = True) -> None:
    """Make the folder *path* and what is missing above it; one that is there already is left as it is.

    Args:
        path: of the folder.
        may_be_link: whether it may be there as a link to a folder; somebody else's links are never followed.

    Raises:
        OSError: it cannot be made, or is no folder, or it or one of the two above it is such a link.
    """
    absolute = os.path.abspath(os.fspath(path))
    _make(absolute)
    if not may_be_link and os.path.islink(absolute):
        raise PermissionError(errno.EPERM, "it is a link; remove it", os.fsdecode(absolute))
    foreign = foreign_link(absolute)
    if foreign is not None:
        raise PermissionError(errno.EPERM, f"{foreign} is a link that another user has made", foreign)


def foreign_link(path: _Path) -> str | None:
    """Return the last part of *path*, or one of the two above it, that is a link of somebody else's, if any is."""
    part = os.path.abspath(os.fspath(path))
    for _ in range(_N_OURS):
        try:
            found = os.lstat(part)
        except OSError:  # not there yet
            continue
        finally:
            here, part = part, os.path.dirname(part)
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid()):
            return os.fsdecode(here)
    return None


def _make(path: str | bytes) -> None:
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileNotFoundError:
        above = os.path.dirname(path)
        if above == path:
            raise
        _make(above)
        _make(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def open_file(path: _Path, flags: int) -> int:
    """Return a descriptor of the file *path*, made if need be; a link in its place is not followed.

    Raises:
        OSError: it cannot be opened or made, or is a link, or a pipe that nobody reads.
    """
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)


def opener(path: str, flags: int) -> int:
    """Open a file that is made for its owner alone; for ``open(..., opener=opener)``."""
    return os.open(path, flags, FILE_MODE)
