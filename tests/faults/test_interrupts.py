"""Ctrl-C once and twice, SIGTERM, SIGHUP: nothing is lost, nothing survives, the terminal is as it was (F3, F4)."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from whet.core.trial import State
from whet.study import load

# Runs until it is told to end, with a child in a session of its own; says what it was told.
STUBBORN = """\
import os, signal, subprocess, sys, time
def told(signum, frame):
    with open(os.path.join(os.environ["WHET_TRIAL_DIR"], "told"), "a") as file:
        file.write(f"{signal.Signals(signum).name} ")
    if MODE == "heeds":
        sys.exit(1)
MODE = sys.argv[1]
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), told)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("loss: 1", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    return tmp_path


def _wait_for(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.02)


def _n_running(here: Path) -> int:
    logs = here.glob(".whet/s/*/stdout.log")
    return sum(b"loss" in log.read_bytes() for log in logs)


def _options(mode: str, grace: object = 5) -> list[object]:
    options = ["--name", "s", "--workers", 2, "--minimize", "loss", "--grace", grace]
    return [*options, "stubborn.py", f"['{mode}']", "--x", "[1, 2, 3]"]


def _told(here: Path) -> set[str]:
    return {file.read_text().split()[0] for file in here.glob(".whet/s/*/told")}


def _check_resumable(here: Path) -> None:
    """Nobody is left running in the log or in `status`, and a resumed study runs all its trials."""
    counts = load("s").ledger.history.counts()
    assert counts[State.RUNNING] == counts[State.FAILED] == counts[State.COMPLETED] == 0
    assert counts[State.WAITING] == 2
    (status,) = call("status", "--json").objects
    assert status["state"] == "stopped"
    (here / "stubborn.py").write_text("print('loss: 2')\n")
    call("resume", "s")
    assert [trial.state for trial in load("s").trials] == [State.COMPLETED] * 3


@pytest.mark.parametrize(
    ("signum", "code", "passed_on"),
    [(signal.SIGINT, 130, "SIGINT"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGTERM")],
)
def test_a_signal_ends_the_run_which_can_be_resumed(
    signum: signal.Signals, code: int, passed_on: str, whet: Whet, here: Path
) -> None:
    process = whet.start("run", *_options("heeds"))
    _wait_for(lambda: _n_running(here) == 2)
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "2 running are being ended" in err
    assert "whet resume s" in out
    assert "Traceback" not in err
    assert not whet.survivors(20)
    assert _told(here) == {passed_on}
    _check_resumable(here)


def test_the_second_ctrl_c_does_not_wait(whet: Whet, here: Path) -> None:
    process = whet.start("run", *_options("ignores", grace="10m"))
    _wait_for(lambda: _n_running(here) == 2)
    process.send_signal(signal.SIGINT)
    _wait_for(lambda: _told(here) == {"SIGINT"})
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ending 2 running now" in err
    assert "whet resume s" in out
    assert not whet.survivors(20)
    _check_resumable(here)


def test_ctrl_c_many_times_is_ctrl_c_twice(whet: Whet, here: Path) -> None:
    process = whet.start("run", *_options("ignores", grace="10m"))
    _wait_for(lambda: _n_running(here) == 2)
    process.send_signal(signal.SIGINT)
    _wait_for(lambda: _told(here) == {"SIGINT"})
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)  # the last of them may find Python on its way out
    assert "Traceback" not in err or "__main__.py" not in err
    assert not whet.survivors(20)
    _check_resumable(here)


def test_a_closing_terminal_that_hangs_up_twice_leaves_the_grace(whet: Whet, here: Path) -> None:
    process = whet.start("run", *_options("heeds", grace="10m"))
    _wait_for(lambda: _n_running(here) == 2)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 129
    assert _told(here) == {"SIGTERM"}


def test_who_does_not_listen_is_killed_after_the_grace(whet: Whet, here: Path) -> None:
    process = whet.start("run", *_options("ignores", grace="300ms"))
    _wait_for(lambda: _n_running(here) == 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not whet.survivors(20)
    _check_resumable(here)


def test_a_trial_that_ends_well_after_it_was_asked_to_end_is_not_completed(whet: Whet, here: Path) -> None:
    (here / "stubborn.py").write_text(STUBBORN.replace("sys.exit(1)", "print('loss: 0', flush=True); sys.exit(0)"))
    process = whet.start("run", *_options("heeds"))
    _wait_for(lambda: _n_running(here) == 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    _check_resumable(here)


@pytest.mark.parametrize("pause_s", [0.03, 0.06, 0.1, 0.2, 0.3])
def test_ctrl_c_while_it_starts(pause_s: float, whet: Whet, here: Path) -> None:
    process = whet.start("run", "--name", "s", "stubborn.py", "heeds")
    time.sleep(pause_s)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    is_of_python = "Traceback" in err and "__main__.py" not in err  # before a line of ours has run
    # Interrupted in the `exec` of a text, as dataclasses are made, Python ends by the signal itself whatever we return;
    # a shell calls both 130.
    assert is_of_python or not err or process.returncode in (130, -signal.SIGINT), err
    assert is_of_python or "Traceback" not in err
    assert not whet.survivors(20)


# ---- on a terminal
def _terminal(whet: Whet, *arguments: object) -> pexpect.spawn:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "whet", *map(str, arguments)],
        cwd=str(whet.cwd),
        env={**whet.env, "TERM": "xterm-256color"},
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=60,
    )
    child.delaybeforesend = None
    child.logfile_read = io.StringIO()
    return child


def _all(child: pexpect.spawn) -> str:
    """Wait for the end and return everything that was shown."""
    child.expect(pexpect.EOF)
    child.close()
    assert isinstance(child.logfile_read, io.StringIO)
    return child.logfile_read.getvalue()


def test_ctrl_c_on_a_terminal(whet: Whet, here: Path) -> None:
    child = _terminal(whet, "run", *_options("heeds"))
    _wait_for(lambda: _n_running(here) == 2)
    child.sendintr()
    child.expect("Ctrl-C: no new trials; 2 running are being ended")
    text = _all(child)
    assert child.exitstatus == 130
    assert "whet resume s" in text
    assert text.rindex("\x1b[?25h") > text.rfind("\x1b[?25l")  # the cursor is shown again
    assert "^C" not in text.splitlines()[-1]
    assert not whet.survivors(20)
    _check_resumable(here)


def test_ctrl_c_twice_on_a_terminal(whet: Whet, here: Path) -> None:
    child = _terminal(whet, "run", *_options("ignores", grace="10m"))
    _wait_for(lambda: _n_running(here) == 2)
    child.sendintr()
    child.expect("Ctrl-C again: at once")
    child.sendintr()
    child.expect("ending 2 running now")
    text = _all(child)
    assert child.exitstatus == 130
    assert text.rindex("\x1b[?25h") > text.rfind("\x1b[?25l")
    assert not whet.survivors(20)
    _check_resumable(here)


def test_a_terminal_that_is_closed(whet: Whet, here: Path) -> None:
    child = _terminal(whet, "run", *_options("heeds"))
    _wait_for(lambda: _n_running(here) == 2)
    process = psutil.Process(child.pid)
    os.close(child.child_fd)  # the terminal is gone: SIGHUP, and every write fails
    _wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    _, status = os.waitpid(child.pid, 0)
    child.closed = True
    assert os.waitstatus_to_exitcode(status) == 129
    assert not whet.survivors(20)
    _check_resumable(here)


def test_output_that_nobody_reads_does_not_end_a_run(whet: Whet, here: Path) -> None:
    (here / "quick.py").write_text("print('loss: 1')\n")
    with subprocess.Popen(
        whet.argv("run", "--name", "s", "--minimize", "loss", "quick.py", "[1, 2, 3]"),
        cwd=here,
        env=whet.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        process.wait(60)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    assert [trial.state for trial in load("s").trials] == [State.COMPLETED] * 3
