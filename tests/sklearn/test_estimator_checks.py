"""scikit-learn's checks of estimators, on one search of each kind; `test_their_own_tests` runs them on many."""

import warnings

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import check_estimator

from tests.sklearn.comparing import OURS
from whet.sklearn import SearchCV

_SEARCHES = [
    OURS["GridSearchCV"](Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
    OURS["RandomizedSearchCV"](LogisticRegression(), {"C": [0.1, 1.0]}, n_iter=2, cv=2, random_state=0),
    OURS["HalvingGridSearchCV"](Ridge(), {"alpha": [0.1, 1.0]}, cv=2, min_resources="smallest", random_state=0),
    OURS["HalvingRandomSearchCV"](
        LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, min_resources="smallest", random_state=0
    ),
    SearchCV(Ridge(), {"alpha": (0.1, 1.0)}, strategy="random", n_trials=2, cv=2, random_state=0),
]


# What scikit-learn's own searches fail as well: it says so in its `PER_ESTIMATOR_XFAIL_CHECKS`.
_ON_TOO_FEW = {"check_fit2d_1sample": "refused, as the least resources are more than one sample"}
_IN_2D = {"check_supervised_y_2d": "the warning comes from the fits, where it is an ordinary one"}
_KNOWN = {
    "GridSearchCV": _IN_2D,
    "RandomizedSearchCV": {},
    "HalvingGridSearchCV": _IN_2D | _ON_TOO_FEW,
    "HalvingRandomSearchCV": _ON_TOO_FEW,
    "SearchCV": _IN_2D,
}


@pytest.mark.parametrize("search", _SEARCHES, ids=lambda search: type(search).__name__)
def test_searches_pass_the_checks(search):
    known = _KNOWN[type(search).__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as many as scikit-learn's own searches give
        done = check_estimator(search, expected_failed_checks=known, on_skip=None, on_fail="raise")
    status = {check["check_name"]: check["status"] for check in done}
    assert {name for name in status if status[name] == "xfail"} == set(known)
    assert sum(of == "passed" for of in status.values()) > 40
