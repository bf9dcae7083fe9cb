"""What the benchmarks share: timing whole commands by the operating system's own accounts, and printing rows."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PYTHON = str(Path(sys.executable).resolve())  # the real interpreter: a shim would cost more than what is measured
WHET = [sys.executable, "-m", "whet"]

# One thread everywhere, so that figures compare algorithms and not thread pools.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Cost:
    """Of one whole command, its finished descendants included."""

    wall_s: float
    cpu_s: float


def cost_of(argv: Sequence[str], cwd: str | Path | None = None, stdin: str | None = None) -> Cost:
    """Run *argv* to its end and return what it cost; a failure ends the benchmark."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write((stdin or "").encode())
        given.seek(0)
        process = subprocess.Popen(argv, cwd=cwd, stdin=given, stdout=said, stderr=said, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began
        if process.returncode != 0:
            said.seek(0)
            raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}:\n{said.read().decode()}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime)


def peak_mib(pid: int | str = "self") -> float:
    """Return the most memory that a process has had resident; unlike ru_maxrss, not that of who started it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def in_turn(n: int, *measures: Callable[[], float]) -> list[float]:
    """Return the median of *n* values of each measure, taken A B A B … after one warm-up of each."""
    for measure in measures:
        measure()
    values = [[measure() for measure in measures] for _ in range(n)]
    return [statistics.median(column) for column in zip(*values, strict=True)]


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Give an empty folder on the disk of this checkout, where fsync is real, or where BENCHMARKS_IN says."""
    parent = os.environ.get("BENCHMARKS_IN") or Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory(dir=parent, prefix=".bench-") as folder:
        yield Path(folder)


def show(title: str, rows: dict[str, object]) -> None:
    """Print *rows* under *title*, as text and as one JSON line."""
    print(f"\n{title}  ({platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()})")
    for name, value in rows.items():
        print(f"  {name:<58} {value:.4g}" if isinstance(value, float) else f"  {name:<58} {value}")
    print(json.dumps({"benchmark": title, **rows}), flush=True)
