"""What is kept of shared steps, and what must not be: changed input, random numbers, outcomes that cannot be read."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import ClassVar

import joblib
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tests.sklearn.sharing import FITS, Counted, assert_same, check, outcomes
from whet.sklearn import flows

pytestmark = pytest.mark.usefixtures("keep_all")


class InPlace(Counted):
    """Centers the very array that it is given."""

    def transform(self, X):
        X -= self.mean_
        return X


class Changer(Counted):
    """Gives an array of its own, and changes its input all the same."""

    def transform(self, X):
        made = X - self.mean_
        X *= 2
        return made


class Noisy(Counted):
    """Draws from the global random state while it is fitted."""

    def fit(self, X, y=None):
        super().fit(X, y)
        self.mean_ = self.mean_ + np.random.normal(size=X.shape[1])
        return self


class Greedy(LogisticRegression):
    """Changes what it is given, as copy_X=False does."""

    def fit(self, X, y):
        super().fit(X, y)
        X *= 3
        return self


@pytest.mark.parametrize("step", [InPlace, Changer])
@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
def test_a_step_that_changes_its_input(step, scoring):
    pipeline = make_pipeline(step(shift=0.5), LogisticRegression())
    fits = check(pipeline, {"logisticregression__C": [0.1, 1.0]}, scoring=scoring)
    assert fits["step"] == 6  # it is not shared


def test_a_later_step_that_changes_what_it_is_given():
    steps = [("one", Counted()), ("last", Greedy())]
    assert check(Pipeline(steps), {"last__C": [0.1, 1.0, 10.0]})["step"] == 3
    assert check(Pipeline([("pca", PCA(3)), ("two", InPlace()), ("last", Greedy())]), {"last__C": [0.1, 1.0]})


def test_the_outcome_that_is_the_input_itself():
    pipeline = make_pipeline(FunctionTransformer(), Greedy())
    check(pipeline, {"greedy__C": [0.1, 1.0, 10.0]})


def test_a_step_that_draws_random_numbers():
    pipeline = Pipeline([("one", Counted(name="one")), ("noisy", Noisy(name="noisy")), ("last", LogisticRegression())])
    grid = {"one__shift": [0.0, 1.0], "last__C": [0.1, 1.0]}
    np.random.seed(3)
    theirs = outcomes(pipeline, grid)
    FITS.clear()
    np.random.seed(3)
    assert_same(outcomes(pipeline, grid, cache="memory"), theirs)
    assert FITS["noisy"] == 12
    assert FITS["one"] == 3 + 3 + 1 + 1  # on the first split the longer prefix was tried, and found to draw


def test_the_default_random_state_keeps_fits_in_their_turn():
    pipeline = Pipeline(
        [("one", Counted()), ("pca", PCA(3, svd_solver="randomized")), ("last", SGDClassifier(max_iter=5, tol=None))]
    )
    grid = {"one__shift": [0.0, 1.0], "last__alpha": [1e-3, 1e-2]}
    np.random.seed(3)
    theirs = outcomes(pipeline, grid)
    FITS.clear()
    np.random.seed(3)
    assert_same(outcomes(pipeline, grid, cache="memory"), theirs)
    assert FITS["step"] < 12  # what is before the step that draws is shared


def test_a_generator_as_random_state():
    pipeline = make_pipeline(
        PCA(3, svd_solver="randomized", random_state=np.random.RandomState(0)), LogisticRegression()
    )
    check(pipeline, {"logisticregression__C": [0.1, 1.0], "pca__n_components": [2, 3]})


def test_steps_quicker_than_reading_are_fitted_again(monkeypatch):
    monkeypatch.setattr(flows, "LEAST_S", 1000.0)
    pipeline = make_pipeline(Counted(), LogisticRegression())
    assert check(pipeline, {"logisticregression__C": [0.1, 1.0]})["step"] == 6


class Watched(Counted):
    """Remembers what it was given, as long as others do."""

    seen: ClassVar[list] = []

    def fit(self, X, y=None):
        self.seen.append(weakref.ref(X))
        return super().fit(X, y)


def test_data_are_let_go_of_at_once():
    """And not when the garbage collector comes round, which minds how many objects there are, not how large."""
    pipeline = Pipeline([("one", Watched()), ("last", LogisticRegression())])
    gc.disable()
    try:
        check(pipeline, {"last__C": [0.1, 1.0]})
        assert Watched.seen
        assert [data for data in Watched.seen if data() is not None] == []
    finally:
        gc.enable()


def test_threads_share_a_memory():
    pipeline = Pipeline([("scale", StandardScaler()), ("one", Counted()), ("last", LogisticRegression())])
    grid = {"one__shift": [0.0, 1.0], "last__C": [0.1, 1.0, 10.0]}
    theirs = outcomes(pipeline, grid)
    FITS.clear()
    with joblib.parallel_config("threading"):
        assert_same(outcomes(pipeline, grid, cache="memory", n_jobs=2), theirs)
    assert 6 <= FITS["step"] < 18


def test_another_thread_that_draws_random_numbers(monkeypatch):
    """It puts off what is kept, and does not rule it out, where the steps themselves draw nothing."""
    states = itertools.count()
    n_read = 0

    def drawn_from_at_first():
        nonlocal n_read
        n_read += 1
        return ("MT19937", np.array([next(states) if n_read < 4 else 0], dtype=np.uint32), 0, 0, 0.0)

    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    candidates = [{"logisticregression__C": c} for c in (0.1, 1.0, 10.0)]
    theirs = outcomes(pipeline, candidates)
    monkeypatch.setattr(np.random, "get_state", drawn_from_at_first)
    assert_same(outcomes(pipeline, candidates, cache="memory"), theirs)
    assert n_read > 4
    assert not flows.passed_over


class Unreadable(Counted):
    """Can be pickled, and not read back."""

    def __setstate__(self, state):
        raise EOFError("nothing there")


def test_steps_that_cannot_be_read_back_are_fitted_after_all():
    pipeline = Pipeline([("zero", "passthrough"), ("one", Unreadable()), ("last", LogisticRegression())])
    fits = check(pipeline, {"last__C": [0.1, 1.0]}, scoring=lambda est, X, y: float(est[:-1].transform(X).sum()))
    assert fits["step"] == 6
