"""What people get wrong: scikit-learn's error, with a message that says as much or more."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils._param_validation import InvalidParameterError

from tests.sklearn.cases import X, nan_score, two_scores, y
from tests.sklearn.comparing import OURS, THEIRS
from whet.sklearn import SearchCV


def grid(param_grid, estimator=None, **options):
    return "GridSearchCV", {"estimator": estimator or SVC(), "param_grid": param_grid, "cv": 2, **options}


def drawn(distributions, **options):
    return "RandomizedSearchCV", {"estimator": SVC(), "param_distributions": distributions, "cv": 2, **options}


def halving(param_grid, **options):
    return "HalvingGridSearchCV", {"estimator": SVC(), "param_grid": param_grid, "cv": 2, **options}


WRONG = {  # a search, the error, and what its message says
    "unknown parameter": (grid({"c": [1]}), ValueError, "Invalid parameter 'c'.*Valid parameters are.*'C'"),
    "unknown parameter of a step": (
        grid({"svc__c": [1]}, make_pipeline(StandardScaler(), SVC())),
        ValueError,
        "Invalid parameter 'c'.*'gamma'",
    ),
    "unknown step": (
        grid({"scv__C": [1]}, make_pipeline(StandardScaler(), SVC())),
        ValueError,
        "Invalid parameter 'scv'.*'svc'",
    ),
    "no candidates": (grid([]), ValueError, "No fits were performed.*no candidates"),
    "no values": (grid({"C": []}), ValueError, "'C' need to be a non-empty sequence"),
    "one value": (grid({"C": 1.0}), TypeError, "'C'.*list or a numpy array"),
    "a string": (grid({"kernel": "rbf"}), TypeError, "'kernel'.*list or a numpy array"),
    "a matrix": (grid({"C": np.ones((2, 2))}), ValueError, "'C' should be one-dimensional"),
    "no grid": (grid("C"), TypeError, "an instance of 'dict' or"),
    "no distribution": (drawn({"C": 3}), TypeError, "'C' is not iterable or a distribution"),
    "wrong cv": (grid({"C": [1]}, cv="five"), (InvalidParameterError, ValueError), "cv"),
    "too many folds": (grid({"C": [1]}, cv=40), ValueError, "n_splits=40 cannot be greater than"),
    "splitter without groups": (
        grid({"C": [1]}, cv=GroupKFold(2)),
        ValueError,
        "'groups' parameter should not be None",
    ),
    "splits that change": (halving({"C": [1]}, cv=KFold(2, shuffle=True)), ValueError, "consistent folds"),
    "wrong n_jobs": (grid({"C": [1]}, n_jobs="two"), InvalidParameterError, "'n_jobs' parameter"),
    "wrong error_score": (grid({"C": [1]}, error_score="ignore"), InvalidParameterError, "'error_score' parameter"),
    "no estimator": (grid({"C": [1]}, estimator="svc"), InvalidParameterError, "'estimator' parameter"),
    "unknown metric": (grid({"C": [1]}, scoring="acuracy"), InvalidParameterError, "'scoring' parameter"),
    "metrics, no refit": (
        grid({"C": [1]}, scoring=["accuracy", "f1"]),
        ValueError,
        r"refit must be.*metrics: accuracy, f1",
    ),
    "metrics, unknown refit": (
        grid({"C": [1]}, scoring=["accuracy", "f1"], refit="auc"),
        ValueError,
        "refit must be.*metrics: accuracy, f1",
    ),
    "scores by function, unknown refit": (
        grid({"C": [1]}, scoring=two_scores, refit="auc"),
        ValueError,
        "refit must be.*metrics: accuracy, zeros",
    ),
    "refit gives no index": (grid({"C": [1]}, refit=lambda results: "first"), TypeError, "not an integer"),
    "refit gives an index too high": (grid({"C": [1]}, refit=lambda results: 1), IndexError, "out of range"),
    "a scorer that gives no number": (
        grid({"C": [1]}, scoring=lambda *given: "good", error_score="raise"),
        ValueError,
        "must return a number",
    ),
    "all fits fail": (grid({"C": [-1.0]}), ValueError, "All the 2 fits failed.*'C' parameter of SVC"),
    "a fit fails, and is to raise": (grid({"C": [-1.0]}, error_score="raise"), InvalidParameterError, "'C' parameter"),
    "a resource that is searched": (
        halving({"max_iter": [10, 20]}, resource="max_iter", max_resources=20),
        ValueError,
        "max_iter as the resource",
    ),
}


def error_of(kind, options, data=(X, y)):
    """Return the exception that fitting raises."""
    with pytest.raises(Exception) as caught:
        kind(**options).fit(*data)
    return caught.value


@pytest.mark.parametrize("case", WRONG)
def test_wrong_searches(case):
    (name, options), kind, said = WRONG[case]
    error = error_of(OURS[name], options)
    assert isinstance(error, kind)
    with pytest.raises(kind, match=f"(?s){said}"):
        raise error
    theirs = error_of(THEIRS[name], options)
    assert type(error) is type(theirs)
    assert str(error).startswith(str(theirs))


@pytest.mark.parametrize(
    "data",
    [(X, y[:-1]), (X[:, 0], y), ([*X.tolist()[:-1], [1.0]], y), (X, None), (None, y), ("text", y), (X[:0], y[:0])],
)
@pytest.mark.parametrize("name", ["GridSearchCV", "HalvingGridSearchCV"])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's own, about what it is about to refuse
def test_wrong_data(name, data):
    seed = {"random_state": 0} if name.startswith("Halving") else {}
    options = {"estimator": Ridge(), "param_grid": {"alpha": [1.0]}, "cv": 2, **seed}
    error, theirs = (error_of(kinds[name], options, data) for kinds in (OURS, THEIRS))
    assert type(error) is type(theirs)
    assert str(error) == str(theirs)


def test_an_unknown_parameter_is_found_before_the_first_fit():
    """Be it in the last of several grids, where scikit-learn comes to it after all the others."""
    fits = []

    class Noting(SVC):
        def fit(self, X, y):
            fits.append(self.C)
            return super().fit(X, y)

    options = {"estimator": Noting(), "param_grid": [{"C": [1.0, 2.0]}, {"gama": [1.0]}], "cv": 2}
    theirs = error_of(THEIRS["GridSearchCV"], options)
    assert len(fits) == 4
    error = error_of(OURS["GridSearchCV"], options)
    assert len(fits) == 4
    assert str(error) == f"{theirs} In this search: 'gama': did you mean 'gamma'?"


def test_scores_of_nan_are_warned_of_and_chosen_last():
    search = OURS["GridSearchCV"](SVC(), {"C": [10.0, 1.0]}, scoring=nan_score)
    with pytest.warns(UserWarning, match="non-finite"):
        search.fit(X, y)
    assert search.best_params_ == {"C": 1.0}
    failed, good = search.study_.trials
    assert failed.cause is not None
    assert "score is nan" in failed.message
    assert search.study_.best.number == good.number


def test_a_failed_candidate_says_why():
    search = OURS["GridSearchCV"](SVC(), {"C": [-1.0, 1.0]}, cv=2)
    with pytest.warns(Warning):
        search.fit(X, y)
    assert search.study_.trials[0].message.startswith("sklearn.utils._param_validation.InvalidParameterError: The 'C'")


def test_a_search_that_fails_leaves_no_study_of_an_earlier_one():
    search = OURS["RandomizedSearchCV"](SVC(), {"C": stats.uniform(1, 2)}, n_iter=2, cv=2)
    assert not hasattr(search, "study_")
    search.fit(X, y)
    assert len(search.study_.trials) == 2
    with pytest.raises(ValueError, match="inconsistent"):
        search.set_params(n_iter=3).fit(X, y[:-1])
    assert not hasattr(search, "study_")


def test_an_unknown_strategy_is_called_that():
    search = SearchCV(SVC(), {"C": (0.1, 1.0)}, strategy="gpp", cv=2)
    with pytest.raises(ValueError, match=r"^strategy: unknown sampler 'gpp'; did you mean"):
        search.fit(X, y)
