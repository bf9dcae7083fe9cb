"""What a scheduler of SearchCV spends: samples, folds, an integer parameter."""

import threading

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import whet
from tests.sklearn.cases import X as X_plain
from tests.sklearn.cases import X_real, y_real
from tests.sklearn.cases import y as y_plain
from tests.sklearn.knowing import SIZE, Known, N, X, search, seen, states_of, y
from tests.sklearn.small_searches import PIPE
from whet.core.trial import State
from whet.sklearn import GridSearchCV
from whet.sklearn.fidelities import order


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


# ---- samples
def levels_seen():
    """Return by number of samples what the fits of each half of the data had."""
    found = {}
    for _, _, numbers, _ in seen[:-1]:
        found.setdefault(len(numbers), set()).add(frozenset(numbers))
    return found


def test_smaller_parts_are_nested_and_the_same_for_all():
    fitted = search("asha", {"samples": (6, 54)}).fit(X, y)
    found = levels_seen()
    assert sorted(found) == [6, 18, 54]
    assert all(len(parts) == 2 for parts in found.values())  # one of each split, whoever the candidate is
    for small, large in ((6, 18), (18, 54)):
        assert all(any(part < more for more in found[large]) for part in found[small])
    assert all(np.bincount(y[list(part)]).tolist() == [n // 2] * 2 for n, parts in found.items() for part in parts)
    assert set(fitted.cv_results_["n_resources"]) <= set(found)


def test_samples_keep_their_order():
    search("asha", "samples").fit(X, y)
    assert all(numbers == sorted(numbers) for _, _, numbers, _ in seen)


def test_the_seed_draws_the_parts():
    def parts(random_state):
        seen.clear()
        search("asha", "samples", random_state=random_state).fit(X, y)
        return levels_seen()[18]

    assert parts(0) == parts(0)
    assert parts(0) != parts(1)


def test_test_parts_are_whole():
    def n_tested(estimator, X, y):
        return float(len(X))

    fitted = search("asha", "samples", scoring=n_tested).fit(X, y)
    assert set(fitted.cv_results_["split0_test_score"]) == {54.0}


def test_bounds_of_samples():
    fitted = search("asha", {"samples": (4, 36)}).fit(X, y)
    assert sorted(levels_seen()) == [4, 12, 36]
    assert len(seen[-1][2]) == N  # it is refitted to all
    assert (fitted.min_resources_, fitted.max_resources_) == (4, 36)
    assert fitted.study_.ledger.history.problem.fidelity == whet.Fidelity("samples", 4, 36)
    assert set(levels_seen()) == set(fitted.cv_results_["n_resources"])


def test_a_fidelity_of_whet_may_be_given():
    fitted = search("asha", whet.Fidelity("samples", 6, 54)).fit(X, y)
    assert fitted.min_resources_ == 6


def test_what_goes_on_is_fitted_at_its_levels_only():
    search("successive_halving", {"samples": (6, 54)}).fit(X, y)
    per_candidate = {}
    for quality, _, numbers, _ in seen[:-1]:
        per_candidate.setdefault(quality, []).append(len(numbers))
    assert sorted(map(tuple, per_candidate.values())) == [(6, 6)] * 6 + [(6, 6, 18, 18)] * 2 + [(6, 6, 18, 18, 54, 54)]


def test_training_parts_of_different_size_shrink_alike():
    search("asha", {"samples": (10, 90)}, cv=TimeSeriesSplit(5), scoring="accuracy").fit(X, y)
    sizes = {len(numbers) for _, _, numbers, _ in seen[:-1]}
    full = [18, 36, 54, 72, 90]
    assert sizes == {round(n * share) for n in full for share in (1 / 9, 1 / 3, 1)}


@pytest.mark.parametrize(
    "splits", [[(list(range(80)), list(range(80, 108)))], [(np.arange(N) < 80, np.arange(N) >= 80)]]
)
def test_listed_splits(splits):
    search("successive_halving", "samples", cv=splits).fit(X, y)
    assert sorted(levels_seen()) == [9, 27, 80]


def test_regression_and_no_target():
    space = {"alpha": (1e-3, 1e3, "log")}
    fitted = search("asha", "samples", Ridge(), space).fit(X_real, y_real)
    assert fitted.cv_results_["n_resources"].max() == 20
    fitted = search("asha", "samples", KMeans(n_init=1, random_state=0), {"n_clusters": [2, 3]}).fit(X_plain)
    assert fitted.max_resources_ == 30


def test_few_samples_still_have_two_levels():
    fitted = search("asha", "samples", DummyClassifier(), {"strategy": ["prior", "uniform"]}, cv=2)
    fitted.fit(X_plain[:6], [0, 1] * 3)
    assert (fitted.min_resources_, fitted.max_resources_) == (1, 3)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 3))
