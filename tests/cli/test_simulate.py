"""``whet simulate``: schedulers compared on what a study has recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whet
from tests.cli.studies import STORE, begin, call
from whet.core.history import History
from whet.core.problem import Problem, problem_of
from whet.core.protocols import Assignment, Decision, New
from whet.core.trial import Trial
from whet.core.values import Take
from whet.errors import SearchExhausted
from whet.samplers.names import SAMPLERS, sampler_named
from whet.schedulers.names import scheduler_named
from whet.testing import Course, simulate
from whet.testing.recorded import FEWEST, recording_of, replay

SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
lr = parser.parse_args().lr
for epoch in range(9):
    print(f"epoch={epoch} loss={lr + 1 / (epoch + 1):.4f}", flush=True)
"""
SPACE = {"lr": whet.Float(0.01, 1.0), "units": whet.Int(1, 64), "opt": ["sgd", "adam"]}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(config: Mapping[str, Any], trial: Any) -> float:
    """Large configs are slow and fall far; one in five fails."""
    if config["units"] % 5 == 0:
        raise RuntimeError("out of luck")
    loss = math.nan
    for step in range(1, 10):
        loss = config["lr"] + config["units"] / 64 / step
        trial.report({"loss": loss, "other": 1.0}, step)
    return {"loss": loss}  # type: ignore[return-value]


def recorded(name: str = "digits", n_trials: int = 25, **more: Any) -> whet.Study:
    """A study that was really run."""
    study = whet.Study(SPACE, {"loss": "minimize"}, sampler="random", seed=4, store=STORE, name=name, **more)
    return study.run(train, n_trials=n_trials, executor="inline", progress=False, max_failures=99)


def test_schedulers_are_compared_on_what_was_recorded() -> None:
    study = recorded()
    n = sum(trial.state == "completed" for trial in study.trials)
    said = call("simulate", "digits", "--scheduler", "asha", "--scheduler", "median", "--repeats", 3, "--workers", 2)
    assert f"{n} trials that ran to the end (left out: {25 - n} failed), steps 1 to 9" in said.out
    assert "medians of 3 searches with 2 workers" in said.out
    names = [line.split()[0] for line in said.out.splitlines() if line.startswith(("none", "asha", "median "))]
    assert names == ["none", "asha", "median"]
    assert said.err == ""


def test_json_has_a_line_for_each_scheduler() -> None:
    study = recorded()
    none, asha = call("simulate", "digits", "--scheduler", "asha", "--repeats", 5, "--json").objects
    assert none == {**none, "study": "digits", "scheduler": "none", "n_searches": 5, "n_stopped_best": 0}
    assert none["best"] == study.best_value
    assert none["cost"] == pytest.approx(1)
    assert 0 < none["reached_s"] <= none["end_s"]
    assert asha["scheduler"] == "asha"
    assert asha["cost"] < 0.9
    assert asha["best"] >= study.best_value
    assert 0 <= asha["n_stopped_best"] <= 5


def test_by_default_the_usual_ones_are_compared() -> None:
    recorded(n_trials=9)
    compared = [found["scheduler"] for found in call("simulate", "digits", "--repeats", 1, "--json").objects]
    assert compared == ["none", "asha", "median", "hyperband"]


def test_the_same_call_says_the_same_and_another_seed_another() -> None:
    recorded()
    arguments = ("simulate", "digits", "--scheduler", "asha", "--repeats", 1, "--json")
    assert call(*arguments).out == call(*arguments).out
    assert call(*arguments).out != call(*arguments, "--seed", 7).out


def test_a_script_that_counts_from_zero(whet_script: Path) -> None:
    call(
        "run", "--objective", "loss:min", "--name", "script", "--trials", 6, "--seed", 1, "--quiet",
        whet_script, "--lr", "uniform(0, 1)",
    )  # fmt: skip
    said = call("simulate", "script", "--scheduler", "asha(eta=2)", "--repeats", 2)
    assert "6 trials that ran to the end, steps 1 to 8" in said.out
    assert "asha(eta=2)" in said.out


