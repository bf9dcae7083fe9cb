"""`Study`: ask, report, tell, and what is known then."""

import math
import threading

import pytest

import whet
from whet.core.protocols import Decision
from whet.core.trial import Cause, State
from whet.errors import SearchExhausted, StaleAttempt, StateError, StudyExists, StudyNotFound, UsageError
from whet.study import Study, load

SPACE = {"x": (0.0, 1.0), "n": [1, 2, 3]}


def study(**options) -> Study:
    return Study(SPACE, **{"sampler": "random", "seed": 1, **options})


def test_ask_and_tell():
    searched = study()
    trial = searched.ask()
    assert (trial.number, trial.state, trial.attempt) == (0, State.RUNNING, 1)
    assert set(trial.config) == {"x", "n"}
    told = searched.tell(trial, 0.5)
    assert (told.state, told.values) == (State.COMPLETED, {"value": 0.5})
    assert searched.best.number == 0
    assert (searched.best_value, searched.best_config) == (0.5, trial.config)


def test_the_same_seed_asks_the_same_and_another_does_not():
    assert [t.config for t in study().ask(5)] == [t.config for t in study().ask(5)]
    assert [t.config for t in study().ask(5)] != [t.config for t in study(seed=2).ask(5)]


def test_the_best_is_the_least_or_the_greatest_and_ties_go_to_the_first():
    for objective, best in (("minimize", 1), ("maximize", 0)):
        searched = study(objective=objective)
        for value in (3.0, 1.0, 1.0, 3.0):
            searched.tell(searched.ask(), value)
        assert searched.best.number == best


def test_a_dict_of_metrics_needs_the_objective_by_name():
    searched = study(objective={"acc": "maximize"})
    assert searched.tell(searched.ask(), {"acc": 0.9, "loss": 0.1}).values == {"acc": 0.9, "loss": 0.1}
    failed = searched.tell(searched.ask(), {"loss": 0.1})
    assert (failed.state, failed.cause) == (State.FAILED, Cause.NO_METRIC)
    assert "loss" in failed.message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_value_fails_the_trial_and_the_study_goes_on(value):
    searched = study()
    assert searched.tell(searched.ask(), value).cause is Cause.BAD_VALUE
    assert searched.tell(searched.ask(), 1.0).state is State.COMPLETED
    assert searched.best.number == 1


def test_constraints_keep_infeasible_trials_from_being_the_best():
    searched = study(objective={"acc": "maximize"}, constraints=["latency <= 10"])
    searched.tell(searched.ask(), {"acc": 0.9, "latency": 50.0})
    searched.tell(searched.ask(), {"acc": 0.8, "latency": 5.0})
    searched.tell(searched.ask(), {"acc": 0.95})
    assert searched.best.number == 1


def test_a_report_is_kept_and_answers_with_a_decision():
    searched = study(objective={"loss": "minimize"})
    trial = searched.ask()
    for step in range(3):
        assert searched.report(trial, {"loss": 1.0 / (step + 1), "other": 2.0}, step=step) is Decision.CONTINUE
    searched.tell(trial, {"loss": 0.1})
    assert list(searched.trials[0].curve) == [(0.0, 1.0), (1.0, 0.5), (2.0, 1.0 / 3)]


def test_telling_twice_or_an_unknown_trial_is_a_clear_error_and_loses_nothing():
    searched = study()
    trial = searched.ask()
    searched.tell(trial, 1.0)
    with pytest.raises((StateError, StaleAttempt)):
        searched.tell(trial, 2.0)
    with pytest.raises(StateError, match=r"trial 7 .* does not exist"):
        searched.tell(7, 2.0)
    with pytest.raises(StateError, match="is not running"):
        searched.tell(0, 2.0)
    assert searched.best_value == 1.0


