"""The example of BOHB, run as its first lines say, on one seed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "bohb_vs_hyperband.py"
_ROW = re.compile(r"(Hyperband|BOHB) +(\d\.\d{3}) +(\d\.\d{3}) +(\d+)")


def test_the_first_lines_say_how_to_run_it() -> None:
    said = (ast.get_docstring(ast.parse(SCRIPT.read_text(encoding="utf-8"))) or "").splitlines()
    assert "    python bohb_vs_hyperband.py" in said
    assert "    pip install whet scikit-learn" in said


@pytest.mark.slow
def test_both_spend_the_same_and_learn(tmp_path: Path) -> None:
    """What comes first is drawn by chance in both; a network that knows nothing has a loss of log 10."""
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, "1"], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    head, *lines, last = done.stdout.splitlines()
    assert "epochs" in head
    rows = [row.groups() for row in map(_ROW.fullmatch, lines) if row]
    assert [row[0] for row in rows] == ["Hyperband", "BOHB"]
    for _, mean, worst, epochs in rows:
        assert float(mean) == float(worst) < 1.0
        assert int(epochs) == 4 * (9 + 6 + 6 + 15 + 6 + 27)  # what the arithmetic of brackets says, nothing twice
    assert re.fullmatch(r"BOHB is ahead on [01] of 1 seeds", last)
    assert not [*tmp_path.iterdir()]  # it leaves nothing behind
