"""How much memory processes have held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def peak_mib(pid: int | str = "self") -> float:
    """Return the most memory that a process has held, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def peak_of(code: str, *arguments: object, cwd: Path = _ROOT) -> tuple[float, str]:
    """Run *code* in an interpreter of its own; return the most memory that it has held, in MiB, and what it printed."""
    code += "\nfrom tests.faults.memory import peak_mib\nprint()\nprint(peak_mib())\n"
    program = f"import sys\nsys.path.insert(0, {str(_ROOT)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *said, peak = done.stdout.splitlines()
    return float(peak), "\n".join(said)
