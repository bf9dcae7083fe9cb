"""Schedulers on unmodified scripts: real processes, a real store."""

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

from tests.cli.studies import Called, begin, call, script_settings
from tests.conftest import Whet
from whet.core.trial import State, Trial
from whet.study import load

# Trains for --epochs, from the checkpoint if it is given one; notes each epoch, so that a test sees which ran.
TRAIN = """\
import argparse, json, os, time
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=0.0)
p.add_argument("--epochs", type=int, default=9)
p.add_argument("--load", default="")
p.add_argument("--save", default="")
a = p.parse_args()
start = json.load(open(os.path.join(a.load, "state.json")))["epoch"] if a.load else 0
for epoch in range(start + 1, a.epochs + 1):
    with open("epochs.log", "a") as log:
        print(os.environ["WHET_TRIAL"], epoch, file=log)
    print(f"epoch {epoch}: loss={a.lr + 1 / epoch}")
if a.save:
    if os.environ["WHET_TRIAL"] == "8":
        time.sleep(0.3)  # what is to be saved after the last report is saved
    os.makedirs(a.save, exist_ok=True)
    json.dump({"epoch": a.epochs}, open(os.path.join(a.save, "state.json"), "w"))
"""
# Prints steps without end, so that only who is stopped ends before step 27; what it does on SIGTERM is told.
ENDLESS = """\
import os, signal, sys, time
lr, on_term = float(sys.argv[2]), sys.argv[3]
if on_term == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if on_term == "note":
    def note(*_):
        print("loss: 77.0", flush=True)
        open(f"ended-{os.environ['WHET_TRIAL']}", "w").close()
        raise SystemExit(5)
    signal.signal(signal.SIGTERM, note)
for step in range(1, 28 if lr == 0 else 10_000_000):
    print(f"step {step} loss {lr + 1 / step}", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "endless.py").write_text(ENDLESS)
    return tmp_path


def _run(scheduler: str, fidelity: str, *more: object, expect: int | None = 0, json: bool = False) -> Called:
    options = ["--name", "s", "--objective", "loss:min", "--scheduler", scheduler, "--fidelity", fidelity]
    return call("run", *options, *(["--json"] if json else []), *more, expect=expect)


def _trials(name: str = "s") -> list[Trial]:
    return load(name).trials


def _states(trials: list[Trial]) -> list[tuple[int, str, float | None]]:
    return [(trial.number, trial.state.value, trial.budget) for trial in trials]


def _epochs(here: Path) -> dict[int, list[int]]:
    """The epochs that each trial has trained, in order."""
    trained: dict[int, list[int]] = {}
    for line in (here / "epochs.log").read_text().splitlines():
        number, epoch = map(int, line.split())
        trained.setdefault(number, []).append(epoch)
    return trained


NINE = ("--lr", "[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]")
HALVED = [(k, "stopped", 1) for k in range(6)] + [(6, "stopped", 3), (7, "stopped", 3), (8, "completed", 9)]


# ---- promotion
def test_a_program_starts_again_from_zero_and_that_counts(here: Path) -> None:
    said = _run("successive_halving", "epochs=1:9", "train.py", *NINE)
    assert _states(_trials()) == HALVED
    assert _epochs(here) == {
        **{k: [1] for k in range(6)},
        6: [1, 1, 2, 3],
        7: [1, 1, 2, 3],
        8: [1, 1, 2, 3, *range(1, 10)],
    }
    assert said.err.count("starts train.py again from zero, and that counts as spent") == 1
    assert "--epochs is added to the arguments of train.py" in said.err
    # 9 + 3 * 3 + 9 epochs, of which 1 + 1 + 1 + 3 for a second time
    assert "spent 27 epochs, as much as 3.0 full trials (6 of that repeated)" in said.out
    assert "s: 9 trials: 1 completed, 8 stopped, in" in said.out
    lines = said.out.splitlines()
    assert next(line for line in lines if line.startswith("s/0")).startswith("s/0  paused  loss=1.8  lr=0.8  (")
    assert "  epochs 1/9: 1st of 1 at 1 epoch so far" in said.out
    assert any(line.startswith("[") and "s/7  stopped" in line and "epochs 3/9: 2nd of 3" in line for line in lines)
    assert not any("running" in line for line in lines)
    assert "best: s/8  loss=0.111111  lr=0" in said.out
    assert "whet resume" not in said.out


def test_a_checkpoint_lets_it_go_on(here: Path) -> None:
    arguments = ["train.py", *NINE, "--load", "{checkpoint_in}", "--save", "{checkpoint_out}", "--epochs", "5"]
    left = here / ".whet/s/8/checkpoint"  # of an earlier study of that name
    left.mkdir(parents=True)
    (left / "state.json").write_text('{"epoch": 100}')
    said = _run("hyperband", "epochs=1:9", "--trials", 9, *arguments)
    assert _states(_trials()) == HALVED
    assert _epochs(here) == {**{k: [1] for k in range(6)}, 6: [1, 2, 3], 7: [1, 2, 3], 8: list(range(1, 10))}
    assert "again from zero" not in said.err
    assert "is added" not in said.err
    assert "spent 21 epochs, as much as 2.3 full trials\n" in said.out
    assert json.loads((here / ".whet/s/8/checkpoint.earlier1/state.json").read_text()) == {"epoch": 100}
    assert json.loads((left / "state.json").read_text()) == {"epoch": 9}


def test_what_an_earlier_study_left_is_not_taken_even_by_a_second_attempt(here: Path) -> None:
    (here / "bad.py").write_text(
        "import os, sys\nprint('taken' if sys.argv[2] else 'loss: 1')\nsys.exit(os.environ['WHET_ATTEMPT'] == '1')\n"
    )
    for number in (0, 1):
        (here / f".whet/s/{number}").mkdir(parents=True)
    (here / ".whet/s/0/checkpoint").write_text("old")
    (here / ".whet/s/1/checkpoint").mkdir()  # begun, and nothing saved in it
    arguments = ["bad.py", "--load", "{checkpoint_in}", "--x", "[1, 2]"]
    call("run", "--name", "s", "--objective", "loss", "--retries", 1, *arguments)
    assert [(trial.state, trial.attempt) for trial in _trials()] == [(State.COMPLETED, 2)] * 2
    assert (here / ".whet/s/0/checkpoint.earlier1").read_text() == "old"


def test_the_events_of_json(here: Path) -> None:
    said = _run("sha(eta=3)", "epochs=1:9", "train.py", *NINE, json=True)
    events = said.objects
    paused = [e for e in events if e["event"] == "trial_paused"]
    finished = [e for e in events if e["event"] == "trial_finished"]
    assert [(e["number"], e["reached"]) for e in paused] == [*((k, 1) for k in range(9)), (8, 3), (7, 3), (6, 3)]
    assert {e["state"] for e in paused} == {"paused"}
    assert all(e["values"]["loss"] == pytest.approx(e["config"]["lr"] + 1 / e["reached"]) for e in paused)
    stopped = [e for e in finished if e["state"] == "stopped"]
    assert len(stopped) == 8 and all("the best" in e["reason"] for e in stopped)
    (completed,) = (e for e in finished if e["state"] == "completed")
    assert (completed["budget"], completed["reached"], "reason" in completed) == (9, 9, False)
    assert (events[-1]["spent"], events[-1]["spent_again"], events[-1]["best"]["number"]) == (27, 6, 8)
    assert events[-1]["resume"] is None


def test_bohb(here: Path) -> None:
    options = ["--name", "s", "--objective", "loss:min", "--strategy", "bohb", "--trials", 9, "--seed", 1]
    said = call("run", *options, "train.py", "--lr", "uniform(0, 1)", "--epochs", "budget(1, 9)")
    assert "9 trials by tpe under hyperband, seed 1" in said.err
    assert sorted(state for _, state, _ in _states(_trials())) == ["completed"] + ["stopped"] * 8


def test_a_part_of_the_data(here: Path) -> None:
    """What such a program prints on the way are steps of something else: only its end counts."""
    (here / "part.py").write_text(
        "import sys\nlr, part = float(sys.argv[2]), float(sys.argv[4])\n"
        "for epoch in (1, 2, 3):\n    print(f'epoch {epoch}: loss={lr * (4 - epoch) ** 3 + part}')\n"
    )
    said = _run("sha", "subset=0.1:1", "--take", "best", "part.py", "--lr", "[0.3, 0.2, 0.1]")
    trials = _trials()
    assert [trial.state for trial in trials] == [State.STOPPED, State.STOPPED, State.COMPLETED]
    assert [round(trial.budget or 0, 3) for trial in trials] == [0.111, 0.111, 1.0]
    assert [row[0] for row in trials[0].curve] == [0.0, 0.0, 0.0, 1 / 9]
    assert trials[0].values["loss"] == pytest.approx(0.3 + 1 / 9)
    assert trials[2].values["loss"] == pytest.approx(1.1)
    assert "printed step" not in said.err
    assert "of subset, as much as 1.7 full trials" in said.out  # 3 times 1/9, 1/3 and 1


def test_steps_of_something_else_are_noticed(here: Path) -> None:
    (here / "iterations.py").write_text(
        "import sys\nfor i in range(100, 100 * int(sys.argv[4]) + 1, 100):\n    print(f'step {i} loss {1 / i}')\n"
    )
    said = _run("sha", "epochs=1:9", "iterations.py", "--lr", "[1, 2, 3]", "--epochs", "9")
    assert said.err.count("was told --epochs 1 and printed step 100") == 1
    assert "let it print lines such as `epoch 1: val_loss 0.2`" in said.err


def test_a_flag_that_the_program_refuses(here: Path) -> None:
    (here / "strict.py").write_text(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr')\np.parse_args()\n"
    )
    said = _run("sha", "epochs=1:9", "strict.py", "--lr", "[1, 2, 3]", expect=3)
    assert "unrecognized arguments: --epochs 1" in said.err
    assert "--epochs is how whet tells the program how far to go" in said.err
    assert "spent" not in said.out
    (here / "strict.py").write_text("raise SystemExit('something else')\n")
    said = call("run", "--objective", "loss", "--fidelity", "epochs=1:9", "strict.py", "--lr", "[1]", expect=3)
    assert "is how whet tells" not in said.err


# ---- stopping
@pytest.mark.parametrize("on_term", ["die", "note", "ignore"])
def test_losers_end_and_keep_what_they_reported(on_term: str, here: Path) -> None:
    options = ["--grace", "0.3", "endless.py", "--lr", "[0, 1, 2]", on_term]
    said = _run("asha", "step=1:27", *options)
    first, *losers = _trials()
    assert (first.state, first.budget, first.values["loss"]) == (State.COMPLETED, 27, 1 / 27)
    for trial in losers:
        assert (trial.state, trial.budget, trial.cause) == (State.STOPPED, 27, None)
        steps = [row[0] for row in trial.curve]
        assert steps == sorted(steps) and steps[0] == 1
        assert trial.values["loss"] > 1
        assert " at step 1, the best goes on" in trial.message
        assert (here / f"ended-{trial.number}").exists() is (on_term == "note")
    assert "s: 3 trials: 1 completed, 2 stopped" in said.out
    assert said.out.count("2nd of 2 at step 1, the best goes on") == 1
    assert "again from zero" not in said.err
    shown = call("show", "s/1").out
    assert "state      stopped" in shown
    assert "budget     step 27 of 27" in shown
    assert "rungs      step 1: 2" in shown
    assert "reason     2nd of 2 at step 1, the best goes on" in shown
    page = call("show", "s/1", "--json").objects[0]
    assert page["rungs"][0] == {"budget": 1, "value": 2.0}
    assert page["message"] == losers[0].message


def test_time_is_measured(here: Path) -> None:
    (here / "timed.py").write_text(
        "import time\nfor step in range(1000, 1005):\n"
        "    print(f'step {step} loss 1', flush=True)\n    time.sleep(0.05)\n"
    )
    _run("asha(eta=10)", "seconds=1000:100000", "timed.py", "--lr", "[1]")
    (trial,) = _trials()
    *measured, last = [row[0] for row in trial.curve]
    assert (trial.state, last) == (State.COMPLETED, 100_000)
    assert measured == sorted(measured) and 0 < measured[0] < measured[-1] < 1000


@pytest.mark.parametrize(
    ("prints", "states"),
    [
        ("print('step 3 loss 3', 'step 1 loss 1', 'step 2 loss 2', sep=chr(10))", {"completed"}),
        ("print('step 1 loss 1', 'step 1 loss 1', 'step 1 loss 2', sep=chr(10))", {"completed"}),
        ("print('step 1 loss nan', 'step 9 loss nan', sep=chr(10))", {"stopped", "failed"}),
        ("print('nothing to see')", {"failed"}),
        ("print('step 1e400 loss 1', 'step -5 loss 2', sep=chr(10))", {"completed"}),
    ],
)
@pytest.mark.parametrize("scheduler", ["asha", "sha", "median"])
def test_reports_that_make_little_sense(scheduler: str, prints: str, states: set[str], here: Path) -> None:
    (here / "odd.py").write_text(f"{prints}\n")
    _run(scheduler, "epochs=1:9", "odd.py", "--lr", "[1]", expect=None)
    (trial,) = _trials()
    assert trial.state.value in states
    call("show", "s"), call("show", "s/0"), call("status", "s")


def test_where_nothing_went_to_the_end_it_is_said_so(here: Path) -> None:
    each = "    print(f'epoch={epoch} loss={sys.argv[2]}', flush=True)\n    time.sleep(0.5)\n"
    (here / "slow.py").write_text("import sys, time\nfor epoch in range(1, 10):\n" + each)
    said = _run("threshold(upper=0.5)", "epochs=1:9", "slow.py", "--lr", "[3, 2]", expect=3)
    assert "no trial was run to its end, so none is the best one: 2 trials ended on the way" in said.out
    assert "the furthest: s/1  epochs " in said.out
    assert call("best", "s", expect=3).err.startswith(
        "whet: study 's': no trial has completed yet (2 trials: 2 stopped)"
    )


# ---- what a scheduler does not hear
@pytest.mark.parametrize("line", ["loss: {}", "step 9 loss {}", "epoch 1 loss {}"])
@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_program_that_prints_its_metric_once_is_noticed_once(scheduler: str, line: str, here: Path) -> None:
    (here / "once.py").write_text(f"import sys\nprint({line!r}.format(sys.argv[2]))\n")
    said = _run(scheduler, "step=1:9", "once.py", "--lr", "[5, 4, 3, 2, 1]")
    notice = f"{scheduler} ends trials by what they report on the way, and none of the first 3 trials has reported"
    assert said.err.count(notice) == 1
    assert "print it after each epoch, as in `epoch 3: loss 0.2`" in said.err
    assert '--epochs "budget(1, 81)", under --scheduler hyperband' in said.err


@pytest.mark.parametrize(
    ("scheduler", "fidelity"), [("asha", "step=1:9"), ("median", "epochs=1:9"), ("sha", "epochs=1:9")]
)
def test_a_program_that_can_be_heard_is_not(scheduler: str, fidelity: str, here: Path) -> None:
    assert "ends trials by what they report" not in _run(scheduler, fidelity, "train.py", *NINE).err


def test_a_flag_that_is_called_seconds_is_measured_and_said_so(here: Path) -> None:
    (here / "timed.py").write_text(
        "import sys, time\ntime.sleep(0.1)\n"
        "for step in range(5):\n    print(f'step {step} loss {sys.argv[2]}', flush=True)\n    time.sleep(0.02)\n"
    )
    options = ["--name", "s", "--objective", "loss:min", "--scheduler", "asha(type=promotion)", "timed.py"]
    said = call("run", *options, "--lr", "[1, 2, 3]", "--seconds", "budget(0.01, 0.09)")
    assert said.err.count("--seconds: how far a trial is is measured, from the start of its attempt") == 1
    assert "printed step" not in said.err
    assert all(row[0] < 60 for trial in _trials() for row in trial.curve)


# ---- what people see
def test_commands_name_the_scheduler(here: Path) -> None:
    _run("asha(eta=4) + patience(n=5)", "step=1:27", "endless.py", "--lr", "[0, 1]", "die")
    for said in (call("status", "s"), call("show", "s")):
        assert "scheduler" in said.out and "asha(eta=4) + patience(n=5)" in said.out
        assert "step from 1 to 27" in said.out
    assert "budget: asha(eta=4) + patience(n=5), step from 1 to 27" in call("explain", "s").out
    assert call("status", "s", "--json").objects[0]["scheduler"] == "asha(eta=4) + patience(n=5)"
    first, second = call("show", "s", "--json").objects
    assert (first["budget"], first["reached"], "reason" in first) == (27, 27, False)
    assert second["reason"] == "2nd of 2 at step 2, the best goes on"  # eta = 4: levels 27, 7, 2
    explained = call("explain", "s", "--json").objects[0]
    assert (explained["scheduler"], explained["fidelity"]) == ("asha(eta=4) + patience(n=5)", ["step", 1, 27, ""])
    header, row = call("history").out.splitlines()
    assert header[header.index("DONE") :].split()[:2] == ["DONE", "STOPPED"]
    assert row[header.index("DONE") :].split()[:2] == ["2/2", "1"]
    assert "finished" in row
    table = call("show", "s").out.splitlines()
    assert any(line.split()[:3] == ["0", "completed", "27/27"] for line in table)


def test_a_study_without_any_names_none(here: Path) -> None:
    call("run", "--name", "s", "--objective", "loss", "train.py", "--lr", "[1]")
    for said in (call("status", "s"), call("show", "s"), call("explain", "s")):
        assert "scheduler" not in said.out and "budget" not in said.out


# ---- going on
def _wait_for(condition: Callable[[], Any], patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("n_begun", [2, 8, 11])
def test_a_killed_run_goes_on_with_the_same_schedule(n_begun: int, whet: Whet, here: Path) -> None:
    hold = f"    if len(open('epochs.log').readlines()) > {n_begun}: time.sleep(600)\n"
    (here / "train.py").write_text(TRAIN.replace("    print(f", f"{hold}    print(f"))
    options = ["--name", "s", "--objective", "loss:min", "--strategy", "random", "--seed", 3, "--trials", 9]
    options += ["--scheduler", "hyperband", "--fidelity", "epochs=1:9", "train.py", "--lr", "uniform(0, 1)"]
    process = whet.start("run", *options)
    log = here / "epochs.log"
    _wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > n_begun)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (here / "train.py").write_text(TRAIN)
    before = _states(_trials())
    said = call("resume", "s")
    assert "resuming s: " in said.err
    resumed = _trials()
    assert [state for state in _states(resumed) if state[1] in ("paused", "running", "waiting")] == []
    assert len(before) <= len(resumed) == 9
    call("run", *[f"{option}" if option != "s" else "whole" for option in options])
    whole = _trials("whole")
    assert [dict(trial.config or {}) for trial in resumed] == [dict(trial.config or {}) for trial in whole]
    assert _states(resumed) == _states(whole)
    assert call("status", "s", "--json").objects[0]["state"] == "finished"


def test_a_study_goes_on_with_its_scheduler_and_no_other(here: Path) -> None:
    _run("sha(eta=3)", "epochs=1:9", "train.py", *NINE, "--load", "{checkpoint_in}", "--save", "{checkpoint_out}")
    said = call("resume", "s", "--scheduler", "asha", expect=2)
    assert "'s' was begun with successive_halving" in said.err and "whet run --scheduler" in said.err
    assert "unknown scheduler" in call("resume", "s", "--scheduler", "ahsa", expect=2).err
    assert "nothing is left to run" in call("resume", "s", "--scheduler", "successive_halving").out


def test_trials_that_wait_for_more_do_not_keep_a_study_open(here: Path) -> None:
    """Promotion leaves trials paused that nobody will ask for again, unless there are new ones."""
    _run("asha(type='promotion')", "epochs=1:9", "--workers", 2, "train.py", "--lr", "[4, 3, 2, 1]")
    counts = load("s").ledger.history.counts()
    assert counts[State.PAUSED] and counts[State.COMPLETED] == 1
    assert call("status", "s", "--json").objects[0]["state"] == "finished"
    assert "nothing is left to run" in call("resume", "s").out


def test_a_run_that_ended_between_two_attempts_goes_on(here: Path) -> None:
    """Nothing runs, nothing waits, no new trial may begin, and there is still something to do."""
    settings = script_settings(["--lr", "[3, 2, 1]"], here, fidelity="epochs=1:9")
    settings |= {"limits": {"n_trials": 3}, "seed": 1}
    space = {"lr": [3, 2, 1]}
    study = begin("s", space, scheduler="sha", fidelity={"epochs": (1, 9)}, settings=settings)
    for trial in study.ask(3):
        assert study.report(trial, {"loss": float((trial.config or {})["lr"])}, step=1) == "pause"
    standing = call("status", "s", "--json").objects[0]
    assert (standing["state"], standing["counts"], standing["resume"]) == ("stopped", {"paused": 3}, "whet resume s")
    call("resume", "s", "--trust")  # nobody has begun it with `whet run`
    assert _states(_trials()) == [(0, "stopped", 1), (1, "stopped", 1), (2, "completed", 9)]
    assert _epochs(here) == {2: [1, 2, 3, *range(1, 10)]}
    assert call("status", "s", "--json").objects[0]["state"] == "finished"


def test_a_program_finds_its_budget_in_many_places(here: Path) -> None:
    (here / "env.py").write_text(
        "import os, sys\nprint(os.environ['WHET_BUDGET'], sys.argv[2], file=open('seen', 'a'))\nprint('loss: 1')\n"
    )
    _run("sha", "step=1:9", "env.py", "--until", "{budget}", "--x", "[1, 2]")
    assert (here / "seen").read_text().splitlines() == ["1 1", "1 1", "3 3", "9 9"]


def test_the_command_of_a_stopped_trial_runs_as_it_is_printed(here: Path) -> None:
    _run("sha", "epochs=1:9", "train.py", *NINE)
    command = call("show", "s/0", "--json").objects[0]["command"]
    assert command.endswith("train.py --lr 0.8 --epochs 1")
    environment = {**os.environ, "WHET_TRIAL": "0"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, cwd=here, env=environment)
    assert done.stdout == "epoch 1: loss=1.8\n"


# ---- programs that end before their budget
EARLY = """\
import sys
for epoch in range(1, min(4, int(sys.argv[4])) + 1):
    print(f"epoch {epoch}: loss={float(sys.argv[2]) + 1 / epoch}")
