"""Searches that are kept: where, by what name, and what is refused when they go on."""

import pickle
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.svm import SVC

import whet
from tests.sklearn.cases import X, y
from tests.sklearn.comparing import assert_same_results
from whet.cli.standing import standing_of
from whet.core import jsontext
from whet.core.events import Draft, Kind
from whet.errors import StudyBusy, StudyExists
from whet.sklearn import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    SearchCV,
)
from whet.sklearn.outcomes import from_json, to_json

FITS = []


class Counted(SVC):
    """Notes each fit; the one that *ends_at* says ends the program."""

    ends_at = None

    def fit(self, X, y, sample_weight=None):
        FITS.append(self.C)
        if len(FITS) == Counted.ends_at:
            raise KeyboardInterrupt
        return super().fit(X, y, sample_weight)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    FITS.clear()
    Counted.ends_at = None


def grid(C=(0.1, 1.0, 10.0), estimator=None, **options):
    given = {"store": "x.db", "resume": True, "cv": 2, "refit": False, **options}
    return GridSearchCV(estimator or Counted(), {"C": list(C)}, **given)


def chosen(n_trials=4, **options):
    given = {"store": "x.db", "resume": True, "cv": 2, "refit": False, "random_state": 0, "strategy": "tpe(n_start=2)"}
    return SearchCV(Counted(), {"C": (0.1, 10.0, "log")}, n_trials=n_trials, **given | options)


# ---- where
@pytest.mark.parametrize(
    ("options", "path", "name"),
    [
        ({"store": None, "name": "mine"}, ".whet/whet.db", "mine"),
        ({"store": "x.db"}, "x.db", "GridSearchCV"),
        ({"store": Path("x.db"), "name": "mine"}, "x.db", "mine"),
        ({"store": "sqlite:///x.db"}, "x.db", "GridSearchCV"),
    ],
)
def test_where_a_search_is_kept(options, path, name):
    search = grid(**options, resume=False).fit(X, y)
    study = whet.load(name, path)
    assert [trial.config for trial in study.trials] == search.cv_results_["params"]
    assert search.study_.name == name
    assert search.study_.ledger.store.url == study.ledger.store.url
    again = clone(search).set_params(resume=True).fit(X, y)
    assert_same_results(again.cv_results_, search.cv_results_)
    np.testing.assert_array_equal(again.cv_results_["mean_fit_time"], search.cv_results_["mean_fit_time"])
    assert len(FITS) == 6


def test_without_a_place_there_is_nothing_to_go_on_with():
    with pytest.raises(ValueError, match="give it a name="):
        grid(store=None).fit(X, y)
    assert not FITS


def test_nothing_is_written_where_nothing_is_asked_for(tmp_path):
    grid(store=None, resume=False).fit(X, y)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken():
    grid(resume=False).fit(X, y)
    with pytest.raises(StudyExists, match="Set resume=True"):
        grid(resume=False).fit(X, y)
    assert len(FITS) == 6


def test_searches_in_one_store_do_not_mix():
    one, other = grid(name="one").fit(X, y), grid([5.0], name="other").fit(X, y)
    assert len(one.study_.trials) == 3
    assert len(other.study_.trials) == 1
    again = grid(name="one").fit(X, y)
    assert_same_results(again.cv_results_, one.cv_results_)
    assert len(FITS) == 8


def test_a_kept_search_can_be_pickled():
    search = grid().fit(X, y)
    thawed = pickle.loads(pickle.dumps(search))
    assert [trial.values for trial in thawed.study_.trials] == [trial.values for trial in search.study_.trials]
    assert thawed.study_.ledger.store.url != search.study_.ledger.store.url


def test_a_pickled_study_has_its_fidelity():
    search = chosen(scheduler="asha", fidelity="samples").fit(X, y)
    thawed = pickle.loads(pickle.dumps(search)).study_
    assert thawed.ledger.history.problem == search.study_.ledger.history.problem
    assert thawed.best_value == search.study_.best_value


@pytest.mark.parametrize(
    "make",
    [
        grid,
        lambda **options: GridSearchCV(Counted(), [{"C": [1.0]}, {"kernel": ["rbf"]}], cv=2, **options),
        chosen,
        lambda **options: chosen(scheduler="asha", **options),
    ],
)
def test_others_see_that_it_is_done(make):
    search = make(store="x.db", resume=True, name="mine").fit(X, y)
    study = next(iter(search.study_.ledger.store.studies()))
    assert standing_of(search.study_.ledger.store, study).phase == "finished"


