"""Scores of a search as a tidy table: what has a row, what the columns hold, and what there is without pandas."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

import whet.sklearn
from tests.sklearn.cases import Fussy, X, y
from whet.sklearn.tables import column_of, fold_scores


class Fitted:
    def __init__(self, **results):
        self.cv_results_ = results


@pytest.mark.parametrize("kind", [GridSearchCV, whet.sklearn.GridSearchCV])
def test_a_row_for_each_score(kind):
    search = kind(
        SVC(), {"C": [1, 10], "kernel": ["rbf"]}, cv=3, scoring=["accuracy", "f1"], refit="f1", return_train_score=True
    ).fit(X, y)
    frame = fold_scores(search)
    assert list(frame.columns) == ["candidate", "param_C", "param_kernel", "metric", "part", "split", "score"]
    assert len(frame) == 2 * 2 * 2 * 3
    assert not frame.duplicated(["candidate", "metric", "part", "split"]).any()
    assert frame["candidate"].is_monotonic_increasing
    assert frame["param_C"].dtype == np.int64
    assert frame["score"].dtype == np.float64
    for (candidate, metric, part), rows in frame.groupby(["candidate", "metric", "part"]):
        assert rows["score"].mean() == pytest.approx(search.cv_results_[f"mean_{part}_{metric}"][candidate])
        assert (rows["param_C"] == search.cv_results_["params"][candidate]["C"]).all()
        for split, score in zip(rows["split"], rows["score"], strict=True):
            assert score == search.cv_results_[f"split{split}_{part}_{metric}"][candidate]


def test_of_halving_with_what_it_adds():
    search = whet.sklearn.HalvingGridSearchCV(
        LogisticRegression(), {"C": [0.1, 1.0, 10.0, 100.0]}, cv=2, min_resources=20, random_state=0
    ).fit(X, y)
    frame = fold_scores(search)
    assert list(frame.columns)[:4] == ["candidate", "iter", "n_resources", "param_C"]
    assert set(frame["part"]) == {"test", "train"}
    assert set(frame["n_resources"]) == set(search.n_resources_)
    last = frame[frame["iter"] == frame["iter"].max()]
    assert set(last["candidate"]) == {
        i for i, n in enumerate(search.cv_results_["iter"]) if n == search.n_iterations_ - 1
    }


def test_parameters_that_some_do_not_set_and_that_are_objects():
    steps = [PCA(2), PCA(3)]
    search = GridSearchCV(
        make_pipeline(PCA(), SVC()), [{"pca": steps}, {"svc__C": [1.5], "svc__class_weight": [{0: 1, 1: 2}]}], cv=2
    ).fit(X, y)
    frame = fold_scores(search)
    first = frame.drop_duplicates("candidate")
    assert [value is steps[i] for i, value in enumerate(first["param_pca"][:2])] == [True, True]
    assert first["param_pca"].iloc[2] is None
    assert first["param_svc__C"].tolist() == [None, None, 1.5]
    assert first["param_svc__class_weight"].tolist() == [None, None, {0: 1, 1: 2}]


def test_skipped_splits_have_no_row_and_failed_ones_do():
    masked = np.ma.array([0.5, 0.25], mask=[False, True])
    search = Fitted(params=[{"C": 1}, {"C": 2}], split0_test_score=np.array([0.5, np.nan]), split1_test_score=masked)
    frame = fold_scores(search)
    assert frame[["candidate", "split"]].values.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert np.isnan(frame["score"].iloc[2])


@pytest.mark.filterwarnings("ignore:One or more of the test scores", "ignore::sklearn.exceptions.FitFailedWarning")
def test_of_fits_that_failed():
    frame = fold_scores(GridSearchCV(Fussy(), {"fails": ["always", "never"]}, cv=3).fit(X, y))
    assert frame["score"].isna().tolist() == [True] * 3 + [False] * 3


def test_metrics_with_names_like_ours():
    """The name of a metric may hold what names of columns are made of."""
    names = ["test_score", "split0_train_a", "a\nb"]
    results = {f"split{k}_test_{name}": np.array([0.5]) for name in names for k in range(11)}
    summaries = {f"{what}_test_{name}": np.array([0.5]) for name in names for what in ("mean", "std", "rank")}
    frame = fold_scores(Fitted(params=[{}], mean_fit_time=np.array([1.0]), **results, **summaries))
    assert list(frame.columns) == ["candidate", "metric", "part", "split", "score"]
    assert list(dict.fromkeys(frame["metric"])) == names
    assert frame["split"].tolist() == list(range(11)) * 3


def test_without_pandas(monkeypatch):
    search = GridSearchCV(SVC(), {"C": [1, 10]}, cv=2).fit(X, y)
    expected = fold_scores(search)
    monkeypatch.setitem(sys.modules, "pandas", None)
    columns = fold_scores(search)
    assert {name: type(column) for name, column in columns.items()} == dict.fromkeys(expected.columns, list)
    assert columns == {name: expected[name].tolist() for name in expected.columns}
    assert type(columns["candidate"][0]) is int


def test_what_is_not_fitted():
    with pytest.raises(NotFittedError, match="GridSearchCV has no cv_results_: call fit before fold_scores"):
        fold_scores(GridSearchCV(SVC(), {"C": [1]}))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], np.int64),
        ([1, np.int32(2), 2.5], np.float64),
        ([True, np.bool_(False)], np.bool_),
        ([True, 2], object),
        ([1, 10**30], object),
        ([1, None], object),
        (["a", "b"], object),
        ([[1, 2], [3, 4]], object),
        ([(1,), [2]], object),
        ([], object),
    ],
)
def test_columns(values, dtype):
    column = column_of(values)
    assert column.dtype == dtype
    assert column.shape == (len(values),)
    assert list(column) == values
    assert len(pd.DataFrame({"a": column})) == len(values)
