"""Checkpoints of programs: one file or directory in a trial's, written by one attempt and read by the next."""

from __future__ import annotations

from itertools import count
from pathlib import Path

_NAME = "checkpoint"


def checkpoint_in(directory: Path) -> Path:
    """Return where the trial of *directory* leaves its checkpoint."""
    return directory / _NAME


def is_left(checkpoint: Path) -> bool:
    """Tell whether there is a checkpoint: a file, or a directory in which there is something."""
    if checkpoint.is_dir():
        return any(checkpoint.iterdir())
    return checkpoint.exists()


def put_aside(directory: Path) -> None:
    """Rename a checkpoint that is there before a trial's first attempt: an earlier study of the name has left it.

    Raises:
        OSError: it cannot be renamed.
    """
    checkpoint = checkpoint_in(directory)
    if not (checkpoint.exists() or checkpoint.is_symlink()):
        return
    names = (directory / f"{_NAME}.earlier{n}" for n in count(1))
    checkpoint.rename(next(path for path in names if not (path.exists() or path.is_symlink())))
