"""Functions under whet's own schedulers: how much is spent on whom, killed and gone on with, with several workers."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import whet
from tests.schedulers.driving import EACH
from whet.algorithms.brackets import bracket, levels
from whet.core.trial import Cause, State
from whet.errors import UsageError
from whet.schedulers.names import SCHEDULERS

SPACE = {"x": (0.0, 1.0)}
EPOCHS = {"epochs": (1, 9)}


def at_budget(config: dict[str, Any], budget: int) -> float:
    return config["x"] + 1 / budget


def by_epoch(config: dict[str, Any], trial: Any) -> float:
    for epoch in range(1, trial.budget + 1):
        trial.report(config["x"] + 1 / epoch, epoch)
    return config["x"] + 1 / epoch


def tune(fn: Callable[..., Any], scheduler: str, **options: Any) -> whet.Study:
    known = {"fidelity": EPOCHS, "sampler": "random", "n_trials": 20, "seed": 0, "progress": False}
    return whet.tune(fn, SPACE, scheduler=scheduler, **{**known, **options})


def outcomes(study: whet.Study) -> list[Any]:
    return [(trial.config, trial.state, list(trial.curve)) for trial in study.trials]


# ---- all of them
@pytest.mark.parametrize("fn", [at_budget, by_epoch])
@pytest.mark.parametrize("scheduler", EACH)
def test_every_scheduler_ends_with_a_trial_that_had_everything(scheduler: str, fn: Callable[..., Any]) -> None:
    study = tune(fn, scheduler, executor="inline")
    states = {trial.state for trial in study.trials}
    assert states <= {State.COMPLETED, State.STOPPED, State.PAUSED}
    assert len(study.trials) == 20
    assert study.best.budget == 9
    assert study.best_value == pytest.approx(study.best_config["x"] + 1 / 9)
    assert study.outcome is not None
    assert study.outcome.reason == "done"


@pytest.mark.parametrize("scheduler", ["asha", "asha(type=promotion)", "successive_halving", "hyperband"])
def test_failures_and_what_is_no_number_do_not_stop_the_search(scheduler: str) -> None:
    """They are the worst where they are: nobody waits for them."""

    def fn(config: dict[str, Any], trial: Any) -> float:
        for epoch in range(1, trial.budget + 1):
            if config["x"] > 0.8:
                raise ArithmeticError("diverged")
            trial.report(float("nan") if config["x"] > 0.6 else config["x"], epoch)
        return config["x"]

    study = tune(fn, scheduler, executor="inline", max_failures=99)
    assert study.outcome is not None
    assert study.outcome.reason == "done"
    for trial in study.trials:
        x = (trial.config or {})["x"]
        if x > 0.8:
            assert (trial.state, trial.cause) == (State.FAILED, Cause.ERROR)
        elif x > 0.6:
            assert (trial.state, len(trial.curve)) == (State.STOPPED, 1)
    assert study.best.budget == 9


@pytest.mark.parametrize("workers", [1, 2])
def test_hyperband_spends_what_its_table_says(workers: int) -> None:
    """One pass with R = 9 and eta = 3: 9 configs from 1 on, 5 from 3 on, 3 from 9 on."""
    budgets = levels(1, 9, 3, is_integer=True)
    study = tune(at_budget, "hyperband", n_trials=17, workers=workers)
    rungs = [rung for s in (2, 1, 0) for rung in bracket(s, budgets, 3)]
    assert [(rung.n, rung.budget) for rung in rungs] == [(9, 1), (3, 3), (1, 9), (5, 3), (1, 9), (3, 9)]
    expected: Counter[float] = Counter()
    for rung in rungs:
        expected[rung.budget] += rung.n
    assert Counter(step for trial in study.trials for step, _ in trial.curve) == expected
    assert Counter(trial.state for trial in study.trials) == {State.COMPLETED: 5, State.STOPPED: 12}


# ---- kept and gone on with
def test_a_study_that_is_loaded_has_its_scheduler(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    tune(at_budget, "asha(eta=2, type=promotion)", executor="inline", n_trials=6, store=store, name="a")
    study = whet.load("a", store)
    assert type(study.scheduler) is SCHEDULERS["asha"]
    assert (study.scheduler.eta, study.scheduler.type) == (2, "promotion")
    study.run(at_budget, executor="inline", n_trials=12, progress=False)
    whole = tune(at_budget, "asha(eta=2, type=promotion)", executor="inline", n_trials=6)
    whole.run(at_budget, executor="inline", n_trials=12, progress=False)
    assert outcomes(study) == outcomes(whole)


KILLED = """
    import os, signal, sys, whet

    def fn(config, trial):
        saved = trial.load_checkpoint()
        done, loss = map(float, saved.read_text().split()) if saved is not None else (0, None)
        for epoch in range(int(done) + 1, trial.budget + 1):
            loss = config["x"] + 1 / epoch
            state = trial.dir / "state"
            state.write_text(f"{epoch} {loss!r}")
            trial.save_checkpoint(state)
            trial.report(loss, epoch)
        return loss  # from the checkpoint, if it was killed between this and its report

    n_ends = 0
    def count(study, trial):
        global n_ends
        n_ends += 1
        if n_ends == int(sys.argv[1]):
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))

    study = whet.tune(fn, {"x": (0.0, 1.0)}, fidelity={"epochs": (1, 9)}, scheduler="hyperband", sampler="random",
                      n_trials=17, seed=0, name="a", store="a.db", workers=2, on_trial_end=count, progress=False)
