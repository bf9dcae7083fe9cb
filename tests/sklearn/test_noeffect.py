"""Parameters that change nothing: found where that is certain, and nowhere else."""

import abc
import copy
import pickle
import threading
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from whet.sklearn import GridSearchCV
from whet.sklearn.noeffect import NoEffectWarning, Reads, Tried, of_equal_scores, warn_of, without_effect
from whet.sklearn.prefixes import fit_and_score
from whet.sklearn.reading import Watch, is_watched, watching

X = np.random.default_rng(0).normal(size=(40, 3))
y = (X[:, 0] > 0).astype(int)
HALVES = np.arange(0, 40, 2), np.arange(1, 40, 2)


def score(estimator, X, y):
    return estimator.score(X, y)


def tried_out(estimator, candidates, scorer=score, reads=None):
    """Fit each candidate once, as the workers of a search do; return the names of those that nothing read."""
    reads = reads or Reads(estimator)
    tried = {}
    for row, candidate in enumerate(candidates):
        one = clone(estimator)
        with watching(one, reads.names(row, candidate)) as watch:
            outcome = fit_and_score(
                one,
                X,
                y,
                scorer=scorer,
                train=HALVES[0],
                test=HALVES[1],
                parameters=candidate,
                fit_params=None,
                score_params=None,
                verbose=0,
                return_n_test_samples=True,
                error_score=np.nan,
            )
        reads.note(row, watch.unread if outcome["fit_error"] is None else None)
        tried[row] = Tried(candidate, [outcome])
    assert not is_watched(type(estimator))
    return [(name, why) for name, why in without_effect(reads, tried, 1) if "never reads" in why]


def each(name, *values):
    return [{name: value} for value in values]


class Sign(ClassifierMixin, BaseEstimator):
    """Does it right: the constructor stores what it is given, and `fit` makes the model of it."""

    def __init__(self, width=1, other=False):
        self.width = width
        self.other = other

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.model_ = np.ones(self.made_of())
        return self

    def made_of(self):
        return self.width

    def predict(self, X):
        return (X[:, 0] * self.model_.sum() > 0).astype(int)


class BuiltEarly(Sign):
    """Does it wrong: the constructor makes the model."""

    def __init__(self, width=1, other=False):
        super().__init__(width, other)
        self.network = np.ones(self.width)

    def made_of(self):
        return len(self.network)


class Abstract(BuiltEarly, abc.ABC):
    pass


@dataclass
class BuiltAfterwards(Sign):
    width: int = 1
    other: bool = False

    def __post_init__(self):
        self.network = np.ones(self.width)

    made_of = BuiltEarly.made_of


class Unused(Sign):
    def made_of(self):
        return 3


# ---- what is found
@pytest.mark.parametrize("kind", [BuiltEarly, Abstract, BuiltAfterwards, Unused])
def test_what_only_the_constructor_reads_is_found(kind):
    found = tried_out(kind(), each("width", 2, 3))
    assert [name for name, _ in found] == ["width"]
    said = found[0][1]
    assert f"scoring {kind.__name__} never reads" in said
    assert ("has made network by then" in said) == (kind is not Unused)


def test_what_is_read_is_told_from_what_is_not():
    candidates = [{"net__width": width, "net__other": other} for width in (2, 3) for other in (True, False)]
    pipeline = Pipeline([("scale", StandardScaler()), ("net", Unused())])
    assert [name for name, _ in tried_out(pipeline, candidates)] == ["net__width", "net__other"]
    pipeline.set_params(net=Sign())
    assert [name for name, _ in tried_out(pipeline, candidates)] == ["net__other"]


def test_a_parameter_with_one_value_is_no_search():
    assert tried_out(BuiltEarly(), each("width", 2, 2)) == []
    assert tried_out(BuiltEarly(), each("width", [2], [2])) == []


def test_the_warning_says_each_cause_once():
    candidates = [{"width": width, "other": width > 2} for width in (2, 3)]
    with pytest.warns(NoEffectWarning) as caught:
        warn_of(tried_out(BuiltEarly(), candidates))
    (one,) = caught
    assert str(one.message).startswith("Parameters width and other change nothing in this search: fitting")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of([])


# ---- what is not: somebody reads it, or might
class ByProperty(BuiltEarly):
    @property
    def width(self):
        return self._width

    @width.setter
    def width(self, value):
        self._width = value
        self.network = np.ones(value)


class BySetParams(BuiltEarly):
    def set_params(self, **params):
        super().set_params(**params)
        self.network = np.ones(self.width)
        return self


class BySetattr(BuiltEarly):
    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        if name == "width":
            object.__setattr__(self, "network", np.ones(value))


class BySlot(Sign):
    __slots__ = ("width",)