@pytest.fixture
def whet_script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def test_who_goes_on_from_zero_costs_more() -> None:
    recorded()
    arguments = ("simulate", "digits", "--scheduler", "asha(type=promotion)", "--repeats", 2, "--json")
    kept, lost = (call(*arguments, *more).objects[1] for more in ([], ["--from-zero"]))
    assert kept["cost"] < lost["cost"]


@pytest.mark.parametrize("strategy", ["random", "quasi_random", "gp(n_start=4)"])
def test_each_config_is_tried_once_with_any_strategy(strategy: str) -> None:
    recorded(n_trials=12)
    none, _ = call(
        "simulate", "digits", "--strategy", strategy, "--scheduler", "asha", "--repeats", 1, "--json"
    ).objects
    assert none["cost"] == pytest.approx(1)


# ---- what cannot be compared
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--scheduler", "nonsense"], "nonsense"),
        (["--scheduler", "asha(eta=1)"], "eta"),
        (["--strategy", "nonsense"], "nonsense"),
        (["--workers", "0"], "workers"),
        (["--repeats", "0"], "repeats"),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], what: str) -> None:
    recorded(n_trials=9)
    assert what in call("simulate", "digits", *arguments, expect=2).err


def test_a_study_without_curves() -> None:
    study = begin()
    for _ in range(4):
        study.tell(study.ask(), {"loss": 1.0})
    err = call("simulate", "a", expect=2).err
    assert "0 completed trials with a curve (others: 4 without a curve)" in err
    assert "two steps or more" in err


def test_too_few_trials() -> None:
    recorded(n_trials=3)
    assert f"at least {FEWEST}" in call("simulate", "digits", expect=2).err


def test_several_objectives() -> None:
    begin("b", objective={"loss": "minimize", "ms": "minimize"})
    assert "2 objectives; a comparison needs exactly one" in call("simulate", "b", expect=2).err


def test_a_study_that_nobody_knows() -> None:
    begin("digits")
    assert "did you mean 'digits'" in call("simulate", "digit", expect=2).err


def test_all_break_a_constraint() -> None:
    recorded(constraints=["other <= 0"])
    assert "no completed trial that meets its constraints" in call("simulate", "digits", expect=2).err


# ---- how trials become courses
def problem(**more: Any) -> Problem:
    return problem_of(SPACE, {"loss": "minimize"}, (), more.get("fidelity"))


def trials_of(n: int = FEWEST, **more: Any) -> list[Trial]:
    study = whet.Study(SPACE, {"loss": "minimize"}, sampler="random", seed=1, **more)
    for number in range(n):
        trial = study.ask()
        for step in (2, 4, 4, 3, 8):
            study.report(trial, {"loss": number + 1 / step}, step=step)
        study.tell(trial, {"loss": number})
    return study.trials


def test_steps_ascend_and_the_end_is_what_was_told() -> None:
    found = recording_of("a", problem(), trials_of(), Take())
    _, _, course = found.trials[3]
    assert course.steps == (2, 4, 8)
    assert [value["loss"] for value in course.values] == [3.5, 3.25, 3]  # type: ignore[index]
    assert found.problem.fidelity == whet.Fidelity("steps", 2, 8)
    assert found.problem.fidelity.is_integer
    first, second, third = course.seconds  # type: ignore[misc]
    assert (second, third) == (pytest.approx(first), pytest.approx(2 * first))
    assert sum((first, second, third)) == pytest.approx(trials_of()[0].duration_s, abs=1)


def test_the_axis_of_the_study_is_kept() -> None:
    fidelity = {"epochs": (1, 8)}
    found = recording_of("a", problem(fidelity=fidelity), trials_of(fidelity=fidelity), Take())
    assert found.problem.fidelity == whet.Fidelity("epochs", 2, 8)


