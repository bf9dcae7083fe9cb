"""One executor after the other: nothing of a killed coordinator's trials runs beside those of the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from whet.core.protocols import Launch
from whet.errors import ExecutorError
from whet.executors.commands import Command, CommandExecutor
from whet.executors.turns import take_turn

# A trial that takes a second to end when it is asked to, and says by a file that it runs.
STUBBORN = """
import os, signal, sys, time
def end(*_):
    time.sleep(1)
    os.unlink("alive")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
open("alive", "w").close()
time.sleep(60)
"""
COORDINATOR = """
import sys, time
from pathlib import Path
from tests.executors.test_turns import begin
executor = begin(Path(sys.argv[1]))
time.sleep(60)
"""


def begin(folder: Path) -> CommandExecutor:
    command = Command((sys.executable, "-c", STUBBORN), folder, dict(os.environ), folder / "0")
    executor = CommandExecutor(lambda launch: command, lock_path=folder / "runner.lock", grace_s=10)
    executor.start(Launch("s", 0, 1, "t", {}, 0))
    return executor


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)


def test_an_executor_waits_for_the_trials_of_a_killed_one(tmp_path):
    root = Path(__file__).parents[2]
    coordinator = subprocess.Popen([sys.executable, "-c", COORDINATOR, str(tmp_path)], cwd=root)
    wait_for(tmp_path / "alive")
    coordinator.send_signal(signal.SIGKILL)
    coordinator.wait()
    assert (tmp_path / "alive").exists()
    command = Command((sys.executable, "-c", "pass"), tmp_path, dict(os.environ), tmp_path / "0")
    said: list[float] = []
    executor = CommandExecutor(lambda launch: command, lock_path=tmp_path / "runner.lock", on_wait=said.append)
    try:
        assert not (tmp_path / "alive").exists()
        assert said == [20.0]
    finally:
        executor.close()


def test_a_closed_executor_makes_room_at_once(tmp_path):
    for _ in range(2):
        begin(tmp_path).close()


def test_who_waits_too_long_is_told_what_to_do(tmp_path):
    held = take_turn(tmp_path / "lock", 1)
    with pytest.raises(ExecutorError, match="have not ended within 0 s; end them by hand"):
        take_turn(tmp_path / "lock", 0)
    os.close(held)
    os.close(take_turn(tmp_path / "lock", 0))


def test_a_lock_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExecutorError, match="cannot be made"):
        take_turn(tmp_path / "file" / "lock", 1)
