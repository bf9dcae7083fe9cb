"""The example of early stopping on a script: a torch network that knows nothing of whet, swept without a change."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from whet.study import load

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "torch_cnn_digits.py"
_LINE = re.compile(r"epoch (\d+): val_loss=(\S+) val_acc=(\S+)")


def run(*arguments: object) -> list[tuple[int, float, float]]:
    """Run the script and return its epochs, losses and accuracies."""
    argv = [sys.executable, "-W", "error", SCRIPT, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    lines = [_LINE.fullmatch(line) for line in done.stdout.splitlines()]
    return [(int(line[1]), float(line[2]), float(line[3])) for line in lines if line]


def test_it_knows_nothing_of_whet() -> None:
    assert "whet" not in SCRIPT.read_text(encoding="utf-8").partition('"""\n\n')[2]


@pytest.fixture(scope="module")
def rows() -> list[tuple[int, float, float]]:
    """Three epochs at a rate that learns."""
    return run("--lr", 0.003, "--epochs", 3, "--batch-size", 64, "--width", 8)


@pytest.mark.slow
def test_it_learns_and_is_the_same_each_time(rows: list[tuple[int, float, float]]) -> None:
    assert [epoch for epoch, _, _ in rows] == [1, 2, 3]
    assert rows[1][2] > 0.8
    assert run("--lr", 0.003, "--epochs", 1, "--batch-size", 64, "--width", 8) == rows[:1]


@pytest.mark.slow
def test_asha_stops_what_falls_behind(whet: Whet, rows: list[tuple[int, float, float]]) -> None:
    """Two rates that learn next to nothing, tried behind one that does."""
    rates = "[0.003, 1e-7, 1e-8]"
    whet("run", "--objective", "val_loss:min", "--scheduler", "asha", "--strategy", "grid", "--name", "cnn", SCRIPT,
         "--lr", rates, "--epochs", "budget(1, 3)", "--width", 8, "--batch-size", 64, timeout_s=240)  # fmt: skip
    trials = load("cnn", whet.cwd / ".whet" / "whet.db").trials
    assert [trial.state.value for trial in trials] == ["completed", "stopped", "stopped"]
    assert [step for step, *_ in trials[0].curve] == [1, 2, 3]
    assert all(next(iter(trial.curve))[0] == 1 for trial in trials)
    (best,) = call("best", "cnn", "--json", "--store", whet.cwd / ".whet" / "whet.db").objects
    assert best["config"] == {"lr": 0.003}
    assert best["values"]["val_loss"] == rows[-1][1]
