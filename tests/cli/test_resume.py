"""`whet resume`: exactly what is missing, with the values that it would have had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import begin, call, finish
from tests.conftest import Whet
from whet.core.events import Draft, Kind
from whet.core.trial import State, Trial
from whet.study import Study, load

# Ends well unless there is a file called "hold"; then it waits to be ended.
SCRIPT = """\
import os, sys, time
while os.path.exists("hold"):
    time.sleep(0.02)
print(f"loss: {float(sys.argv[2])}")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "fit.py").write_text(SCRIPT)
    return tmp_path


def _configs(trials: list[Trial]) -> dict[int, Any]:
    return {trial.number: dict(trial.config or {}) for trial in trials}


def _study(name: str = "s") -> Study:
    return load(name)


def _run(*options: object, name: str = "s", values: str = "[1, 2, 3, 4, 5, 6]", expect: int | None = 0) -> None:
    call("run", "--name", name, "--minimize", "loss", *options, "fit.py", "--x", values, expect=expect)


def _wait_for(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.05)


def _is_running(here: Path, name: str = "s", number: int = 0) -> bool:
    return (here / ".whet" / name / str(number) / "stdout.log").exists()


@pytest.fixture
def interrupted(whet: Whet, here: Path) -> Path:
    """A study of six trials, the first four done, ended by SIGTERM while the next two ran."""
    (here / "fit.py").write_text(SCRIPT.replace('os.path.exists("hold")', "int(sys.argv[2]) > 4"))
    arguments = ["--name", "s", "--workers", 2, "--minimize", "loss", "--grace", 1, "fit.py", "--x", "(1, 7)"]
    process = whet.start("run", *arguments)
    _wait_for(lambda: _is_running(here, number=5))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    (here / "fit.py").write_text(SCRIPT)
    return here


def test_what_was_interrupted_runs_again_and_nothing_else(interrupted: Path) -> None:
    before = _study().trials
    assert [trial.state for trial in before] == [State.COMPLETED] * 4 + [State.WAITING] * 2
    said = call("resume", "s")
    after = _study().trials
    assert _configs(after) == _configs(before)
    assert [trial.state for trial in after] == [State.COMPLETED] * 6
    assert [trial.attempt for trial in after] == [1, 1, 1, 1, 2, 2]
    assert said.out.count("completed  loss=") == 2
    assert "resuming s: " in said.err
    assert "since s began: fit.py has changed" in said.err
    assert "best: s/0" in said.out


def test_a_finished_study_says_so(here: Path) -> None:
    _run("--trials", 3)
    said = call("resume", "s")
    assert "s is finished, nothing is left to run: 3 trials: 3 completed" in said.out
    assert "whet resume --trials +10 s" in said.out
    _run(name="t")
    said = call("resume", "t")
    assert "finished" in said.out
    assert "+10" not in said.out
    said = call("resume", "t", "--trials", "+5")
    assert "there are only 6 combinations" in said.err
    assert len(_study("t").trials) == 6


def test_more_trials(here: Path) -> None:
    options = ["--strategy", "random", "--seed", 3]
    _run(*options, "--trials", 3, values="uniform(0, 1)")
    call("resume", "s", "--trials", "+2")
    assert len(_study().trials) == 5
    call("resume", "s", "--trials", "7", "--workers", 2)
    _run(*options, "--trials", 7, name="whole", values="uniform(0, 1)")
    assert _configs(_study().trials) == _configs(_study("whole").trials)
    events = _study().ledger.store.events(1)
    amended = [event.payload["settings"]["limits"]["n_trials"] for event in events if event.kind is Kind.AMENDED]
    assert amended == [5, 7]
    settings = _study().ledger.history.settings
    assert settings["run"]["workers"] == 2
    assert settings["run"]["cwd"] == str(here)
    said = call("resume", "s", "--trials", "4", expect=2)
    assert "7 have been asked already" in said.err


def test_many_more_trials_need_a_word(here: Path) -> None:
    _run("--strategy", "random", "--trials", 1, values="uniform(0, 1)")
    assert "--yes" in call("resume", "s", "--trials", "+100000", expect=2).err
    assert len(_study().trials) == 1


