"""A file that appears all at once, or not at all, and never in the place of another one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from whet.errors import UsageError, WhetError
from whet.private import opener

_MODES = 0o666  # that a file of data may have


def check_free(path: Path, *, force: bool) -> None:
    """See that a file can be made at *path*, or replaced with *force*.

    Raises:
        UsageError: it cannot.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no regular file; write to it with: whet export ... > {path}")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists and is not overwritten; name another file, or add --force")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}")


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Give a file to write that becomes *path* at the end, all at once; if it fails, nothing is left of it.

    It is its owner's alone, but one that it replaces hands its permissions on.

    Raises:
        UsageError: somebody has made *path* meanwhile, and *force* is not set.
        WhetError: the file cannot be written.
    """
    path = path.resolve()
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        try:
            with open(part, "xb", opener=opener) as file:
                yield file
                file.flush()
                if force and path.exists():
                    os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode) & _MODES)
                os.fsync(file.fileno())
            _put(part, path, force=force)
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(
            f"{path} has appeared meanwhile and is not overwritten; add --force, or name another"
        ) from None
    except OSError as error:
        raise WhetError(f"{path} could not be written: {error.strerror}") from error


def _put(part: Path, path: Path, *, force: bool) -> None:
    if force:
        part.replace(path)
        return
    try:
        os.link(part, path)  # unlike renaming, this fails if somebody has made the file meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        part.rename(path)
