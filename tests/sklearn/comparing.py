"""Fits a search of whet and the same one of scikit-learn, and compares all that can be seen of them."""

import warnings

import numpy as np
import sklearn.model_selection as theirs
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV

import whet.sklearn as ours

THEIRS = {
    "GridSearchCV": theirs.GridSearchCV,
    "RandomizedSearchCV": theirs.RandomizedSearchCV,
    "HalvingGridSearchCV": HalvingGridSearchCV,
    "HalvingRandomSearchCV": HalvingRandomSearchCV,
}
OURS = {name: getattr(ours, name) for name in THEIRS}
# The parameters that ours have besides, and their values where nobody asks for anything.
OWN = {
    "cache": None,
    "store": None,
    "name": None,
    "resume": False,
    "timeout": None,
    "fit_timeout": None,
    "progress": False,
    "complexity": None,
}


def own_parameters(name):
    """Return the parameters that our search of that *name* has besides scikit-learn's, with their defaults."""
    return OWN if name.startswith("Halving") else {**OWN, "racing": False}


def fitted(kind, make, X, y=None, fit_params=None):
    """Return the search of that *kind* which *make* gives arguments for, fitted, and the warnings that came."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search = kind(**make()).fit(X, y, **(fit_params or {}))
    return search, [(w.category, str(w.message)) for w in caught]


def assert_same(name, make, X, y=None, fit_params=None):
    """Fit both, and compare results, choice, attributes, predictions and warnings; return ours."""
    one, our_warnings = fitted(OURS[name], make, X, y, fit_params)
    other, their_warnings = fitted(THEIRS[name], make, X, y, fit_params)
    assert our_warnings == their_warnings
    assert_same_results(one.cv_results_, other.cv_results_)
    public = {key for key in vars(other) if not key.startswith("_")}
    assert {key for key in vars(one) if not key.startswith("_")} == public | set(own_parameters(name))
    for key in ("best_index_", "best_score_", "n_splits_", "multimetric_", "n_resources_", "n_candidates_"):
        assert hasattr(one, key) == hasattr(other, key), key
        np.testing.assert_equal(getattr(one, key, None), getattr(other, key, None), err_msg=key)
    for key in ("best_params_", "scorer_", "best_estimator_"):
        assert repr(getattr(one, key, None)) == repr(getattr(other, key, None)), key
    for method in ("predict", "transform", "decision_function", "predict_proba", "score"):
        assert hasattr(one, method) == hasattr(other, method), method
    if other.refit and hasattr(other, "predict"):
        np.testing.assert_array_equal(one.predict(X), other.predict(X))
    return one


def assert_same_results(results, expected):
    """Compare two ``cv_results_``: keys and their order, types, dtypes, masks and values; times aside."""
    assert list(results) == list(expected)
    for key, wanted in expected.items():
        got = results[key]
        assert type(got) is type(wanted), key
        if key == "params":
            assert [repr(params) for params in got] == [repr(params) for params in wanted]
            continue
        assert got.dtype == wanted.dtype, key
        assert got.shape == wanted.shape, key
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(wanted), err_msg=key)
        if got.dtype == object:
            assert repr(got.tolist()) == repr(wanted.tolist()), key
        elif not key.endswith("_time"):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted), err_msg=key)
