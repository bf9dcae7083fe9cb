"""Signals to a program that tunes a function: as for scripts, nothing is lost and nothing survives (F3, F4)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Whet
from whet.core.trial import State
from whet.storage.doctor import check
from whet.study import load

# A program of one's own. Its trials begin with a child in a session of its own; what they do when asked to end is said
# by the first argument.
PROGRAM = """\
import os, pathlib, signal, sys, time
import whet
here = pathlib.Path(__file__).parent
mode = sys.argv[1]

def train(config, trial):
    if mode != "quick":
        if os.fork() == 0:
            os.setsid()
            while True:
                time.sleep(600)
        (here / f"there{config['i']}").touch()
        while True:
            try:
                time.sleep(600)
            except BaseException as error:
                (here / f"told{config['i']}").write_text(type(error).__name__)
                if mode == "heeds":
                    raise
    return float(config["i"])

study = whet.tune(train, {"i": [0, 1, 2]}, sampler="grid", name="s", workers=2)
print("returned:", study.outcome.reason, len(study.trials), flush=True)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def _start(whet: Whet, here: Path, mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "program.py", mode],
        cwd=here,
        env=whet.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if mode != "quick":
        _wait_for(lambda: len(list(here.glob("there*"))) == 2)
    return process


def _wait_for(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.02)


def _check_resumable(whet: Whet, here: Path) -> None:
    assert not whet.survivors(20)
    counts = load("s").ledger.history.counts()
    assert counts[State.RUNNING] == counts[State.FAILED] == counts[State.COMPLETED] == 0
    assert counts[State.WAITING] == 2
    assert check(here / ".whet/whet.db") == []
    out, err = _start(whet, here, "quick").communicate(timeout=60)
    assert "returned: done 3" in out, err
    assert [(trial.state, trial.values["value"]) for trial in load("s").trials] == [
        (State.COMPLETED, float(i)) for i in range(3)
    ]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_is_told_to_end_dies_of_the_signal_with_everything_in_order(
    signum: signal.Signals, whet: Whet, here: Path
) -> None:
    process = _start(whet, here, "heeds")
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signum  # a shell calls it 143, or 129
    assert "returned" not in out
    assert "Traceback" not in err
    assert len(list(here.glob("told*"))) == 2
    _check_resumable(whet, here)


def test_ctrl_c_returns_what_there_is(whet: Whet, here: Path) -> None:
    process = _start(whet, here, "heeds")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1:]) == (0, ["returned: interrupted 2"]), err
    _check_resumable(whet, here)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_ctrl_c_again_and_again_does_not_wait_and_breaks_nothing(n: int, whet: Whet, here: Path) -> None:
    """By trials that ignore everything, whose grace period would be ten seconds and more."""
    process = _start(whet, here, "ignores")
    os.killpg(process.pid, signal.SIGINT)
    _wait_for(lambda: len(list(here.glob("told*"))) == 2)
    for _ in range(n - 1):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, err = process.communicate(timeout=60)
    # Twice ends the trials at once. Once more may find the program itself after the run has ended: it is Python's then.
    assert process.returncode == 0 or n > 2, err
    _check_resumable(whet, here)
