"""One fit a task: how tasks reach workers, what is shared with them, and what cannot be sent."""

import threading
from pickle import PicklingError

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib._parallel_backends import ThreadingBackend
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.svm import SVC
from sklearn.utils.parallel import Parallel

from tests.sklearn.cases import X, y
from tests.sklearn.comparing import OURS
from tests.sklearn.tasking import is_mapped, tasks_of
from whet.sklearn.tasks import Work, outcomes_of, pool_of

BIG = np.random.default_rng(0).random((20_000, 20))  # 3 MB: joblib shares arrays from 1 MB on
SPLITS = [(np.arange(10), np.arange(10, 15)), (np.arange(5, 15), np.arange(5))]


def run(work, data, targets, candidates, n_jobs=None):
    with pool_of(n_jobs, "2*n_jobs") as pool:
        tasks = tasks_of(candidates, SPLITS)
        return dict(outcomes_of(pool, work, data, targets, tasks))


def where_data_are(estimator, X, y, **given):
    """Stands in for scikit-learn's function: tells what it was given."""
    if isinstance(X, pd.DataFrame):
        X = X.to_numpy(copy=False)
    parts = [X.data, X.indices] if sparse.issparse(X) else [X]
    return {"mapped": [is_mapped(part) for part in parts], "thread": threading.get_ident(), **given}


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_large_data_are_shared_with_workers_and_not_sent(kind, backend):
    with joblib.parallel_config(backend):
        outcomes = run(Work(Ridge(), {}, where_data_are), kind(BIG), None, [{"alpha": 1.0}], n_jobs=2)
    assert all(all(outcome["mapped"]) for outcome in outcomes.values())


def test_what_runs_a_fit_is_given_what_scikit_learns_own_is():
    candidates = [{"alpha": 1.0}, {"alpha": 2.0}, {"alpha": 3.0}]
    outcomes = run(Work(Ridge(), {"verbose": 7, "scorer": None}, where_data_are), X, y, candidates)
    assert list(outcomes) == list(range(6))
    for index, outcome in outcomes.items():
        number, split = divmod(index, 2)
        assert outcome["parameters"] == candidates[number]
        assert outcome["candidate_progress"] == (number, 3)
        assert outcome["split_progress"] == (split, 2)
        np.testing.assert_array_equal(outcome["train"], SPLITS[split][0])
        np.testing.assert_array_equal(outcome["test"], SPLITS[split][1])
        assert outcome["verbose"] == 7
        assert outcome["callback_ctx"] is None


class Stubborn:
    """An object that a worker would need."""

    def __reduce__(self):
        raise TypeError("not me")

    def __deepcopy__(self, memo):
        return self


class Holder(Ridge):
    def __init__(self, alpha=1.0, holds=None):
        super().__init__(alpha=alpha)
        self.holds = holds


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (
            lambda: OURS["GridSearchCV"](Holder(holds=Stubborn()), {"alpha": [1, 2]}),
            "Parameter 'holds' of the estimator",
        ),
        (lambda: OURS["GridSearchCV"](Holder(), {"holds": [Stubborn()]}), "Parameter 'holds' of a candidate"),
        (lambda: OURS["GridSearchCV"](Holder(), {"holds": [1, 2, Stubborn()]}), "'holds'"),
        (lambda: OURS["GridSearchCV"](Ridge(), {"alpha": [1]}, scoring=Scorer()), "'scoring' of the search"),
    ],
)
def test_what_cannot_be_sent_to_workers_is_named(search, said):
    with joblib.parallel_config("loky", n_jobs=2), pytest.raises(PicklingError) as caught:
        search().fit(X, y)
    assert said in str(caught.value)
    assert "n_jobs=1" in str(caught.value)
    with joblib.parallel_config("threading", n_jobs=2):  # as the message says
        search().fit(X, y)


class Scorer(Stubborn):
    def __call__(self, estimator, X, y):
        return 1.0

    def _accept_sample_weight(self):
        return False


class NoGenerator(ThreadingBackend):
    """As dask's or ray's may be: results come all at once."""

    supports_return_generator = False


def test_backends_that_give_all_results_at_the_end():
    joblib.register_parallel_backend("no generator", NoGenerator)
    with joblib.parallel_config("no generator", n_jobs=2):
        search = OURS["GridSearchCV"](SVC(), {"C": [0.1, 1, 10]}, cv=2).fit(X, y)
        assert pool_of(None, 2).return_generator is False
    alone = OURS["GridSearchCV"](SVC(), {"C": [0.1, 1, 10]}, cv=2).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_results_come_as_they_are_ready():
    """A slow first fit holds up no other: its candidate is told last."""
    order = []

    def wait_or_not(estimator, X, y, *, parameters, **given):
        if parameters["alpha"] == 1.0:
            assert others.wait(60)
        return {}

    others = threading.Event()
    with joblib.parallel_config("threading"), pool_of(2, 3) as pool:
        tasks = tasks_of([{"alpha": 1.0}, {"alpha": 2.0}, {"alpha": 3.0}], SPLITS[:1])
        for index, _ in outcomes_of(pool, Work(Ridge(), {}, wait_or_not), X, y, tasks):
            order.append(index)
            if len(order) == 2:
                others.set()
    assert order == [1, 2, 0]


_others_are_done = threading.Event()


class Patient(Ridge):
    """Ends its fits only when those of the other candidates have ended."""

    def fit(self, X, y):
        if self.alpha == 1.0:
            assert _others_are_done.wait(60)
        return super().fit(X, y)


def test_results_are_put_in_order_and_candidates_told_when_they_are_done():
    def score(estimator, X, y):
        if estimator.alpha == 4.0:
            _others_are_done.set()
        return estimator.score(X, y)

    grid = {"alpha": [1.0, 2.0, 3.0, 4.0]}
    _others_are_done.clear()
    with joblib.parallel_config("threading"):
        search = OURS["GridSearchCV"](Patient(), grid, cv=SPLITS[:1], scoring=score, n_jobs=2, refit=False).fit(X, y)
    alone = OURS["GridSearchCV"](Ridge(), grid, cv=SPLITS[:1], refit=False).fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    ended = [trial.ended_at for trial in search.study_.trials]
    assert max(ended) == ended[0] > ended[1]
    assert [trial.config["alpha"] for trial in search.study_.trials] == grid["alpha"]


def test_an_error_in_a_fit_comes_out_of_a_search_and_its_pool_ends():
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        OURS["GridSearchCV"](Ridge(), {"beta": [1, 2]}, n_jobs=2).fit(X, y)
    assert OURS["GridSearchCV"](Ridge(), {"alpha": [1, 2]}, n_jobs=2).fit(X, y).best_index_ in (0, 1)


def test_tasks_are_made_one_by_one():
    tasks = tasks_of([{"alpha": 1.0}] * 1000, SPLITS)
    assert next(tasks).index == 0
    assert isinstance(pool_of(1, 1), Parallel)
