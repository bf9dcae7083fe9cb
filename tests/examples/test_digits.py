"""The example of README.md: a real script with real training, swept without a change."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Whet

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits.py"
_LINE = re.compile(r"epoch=(\d+) train_loss=\S+ val_loss=\S+ val_acc=(\S+)")


def _readme_command() -> list[str]:
    """Return the arguments of `whet` in README.md's command that runs the example."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- command: run -->\n```\n(.+)\n```", text)
    assert found
    words = shlex.split(found[1].rpartition("&&")[2])
    assert words[0].endswith("/whet")
    return words[1:]


def test_the_script_learns_and_knows_nothing_of_whet() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", DIGITS, "--lr", "0.01", "--epochs", "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [_LINE.fullmatch(line) for line in done.stdout.splitlines()]
    assert [line and int(line[1]) for line in lines] == [1, 2, 3]
    assert lines[2] and float(lines[2][2]) > 0.85
    assert "whet" not in DIGITS.read_text(encoding="utf-8").partition('"""\n\n')[2]


@pytest.mark.slow
def test_the_command_of_the_readme_finds_a_good_network(whet: Whet) -> None:
    arguments = [str(DIGITS) if word == "examples/digits.py" else word for word in _readme_command()]
    whet(*arguments[:1], "--seed", 0, *arguments[1:], timeout_s=240)

    best = json.loads(whet("best", "digits-1", "--json").stdout)
    trials = json.loads(whet("export", "digits-1", "--format", "json").stdout)
    assert [trial["state"] for trial in trials] == ["completed"] * 8
    assert len({trial["config"]["lr"] for trial in trials}) == 8
    assert {trial["config"]["hidden"] for trial in trials} <= {32, 64, 128}
    assert all(1e-4 <= trial["config"]["lr"] <= 1e-1 for trial in trials)
    assert best["values"]["val_acc"] == max(trial["values"]["val_acc"] for trial in trials) > 0.93

    # The command line of the best trial, pasted, gives that value again: the script is seeded.
    again = subprocess.run(shlex.split(best["command"]), cwd=whet.cwd, capture_output=True, text=True, check=True)
    last = _LINE.fullmatch(again.stdout.splitlines()[-1])
    assert last and float(last[2]) == best["values"]["val_acc"]