"""


@pytest.mark.parametrize(("by", "kills"), [("SIGKILL", [1, 3, 6]), ("SIGINT", [3, 7])])
def test_ended_in_the_middle_and_started_again_it_is_as_if_it_never_was(
    by: str, kills: list[int], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(KILLED))

    def start(n_ends: int) -> int:
        argv = [sys.executable, program, str(n_ends), by]
        return subprocess.run(argv, cwd=tmp_path, timeout=120).returncode

    for n_ends in kills:
        assert start(n_ends) == (-signal.SIGKILL if by == "SIGKILL" else 0)  # Ctrl-C returns the study
    assert start(0) == 0
    study = whet.load("a", tmp_path / "a.db")
    whole = tune(by_epoch, "hyperband", n_trials=17, executor="inline")
    assert {state for _, state, _ in outcomes(study)} == {State.COMPLETED, State.STOPPED}
    assert [(config, state, curve[-1]) for config, state, curve in outcomes(study)] == [
        (config, state, curve[-1]) for config, state, curve in outcomes(whole)
    ]
    for _, _, curve in outcomes(study):
        assert curve == sorted(set(curve))  # it goes on where it was, and says nothing twice


BESIDE = """
    import whet

    def fn(config, trial):
        for epoch in range(1, trial.budget + 1):
            trial.report(config["x"] + 1 / epoch, epoch)

    whet.load("a", "a.db").run(fn, n_trials=34, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["hyperband", "asha(type=promotion)"])
def test_two_programs_on_one_study_lose_and_double_nothing(scheduler: str, tmp_path: Path) -> None:
    """Neither waits for ever, and no trial is trained twice to the same level."""
    (tmp_path / "program.py").write_text(textwrap.dedent(BESIDE))
    store = tmp_path / "a.db"
    whet.Study(SPACE, fidelity=EPOCHS, scheduler=scheduler, sampler="random", seed=0, store=store, name="a")
    argv = [sys.executable, "program.py"]
    programs = [subprocess.Popen(argv, cwd=tmp_path) for _ in range(2)]
    assert [program.wait(timeout=240) for program in programs] == [0, 0]
    trials = whet.load("a", store).trials
    assert [trial.number for trial in trials] == list(range(34))
    for trial in trials:
        budgets = [budget for budget in (1, 3, 9) if budget <= (trial.budget or 0)]
        assert trial.attempt <= len(budgets)
        assert len(trial.curve) in {sum(budgets[i:]) for i in range(len(budgets))}
    assert any(trial.state is State.COMPLETED for trial in trials)
    assert {trial.state for trial in trials} <= {State.COMPLETED, State.STOPPED, State.PAUSED}


# ---- with several workers
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_deterministic_study_stops_the_same_trials_whoever_is_faster(sampler: str) -> None:
    one, four = (
        outcomes(tune(by_epoch, "asha", sampler=sampler, n_trials=24, workers=workers, deterministic=True))
        for workers in (1, 4)
    )
    assert one == four
    assert {state for _, state, _ in one} == {State.COMPLETED, State.STOPPED}


