"""The spaces of a guide to tuning, with scikit-learn's digits in place of a download; its network: test_networks."""

from __future__ import annotations

import time
from typing import Any

from scipy.stats import loguniform, randint, uniform
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

import whet
from whet.core.trial import State

SVM_GRID = {"C": [0.1, 1, 10], "gamma": [1, 0.1, 0.01], "kernel": ["rbf"]}
FOREST_GRID = {"max_depth": [5, 10, 15, None], "min_samples_leaf": [1, 2, 4]}
BOOSTING = {"learning_rate": loguniform(1e-4, 1e-1), "n_estimators": randint(100, 1000), "max_depth": randint(2, 6)}
NETWORK = {"lr": loguniform(1e-4, 1e-1), "dropout": uniform(0.1, 0.4), "hidden": [64, 128, 256]}  # scipy: loc, scale
POPULATION = {"lr": loguniform(1e-4, 1e-1), "dropout": [0.2, 0.3, 0.4, 0.5]}

IMAGES, LABELS = load_digits(return_X_y=True)
FEW = slice(0, 200)


def tune(fn: Any, space: Any, **options: Any) -> whet.Study:
    study = whet.tune(fn, space, **{"objective": "maximize", "seed": 42, "progress": False, **options})
    assert {trial.state for trial in study.trials} == {State.COMPLETED}
    return study


def cross_validated(model: Any) -> float:
    return float(cross_val_score(model, IMAGES[FEW] / 16, LABELS[FEW], cv=2, scoring="accuracy").mean())


def test_the_grid_of_a_support_vector_machine() -> None:
    study = tune(lambda config: cross_validated(SVC(**config)), SVM_GRID, sampler="grid", executor="inline")
    assert len(study.trials) == 9
    assert study.best_value == cross_validated(SVC(**study.best_config))
    assert {(trial.config or {})["kernel"] for trial in study.trials} == {"rbf"}


def test_a_grid_with_none_in_it() -> None:
    def score(config: dict[str, Any]) -> float:
        return cross_validated(RandomForestClassifier(n_estimators=3, random_state=0, **config))

    study = tune(score, FOREST_GRID, sampler="grid", workers=2)
    assert len(study.trials) == 12
    assert [(trial.config or {})["max_depth"] for trial in study.trials].count(None) == 3


def test_scipy_distributions_as_scikit_learn_takes_them() -> None:
    study = tune(lambda config: config["learning_rate"], BOOSTING, sampler="random", n_trials=60, executor="inline")
    configs = [trial.config or {} for trial in study.trials]
    assert all(1e-4 <= config["learning_rate"] <= 1e-1 for config in configs)
    assert all(type(config["n_estimators"]) is int and 100 <= config["n_estimators"] < 1000 for config in configs)
    assert {config["max_depth"] for config in configs} == {2, 3, 4, 5}  # the end is left out, as scipy does
    low = sum(config["learning_rate"] < 10**-2.5 for config in configs)
    assert 15 <= low <= 45


def test_a_config_fits_an_estimator() -> None:
    space = {**BOOSTING, "n_estimators": randint(2, 5)}
    study = tune(
        lambda config: cross_validated(GradientBoostingClassifier(random_state=0, **config)),
        space,
        n_trials=2,
        executor="inline",
    )
    assert study.best_value > 0.1


def test_the_time_ends_a_search_before_its_trials_do() -> None:
    def slow(config: dict[str, Any]) -> float:
        time.sleep(0.2)
        return config["dropout"]

    study = whet.tune(slow, NETWORK, n_trials=10_000, timeout=1.0, objective="maximize", progress=False)
    assert study.outcome is not None
    assert study.outcome.reason == "timeout"
    assert 1 <= sum(trial.state is State.COMPLETED for trial in study.trials) < 100


def test_the_space_of_a_population() -> None:
    study = tune(lambda config: config["lr"], POPULATION, n_trials=10, executor="inline")
    assert {(trial.config or {})["dropout"] for trial in study.trials} <= {0.2, 0.3, 0.4, 0.5}