def test_sized_draws_are_the_same_when_resumed(here: Path) -> None:
    _run("--strategy", "grid", "--trials", 2, values="uniform(0, 1, 5)")
    call("resume", "s", "--trials", "+3")
    values = [trial.config["x"] for trial in _study().trials]
    texts = [(here / f".whet/s/{number}/stdout.log").read_text() for number in range(5)]
    assert texts == [f"loss: {value!r}\n" for value in values]


def test_other_limits(here: Path) -> None:
    _run("--trials", 2, values="[6, 5, 4, 3, 2, 1]")
    said = call("resume", "s", "--trials", "6", "--target", "3.5", "--max-failures", 5)
    assert "the target is reached" in said.out
    assert "4 trials: 4 completed" in said.out
    said = call("resume", "s")
    assert "its target 3.5 is reached" in said.out
    assert "whet resume --target VALUE s" in said.out
    limits = _study().ledger.history.settings["limits"]
    assert limits == {"n_trials": 6, "timeout_s": None, "target": 3.5, "max_failures": 5}
    call("run", "--name", "t", "fit.py", "--x", "[1]")
    assert "needs an objective" in call("resume", "t", "--target", "1", expect=2).err


@pytest.mark.parametrize("option", ["{checkpoint_in}", "--from={checkpoint_in}"])
def test_a_trial_goes_on_from_its_own_checkpoint(here: Path, option: str) -> None:
    # Each first attempt saves, but for trial 1; each reads what it is given, and fails once.
    (here / "fit.py").write_text(
        "import os, sys\n"
        "given = sys.argv[3].removeprefix('--from=')\n"
        "assert given == os.environ['WHET_CHECKPOINT_IN']\n"
        "print('loss: ' + (open(given).read() if given else '-1'))\n"
        "if os.environ['WHET_TRIAL'] != '1':\n"
        "    open(os.environ['WHET_CHECKPOINT_OUT'], 'w').write(sys.argv[2])\n"
        "sys.exit(os.environ['WHET_ATTEMPT'] == '1')\n"
    )
    call("run", "--name", "s", "--minimize", "loss", "--retries", 1, "fit.py", "--x", "[5, 6, 7]", option)
    assert [(trial.attempt, trial.values["loss"]) for trial in _study().trials] == [(2, 5.0), (2, -1.0), (2, 7.0)]


def test_a_new_timeout_is_of_the_new_run(here: Path) -> None:
    (here / "hold").touch()
    _run("--timeout", "1s", "--grace", 1, expect=3)
    (here / "hold").unlink()
    call("resume", "s", "--timeout", "1h")
    assert {trial.state for trial in _study().trials} == {State.COMPLETED}


def test_failed_trials_stay_failed(here: Path) -> None:
    (here / "fit.py").write_text("import sys\nprint('loss: 1')\nsys.exit(int(sys.argv[2]) == 2)\n")
    _run("--trials", 3, expect=1)
    call("resume", "s", "--trials", "+1", expect=1)
    assert [(trial.state, trial.attempt) for trial in _study().trials] == [
        (State.COMPLETED, 1),
        (State.FAILED, 1),
        (State.COMPLETED, 1),
        (State.COMPLETED, 1),
    ]


def test_a_script_that_was_mended_gets_its_chance(here: Path) -> None:
    (here / "fit.py").write_text("raise ImportError('no such thing')\n")
    _run(expect=3)
    assert _study().ledger.history.counts()[State.FAILED] == 3
    (here / "fit.py").write_text(SCRIPT)
    call("resume", "s", expect=1)
    assert _study().ledger.history.counts()[State.COMPLETED] == 3


def test_it_runs_where_it_was_started(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "fit.py").write_text("import os\nprint('loss: 1')\nopen('made-' + os.environ['WHET_TRIAL'], 'w').close()\n")
    _run("--trials", 1)
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    said = call("resume", "s", "--store", "../.whet/whet.db", "--trials", "+1")
    assert (here / "made-1").exists()
    assert (here / ".whet/s/1/stdout.log").exists()
    assert list(elsewhere.iterdir()) == []
    assert "best: s/0" in said.out


