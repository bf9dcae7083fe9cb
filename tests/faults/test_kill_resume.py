"""kill -9 of whoever runs a study, at any moment: nothing is lost, doubled or changed, nothing survives (F2, I7)."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from whet.core.events import Kind
from whet.core.trial import State
from whet.study import load

N_TRIALS = 14
# Takes a moment, now and then with a grandchild in a session of its own that would outlive it.
SCRIPT = """\
import subprocess, sys, time
x = float(sys.argv[2])
if int(x * 1000) % 3 == 0:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
for step in range(3):
    print(f"step={step} loss={x + 2 - step if step < 2 else x}", flush=True)
    time.sleep(0.03)
"""
ARGUMENTS = {
    "grid": ["--strategy", "grid", "--trials", N_TRIALS, "fit.py", "--x", "uniform(0, 1, 40)"],
    "random": ["--strategy", "random", "--trials", N_TRIALS, "fit.py", "--x", "uniform(0, 1)"],
    "quasi_random": ["--strategy", "quasi_random", "--trials", N_TRIALS, "fit.py", "--x", "loguniform(0.001, 1)"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.py").write_text(SCRIPT)
    return tmp_path


def _exists(here: Path) -> bool:
    if not (here / ".whet/whet.db").exists():
        return False
    said = call("history", "--json", expect=None)
    return any(study["study"] == "s" for study in said.objects)


def _killed(whet: Whet, arguments: list[object], after_s: float) -> tuple[bool, list[dict[str, object]]]:
    """Start a run and kill it after a while, if it lasts so long; return that, and the trials it said were finished."""
    process = whet.start(*arguments, "--json") if arguments[0] == "resume" else whet.start(*arguments)
    was_killed = False
    try:
        out, _ = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        was_killed = True
        process.kill()
        out, _ = process.communicate(timeout=30)
    records = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    return was_killed, [record for record in records if record["event"] == "trial_finished"]


def _check_at_rest(whet: Whet) -> None:
    """Check what must hold right after a kill, before anybody has resumed."""
    assert not whet.survivors(20)
    (status,) = call("status", "--json").objects
    assert status["state"] in ("stopped", "finished")
    assert "running" not in status["counts"]
    with sqlite3.connect(".whet/whet.db") as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def _check_whole(planned: list[float], told: dict[int, dict[str, object]]) -> None:
    """Check a study that was killed and has been resumed to its end."""
    study = load("s")
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(N_TRIALS))
    assert [trial.config["x"] for trial in trials] == planned
    assert {trial.state for trial in trials} == {State.COMPLETED}
    assert [trial.values["loss"] for trial in trials] == planned
    events = study.ledger.store.events(study.ledger.study)
    assert set(Counter(event.trial for event in events if event.kind is Kind.COMPLETED).values()) == {1}
    assert not any(event.kind is Kind.FAILED for event in events)
    by_number = {trial.number: trial for trial in trials}
    for number, record in told.items():
        assert by_number[number].attempt == record["attempts"], "a trial that had been told as finished ran again"
        assert by_number[number].values == record["values"]


def _kill_and_resume(whet: Whet, here: Path, strategy: str, n_kills: int, rng: random.Random) -> tuple[int, int]:
    """Kill a study up to *n_kills* times, check it after each, run it to its end.

    Returns:
        How often it was killed, and how many trials had ended before that.
    """
    n_killed = 0
    options = ["run", "--seed", 5, "--minimize", "loss"]
    planned = [record["config"]["x"] for record in call(*options, "--dry-run", "--json", *ARGUMENTS[strategy]).objects]
    told: dict[int, dict[str, object]] = {}
    for _ in range(n_kills):
        if _exists(here):
            arguments = ["resume", "s"]
        else:
            arguments = [*options, "--json", "--name", "s", "--workers", 2, *ARGUMENTS[strategy]]
        was_killed, finished = _killed(whet, arguments, rng.uniform(0.3, 1.7))
        n_killed += was_killed
        assert not told.keys() & {record["number"] for record in finished}, "a finished trial ran again"
        told |= {record["number"]: record for record in finished}
        if _exists(here):
            _check_at_rest(whet)
    if not _exists(here):
        call(*options, "--name", "s", *ARGUMENTS[strategy])
    call("resume", "s")
    _check_whole(planned, told)
    assert not whet.survivors(20)
    return n_killed, len(told)


@pytest.mark.parametrize("strategy", ARGUMENTS)
def test_killed_twice_and_resumed(strategy: str, whet: Whet, here: Path) -> None:
    _kill_and_resume(whet, here, strategy, 2, random.Random(strategy))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_fifty_moments(whet: Whet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_killed = n_ended = seed = 0
    while n_killed < 50:
        assert seed < 40, "the runs end before they can be killed"
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "fit.py").write_text(SCRIPT)
        monkeypatch.chdir(folder)
        whet.cwd = folder
        rng = random.Random(seed)
        more_killed, more_ended = _kill_and_resume(whet, folder, rng.choice(list(ARGUMENTS)), 5, rng)
        n_killed, n_ended, seed = n_killed + more_killed, n_ended + more_ended, seed + 1
    assert n_ended > 0, "each was killed before anything had ended"


def test_what_ran_when_it_was_killed_is_waiting_and_runs_again(whet: Whet, here: Path) -> None:
    (here / "fit.py").write_text("import sys, time\nprint('loss: 1', flush=True)\ntime.sleep(600)\n")
    process = whet.start("run", "--name", "s", "--workers", 2, "--minimize", "loss", "fit.py", "--x", "[1, 2, 3]")
    deadline = time.monotonic() + 30
    while sum(log.stat().st_size > 0 for log in here.glob(".whet/s/*/stdout.log")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    _check_at_rest(whet)
    assert "2 waiting" in call("show", "s").out
    (here / "fit.py").write_text("print('loss: 2')\n")
    said = call("resume", "s")
    assert "3 completed" in said.out
    assert [trial.attempt for trial in load("s").trials] == [2, 2, 1]
    assert (here / ".whet/s/0/stdout.attempt1.log").read_text() == "loss: 1\n"


def test_two_at_once_cannot_run_a_study(whet: Whet, here: Path) -> None:
    (here / "fit.py").write_text("import sys, time\nprint('loss: 1', flush=True)\ntime.sleep(600)\n")
    process = whet.start("run", "--name", "s", "fit.py", "--x", "[1, 2]")
    deadline = time.monotonic() + 30
    while not list(here.glob(".whet/s/*/stdout.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    done = whet("resume", "s", expect=1)
    assert str(process.pid) in done.stderr
    process.kill()
    process.communicate()
    assert not whet.survivors(20)


# Has a checkpoint of every epoch, and is slow to end.
GOES_ON = """\
import argparse, pathlib, time
parser = argparse.ArgumentParser()
for name in ("--x", "--epochs", "--from", "--to", "--mark"):
    parser.add_argument(name)