class OfKeywords(Sign):
    """As wrappers of deep learning are: what they do not know goes elsewhere."""

    def __init__(self, **kwargs):
        vars(self).update(kwargs)

    def get_params(self, deep=True):
        return {"width": 1, **{name: value for name, value in vars(self).items() if not name.endswith("_")}}

    def set_params(self, **params):
        vars(self).update(params)
        return self


class OwnAccess(Unused):
    def __getattribute__(self, name):
        return super().__getattribute__(name)


class Meta(type):
    pass


class Metaclassed(Unused, metaclass=Meta):
    pass


class Cloned(Unused):
    def __sklearn_clone__(self):
        return type(self)(**self.get_params())


UNWATCHED = [ByProperty, BySetParams, BySetattr, BySlot, OfKeywords, OwnAccess, Metaclassed, Cloned]


@pytest.mark.parametrize("kind", UNWATCHED)
def test_classes_that_set_or_read_in_ways_of_their_own_are_not_watched(kind):
    assert Reads(kind()).names(0, {"width": 2}) == ()
    assert tried_out(kind(), each("width", 2, 3)) == []


class Helper:
    def __init__(self, owner):
        self.owner = owner

    def width(self):
        return self.owner.width


class WithHelper(Sign):
    def __init__(self, width=1, other=False):
        super().__init__(width, other)
        self.helper = Helper(self)

    def made_of(self):
        return self.helper.width()


def in_thread(estimator):
    got = []
    thread = threading.Thread(target=lambda: got.append(estimator.width))
    thread.start()
    thread.join()
    return got[0]


WAYS = {
    "vars": lambda self: vars(self)["width"],
    "dict": lambda self: {**self.__dict__}["width"],
    "getattr": lambda self: [getattr(self, name) for name in ("other", "width")][1],
    "get_params": lambda self: self.get_params()["width"],
    "clone": lambda self: clone(self).width,
    "copy": lambda self: copy.copy(self).width,
    "deepcopy": lambda self: copy.deepcopy(self).width,
    "pickle": lambda self: pickle.loads(pickle.dumps(self)).width,
    "repr": lambda self: len(repr(self)),
    "thread": in_thread,
    "hasattr": lambda self: 2 if hasattr(self, "width") else 1,
}


class InSomeWay(Sign):
    way = ""

    def made_of(self):
        return WAYS[self.way](self)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_reads_it_counts(way, monkeypatch):
    monkeypatch.setattr(InSomeWay, "way", way)
    assert tried_out(InSomeWay(), each("width", 2, 3)) == []


def test_a_helper_that_reads_it_counts():
    assert tried_out(WithHelper(), each("width", 2, 3)) == []


class InPredict(Unused):
    def predict(self, X):
        return (X[:, 0] > self.width).astype(int)


def test_scoring_counts():
    assert tried_out(InPredict(), each("width", 2, 3)) == []
    by_scorer = tried_out(Unused(), each("width", 2, 3), scorer=lambda estimator, X, y: 1.0 / estimator.width)
    assert by_scorer == []


class InSomeCases(Unused):
    def made_of(self):
        return self.width if self.other else 3


def test_one_candidate_that_reads_it_is_enough():
    candidates = [{"width": width, "other": other} for other in (False, True) for width in (2, 3)]
    assert tried_out(InSomeCases(), candidates) == []
    assert [name for name, _ in tried_out(InSomeCases(), candidates[:2])] == ["width"]


class ParentReads(ClassifierMixin, BaseEstimator):
    def __init__(self, child=None):
        self.child = child

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.width_ = self.child.width
        return self

    def predict(self, X):
        return (X[:, 0] > self.width_).astype(int)


def test_a_part_that_others_read_or_clone():
    assert tried_out(ParentReads(Unused()), each("child__width", 2, 3)) == []
    assert tried_out(BaggingClassifier(BuiltEarly(), n_estimators=2), each("estimator__width", 2, 3)) == []
    columns = ColumnTransformer([("first", Pipeline([("scale", StandardScaler())]), [0])])
    pipeline = Pipeline([("columns", columns), ("net", Sign())])
    assert tried_out(pipeline, each("columns__first__scale__with_mean", True, False)) == []


def test_a_part_that_is_swapped_is_not_watched():
    pipeline = Pipeline([("net", Unused())])
    candidates = [{"net": BuiltEarly(), "net__width": 2}, {"net": SVC(), "net__C": 2.0}, {"net__width": 3}]
    reads = Reads(pipeline)
    assert [reads.names(row, candidate) for row, candidate in enumerate(candidates)] == [(), (), ("net__width",)]
    assert tried_out(pipeline, [candidates[0], candidates[2]]) == []