def test_what_is_gone_is_named(here: Path) -> None:
    _run("--trials", 1)
    (here / "fit.py").rename(here / "fit2.py")
    assert "fit.py does not exist" in call("resume", "s", "--trials", "+1", expect=2).err
    (here / "fit2.py").rename(here / "fit.py")
    away = here.with_name(here.name + "-away")
    here.rename(away)
    try:
        os.chdir(away)
        said = call("resume", "s", "--trials", "+1", expect=2)
        assert f"It runs, in {away} by" in said.err
        assert "resume --trust s" in said.err
    finally:
        away.rename(here)
        os.chdir(here)


def test_studies_that_are_none_of_ours(here: Path) -> None:
    _run("--trials", 1)
    assert "did you mean" in call("resume", "ss", expect=2).err or "s" in call("resume", "ss", expect=2).err
    assert call("resume", "s/0", expect=2).err
    said = _of_a_function(here)
    assert "no program to run" in said
    assert "start that program again" in said


def _of_a_function(here: Path) -> str:
    finish(begin("function"), [1.0])
    return call("resume", "function", expect=2).err


# ---- while another process runs it
@pytest.fixture
def live(whet: Whet, here: Path) -> subprocess.Popen[str]:
    """A study of two of six trials, held up in its first one."""
    (here / "hold").touch()
    arguments = ["--name", "s", "--trials", 2, "--minimize", "loss", "fit.py", "--x", "[1, 2, 3, 4, 5, 6]"]
    process = whet.start("run", *arguments)
    _wait_for(lambda: _is_running(here))
    return process


def test_new_limits_are_passed_on_to_who_runs_it(live: subprocess.Popen[str], here: Path) -> None:
    said = call("resume", "s", "--trials", "+2")
    assert "told" in said.out
    assert "4 combinations in all" in said.out
    (here / "hold").unlink()
    out, _ = live.communicate(timeout=60)
    assert live.returncode == 0
    assert "4 trials: 4 completed" in out
    assert _study().ledger.history.settings["limits"]["n_trials"] == 4


@pytest.mark.parametrize(("options", "n_trials"), [((), 4), (("--trials", "+1"), 5)])
def test_limits_that_came_too_late_for_a_run_hold_when_it_is_resumed(
    options: tuple[str, ...], n_trials: int, here: Path
) -> None:
    _run("--trials", 2)
    ledger = _study().ledger
    limits = {**ledger.history.settings["limits"], "n_trials": 4}
    ledger.commit([Draft(Kind.COMMAND, None, {"command": "amend", "settings": {"limits": limits}})])
    call("resume", "s", *options)
    history = _study().ledger.history
    assert len(_study().trials) == history.settings["limits"]["n_trials"] == n_trials
    assert not history.pending_commands
    assert "finished" in call("resume", "s").out


def test_nothing_is_passed_on_when_the_whole_grid_runs_already(whet: Whet, here: Path) -> None:
    (here / "hold").touch()
    process = whet.start("run", "--name", "s", "--minimize", "loss", "fit.py", "--x", "[1, 2, 3]")
    _wait_for(lambda: _is_running(here))
    said = call("resume", "s", "--trials", "+2")
    assert "nothing changes for" in said.out
    assert "3 combinations in all" in said.out
    assert "there are only 3 combinations" in said.err
    (here / "hold").unlink()
    process.communicate(timeout=60)
    assert not [event for event in _study().ledger.store.events(1) if event.kind is Kind.COMMAND]


def test_without_anything_to_pass_on_it_is_busy(live: subprocess.Popen[str], here: Path) -> None:
    said = call("resume", "s", expect=1)
    assert str(live.pid) in said.err
    assert "whet stop s" in said.err
    assert "--workers cannot change" in call("resume", "s", "--workers", 3, expect=2).err
    (here / "hold").unlink()
    live.communicate(timeout=60)
    assert len(_study().trials) == 2


def test_json(here: Path) -> None:
    _run("--trials", 2)
    said = call("resume", "s", "--trials", "+1", "--json")
    trial, last = said.objects
    assert (trial["number"], last["event"], last["best"]["number"]) == (2, "study_finished", 0)
    assert json.loads(said.out.splitlines()[-1])["counts"]["completed"] == 3
    said = call("resume", "s", "--trials", "+1", "--quiet")
    assert said.out.startswith("s: 4 trials")
    assert said.err == ""