@pytest.mark.parametrize("scheduler", ["hyperband", "successive_halving", "asha(type=promotion)", "freeze_thaw"])
def test_a_scheduler_that_promotes_cannot_be_deterministic(scheduler: str) -> None:
    def fn(config: dict[str, Any], budget: int) -> float:
        raise AssertionError("nothing is to run")

    with pytest.raises(UsageError, match=r"deterministic|lookahead"):
        tune(fn, scheduler, deterministic=True, workers=2)


# ---- other things to be sparing with
def test_racing_over_folds() -> None:
    """Some folds are harder for all, so it is the pairs that tell."""

    def fn(config: dict[str, Any], trial: Any) -> float:
        scores = []
        for fold in range(1, 11):
            scores.append(config["x"] + (fold * 7 % 10) / 2)
            trial.report(scores[-1], fold)
        return sum(scores) / len(scores)

    study = tune(fn, "racing", fidelity=None, n_trials=20, executor="inline")
    best = math.inf
    for trial in study.trials:
        x = (trial.config or {})["x"]
        assert trial.state is (State.COMPLETED if x <= best else State.STOPPED), "worse on every fold"
        if x > best:
            assert [step for step, _ in trial.curve] == [1, 2, 3, 4]
            assert "on 4 instances" in trial.message
        best = min(best, x)
    assert study.best_value == pytest.approx(best + 2.25)


def test_seconds_are_measured_and_steps_are_not_looked_at() -> None:
    """One is given a second's third first; it cannot be done by then, and is when it has a second."""

    def fn(config: dict[str, Any], trial: Any) -> float:
        assert trial.budget in (0.1, 0.3)
        deadline = time.monotonic() + trial.budget
        while time.monotonic() < deadline:
            time.sleep(0.005)
            trial.report(config["x"], 1e9)
        return config["x"]

    study = tune(fn, "asha(type=promotion)", fidelity={"seconds": (0.1, 0.3)}, n_trials=3, executor="inline")
    assert {trial.state for trial in study.trials} == {State.COMPLETED, State.PAUSED}
    assert all(0 < step < 60 for trial in study.trials for step, _ in trial.curve)
    assert study.best.budget == 0.3


# ---- several objectives
@pytest.mark.parametrize("scheduler", ["asha", "asha(type=promotion)", "hyperband"])
def test_two_objectives(scheduler: str) -> None:
    """Nobody is stopped who is the best there in one of them; who is worse in both than all others is."""

    def fn(config: dict[str, Any], trial: Any) -> None:
        for epoch in range(1, trial.budget + 1):
            trial.report({"loss": config["x"] + 1 / epoch, "size": (config["x"] - 0.5) ** 2}, epoch)

    objective = {"loss": "minimize", "size": "minimize"}
    study = tune(fn, scheduler, objective=objective, executor="inline", n_trials=30)
    states = Counter(trial.state for trial in study.trials)
    assert set(states) <= {State.COMPLETED, State.STOPPED, State.PAUSED}
    assert 1 <= states[State.COMPLETED] < 30
    done = [trial for trial in study.trials if trial.state is State.COMPLETED]
    assert all(trial.budget == 9 and set(trial.values) == {"loss", "size"} for trial in done)
    # Whatever is above 0.5 is worse in both than its mirror image below.
    assert sum((trial.config or {})["x"] < 0.6 for trial in done) > len(done) / 2


# ---- what cannot be
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fidelity": None}, "fidelity"),
        ({"scheduler": "asha(eta=1)"}, "eta"),
        ({"fidelity": {"epochs": (9, 1)}}, "epochs|low"),
        ({"fidelity": {"epochs": (0, 9)}}, "epochs|0"),
        ({"fidelity": {"epochs": (5, 9)}}, "two levels"),
        ({"scheduler": "ashaa"}, "asha"),
        ({"scheduler": "hyperband(brackets=-1)"}, "brackets"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(options: dict[str, Any], says: str) -> None:
    def fn(config: dict[str, Any], trial: Any) -> float:
        raise AssertionError("nothing is to run")

    with pytest.raises(UsageError, match=says):
        tune(fn, **{"scheduler": "asha", "executor": "inline", **options})
