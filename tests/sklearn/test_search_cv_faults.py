"""SearchCV: candidates that fail, searches as objects, and what is refused."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC
from sklearn.utils._param_validation import InvalidParameterError

import whet
from tests.sklearn.cases import X, X_real, one_score, two_scores, weights, y, y_real
from tests.sklearn.small_searches import PIPE, search
from whet.samplers import TPE
from whet.sklearn import GridSearchCV


# ---- failures
class Picky(ClassifierMixin, BaseEstimator):
    """Fails to fit beyond a half."""

    def __init__(self, x=0.0):
        self.x = x

    def fit(self, X, y):
        if self.x > 0.5:
            raise ArithmeticError("too much")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return (X[:, 0] > self.x).astype(int)


@pytest.mark.parametrize("scoring", [None, ["accuracy", "f1"], two_scores, one_score])
@pytest.mark.parametrize("strategy", ["gp", "grid"])
def test_failed_candidates_do_not_end_the_search(scoring, strategy):
    refit = "accuracy" if scoring in (two_scores, ["accuracy", "f1"]) else True
    space = {"x": [0.9, 0.1, 0.7, 0.3] if strategy == "grid" else (0.0, 1.0)}
    one = search(space, Picky(), strategy=strategy, scoring=scoring, refit=refit, n_trials=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that fail and scores that are not finite
        fitted = one.fit(X, y)
    failed = [candidate["x"] > 0.5 for candidate in fitted.cv_results_["params"]]
    assert True in failed
    assert False in failed
    assert [trial.cause is not None for trial in fitted.study_.trials] == failed
    assert all("too much" in t.message for t, is_out in zip(fitted.study_.trials, failed, strict=True) if is_out)
    name = "accuracy" if refit == "accuracy" else "score"
    assert np.isnan(fitted.cv_results_[f"mean_test_{name}"]).tolist() == failed
    assert fitted.best_params_["x"] <= 0.5


def test_a_first_candidate_that_fails():
    space = {"x": whet.Categorical(["none", 0.1])}
    one = search(space, Picky(), strategy="grid", scoring=two_scores, refit="accuracy")
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"),
    ):
        fitted = one.fit(X, y)
    assert fitted.cv_results_["param_x"].tolist() == ["none", 0.1]
    assert fitted.best_index_ == 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # scikit-learn's standard deviation
def test_scores_that_are_not_finite_fail():
    scores = iter([np.nan, -np.inf, 0.5, 0.25])
    one = search({"C": [1, 2, 3, 4]}, scoring=lambda *given: next(scores), cv=[(range(40), range(40, 60))])
    with pytest.warns(UserWarning, match="non-finite"):
        fitted = one.fit(X, y)
    assert [trial.cause is not None for trial in fitted.study_.trials] == [True, True, False, False]


def test_all_candidates_fail():
    with pytest.raises(ValueError, match=r"(?s)All the 8 fits failed.*too much"):
        search({"x": (0.6, 1.0)}, Picky()).fit(X, y)
    with pytest.raises(ArithmeticError, match="too much"):
        search({"x": (0.6, 1.0)}, Picky(), error_score="raise").fit(X, y)


# ---- an estimator like the others
def test_clone_parameters_and_repr():
    one = search(_space := {"C": (1, 3)}, strategy=TPE(n_start=7), cache="memory")
    twin = clone(one)
    assert twin.get_params()["n_trials"] == 4
    assert twin.strategy is not one.strategy
    assert twin.strategy.n_start == 7
    assert twin.set_params(strategy="gp", estimator__kernel="linear").estimator.kernel == "linear"
    assert one.space is _space
    assert "SearchCV" in repr(one)
    assert "study_" in one.fit(X, y)._repr_html_()
    assert "href" not in one._get_doc_link()


def test_the_parameters_are_not_changed_by_a_fit():
    one = search(strategy=TPE(n_start=2), n_trials=4, random_state=np.random.RandomState(0))
    before = dict(vars(one.strategy))
    one.fit(X, y)
    assert vars(one.strategy) == before


def test_pickle():
    space = whet.Space(
        {"clf": [SVC(), GaussianNB()], "clf__C": whet.Float(0.1, 1, when="clf == 'SVC()'"), "scale": [None]}
    )
    fitted = search(space, PIPE).fit(X, y)
    twin = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(twin.predict(X), fitted.predict(X))
    for one, other in zip(twin.study_.trials, fitted.study_.trials, strict=True):
        assert one.config == other.config
        assert one.values == other.values


def test_inside_others():
    assert cross_val_score(search(), X, y, cv=2).shape == (2,)
    inside = TransformedTargetRegressor(search({"alpha": (0.1, 1.0)}, Ridge()))
    assert inside.fit(X_real, y_real).predict(X_real).shape == (40,)
    outer = GridSearchCV(search(), {"n_trials": [1, 2]}, cv=2).fit(X, y)
    assert len(outer.best_estimator_.study_.trials) == outer.best_params_["n_trials"]


def test_weights_and_routing():
    fitted = search().fit(X, y, sample_weight=weights)
    assert not np.array_equal(
        fitted.cv_results_["mean_test_score"], search(n_trials=1).fit(X, y).cv_results_["mean_test_score"]
    )
    with sklearn.config_context(enable_metadata_routing=True):
        routed = search(estimator=SVC().set_fit_request(sample_weight=True).set_score_request(sample_weight=True))
        assert routed.fit(X, y, sample_weight=weights).best_score_ > 0


# ---- bad input
_KNOWN = "grid, random, quasi_random, gp, tpe, cmaes, auto"
WRONG = {
    "unknown parameter": ({"space": {"c": (1, 2)}}, ValueError, "Invalid parameter 'c'.*Valid parameters.*'C'"),
    "unknown parameter of a step": (
        {"space": {"clf__c": (1, 2)}, "estimator": PIPE},
        ValueError,
        "clf__c: Invalid parameter 'c'.*'gamma'",
    ),
    "unknown step": ({"space": {"svc__C": (1, 2)}, "estimator": PIPE}, ValueError, "Invalid parameter 'svc'.*'clf'"),
    "unknown parameter of every step": (
        {"space": {"clf": ["passthrough", SVC(), GaussianNB()], "clf__c": (1, 2)}, "estimator": PIPE},
        ValueError,
        "Invalid parameter 'c'.*Valid parameters",
    ),
    "empty space": ({"space": {}}, ValueError, "at least one parameter"),
    "no space": ({"space": [("C", 1)]}, InvalidParameterError, "'space' parameter.*Mapping"),
    "no name": ({"space": {1: (1, 2)}}, ValueError, "names of parameters that are text"),
    "no values": ({"space": {"C": []}}, ValueError, "C: .*at least one value"),
    "one value": ({"space": {"kernel": "rbf"}}, ValueError, "kernel: expected a domain.*'rbf'"),
    "low above high": ({"space": {"C": (2.0, 1.0)}}, ValueError, "C: Float: expected low < high.*swap"),
    "condition on nothing": (
        {"space": {"C": whet.Float(1, 2, when="kernal == 'rbf'")}},
        ValueError,
        "no parameter 'kernal'",
    ),
    "everything is forbidden": (
        {"space": whet.Space({"C": [1, 2]}, forbid=["C > 0"]), "strategy": "grid"},
        ValueError,
        "No fits were performed",
    ),
    "no splits": ({"cv": []}, ValueError, "No fits were performed. Was the CV iterator empty"),
    "no trials": ({"n_trials": 0}, InvalidParameterError, "'n_trials' parameter"),
    "half a trial": ({"n_trials": 1.5}, InvalidParameterError, "'n_trials' parameter"),
    "unknown strategy": ({"strategy": "gpp"}, ValueError, rf"'gpp'; did you mean 'gp'\? \(known: {_KNOWN}\)"),
    "unknown option": ({"strategy": "tpe(start=1)"}, ValueError, "tpe has no option 'start'.*n_start"),
    "no strategy": ({"strategy": 3}, InvalidParameterError, "'strategy' parameter"),
    "a class": ({"strategy": TPE}, ValueError, "a sampler is a name"),
    "a grid without end": ({"strategy": "grid"}, ValueError, "grid needs finitely many values"),
    "no seed": ({"random_state": "now"}, InvalidParameterError, "'random_state' parameter"),
    "unknown metric": ({"scoring": "acuracy"}, InvalidParameterError, "'scoring' parameter"),
    "metrics, no refit": ({"scoring": ["accuracy", "f1"]}, ValueError, "refit must be.*metrics: accuracy, f1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_searches(case, monkeypatch):
    options, kind, said = WRONG[case]
    monkeypatch.setattr(SVC, "fit", lambda *given: pytest.fail("nothing is to be fitted before"))
    with pytest.raises(kind, match=f"(?s){said}"):
        search(**options).fit(X, y)


def test_a_parameter_that_a_swapped_step_lacks_is_refused_by_the_fit():
    space = {"clf": [SVC(), GaussianNB()], "clf__C": (0.1, 1.0)}
    with warnings.catch_warnings(), pytest.raises(ValueError, match="Invalid parameter 'C' for estimator GaussianNB"):
        warnings.simplefilter("ignore")
        search(space, PIPE, n_trials=20).fit(X, y)