def test_who_counts_from_zero_is_on_the_axis_of_the_study() -> None:
    fidelity = {"epochs": (1, 9)}
    study = whet.Study(SPACE, {"loss": "minimize"}, sampler="random", seed=1, fidelity=fidelity)
    for _ in range(FEWEST):
        trial = study.ask()
        for epoch in range(9):
            study.report(trial, {"loss": 1 / (1 + epoch)}, step=epoch)
        study.tell(trial, {"loss": 0.1})
    timed = [replace(trial, started_at=100.0, ended_at=120.0, measured_s=None) for trial in study.trials]
    found = recording_of("a", problem(fidelity=fidelity), timed, Take())
    assert found.problem.fidelity == whet.Fidelity("epochs", 1, 9)
    course = found.trials[0][2]
    assert course.steps == (1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert [value["loss"] for value in course.values[:2]] == [1 / 2, 1 / 3]  # type: ignore[index]
    assert course.seconds == pytest.approx([4, 2, 2, 2, 2, 2, 2, 2, 2])  # the first holds what came before step 0


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("report_at", [None, (), (1, 3, 9)])
def test_what_a_step_takes_does_not_depend_on_how_often_trials_began_again(
    checkpoints: bool, report_at: tuple[int, ...] | None
) -> None:
    def curves(config: Mapping[str, Any]) -> Course:
        return Course([{"loss": config["lr"] + 1 / step} for step in range(1, 10)], seconds=config["units"])

    fidelity = {"epochs": (1, 9)}
    search = simulate(
        curves, SPACE, {"loss": "minimize"}, fidelity=fidelity, scheduler="hyperband", n_trials=60, n_workers=3,
        checkpoints=checkpoints, report_at=report_at,
    )  # fmt: skip
    found = recording_of("a", problem(fidelity=fidelity), search.trials, Take(), checkpoints=checkpoints)
    attempts = {trial.attempt for trial in search.trials if trial.state == "completed"}
    assert attempts == {1, 2, 3}
    for _, config, course in found.trials:
        gaps = np.diff([0, *course.steps])
        assert course.seconds == pytest.approx([config["units"] * gap for gap in gaps])


def test_the_best_report_where_the_study_takes_it() -> None:
    found = recording_of("a", problem(), trials_of(), Take("best"))
    assert found.best == 0
    assert found.values == [0, 1, 2, 3, 4]


def test_repeats_of_a_config_count_once() -> None:
    found = recording_of("a", problem(), trials_of(10, repeats=2), Take())
    assert len(found.trials) == 5
    assert found.left_out == {"with the config of another": 5}


@pytest.mark.parametrize("strategy", sorted(SAMPLERS.keys() - {"grid"}))  # the space is not finite
def test_recorded_configs_only(strategy: str) -> None:
    found = recording_of("a", problem(), trials_of(8), Take())
    search = replay(found, scheduler_named("none"), sampler_named(strategy), n_workers=3, seed=2)
    known = [config for _, config, _ in found.trials]
    assert sorted(map(repr, known)) == sorted(repr(trial.config) for trial in search.trials)


class Bringing:
    """A scheduler that chooses configs itself."""

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        if not n_new:
            raise SearchExhausted
        return [New(8, config={"lr": 0.5, "units": 3, "opt": "sgd"}, why={"source": "itself"})] * min(n, n_new)

    def decide(self, history: History, number: int) -> Decision:
        return Decision.CONTINUE


def test_configs_that_a_scheduler_brings_become_the_closest_recorded_ones() -> None:
    found = recording_of("a", problem(), trials_of(8), Take())
    search = replay(found, Bringing(), sampler_named("random"), n_workers=3, seed=2)
    known = [config for _, config, _ in found.trials]
    assert sorted(map(repr, known)) == sorted(repr(trial.config) for trial in search.trials)
    encoded = found.problem.space.encode_many([*known, {"lr": 0.5, "units": 3, "opt": "sgd"}])
    nearest = np.argmin(np.square(encoded[:-1] - encoded[-1]).sum(axis=1))
    assert search.trials[0].config == known[nearest]
    assert search.trials[0].why == {"source": "itself"}