def test_any_number_of_first_ones_has_its_share_of_each_label(labels, seed):
    found = order(np.array(labels), len(labels), np.random.default_rng(seed))
    assert sorted(found) == list(range(len(labels)))
    for n in range(len(set(labels)), len(labels) + 1):
        for label in set(labels):
            n_of = sum(labels[place] == label for place in found[:n])
            assert n_of >= 1
            assert abs(n_of - n * labels.count(label) / len(labels)) < len(set(labels))


# ---- folds
@pytest.mark.parametrize("scheduler", ["asha", "asha(type=promotion)", "successive_halving", "hyperband"])
def test_no_fold_is_fitted_twice(scheduler):
    fitted = search(scheduler, "folds", cv=9, n_trials=12).fit(X, y)
    fits = [(quality, frozenset(numbers)) for quality, _, numbers, _ in seen[:-1]]
    assert len(fits) == len(set(fits)) == sum(fitted.cv_results_["n_resources"])
    assert len(fits) < 9 * 12


def test_folds_that_were_not_done_are_masked():
    fitted = search("asha", "folds", cv=4, return_train_score=True).fit(X, y)
    results = fitted.cv_results_
    for split in range(4):
        is_masked = (results["n_resources"] <= split).tolist()
        assert np.ma.getmaskarray(results[f"split{split}_test_score"]).tolist() == is_masked
    assert any(results["n_resources"] < 4)
    assert [bool(why) for why in results["stopped"]] == (results["n_resources"] < 4).tolist()
    for row, n in enumerate(results["n_resources"]):
        scores = [results[f"split{split}_test_score"][row] for split in range(n)]
        assert results["mean_test_score"][row] == pytest.approx(np.mean(scores))
    assert np.isfinite(results["mean_test_score"]).all()


def test_racing_compares_fold_by_fold():
    fitted = search("racing(n_min=3)", cv=9, n_trials=12).fit(X, y)
    assert fitted.max_resources_ == 9
    assert State.STOPPED in states_of(fitted)
    results = fitted.cv_results_
    for row, trial in enumerate(fitted.study_.trials):
        folds = [results[f"split{split}_test_score"][row] for split in range(results["n_resources"][row])]
        assert [value for _, value in trial.curve] == folds
        if trial.state is State.COMPLETED:
            assert trial.values["score"] == pytest.approx(np.mean(folds))


def test_more_candidates_at_a_time_where_there_are_workers():
    with joblib.parallel_config("threading"):
        fitted = search("asha(type=promotion)", "folds", cv=3, n_jobs=4).fit(X, y)
        again = search("asha(type=promotion)", "folds", cv=3, n_jobs=4).fit(X, y)
    assert fitted.cv_results_["n_resources"].tolist() == again.cv_results_["n_resources"].tolist()
    assert fitted.cv_results_["n_resources"].max() == 3


@pytest.mark.parametrize("fidelity", ["samples", SIZE], ids=["samples", "parameter"])
def test_two_workers_do_what_one_does(fidelity):
    one = search("asha", fidelity).fit(X, y).cv_results_
    with joblib.parallel_config("threading"):
        two = search("asha", fidelity, n_jobs=2).fit(X, y).cv_results_
    assert one["params"] == two["params"]
    np.testing.assert_array_equal(one["mean_test_score"], two["mean_test_score"])


_slow_is_done = threading.Event()


class Patient(Known):
    """Its first fits end in another order than they begin."""

    def fit(self, X, y):
        if self.quality < 0.5:
            _slow_is_done.wait(0.05)
        return super().fit(X, y)


def test_it_does_not_matter_who_is_faster():
    def found():
        with joblib.parallel_config("threading"):
            return search("asha", "folds", Patient(), cv=3, n_jobs=3).fit(X, y).cv_results_

    slow = found()
    _slow_is_done.set()
    fast = found()
    assert slow["n_resources"].tolist() == fast["n_resources"].tolist()
    assert slow["params"] == fast["params"]


# ---- a parameter
def test_the_parameter_is_part_of_what_was_found():
    fitted = search("asha", SIZE).fit(X, y)
    results = fitted.cv_results_
    assert results["param_size"].tolist() == results["n_resources"].tolist()
    assert fitted.best_params_["size"] == fitted.best_estimator_.size == 9
    assert seen[-1][1] == 9
    assert sorted({size for _, size, _, _ in seen}) == [1, 3, 9]
    assert all(set(trial.config) == {"quality"} for trial in fitted.study_.trials)


