"""Nested cross-validation: that no score has seen its choice, and what can be said wrong."""

import math
import pickle
import sys
import warnings

import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.svm import SVC

import whet.sklearn
from tests.sklearn.cases import Fussy, X, two_scores, weights, y
from tests.sklearn.guessing import Guess
from whet.sklearn.nested import NestedCV, nested_cv
from whet.sklearn.optimism import SelectionBiasWarning


def grid(**options):
    return whet.sklearn.GridSearchCV(SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3, **options)


@pytest.mark.parametrize("kind", [GridSearchCV, whet.sklearn.GridSearchCV])
def test_the_scores_are_those_of_cross_val_score(kind):
    search = kind(SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3)
    nested = nested_cv(search, X, y, cv=4)
    assert nested.scores == tuple(cross_val_score(search, X, y, cv=4))
    assert nested.mean == pytest.approx(np.mean(nested.scores))
    assert nested.standard_error == pytest.approx(np.std(nested.scores, ddof=1) / 2)
    for (train, _), inner, winner in zip(
        StratifiedKFold(4).split(X, y), nested.inner_scores, nested.best_params, strict=True
    ):
        fitted = kind(SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3).fit(X[train], y[train])
        assert inner == fitted.best_score_
        assert winner == fitted.best_params_
    assert nested.optimism == pytest.approx(np.mean(nested.inner_scores) - nested.mean)
    assert not hasattr(search, "best_params_")


def test_it_shows_how_optimistic_the_choice_is():
    """Of candidates that guess, the best one seems to know something; on the outer folds it does not."""
    rng = np.random.default_rng(0)
    noise, coin = rng.normal(size=(300, 1)), np.arange(300) % 2
    search = whet.sklearn.GridSearchCV(Guess(), {"seed": list(range(30))}, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also that of optimistic scores, which is what is looked at
        nested = nested_cv(search, noise, coin, cv=5)
    assert abs(nested.mean - 0.5) < 3 * 0.5 / np.sqrt(300)
    assert np.mean(nested.inner_scores) > 0.53
    assert nested.optimism > 0.03


def test_it_is_quiet_about_optimism_and_nothing_else():
    class Warning2(UserWarning):
        pass

    class Loud(GridSearchCV):
        def fit(self, X, y=None, **params):
            warnings.warn("optimistic", SelectionBiasWarning, stacklevel=2)
            warnings.warn("other", Warning2, stacklevel=2)
            return super().fit(X, y, **params)

    with pytest.warns(Warning2) as caught:
        nested_cv(Loud(SVC(), {"C": [1.0]}, cv=2), X, y, cv=2)
    assert {one.category for one in caught} == {Warning2}


def test_other_searches_and_workers():
    search = RandomizedSearchCV(SVC(), {"C": stats.loguniform(0.1, 10)}, n_iter=3, cv=2, random_state=0)
    one, two = nested_cv(search, X, y, cv=3), nested_cv(search, X, y, cv=3, n_jobs=2)
    assert one == two
    drawn = nested_cv(whet.sklearn.SearchCV(SVC(), {"C": (0.1, 10.0)}, n_trials=2, cv=2, random_state=0), X, y, cv=2)
    assert len(drawn.scores) == 2
    halving = whet.sklearn.HalvingGridSearchCV(SVC(), {"C": [0.1, 1, 10]}, cv=2, min_resources=10, random_state=0)
    assert len(nested_cv(halving, X, y, cv=2).best_params) == 2


def test_splitters_groups_and_weights():
    groups = np.repeat(range(6), 10)
    search = GridSearchCV(SVC(), {"C": [0.1, 1.0]}, cv=GroupKFold(2))
    nested = nested_cv(search, X, y, cv=GroupKFold(3), groups=groups, params={"groups": groups})
    assert len(nested.scores) == 3
    folds = list(KFold(2).split(X))
    assert len(nested_cv(grid(), X, y, cv=folds, params={"sample_weight": weights}).scores) == 2
    assert nested_cv(grid(), X, y, cv=folds, params={"sample_weight": weights}) != nested_cv(grid(), X, y, cv=folds)


def test_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            SVC().set_fit_request(sample_weight=True).set_score_request(sample_weight=False),
            {"C": [0.1, 1.0]},
            cv=GroupKFold(2),
        )
        groups = np.repeat(range(6), 10)
        nested = nested_cv(search, X, y, cv=GroupKFold(3), params={"sample_weight": weights, "groups": groups})
        assert len(nested.scores) == 3
        with pytest.raises(ValueError, match="groups"):
            nested_cv(search, X, y, cv=GroupKFold(3), groups=groups)