@pytest.mark.parametrize("step", [("other", Unused()), ("net", OwnAccess()), ("net", SVC())])
def test_parts_that_come_with_all_the_steps_are_not_watched(step):
    pipeline = Pipeline([("net", Unused())])
    reads = Reads(pipeline)
    candidate = {"steps": [step], "net__width": 2}
    one = clone(pipeline)
    with watching(one, reads.names(0, candidate)) as watch:
        one.set_params(steps=[step])
        assert not any(map(is_watched, (Unused, OwnAccess, SVC)))
    assert watch.unread is None


def test_classes_of_scikit_learn_and_names_that_do_not_exist_are_not_watched():
    assert Reads(SVC()).names(0, {"C": 1, "gama": 2}) == ()
    assert Reads(Unused()).names(0, {"widht": 2, "width__of": 3, "a__width": 1}) == ()
    assert Reads(Pipeline([("net", "passthrough")])).names(0, {"net__width": 2}) == ()


def test_steps_that_may_come_fitted_are_not_watched():
    pipeline = Pipeline([("first", Unused()), ("net", Unused())])
    assert Reads(pipeline, is_shared=True).names(0, {"first__width": 1, "net__width": 2}) == ("net__width",)
    assert Reads(Unused(), is_shared=True).names(0, {"width": 2}) == ("width",)


class Failing(Unused):
    def fit(self, X, y):
        if self.other:
            raise ArithmeticError("too much")
        return super().fit(X, y)


@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
def test_fits_that_fail_are_no_evidence():
    candidates = [{"width": 2, "other": False}, {"width": 3, "other": True}, {"width": 4, "other": True}]
    assert tried_out(Failing(), candidates) == []
    assert not is_watched(Failing)


def test_a_candidate_that_was_not_watched_leaves_it_open():
    reads = Reads(Unused())
    assert reads.names(0, {"width": 1}) == ("width",)
    assert reads.names(0, {"width": 1}) == ()
    reads.note(0, ("width",))
    tried = {row: Tried({"width": row}, []) for row in range(2)}
    assert reads.unread(tried) == []
    assert reads.names(1, {"width": 2}) == ("width",)
    reads.note(1, None)
    assert reads.unread(tried) == []
    reads.note(1, ["width"])
    assert [name for name, _ in reads.unread(tried)] == ["width"]


# ---- watching changes nothing else
def test_the_class_is_as_it_was():
    pickle.dumps(Sign())  # which notes something in the class
    before = dict(vars(Sign))
    one = Sign()
    with watching(one, ("width", "other")) as watch:
        one.set_params(width=2)
        assert is_watched(Sign)
        assert type(one) is Sign
        assert Sign(3).width == 3  # of another object: nobody notes it
        with pytest.raises(AttributeError, match="'Sign' object has no attribute 'nothing'"):
            _ = one.nothing
        assert pickle.loads(pickle.dumps(Sign(4))).width == 4
        assert one.width == 2
    assert watch.unread == ("other",)
    assert dict(vars(Sign)) == before
    assert "set_params" not in vars(one)


def test_it_ends_once_all_is_read_and_when_something_is_raised():
    one = Sign()
    with watching(one, ("width",)):
        one.set_params(width=2)
        assert is_watched(Sign)
        _ = one.width
        assert not is_watched(Sign)
    with pytest.raises(ArithmeticError), watching(one, ("width",)):
        one.set_params(width=2)
        raise ArithmeticError
    assert not is_watched(Sign)


def test_parameters_that_were_never_set():
    with watching(Sign(), ("width",)) as watch:
        pass
    assert watch.unread is None
    with watching(Sign(), ()) as watch:
        pass
    assert watch.unread is None
    assert not is_watched(Sign)


def test_threads_that_fit_the_same_class():
    """As joblib's threads do: each sees what its own estimator reads."""
    came = {}
    barrier = threading.Barrier(4)

    def fit(number):
        one = Sign() if number % 2 else BuiltEarly()
        watch = Watch(("width", "other"))
        watch.begin(one)
        for _ in range(50):
            barrier.wait(30)
            one.fit(X, y)
        watch.end()
        came[number] = watch.unread

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert came == {number: ("other",) if number % 2 else ("width", "other") for number in range(4)}
    assert "__getattribute__" not in {*vars(Sign), *vars(BuiltEarly)}


# ---- by scores
def tried(parameters, *scores, n=200, **more):
    return Tried(parameters, [{"test_scores": one, "n_test_samples": n, "fit_error": None} | more for one in scores])


def test_equal_scores_are_found():
    grid = [tried({"a": a, "b": b}, 0.1 * a, 0.2 * a) for a in (1, 2, 3) for b in ("x", "y")]
    ((name, why),) = of_equal_scores(grid)
    assert name == "b"
    assert "the candidates that differ in nothing else have the same scores on every split" in why


