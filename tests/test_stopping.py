"""When the whole search ends."""

import math

import numpy as np
import pytest

from whet.errors import UsageError
from whet.stopping import Limits, reason_to_end
from whet.study import Study


def study(objective: str = "minimize") -> Study:
    return Study({"x": (0.0, 1.0)}, objective, sampler="random", seed=0)


BEFORE = study().ledger.history


def told(study: Study, *values: float | None) -> None:
    for value in values:
        trial = study.ask()
        study.fail(trial) if value is None else study.tell(trial, value)


@pytest.mark.parametrize("name", ["n_trials", "timeout_s", "max_failures"])
@pytest.mark.parametrize("bound", [0, -1, math.nan])
def test_bounds_that_end_a_search_before_it_begins_are_refused(name, bound):
    with pytest.raises(UsageError, match=f"{name.removesuffix('_s')} must be a"):
        Limits(**{name: bound})


@pytest.mark.parametrize("name", ["n_trials", "timeout_s", "max_failures", "target"])
@pytest.mark.parametrize("bound", ["5", True, [3], 1j])
def test_bounds_that_are_no_numbers_are_refused(name, bound):
    with pytest.raises(UsageError, match=f"{name.removesuffix('_s')} must be a"):
        Limits(**{name: bound})


def test_counts_are_whole_and_those_of_numpy_are_pythons():
    with pytest.raises(UsageError, match="a whole number"):
        Limits(n_trials=1.5)
    assert type(Limits(n_trials=np.int64(5)).n_trials) is int


def test_a_target_must_be_finite():
    with pytest.raises(UsageError, match="target"):
        Limits(target=math.inf)


def test_time_runs_out():
    history = study().ledger.history
    assert reason_to_end(Limits(timeout_s=5), history, 4.9, BEFORE) is None
    assert reason_to_end(Limits(timeout_s=5), history, 5.0, BEFORE) == "timeout"


@pytest.mark.parametrize(("objective", "good", "bad"), [("minimize", 0.1, 0.3), ("maximize", 0.3, 0.1)])
def test_a_target_is_met_in_the_direction_of_the_objective(objective, good, bad):
    searched = study(objective)
    told(searched, bad)
    assert reason_to_end(Limits(target=0.2), searched.ledger.history, 0, BEFORE) is None
    told(searched, good)
    assert reason_to_end(Limits(target=0.2), searched.ledger.history, 0, BEFORE) == "target"


def test_a_failed_trial_meets_no_target():
    searched = study()
    told(searched, math.nan)
    assert reason_to_end(Limits(target=0.2), searched.ledger.history, 0, BEFORE) is None


def test_three_failures_at_the_start_end_a_search_and_later_ones_do_not():
    broken = study()
    told(broken, None, None)
    assert reason_to_end(Limits(), broken.ledger.history, 0, BEFORE) is None
    told(broken, None)
    assert reason_to_end(Limits(), broken.ledger.history, 0, BEFORE) == "failures"
    fine = study()
    told(fine, 0.5, None, None, None, None)
    assert reason_to_end(Limits(), fine.ledger.history, 0, BEFORE) is None


def test_a_resumed_study_gets_another_chance():
    broken = study()
    told(broken, None, None, None)
    before = broken.ledger.history
    told(broken, None, None)
    assert reason_to_end(Limits(), broken.ledger.history, 0, before) is None
    told(broken, None)
    assert reason_to_end(Limits(), broken.ledger.history, 0, before) == "failures"
    limits = Limits(max_failures=3)
    assert reason_to_end(limits, before, 0, before) is None
    assert reason_to_end(limits, broken.ledger.history, 0, before) == "failures"


def test_max_failures_replaces_the_rule_of_the_start():
    broken = study()
    told(broken, None, None, None)
    assert reason_to_end(Limits(max_failures=5), broken.ledger.history, 0, BEFORE) is None
    told(broken, 0.5, None, None)
    assert reason_to_end(Limits(max_failures=5), broken.ledger.history, 0, BEFORE) == "failures"
