"""SearchCV with a scheduler: who gets how much, which one is the best, and how it goes on after an end."""

import pickle
import time

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

import whet
from tests.sklearn.cases import X as X_plain
from tests.sklearn.cases import y as y_plain
from tests.sklearn.knowing import QUALITY, SIZE, Known, N, X, search, seen, states_of, y
from tests.sklearn.small_searches import objectives_of
from whet.core.trial import State
from whet.schedulers import ASHA, Median


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


FIDELITIES = pytest.mark.parametrize("fidelity", ["samples", "folds", SIZE], ids=["samples", "folds", "parameter"])
SCHEDULERS = [
    "none",
    "asha",
    "asha(type=promotion)",
    "asha(eta=2, brackets=2)",
    "successive_halving",
    "hyperband",
    "median(n_start=2)",
    "percentile(n_start=2)",
    "patience(n=2)",
    "threshold(lower=0.4)",
    "divergence(factor=1.5)",
    "freeze_thaw(n_start=3)",
    "asha + patience",
    ["hyperband", "threshold(lower=0.2)"],
]


# ---- every scheduler, over everything that can be spent
@FIDELITIES
@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=str)
def test_every_scheduler_over_every_fidelity(scheduler, fidelity):
    cv = 5 if fidelity == "folds" else 2
    fitted = search(scheduler, fidelity, cv=cv).fit(X, y)
    results, trials = fitted.cv_results_, fitted.study_.trials
    high = fitted.max_resources_
    assert high == {"samples": 54, "folds": 5}.get(str(fidelity), 9)
    assert len(results["params"]) == len(trials) == 9
    assert results["n_resources"].dtype == np.int64
    assert [trial.config["quality"] for trial in trials] == [candidate["quality"] for candidate in results["params"]]
    for trial, n_resources, mean in zip(trials, results["n_resources"], results["mean_test_score"], strict=True):
        assert trial.curve.last_step() == n_resources
        assert trial.values["score"] == pytest.approx(mean)
        assert (trial.state is State.COMPLETED) == (n_resources == high)
    is_full = results["n_resources"] == high
    assert is_full[fitted.best_index_]
    assert fitted.best_score_ == results["mean_test_score"][is_full].max()
    assert fitted.study_.best.number == fitted.best_index_
    assert not {State.RUNNING, State.WAITING} & set(states_of(fitted))
    assert "n_resources" not in fitted.best_params_
    assert fitted.study_.explain()
    assert len(fitted.study_.to_frame()) == 9

    first, seen[:] = seen[:-1], []  # the last one is the refit
    again = search(scheduler, fidelity, cv=cv).fit(X, y)
    assert seen[:-1] == first
    np.testing.assert_array_equal(again.cv_results_["n_resources"], results["n_resources"])
    np.testing.assert_array_equal(again.cv_results_["rank_test_score"], results["rank_test_score"])


@pytest.mark.parametrize("scheduler", ["asha", "asha(type=promotion)", "successive_halving", "hyperband"])
@FIDELITIES
def test_it_costs_less_than_all_and_finds_the_best(scheduler, fidelity):
    n_splits = 9 if fidelity == "folds" else 2
    fitted = search(scheduler, fidelity, cv=n_splits, n_trials=18).fit(X, y)
    cost = {
        "samples": lambda size, numbers: len(numbers) / 54,
        "folds": lambda size, numbers: 1,
    }.get(str(fidelity), lambda size, numbers: size / 9)
    spent = sum(cost(size, numbers) for _, size, numbers, _ in seen[:-1])
    assert spent < 0.8 * 18 * n_splits
    assert fitted.best_params_["quality"] >= sorted(trial.config["quality"] for trial in fitted.study_.trials)[-3]


def test_stops_of_one_alone():
    fitted = search("threshold(lower=0.5)", "folds", cv=4).fit(X, y)
    results = fitted.cv_results_
    for quality, n, trial in zip(results["param_quality"], results["n_resources"], fitted.study_.trials, strict=True):
        assert (quality < 0.4) <= (n < 4)
        assert (trial.state is State.STOPPED) == (n < 4)
        assert ("below 0.5" in trial.message) == (n < 4)