def test_scores_that_differ_anywhere_are_not():
    grid = [tried({"a": a, "b": b}, 0.1 * a, 0.2 * a) for a in (1, 2, 3) for b in ("x", "y")]
    assert of_equal_scores([*grid[:-1], tried({"a": 3, "b": "y"}, 0.3, np.nextafter(0.6, 1))]) == []
    with_train = [
        Tried(one.parameters, [{**of, "train_scores": float(i)} for of in one.outcomes]) for i, one in enumerate(grid)
    ]
    assert of_equal_scores(with_train) == []
    several = [
        tried(one.parameters, {"f1": 0.5, "loss": 0.1 * i}, {"f1": 0.4, "loss": 1.0}) for i, one in enumerate(grid)
    ]
    assert of_equal_scores(several) == []


@pytest.mark.parametrize(
    "candidates",
    [
        [],
        [tried({"a": 1}, 0.5, 0.4)],
        [tried({"a": a}, 1.0, 1.0) for a in range(4)],  # nothing could do better
        [tried({"a": a}, 0.81, 0.84, n=100) for a in range(2)],  # one pair, and few wrong answers
        [tried({"a": a}, 0.9715, 0.9837, n=300) for a in range(4)],  # as of F1: not a number of answers
        [tried({"a": a}, {"f1": 0.99, "auc": 0.999}, n=2000) for a in range(3)],
        [tried({"a": a}, 0.123, 0.456, n=10) for a in range(4)],  # few samples
        [tried({"a": a}, -0.123, -3.4, n=20) for a in range(3)],
        [tried({"a": a}, np.nan, 0.5) for a in range(4)],
        [tried({"a": a, "b": a}, 0.123, 0.456) for a in range(4)],  # nobody differs in one of them only
        [tried({"a": 1}, 0.123, 0.456) for _ in range(4)],  # the same again
    ],
)
def test_what_may_be_an_accident_is_not_said(candidates):
    assert of_equal_scores(candidates) == []


@pytest.mark.parametrize(
    "candidates",
    [
        [tried({"a": a}, 0.1234, 0.4567) for a in (1, 2)],
        [tried({"a": a}, 0.82, 0.84) for a in (1, 2, 3)],
        [tried({"a": a}, -0.01, -0.02, n=50) for a in (1, 2)],  # a loss: all samples make it
        [tried({"a": a}, {"accuracy": 0.99, "loss": -0.02}, {"accuracy": 0.99, "loss": -0.03}) for a in (1, 2)],
    ],
)
def test_many_answers_are_no_accident(candidates):
    assert [name for name, _ in of_equal_scores(candidates)] == ["a"]


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro", "roc_auc_ovr"])
def test_parameters_that_matter_little_to_the_usual_classifiers_are_not_said_to_change_nothing(scoring):
    X, y = load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoEffectWarning)
        GridSearchCV(LogisticRegression(max_iter=3000), {"C": [1, 2, 3]}, scoring=scoring).fit(X, y)
        GridSearchCV(SVC(), {"C": [10, 20]}, scoring="f1_macro").fit(X, y)


def test_it_points_at_who_called_what_the_search_is_a_part_of():
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(300, 2)), rng.normal(size=300)
    with pytest.warns(NoEffectWarning, match="Parameter degree changes nothing") as caught:
        cross_val_score(GridSearchCV(SVC(), {"C": [0.1, 1], "degree": [1, 2, 3]}), X, X[:, 0] + noise > 0, cv=2)
    assert {one.filename for one in caught} == {__file__}


def test_candidates_of_other_rounds_are_not_compared():
    one, other = (tried({"a": a}, 0.123, 0.456) for a in (1, 2))
    assert len(of_equal_scores([one, other])) == 1
    assert of_equal_scores([one, replace(other, round=2)]) == []


def test_unread_and_equal_is_said_once():
    reads = Reads(Unused())
    several = {row: tried({"width": row}, 0.123, 0.456) for row in range(3)}
    assert [name for name, _ in without_effect(reads, several, 2)] == ["width"]
    for row, one in several.items():
        reads.note(row, reads.names(row, one.parameters))
    ((name, why),) = without_effect(reads, several, 2)
    assert name == "width"
    assert "never reads" in why
    assert len(without_effect(reads, several, 3)) == 1  # which were not fitted on all splits


def test_values_that_are_objects_and_parameters_that_some_do_not_have():
    svc, logistic = SVC(), LogisticRegression()
    candidates = [{"m": m, "C": C} for m in (svc, logistic) for C in (1.0, 2.0)] + [{"m": "passthrough"}]
    scores = [0.11, 0.11, 0.33, 0.33, 0.5]
    found = of_equal_scores([tried(c, s, 0.2) for c, s in zip(candidates, scores, strict=True)])
    assert [name for name, _ in found] == ["C"]
