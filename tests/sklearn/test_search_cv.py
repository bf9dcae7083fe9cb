"""SearchCV: what it searches, what it learns from, and what it gives back."""

import threading

import joblib
import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.callback import ProgressBar
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ShuffleSplit, StratifiedKFold
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import whet
from tests.sklearn.cases import X, X_real, one_score, texts, two_scores, y, y_real
from tests.sklearn.small_searches import PIPE, objectives_of, search
from whet.samplers import TPE
from whet.sklearn import GridSearchCV


# ---- what it searches
@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ((0.1, 10.0), float),
        ((0.1, 10.0, "log"), float),
        (whet.Float(1, 10, step=1), float),
        (stats.loguniform(0.1, 10), float),
        (stats.gamma(2), float),
        (np.logspace(-2, 2, 5), float),
        ([1, 2, 3], int),
        (np.array([1, 2, 3]), int),
        (range(1, 4), int),
        (whet.Ordinal([1, 2]), int),
        (whet.Constant(3), int),
        ((1, 10), int),
        (stats.randint(1, 10), int),
    ],
)
def test_numbers_come_back_as_pythons_own(domain, kind):
    fitted = search({"C": domain}).fit(X, y)
    assert {type(candidate["C"]) for candidate in fitted.cv_results_["params"]} == {kind}
    assert type(fitted.best_estimator_.get_params()["C"]) is kind


def test_values_of_any_kind_come_back_as_they_were_given():
    steps = [PCA(2), SelectKBest(k=3), "passthrough", None, PCA(2)]
    weight = [{0: 1, 1: 5}, None, "balanced"]
    fitted = search({"reduce": steps, "clf__class_weight": weight}, PIPE, strategy="grid", n_trials=40).fit(X, y)
    tried = fitted.cv_results_["params"]
    assert len(tried) == 15
    assert {id(candidate["reduce"]) for candidate in tried} == set(map(id, steps))
    assert [candidate["clf__class_weight"] for candidate in tried[:3]] == weight
    assert not hasattr(steps[0], "components_")
    labels = [trial.config["reduce"] for trial in fitted.study_.trials[::3]]
    assert labels[1:4] == ["SelectKBest(k=3)", "passthrough", None]
    assert len(set(labels)) == 5


def test_tuples_stay_tuples():
    pipe = make_pipeline(CountVectorizer(), MultinomialNB())
    space = {"countvectorizer__ngram_range": [(1, 1), (1, 2)]}
    fitted = search(space, pipe, strategy="grid").fit(texts, [1, 0, 1, 0] * 6)
    assert [candidate["countvectorizer__ngram_range"] for candidate in fitted.cv_results_["params"]] == [(1, 1), (1, 2)]


def test_a_list_may_name_a_value_twice():
    fitted = search({"max_depth": np.linspace(1, 3, 9).astype(int)}, DecisionTreeClassifier(), strategy="grid")
    assert len(fitted.fit(X, y).cv_results_["params"]) == 3


def test_a_grid_is_what_scikit_learn_makes_of_it():
    space = {"C": [0.1, 1.0], "kernel": ["linear", "rbf"]}
    ours = search(space, strategy="grid", n_trials=40, cv=3).fit(X, y)
    theirs = GridSearchCV(SVC(), space, cv=3).fit(X, y)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert ours.best_params_ == theirs.best_params_


def test_inactive_parameters_are_masked_and_left_as_they_are():
    svc, logistic = SVC(gamma=0.5), LogisticRegression()
    space = whet.Space(
        {
            "clf": [svc, logistic],
            "clf__C": whet.Float(0.1, 10, log=True),
            "clf__gamma": whet.Float(1e-3, 0.1, log=True, when="clf == 'SVC(gamma=0.5)'"),
            "scale": whet.Categorical([StandardScaler(), MinMaxScaler()]),
        },
        forbid=["clf == 'LogisticRegression()' and scale == 'MinMaxScaler()'"],
    )
    fitted = search(space, PIPE, n_trials=12).fit(X, y)
    tried = fitted.cv_results_["params"]
    assert {candidate["clf"] for candidate in tried} == {svc, logistic}
    assert all(("clf__gamma" in candidate) == (candidate["clf"] is svc) for candidate in tried)
    assert all(isinstance(c["scale"], StandardScaler) for c in tried if c["clf"] is logistic)
    masked = np.ma.getmaskarray(fitted.cv_results_["param_clf__gamma"])
    assert masked.tolist() == [candidate["clf"] is logistic for candidate in tried]


