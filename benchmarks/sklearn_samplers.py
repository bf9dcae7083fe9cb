"""SearchCV with strategy="auto" beside RandomizedSearchCV, which gets more candidates, and skopt's BayesSearchCV.

Each search tunes the same estimator over the same space, on the same data and splits; a seed decides all of those. The
score is that of the best candidate, its mean over the splits; the held-out score is that of it refitted, on data that
no search has seen. skopt is left out, and that is said, where it is not installed: pip install scikit-optimize

python benchmarks/sklearn_samplers.py [--seeds 10] [--skopt-seeds 2] [--jobs 2] [--only svc] [--without skopt]
"""

from __future__ import annotations

import argparse
import importlib.util
import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import mean, stdev
from typing import Any

from measuring import show
from scipy import stats
from sklearn.base import is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, RandomizedSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import check_random_state

from whet.sklearn import SearchCV

N_SPLITS = 5
N_TRIALS, N_ITER = 40, 60  # candidates of the searches that learn, and of the random one


@dataclass(frozen=True)
class Pair:
    """A data set and what is tuned on it.

    Attributes:
        data: returns samples and targets.
        estimator: made anew for each search.
        space: as `SearchCV` takes it, bounds and lists only; the others are given the same.
        scoring: of the candidates.
    """

    data: Callable[[], tuple[Any, Any]]
    estimator: Callable[[], Any]
    space: Mapping[str, Any]
    scoring: str


def _some_digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


PAIRS = {
    "svc": Pair(
        _some_digits,
        lambda: make_pipeline(StandardScaler(), SVC()),
        {"svc__C": (1e-3, 1e4, "log"), "svc__gamma": (1e-6, 10.0, "log"), "svc__kernel": ["rbf", "sigmoid"]},
        "accuracy",
    ),
    "boosting": Pair(
        lambda: load_diabetes(return_X_y=True),
        lambda: HistGradientBoostingRegressor(max_iter=40, early_stopping=False, random_state=0),
        {
            "learning_rate": (1e-3, 1.0, "log"),
            "max_leaf_nodes": (2, 64, "log"),
            "min_samples_leaf": (2, 100, "log"),
            "l2_regularization": (1e-6, 1e3, "log"),
            "max_features": (0.1, 1.0),
        },
        "r2",
    ),
    "kernel": Pair(
        lambda: make_friedman1(n_samples=300, noise=1.0, random_state=0),
        lambda: make_pipeline(StandardScaler(), KernelRidge()),
        {
            "kernelridge__kernel": ["rbf", "laplacian"],
            "kernelridge__alpha": (1e-6, 1e2, "log"),
            "kernelridge__gamma": (1e-5, 10.0, "log"),
        },
        "neg_root_mean_squared_error",
    ),
    "forest": Pair(
        lambda: load_breast_cancer(return_X_y=True),
        lambda: ExtraTreesClassifier(n_estimators=20, random_state=0),
        {
            "max_features": (0.05, 1.0),
            "min_samples_leaf": (1, 50, "log"),
            "min_samples_split": (2, 100, "log"),
            "max_depth": (2, 30),
            "criterion": ["gini", "entropy"],
            "bootstrap": [True, False],
        },
        "neg_log_loss",
    ),
    "mlp": Pair(
        lambda: load_breast_cancer(return_X_y=True),
        lambda: make_pipeline(StandardScaler(), MLPClassifier(max_iter=15, random_state=0)),
        {
            "mlpclassifier__hidden_layer_sizes": (4, 64, "log"),
            "mlpclassifier__alpha": (1e-6, 10.0, "log"),
            "mlpclassifier__learning_rate_init": (1e-4, 1.0, "log"),
            "mlpclassifier__batch_size": (16, 256, "log"),
            "mlpclassifier__activation": ["relu", "tanh", "logistic"],
        },
        "neg_log_loss",
    ),
}


