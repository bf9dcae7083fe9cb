"""The record of a search: what its study knows of candidates and fits, while it runs and afterwards."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import KFold
from sklearn.svm import SVC

import whet
from tests.sklearn.cases import X, two_scores, y
from whet.samplers import Random
from whet.sklearn import GridSearchCV, HalvingGridSearchCV
from whet.sklearn.freezing import frozen, thawed
from whet.sklearn.recording import record_of
from whet.space.space import Space

CANDIDATES = [{"C": 0.1}, {"C": 1.0}, {"C": 10.0}]


def outcome(score, error=None, **more):
    return {
        "test_scores": score,
        "n_test_samples": 10,
        "fit_time": 0.5,
        "score_time": 0.25,
        "fit_error": error,
        **more,
    }


def record(search=None, **options):
    search = search or GridSearchCV(SVC(), {"C": [0.1, 1.0, 10.0]}, **options)
    search._checked_cv_orig = KFold(2)
    scorers, _ = search._get_scorers()
    return record_of(search, scorers, X, y, {}, lambda: list(KFold(2).split(X)))


def states(one):
    return [trial.state.value for trial in one.study.trials]


@pytest.fixture(params=[False, True], ids=["in memory", "kept"])
def options(request, tmp_path):
    return {"store": tmp_path / "x.db", "resume": True} if request.param else {}


# ---- candidates that scikit-learn says
def test_trials_end_as_their_candidates_are_done(options):
    with record(**options) as one:
        one.begin(CANDIDATES, {"iter": [0, 0, 1], "word": ["a", "b", "c"]})
        one.tell(2, [outcome(0.5), outcome(1.0)])
        one.tell(0, [outcome(np.nan, "Traceback\nArithmeticError: no"), outcome(1.0)])
    trials = one.study.trials
    assert [trial.config for trial in trials] == CANDIDATES
    assert states(one) == ["failed", "waiting", "completed"]
    assert trials[2].values == {"iter": 1, "fit_time": 0.5, "score_time": 0.25, "score": 0.75}
    assert trials[0].message == "ArithmeticError: no"


def test_a_candidate_that_is_raced_out_is_stopped(options):
    with record(**options) as one:
        one.begin(CANDIDATES, None)
        one.stop(0, [outcome(0.25)], "behind candidate 1")
        one.tell(1, [outcome(0.5)])
    (stopped, done, waiting), best = one.study.trials, one.study.best
    assert (stopped.state, stopped.message, stopped.values["score"]) == ("stopped", "behind candidate 1", 0.25)
    assert (done.state, waiting.state) == ("completed", "waiting")
    assert best.number == 1
    other = thawed(pickle.loads(pickle.dumps(frozen(one.study))))
    assert [(t.state, t.values, t.config) for t in other.trials] == [
        (t.state, t.values, t.config) for t in one.study.trials
    ]
    assert other.trials[0].message == "behind candidate 1"


def test_only_what_is_in_work_runs_in_a_study_that_others_can_see(tmp_path):
    with record(store=tmp_path / "x.db") as one:
        one.begin(CANDIDATES, None)
        assert states(one) == ["waiting"] * 3
        one.keep(1, "split 0", outcome(0.5))
        assert states(one) == ["waiting", "running", "waiting"]
        one.keep(1, "split 1", outcome(0.5))
        one.tell(1, [outcome(0.5)] * 2)
        assert states(one) == ["waiting", "completed", "waiting"]
    (trial,) = (trial for trial in one.study.trials if trial.state == "completed")
    assert trial.attempt == 1
    assert trial.duration_s >= 0.7  # since its first fit began
    assert set(trial.attributes) == {"split 0", "split 1"}


def test_what_is_kept_comes_back(tmp_path):
    outcomes = {
        (0, "split 0"): outcome(0.1 + 0.2, train_scores=np.float64(1 / 3)),
        (0, "split 1, samples 450"): outcome(np.nan, "Traceback\nno"),
        (2, "split 0"): outcome({"accuracy": np.inf, 3: -0.0}, train_scores={"accuracy": 1, 3: 0.5}),
    }
    with record(store=tmp_path / "x.db", resume=True) as one:
        one.begin(CANDIDATES, None)
        for (number, key), each in outcomes.items():
            one.keep(number, key, each)
    with record(store=tmp_path / "x.db", resume=True) as again:
        again.begin(CANDIDATES, None)
        for (number, key), each in outcomes.items():
            kept = again.kept(number, key)
            assert repr(kept) == repr(
                {**each} | ({"train_scores": 1 / 3} if "train_scores" in each and number == 0 else {})
            )
        assert again.kept(1, "split 0") is None
        assert again.kept(0, "split 7") is None
        assert states(again) == ["waiting"] * 3
        again.tell(0, [outcome(0.5)])
    assert again.study.trials[0].attempt == 2


def test_what_was_stopped_stays_so(tmp_path):
    with record(store=tmp_path / "x.db", resume=True) as one:
        one.begin(CANDIDATES, None)
        one.stop(0, [outcome(0.25)], "behind")
        one.tell(1, [outcome(0.5)])
    with record(store=tmp_path / "x.db", resume=True) as again:
        again.begin(CANDIDATES, None)
        assert states(again) == ["stopped", "completed", "waiting"]
        again.stop(0, [outcome(0.25)], "behind")
        again.tell(1, [outcome(0.5)])
        assert states(again) == ["stopped", "completed", "waiting"]


def test_all_candidates_of_a_halving_that_gives_more_of_a_parameter_are_in_one_space(tmp_path):
    search = HalvingGridSearchCV(
        SVC(), {"C": [0.1, 1.0]}, resource="max_iter", max_resources=9, store=tmp_path / "x.db", cv=2
    )
    search.min_resources_, search.max_resources_ = 1, 9
    with record(search) as one:
        one.begin([{"C": 0.1, "max_iter": 1}, {"C": 1.0, "max_iter": 1}], {"iter": [0, 0]})
        study = one.study
        one.begin([{"C": 0.1, "max_iter": 3}], {"iter": [1]})
        assert one.study is study
        with pytest.raises(ValueError, match="max_iter: no candidate before had 10"):
            one.begin([{"C": 0.1, "max_iter": 10}], {"iter": [2]})
    assert [trial.config["max_iter"] for trial in study.trials] == [1, 1, 3]


# ---- candidates that the study chooses
def opened(one):
    return one.open(Space({"C": [0.1, 1.0, 10.0, 100.0]}), {"score": "maximize"}, sampler=Random(), seed=0)


def test_a_study_that_chooses_is_told_in_its_order(options):
    with record(**options) as one:
        trials = opened(one).ask(3)
        one.begin([trial.config for trial in trials], None, trials)
        one.tell(2, [outcome(0.5)])
        one.tell(1, [outcome(0.6)])
        assert states(one) == ["running"] * 3
        one.stop(0, [outcome(0.4)], "behind")
        assert states(one) == ["stopped", "completed", "completed"]
    assert one.objectives == ("score",)


def test_trials_of_an_earlier_run_come_first(tmp_path):
    place = {"store": tmp_path / "x.db", "resume": True}
    with record(**place) as one:
        assert opened(one) is one.study
        assert one.trials() == []
        first, *_ = trials = one.study.ask(3)
        one.begin([trial.config for trial in trials], None, trials)
        one.keep(0, "split 0", outcome(0.5))
        one.tell(0, [outcome(0.5)])
    assert states(one) == ["completed", "waiting", "waiting"]
    with record(**place) as again:
        opened(again)
        trials = again.trials()
        assert [(trial.number, trial.state, trial.attempt) for trial in trials] == [
            (0, "completed", 1),
            (1, "running", 2),
            (2, "running", 2),
        ]
        again.begin([trial.config for trial in trials], None, trials)
        assert again.kept(0, "split 0") == outcome(0.5)
        for number in range(3):
            again.tell(number, [outcome(0.5)])
        assert states(again) == ["completed"] * 3
        assert again.study.ask().number == 3
    assert first.config == trials[0].config


def test_what_a_dead_process_has_reserved_is_free_again(tmp_path):
    place = {"store": tmp_path / "x.db", "resume": True}
    with record(**place) as one:
        opened(one).ask()
    one.study.ledger.commit([], reserve=1)
    with record(**place) as again:
        opened(again)
        assert [trial.number for trial in again.trials()] == [0]
        assert again.study.ask().number == 1


# ---- what there is to maximize
@pytest.mark.parametrize(
    ("options", "objectives"),
    [
        ({}, ("score",)),
        ({"scoring": "f1"}, ("score",)),
        ({"scoring": ["f1", "accuracy"], "refit": "accuracy"}, ("accuracy",)),
        ({"scoring": ["f1", "accuracy"], "refit": False}, ("f1", "accuracy")),
        ({"scoring": ["f1", "accuracy"], "refit": lambda results: 0}, ("f1", "accuracy")),
        ({"scoring": two_scores, "refit": "accuracy"}, ("accuracy",)),
        ({"scoring": two_scores, "refit": False}, ("score",)),
    ],
)
def test_objectives(options, objectives):
    assert record(**options).objectives == objectives


def test_a_metric_that_is_missing_is_the_first_one():
    one = record(scoring=two_scores, refit="nowhere")
    assert one.values([outcome({"accuracy": 0.5, "zeros": 0}), outcome({"accuracy": 1.0, "zeros": 0})]) == {
        "fit_time": 0.5,
        "score_time": 0.25,
        "accuracy": 0.75,
        "zeros": 0.0,
        "nowhere": 0.75,
    }


def test_leaving_twice_does_no_harm(tmp_path):
    with record(store=tmp_path / "x.db") as one:
        one.begin(CANDIDATES, None)
        one.finish()
    one.finish()
    study = whet.load("GridSearchCV", tmp_path / "x.db")
    with study.ledger.store.hold(study.ledger.study):
        pass


def test_splits_are_drawn_only_where_they_are_compared():
    search = GridSearchCV(DummyClassifier(), {"strategy": ["prior"]})
    scorers = SimpleNamespace()

    def splits():
        raise AssertionError

    record_of(search, scorers, X, y, {}, splits)