given = vars(parser.parse_args())
done = int(pathlib.Path(given["from"]).read_text()) if given["from"] else 0
for epoch in range(done + 1, int(given["epochs"]) + 1):
    print(f"epoch {epoch}: loss {float(given['x']) + 1 / epoch}", flush=True)
    pathlib.Path(given["to"]).write_text(str(epoch))
mark = pathlib.Path(given["mark"] + given["epochs"])
if not mark.exists():
    mark.touch()
    time.sleep(600)
"""


def _has_heard_all() -> bool:
    """Tell whether the reports of what runs are in the store."""
    (trial,) = load("killed").ledger.history.running
    return trial.curve.last_step() == trial.budget


@pytest.mark.slow
def test_what_has_reported_all_when_it_is_killed_has_nothing_left_to_do(whet: Whet, here: Path) -> None:
    (here / "on.py").write_text(GOES_ON)
    options = ["--scheduler", "asha(type=promotion)", "--minimize", "loss", "--seed", 1, "--strategy", "grid"]
    script = ["on.py", "--x", "[0.3, 0.1, 0.2]", "--epochs", "budget(1, 9)", "--mark", "{trial_dir}/mark"]
    checkpoint = ["--from", "{checkpoint_in}", "--to", "{checkpoint_out}"]
    arguments: list[object] = ["run", *options, "--name", "killed", *script, *checkpoint]
    marks: set[Path] = set()
    while True:
        process = whet.start(*arguments)
        while process.poll() is None and not (set(here.rglob("mark[0-9]")) - marks and _has_heard_all()):
            time.sleep(0.05)
        if process.poll() is not None:
            break
        marks = set(here.rglob("mark[0-9]"))
        process.kill()
        process.communicate(timeout=30)
        arguments = ["resume", "killed"]
    assert process.returncode == 0, process.communicate()
    assert len(marks) == 5, "three began, one went on to the third and to the ninth epoch"

    (here / "on.py").write_text(GOES_ON.replace("time.sleep(600)", "pass"))
    call("run", *options, "--name", "never", *script, *checkpoint)
    killed, never = (
        [(t.number, t.config, t.state, t.budget, list(t.curve), t.values) for t in load(name).trials]
        for name in ("killed", "never")
    )
    assert killed == never
