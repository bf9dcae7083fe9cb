"""Names of parameters that an estimator does not have, found before anything is fitted."""

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import whet
from whet.sklearn.names import above, check_candidates, check_space
from whet.sklearn.spaces import searched

PIPE = Pipeline([("scale", StandardScaler()), ("clf", SVC())])


class AnyName(ClassifierMixin, BaseEstimator):
    """Takes parameters that it does not list, as wrappers of deep learning do."""

    def __init__(self, **kwargs):
        self.kwargs = kwargs

    def get_params(self, deep=True):
        return {"module": "dense", **self.kwargs}

    def set_params(self, **params):
        wrong = [name for name in params if name != "module" and not name.startswith("module__")]
        if wrong:
            raise ValueError(f"no parameter {wrong[0]}")
        self.kwargs |= params
        return self


FINE = {
    "plain": (SVC(), [{"C": 1.0}, {"kernel": "linear"}, {}]),
    "of a step": (PIPE, [{"clf__C": 1.0, "scale__with_mean": False}]),
    "a step that is swapped": (
        PIPE,
        [{"clf": LogisticRegression(), "clf__l1_ratio": 0.5}, {"clf": SVC(), "clf__gamma": 1.0}, {"scale": None}],
    ),
    "of a part of a step that is swapped": (
        PIPE,
        [{"clf": BaggingClassifier(SVC()), "clf__estimator": LogisticRegression(), "clf__estimator__l1_ratio": 0.5}],
    ),
    "a step that is added": (PIPE, [{"steps": [("only", SVC())]}]),
    "not listed": (
        Pipeline([("net", AnyName())]),
        [{"net__module__hidden": 3}, {"net": AnyName(), "net__module": "x"}],
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_names_that_are_right(case):
    check_candidates(*FINE[case])


WRONG = {
    "in a later grid": (SVC(), [{"C": 1.0}, {"c": 1.0}], r"Invalid parameter 'c'.*\['C'.* 'c': did you mean 'C'\?"),
    "of a step": (PIPE, [{"clf__gama": 1}], r"Invalid parameter 'gama'.* 'clf__gama': did you mean 'clf__gamma'\?"),
    "a step": (PIPE, [{"cfl__C": 1}], r"Invalid parameter 'cfl'.* 'cfl__C': did you mean 'clf__C'\?"),
    "two": (SVC(), [{"c": 1, "gama": 1}], r"'c': did you mean 'C'\? 'gama': did you mean 'gamma'\?"),
    "nothing like it": (SVC(), [{"learning_rate": 1}], r"'verbose'\]\.$"),
    "not with that step": (
        PIPE,
        [{"clf": SVC(), "clf__C": 1}, {"clf": LogisticRegression(), "clf__gamma": 1}],
        "gamma",
    ),
    "of a step that is none": (PIPE, [{"scale": "passthrough", "scale__with_mean": True}], "scale|passthrough|str"),
    "refused by itself": (
        Pipeline([("net", AnyName())]),
        [{"net__module__hidden": 3}, {"net__hidden": 3}],
        "no parameter",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_names_that_are_wrong(case):
    estimator, candidates, said = WRONG[case]
    with pytest.raises((ValueError, AttributeError), match=f"(?s){said}") as caught:
        check_candidates(estimator, candidates)
    with pytest.raises(type(caught.value)) as theirs:
        for candidate in candidates:
            clone(estimator).set_params(**clone(candidate, safe=False))
    assert str(caught.value).startswith(str(theirs.value))


def test_names_that_are_no_text_are_refused_as_by_scikit_learn():
    with pytest.raises(TypeError, match="keywords must be strings"):
        check_candidates(SVC(), [{3: 1.0}])


class Counted(SVC):
    n_made = 0

    def __init__(self, C=1.0):
        type(self).n_made += 1
        super().__init__(C=C)


def test_what_is_plainly_right_is_not_tried():
    estimator = Counted()
    before = Counted.n_made
    check_candidates(estimator, [{"C": float(n)} for n in range(100)])
    check_candidates(Pipeline([("clf", estimator)]), [{"clf": estimator, "clf__C": float(n)} for n in range(100)])
    assert Counted.n_made == before


def test_swapped_steps_are_tried_once_each():
    parts = [AnyName(), AnyName()]
    tried = []

    class Noting(Pipeline):
        def set_params(self, **params):
            tried.append(params)
            return super().set_params(**params)

    candidates = [{"net": part, "net__module__hidden": n} for part in parts for n in range(50)]
    check_candidates(Noting([("net", AnyName())]), candidates)
    assert len(tried) == 2


def test_the_names_of_a_space():
    space = whet.Space({"clf": [SVC(), LogisticRegression()], "clf__l1_ratio": whet.Float(0, 1)})
    check_space(PIPE, searched(space))
    with pytest.raises(ValueError, match=r"(?s)^clf__gama: Invalid parameter 'gama'.*did you mean 'clf__gamma'\?"):
        check_space(PIPE, searched({"clf__gama": (0.1, 1.0)}))


def test_what_is_above_a_name():
    assert above("a__b__c", {"a": 1, "a__b": 2, "b": 3}) == ["a", "a__b"]
    assert above("a__b__c", ["a__b__c", "a__b"]) == ["a__b"]
    assert above("a", ["a"]) == []
    assert above(3, ["a"]) == []
