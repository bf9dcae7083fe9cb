"""However a trial crashes, it alone fails, with the cause and the code or signal in words; the run goes on (F14, F15).

The kills for lack of memory are real: by the limit on a process's memory, by whet's own limit, and by SIGKILL from
outside, which is all that a trial sees of the kernel's choice.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import call
from whet.core.trial import Cause, State
from whet.study import load
from whet.tuning import tune

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: memory is counted in /proc")
_MIB = 1 << 20


def _raise(error: BaseException) -> float:
    raise error


def _fault() -> float:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)
    return 0.0


def _beyond_the_limit_of_the_process() -> float:
    resource.setrlimit(resource.RLIMIT_AS, (2048 * _MIB, 2048 * _MIB))
    return float(len(bytearray(4096 * _MIB)))


def _killed() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def _killed_with_children() -> float:
    """Die with a child that goes on, as when the kernel chooses the largest of several processes."""
    if os.fork() == 0:
        os.setsid()
        signal.pause()
    return _killed()


# How a function may crash; the cause; what the message says.
CRASHES: dict[str, tuple[Callable[[], Any], Cause, str]] = {
    "an exception": (lambda: _raise(ValueError("bad luck")), Cause.ERROR, "ValueError: bad luck"),
    "an exception of no text": (lambda: _raise(ValueError(b"\xff\x1b")), Cause.ERROR, "ValueError"),
    "a group": (lambda: _raise(ExceptionGroup("many", [ValueError("one")])), Cause.ERROR, "many"),
    "the end of recursion": (lambda: (lambda f: f(f))(lambda f: f(f)), Cause.ERROR, "RecursionError"),
    "SystemExit": (lambda: sys.exit(0), Cause.ERROR, "sys.exit(0)"),
    "SystemExit with a code": (lambda: sys.exit(3), Cause.ERROR, "sys.exit(3)"),
    "GeneratorExit": (lambda: _raise(GeneratorExit()), Cause.ERROR, "GeneratorExit"),
    "KeyboardInterrupt": (lambda: _raise(KeyboardInterrupt()), Cause.ERROR, "KeyboardInterrupt"),
    "_exit": (lambda: os._exit(0), Cause.EXIT_CODE, "exit code 0 instead of returning"),
    "_exit with a code": (lambda: os._exit(5), Cause.EXIT_CODE, "exit code 5"),
    "a segfault": (_fault, Cause.SIGNAL, "SIGSEGV"),
    "an abort": (os.abort, Cause.SIGNAL, "SIGABRT"),
    "a kill": (_killed, Cause.SIGNAL, "SIGKILL"),
    "a kill of one of several": (_killed_with_children, Cause.SIGNAL, "out of memory"),
    "no memory": (_beyond_the_limit_of_the_process, Cause.ERROR, "MemoryError"),
    "a closed channel": (lambda: os.closerange(3, 100) or 1.0, Cause.EXIT_CODE, "instead of returning"),
}


def _train(config: Mapping[str, Any]) -> float:
    crash = CRASHES.get(config["how"])
    return 0.5 if crash is None else crash[0]()


def _options(n: int) -> dict[str, Any]:
    return {"sampler": "grid", "seed": 1, "max_failures": n + 1, "progress": False}


def test_a_function_that_crashes_costs_its_trial_only() -> None:
    ways = [way for how in CRASHES for way in (how, f"after {how}")]
    study = tune(_train, {"how": ways}, **_options(len(ways)))
    assert [trial.number for trial in study.trials] == list(range(len(ways)))
    for trial in study.trials:
        if (crash := CRASHES.get(trial.config["how"])) is None:
            assert (trial.state, trial.values) == (State.COMPLETED, {"value": 0.5})
        else:
            assert (trial.state, trial.cause) == (State.FAILED, crash[1]), trial
            assert crash[2] in trial.message, trial
            assert trial.message.replace("\n", "").isprintable()


def test_where_functions_run_in_this_process_it_lives_on() -> None:
    ways = ["an exception", "a group", "the end of recursion", "SystemExit", "GeneratorExit", "fine"]
    study = tune(_train, {"how": ways}, executor="inline", **_options(len(ways)))
    assert [trial.state for trial in study.trials] == [State.FAILED] * 5 + [State.COMPLETED]


def test_a_cause_is_tried_again_as_often_as_was_said(tmp_path: Path) -> None:
    """By class: a signal twice, an error once, all else never; and what comes of the last attempt counts."""
    marks = tmp_path / "marks"
    marks.mkdir()

    def train(config: Mapping[str, Any]) -> float:
        attempts = marks / config["how"]
        n = len(attempts.read_text()) if attempts.exists() else 0
        attempts.write_text("x" * (n + 1))
        return 0.5 if config["how"] == "a kill" and n == 2 else _train(config)

    ways = ["a kill", "a segfault", "an exception", "_exit"]
    study = tune(train, {"how": ways}, n_trials=4, retries={"signal": 2, "error": 1}, **_options(20))
    assert [trial.attempt for trial in study.trials] == [3, 3, 2, 1]
    assert [len((marks / how).read_text()) for how in ways] == [3, 3, 2, 1]
    causes = [trial.cause for trial in study.trials]
    assert causes == [None, Cause.SIGNAL, Cause.ERROR, Cause.EXIT_CODE]
    assert study.trials[0].values == {"value": 0.5}


SCRIPT = """\
import ctypes, os, resource, signal, sys
how = sys.argv[1]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if how == "raise": raise ValueError("bad luck")
if how == "exit": sys.exit(3)
if how == "hard": os._exit(4)
if how == "segfault": ctypes.string_at(0)
if how == "kill": os.kill(os.getpid(), signal.SIGKILL)
if how == "interrupt": raise KeyboardInterrupt
if how == "memory":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 31)
print("loss: 1")
"""
SCRIPTED = {
    "raise": (Cause.EXIT_CODE, "ValueError: bad luck"),
    "exit": (Cause.EXIT_CODE, "exit code 3"),
    "hard": (Cause.EXIT_CODE, "exit code 4"),
    "segfault": (Cause.SIGNAL, "SIGSEGV"),
    "kill": (Cause.SIGNAL, "out of memory"),
    "interrupt": (Cause.SIGNAL, "SIGINT"),
    "memory": (Cause.EXIT_CODE, "MemoryError"),
}


def test_a_script_that_crashes_costs_its_trial_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crash.py").write_text(SCRIPT)
    ways = [way for how in SCRIPTED for way in (how, f"after {how}")]
    call("run", "--name", "s", "--max-failures", 99, "--minimize", "loss", "crash.py", str(ways), expect=None)
    trials = load("s").trials
    assert [trial.number for trial in trials] == list(range(len(ways)))
    for trial, how in zip(trials, ways, strict=True):
        if how in SCRIPTED:
            cause, words = SCRIPTED[how]
            assert (trial.state, trial.cause) == (State.FAILED, cause), trial
            assert words in trial.message, trial
        else:
            assert (trial.state, trial.values) == (State.COMPLETED, {"loss": 1.0})


# ---- memory, together
@needs_linux
def test_a_trial_beyond_its_memory_is_ended_and_no_other_is_harmed() -> None:
    """Two at a time: the one that takes too much, by a child even, and one that is working meanwhile."""

    def train(config: Mapping[str, Any]) -> float:
        import time

        if config["i"] % 2:
            if os.fork() == 0:
                os.setsid()
            held = [os.urandom(_MIB) * 10 for _ in range(60)]
            time.sleep(600)
            del held
        time.sleep(0.3)
        return 1.0

    study = tune(
        train, {"i": list(range(6))}, workers=2, trial_memory=300 * _MIB, retries={"memory": 1}, **_options(10)
    )
    for trial in study.trials:
        if trial.config["i"] % 2:
            assert (trial.state, trial.cause, trial.attempt) == (State.FAILED, Cause.MEMORY, 2)
            assert "above the limit of 300 MiB" in trial.message
        else:
            assert (trial.state, trial.attempt) == (State.COMPLETED, 1)


@needs_linux
def test_a_script_beyond_its_memory_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hungry.py").write_text(
        "import os, sys, time\n"
        "if sys.argv[1] == '1':\n"
        "    if os.fork() == 0:\n"  # it is the child that takes it, and the trial that waits
        "        os.setsid()\n"
        "        held = [os.urandom(1 << 20) * 10 for _ in range(60)]\n"
        "    time.sleep(12)\n"
        "print('loss: 1')\n"
    )
    call("run", "--name", "s", "--minimize", "loss", "--memory", "300M", "hungry.py", "range(4)", expect=1)
    states = [(trial.state, trial.cause) for trial in load("s").trials]
    assert states == [(State.COMPLETED, None), (State.FAILED, Cause.MEMORY), *[(State.COMPLETED, None)] * 2]