def test_a_parameter_that_only_another_step_has():
    fitted = search({"clf": [GaussianNB()], "clf__var_smoothing": (1e-9, 1e-3, "log")}, PIPE).fit(X, y)
    assert 1e-9 <= fitted.best_estimator_.named_steps["clf"].var_smoothing <= 1e-3


class Open(ClassifierMixin, BaseEstimator):
    """Takes parameters that it does not list, as wrappers of neural networks do."""

    def __init__(self, **more):
        self.more = more

    def get_params(self, deep=True):
        return dict(self.more)

    def set_params(self, **params):
        self.more |= params
        return self

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), int(self.more["module__width"] > 5))


def test_an_estimator_may_take_parameters_that_it_does_not_list():
    fitted = search({"module__width": (1, 10)}, Open()).fit(X, y)
    assert 1 <= fitted.best_params_["module__width"] <= 10


# ---- what it does
@pytest.mark.parametrize("strategy", ["auto", "gp", "tpe(n_start=3)", "cmaes", "quasi_random", TPE(n_start=3)])
def test_every_strategy(strategy):
    fitted = search({"alpha": (1e-3, 1e3, "log")}, Ridge(), strategy=strategy, n_trials=6).fit(X_real, y_real)
    assert [trial.config for trial in fitted.study_.trials] == fitted.cv_results_["params"]
    scores = [trial.values["score"] for trial in fitted.study_.trials]
    np.testing.assert_allclose(scores, fitted.cv_results_["mean_test_score"])
    assert fitted.study_.best.number == fitted.best_index_
    assert fitted.best_score_ == max(scores)


def test_it_learns():
    options = {"n_trials": 14, "cv": 3, "strategy": "gp"}
    fitted = search({"alpha": (1e-6, 1e6, "log")}, Ridge(), **options).fit(X_real, y_real)
    best = GridSearchCV(Ridge(), {"alpha": np.logspace(-6, 6, 100)}, cv=3).fit(X_real, y_real)
    assert fitted.best_score_ > best.best_score_ - 1e-3
    assert any(trial.why.get("source") not in (None, "quasi_random") for trial in fitted.study_.trials)


def test_it_ends_with_the_space():
    fitted = search({"C": [1, 2, 3], "kernel": ["rbf", "linear"]}, n_trials=40).fit(X, y)
    assert len(fitted.cv_results_["params"]) == len(fitted.study_.trials) == 6


@pytest.mark.parametrize("strategy", ["gp", "random"])
def test_the_same_seed_gives_the_same_candidates(strategy):
    def tried(**options):
        fitted = search(strategy=strategy, n_trials=6, cv=3, **options).fit(X, y)
        return [candidate["C"] for candidate in fitted.cv_results_["params"]]

    assert tried() == tried()
    assert tried(random_state=np.random.RandomState(3)) == tried(random_state=np.random.RandomState(3))
    assert tried() != tried(random_state=1)


def test_no_seed_is_numpys_global_one():
    def tried():
        return search(random_state=None).fit(X, y).cv_results_["params"]

    state = np.random.get_state()
    np.random.seed(5)
    first = tried()
    assert tried() != first
    np.random.seed(5)
    assert tried() == first
    np.random.set_state(state)


@pytest.mark.parametrize(("n_jobs", "batches"), [(1, [1] * 5), (2, [1] * 5), (4, [2, 2, 1])])
def test_as_many_at_a_time_as_keep_the_workers_busy(n_jobs, batches, monkeypatch):
    sizes = []
    ask = whet.Study.ask
    monkeypatch.setattr(whet.Study, "ask", lambda study, n: sizes.append(n) or ask(study, n))
    with joblib.parallel_config("threading"):
        fitted = search(n_trials=5, n_jobs=n_jobs).fit(X, y)
    assert sizes == batches
    one = search(n_trials=5).fit(X, y)
    assert [t.config for t in fitted.study_.trials] == [t.config for t in one.study_.trials]
    assert [t.values["score"] for t in fitted.study_.trials] == fitted.cv_results_["mean_test_score"].tolist()


