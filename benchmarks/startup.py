"""What starting costs: `whet --help` beside `import click`, `import whet` beside numpy, the first trial of a huge grid.

python benchmarks/startup.py [--rounds 11]
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from measuring import ENVIRONMENT, WHET, cost_of, empty_folder, in_turn, peak_mib, show

SCRIPT = "import sys, time, pathlib; pathlib.Path('first').write_text(repr(time.time())); time.sleep(30)\n"


def cpu_ms(*argv: str) -> float:
    """Return the CPU time of a whole command."""
    return 1e3 * cost_of(argv).cpu_s


def first_trial() -> tuple[float, float]:
    """Return how long after the command the first trial of a grid of 10^12 starts, and the coordinator's memory."""
    with empty_folder() as folder:
        (folder / "train.py").write_text(SCRIPT)
        flags = [item for name in "abcd" for item in (f"--{name}", "range(0, 1000)")]
        argv = [*WHET, "run", "--quiet", "--trials", "5", "train.py", *flags]
        began = time.time()
        process = subprocess.Popen(argv, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        first = folder / "first"
        while not (first.exists() and first.read_text()):
            if process.poll() is not None:
                raise SystemExit(f"whet ended with {process.returncode} before its first trial")
            time.sleep(0.005)
        memory_mib = peak_mib(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait()
        return float(first.read_text()) - began, memory_mib


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    python = sys.executable
    whet = str(Path(python).with_name("whet"))
    help_ms, click_ms, whet_ms, numpy_ms = in_turn(
        options.rounds,
        lambda: cpu_ms(whet, "--help"),
        lambda: cpu_ms(python, "-c", "import click"),
        lambda: cpu_ms(python, "-c", "import numpy, whet"),
        lambda: cpu_ms(python, "-c", "import numpy"),
    )
    firsts = sorted(first_trial() for _ in range(5))
    rows: dict[str, object] = {
        "whet --help, CPU ms": help_ms,
        "python -c 'import click', CPU ms": click_ms,
        "ratio (target <= 2)": help_ms / click_ms,
        "import whet beyond Python + numpy, CPU ms (target <= 60)": whet_ms - numpy_ms,
        "grid of 10^12, first trial after, s (target <= 1.5)": firsts[len(firsts) // 2][0],
        "grid of 10^12, coordinator, MiB (target <= 100)": max(memory for _, memory in firsts),
    }
    show("start-up", rows)


if __name__ == "__main__":
    main()
