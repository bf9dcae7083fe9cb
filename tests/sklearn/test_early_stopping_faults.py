"""What `EarlyStopping` says where it cannot stop early, or where training goes wrong."""

import threading

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.decomposition import IncrementalPCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils._param_validation import InvalidParameterError

from tests.sklearn.scripted import Noting, Scripted
from whet.sklearn import GridSearchCV
from whet.sklearn.early_stopping import EarlyStopping

X, Y = make_classification(60, 5, random_state=0)


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (Ridge(), "EarlyStopping expects .* partial_fit, or warm_start .*, and Ridge has neither$"),
        (SVC(), "SVC has neither$"),
        (make_pipeline(StandardScaler(), SGDClassifier()), r"Pipeline has neither. Put EarlyStopping inside: make_pip"),
        (MultiOutputRegressor(Ridge()), r"inside: MultiOutputRegressor\(EarlyStopping\(...\)\)"),
        (GridSearchCV(SGDClassifier(), {"alpha": [1]}), r"inside: GridSearchCV\(EarlyStopping\(...\)\)"),
        (IncrementalPCA(), "'score' method"),
    ],
)
def test_an_estimator_that_is_not_incremental(estimator, said):
    with pytest.raises(TypeError, match=said):
        EarlyStopping(estimator).fit(X, Y)


def test_in_a_search_it_is_said_as_well():
    with pytest.raises(ValueError, match="Ridge has neither"):
        GridSearchCV(EarlyStopping(Ridge()), {"estimator__alpha": [1, 2]}).fit(X, Y)


@pytest.mark.parametrize(
    ("estimator", "grow", "said"),
    [
        (GaussianProcessClassifier(), None, "it has neither n_estimators nor max_iter; name one"),
        (LogisticRegression(), "n_trees", "grow='n_trees' is no parameter of LogisticRegression.* max_iter"),
        (LogisticRegression(), "C", "C of LogisticRegression.* has to be a whole number from 1 on.*not 1.0"),
        (LogisticRegression(max_iter=0), None, "max_iter of .* not 0"),
        (LogisticRegression(), "fit_intercept", "not True"),
        (GradientBoostingClassifier(n_estimators=-1), None, "n_estimators of .* not -1"),
        (SGDClassifier(max_iter=None), None, "max_iter of .* not None"),
        (Noting("many"), None, "max_iter of .* not 'many'"),
    ],
)
def test_what_grows_is_not_clear(estimator, grow, said):
    with pytest.raises(ValueError, match=said):
        EarlyStopping(estimator, grow=grow).fit(X, Y)


def test_several_could_grow():
    class Both(RandomForestRegressor):
        def __init__(self, max_iter=3):
            super().__init__(n_estimators=2)
            self.max_iter = max_iter

        def get_params(self, deep=True):
            return {"max_iter": self.max_iter, "n_estimators": self.n_estimators, "warm_start": self.warm_start}

    with pytest.raises(ValueError, match='n_estimators and max_iter; name one, grow="n_estimators"'):
        EarlyStopping(Both()).fit(X, Y)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"patience": 0},
        {"patience": None},
        {"min_delta": -0.1},
        {"min_delta": "small"},
        {"validation_fraction": 0},
        {"validation_fraction": 1.0},
        {"validation_fraction": 3},
        {"scoring": "sharpness"},
        {"scoring": ["accuracy"]},
        {"grow": 3},
        {"random_state": "seven"},
        {"estimator": "sgd"},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        EarlyStopping(**({"estimator": SGDClassifier()} | wrong)).fit(X, Y)


