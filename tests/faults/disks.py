"""Small disks for the tests of faults: one that fills up, and one whose power can be cut. Both need root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_GOING_DOWN = 0x8004587D  # the ioctl by which file systems are tested for power cuts
_WITHOUT_WRITING_BACK = 2


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of *size*, such as ``1m``, in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    _system("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


class PowerDisk:
    """A file system of 24 MB in a file; what was not written through is lost when its power is cut.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, place: Path) -> None:
        self.folder, self._image = place / "disk", place / "image"
        self.folder.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(24 << 20)
        _system("mkfs.ext4", "-q", "-F", str(self._image))
        self.mount()

    def mount(self) -> None:
        done = subprocess.run(
            ["mount", "-o", "loop", str(self._image), str(self.folder)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"needs root: a loop device ({done.stderr.strip()})")

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, and what has not reached it is lost."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _GOING_DOWN, struct.pack("I", _WITHOUT_WRITING_BACK))
        finally:
            os.close(fd)

    def restart(self) -> None:
        """Give it power again; nobody may use it."""
        _unmount(self.folder)
        self.mount()

    def close(self) -> None:
        _unmount(self.folder)
        self._image.unlink()


@contextmanager
def power_disk(place: Path) -> Iterator[PowerDisk]:
    """Mount a disk whose power can be cut."""
    disk = PowerDisk(place)
    try:
        yield disk
    finally:
        disk.close()


def fill(path: Path) -> None:
    """Write to *path* until there is no room left on its disk."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def _unmount(folder: Path) -> None:
    for _ in range(100):
        done = subprocess.run(["umount", str(folder)], check=False, capture_output=True)
        if done.returncode == 0 or b"not mounted" in done.stderr:
            return
        time.sleep(0.1)  # a process that has just ended may be in it still
    _system("umount", "-l", str(folder))


def _system(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
