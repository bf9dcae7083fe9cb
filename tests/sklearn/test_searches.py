"""The searches as objects: cloned, pickled, shown, continued; and the study that each leaves."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.callback import ProgressBar
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tests.sklearn.cases import X, two_scores, y
from tests.sklearn.comparing import OURS, THEIRS, assert_same_results, own_parameters
from whet.core.trial import State
from whet.sklearn.searching import Searching

_DRAWN = {"C": stats.loguniform(0.1, 10)}
_SEARCHES = {
    "GridSearchCV": {"param_grid": {"C": [0.1, 1.0, 10.0]}, "cv": 3},
    "RandomizedSearchCV": {"param_distributions": _DRAWN, "n_iter": 3, "cv": 3},
    "HalvingGridSearchCV": {"param_grid": {"C": [0.1, 1.0, 10.0]}, "cv": 3, "random_state": 0},
    "HalvingRandomSearchCV": {"param_distributions": _DRAWN, "cv": 3, "random_state": 0},
}


@pytest.mark.parametrize("name", _SEARCHES)
def test_parameters_are_scikit_learns(name):
    one, other = (kinds[name](SVC(), **_SEARCHES[name]) for kinds in (OURS, THEIRS))
    assert repr(one) == repr(other)
    assert sorted(one.get_params()) == sorted([*other.get_params(), *own_parameters(name)])
    theirs = inspect.signature(THEIRS[name]).parameters
    ours = dict(inspect.signature(OURS[name]).parameters)
    assert {own: ours.pop(own).default for own in own_parameters(name)} == own_parameters(name)
    assert [(p.name, p.kind, repr(p.default)) for p in ours.values()] == [
        (p.name, p.kind, repr(p.default)) for p in theirs.values()
    ]
    assert re.sub("0x[0-9a-f]+", "", repr(clone(one))) == re.sub("0x[0-9a-f]+", "", repr(other))
    assert one.set_params(estimator__C=3.0).estimator.C == 3.0
    assert is_classifier(one)
    assert isinstance(one, THEIRS[name])
    for method in ("predict", "transform", "decision_function", "predict_proba", "score_samples"):
        assert hasattr(one, method) == hasattr(other, method)


@pytest.mark.parametrize("name", _SEARCHES)
def test_the_html_shows_the_same_parts(name):
    one, other = (kinds[name](SVC(), **_SEARCHES[name]) for kinds in (OURS, THEIRS))
    ours, theirs = one._repr_html_(), other._repr_html_()
    for part in ("sk-estimator", "param-doc", "https://scikit-learn.org/"):
        assert ours.count(part) == theirs.count(part) > 0, part
    assert "study_" in one.fit(X, y)._repr_html_()
    assert "best_estimator_" in one._repr_html_()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda search: pickle.loads(pickle.dumps(search))])
def test_copies_of_a_fitted_search_know_as_much(copied):
    search = OURS["GridSearchCV"](SVC(), [{"C": [1.0, -1.0]}, {"kernel": ["linear"]}], cv=3)
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, y)
    twin = copied(copied(search))
    assert_same_results(twin.cv_results_, search.cv_results_)
    np.testing.assert_array_equal(twin.predict(X), search.predict(X))
    assert twin.study_ is twin.study_
    for one, other in zip(twin.study_.trials, search.study_.trials, strict=True):
        assert (one.config, one.values, one.state, one.message) == (
            other.config,
            other.values,
            other.state,
            other.message,
        )
    assert not hasattr(clone(twin), "study_")


def test_estimators_that_are_returned_from_other_processes():
    search = OURS["GridSearchCV"](SVC(), {"C": [0.1, 1.0]}, cv=2)
    returned = cross_validate(search, X, y, cv=2, n_jobs=2, return_estimator=True)["estimator"]
    assert [len(one.study_.trials) for one in returned] == [2, 2]


def test_the_study_has_a_trial_for_every_candidate():
    scoring = ["accuracy", "f1"]
    search = OURS["GridSearchCV"](
        make_pipeline(StandardScaler(), SVC()), {"svc__C": [10, 1, 0.1]}, scoring=scoring, refit="f1"
    )
    study = search.fit(X, y).study_
    assert [trial.config for trial in study.trials] == search.cv_results_["params"]
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    for name in ("test_accuracy", "test_f1", "fit_time", "score_time"):
        values = [trial.values[name.removeprefix("test_")] for trial in study.trials]
        np.testing.assert_array_equal(values, search.cv_results_[f"mean_{name}"])
    assert study.best.number == search.best_index_
    assert study.best_value == search.best_score_


def test_several_metrics_of_which_none_counts():
    search = OURS["GridSearchCV"](SVC(), {"C": [0.1, 1.0]}, scoring=["accuracy", "f1"], refit=False).fit(X, y)
    objectives = search.study_.ledger.history.problem.objectives
    assert [(objective.name, objective.direction) for objective in objectives] == [
        ("accuracy", "maximize"),
        ("f1", "maximize"),
    ]


def test_of_what_a_function_scores_the_first_metric_counts_where_none_is_named():
    search = OURS["GridSearchCV"](SVC(), {"C": [0.1, 1.0]}, scoring=two_scores, refit=False).fit(X, y)
    (objective,) = search.study_.ledger.history.problem.objectives
    assert (objective.name, objective.direction) == ("score", "maximize")
    for name in ("score", "accuracy"):
        values = [trial.values[name] for trial in search.study_.trials]
        np.testing.assert_array_equal(values, search.cv_results_["mean_test_accuracy"])


@pytest.mark.parametrize("name", ["F1 (macro)", "größe", "a:b, c=d", "step", "fit_time", "", " ", 3])
def test_metrics_and_steps_of_any_name(name):
    pipe = Pipeline([(f"{name}!", SVC())])
    options = {"cv": 2, "scoring": lambda estimator, X, y: {name: estimator.score(X, y), "zero": 0.0}, "refit": False}
    search, theirs = (
        kinds["GridSearchCV"](pipe, {f"{name}!__C": [0.1, 1]}, **options).fit(X, y) for kinds in (OURS, THEIRS)
    )
    assert_same_results(search.cv_results_, theirs.cv_results_)
    assert [trial.config for trial in search.study_.trials] == search.cv_results_["params"]
    metric = search.study_.ledger.history.problem.objectives[0].name
    values = [trial.values[metric] for trial in search.study_.trials]
    np.testing.assert_array_equal(values, search.cv_results_[f"mean_test_{name}"])


def test_the_study_of_a_halving_says_iteration_and_resources():
    search = OURS["HalvingGridSearchCV"](SVC(), {"C": [0.1, 1, 10, 100]}, min_resources=12, random_state=0).fit(X, y)
    for name in ("iter", "n_resources"):
        values = [trial.values[name] for trial in search.study_.trials]
        np.testing.assert_array_equal(values, search.cv_results_[name])


class Custom(Searching):
    """Says its candidates in two batches, of other parameters and values, and knows nothing of callbacks."""

    def __init__(self, estimator, scoring=None):
        super().__init__(estimator, scoring=scoring, cv=2)

    def _run_search(self, evaluate_candidates):
        results = evaluate_candidates([{"C": 1.0}, {"C": 10.0}], more_results={"round": [0, 0], "word": ["a", "b"]})
        assert list(results["round"]) == [0, 0]
        evaluate_candidates(
            ({"kernel": kernel} for kernel in ("linear", "rbf")), more_results={"round": [1, 1], "word": "cd"}
        )


@pytest.mark.parametrize("scoring", [None, two_scores])
def test_a_search_of_ones_own(scoring):
    search = Custom(SVC(), scoring)
    search.refit = "zeros" if scoring else True
    search.fit(X, y)
    assert list(search.cv_results_["round"]) == [0, 0, 1, 1]
    trials = search.study_.trials
    assert [trial.state for trial in trials] == [State.COMPLETED] * 4
    assert [trial.values["round"] for trial in trials] == [0, 0, 1, 1]
    assert "word" not in trials[0].values
    assert trials[3].config["kernel"] == "rbf"


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scikit_learns_progress_bar(n_jobs, capfd):
    search = OURS["GridSearchCV"](LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar()).fit(X, y)
    assert "GridSearchCV" in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", ["RandomizedSearchCV", "HalvingRandomSearchCV"])
def test_the_seed_alone_decides(name):
    options = _SEARCHES[name] | {"random_state": 7, "estimator": SVC()}
    one, other = (OURS[name](n_jobs=n_jobs, **options).fit(X, y) for n_jobs in (None, 2))
    assert_same_results(one.cv_results_, other.cv_results_)
    assert one.best_params_ == other.best_params_


def test_what_a_search_prints(capsys):
    for kinds in (OURS, THEIRS):
        kinds["GridSearchCV"](SVC(), {"C": [0.1, 1.0]}, cv=2, verbose=3).fit(X, y)
        print("----")
    ours, theirs, _ = capsys.readouterr().out.replace("time=", "\0").split("----\n")
    assert [line.split("\0")[0] for line in ours.splitlines()] == [line.split("\0")[0] for line in theirs.splitlines()]


def test_ctrl_c_ends_a_search_and_the_next_one_works():
    class Interrupted(BaseEstimator):
        def __init__(self, at=None):
            self.at = at

        def fit(self, X, y):
            if self.at:
                raise KeyboardInterrupt
            return self

        def score(self, X, y):
            return 1.0

    search = OURS["GridSearchCV"](Interrupted(), {"at": [0, 1]}, cv=2)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert search.set_params(param_grid={"at": [0]}).fit(X, y).best_score_ == 1.0


def test_importing_whet_loads_no_scikit_learn():
    code = "import sys, whet; assert 'sklearn' not in sys.modules"
    heavy = "import whet.sklearn; assert not {'whet.study', 'sqlalchemy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{code}; {heavy}"], check=True)


@pytest.mark.parametrize("version", ["0.24.2", "1.8.0"])
def test_an_old_scikit_learn_is_refused(version, monkeypatch):
    import whet.sklearn

    monkeypatch.setattr(sklearn, "__version__", version)
    with pytest.raises(ImportError, match=rf"needs scikit-learn 1\.9 .*{version}.*pip install \"whet\[sklearn\]\""):
        whet.sklearn._check_version()


def test_a_missing_scikit_learn_is_said():
    code = "import sys; sys.modules['sklearn'] = None; import whet.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "whet[sklearn]"' in done.stderr.splitlines()[-1]


class Slow(StandardScaler):
    """Counts its fits in this process, and takes long enough to be kept."""

    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        type(self).n_fits += 1
        time.sleep(0.03)
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_a_cache_saves_fits_and_changes_nothing(cache, tmp_path):
    def search(cache):
        Slow.n_fits = 0
        grid = {"svc__C": [0.1, 1.0, 10.0], "slow__with_mean": [True, False]}
        pipeline = make_pipeline(Slow(), SVC())
        kind = OURS["GridSearchCV"]
        return kind(pipeline, grid, cv=3, return_train_score=True, cache=cache).fit(X, y), Slow.n_fits

    (plain, n_plain), place = search(None), tmp_path / "kept" if cache == "folder" else cache
    kept, n_kept = search(place)
    assert_same_results(kept.cv_results_, plain.cv_results_)
    assert (n_plain, n_kept) == (6 * 3 + 1, 2 * 3 + 1)  # and the last one on all the data
    if cache == "folder":
        again, n_again = search(place)
        assert_same_results(again.cv_results_, plain.cv_results_)
        assert n_again == 1
    else:
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cache", [3, "", True])
def test_a_cache_that_is_none_is_refused(cache):
    with pytest.raises(ValueError, match="cache"):
        OURS["GridSearchCV"](SVC(), {"C": [1.0]}, cache=cache).fit(X, y)
