"""The objective functions and spaces of a course on tuning, each as the course writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import whet
from whet.core.trial import Cause, State

GRID = {"learning_rate": [0.0001, 0.001, 0.01], "dropout": [0.1, 0.3, 0.5], "batch_size": [16, 32, 64]}
MIXED = {
    "learning_rate": (1e-5, 1e-2, "log"),
    "dropout": (0.0, 0.5),
    "hidden_size": [64, 128, 256, 512],
    "num_layers": [1, 2, 3, 4],
}
TYPED = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "hidden_size": {"type": "categorical", "choices": [128, 256, 512, 1024]},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
}
TYPED_INT = {"layers": {"type": "int", "low": 1, "high": 64, "log": True}, **TYPED}
BOUNDS = {"learning_rate": (1e-4, 1e-1), "dropout": (0.0, 0.5)}  # of the Gaussian process, and of the population


def tune(fn: Callable[..., Any], space: Mapping[str, Any], **options: Any) -> whet.Study:
    return whet.tune(fn, space, **{"objective": "maximize", "seed": 0, "progress": False, **options})


def states(study: whet.Study) -> set[State]:
    return {trial.state for trial in study.trials}


def train_model(config: dict[str, Any]) -> float:
    lr = config["learning_rate"]
    dropout = config["dropout"]
    score = -((lr - 0.001) ** 2) - ((dropout - 0.3) ** 2) + 0.5
    return score + np.random.normal(0, 0.01)


# ---- grid search
def test_every_combination_of_the_grid_and_its_best() -> None:
    study = tune(train_model, GRID, sampler="grid", workers=2)
    assert states(study) == {State.COMPLETED}
    assert len({tuple((trial.config or {}).values()) for trial in study.trials}) == len(study.trials) == 27
    assert study.best_config["dropout"] == 0.3
    assert study.best_value == max(trial.values["value"] for trial in study.trials)


def test_the_noise_of_numpys_global_generator_is_not_the_same_in_every_trial() -> None:
    study = tune(lambda config: np.random.normal(0, 0.01), {"batch_size": list(range(8))}, sampler="grid", workers=2)
    assert len({trial.values["value"] for trial in study.trials}) == 8


# ---- random search
@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_a_mixed_space(executor: str) -> None:
    def check(config: dict[str, Any]) -> float:
        assert type(config) is dict
        assert list(config) == list(MIXED)
        assert type(config["learning_rate"]) is type(config["dropout"]) is float
        assert type(config["hidden_size"]) is type(config["num_layers"]) is int  # not numpy's, as JSON needs them
        return train_model(config)

    study = tune(check, MIXED, sampler="random", n_trials=30, executor=executor)
    assert states(study) == {State.COMPLETED}
    rates = [trial.config["learning_rate"] for trial in study.trials if trial.config]
    assert all(1e-5 <= rate <= 1e-2 for rate in rates)
    assert sum(rate < 10**-3.5 for rate in rates) > 5  # a third of them would be: half on a log scale, 3 % on a linear


# ---- Bayesian optimisation, population-based training: their spaces
def test_bounds() -> None:
    study = tune(train_model, BOUNDS, n_trials=20, executor="inline")
    assert states(study) == {State.COMPLETED}
    assert all(1e-4 <= trial.config["learning_rate"] <= 1e-1 for trial in study.trials if trial.config)
    assert all(0.0 <= trial.config["dropout"] <= 0.5 for trial in study.trials if trial.config)


# ---- a trial that is reported to
def train_with_optuna(config: dict[str, Any], trial: Any) -> float:
    val_acc = 0.0
    for epoch in range(config.get("epochs", 10)):
        val_acc = np.random.random()
        trial.report(val_acc, epoch)
    return val_acc


@pytest.mark.parametrize("space", [TYPED, TYPED_INT], ids=["as_written", "with_an_int"])
def test_typed_dicts_and_reports(space: Mapping[str, Any]) -> None:
    study = tune(train_with_optuna, space, n_trials=6, workers=2)
    assert states(study) == {State.COMPLETED}
    for trial in study.trials:
        assert trial.config is not None
        assert trial.config["hidden_size"] in (128, 256, 512, 1024)
        assert 1e-5 <= trial.config["learning_rate"] <= 1e-1
        assert 1 <= trial.config.get("layers", 1) <= 64
        assert [step for step, _ in trial.curve] == list(range(10))
        assert list(trial.curve)[-1][1] == trial.values["value"]


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_who_keeps_asking_whether_to_prune_is_told_what_takes_its_place(executor: str) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        trial.report(0.5, 0)
        if trial.should_prune():
            raise Exception("Trial pruned")
        return 0.5

    study = tune(train, TYPED, n_trials=1, executor=executor)
    (trial,) = study.trials
    assert (trial.state, trial.cause) == (State.FAILED, Cause.ERROR)
    assert "should_prune" in trial.message
    assert "trial.report(value, step)" in trial.message
    assert "whet.TrialStopped" in trial.message


# ---- a trainable that returns a dict: also in test_networks
def test_a_dict_under_a_bare_direction_says_how_to_name_the_metric() -> None:
    study = tune(lambda config: {"accuracy": 0.5}, BOUNDS, n_trials=1, executor="inline")
    assert study.trials[0].state is State.FAILED
    assert "accuracy" in study.trials[0].message


# ---- successive halving: a function of a config and a budget
def test_a_budget() -> None:
    def objective_fn(config: dict[str, Any], budget: float) -> float:
        assert budget == 100
        return -abs(config["learning_rate"] - 0.05) * 100 / budget

    study = tune(objective_fn, BOUNDS, fidelity={"epochs": (1, 100)}, n_trials=4, workers=2)
    assert states(study) == {State.COMPLETED}
    assert study.best_value == max(trial.values["value"] for trial in study.trials)


def test_a_budget_without_a_fidelity_is_refused_before_anything_runs() -> None:
    def objective_fn(config: dict[str, Any], budget: float) -> float:
        raise AssertionError

    with pytest.raises(whet.errors.UsageError, match="fidelity"):
        tune(objective_fn, BOUNDS, n_trials=1)
