"""The honest choice as searches make it: what they choose, refuse before they fit, score by and warn of."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.model_selection import ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import whet.sklearn
from tests.sklearn.cases import X, two_scores, weights, y
from tests.sklearn.guessing import Guess
from whet.sklearn.choosing import one_standard_error
from whet.sklearn.nested import nested_cv
from whet.sklearn.optimism import SelectionBiasWarning, selection_bias

RULE = "one_standard_error"
_TREE = DecisionTreeClassifier(random_state=0)
_DEPTHS = {"max_depth": [None, 8, 4, 3, 2, 1]}


def grid(refit=RULE, complexity="max_depth", param_grid=_DEPTHS, **options):
    options = {"cv": 5, **options}
    return whet.sklearn.GridSearchCV(_TREE, param_grid, refit=refit, complexity=complexity, **options)


class Unfittable(ClassifierMixin, BaseEstimator):
    """Tells that it was fitted by failing in a way that no search forgives."""

    def __init__(self, depth=1):
        self.depth = depth

    def fit(self, X, y):
        raise KeyboardInterrupt


SEARCHES = {
    "grid": grid(),
    "drawn": whet.sklearn.RandomizedSearchCV(
        _TREE, _DEPTHS, n_iter=5, cv=5, refit=RULE, complexity="max_depth", random_state=0
    ),
    "halving": whet.sklearn.HalvingGridSearchCV(
        _TREE, _DEPTHS, factor=2, cv=3, min_resources=30, refit=RULE, complexity="max_depth", random_state=0
    ),
    "learnt": whet.sklearn.SearchCV(
        _TREE, {"max_depth": (1, 9)}, n_trials=6, cv=5, refit=RULE, complexity="max_depth", random_state=0
    ),
    "cached": grid(cache="memory"),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_the_simplest_is_chosen_and_fitted(name):
    search = clone(SEARCHES[name]).fit(X, y)
    results = search.cv_results_
    assert search.best_index_ == one_standard_error(results, "score", "max_depth")
    assert search.best_score_ == results["mean_test_score"][search.best_index_]
    assert search.best_params_ == results["params"][search.best_index_]
    assert search.best_estimator_.max_depth == search.best_params_["max_depth"]
    assert search.score(X, y) == accuracy_score(y, search.predict(X))
    assert pickle.loads(pickle.dumps(search)).best_index_ == search.best_index_


def test_it_is_another_than_the_best():
    data = make_classification(n_samples=200, n_features=10, flip_y=0.2, random_state=5)
    search, best = grid().fit(*data), grid(refit=True, complexity=None).fit(*data)
    assert search.best_params_["max_depth"] < best.best_params_["max_depth"]
    assert search.best_score_ < best.best_score_
    np.testing.assert_array_equal(search.cv_results_["rank_test_score"], best.cv_results_["rank_test_score"])


def test_of_several_metrics_the_one_in_brackets():
    search = grid(f"{RULE}(roc_auc)", scoring=["accuracy", "roc_auc"]).fit(X, y)
    alone = grid(scoring="roc_auc").fit(X, y)
    assert search.best_index_ == alone.best_index_
    assert search.best_score_ == alone.best_score_
    assert search.score(X, y) == alone.score(X, y) == get_scorer("roc_auc")(alone, X, y)
    assert dict(search.study_.best.values)["roc_auc"] == search.cv_results_["mean_test_roc_auc"].max()
    assert search.get_params()["refit"] == f"{RULE}(roc_auc)"
    assert nested_cv(search, X, y, cv=2).is_same_metric


def test_of_what_a_function_scores():
    search = grid(f"{RULE}(accuracy)", scoring=two_scores).fit(X, y)
    assert search.best_index_ == one_standard_error(search.cv_results_, "accuracy", "max_depth")
    assert search.score(X, y) == accuracy_score(y, search.predict(X))
    learnt = whet.sklearn.SearchCV(
        _TREE, _DEPTHS, n_trials=3, cv=2, scoring=two_scores, refit=f"{RULE}(accuracy)", complexity="max_depth"
    ).fit(X, y)
    assert "accuracy" in learnt.study_.best.values


def test_with_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        tree = DecisionTreeClassifier(random_state=0).set_fit_request(sample_weight=True)
        scorers = {"a": get_scorer("accuracy").set_score_request(sample_weight=True)}
        search = whet.sklearn.GridSearchCV(
            tree, {"max_depth": [1, 3]}, cv=3, scoring=scorers, refit=f"{RULE}(a)", complexity="max_depth"
        ).fit(X, y, sample_weight=weights)
        assert search.score(X, y, sample_weight=weights) == scorers["a"](search, X, y, sample_weight=weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"complexity": None}, "say with complexity= which is simpler"),
        ({"complexity": "deepth"}, r"has no parameter 'deepth' \(it has: 'depth'\)"),
        ({"complexity": ["depth", "name"]}, "has no parameter 'name'"),
        ({"refit": True}, 'complexity is for refit="one_standard_error", and refit is True'),
        ({"refit": f"{RULE}(f1)"}, "the only metric is the estimator's own score"),
        ({"refit": f"{RULE}(f1", "scoring": ["f1"]}, "with the name of a metric"),
        ({"scoring": ["accuracy", "f1"]}, r"say which one counts: .*\(accuracy, f1\)"),
        ({"scoring": ["accuracy", "f1"], "refit": f"{RULE}(auc)"}, "a metric that is not scored, 'auc'"),
        ({"param_grid": {"depth": ["a", "b"]}}, "'depth' is 'a'.*Give a function"),
        ({"cv": ShuffleSplit(1, test_size=0.2)}, "one split has no standard error"),
        ({"complexity": 3}, "'complexity' parameter of GridSearchCV must be"),
    ],
)
def test_what_is_refused_before_anything_is_fitted(options, message):
    given = {"complexity": "depth", "param_grid": {"depth": [1, 2]}, "cv": 3, "refit": RULE, **options}
    with pytest.raises(ValueError, match=message):
        whet.sklearn.GridSearchCV(Unfittable(), **given).fit(X, y)


NOISE = np.random.default_rng(0).normal(size=(100, 5))
COIN = np.arange(100) % 2


def warned(search, data=(NOISE, COIN)):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(*data)
    return [str(one.message) for one in caught if one.category is SelectionBiasWarning]


def lucky(**options):
    return whet.sklearn.GridSearchCV(Guess(), {"seed": list(range(40))}, cv=10, **options)


def test_it_warns_of_luck():
    search = lucky()
    (message,) = warned(search)
    bias = selection_bias(search.cv_results_)
    assert message.startswith(f"The best of 40 candidates has a mean test score of {search.best_score_:.4g}")
    assert f"About {bias.corrected:.4g}" in message


@pytest.mark.parametrize(
    "options",
    [
        {"refit": RULE, "complexity": "seed"},
        {"refit": lambda results: 0},
        {"scoring": ["accuracy", "f1"], "refit": False},
    ],
)
def test_it_does_not_where_the_best_is_not_what_was_chosen(options):
    assert not warned(lucky(**options))


def test_it_does_not_warn_of_what_is_right():
    data = make_classification(n_samples=300, n_features=10, random_state=0)
    for cv in (3, 10):
        knn = whet.sklearn.GridSearchCV(KNeighborsClassifier(), {"n_neighbors": list(range(1, 16))}, cv=cv)
        svc = whet.sklearn.GridSearchCV(SVC(), {"C": np.logspace(-2, 2, 9), "gamma": [0.01, 0.1]}, cv=cv)
        assert not warned(knn, data)
        assert not warned(svc, data)