def test_schedulers_of_ones_own():
    class Half:
        """Lets every trial go half the way, and every second one on."""

        def assign(self, history, n, n_new):
            paused = [t for t in history.unfinished.values() if t.state is State.PAUSED]
            on = [
                whet.core.protocols.Resume(t.number, history.problem.fidelity.high) for t in paused if not t.number % 2
            ]
            new = [whet.core.protocols.New(history.problem.fidelity.high / 2, 0)] * n_new
            if not on and not new:
                raise whet.errors.SearchExhausted
            return [*on, *new][:n]

        def decide(self, history, number):
            trial = history.unfinished[number]
            is_there = trial.budget < 4 and trial.curve.last_step() >= trial.budget
            return whet.core.protocols.Decision.PAUSE if is_there else whet.core.protocols.Decision.CONTINUE

    fitted = search(Half(), "folds", cv=4, n_trials=5).fit(X, y)
    assert fitted.cv_results_["n_resources"].tolist() == [4, 2, 4, 2, 4]
    assert len(seen) == 3 * 4 + 2 * 2 + 1


# ---- which one is the best
def test_whoever_has_come_further_ranks_first():
    def score(estimator, X, y):  # the less, the further
        return float(1 - estimator.share_ / 2 if estimator.size < 9 else estimator.share_ / 4)

    fitted = search("asha(type=promotion)", SIZE, scoring=score, n_trials=12).fit(X, y)
    results = fitted.cv_results_
    order = np.argsort(results["rank_test_score"], kind="stable")
    assert (np.diff(results["n_resources"][order]) <= 0).all()
    for level in set(results["n_resources"]):
        assert (np.diff(results["mean_test_score"][order][results["n_resources"][order] == level]) <= 0).all()
    assert fitted.best_index_ == order[0]
    assert fitted.best_score_ < results["mean_test_score"].max()


def test_equal_scores_share_a_rank():
    space = {"strategy": ["prior", "most_frequent"], "random_state": [0, 1]}
    fitted = search("none", "samples", DummyClassifier(), space, strategy="grid").fit(X, y)
    assert fitted.cv_results_["rank_test_score"].tolist() == [1] * 4
    assert fitted.cv_results_["rank_test_score"].dtype == np.int32


def test_candidates_that_fail():
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        fitted = search("asha", "samples", Known(fails_above=0.8), n_trials=12).fit(X, y)
    results, trials = fitted.cv_results_, fitted.study_.trials
    has_failed = np.array([trial.config["quality"] > 0.8 for trial in trials])
    assert 0 < has_failed.sum() < 12
    assert np.isnan(results["mean_test_score"]).tolist() == has_failed.tolist()
    assert all((trial.state is State.FAILED) == failed for trial, failed in zip(trials, has_failed, strict=True))
    assert "asked to fail" in next(trial.message for trial in trials if trial.cause)
    assert results["rank_test_score"][has_failed].min() > results["rank_test_score"][~has_failed].max()
    assert fitted.best_params_["quality"] <= 0.8


def test_a_fold_that_fails_ends_the_candidate():
    class Halfway(Known):
        def fit(self, X, y):
            super().fit(X, y)
            if 0 not in X[:, 2]:
                raise ArithmeticError("asked to fail")
            return self

    with pytest.raises(ValueError, match="asked to fail"):
        search("asha", "folds", Halfway(), cv=3, n_trials=3).fit(X, y)
    assert len(seen) == 3  # of each candidate the first fold, and no other


@FIDELITIES
@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_all_fail(fidelity, scheduler):
    with pytest.raises(ValueError, match=r"All the .* fits failed"):
        search(scheduler, fidelity, Known(fails_above=-1), cv=3).fit(X, y)


def test_scores_that_are_no_numbers():
    def score(estimator, X, y):
        return np.nan if estimator.quality > 0.5 else estimator.quality

    with pytest.warns(UserWarning, match="non-finite"):
        fitted = search("hyperband", "samples", scoring=score).fit(X, y)
    assert fitted.best_params_["quality"] <= 0.5
    failed = [trial for trial in fitted.study_.trials if trial.state is State.FAILED]
    assert failed
    assert all("no finite number" in trial.message for trial in failed)


def test_nobody_comes_to_the_end():
    with pytest.warns(UserWarning, match="No candidate has come to n_resources=54"):
        fitted = search("threshold(lower=2)", "samples").fit(X, y)
    assert fitted.best_score_ == fitted.cv_results_["mean_test_score"].max()


def test_an_error_may_be_raised():
    with pytest.raises(ArithmeticError, match="asked to fail"):
        search("asha", "samples", Known(fails_above=-1), error_score="raise").fit(X, y)