"""


def test_what_a_program_did_not_train_is_not_spent(here: Path) -> None:
    """It stops at epoch 4, whatever it is told."""
    (here / "early.py").write_text(EARLY)
    said = _run("sha", "epochs=1:9", "early.py", *NINE, json=True)
    *_, best, end = said.objects
    # 9 * 1 + 3 * 3 epochs, then 4, of which 1 + 1 + 1 + 3 for a second time
    assert (end["spent"], end["spent_again"]) == (22, 6)
    assert (best["state"], best["budget"], best["reached"]) == ("completed", 9, 4)
    page = call("show", "s/8", "--json").objects[0]
    assert (page["budget"], page["reached"]) == (9, 4)
    assert [rung["budget"] for rung in page["rungs"]] == [1, 3]
    text = call("show", "s/8").out
    assert "reached    epochs 4\n" in text and "epochs 9: " not in text
    assert any(line.split()[:3] == ["8", "completed", "4/9"] for line in call("show", "s").out.splitlines())
    exported = json.loads(call("export", "s", "--format", "json").out)
    assert [(trial["budget"], trial["reached"]) for trial in exported[-3:]] == [(3, 3), (3, 3), (9, 4)]


def test_a_program_that_says_nothing_on_the_way_has_spent_what_it_was_told(here: Path) -> None:
    (here / "once.py").write_text("import sys\nprint('loss:', sys.argv[2])\n")
    said = _run("sha", "epochs=1:9", "once.py", *NINE, "--epochs", "9")
    assert "spent 27 epochs, as much as 3.0 full trials (6 of that repeated)" in said.out
    assert call("show", "s/8", "--json").objects[0]["reached"] == 9
    said = call("run", "--objective", "loss:min", "--scheduler", "asha", "--fidelity", "step=1:9", "once.py", *NINE)
    assert "spent 9 steps, as much as 1.0 full trials" in said.out  # a step each: nobody told them to go farther


def test_seconds_are_spent_as_they_pass(here: Path) -> None:
    (here / "once.py").write_text("import sys\nprint('loss:', sys.argv[2])\n")
    end = _run("median", "seconds=1000:100000", "once.py", "--lr", "[2, 1]", json=True).objects[-1]
    trials = _trials()
    assert end["spent"] == pytest.approx(sum(trial.duration_s or 0.0 for trial in trials), abs=1e-5)
    assert 0 < end["spent"] < 1000
    page = call("show", "s/0", "--json").objects[0]
    assert (page["reached"], page["rungs"]) == (pytest.approx(trials[0].duration_s), [])


def test_freeze_thaw_has_levels_of_its_own(here: Path) -> None:
    _run("freeze_thaw(levels=2)", "epochs=1:9", "--trials", 2, "train.py", "--lr", "[0.1, 0]")
    rungs = [[rung["budget"] for rung in call("show", f"s/{k}", "--json").objects[0]["rungs"]] for k in (0, 1)]
    assert sorted(rungs) in ([[3], [3, 9]], [[3, 9], [3, 9]])


def test_what_a_trial_took_is_said_to_be_of_its_last_attempt(here: Path) -> None:
    _run("sha", "epochs=1:9", "train.py", *NINE)
    for said in (call("show", "s/8"), call("best", "s")):
        assert "(the last of 3 attempts)" in said.out
    assert "attempts)" not in call("show", "s/0").out


# ---- paused trials are counted
@pytest.mark.parametrize("command", ["status", "history"])
def test_paused_trials_are_shown(command: str, here: Path) -> None:
    study = begin("s", {"lr": [3, 2, 1]}, scheduler="sha", fidelity={"epochs": (1, 9)})
    begin("nothing", {"lr": [3, 2, 1]}, scheduler="sha", fidelity={"epochs": (1, 9)})
    for trial in study.ask(3):
        assert study.report(trial, {"loss": float((trial.config or {})["lr"])}, step=1) == "pause"
    lines = call(command).out.splitlines()
    shown = {line.split()[0]: line[lines[0].index("DONE") :].split()[:2] for line in lines}
    assert (shown["STUDY"], shown["s"], shown["nothing"][0]) == (["DONE", "PAUSED"], ["0/3", "3"], "0/3")
    counts = {one["study"]: one["counts"] for one in call(command, "--json").objects}
    assert counts == {"s": {"paused": 3}, "nothing": {}}
    assert "3 trials: 3 paused" in call("status", "s").out
    assert "0 of 3 trials\n" in call("status", "nothing").out
