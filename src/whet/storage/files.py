"""The file that a store is to be kept in, before a database opens it: does it exist, may we use it, is its place safe?

The file itself is never opened here: closing it again would take away the locks that SQLite has on it in this process
(https://sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from whet.errors import StoreDamaged, StoreFull, StoreUnsafe, StudyNotFound, UsageError
from whet.private import FILE_MODE, make_folder
from whet.storage.mounts import shared_file_system


def prepare(path: Path, must_exist: bool) -> bool:
    """See that *path* can be a store, make its folder, and tell whether it can only be read.

    Raises:
        UsageError: *path* can never be a store.
        StudyNotFound: *must_exist*, and there is no file.
        StoreError: the file or its place cannot be used; the kind of error says why.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a file in it, such as {path / 'whet.db'}")
    exists = path.exists()
    if exists and not path.is_file():
        raise UsageError(f"{path} is not a regular file, so studies cannot be kept in it")
    if not exists and must_exist:
        raise StudyNotFound(f"there are no studies yet: {path} does not exist (another place is named with --store)")
    try:
        make_folder(path.parent)
    except OSError as error:
        why = f"the folder {path.parent} cannot be made ({error.strerror}); choose another one with --store"
        raise StoreFull(why) from error
    kind = shared_file_system(path.parent)
    if kind is not None:
        raise StoreUnsafe(
            f"{path} is on a network file system ({kind}), where SQLite can lose data; put it on a local disk "
            "with --store, or keep studies in PostgreSQL, which several machines can use: --store postgresql://…"
        )
    if exists and not os.access(path, os.R_OK):
        raise StoreFull(f"{path} cannot be read: no permission")
    if exists and size(path) == 0 and size(beside(path, "-wal")):
        raise StoreDamaged(
            f"{path} is empty, but its log {path.name}-wal is not: it was cut off. Put a backup in its place, or move "
            "both files away to start anew"
        )
    is_writable = os.access(path.parent, os.W_OK) and (not exists or os.access(path, os.W_OK))
    if not is_writable and not exists:
        raise StoreFull(f"{path} cannot be made: no permission to write in {path.parent}; choose one with --store")
    return not is_writable


def make_private(path: Path) -> None:
    """Make the file *path*, empty and for its owner alone, if it does not exist; what a database makes has its umask.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        if sys.platform == "linux":
            os.mknod(path, FILE_MODE)  # not opened: see above
        else:  # only root may make files that way
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))


def size(path: Path) -> int:
    """Return the size of the file *path* in bytes; 0: there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def inode(path: Path) -> tuple[int, int] | None:
    """Return what tells the file *path* from any other; ``None``: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def beside(path: Path, suffix: str) -> Path:
    """Return the file beside *path* whose name has *suffix* added."""
    return path.with_name(path.name + suffix)