def test_numpys_numbers_are_numbers():
    with joblib.parallel_config("threading"):
        fitted = search(n_trials=np.int64(3), random_state=np.int64(1), n_jobs=np.int64(8)).fit(X, y)
    assert len(fitted.study_.trials) == 3


_others_are_done = threading.Event()


class Patient(Ridge):
    """Ends its fits only when those of the other candidate have ended."""

    def fit(self, X, y):
        if self.alpha == 1.0:
            assert _others_are_done.wait(60)
        fitted = super().fit(X, y)
        if self.alpha == 2.0:
            _others_are_done.set()
        return fitted


def test_the_study_is_told_in_the_order_of_the_candidates():
    _others_are_done.clear()
    one = search({"alpha": [1.0, 2.0]}, Patient(), strategy="grid", n_jobs=2, cv=[(range(30), range(30, 40))])
    with joblib.parallel_config("threading"):
        first, second = one.fit(X_real, y_real).study_.trials
    assert first.ended_at <= second.ended_at
    assert first.values["fit_time"] > second.values["fit_time"]


def test_workers_in_other_processes():
    fitted = search({"clf": [SVC(), GaussianNB()]}, PIPE, n_jobs=2, strategy="grid").fit(X, y)
    assert len(fitted.study_.trials) == 2


@pytest.mark.parametrize("cv", [ShuffleSplit(2, test_size=0.3), StratifiedKFold(2, shuffle=True)])
def test_all_candidates_are_compared_on_the_same_splits(cv):
    fitted = search({"cache_size": [100, 150, 200]}, cv=cv, strategy="grid").fit(X, y)
    scores = fitted.cv_results_["split0_test_score"]
    assert len(scores) == 3
    assert len(set(scores)) == 1


def test_shared_first_steps_give_the_same_results():
    space = {"clf__C": [0.1, 1.0, 10.0], "reduce__n_components": [2, 3]}
    plain, shared = (search(space, PIPE, strategy="grid", n_trials=6, cache=of).fit(X, y) for of in (None, "memory"))
    assert plain.cv_results_["params"] == shared.cv_results_["params"]
    np.testing.assert_array_equal(plain.cv_results_["mean_test_score"], shared.cv_results_["mean_test_score"])


def test_callbacks_see_one_search(capfd):
    fitted = search(estimator=LogisticRegression(), n_trials=3).set_callbacks(ProgressBar()).fit(X, y)
    assert len(fitted.study_.trials) == 3
    shown = "".join(capfd.readouterr())
    assert "search #0" in shown
    assert "search #1" not in shown


# ---- metrics
@pytest.mark.parametrize(
    ("scoring", "refit", "strategy", "wanted"),
    [
        (None, True, "gp", ["score"]),
        ("f1", "f1", "gp", ["score"]),
        (["accuracy", "f1"], "f1", "gp", ["f1"]),
        (["accuracy", "f1"], False, "gp", ["accuracy"]),
        (["accuracy", "f1"], False, "random", ["accuracy", "f1"]),
        ({"a": "accuracy", "b": "f1"}, lambda results: 1, "auto", ["a", "b"]),
        (one_score, True, "gp", ["score"]),
        (two_scores, "zeros", "gp", ["zeros"]),
        (two_scores, False, "gp", ["score"]),
    ],
)
def test_what_is_maximized(scoring, refit, strategy, wanted):
    fitted = search(scoring=scoring, refit=refit, strategy=strategy, n_trials=3).fit(X, y)
    assert objectives_of(fitted) == wanted
    results, trials = fitted.cv_results_, fitted.study_.trials
    for name in wanted:
        column = f"mean_test_{name}" if f"mean_test_{name}" in results else "mean_test_accuracy"
        np.testing.assert_allclose([trial.values[name] for trial in trials], results[column])
    assert all("fit_time" in trial.values for trial in trials)
    assert hasattr(fitted, "best_estimator_") == (refit is not False)
