"""Searches give what scikit-learn's give: results, choices, attributes, warnings."""

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.svm import SVC

from tests.sklearn.cases import CASES, X, weights, y
from tests.sklearn.comparing import OURS, THEIRS, assert_same, fitted
from whet.core.trial import State

BESIDE = [  # what can differ between processes: data of all kinds, objects among the values, failures
    "swapped steps",
    "values of all kinds",
    "data frame",
    "sparse",
    "precomputed kernel",
    "sample weight",
    "a candidate fails, scores by function",
    "drawn",
    "halving",
]


@pytest.mark.parametrize("case", CASES)
def test_a_search_gives_what_scikit_learns_gives(case):
    name, make, data, fit_params = CASES[case]
    search = assert_same(name, make, *data, fit_params)
    trials = search.study_.trials
    assert len(trials) == len(search.cv_results_["params"])
    metric = "score" if not search.multimetric_ else search.refit
    if isinstance(metric, str):
        for trial, mean in zip(trials, search.cv_results_[f"mean_test_{metric}"], strict=True):
            assert trial.state is (State.COMPLETED if np.isfinite(mean) else State.FAILED)
            assert trial.state is State.FAILED or trial.values[metric] == mean


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("case", BESIDE)
def test_two_workers_change_nothing(case, backend):
    name, make, data, fit_params = CASES[case]
    with joblib.parallel_config(backend):
        search, _ = fitted(OURS[name], lambda: make() | {"n_jobs": 2}, *data, fit_params)
    one, _ = fitted(OURS[name], make, *data, fit_params)
    from tests.sklearn.comparing import assert_same_results

    assert_same_results(search.cv_results_, one.cv_results_)
    assert search.best_index_ == one.best_index_
    assert [t.config for t in search.study_.trials] == [t.config for t in one.study_.trials]
    names = [name for name in one.study_.trials[0].values if not name.endswith("_time")]
    for ours, theirs in zip(search.study_.trials, one.study_.trials, strict=True):
        np.testing.assert_equal([ours.values.get(n) for n in names], [theirs.values.get(n) for n in names])


def test_metadata_is_routed():
    def make():
        return {
            "estimator": LogisticRegression().set_fit_request(sample_weight=True),
            "param_grid": {"C": [0.1, 1.0]},
            "scoring": get_scorer("accuracy").set_score_request(sample_weight=True),
            "cv": GroupKFold(3).set_split_request(groups=True),
        }

    with sklearn.config_context(enable_metadata_routing=True):
        fit_params = {"sample_weight": weights, "groups": np.repeat(range(6), 10)}
        assert_same("GridSearchCV", make, X, y, fit_params)
        with pytest.raises(TypeError, match="unexpected argument"):
            OURS["GridSearchCV"](**make()).fit(X, y, weather="fine")


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_inside_cross_validation(n_jobs):
    scores = [
        cross_val_score(kind(SVC(), {"C": [0.1, 1, 10]}, cv=3), X, y, cv=3, n_jobs=n_jobs)
        for kind in (OURS["GridSearchCV"], THEIRS["GridSearchCV"])
    ]
    np.testing.assert_array_equal(*scores)


def test_a_search_inside_a_search():
    def make(kind):
        inner = kind(SVC(), {"C": [0.1, 1.0]}, cv=2)
        return lambda: {"estimator": inner, "param_grid": {"estimator__kernel": ["linear", "rbf"]}, "cv": 2}

    one, _ = fitted(OURS["GridSearchCV"], make(OURS["GridSearchCV"]), X, y)
    other, _ = fitted(THEIRS["GridSearchCV"], make(THEIRS["GridSearchCV"]), X, y)
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])
    assert one.best_estimator_.study_.best_value == one.best_estimator_.best_score_
