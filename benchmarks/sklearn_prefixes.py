"""Searches of pipelines whose first steps cost most of the time, and of one where they cost nothing.

python benchmarks/sklearn_prefixes.py [--only text] [--rounds 1] [--size 1.0]

Each is compared with scikit-learn's GridSearchCV, and with the same over a pipeline that has a `memory`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.model_selection as theirs
from measuring import show
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import KNNImputer
from sklearn.linear_model import Ridge, SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn_search import Case, Fit, measured

import whet.sklearn as ours


def documents(n: int, n_words: int = 10, n_known: int = 20_000) -> tuple[list[str], Any]:
    """`n` documents of made-up words, frequent ones and rare ones as in a language, and one of two topics for each."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(rng.choice(letters, length)) for length in rng.integers(3, 10, n_known)]
    share = 1 / np.arange(1, n_known + 1)
    shares = share / share.sum(), np.roll(share, 5) / share.sum()
    topics = rng.integers(0, 2, n)
    return [" ".join(rng.choice(words, n_words, p=shares[topic])) for topic in topics], topics


def with_gaps(n: int, n_columns: int = 12) -> tuple[Any, Any]:
    """A regression with products of columns, of which a tenth of the values is missing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_columns))
    y = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(scale=0.3, size=n)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, y


def contestants(pipeline: Pipeline, grid: Any, data: tuple[Any, Any], n_folds: int) -> dict[str, Fit]:
    """The search by whet, by scikit-learn, and by scikit-learn over a pipeline with a `memory` that starts empty."""
    settings: dict[str, Any] = {"n_jobs": 2, "cv": n_folds, "refit": False}

    def remembering() -> Any:
        folder = tempfile.mkdtemp()
        try:
            with_memory = Pipeline(pipeline.steps, memory=folder)
            return theirs.GridSearchCV(with_memory, grid, **settings).fit(*data)
        finally:
            shutil.rmtree(folder)

    return {
        "whet": lambda: ours.GridSearchCV(pipeline, grid, cache="memory", **settings).fit(*data),
        "scikit-learn": lambda: theirs.GridSearchCV(pipeline, grid, **settings).fit(*data),
        "scikit-learn, memory=": remembering,
    }


def text(size: float) -> dict[str, Fit]:
    """4 vectorizers x 12 classifiers."""
    X, y = documents(int(20_000 * size))
    vectorizers = [
        TfidfVectorizer(ngram_range=(1, 1)),
        TfidfVectorizer(ngram_range=(1, 2)),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)),
    ]
    pipeline = Pipeline(
        [("text", TfidfVectorizer()), ("classifier", SGDClassifier(random_state=0, max_iter=5, tol=None))]
    )
    losses = ["hinge", "log_loss", "modified_huber"]
    grid = {"text": vectorizers, "classifier__alpha": np.logspace(-6, -3, 4), "classifier__loss": losses}
    return contestants(pipeline, grid, (X, y), 2)


def tabular(size: float) -> dict[str, Fit]:
    """2 imputers x 2 expansions x 20 regressions."""
    X, y = with_gaps(int(3_000 * size))
    pipeline = Pipeline([("impute", KNNImputer()), ("expand", PolynomialFeatures()), ("regress", Ridge())])
    grid = {
        "impute__n_neighbors": [3, 10],
        "expand__interaction_only": [True, False],
        "regress__alpha": np.logspace(-4, 4, 20),
    }
    return contestants(pipeline, grid, (X, y), 3)


def digits(size: float) -> dict[str, Fit]:
    """The first steps take 2 ms of 94: what there is to share is not worth sharing."""
    X, y = load_digits(return_X_y=True)
    n = int(len(X) * min(size, 1.0))
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA(random_state=0)), ("classify", SVC())])
    grid = {"pca__n_components": [20, 40], "classify__C": [0.1, 1.0, 10.0], "classify__gamma": [0.001, 0.01]}
    return contestants(pipeline, grid, (X[:n], y[:n]), 3)


CASES: dict[str, tuple[str, str, Callable[[float], dict[str, Fit]]]] = {
    "text": ("TfidfVectorizer + SGDClassifier, 4 x 12 candidates x 2 folds", "<= 0.25, and <= 1 of memory=", text),
    "tabular": ("KNNImputer + PolynomialFeatures + Ridge, 4 x 20 x 3", "<= 0.25, and <= 1 of memory=", tabular),
    "digits": ("StandardScaler + PCA + SVC on digits, 2 x 6 x 3", "<= 1.05", digits),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=CASES, help="one of the cases")
    parser.add_argument("--size", type=float, default=1.0, help="the share of the samples that are used")
    options = parser.parse_args()
    for name, (title, target, make) in CASES.items():
        if options.only in (None, name):
            case = Case(title, target, lambda make=make: make(options.size))
            show(f"{title}, n_jobs=2, median of {options.rounds}", measured(case, options.rounds))


if __name__ == "__main__":
    main()