def test_others_see_how_many_trials_there_are_to_be():
    for n_trials in (3, 5):
        search = chosen(n_trials).fit(X, y)
        assert search.study_.ledger.history.settings["limits"] == {"n_trials": n_trials}


def test_another_process_runs_it():
    grid().fit(X, y)
    study = whet.load("GridSearchCV", "x.db")
    with study.ledger.store.hold(study.ledger.study), pytest.raises(StudyBusy, match="is being run by pid"):
        grid().fit(X, y)
    grid().fit(X, y)


# ---- going on
def raced(**options):
    return grid([10.0**n for n in range(-4, 3)], racing=True, cv=8, **options)


def chosen_and_raced(**options):
    return chosen(6, strategy="quasi_random", racing=True, cv=8, **options)


def scheduled(**options):
    return chosen(6, strategy="random", scheduler="asha(eta=2)", fidelity="samples", **options)


def halved(**options):
    return HalvingGridSearchCV(
        Counted(),
        {"C": [0.1, 1.0, 10.0]},
        cv=2,
        random_state=0,
        refit=False,
        **{"store": "x.db", "resume": True} | options,
    )


@pytest.mark.parametrize("ends_at", [1, 2, 5, 0.9])
@pytest.mark.parametrize("make", [grid, chosen, raced, chosen_and_raced, scheduled, halved])
def test_what_ctrl_c_has_left_is_run_later(make, ends_at):
    expected = make(store=None, resume=False).fit(X, y).cv_results_
    n_fits = len(FITS)
    FITS.clear()
    Counted.ends_at = ends_at if ends_at >= 1 else int(ends_at * n_fits)
    with pytest.raises(KeyboardInterrupt):
        make().fit(X, y)
    study = whet.load(type(make()).__name__, "x.db")
    assert not study.ledger.history.running
    assert sum(len(trial.attributes) for trial in study.trials) == Counted.ends_at - 1
    Counted.ends_at = None
    assert_same_results(make().fit(X, y).cv_results_, expected)
    assert len(FITS) == n_fits + 1  # the one that was interrupted


def test_an_error_gives_the_study_back():
    class Broken(Counted):
        def fit(self, X, y, sample_weight=None):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        grid(estimator=Broken(), error_score="raise").fit(X, y)
    study = whet.load("GridSearchCV", "x.db")
    assert not study.ledger.history.running
    with study.ledger.store.hold(study.ledger.study):
        pass


