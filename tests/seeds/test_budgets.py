"""What a course and a guide to tuning say of early stopping, each as they write it, with their slips put right.

The course's trial is pruned by a plain exception, which would count as a failure: `trial.report` raises `TrialStopped`.
Its Hyperband counts brackets with floating-point logarithms, which loses one for R = 243. Its `bohb` is described and
bound to nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import whet
from whet.algorithms.brackets import bracket, levels
from whet.core.trial import State

TYPED = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "hidden_size": {"type": "categorical", "choices": [128, 256, 512, 1024]},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
}
FOREST_GRID = {"max_depth": [5, 10, 15, None], "min_samples_leaf": [1, 2, 4]}
IMAGES, LABELS = load_digits(return_X_y=True)


def tune(fn: Callable[..., Any], space: Any = None, **options: Any) -> whet.Study:
    return whet.tune(
        fn, TYPED if space is None else space, **{"objective": "maximize", "seed": 42, "progress": False, **options}
    )


def spent(study: whet.Study) -> Counter[float]:
    """Return how often each budget was spent by a function that is called with one."""
    return Counter(step for trial in study.trials for step, _ in trial.curve)


def objective_fn(config: dict[str, Any], budget: int) -> float:
    """The accuracy of a config with a number of epochs: better ones need longer to show it."""
    distance = abs(math.log10(config["learning_rate"]) + 3) / 2 + config["dropout"] / 5
    return (1 - distance) * (1 - 0.5 ** (budget / 3)) + 0.01 * distance


# ---- successive halving and Hyperband: a function of a config and a budget
def test_successive_halving_of_a_hundred_epochs() -> None:
    """The course goes 1, 3, 9, 27, 81 and trains the winner for 100 epochs; here the levels end at 100."""
    study = tune(objective_fn, fidelity={"epochs": (1, 100)}, scheduler="successive_halving(eta=3, n=81)",
                 sampler="random", n_trials=81, executor="inline")  # fmt: skip
    assert spent(study) == {1: 81, 4: 27, 11: 9, 33: 3, 100: 1}
    assert study.best.budget == 100
    assert study.best_value == objective_fn(dict(study.best_config), 100)
    states = Counter(trial.state for trial in study.trials)
    assert states == {State.COMPLETED: 1, State.STOPPED: 80}


def test_hyperband_of_81_epochs_is_the_papers_table() -> None:
    """One pass, all five brackets, two workers: table 1 of the paper, rung by rung."""
    budgets = levels(1, 81, 3, is_integer=True)
    rungs = [(s, rung) for s in (4, 3, 2, 1, 0) for rung in bracket(s, budgets, 3)]
    n_configs = 81 + 34 + 15 + 8 + 5
    study = tune(objective_fn, fidelity={"epochs": (1, 81)}, scheduler="hyperband(eta=3)", sampler="random",
                 n_trials=n_configs, executor="inline")  # fmt: skip
    expected: Counter[float] = Counter()
    for _, rung in rungs:
        expected[rung.budget] += rung.n
    assert spent(study) == expected
    assert dict(expected) == {1: 81, 3: 27 + 34, 9: 9 + 11 + 15, 27: 3 + 3 + 5 + 8, 81: 1 + 1 + 1 + 2 + 5}
    assert Counter(trial.bracket for trial in study.trials) == dict(enumerate([81, 34, 15, 8, 5]))
    assert study.best.budget == 81


def test_the_brackets_of_243_epochs_are_six() -> None:
    assert int(math.log(243) / math.log(3)) == 4  # as the course counts them, and loses the one that begins with 1
    budgets = levels(1, 243, 3, is_integer=True)
    assert budgets == (1, 3, 9, 27, 81, 243)
    assert [(rung.n, rung.budget) for rung in bracket(5, budgets, 3)] == [
        (243, 1), (81, 3), (27, 9), (9, 27), (3, 81), (1, 243),
    ]  # fmt: skip
    study = tune(objective_fn, fidelity={"epochs": (1, 243)}, scheduler="hyperband", sampler="random", n_trials=243,
                 executor="inline")  # fmt: skip
    assert spent(study) == {1: 243, 3: 81, 9: 27, 27: 9, 81: 3, 243: 1}


# ---- a trial that is reported to, and pruned
def train_with_reports(config: dict[str, Any], trial: Any) -> float:
    val_acc = 0.0
    for epoch in range(config.get("epochs", 10)):
        val_acc = objective_fn(config, epoch + 1) + np.random.normal(0, 0.001)
        trial.report(val_acc, epoch + 1)  # raises whet.TrialStopped where the course asks should_prune()
    return val_acc


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_the_samplers_and_the_pruners_of_the_optimizer_class(sampler: str, pruner: str) -> None:
    space = {name: TYPED[name] for name in ("learning_rate", "dropout")} if sampler == "cmaes" else TYPED
    study = tune(train_with_reports, space, fidelity={"epochs": (1, 10)}, sampler=sampler, scheduler=pruner,
                 n_trials=24, executor="inline")  # fmt: skip
    states = Counter(trial.state for trial in study.trials)
    assert set(states) == {State.COMPLETED, State.STOPPED}, "a pruned trial has not failed"
    best = study.best
    assert {step for step, _ in best.curve} == set(range(1, 11))  # under hyperband it began anew each time it went on
    assert best.values["value"] == list(best.curve)[-1][1]


def test_a_trial_that_is_pruned_is_stopped_and_not_failed_in_processes() -> None:
    study = tune(train_with_reports, fidelity={"epochs": (1, 10)}, scheduler="asha", sampler="random", n_trials=12,
                 workers=2)  # fmt: skip
    states = Counter(trial.state for trial in study.trials)
    assert set(states) == {State.COMPLETED, State.STOPPED}
    assert states[State.STOPPED] >= 4


# ---- what the course asks of Ray
def create_trainable(n_epochs: int) -> Callable[[dict[str, Any], Any], dict[str, float]]:
    def trainable(config: dict[str, Any], trial: Any) -> dict[str, float]:
        val_acc = 0.0
        for epoch in range(1, n_epochs + 1):
            val_acc = objective_fn(config, epoch)
            trial.report({"loss": 1 - val_acc, "accuracy": val_acc}, epoch)
        return {"accuracy": val_acc}

    return trainable


def test_asha_with_a_grace_period_of_ten_epochs() -> None:
    """max_t=100, grace_period=10, reduction_factor=3, metric accuracy, mode max."""
    study = tune(create_trainable(100), objective={"accuracy": "maximize"}, fidelity={"epochs": (10, 100)},
                 scheduler="asha(eta=3)", sampler="random", n_trials=20, executor="inline")  # fmt: skip
    lengths = {len(trial.curve) for trial in study.trials if trial.state is State.STOPPED}
    assert lengths <= {11, 33}
    assert lengths  # nobody before 100 / 9 epochs
    assert {len(trial.curve) for trial in study.trials if trial.state is State.COMPLETED} == {100}
    assert set(study.best.values) == {"accuracy", "loss"}


def test_bohb_is_hyperband_with_tpe() -> None:
    study = tune(create_trainable(27), objective={"accuracy": "maximize"}, fidelity={"epochs": (1, 27)},
                 scheduler="hyperband", sampler="tpe", n_trials=60, executor="inline")  # fmt: skip
    assert all(trial.state in (State.COMPLETED, State.STOPPED) for trial in study.trials)
    sources = Counter(trial.why.get("source") for trial in study.trials)
    assert sources["tpe"] > 20  # the model chooses most of them, from what they came to at every budget
    assert study.best.budget == 27
    late = [(trial.config or {})["learning_rate"] for trial in study.trials[30:] if trial.why.get("source") == "tpe"]
    near = sum(10**-3.7 <= rate <= 10**-2.3 for rate in late)
    assert near > 0.5 * len(late)  # a third of the range


# ---- the guide
def test_halving_over_a_grid_by_the_number_of_samples() -> None:
    """HalvingGridSearchCV: 12 candidates, factor 3, resource n_samples; the data's share is the fidelity."""
    seen: Counter[int] = Counter()

    def score(config: dict[str, Any], budget: float) -> float:
        n = round(budget * 900)
        seen[n] += 1
        forest = RandomForestClassifier(n_estimators=3, random_state=0, **config)
        return float(cross_val_score(forest, IMAGES[:n] / 16, LABELS[:n], cv=3, scoring="accuracy").mean())

    study = tune(score, FOREST_GRID, fidelity={"subset": (0.1, 1.0)}, scheduler="successive_halving(eta=3, n=12)",
                 sampler="grid", executor="inline")  # fmt: skip
    assert seen == {100: 12, 300: 4, 900: 1}
    assert len(study.trials) == 12
    assert study.best.budget == 1.0
    assert study.best_value > 0.7
