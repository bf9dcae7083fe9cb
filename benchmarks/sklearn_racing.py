"""Racing beside the full search: the same 60 candidates on 10 splits, the fits that it takes, and who wins.

The gap is how far the winner of the race is behind the winner of the full search, by the scores on all splits, in
standard errors of the latter's score. The rule of racing was chosen on other data and estimators than these.

python benchmarks/sklearn_racing.py [--only "wine KNN"] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ["PYTHONWARNINGS"] = "ignore"  # of the workers: small networks do not converge, and need not
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import sklearn.model_selection as theirs  # noqa: E402
from measuring import show  # noqa: E402
from scipy.stats import loguniform, randint, uniform  # noqa: E402
from sklearn.datasets import (  # noqa: E402
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_friedman1,
)
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import Pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.svm import SVC, SVR  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

import whet.sklearn as ours  # noqa: E402

N_CANDIDATES, N_SPLITS = 60, 10
NEAR = 0.1  # standard errors


@dataclass(frozen=True)
class Pair:
    """Data and an estimator, and what its parameters may be."""

    data: Callable[[], tuple[Any, Any]]
    estimator: Any
    space: dict[str, Any]


def scaled(estimator: Any) -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("m", estimator)])


def some_digits(n: int, seed: int) -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    chosen = np.random.RandomState(seed).permutation(len(y))[:n]
    return X[chosen], y[chosen]


LOG = {"m__C": loguniform(1e-2, 1e3), "m__gamma": loguniform(1e-5, 1)}
PAIRS = {
    "digits SVC": Pair(lambda: some_digits(700, 9), scaled(SVC()), LOG),
    "breast_cancer GradientBoosting": Pair(
        lambda: load_breast_cancer(return_X_y=True),
        GradientBoostingClassifier(random_state=0),
        {
            "n_estimators": randint(5, 40),
            "learning_rate": loguniform(1e-2, 1),
            "max_depth": randint(1, 5),
            "subsample": uniform(0.4, 0.6),
        },
    ),
    "breast_cancer LogisticRegression": Pair(
        lambda: load_breast_cancer(return_X_y=True),
        scaled(LogisticRegression(max_iter=300)),
        {"m__C": loguniform(1e-4, 1e3)},
    ),
    "wine KNN": Pair(
        lambda: load_wine(return_X_y=True),
        scaled(KNeighborsClassifier()),
        {"m__n_neighbors": randint(1, 40), "m__weights": ["uniform", "distance"], "m__p": [1, 2]},
    ),
    "iris SVC": Pair(lambda: load_iris(return_X_y=True), scaled(SVC()), LOG),
    "diabetes RandomForest": Pair(
        lambda: load_diabetes(return_X_y=True),
        RandomForestRegressor(n_estimators=15, random_state=0),
        {"max_depth": randint(1, 15), "max_features": uniform(0.1, 0.9), "min_samples_leaf": randint(1, 20)},
    ),
    "diabetes Ridge": Pair(
        lambda: load_diabetes(return_X_y=True), scaled(Ridge()), {"m__alpha": loguniform(1e-4, 1e4)}
    ),
    "make_friedman1 SVR": Pair(
        lambda: make_friedman1(n_samples=300, noise=1.0, random_state=100),
        scaled(SVR()),
        {"m__C": loguniform(1e-2, 1e3), "m__gamma": loguniform(1e-4, 1), "m__epsilon": loguniform(1e-3, 1)},
    ),
    "make_classification DecisionTree": Pair(
        lambda: make_classification(n_samples=1000, n_features=12, n_informative=5, random_state=101),
        DecisionTreeClassifier(random_state=0),
        {
            "max_depth": randint(1, 20),
            "min_samples_leaf": randint(1, 30),
            "criterion": ["gini", "entropy"],
            "ccp_alpha": loguniform(1e-5, 1e-1),
        },
    ),
    "digits MLP": Pair(
        lambda: some_digits(500, 10),
        scaled(MLPClassifier(max_iter=25, random_state=0)),
        {
            "m__hidden_layer_sizes": [(4,), (16,), (32,)],
            "m__alpha": loguniform(1e-5, 10),
            "m__learning_rate_init": loguniform(1e-3, 1e-1),
        },
    ),
}


def raced(pair: Pair, seed: int) -> tuple[int, bool, float]:
    """Return the fits that racing took, whether it has the same winner, and how far that is behind."""
    X, y = pair.data()
    options = {"n_iter": N_CANDIDATES, "cv": N_SPLITS, "n_jobs": 2, "random_state": seed, "refit": False}
    race = ours.RandomizedSearchCV(pair.estimator, pair.space, racing=True, **options).fit(X, y)
    full = theirs.RandomizedSearchCV(pair.estimator, pair.space, **options).fit(X, y)
    assert race.cv_results_["params"] == full.cv_results_["params"]
    for split in range(N_SPLITS):  # what the race did is what the full search did
        column = race.cv_results_[f"split{split}_test_score"]
        done = ~np.ma.getmaskarray(column)
        np.testing.assert_array_equal(column[done], full.cv_results_[f"split{split}_test_score"][done])
    means = full.cv_results_["mean_test_score"]
    behind = means[full.best_index_] - means[race.best_index_]
    error = full.cv_results_["std_test_score"][full.best_index_] / np.sqrt(N_SPLITS - 1)
    n_fits = int(race.cv_results_["n_splits_run"].sum())
    return n_fits, race.best_index_ == full.best_index_, float(behind / error) if behind else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PAIRS, help="one of the pairs")
    parser.add_argument("--seed", type=int, default=0, help="of the candidates")
    options = parser.parse_args()
    rows: dict[str, object] = {}
    of_pairs = []
    for name, pair in PAIRS.items():
        if options.only not in (None, name):
            continue
        n_fits, is_same, gap = raced(pair, options.seed)
        of_pairs.append((n_fits, is_same, gap))
        winner = "same winner" if is_same else f"another winner, {gap:.2f} standard errors behind"
        rows[name] = f"{n_fits} of {N_CANDIDATES * N_SPLITS} fits, {winner}"
    n_all = N_CANDIDATES * N_SPLITS * len(of_pairs)
    rows["share of fits (target <= 0.40)"] = sum(n_fits for n_fits, _, _ in of_pairs) / n_all
    n_near = sum(gap <= NEAR for _, _, gap in of_pairs)
    rows[f"same winner or within {NEAR} SE (target all)"] = f"{n_near} of {len(of_pairs)}"
    show(f"racing: {N_CANDIDATES} candidates x {N_SPLITS} splits, n_jobs=2", rows)


if __name__ == "__main__":
    main()
