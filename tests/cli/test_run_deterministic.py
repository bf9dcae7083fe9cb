"""`whet run --deterministic`: the same values whatever the number of workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import call
from whet.study import load

# Sleeps for a while that depends on its argument, so that trials end in another order than they began.
UNEVEN = """\
import sys, time
x = float(sys.argv[2])
time.sleep(0.2 * (x * 7 % 1))
print("loss:", (x - 0.3) ** 2)
"""
_SEARCH = ("--seed", "3", "--trials", "12", "--objective", "loss:min", "--quiet")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with uneven.py in it, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uneven.py").write_text(UNEVEN)
    return tmp_path


def _run(name: str, *options: object, expect: int = 0) -> Any:
    return call("run", *_SEARCH, "--name", name, *options, "uneven.py", "--x", "uniform(0, 1)", expect=expect)


def _exported(name: str) -> list[tuple[Any, Any, Any]]:
    records = json.loads(call("export", name, "--format", "json").out)
    return [(record["number"], record["config"], record["values"]) for record in records]


def test_one_two_four_and_eight_workers_give_the_same() -> None:
    for workers in (1, 2, 4, 8):
        _run(f"with-{workers}", "--deterministic", "--workers", workers)
    expected = _exported("with-1")
    assert len(expected) == 12
    assert [_exported(f"with-{workers}") for workers in (2, 4, 8)] == [expected] * 3


def test_it_is_stored_shown_and_kept_by_resume() -> None:
    _run("kept", "--deterministic", "--trials", 2)
    _run("usual", "--trials", 1)
    assert load("kept").ledger.history.settings["lookahead"] == 8
    assert load("usual").ledger.history.settings["lookahead"] is None
    assert "deterministic  with up to 8 workers" in call("show", "kept").out
    assert "deterministic" not in call("show", "usual").out
    call("resume", "kept", "--trials", "+1", "--workers", 8)
    assert load("kept").ledger.history.settings["lookahead"] == 8


def test_a_config_file_can_ask_for_it(here: Path) -> None:
    (here / "sweep.yaml").write_text(
        "deterministic: true\nname: from-file\ntrials: 1\nscript: uneven.py\nargs:\n  x: uniform(0, 1)\n"
    )
    call("run", "--config", "sweep.yaml")
    assert load("from-file").ledger.history.settings["lookahead"] == 8


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_more_workers_than_it_looks_ahead_are_refused(more: tuple[str, ...], here: Path) -> None:
    said = _run("too-many", "--deterministic", "--workers", 9, *more, expect=2)
    assert "runs at most 8 trials at a time, got 9 workers: use at most 8" in said.err
    assert not (here / ".whet").exists()


def test_resuming_with_more_workers_than_it_looks_ahead_is_refused() -> None:
    _run("kept", "--deterministic", "--trials", 1)
    said = call("resume", "kept", "--trials", "+1", "--workers", 9, expect=2)
    assert "runs at most 8 trials at a time, got 9 workers: use at most 8" in said.err
    assert load("kept").ledger.history.n_asked == 1
    call("resume", "kept", "--trials", "+1", "--workers", 8)


def test_a_dry_run_shows_what_it_always_shows() -> None:
    arguments = ("uneven.py", "--x", "uniform(0, 1)")
    usual = call("run", "--dry-run", "--seed", 3, "--trials", 4, *arguments).out
    assert call("run", "--dry-run", "--deterministic", "--seed", 3, "--trials", 4, *arguments).out == usual