def test_a_failed_fit_is_not_run_again():
    search = GridSearchCV(Counted(), {"C": [-1.0, 1.0]}, store="x.db", resume=True, cv=2, refit=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = search.fit(X, y).cv_results_
        again = clone(search).fit(X, y).cv_results_
    failed = [str(one.message) for one in caught if one.category is FitFailedWarning]
    assert len(failed) == 2
    assert failed[0] == failed[1]
    assert_same_results(again, first)
    assert len(FITS) == 4
    assert [trial.state for trial in search.study_.trials] == ["failed", "completed"]


class Wordy(Counted):
    """Its fits fail, and say all that they know."""

    def fit(self, X, y, sample_weight=None):
        if self.C > 1:
            raise ValueError("x" * 2_000_000)
        return super().fit(X, y, sample_weight)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test scores")
def test_a_fit_whose_error_is_very_long_does_not_end_the_search():
    search = grid(estimator=Wordy()).fit(X, y)
    assert [trial.state for trial in search.study_.trials] == ["completed", "completed", "failed"]
    again = grid(estimator=Wordy()).fit(X, y)
    assert_same_results(again.cv_results_, search.cv_results_)
    assert len(FITS) == 4


class Slow(Counted):
    def fit(self, X, y, sample_weight=None):
        if self.C > 1:
            time.sleep(60)
        return super().fit(X, y, sample_weight)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test scores")
def test_fits_that_might_have_had_more_time_are_said():
    grid(estimator=Slow(), fit_timeout=0.5).fit(X, y)
    for now in (5, None):
        with pytest.warns(UserWarning, match="took longer than fit_timeout= said before") as caught:
            again = grid(estimator=Slow(), fit_timeout=now).fit(X, y)
        assert len([one for one in caught if "said before" in str(one.message)]) == 1
        assert np.isnan(again.cv_results_["mean_test_score"][2])
    grid(estimator=Slow(), fit_timeout=0.5).fit(X, y)  # nothing is said of what is as it was
    assert len(FITS) == 4


@pytest.mark.parametrize("strategy", ["random", "tpe(n_start=2)", "gp(n_start=2)"])
def test_more_trials_go_on_from_those_there_are(strategy):
    few = chosen(3, strategy=strategy).fit(X, y)
    assert len(few.cv_results_["params"]) == 3
    more = chosen(5, strategy=strategy).fit(X, y)
    at_once = chosen(5, strategy=strategy, store=None, resume=False).fit(X, y)
    assert_same_results(more.cv_results_, at_once.cv_results_)
    assert len(FITS) == 20


def test_a_seed_that_was_drawn_is_kept():
    np.random.seed(0)
    chosen(3, random_state=None).fit(X, y)
    more = chosen(5, random_state=None).fit(X, y)
    np.random.seed(0)
    at_once = chosen(5, random_state=None, store=None, resume=False).fit(X, y)
    assert_same_results(more.cv_results_, at_once.cv_results_)


def test_values_of_any_kind():
    weights = [None, "balanced", {0: 1, 1: 3}, {0: 2, 1: 1}]
    search = GridSearchCV(
        Counted(), {"class_weight": weights, "kernel": ["rbf", doubled]}, store="x.db", resume=True, cv=2
    )
    first = search.fit(X, y)
    again = clone(search).fit(X, y)
    assert_same_results(again.cv_results_, first.cv_results_)
    assert len(FITS) == 16 + 2  # and the best one on all data, each time


def doubled(one, other):
    return 2 * one @ other.T


def redoubled(one, other):
    return 4 * one @ other.T


# ---- what is another search
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": [0.1, 1.0, 11.0]}, "candidates: C: was"),
        ({"C": [0.1, 1.0]}, "there were 3, and are 2"),
        ({"C": [10.0, 1.0, 0.1]}, "candidate 0 was {'C': 0.1} and is {'C': 10.0}"),
        ({"estimator": Counted(gamma=2)}, "gamma of the estimator"),
        ({"estimator": LogisticRegression()}, "estimator: is not what it was"),
        ({"cv": 3}, "splits: is not what it was"),
        ({"scoring": "f1"}, "scoring: is not what it was"),
        ({"scoring": ["accuracy", "f1"]}, "objectives"),
        ({"return_train_score": True}, "return_train_score"),
    ],
)
def test_another_search_of_that_name_is_refused(options, message):
    before = grid().fit(X, y).cv_results_
    with pytest.raises(ValueError, match="another search") as caught:
        grid(**options).fit(X, y)
    assert message in str(caught.value)
    assert "name=" in str(caught.value)
    assert len(FITS) == 6
    assert_same_results(grid().fit(X, y).cv_results_, before)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ((X + 1, y, {}), "X: is not"),
        ((X, 1 - y, {}), "y: is not"),
        ((X, y, {"sample_weight": np.ones(len(y))}), "sample_weight (given to fit): was not there"),
    ],
)
def test_other_data_are_refused(others, message):
    grid().fit(X, y)
    with pytest.raises(ValueError, match="another search") as caught:
        grid().fit(*others[:2], **others[2])
    assert message in str(caught.value)
    assert len(FITS) == 6


def test_what_labels_stand_for_is_compared():
    def search(kernel):
        return GridSearchCV(Counted(), {"kernel": [kernel]}, store="x.db", resume=True, cv=2)

    search(doubled).fit(X, y)
    redoubled.__qualname__ = "doubled"
    with pytest.raises(ValueError, match="another search"):
        search(redoubled).fit(X, y)


def test_other_objectives_are_said_by_their_names():
    grid(scoring=["accuracy", "f1_macro"], refit="f1_macro").fit(X, y)
    with pytest.raises(ValueError, match="objectives: f1_macro before, accuracy now"):
        grid(scoring=["accuracy", "f1_macro"], refit="accuracy").fit(X, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "random"}, "sampler: tpe before, random now"),
        ({"strategy": "tpe(n_start=3)"}, "sampler_options"),
        ({"random_state": 1}, "random_state"),
    ],
)
def test_another_choice_is_refused(options, message):
    chosen().fit(X, y)
    with pytest.raises(ValueError, match="another search") as caught:
        chosen(**options).fit(X, y)
    assert message in str(caught.value)