class LogIntegers:
    """Whole numbers from *low* to *high*, of which scipy has no distribution with equal shares on a log scale."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def rvs(self, random_state: Any = None) -> int:
        """Draw one."""
        at = check_random_state(random_state).uniform(log(self.low - 0.5), log(self.high + 0.5))
        return min(max(round(exp(at)), self.low), self.high)


def for_scipy(domain: Any) -> Any:
    """Return the distribution of *domain*, or its list."""
    if isinstance(domain, list):
        return domain
    low, high, *scale = domain
    if isinstance(low, int):
        return LogIntegers(low, high) if scale else stats.randint(low, high + 1)
    return stats.loguniform(low, high) if scale else stats.uniform(low, high - low)


def for_skopt(domain: Any) -> Any:
    """Return the dimension of *domain*."""
    from skopt.space import Categorical, Integer, Real

    if isinstance(domain, list):
        return Categorical(domain)
    low, high, *scale = domain
    kind = Integer if isinstance(low, int) else Real
    return kind(low, high, prior="log-uniform" if scale else "uniform")


def by_whet(pair: Pair, seed: int, options: Mapping[str, Any]) -> Any:
    space = dict(pair.space)
    return SearchCV(pair.estimator(), space, strategy="auto", n_trials=N_TRIALS, random_state=seed, **options)


def at_random(pair: Pair, seed: int, options: Mapping[str, Any]) -> Any:
    space = {name: for_scipy(domain) for name, domain in pair.space.items()}
    return RandomizedSearchCV(pair.estimator(), space, n_iter=N_ITER, random_state=seed, **options)


def by_skopt(pair: Pair, seed: int, options: Mapping[str, Any]) -> Any:
    from skopt import BayesSearchCV

    space = {name: for_skopt(domain) for name, domain in pair.space.items()}
    return BayesSearchCV(pair.estimator(), space, n_iter=N_TRIALS, random_state=seed, **options)


SEARCHES = {"auto": by_whet, "random": at_random, "skopt": by_skopt}
LABELS = {
    "auto": f'whet SearchCV("auto", {N_TRIALS})',
    "random": f"RandomizedSearchCV({N_ITER})",
    "skopt": f"skopt BayesSearchCV({N_TRIALS})",
}


@dataclass(frozen=True)
class Came:
    """What a search came to: its score, that on held-out data, how many fits on splits, and the seconds it took."""

    score: float
    held_out: float
    n_fits: int
    seconds: float


def run(pair_name: str, search: str, seed: int) -> Came:
    """Do one search."""
    pair = PAIRS[pair_name]
    X, y = pair.data()
    is_of_classes = is_classifier(pair.estimator())
    X, X_held_out, y, y_held_out = train_test_split(X, y, random_state=seed, stratify=y if is_of_classes else None)
    cv = (StratifiedKFold if is_of_classes else KFold)(N_SPLITS, shuffle=True, random_state=seed)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of networks that have not converged, and of skopt's repetitions
        fitted = SEARCHES[search](pair, seed, {"cv": cv, "scoring": pair.scoring}).fit(X, y)
        seconds = time.perf_counter() - began
        held_out = fitted.score(X_held_out, y_held_out)
    n_fits = len(fitted.cv_results_["params"]) * N_SPLITS
    return Came(float(fitted.best_score_), float(held_out), n_fits, seconds)


def compared(came: Mapping[str, Sequence[Came]]) -> dict[str, object]:
    """Return the rows of one pair: of each search the means, and how whet's score differs, seed by seed."""
    rows: dict[str, object] = {}
    for search, of in came.items():
        score, held_out = (mean(getattr(one, name) for one in of) for name in ("score", "held_out"))
        fits, seconds = mean(one.n_fits for one in of), mean(one.seconds for one in of)
        rows[LABELS[search]] = f"score {score:.4f}, held out {held_out:.4f}, {fits:.0f} fits, {seconds:.1f} s"
    for search in list(came)[1:]:
        gains = gains_over(came, search)
        error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else float("nan")
        n_better, n_worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        said = f"{mean(gains):+.5f} ± {error:.5f}, better {n_better}, worse {n_worse} of {len(gains)}"
        rows[f"whet minus {search}, by seed"] = said
    return rows


def gains_over(came: Mapping[str, Sequence[Came]], search: str) -> list[float]:
    """Return by how much whet's score is above that of *search*, for each seed."""
    both = zip(came["auto"], came[search], strict=False)  # skopt may have done fewer seeds
    return [ours.score - theirs.score for ours, theirs in both]


def overall(came: Mapping[str, Mapping[str, Sequence[Came]]], search: str) -> dict[str, object]:
    """Return the rows of all pairs together; differences in units of their spread over the seeds of *search*."""
    gains = {pair: gains_over(of, search) for pair, of in came.items()}
    spread = {pair: stdev(one.score for one in of[search]) or 1.0 for pair, of in came.items()}
    scaled = [gain / spread[pair] for pair, those in gains.items() for gain in those]
    return {
        "pairs with a better mean score": f"{sum(mean(those) > 0 for those in gains.values())} of {len(gains)}",
        "searches that were better, as good, worse": [
            sum(gain > 0 for gain in scaled),
            sum(gain == 0 for gain in scaled),
            sum(gain < 0 for gain in scaled),
        ],
        "mean difference, in standard deviations": mean(scaled),
        "its standard error": stdev(scaled) / sqrt(len(scaled)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many, at least 2")
    parser.add_argument("--skopt-seeds", type=int, default=2, help="the same for skopt, which takes 40 s a search")
    parser.add_argument("--jobs", type=int, default=2, help="searches at a time; each is one process")
    parser.add_argument("--only", choices=PAIRS, help="one of the pairs")
    parser.add_argument("--without", choices=["skopt"], help="leave it out")
    options = parser.parse_args()
    searches = [name for name in SEARCHES if name != options.without]
    if "skopt" in searches and importlib.util.find_spec("skopt") is None:
        print("skopt is LEFT OUT: it is not installed (pip install scikit-optimize)", flush=True)
        searches.remove("skopt")
    pairs = [name for name in PAIRS if options.only in (None, name)]
    n_seeds = {name: max(2, options.skopt_seeds if name == "skopt" else options.seeds) for name in searches}
    came: dict[str, dict[str, list[Came]]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = [(pair, search, seed) for pair in pairs for search in searches for seed in range(n_seeds[search])]
        done = pool.map(run, *zip(*jobs, strict=True))
        for pair in pairs:
            came[pair] = {search: [next(done) for _ in range(n_seeds[search])] for search in searches}
            show(f"{pair}, {PAIRS[pair].scoring}, {N_SPLITS} splits, {n_seeds['auto']} seeds", compared(came[pair]))
    for search in searches[1:]:
        show(f"whet SearchCV beside {search}, {len(pairs)} pairs", overall(came, search))


if __name__ == "__main__":
    main()
