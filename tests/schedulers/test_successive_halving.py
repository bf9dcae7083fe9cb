"""Successive halving: rungs that wait for everybody, and slots that never do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

import whet
from tests.schedulers.driving import Driven, at_level, driven, falling, resumes
from whet.algorithms.brackets import halving
from whet.core.events import Draft, Kind
from whet.core.protocols import Stop
from whet.core.trial import State
from whet.errors import NotReady, SearchExhausted, UsageError
from whet.schedulers.successive_halving import SuccessiveHalving

LEVELS = (1, 3, 9, 27)


def budgets(run: Driven, bracket: int) -> list[int]:
    """Return how far each trial of a round went, fewest first."""
    return sorted(int(trial.budget or 0) for trial in run.of(bracket))


def check_promotions(run: Driven, eta: int = 3) -> int:
    """See that who went on was among the best of a full rung; return how many did."""
    n = 0
    for history, one in resumes(run):
        trial = history.unfinished[one.number]
        assert trial.budget is not None and trial.state is State.PAUSED
        assert one.budget == LEVELS[LEVELS.index(int(trial.budget)) + 1]
        known = at_level(history, trial.bracket, trial.budget)
        rank = [number for _, number in known].index(one.number)
        assert rank < max(1, len(known) // eta)
        n += 1
    return n


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_a_round_is_the_arithmetic_of_the_paper(workers: int) -> None:
    run = driven("successive_halving", 27, workers)
    assert budgets(run, 0) == [1] * 18 + [3] * 6 + [9] * 2 + [27]
    assert sum(run.cost.values()) == 18 * 1 + 6 * 3 + 2 * 9 + 27, "what was reported before is not made again"
    assert check_promotions(run) == 9 + 3 + 1
    assert Counter(trial.state for trial in run.trials) == {State.STOPPED: 26, State.COMPLETED: 1}
    assert run.waited == 0


def test_losers_end_when_their_rung_closes_and_say_why() -> None:
    run = driven("successive_halving(n=9)", 9)
    stops = [(history, one) for history, one in run.watched.assigned if isinstance(one, Stop)]
    assert len(stops) == 8
    assert {one.reason for _, one in stops} >= {
        "9th of 9 at 1 epoch, the best 3 go on",
        "3rd of 3 at 3 epochs, the best goes on",
    }
    for history, one in stops:
        trial = history.unfinished[one.number]
        known = at_level(history, 0, trial.budget or 0.0)
        assert len(known) == (9 if trial.budget == 1 else 3 if trial.budget == 3 else 1)
    assert {trial.message for trial in run.trials if trial.state is State.STOPPED} == {one.reason for _, one in stops}


@pytest.mark.parametrize("workers", [1, 4, 11])
def test_rounds_follow_each_other_and_no_slot_waits(workers: int) -> None:
    run = driven("successive_halving(n=9)", 45, workers)
    assert run.waited == 0
    for bracket in range(5):
        assert budgets(run, bracket) == [1] * 6 + [3] * 2 + [27]
    check_promotions(run)


def test_no_rung_is_above_its_quota_at_any_time() -> None:
    run = driven("successive_halving(n=9)", 40, 6)
    for history, _ in run.watched.assigned:
        trials = [*history.finished, *history.unfinished.values()]
        for bracket in {trial.bracket for trial in trials}:
            for rung in halving(9, LEVELS, 3):
                assert sum(t.bracket == bracket and (t.budget or 0) >= rung.budget for t in trials) <= rung.n


@pytest.mark.parametrize(
    ("n_trials", "expected"), [(1, [27]), (2, [1, 27]), (5, [1] * 4 + [27]), (7, [1] * 5 + [3, 27])]
)
def test_a_round_that_never_fills_is_closed_as_it_stands(n_trials: int, expected: list[int]) -> None:
    run = driven("successive_halving", n_trials, 2)
    assert budgets(run, 0) == expected
    assert run.study.best.budget == 27


def test_a_rung_waits_for_its_last_trial() -> None:
    study = whet.Study({"x": [1, 2, 3]}, fidelity={"epochs": (1, 9)}, scheduler="sha(n=3)", sampler="grid")
    trials = study.ask(3)
    for trial in trials[:2]:
        study.tell(trial, 1.0)
    with pytest.raises(NotReady):
        study.ask()
    study.tell(trials[2], 0.5)
    assert (study.ask().number, study.trials[2].budget) == (2, 3)
    assert [trial.state for trial in study.trials[:2]] == [State.STOPPED] * 2


def test_failed_trials_fill_their_rung_as_the_worst() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if config["x"] > 0.7:
            raise ArithmeticError("out of range")
        return math.nan if config["x"] > 0.6 else falling(config, step)

    run = driven("successive_halving", 27, 4, curve)
    n_spoilt = sum((trial.config or {})["x"] > 0.6 for trial in run.trials)
    assert 3 < n_spoilt < 18 and all((t.config or {})["x"] <= 0.6 for t in run.trials if (t.budget or 0) > 1)
    assert budgets(run, 0) == [1] * 18 + [3] * 6 + [9] * 2 + [27]


def test_failures_further_up_leave_their_place_empty() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if step > 1 and config["x"] < 0.35:
            raise ArithmeticError("late")
        return falling(config, step)

    run = driven("successive_halving", 27, 3, curve)
    assert any(trial.state is State.FAILED and trial.budget == 3 for trial in run.trials)
    assert Counter(budgets(run, 0))[1] == 18, "nobody takes the place of one that went on and failed"
    assert run.study.best.budget == 27


def test_all_failing_ends() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        raise ArithmeticError("never")

    run = driven("successive_halving(n=4)", 10, 3, curve)
    assert [trial.state for trial in run.trials] == [State.FAILED] * 10


def test_cancelled_trials_hold_up_nothing() -> None:
    def between(study: whet.Study, tick: int) -> None:
        unfinished = study.ledger.history.unfinished
        if tick % 4 == 0 and unfinished:
            study.ledger.commit([Draft(Kind.CANCELLED, sorted(unfinished)[tick % len(unfinished)])])

    for seed in range(4):
        run = driven("successive_halving(n=9)", 30, 4, between=between, seed=seed)
        states = Counter(trial.state for trial in run.trials)
        assert states[State.CANCELLED] > 4 and states.keys() <= {State.CANCELLED, State.STOPPED, State.COMPLETED}
        assert run.waited == 0


def test_what_people_give_runs_to_the_end_and_is_no_part_of_a_round() -> None:
    def before(study: whet.Study) -> None:
        study.enqueue({"x": 0.3})
        study.add_trials([({"x": 0.31}, 0.0)])

    run = driven("successive_halving(n=9)", 9, 2, before=before)
    assert {trial.state for trial in run.of(None)} == {State.COMPLETED}
    assert budgets(run, 0) == [1] * 6 + [3] * 2 + [27]


def test_a_finite_space_ends_with_a_round_that_is_closed() -> None:
    run = driven("successive_halving(n=4)", 100, 3, space={"x": [0.1, 0.2, 0.3, 0.5, 0.7, 0.9]})
    assert len(run.trials) == 6 and len(run.of(1)) == 2
    assert Counter(trial.state for trial in run.trials) == {State.STOPPED: 4, State.COMPLETED: 2}
    with pytest.raises(SearchExhausted):
        run.study.ask()


def test_a_larger_limit_goes_on_with_new_rounds() -> None:
    """A round that was closed before it was full stays closed."""
    run = driven("successive_halving(n=9)", 4, 2)
    assert budgets(run, 0) == [1, 1, 1, 27]
    trial = run.study.ask()
    assert (trial.bracket, trial.budget) == (1, 1)


def test_with_two_objectives_fronts_go_on() -> None:
    def curve(config: Mapping[str, Any], step: float) -> Mapping[str, float]:
        return {"loss": config["x"] + 1 / step, "size": 1.0 - config["x"]}

    run = driven("successive_halving(n=9)", 18, 3, curve, objective={"loss": "minimize", "size": "minimize"})
    for bracket in (0, 1):
        assert budgets(run, bracket) == [1] * 6 + [3] * 2 + [27]
        ordered = sorted(run.of(bracket), key=lambda trial: float((trial.config or {})["x"]))
        assert min(ordered[0].budget or 0, ordered[-1].budget or 0) > 1, "both ends of the one front"


def test_options_out_of_range() -> None:
    for n in (1, 0, -3, 2.5, True, "9"):
        with pytest.raises(UsageError, match="n must be a whole number of at least 2"):
            SuccessiveHalving(n=n)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="eta must be a number of at least 2"):
        SuccessiveHalving(eta=1.5)
    with pytest.raises(UsageError, match="successive_halving needs a fidelity"):
        whet.Study({"x": whet.Float(0, 1)}, scheduler="sha")