def test_too_few_samples():
    with pytest.raises(ValueError, match="no samples can be held out to validate on: n_samples=1; "):
        EarlyStopping(SGDClassifier()).fit([[1.0]], [1])
    with pytest.raises(ValueError, match="n_samples=3, and one of each of 3 classes has to be trained on"):
        EarlyStopping(SGDClassifier()).fit([[1.0], [2.0], [3.0]], ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"no groups can be held out .* in 1 group\(s\)"):
        EarlyStopping(SGDClassifier()).fit(X, Y, groups=np.ones(60))
    with pytest.raises(ValueError, match=r"no groups .* in 2 group\(s\), and one of each of 2 classes"):
        EarlyStopping(SGDClassifier()).fit(X, Y, groups=Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EarlyStopping(SGDClassifier()).fit(X, Y, groups=np.ones(59))
    assert EarlyStopping(SGDClassifier()).fit([[1.0], [2.0], [3.0]], ["a", "b", "b"]).n_steps_ >= 1
    with pytest.raises(ValueError, match="requires y to be passed"):
        EarlyStopping(SGDClassifier()).fit(X)


def test_one_class_is_what_the_estimator_says_it_is():
    with pytest.raises(ValueError, match="class"):
        EarlyStopping(SGDClassifier()).fit(X, np.ones(60))
    stopped = EarlyStopping(Noting()).fit(X, np.ones(60))
    assert list(stopped.classes_) == [1.0]
    rare = np.array([0] * 59 + [1])  # which is trained on; and of one class there is no area under a curve
    with (
        pytest.warns(match="Only one class"),
        pytest.raises(ValueError, match="scoring='roc_auc' may need more of them, or of each class"),
    ):
        EarlyStopping(SGDClassifier(), scoring="roc_auc").fit(X, rare)


@pytest.mark.parametrize("first", [float("nan"), float("-inf"), float("inf")])
def test_the_first_score_is_no_finite_number(first):
    stopping = EarlyStopping(Scripted([first, 1.0]), steps=2)
    with pytest.raises(ValueError, match=f"score {first} after the first step"):
        stopping.fit(X, Y)
    assert not hasattr(stopping, "estimator_")


def test_what_the_estimator_or_the_scorer_raises_comes_through():
    with pytest.raises(OSError, match="disk") as said:
        EarlyStopping(Scripted([1.0, 2.0, OSError("disk")]), steps=3).fit(X, Y)
    assert "after 2 steps that were scored" in said.value.__notes__[0]

    def refuses(estimator, X, y):
        raise LookupError("no such score")

    with pytest.raises(LookupError, match="no such score"):
        EarlyStopping(SGDClassifier(), scoring=refuses).fit(X, Y)
    with pytest.raises(ValueError, match=r"scoring has to give a number, and scoring=.* gave {'a': 1}"):
        EarlyStopping(SGDClassifier(), scoring=lambda *_: {"a": 1}).fit(X, Y)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"score -inf .* or training diverges at once"):
        EarlyStopping(SGDRegressor(learning_rate="constant", eta0=1e200)).fit(X, Y)


def test_a_failure_leaves_what_was_there():
    stopping = EarlyStopping(Scripted([1.0, 2.0]), steps=2).fit(X, Y)
    stopping.set_params(estimator__script=[ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        stopping.fit(X, Y)
    assert stopping.estimator_.n_epochs_ == 2


def test_a_candidate_that_fails_costs_a_search_that_candidate():
    search = GridSearchCV(
        EarlyStopping(Scripted(), steps=2),
        {"estimator__script": [[ValueError("broken"), 1.0], [1.0, 2.0]]},
        cv=2,
        scoring=lambda fitted, X, y: fitted.estimator_.n_epochs_,
    )
    with pytest.warns(match="non-finite"), pytest.warns(match="broken"):
        search.fit(X, Y)
    assert search.best_index_ == 1
    assert np.isnan(search.cv_results_["mean_test_score"][0])


def test_an_estimator_that_cannot_be_copied():
    class Locked(Scripted):
        def partial_fit(self, X, y):
            self.lock_ = threading.Lock()
            return super().partial_fit(X, y)

    with pytest.raises(TypeError, match="pickle"):
        EarlyStopping(Locked([1.0]), steps=1).fit(X, Y)


def test_a_method_that_is_not_there_says_whose():
    with pytest.raises(AttributeError, match="transform"):
        EarlyStopping(SGDClassifier()).transform(X)
    with pytest.raises(AttributeError, match="classes_"):
        EarlyStopping(SGDRegressor()).fit(X, Y).classes_  # noqa: B018 - that it raises is what is tested
    with pytest.raises(NotFittedError):
        EarlyStopping(SGDClassifier()).score(X, Y)
    with pytest.raises(TypeError, match="DummyClassifier has neither"):
        EarlyStopping(DummyClassifier()).fit(X, Y)
