"""GPUs, leased to attempts so that no device is ever given out more than once over."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal

from whet.core.protocols import Decision, Ended, Executor, Happening, Launch
from whet.errors import UsageError

_GPU = re.compile(r"GPU (?P<index>\d+):")
_MIG = re.compile(r"\s+MIG .*\(UUID: (?P<uuid>MIG-[^)]+)\)")
_PATIENCE_S = 20.0


def visible_devices() -> list[str]:
    """Return the devices that a child may be given, as ``CUDA_VISIBLE_DEVICES`` names them.

    Those of ``CUDA_VISIBLE_DEVICES`` where it is set, else all that ``nvidia-smi -L`` lists.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return listed_devices(_nvidia_smi())
    devices = []
    for name in given.split(","):
        if not name.strip() or name.strip() == "-1":
            break  # CUDA, too, ignores what follows the first name that is none
        devices.append(name.strip())
    return devices


def listed_devices(listing: str) -> list[str]:
    """Return the devices in the output of ``nvidia-smi -L``; instead of a GPU that is split (MIG), its parts."""
    devices: list[str] = []
    parts: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if gpu := _GPU.match(line):
            devices.append(gpu["index"])
        elif (part := _MIG.match(line)) and devices:
            parts.setdefault(devices[-1], []).append(part["uuid"])
    return [name for device in devices for name in parts.get(device, [device])]


def _nvidia_smi() -> str:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def gpu_amount(text: str) -> Fraction:
    """Return how many GPUs a trial gets: a whole number, or a part of one.

    Raises:
        UsageError: it is neither.
    """
    try:
        amount = Fraction(text)
    except (ValueError, ZeroDivisionError):
        amount = Fraction(-1)
    if amount <= 0 or (amount > 1 and amount.denominator != 1):
        raise UsageError(f"GPUs per trial: expected a whole number, or a part of one such as 0.5, got {text!r}")
    return amount


class Gpus:
    """Devices, and how much of each is leased to whom.

    Args:
        devices: their names.
        amount: how much each holder gets; a part of one device, or several whole ones.
        n_holders: how many there may be at a time.

    Raises:
        UsageError: there are not enough devices for that many holders.
    """

    def __init__(self, devices: Sequence[str], amount: Fraction, n_holders: int) -> None:
        room = int(1 / amount) * len(devices) if amount <= 1 else len(devices) // int(amount)
        if room < n_holders:
            raise UsageError(_too_few(devices, amount, n_holders, room))
        self._amount = amount
        self._free = {device: Fraction(1) for device in devices}
        self._held: dict[str, tuple[str, ...]] = {}

    def lease(self, holder: str) -> tuple[str, ...]:
        """Return the devices that *holder* has from now on; a part of one is taken from the fullest with room."""
        share, n_devices = min(self._amount, Fraction(1)), max(1, int(self._amount))
        with_room = sorted((d for d, free in self._free.items() if free >= share), key=self._free.__getitem__)
        assert len(with_room) >= n_devices, "the number of holders was checked"
        self._held[holder] = tuple(with_room[:n_devices])
        for device in self._held[holder]:
            self._free[device] -= share
        return self._held[holder]

    def held_by(self, holder: str) -> tuple[str, ...]:
        """Return the devices of *holder*."""
        return self._held.get(holder, ())

    def release(self, holder: str) -> None:
        """Take back what *holder* has, if anything."""
        for device in self._held.pop(holder, ()):
            self._free[device] += min(self._amount, Fraction(1))


def _too_few(devices: Sequence[str], amount: Fraction, n_holders: int, room: int) -> str:
    have = f"{len(devices)} visible ({', '.join(devices)})" if devices else "none visible"
    wanted = f"{n_holders} trials at a time" if n_holders > 1 else "a trial"
    problem = f"{wanted} with {float(amount):g} GPUs each cannot run, GPUs: {have}"
    if room:
        return f"{problem}; use --workers {room}, or fewer GPUs per trial"
    return f"{problem}. whet looks at CUDA_VISIBLE_DEVICES, and else asks `nvidia-smi -L`; ask for fewer, or none"


class GpuExecutor:
    """An executor whose attempts hold GPUs from their start to their end."""

    def __init__(self, inner: Executor, gpus: Gpus) -> None:
        self._inner, self._gpus = inner, gpus
        self.slots, self.is_blocking = inner.slots, inner.is_blocking

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        """Lease devices and start the attempt; see `Executor`."""
        self._gpus.lease(launch.token)
        try:
            self._inner.start(launch, attend)
        except BaseException:
            self._gpus.release(launch.token)
            raise

    def decided(self, token: str, decision: Decision) -> None:
        """Answer an attempt; see `Executor`."""
        self._inner.decided(token, decision)

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """End an attempt; see `Executor`."""
        self._inner.stop(token, how)

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened, devices of ended attempts given back; see `Executor`."""
        happenings = self._inner.poll(timeout_s)
        for happening in happenings:
            if isinstance(happening, Ended):
                self._gpus.release(happening.token)
        return happenings

    def close(self) -> None:
        """Close the executor; see `Executor`."""
        self._inner.close()