def test_a_parameter_of_a_step():
    estimator = make_pipeline(PCA(2), RandomForestClassifier(random_state=0))
    name = "randomforestclassifier__n_estimators"
    space = {"randomforestclassifier__max_depth": (1, 5)}
    fitted = search("successive_halving", {name: (1, 4)}, estimator, space, n_trials=4).fit(X_plain, y_plain)
    assert fitted.best_params_[name] == len(fitted.best_estimator_[-1]) == 4


def test_a_parameter_that_only_another_step_has():
    space = {"clf": [RandomForestClassifier(random_state=0)], "clf__max_depth": (1, 5)}
    fitted = search("asha", {"clf__n_estimators": (1, 3)}, PIPE, space, n_trials=3).fit(X_plain, y_plain)
    assert len(fitted.best_estimator_[-1]) == 3


@pytest.mark.parametrize("fidelity", ["samples", {"reduce__n_components": (1, 8)}], ids=["samples", "parameter"])
def test_shared_first_steps_are_those_of_the_same_level(fidelity):
    space = {"clf__C": [0.01, 0.1, 1.0, 10.0]}
    plain, shared = (
        search("successive_halving(eta=2)", fidelity, PIPE, space, strategy="grid", cache=of).fit(X_plain, y_plain)
        for of in (None, "memory")
    )
    assert plain.cv_results_["params"] == shared.cv_results_["params"]
    np.testing.assert_array_equal(plain.cv_results_["mean_test_score"], shared.cv_results_["mean_test_score"])


# ---- bad input
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scheduler": "asho"}, "asha"),
        ({"scheduler": "asha(etta=2)"}, "etta"),
        ({"scheduler": "median + asha"}, r"'asha \+ "),
        ({"scheduler": []}, "scheduler"),
        ({"scheduler": 3}, "'scheduler' parameter"),
        ({"scheduler": None, "fidelity": "folds"}, "give scheduler="),
        ({"fidelity": "epochs"}, "'samples', 'folds'"),
        ({"fidelity": "size"}, r"n_estimators': \(10, 300\)"),
        ({"fidelity": 3}, "'fidelity' parameter"),
        ({"fidelity": {}}, "one name"),
        ({"fidelity": {"size": (1, 9), "folds": (1, 2)}}, "one name"),
        ({"fidelity": {"size": 9}}, "two whole numbers"),
        ({"fidelity": {"size": (1, 9.5)}}, "two whole numbers"),
        ({"fidelity": {"size": (9, 1)}}, "the lower one first"),
        ({"fidelity": {"size": (0, 9)}}, "at least 1"),
        ({"fidelity": {"size": (True, 9)}}, "two whole numbers"),
        ({"fidelity": {"size": (4, 5)}}, "two levels"),
        ({"fidelity": {"sise": (1, 9)}}, "Invalid parameter 'sise'.*size"),
        ({"fidelity": {"size": (1, 9)}, "space": {"size": (1, 9)}}, "leave it out of the space"),
        ({"fidelity": {"samples": (4, 55)}}, "at most 54 samples"),
        ({"fidelity": {"folds": (1, 3)}}, "that of cv, 2"),
        ({"fidelity": "folds", "cv": [(range(50), range(50, 100))]}, "two or more, and cv has 1"),
        ({"fidelity": "samples", "cv": [([0], [1])]}, "cv trains on 1"),
        ({"fidelity": "samples", "cv": []}, "No fits were performed"),
        ({"fidelity": "samples", "scheduler": "racing"}, "fidelity is 'folds'"),
        ({"racing": True}, "give one of them"),
        ({"fidelity": "folds"}, "two levels.*eta"),
    ],
)
def test_what_makes_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        search(**options).fit(X, y)


def test_no_config():
    space = whet.Space({"quality": [0.1, 0.2]}, forbid=["quality < 1"])
    with pytest.raises(ValueError, match="forbidden"):
        search("asha", "samples", space=space).fit(X, y)


def test_the_score_of_the_best_is_that_of_a_full_search():
    space = {"max_depth": [1, 2, 3, 4, 5, 6], "min_samples_leaf": [1, 4, 8]}
    estimator = DecisionTreeClassifier(random_state=0)
    whole = GridSearchCV(estimator, space, cv=3).fit(X_plain, y_plain).cv_results_
    fitted = search("successive_halving", "samples", estimator, space, strategy="grid", n_trials=18, cv=3)
    fitted.fit(X_plain, y_plain)
    scores = {str(one): score for one, score in zip(whole["params"], whole["mean_test_score"], strict=True)}
    assert fitted.best_score_ == scores[str(fitted.best_params_)]