def test_another_kind_of_search_is_refused():
    grid(name="mine").fit(X, y)
    with pytest.raises(ValueError, match="kind of search: is not"):
        chosen(name="mine").fit(X, y)


def test_a_study_that_no_search_has_made():
    whet.Study({"C": [0.1, 1.0, 10.0]}, "maximize", store="x.db", name="mine")
    with pytest.raises(ValueError, match="is none of a search"):
        grid(name="mine").fit(X, y)


def test_another_version_of_scikit_learn_is_said():
    study = grid().fit(X, y).study_
    settings = {**study.ledger.history.settings["search"], "scikit-learn": "1.8.0"}
    study.ledger.commit([Draft(Kind.AMENDED, None, {"settings": {"search": settings}})])
    with pytest.warns(UserWarning, match=r"begun with scikit-learn 1\.8\.0"):
        grid().fit(X, y)


def test_what_changes_nothing_of_the_results_may_change():
    grid().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid(n_jobs=2, verbose=0, refit=True, estimator=Counted(verbose=False)).fit(X, y)
    assert len(FITS) == 7


# ---- what could never be resumed
@pytest.mark.parametrize(
    "search",
    [
        RandomizedSearchCV(Counted(), {"C": loguniform(0.1, 10)}, n_iter=2, name="mine"),
        RandomizedSearchCV(Counted(), {"C": loguniform(0.1, 10)}, random_state=np.random.RandomState(0), name="mine"),
        HalvingRandomSearchCV(Counted(), {"C": loguniform(0.1, 10)}, name="mine"),
        HalvingGridSearchCV(Counted(), {"C": [0.1, 1]}, name="mine"),
        GridSearchCV(Counted(), {"C": [0.1, 1]}, cv=KFold(2, shuffle=True), name="mine"),
        SearchCV(Counted(), {"C": [0.1, 1]}, cv=ShuffleSplit(2), name="mine"),
    ],
)
def test_what_would_be_another_search_each_time_is_refused(search, tmp_path):
    with pytest.raises(ValueError, match="to a whole number"):
        search.fit(X, y)
    assert not FITS
    assert list(tmp_path.iterdir()) == []


class Batches(GridSearchCV):
    """Says its candidates one after the other."""

    def _run_search(self, evaluate_candidates):
        for C in self.param_grid["C"]:
            evaluate_candidates([{"C": C}])


def test_candidates_with_values_that_none_before_had():
    search = Batches(Counted(), {"C": [0.1, 1.0]}, cv=2, refit=False)
    assert [trial.config for trial in search.fit(X, y).study_.trials] == [{"C": 0.1}, {"C": 1.0}]
    assert [trial.state for trial in search.study_.trials] == ["completed"] * 2
    with pytest.raises(ValueError, match="in the first batch"):
        search.set_params(name="mine").fit(X, y)


# ---- outcomes
_scores = st.floats() | st.integers(-(2**60), 2**60)


@given(
    st.fixed_dictionaries(
        {
            "test_scores": _scores
            | st.dictionaries(st.text() | st.integers() | st.none() | st.tuples(st.text()), _scores, max_size=3),
            "n_test_samples": st.integers(0, 2**40),
            "fit_time": st.floats(0),
            "fit_error": st.none() | st.text(),
        },
        optional={"train_scores": _scores},
    )
)
def test_outcomes_come_back_as_they_were(outcome):
    back = from_json(jsontext.loads(jsontext.dumps(to_json(outcome))))
    assert repr(back) == repr(outcome)


def test_of_an_error_that_is_very_long_both_ends_are_kept():
    outcome = {"test_scores": np.nan, "fit_error": "Traceback" + "x" * 2_000_000 + "ValueError: large"}
    error = from_json(jsontext.loads(jsontext.dumps(to_json(outcome))))["fit_error"]
    assert len(error) < 50_000
    assert (error[:9], error[-17:]) == ("Traceback", "ValueError: large")


@pytest.mark.parametrize("data", [None, 3, [], {}, {"other": 1}])
def test_what_is_no_outcome(data):
    assert from_json(data) is None
