"""Output without end, or without a line's end: memory and logs stay bounded and nobody waits (F17).

The flood of the table is 10 GB. Nothing that is kept grows with the output, so a part of it shows the same; how long
the rest takes is a matter of seconds per GB.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.executors.running import Running, slot_processes
from tests.faults.memory import peak_mib
from whet.core.trial import State
from whet.tuning import tune

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: peaks of memory are in /proc")

_MUCH = 250_000_000  # bytes: four times the memory that may be taken
_CAP = 1_000_000
_SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]
# Units of a flood; how it is told that all of it was read.
UNITS = {
    "lines": b"step 3 loss: 0.25 of a line as any program prints them\n",
    "no newline": b"no newline at all ",
    "a progress bar": b"\r 35% |####      | loss: 0.25",
    "empty lines": b"\n",
    "both": b"loss: 0.25 \r\n\0\xff\x1b[2J",
}


@pytest.mark.parametrize(
    ("unit", "n_bytes"),
    [
        ("no newline", 60_000_000),
        ("a progress bar", 60_000_000),
        *(pytest.param(unit, _MUCH, marks=_SLOW) for unit in UNITS),
    ],
)
def test_a_flood_takes_no_memory_and_a_bounded_log(tmp_path: Path, unit: str, n_bytes: int) -> None:
    block = UNITS[unit] * (200_000 // len(UNITS[unit]))
    n_blocks = n_bytes // len(block)
    code = (
        "import os\n"
        f"block = {UNITS[unit]!r} * {200_000 // len(UNITS[unit])}\n"
        f"for i in range({n_blocks}):\n"
        "    rest = memoryview(block)\n"
        "    while rest: rest = rest[os.write(1 if i % 2 else 2, rest):]\n"
        "os.write(1, b'\\nacc: 0.75\\nlast words')\n"
    )
    with Running(tmp_path, watch=["loss", "acc"], log_cap_bytes=_CAP) as running:
        end = running.run_python(code)
        assert (end.cause, end.metrics["acc"]) == (None, 0.75)
        guards, slots = slot_processes()
        assert max(peak_mib(process.pid) for process in [*guards, *slots]) < 64
    for name in ("stdout.log", "stderr.log"):
        log = running.read(name)
        assert len(log) < _CAP + 100
        assert log.startswith(block[:1000])
        assert b" bytes left out here]\n" in log
    assert running.read("stdout.log").endswith(b"last words")
    assert running.trial_dir().joinpath("metrics.jsonl").stat().st_size < _CAP + 100


def test_one_line_of_100_mb(tmp_path: Path) -> None:
    """One write, one line: its beginning is read for metrics, the line after it is a line like any other."""
    code = "import sys\nsys.stdout.write('loss: 0.5 ' + 'x' * 100_000_000 + ' loss: 0.25\\nacc: 0.75\\n')\n"
    with Running(tmp_path, watch=["loss", "acc"], log_cap_bytes=_CAP) as running:
        end = running.run_python(code)
        assert (end.cause, dict(end.metrics)) == (None, {"loss": 0.5, "acc": 0.75})
        _, (slot,) = slot_processes()
        assert peak_mib(slot.pid) < 64
    assert running.read("stdout.log").endswith(b"x loss: 0.25\nacc: 0.75\n")


def test_one_line_of_100_mb_in_the_file_of_metrics(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "with open(os.environ['WHET_METRICS'], 'w') as file:\n"
        '    file.write(\'{"loss": 0.5}\\n{"x": "\' + \'x\' * 100_000_000 + \'"}\\n{"loss": 0.25}\\n\')\n'
    )
    with Running(tmp_path, watch=["loss"], log_cap_bytes=_CAP) as running:
        end = running.run_python(code, env={"WHET_METRICS": str(tmp_path / "metrics")})
        assert end.cause is None
        assert end.metrics["loss"] in (0.5, 0.25)  # of a file beyond 64 MB, what comes last may be left out
        _, (slot,) = slot_processes()
        assert peak_mib(slot.pid) < 64


@pytest.mark.parametrize("n_mb", [50, pytest.param(1000, marks=_SLOW)])
def test_a_function_that_floods_does_not_wait_for_anybody(tmp_path: Path, n_mb: int) -> None:
    """Neither the flood nor the reports swell the process that runs the study."""

    def train(config: dict[str, Any], trial: Any) -> float:
        for i in range(n_mb):
            print("x" * 1_000_000, end="")
            trial.report(float(i), i)
        return 0.0

    before = psutil.Process().memory_info().rss
    study = tune(train, {"i": [0, 1]}, sampler="grid", store=str(tmp_path / "w.db"), name="s", progress=False)
    assert [trial.state for trial in study.trials] == [State.COMPLETED] * 2
    assert psutil.Process().memory_info().rss - before < 64 << 20
