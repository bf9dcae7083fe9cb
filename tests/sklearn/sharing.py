"""Fits with and without a cache, to compare what they come to."""

from __future__ import annotations

from collections import Counter

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification
from sklearn.metrics import check_scoring
from sklearn.metrics._scorer import _check_multimetric_scoring, _MultimetricScorer
from sklearn.model_selection import KFold, ParameterGrid
from sklearn.model_selection._validation import _fit_and_score

from whet.sklearn.kept import opened
from whet.sklearn.plans import plan
from whet.sklearn.prefixes import fit_and_score

X, Y = make_classification(n_samples=90, n_features=8, n_informative=5, random_state=0)
FITS: Counter[str] = Counter()


class Counted(TransformerMixin, BaseEstimator):
    """Centers, and counts how often it is fitted and asked to transform."""

    def __init__(self, shift=0.0, name="step"):
        self.shift = shift
        self.name = name

    def fit(self, X, y=None):
        FITS[self.name] += 1
        self.mean_ = X.mean(axis=0) + self.shift
        return self

    def transform(self, X):
        FITS[f"{self.name} transform"] += 1
        return X - self.mean_

    @property
    def n_features_in_(self):
        return len(self.mean_)


def outcomes(estimator, grid, X=X, y=Y, cache=None, scoring=None, n_jobs=1, cv=3, fit_params=None, error_score=np.nan):
    """The outcome of every fit, in the order of the grid."""
    candidates = list(ParameterGrid(grid)) if isinstance(grid, dict) else grid
    splits = list(KFold(cv, shuffle=True, random_state=0).split(X))
    if isinstance(scoring, list | dict):
        scorer = _MultimetricScorer(scorers=_check_multimetric_scoring(estimator, scoring), raise_exc=False)
    else:
        scorer = scoring if callable(scoring) else check_scoring(estimator, scoring)
    settings = {
        "scorer": scorer,
        "fit_params": fit_params,
        "score_params": None,
        "verbose": 0,
        "error_score": error_score,
    }
    settings |= {"return_train_score": True, "return_n_test_samples": True, "return_parameters": True}

    if cache is None:
        return [
            _fit_and_score(clone(estimator), X, y, train=train, test=test, parameters=parameters, **settings)
            for parameters in candidates
            for train, test in splits
        ]
    with opened(cache, X, y, Parallel(n_jobs)) as opened_cache:
        planned = plan(estimator, candidates, len(splits), opened_cache)
        results = Parallel(n_jobs=n_jobs)(
            delayed(fit_and_score)(
                clone(estimator),
                X,
                y,
                train=splits[split][0],
                test=splits[split][1],
                **settings,
                parameters=candidates[candidate],
                cache=planned.caches[candidate],
            )
            for candidate, split in planned.order
        )
    return [result for _, result in sorted(zip(planned.order, results, strict=True), key=lambda pair: pair[0])]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for our, their in zip(ours, theirs, strict=True):
        for name in ("test_scores", "train_scores", "n_test_samples"):
            np.testing.assert_equal(our[name], their[name])
        errors = [outcome["fit_error"] and outcome["fit_error"].splitlines()[-1] for outcome in (our, their)]
        assert errors[0] == errors[1]
        assert our["parameters"] == their["parameters"]


def check(estimator, grid, **settings):
    """Outcomes with and without a cache are the same; returns how often steps were fitted with it."""
    theirs = outcomes(estimator, grid, **settings)
    FITS.clear()
    assert_same(outcomes(estimator, grid, cache="memory", **settings), theirs)
    return dict(FITS)