@pytest.mark.parametrize("trial", ["0", None, 0.5, {"x": 1.0}, True])
def test_what_is_no_trial_is_refused_by_name(trial):
    study = Study({"x": (0.0, 1.0)})
    study.ask()
    with pytest.raises(UsageError, match="expected a trial or its number"):
        study.tell(trial, 0.3)
    if trial is not None:  # which stands for the study itself
        with pytest.raises(UsageError, match="expected a trial or its number"):
            study.annotate(trial, {"gpu": "A100"})


def test_numbers_that_no_trial_has_are_named():
    study = Study({"x": (0.0, 1.0)})
    study.ask()
    for number in (-1, 1):
        with pytest.raises(StateError, match=f"trial {number} of study 'study' does not exist"):
            study.tell(number, 0.3)
        with pytest.raises(StateError, match=f"trial {number} of study 'study' does not exist"):
            study.annotate(number, note="which?")


@pytest.mark.parametrize("n", ["3", 1.5, True, -1])
def test_only_a_whole_number_of_trials_can_be_asked(n):
    with pytest.raises(UsageError, match="a whole number of at least 1"):
        Study({"x": (0.0, 1.0)}).ask(n)


def test_a_finite_space_ends_and_leaves_no_holes():
    searched = Study({"n": [1, 2, 3]}, sampler="grid", seed=0)
    assert [trial.config["n"] for trial in searched.ask(2)] == [1, 2]
    assert [trial.config["n"] for trial in searched.ask(5)] == [3]
    for _ in range(2):
        with pytest.raises(SearchExhausted):
            searched.ask()
    assert [trial.number for trial in searched.trials] == [0, 1, 2]


def test_repeats_share_a_config_and_the_best_is_the_best_mean():
    searched = Study({"n": [1, 2]}, sampler="grid", seed=0, repeats=2)
    trials = searched.ask(4)
    assert [trial.config["n"] for trial in trials] == [1, 1, 2, 2]
    assert [(trial.group, trial.replicate) for trial in trials] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for trial, value in zip(trials, [0.0, 9.0, 4.0, 4.0], strict=True):
        searched.tell(trial, value)
    assert searched.best_config == {"n": 2}


def test_no_best_is_an_error_that_says_why():
    with pytest.raises(UsageError, match="no completed trial"):
        _ = study().best
    two = study(objective={"a": "minimize", "b": "maximize"})
    with pytest.raises(UsageError, match="2 objectives"):
        _ = two.best


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "rndom"}, "did you mean 'random'"),
        ({"objective": "maximise it"}, "neither 'minimize' nor 'maximize'"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"constraints": ["latency"]}, "expected NAME<=NUMBER"),
    ],
)
def test_parts_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        study(**options)


def test_a_study_on_disk_is_found_again_and_goes_on_as_if_never_left(tmp_path):
    path = str(tmp_path / "studies.db")
    first = study(store=path, name="a")
    told = [first.tell(first.ask(), float(i)).config for i in range(3)]
    again = load("a", store=path)
    assert again.best.number == 0
    assert [trial.config for trial in again.trials] == told
    straight = study()
    expected = [trial.config for trial in straight.ask(6)]
    assert told + [again.ask().config for _ in range(3)] == expected
    with pytest.raises(StudyExists):
        study(store=path, name="a")
    with pytest.raises(StudyNotFound, match="'a'"):
        load("aa", store=path)


def test_threads_share_a_study():
    searched = study()
    numbers: list[int] = []

    def work() -> None:
        for _ in range(25):
            trial = searched.ask()
            numbers.append(trial.number)
            searched.tell(trial, float(trial.number))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(100))
    assert searched.best.number == 0


def test_a_report_from_an_attempt_that_is_not_current_is_refused(tmp_path):
    path = str(tmp_path / "studies.db")
    slow = study(store=path, name="a")
    trial = slow.ask()
    other = load("a", store=path)
    other.tell(other.ledger.history.unfinished[trial.number], 1.0)
    with pytest.raises((StaleAttempt, StateError)):
        slow.tell(trial, 2.0)
    assert whet.load("a", store=path).best_value == 1.0