def test_several_metrics_are_scored_by_the_one_that_counts():
    search = grid(scoring=["accuracy", "roc_auc"], refit="roc_auc")
    nested = nested_cv(search, X, y, cv=3)
    assert nested == nested_cv(grid(scoring="roc_auc"), X, y, cv=3)
    assert nested == nested_cv(search, X, y, cv=3, scoring="roc_auc")
    other = nested_cv(search, X, y, cv=3, scoring="accuracy")
    assert not other.is_same_metric
    assert math.isnan(other.optimism)
    assert "on average" not in repr(other)
    named = grid(scoring={"a": "accuracy", "b": "roc_auc"}, refit="b")
    assert nested_cv(named, X, y, cv=3, scoring="roc_auc") == nested


def test_a_function_that_chooses():
    def last(results):
        return 2

    nested = nested_cv(grid(refit=last), X, y, cv=2)
    assert [winner["C"] for winner in nested.best_params] == [10.0, 10.0]
    assert all(map(math.isfinite, nested.inner_scores))
    several = grid(scoring=["accuracy", "f1"], refit=last)
    with pytest.raises(ValueError, match="several metrics, and its refit names none"):
        nested_cv(several, X, y, cv=2)
    assert all(map(math.isnan, nested_cv(several, X, y, cv=2, scoring="f1").inner_scores))


@pytest.mark.filterwarnings("ignore")
def test_a_search_that_fails_on_a_fold():
    search = GridSearchCV(Fussy(), {"fails": ["sometimes"]}, cv=KFold(2), error_score=np.nan)
    targets = np.r_[np.zeros(30, dtype=int), np.ones(30, dtype=int)]
    folds = [(np.arange(30, 60), np.arange(30)), (np.arange(30), np.arange(30, 60))]  # the second one's fits all fail
    nested = nested_cv(search, X, targets, cv=folds)
    assert nested.best_params == ({"fails": "sometimes"}, None)
    assert math.isfinite(nested.scores[0])
    assert math.isnan(nested.scores[1])
    assert math.isnan(nested.mean)
    assert "None" in repr(nested)
    assert nested.to_frame()["param_fails"].tolist() == ["sometimes", None]
    with pytest.raises(ValueError, match="fits failed"):
        nested_cv(search, X, targets, cv=folds, error_score="raise")


def test_the_table_and_the_text(monkeypatch):
    nested = NestedCV((0.5, 0.7), (0.8, 0.75), ({"C": 1.0, "kernel": "rbf"}, {"C": np.float64(10)}))
    frame = nested.to_frame()
    assert list(frame.columns) == ["fold", "score", "inner_score", "param_C", "param_kernel"]
    assert frame["param_C"].dtype == np.float64
    assert frame["param_kernel"].tolist() == ["rbf", None]
    lines = repr(nested).splitlines()
    assert lines[0] == "NestedCV: 0.6 ± 0.1 (mean and standard error of 2 folds)"
    assert lines[1] == "the searches' own best scores are 0.18 higher on average"
    assert lines[2] == "  fold 0: 0.5, its search's best score 0.8, with {'C': 1.0, 'kernel': 'rbf'}"
    assert len(lines) == 4
    assert pickle.loads(pickle.dumps(nested)) == nested
    assert math.isnan(NestedCV((0.5,), (0.5,), ({},)).standard_error)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert nested.to_frame()["fold"] == [0, 1]


class Stored(GridSearchCV):
    def __init__(self, estimator, param_grid, *, store=None, **options):
        super().__init__(estimator, param_grid)
        self.store = store


@pytest.mark.parametrize(
    ("search", "options", "error", "message"),
    [
        (SVC(), {}, TypeError, r"expected a search, such as GridSearchCV\(…\).*got SVC"),
        (grid(refit=False), {}, ValueError, "refit=False: nested_cv scores the winner of each fold"),
        (grid(), {"scoring": ["accuracy", "f1"]}, ValueError, "nested_cv takes one metric"),
        (grid(), {"scoring": two_scores}, ValueError, "scoring returned several metrics"),
        (grid(), {"cv": "five"}, ValueError, "cv"),
        (grid(), {"cv": 61}, ValueError, "n_splits=61 greater than"),
        (grid(), {"params": {"weights": weights}}, ValueError, "All the 5 fits failed"),
        (Stored(SVC(), {"C": [1]}, store="x.db"), {}, ValueError, r"kept in a store.*set_params\(store=None"),
        (whet.sklearn.GridSearchCV(SVC(), {"C": [1]}, name="kept"), {}, ValueError, r"kept in a store.*name=None"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be(search, options, error, message):
    with pytest.raises(error, match=message):
        nested_cv(search, X, y, **options)
