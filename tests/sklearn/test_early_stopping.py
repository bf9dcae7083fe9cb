"""`EarlyStopping`: what it trains, when it ends, what it is in the end, and what it saves in a search."""

import copy
import pickle
import warnings
from inspect import signature

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csc_array, csr_array
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_digits, make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.mixture import GaussianMixture
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators, get_tags
from sklearn.utils.estimator_checks import check_estimator

from tests.sklearn.scripted import Noting, Scripted
from whet.sklearn import GridSearchCV
from whet.sklearn.early_stopping import EarlyStopping
from whet.sklearn.held_out import held_out
from whet.sklearn.incremental import state_of

X, Y = make_classification(300, 8, n_informative=5, flip_y=0.1, random_state=0)
NAMES = np.array(["no", "yes"])[Y]


def scripted(script, **options):
    return EarlyStopping(Scripted(script), steps=len(script), **options).fit(X, Y)


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(random_state=0),
        SGDRegressor(random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0),
        GradientBoostingRegressor(n_estimators=20, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_it_passes_the_checks_of_scikit_learn(estimator):
    # Of 20 steps each of one tree, the first would do for the data of the checks; and one tree gives ties.
    stopping = EarlyStopping(estimator, steps=4 if hasattr(estimator, "n_estimators") else 20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = check_estimator(stopping, on_skip=None, on_fail="raise")
    assert {check["status"] for check in done} <= {"passed", "skipped"}
    assert sum(check["status"] == "passed" for check in done) > 45


@pytest.mark.parametrize(
    ("script", "options", "n_steps", "best"),
    [
        ([1, 2, 3, 4], {}, 4, 4),
        ([1, 3, 2, 2, 2, 9], {"patience": 3}, 5, 2),
        ([1, 3, 2, 2, 2, 9], {"patience": 4}, 6, 6),
        ([3, 3, 3, 3], {"patience": 2}, 3, 1),
        ([1, 1.05, 1.09, 1.2, 1.2, 1.2], {"patience": 2, "min_delta": 0.1}, 3, 1),
        ([1, 1.05, 1.2, 1.2, 1.2], {"patience": 2, "min_delta": 0.1}, 5, 3),
        ([-9, -8, -7], {"patience": 1}, 3, 3),
        ([1, 2, float("nan"), 9], {}, 3, 2),
        ([1, 2, float("-inf"), 9], {}, 3, 2),
        ([1, 2, float("inf"), 9], {}, 3, 2),
    ],
)
def test_it_ends_where_it_gets_no_better_and_is_the_best_there_was(script, options, n_steps, best):
    stopped = scripted(script, **options)
    assert (stopped.n_steps_, stopped.best_step_) == (n_steps, best)
    assert np.array_equal(stopped.validation_scores_, np.array(script[:n_steps], dtype=float), equal_nan=True)
    assert stopped.estimator_.n_epochs_ == best


def test_an_epoch_sees_each_sample_it_trains_on_once_and_in_another_order():
    numbered = np.arange(50.0)[:, None]
    one, again = (
        EarlyStopping(Scripted([1, 2, 3]), steps=3, random_state=7).fit(numbered, numbered[:, 0]) for _ in range(2)
    )
    train, held = held_out(50, 0.1, np.random.RandomState(7))
    assert len(held) == 5
    assert all(sorted(epoch) == list(train) for epoch in one.estimator_.rows_)
    assert one.estimator_.rows_[0] != one.estimator_.rows_[1]
    assert one.estimator_.rows_ == again.estimator_.rows_


@pytest.mark.parametrize(
    ("estimator", "grow"),
    [
        (SGDClassifier(random_state=0), None),
        (MLPClassifier((8,), max_iter=20, random_state=0), None),
        (MLPClassifier((8,), max_iter=20, solver="lbfgs", random_state=0), None),  # has no partial_fit
        (GaussianNB(), None),
        (LogisticRegression(), None),
        (SGDClassifier(random_state=0), "max_iter"),
        (RandomForestClassifier(n_estimators=12, random_state=0), None),
        (GradientBoostingClassifier(n_estimators=30, random_state=0), None),
        (HistGradientBoostingClassifier(max_iter=12, random_state=0), None),
    ],
)
@pytest.mark.parametrize("y", [Y, NAMES], ids=["numbers", "strings"])
def test_the_best_state_scores_the_held_out_samples_as_it_did(estimator, grow, y):
    stopped = EarlyStopping(estimator, grow=grow, steps=6, patience=2, random_state=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        stopped.fit(X, y)
    _, held = held_out(len(X), 0.1, np.random.RandomState(3), Y)
    assert stopped.validation_scores_[stopped.best_step_ - 1] == stopped.validation_scores_.max()
    assert stopped.estimator_.score(X[held], y[held]) == stopped.validation_scores_.max()
    assert list(stopped.classes_) == list(np.unique(y))
    assert stopped.estimator_.get_params().get("warm_start") == estimator.get_params().get("warm_start")
    assert not hasattr(estimator, "classes_")


def incremental_estimators():
    """Yield all of scikit-learn's estimators that are incremental, and what grows of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        for name, of in all_estimators():
            if not hasattr(of, "partial_fit") and "warm_start" not in signature(of).parameters:
                continue
            if "estimator" in signature(of).parameters and "n_estimators" not in signature(of).parameters:
                inner = SGDRegressor if "Regressor" in name else SGDClassifier
                yield pytest.param(of(inner()), None, id=name)
                continue
            if hasattr(of(), "partial_fit"):
                yield pytest.param(of(), None, id=name)
            parameters = of().get_params()
            if "warm_start" in parameters:
                grow = next(name for name in ("n_estimators", "max_iter", "max_iter_predict") if name in parameters)
                yield pytest.param(of(), grow, id=f"{name} by {grow}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "grow"), list(incremental_estimators()))
def test_it_serves_all_there_are(estimator, grow):
    y = Y if get_tags(estimator).target_tags.single_output else np.column_stack([Y, Y])
    scoring = None if hasattr(estimator, "score") else lambda fitted, X, y=None: 0.0
    params = {"classes": [1, 2]} if type(estimator).__name__ == "SelectFromModel" else {}  # it is no classifier itself
    stopped = EarlyStopping(estimator, grow=grow, steps=3, scoring=scoring, random_state=0)
    stopped.fit(abs(X[:80]), y[:80] + 1, **params)
    assert 1 <= stopped.best_step_ <= stopped.n_steps_ <= 3


def test_what_grows_is_what_one_fit_would_have_been():
    stopped = EarlyStopping(RandomForestClassifier(n_estimators=30, random_state=1), steps=10, patience=2).fit(X, Y)
    forest = stopped.estimator_
    assert len(forest.estimators_) == forest.n_estimators == 3 * stopped.best_step_
    stopped = EarlyStopping(RandomForestClassifier(n_estimators=30, random_state=1), steps=10, random_state=0).fit(X, Y)
    train, _ = held_out(len(X), 0.1, np.random.RandomState(0), Y)
    plain = RandomForestClassifier(n_estimators=3 * stopped.best_step_, random_state=1).fit(X[train], Y[train])
    assert np.array_equal(stopped.predict_proba(X), plain.predict_proba(X))


def test_equal_parts_up_to_the_value_that_the_estimator_has():
    seen = []

    class Forest(ExtraTreesRegressor):
        def fit(self, X, y):
            seen.append(self.n_estimators)
            return super().fit(X, y)

    EarlyStopping(Forest(n_estimators=10), steps=3, patience=9).fit(X, Y)
    EarlyStopping(Forest(n_estimators=2), patience=9).fit(X, Y)
    EarlyStopping(Forest(n_estimators=40), patience=99).fit(X, Y)
    assert seen == [4, 8, 10, 1, 2, *range(2, 41, 2)]


def test_what_iterates_goes_on_for_as_many_again():
    seen = []

    class Logistic(LogisticRegression):
        def fit(self, X, y):
            seen.append(self.max_iter)
            return super().fit(X, y)

    with pytest.warns(ConvergenceWarning) as said:
        stopped = EarlyStopping(Logistic(max_iter=10, tol=1e-12), steps=3, patience=9).fit(X, Y)
    assert seen == [4, 4, 2]
    assert len(said) == 1  # of the last step
    assert stopped.estimator_.max_iter == 10
    assert not stopped.estimator_.warm_start
    in_all = LogisticRegression(max_iter=200, tol=1e-12)
    stopped = EarlyStopping(in_all, steps=4, patience=9).fit(X, Y)
    assert stopped.n_steps_ < 4  # it had converged


def test_boosted_histograms_count_in_all():
    histograms = HistGradientBoostingClassifier(max_iter=20, learning_rate=0.01, early_stopping=False)
    stopped = EarlyStopping(histograms, steps=4, patience=9, scoring="neg_log_loss").fit(X, Y)
    assert stopped.best_step_ == 4
    assert stopped.estimator_.n_iter_ == stopped.estimator_.max_iter == 20


def test_balanced_classes_give_no_warning_that_the_data_may_have_changed():
    balanced = RandomForestClassifier(n_estimators=4, class_weight="balanced", random_state=0)
    assert EarlyStopping(balanced, steps=2).fit(X, Y).n_steps_ == 2


def test_states_share_the_members_that_do_not_change():
    forest = RandomForestClassifier(n_estimators=3, warm_start=True, random_state=0).fit(X, Y)
    kept = state_of(forest, "n_estimators")
    before = kept.predict_proba(X)
    assert kept.estimators_[0] is forest.estimators_[0]
    forest.set_params(n_estimators=6).fit(X, Y)
    assert len(kept.estimators_) == 3
    assert np.array_equal(kept.predict_proba(X), before)
    boosted = GradientBoostingClassifier(n_estimators=3, warm_start=True, random_state=0).fit(X, Y)
    kept, before = state_of(boosted, "n_estimators"), boosted.predict_proba(X)
    boosted.set_params(n_estimators=6).fit(X, Y)
    assert np.array_equal(kept.predict_proba(X), before)
    lasso = Lasso(max_iter=1).fit(X, Y)
    assert state_of(lasso, "max_iter").coef_ is not lasso.coef_


def test_sparse_and_named_features():
    dense, listed = (EarlyStopping(SGDClassifier(random_state=0), random_state=0).fit(of, Y) for of in (X, X.tolist()))
    rows, columns = (
        EarlyStopping(SGDClassifier(random_state=0), random_state=0).fit(of(X), Y) for of in (csr_array, csc_array)
    )
    assert np.array_equal(dense.validation_scores_, listed.validation_scores_)
    assert np.array_equal(rows.validation_scores_, columns.validation_scores_)
    assert rows.score(csr_array(X), Y) > 0.6
    frame = pd.DataFrame(X, columns=list("abcdefgh"), index=range(1000, 1300))
    named = EarlyStopping(SGDClassifier(random_state=0), random_state=0).fit(frame, pd.Series(NAMES, index=frame.index))
    assert list(named.feature_names_in_) == list("abcdefgh")
    assert named.n_features_in_ == 8
    assert np.array_equal(named.validation_scores_, dense.validation_scores_)
    assert not hasattr(dense, "feature_names_in_")


def test_several_targets():
    several = np.column_stack([Y, np.arange(300) % 3])
    stopped = EarlyStopping(MultiOutputClassifier(SGDClassifier(random_state=0)), steps=5).fit(X, several)
    assert stopped.predict(X).shape == (300, 2)
    assert [list(of.classes_) for of in stopped.estimator_.estimators_] == [[0, 1], [0, 1, 2]]
    labels = np.column_stack([Y, 1 - Y, np.arange(300) % 2])
    stopped = EarlyStopping(MLPClassifier((8,), random_state=0), steps=5).fit(X, labels)
    assert stopped.predict(X).shape == (300, 3)
    # The accuracy of a forest knows labels and no classes of several targets.
    grown = EarlyStopping(RandomForestClassifier(n_estimators=5, random_state=0)).fit(X, labels)
    assert grown.predict(X).shape == (300, 3)
    numbers = make_regression(100, 4, n_targets=3, random_state=0)
    assert EarlyStopping(ExtraTreesRegressor(n_estimators=4)).fit(*numbers).predict(numbers[0]).shape == (100, 3)


def test_without_targets():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        stopped = EarlyStopping(GaussianMixture(2, max_iter=20, random_state=0), steps=5).fit(X)
    assert stopped.score_samples(X).shape == (300,)
    assert stopped.validation_scores_.max() == stopped.validation_scores_[stopped.best_step_ - 1]


def test_methods_and_kind_are_those_of_the_estimator():
    classifier, regressor = EarlyStopping(SGDClassifier()), EarlyStopping(SGDRegressor())
    assert is_classifier(classifier)
    assert is_regressor(regressor)
    assert get_tags(classifier).input_tags.sparse
    assert not get_tags(EarlyStopping(LogisticRegression())).array_api_support
    assert not hasattr(classifier, "predict_proba")
    assert hasattr(EarlyStopping(SGDClassifier(loss="log_loss")), "predict_proba")
    assert hasattr(classifier, "decision_function")
    assert not hasattr(regressor, "decision_function")
    assert not hasattr(classifier, "transform")
    fitted = classifier.fit(X, Y)
    for name in ("predict", "decision_function"):
        assert np.array_equal(getattr(fitted, name)(X), getattr(fitted.estimator_, name)(X))
    assert fitted.score(X, Y) == fitted.estimator_.score(X, Y)


def test_clone_parameters_pickle_and_picture():
    stopping = EarlyStopping(SGDClassifier(), patience=3)
    stopping.set_params(estimator__alpha=0.01, min_delta=0.1)
    twin = clone(stopping)
    assert twin.get_params()["estimator__alpha"] == 0.01
    assert twin.min_delta == 0.1
    fitted = twin.fit(X, Y)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(other.predict(X), fitted.predict(X))
    for shown in (stopping, fitted):
        assert "SGDClassifier" in shown._repr_html_()
    assert not hasattr(clone(fitted), "estimator_")


def test_weights_go_with_their_samples_and_classes_are_all_there_are():
    numbered = np.arange(40.0)[:, None]
    labels = np.array(["a"] * 39 + ["b"])
    weights = np.arange(40) * 10.0
    stopped = EarlyStopping(Noting(), random_state=0).fit(numbered, labels, sample_weight=weights)
    assert list(stopped.classes_) == ["a", "b"]
    for rows, weights_seen in stopped.estimator_.seen_:
        assert np.array_equal(rows * 10, weights_seen)
        assert 39 in rows  # the only one of its class
        assert len(rows) == 36


def test_metadata_goes_where_it_is_asked_for():
    numbered = np.arange(40.0)[:, None]
    labels, weights = np.arange(40) % 2, np.arange(40) * 10.0
    groups = np.arange(40) // 8
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Noting().set_partial_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(EarlyStopping(estimator, random_state=0), {"estimator__max_iter": [2]}, cv=2)
        search.fit(numbered, labels, sample_weight=weights, groups=groups)
        best = search.best_estimator_
        rows, weights_seen = best.estimator_.seen_[0]
        assert np.array_equal(rows * 10, weights_seen)
        assert len(set(groups[rows.astype(int)])) == 4  # of five, one is held out
        _, held = held_out(40, 0.1, np.random.RandomState(0), labels, groups)
        said = labels[held] == best.predict(numbered[held])
        assert best.validation_scores_[0] == pytest.approx(np.average(said, weights=weights[held]))
        with pytest.raises(TypeError, match="unexpected"):
            EarlyStopping(Noting()).fit(numbered, labels, nonsense=weights)
        with pytest.raises(ValueError, match="sample_weight"):
            EarlyStopping(Noting()).fit(numbered, labels, sample_weight=weights)
        router = search.get_metadata_routing()
    assert "partial_fit" in str(router)


def test_groups_stay_together():
    groups = np.arange(300) // 10
    stopped = EarlyStopping(Scripted([1]), steps=1, random_state=2).fit(np.arange(300.0)[:, None], Y, groups=groups)
    trained = set(groups[stopped.estimator_.rows_[0]])
    assert len(trained) == 27
    assert len(stopped.estimator_.rows_[0]) == 270


class CountingSGD(SGDClassifier):
    n_epochs = 0

    def partial_fit(self, *args, **kwargs):
        CountingSGD.n_epochs += 1
        return super().partial_fit(*args, **kwargs)


class CountingBoosting(GradientBoostingClassifier):
    n_trees = 0

    def fit(self, *args, **kwargs):
        before = len(getattr(self, "estimators_", ())) if self.warm_start else 0
        super().fit(*args, **kwargs)
        CountingBoosting.n_trees += len(self.estimators_) - before
        return self


def test_a_search_trains_fewer_epochs_for_a_score_as_good():
    data = load_digits(return_X_y=True)
    data = data[0][:800] / 16, data[1][:800]
    alphas = [1e-4, 1e-3]
    estimator = CountingSGD(loss="log_loss", average=True, max_iter=100, tol=None, random_state=0)
    plain = GridSearchCV(estimator, {"alpha": alphas}, cv=3).fit(*data)
    assert plain.best_estimator_.n_iter_ == 100  # in each of its seven fits
    CountingSGD.n_epochs = 0
    stopping = EarlyStopping(estimator, scoring="neg_log_loss", min_delta=1e-3, random_state=0)
    stopped = GridSearchCV(stopping, {"estimator__alpha": alphas}, cv=3).fit(*data)
    assert 0 < CountingSGD.n_epochs < 0.6 * 100 * 7
    assert stopped.best_score_ > plain.best_score_ - 0.01


def test_a_search_trains_fewer_trees_for_a_score_as_good():
    data = make_classification(400, 8, n_informative=5, flip_y=0.2, random_state=1)
    grid = {"learning_rate": [0.2, 0.5], "max_depth": [2]}
    boosting = CountingBoosting(n_estimators=200, random_state=0)
    CountingBoosting.n_trees = 0
    plain = GridSearchCV(boosting, grid, cv=3).fit(*data)
    assert CountingBoosting.n_trees == 200 * 7
    CountingBoosting.n_trees = 0
    within = {f"estimator__{name}": values for name, values in grid.items()}
    stopped = GridSearchCV(EarlyStopping(boosting, scoring="neg_log_loss", random_state=0), within, cv=3).fit(*data)
    assert CountingBoosting.n_trees < 0.6 * 200 * 7
    assert stopped.best_score_ > plain.best_score_ - 0.01


def test_it_is_the_last_step_of_a_pipeline():
    steps = make_pipeline(StandardScaler(), EarlyStopping(SGDClassifier(random_state=0), random_state=0))
    search = GridSearchCV(steps, {"earlystopping__estimator__alpha": [1e-4, 1e-2]}, cv=2, cache="memory").fit(X, Y)
    assert search.best_estimator_[-1].n_steps_ >= 1
    assert search.score(X, Y) > 0.6