# ---- metrics
@pytest.mark.parametrize(
    ("scheduler", "refit", "wanted"),
    [
        ("asha", "f1", ["f1"]),
        ("median", "f1", ["f1"]),
        ("asha", False, ["accuracy", "f1"]),
        ("successive_halving", lambda results: 1, ["accuracy", "f1"]),
        ("median", False, ["accuracy"]),
        ("racing(n_min=2)", False, ["accuracy"]),
    ],
)
def test_several_metrics(scheduler, refit, wanted):
    fitted = search(scheduler, scoring=["accuracy", "f1"], refit=refit, cv=3).fit(X, y)
    assert objectives_of(fitted) == wanted
    assert {"accuracy", "f1", "fit_time"} <= set(fitted.study_.trials[0].values)
    for name in ("accuracy", "f1"):
        first = fitted.cv_results_["n_resources"][np.argmin(fitted.cv_results_[f"rank_test_{name}"])]
        assert first == fitted.max_resources_


def test_a_function_that_scores_several():
    def scores(estimator, X, y):
        return {"good": estimator.score(X, y), "size": float(estimator.size)}

    fitted = search("asha", SIZE, scoring=scores, refit="good").fit(X, y)
    assert objectives_of(fitted) == ["good"]
    assert fitted.cv_results_["mean_test_size"].tolist() == fitted.cv_results_["n_resources"].tolist()


