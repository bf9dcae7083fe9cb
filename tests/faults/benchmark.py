"""Runs a benchmark of faults in short: it exits with 1 when something happened that must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import Whet

_BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def figures(whet: Whet, name: str, *arguments: object, timeout_s: float = 240.0) -> dict[str, Any]:
    """Run ``benchmarks/NAME.py`` and return what it printed, once it has ended well."""
    argv = [sys.executable, str(_BENCHMARKS / f"{name}.py"), *map(str, arguments)]
    env = {**whet.env, "BENCHMARKS_IN": str(whet.cwd)}
    if "PYTHONPATH" in os.environ:  # other sources than those that are installed
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run(argv, cwd=whet.cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    rows: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            rows |= json.loads(line)
    bad = {what: n for what, n in rows.items() if what.endswith("(target 0)") and n}
    assert not bad
    return rows
