"""The files that trials made: found and copied without ever leaving the trial's directory."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from whet.cli.owned import is_ours
from whet.errors import UsageError, WhetError
from whet.private import FOLDER_MODE, make_folder, opener

_MOST_NAMED = 5  # files, in a message


@dataclass(frozen=True, slots=True)
class Artifact:
    """An entry of a trial's directory that whet did not make.

    Attributes:
        parts: its path within the directory.
        kind: what it is; only files have content that can be copied.
        n_bytes: size of a file.
    """

    parts: tuple[str, ...]
    kind: Literal["file", "link", "special"]
    n_bytes: int

    @property
    def is_file(self) -> bool:
        """Tell whether it is a regular file."""
        return self.kind == "file"

    @property
    def shown_path(self) -> str:
        """Its path as text."""
        return "/".join(self.parts)


def trial_folders(folder: Path) -> list[int]:
    """Return the numbers of the trials that have a directory in *folder*, in order."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name)


def artifacts_of(folder: Path) -> list[Artifact]:
    """Return what a trial made in its directory, sorted by path; links are listed and not followed."""
    found: list[Artifact] = []
    if not folder.is_dir():
        return found
    for top, directories, files, fd in os.fwalk(folder, follow_symlinks=False):
        above = Path(top).relative_to(folder).parts
        for name in (*files, *directories):
            with suppress(OSError):  # gone since it was listed
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode) and (above or not is_ours(name)):
                    found.append(Artifact((*above, name), _kind(status.st_mode), status.st_size))
    return sorted(found, key=lambda artifact: artifact.parts)


def _kind(mode: int) -> Literal["file", "link", "special"]:
    if stat.S_ISREG(mode):
        return "file"
    return "link" if stat.S_ISLNK(mode) else "special"


def copy_artifacts(wanted: Sequence[tuple[Path, Artifact, Path]]) -> tuple[int, int]:
    """Copy each artifact from its trial's directory into another one; return how many were copied and left out.

    Raises:
        UsageError: a file of that name is there already; nothing has been copied.
        WhetError: a file could not be read or written; the message says which.
    """
    jobs = [(folder, artifact, to.joinpath(*artifact.parts)) for folder, artifact, to in wanted if artifact.is_file]
    taken = [str(target) for _, _, target in jobs if os.path.lexists(target)]
    if taken:
        more = f" and {len(taken) - _MOST_NAMED} more" if len(taken) > _MOST_NAMED else ""
        raise UsageError(
            f"nothing was copied, for nothing is overwritten: {', '.join(taken[:_MOST_NAMED])}{more} "
            "would be; choose an empty directory"
        )
    for folder, artifact, target in jobs:
        try:
            _copy(folder, artifact.parts, target)
        except OSError as error:
            raise WhetError(f"{artifact.shown_path} could not be copied to {target}: {error.strerror}") from error
    return len(jobs), len(wanted) - len(jobs)


def _copy(folder: Path, parts: Sequence[str], target: Path) -> None:
    make_folder(target.parent)
    with os.fdopen(_open_inside(folder, parts), "rb") as source, open(target, "xb", opener=opener) as copy:
        try:
            shutil.copyfileobj(source, copy)
            status = os.fstat(source.fileno())
            os.fchmod(copy.fileno(), stat.S_IMODE(status.st_mode) & FOLDER_MODE)
            copy.flush()
            os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _open_inside(folder: Path, parts: Sequence[str]) -> int:
    """Open a file below *folder*, one directory after the other, none of them a link: the trial may still be running.

    Raises:
        OSError: something on the way is a link now, or gone.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for i, part in enumerate(parts):
            kind = os.O_NONBLOCK if i == len(parts) - 1 else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | kind | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = inner
        _check_regular(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_regular(fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file any more")