# ---- metadata, learning, lives
def test_groups_and_weights_are_those_of_the_samples():
    weights = np.arange(N) / N
    one = search("asha", "samples", cv=GroupKFold(2))
    one.fit(X, y, groups=np.repeat(range(12), 9), sample_weight=weights)
    assert len({len(numbers) for _, _, numbers, _ in seen}) > 2
    for _, _, numbers, given_weights in seen:
        np.testing.assert_array_equal(given_weights, weights[numbers])
    for _, _, numbers, _ in seen[:-1]:
        assert len({number // 9 for number in numbers}) <= 6


@pytest.mark.parametrize("strategy", ["tpe(n_start=4)", "gp", "auto", "cmaes", "quasi_random", "grid"])
@pytest.mark.parametrize("scheduler", ["hyperband", "asha"])
def test_samplers_learn_from_little(strategy, scheduler):
    space = {"quality": [0.1, 0.3, 0.5, 0.7, 0.9]} if strategy == "grid" else QUALITY
    fitted = search(scheduler, "samples", space=space, strategy=strategy).fit(X, y)
    assert len(fitted.study_.trials) == (5 if strategy == "grid" else 9)
    assert fitted.cv_results_["n_resources"].max() == 54


def test_a_space_that_ends():
    space = {"quality": [0.2, 0.4, 0.6]}
    for scheduler in ("asha", "asha(type=promotion)", "successive_halving", "hyperband", "freeze_thaw"):
        fitted = search(scheduler, "samples", space=space, n_trials=40).fit(X, y)
        assert len(fitted.study_.trials) == 3
        assert fitted.cv_results_["n_resources"].max() == 54


def test_what_is_given_stays_as_it_is():
    scheduler = [ASHA(eta=2), Median()]
    one = search(scheduler, {"size": (1, 8)}, n_trials=np.int64(4))
    assert clone(one).get_params()["fidelity"] == {"size": (1, 8)}
    before = pickle.dumps(scheduler)
    one.fit(X, y)
    assert pickle.dumps(scheduler) == before
    assert one.scheduler is scheduler
    assert one.fit(X, y).cv_results_["n_resources"].max() == 8
    again = pickle.loads(pickle.dumps(one))
    assert again.cv_results_["n_resources"].tolist() == one.cv_results_["n_resources"].tolist()
    assert len(again.study_.trials) == 4


def test_it_can_be_set_and_unset():
    one = search(None, None).fit(X, y)
    assert "n_resources" not in one.cv_results_
    one.set_params(scheduler="asha").fit(X, y)
    assert "n_resources" in one.cv_results_


def test_it_says_what_it_does(capsys):
    search("asha", "samples", verbose=1).fit(X, y)
    assert "9 candidates, each with 8 to 54 samples" in capsys.readouterr().out


def test_callbacks_see_one_search(capfd):
    estimator, space = LogisticRegression(), {"C": (0.1, 10.0, "log")}
    search("asha", "samples", estimator, space, n_trials=4).set_callbacks(ProgressBar()).fit(X_plain, y_plain)
    shown = "".join(capfd.readouterr())
    assert "search #0" in shown
    assert "search #1" not in shown


def test_several_candidates_at_a_time():
    def found():
        with joblib.parallel_config("threading"):
            return search("asha(type=promotion)", "samples", n_jobs=6).fit(X, y).cv_results_

    first, again = found(), found()
    assert first["n_resources"].tolist() == again["n_resources"].tolist()
    assert first["params"] == again["params"]
    assert first["n_resources"].max() == 54


def test_workers_in_other_processes():
    space = {"C": (0.1, 10.0, "log")}
    fitted = search("asha", "samples", SVC(), space, n_jobs=2, n_trials=4).fit(X_plain, y_plain)
    assert len(fitted.cv_results_["params"]) == 4


# ---- interrupted
class Interrupted(Known):
    """Ctrl-C at the fit of that number."""

    n_left = 0

    def fit(self, X, y):
        type(self).n_left -= 1
        if not type(self).n_left:
            raise KeyboardInterrupt
        return super().fit(X, y)


@FIDELITIES
@pytest.mark.parametrize(
    ("scheduler", "n"), [("asha", 2), ("asha(type=promotion)", 9), ("hyperband", 11), ("median(n_start=2)", 14)]
)
@pytest.mark.filterwarnings("ignore:No candidate has come to:UserWarning")
def test_a_search_goes_on_where_it_was(tmp_path, scheduler, fidelity, n):
    options = {"cv": 3, "store": tmp_path / "x.db"}
    Interrupted.n_left = 0
    whole = search(scheduler, fidelity, Interrupted(), name="whole", **options).fit(X, y)
    fits, seen[:] = seen[:], []
    Interrupted.n_left = n
    one = search(scheduler, fidelity, Interrupted(), name="one", **options)
    with pytest.raises(KeyboardInterrupt):
        one.fit(X, y)
    assert len(seen) == n - 1
    if n > 2:
        assert 0 < len(one.cv_results_["params"]) <= len(one.study_.trials)
        assert max(one.cv_results_["n_resources"]) <= one.max_resources_
    again = search(scheduler, fidelity, Interrupted(), name="one", resume=True, **options).fit(X, y)
    assert seen == fits
    assert again.cv_results_["params"] == whole.cv_results_["params"]
    for column in ("n_resources", "mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(again.cv_results_[column], whole.cv_results_[column])
    assert states_of(again) == states_of(whole)
    seen.clear()
    search(scheduler, fidelity, Interrupted(), name="one", resume=True, **options).fit(X, y)
    assert len(seen) == 1  # the refit


def test_candidates_that_failed_have_failed_when_it_goes_on(tmp_path):
    options = {"store": tmp_path / "x.db", "error_score": np.nan}
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        first = search("asha", "samples", Known(fails_above=0.8), **options).fit(X, y)
    seen.clear()
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        again = search("asha", "samples", Known(fails_above=0.8), resume=True, n_trials=12, **options).fit(X, y)
    known = len(first.cv_results_["params"])
    assert len(again.cv_results_["params"]) == 12
    np.testing.assert_array_equal(again.cv_results_["mean_test_score"][:known], first.cv_results_["mean_test_score"])
    assert {quality for quality, *_ in seen[:-1]} == {one["quality"] for one in again.cv_results_["params"][known:]}


def test_no_time_for_all():
    class Slow(Known):
        def fit(self, X, y):
            if len(seen) >= 10:
                time.sleep(0.5)
            return super().fit(X, y)

    with pytest.warns(UserWarning, match="No candidate has come to n_resources=9"):
        fitted = search("successive_halving", SIZE, Slow(), timeout=0.5).fit(X, y)
    assert fitted.cv_results_["n_resources"].tolist() == [1] * 5


@FIDELITIES
def test_ended_between_the_last_report_and_the_end(tmp_path, fidelity, monkeypatch):
    options = {"cv": 3, "store": tmp_path / "x.db"}
    tell = whet.Study.tell

    def interrupted(study, trial, values):
        raise KeyboardInterrupt

    monkeypatch.setattr(whet.Study, "tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search("asha", fidelity, **options).fit(X, y)
    monkeypatch.setattr(whet.Study, "tell", tell)
    n_before = len(seen)
    again = search("asha", fidelity, resume=True, **options).fit(X, y)
    first = again.study_.trials[0]
    assert first.state is State.COMPLETED
    assert first.values["score"] == pytest.approx(again.cv_results_["mean_test_score"][0])
    assert all(quality != first.config["quality"] for quality, *_ in seen[n_before:-1])
