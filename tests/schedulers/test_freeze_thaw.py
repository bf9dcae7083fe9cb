"""Freeze-thaw: what is begun, what goes on, and how a search ends. The contract is in `test_contracts`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import count, pairwise
from typing import Any

import pytest

import whet
from tests.schedulers.driving import Driven, driven, resumes
from whet.core.protocols import New, Resume
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, UsageError
from whet.schedulers.freeze_thaw import FreezeThaw
from whet.schedulers.names import scheduler_named


def bowl(config: Mapping[str, Any], step: float) -> float:
    """Return a value whose order at any step is that at the end, nearly; 0.3 is best."""
    x = float(config["x"])
    return float((x - 0.3) ** 2 + (1 + 0.1 * x) / step)


# ---- options
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"eta": 1.5}, "eta must be a number of at least 2"),
        ({"levels": 1}, "levels must be a whole number of at least 2"),
        ({"levels": 2.0}, "levels must be a whole number"),
        ({"n_start": 0}, "n_start must be a whole number of at least 1"),
        ({"n_start": True}, "n_start must be a whole number"),
        ({"budget": 0}, "budget must be a number above 0"),
        ({"budget": "much"}, "budget must be a number above 0"),
        ({"budget": float("nan")}, "budget must be a number above 0"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FreezeThaw(**options)


def test_less_than_one_training_is_no_budget() -> None:
    study = whet.Study({"x": (0.0, 1.0)}, scheduler="freeze_thaw(budget=20)", fidelity={"epochs": (1, 27)})
    with pytest.raises(UsageError, match="at least one full training, 27, got 20"):
        study.ask()


@pytest.mark.parametrize("text", ["freeze_thaw", "freeze_thaw(budget=500, levels=2)"])
def test_it_has_a_name(text: str) -> None:
    assert isinstance(scheduler_named(text), FreezeThaw)


# ---- who begins, and where
def test_the_sampler_chooses_the_first_and_the_model_the_others() -> None:
    run = driven("freeze_thaw(n_start=4)", 10, curve=bowl)
    assert [trial.why["source"] for trial in run.trials] == ["random"] * 4 + ["freeze_thaw"] * 6
    assert all({"mean", "std", "score"} <= trial.why.keys() for trial in run.trials[4:])
    near = [abs(trial.config["x"] - 0.3) for trial in run.trials[4:] if trial.config]
    assert min(near) < 0.05


@pytest.mark.parametrize(("way", "budgets"), [("freeze_thaw", {3, 9, 27}), ("freeze_thaw(levels=2)", {9, 27})])
def test_trials_begin_at_the_lowest_level_and_climb_one_by_one(way: str, budgets: set[float]) -> None:
    run = driven(way, 12, curve=bowl)
    news = [one for _, one in run.watched.assigned if isinstance(one, New)]
    assert {one.budget for one in news} == {min(budgets)}
    levels = sorted(budgets)
    steps = [(history.unfinished[one.number].budget, one.budget) for history, one in resumes(run)]
    assert all(after in levels for _, after in steps)
    leaps = [step for step in steps if step not in pairwise(levels)]
    assert len(leaps) <= 1 and all(after == 27 for _, after in leaps), "only to finish"


@pytest.mark.parametrize("workers", [1, 4])
def test_no_config_comes_twice(workers: int) -> None:
    space = {"x": whet.Ordinal([i / 10 for i in range(8)])}
    run = driven("freeze_thaw", 20, workers, curve=bowl, space=space)
    configs = [trial.config["x"] for trial in run.trials if trial.config]
    assert sorted(configs) == [i / 10 for i in range(8)]


def test_most_of_the_training_goes_to_the_good() -> None:
    run = driven("freeze_thaw(budget=270)", 1000, curve=bowl)
    by_value = sorted(run.trials, key=lambda trial: abs((trial.config or {})["x"] - 0.3))
    half = len(by_value) // 2
    assert sum(run.cost[t.number] for t in by_value[:half]) > 2 * sum(run.cost[t.number] for t in by_value[half:])


# ---- how it ends
def costs(run_cost: Mapping[int, int]) -> int:
    return sum(run_cost.values())


def expected_best(trials: list[Trial]) -> Trial:
    return min(trials, key=lambda trial: bowl(trial.config or {}, 27))


@pytest.mark.parametrize(("workers", "budget"), [(1, 27), (8, 40), (1, 100.5), (8, 100.5)])
def test_a_budget_is_kept_and_nearly_spent(workers: int, budget: float) -> None:
    run = driven(f"freeze_thaw(budget={budget})", 1000, workers, curve=bowl)
    assert budget - 27 < costs(run.cost) <= budget
    completed = [trial for trial in run.trials if trial.state is State.COMPLETED]
    assert completed and all(trial.budget == 27 for trial in completed)


@pytest.mark.parametrize("workers", [1, 5])
def test_at_the_end_the_best_is_trained(workers: int) -> None:
    run = driven("freeze_thaw", 12, workers, curve=bowl)
    assert len(run.trials) == 12
    assert expected_best(run.trials).state is State.COMPLETED
    with pytest.raises(SearchExhausted):
        FreezeThaw().assign(run.study.ledger.history, 4, 0)


def test_when_nothing_new_may_begin_one_trial_goes_all_the_way() -> None:
    run = driven("freeze_thaw", 6, curve=bowl)
    ending = [(h, one) for h, one in resumes(run) if len(h.unfinished) + h.n_finished == 6]
    assert all(isinstance(one, Resume) and one.budget == 27 for _, one in ending)
    assert len(ending) <= 2


@pytest.mark.parametrize("workers", [1, 6])
def test_where_all_fail_it_goes_on_to_the_limit(workers: int) -> None:
    def failing(config: Mapping[str, Any], step: float) -> float:
        raise ArithmeticError("no luck")

    run = driven("freeze_thaw", 9, workers, curve=failing)
    assert [trial.state for trial in run.trials] == [State.FAILED] * 9


def test_trials_that_fail_later_are_not_resumed() -> None:
    def failing(config: Mapping[str, Any], step: float) -> float:
        if config["x"] > 0.5 and step > 4:
            raise ArithmeticError("diverged")
        return bowl(config, step)

    run = driven("freeze_thaw(budget=200)", 1000, curve=failing)
    assert any(trial.state is State.COMPLETED for trial in run.trials)
    assert costs(run.cost) <= 200


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_odd_values_do_not_end_it(value: float) -> None:
    run = driven("freeze_thaw", 10, curve=lambda config, step: value if config["x"] > 0.6 else bowl(config, step))
    assert any(trial.state is State.COMPLETED for trial in run.trials)
    assert len(run.trials) == 10


def test_repeats_share_a_config() -> None:
    run = driven("freeze_thaw", 16, curve=bowl, repeats=2)
    configs = [trial.config for trial in run.trials]
    assert configs[::2] == configs[1::2]
    assert any(trial.state is State.COMPLETED for trial in run.trials)


# ---- together with what stops trials
def states(run: Driven) -> Counter[State]:
    return Counter(trial.state for trial in run.trials)


def too_good(config: Mapping[str, Any], step: float) -> bool:
    return abs(config["x"] - 0.3) < 0.2 and step > 15


@pytest.mark.parametrize(("how", "workers"), [("stopped", 1), ("stopped", 4), ("lost", 1), ("failed", 2)])
def test_where_the_best_end_early_the_next_best_is_trained(how: str, workers: int) -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if not too_good(config, step):
            return bowl(config, step)
        if how == "failed":
            raise ArithmeticError("too good to be true")
        return -50.0 if how == "stopped" else math.nan

    run = driven("freeze_thaw + threshold(lower=-1)", 14, workers, curve)
    assert states(run)[State.FAILED if how == "failed" else State.STOPPED]
    assert states(run)[State.COMPLETED] and states(run)[State.PAUSED]


def test_where_patience_ends_the_best_another_is_trained() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        return bowl(config, min(step, 12) if config["x"] < 0.6 else step)

    run = driven("freeze_thaw + patience(n=4)", 14, curve=curve)
    assert states(run)[State.STOPPED]
    assert states(run)[State.COMPLETED] == 1


def test_what_breaks_a_constraint_is_trained_where_there_is_nothing_else() -> None:
    def curve(config: Mapping[str, Any], step: float) -> Mapping[str, float]:
        return {"loss": bowl(config, step), "ms": 20 + config["x"]}

    run = driven("freeze_thaw", 8, curve=curve, objective={"loss": "minimize"}, constraints=["ms <= 10"])
    assert states(run)[State.COMPLETED] == 1


def test_what_meets_the_constraints_is_trained_first() -> None:
    def curve(config: Mapping[str, Any], step: float) -> Mapping[str, float]:
        return {"loss": bowl(config, step), "ms": 20 - 20 * config["x"]}

    run = driven("freeze_thaw", 10, curve=curve, objective={"loss": "minimize"}, constraints=["ms <= 10"])
    assert run.study.best_config["x"] >= 0.5


def test_where_all_have_ended_early_a_new_one_is_trained() -> None:
    n_steps, begun = count(1), dict[float, bool]()

    def curve(config: Mapping[str, Any], step: float) -> float:
        is_good = begun.setdefault(config["x"], next(n_steps) > 63)  # when it is time to finish
        return bowl(config, step) if is_good or step <= 3 else 50.0

    run = driven("freeze_thaw(budget=101) + threshold(upper=40)", 1000, curve=curve)
    assert states(run)[State.STOPPED] > 5
    assert states(run)[State.COMPLETED] == 1 and not states(run)[State.PAUSED]
    assert run.trials[-1].state is State.COMPLETED and run.cost[run.trials[-1].number] == 27
    assert costs(run.cost) <= 101


def test_new_ones_are_trained_to_the_end_one_after_the_other() -> None:
    way = "freeze_thaw(budget=140) + threshold(upper=40)"
    run = driven(way, 1000, 3, lambda config, step: bowl(config, step) if step <= 3 else 50.0)
    whole = [history for history, one in run.watched.assigned if isinstance(one, New) and one.budget == 27]
    assert whole and not any(history.active for history in whole)
    assert states(run) == {State.STOPPED: len(run.trials)}
    assert 140 - 27 < costs(run.cost) <= 140


# ---- what counts of a budget
@pytest.mark.parametrize("workers", [1, 3])
def test_what_stopped_trials_were_trained_beyond_a_level_counts(workers: int) -> None:
    run = driven(
        "freeze_thaw(budget=150) + threshold(lower=-1)",
        1000,
        workers,
        lambda config, step: -50.0 if config["x"] < 0.6 and step > 20 else bowl(config, step),
    )
    assert sum(run.cost[trial.number] == 21 for trial in run.trials if trial.state is State.STOPPED) > 1
    assert 150 - 27 < costs(run.cost) <= 150


def test_added_trials_cost_nothing_and_enqueued_ones_do() -> None:
    def before(study: whet.Study) -> None:
        study.add_trials([({"x": i / 10}, bowl({"x": i / 10}, 27)) for i in range(10)])
        study.enqueue({"x": 0.55})

    run = driven("freeze_thaw(budget=81)", 1000, curve=bowl, before=before)
    assert 81 - 27 <= costs(run.cost) <= 81
    assert [run.cost[trial.number] for trial in run.trials if trial.given == "enqueued"] == [27]


def test_what_fails_without_a_report_uses_up_a_budget_all_the_same() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        raise ArithmeticError("no luck")

    run = driven("freeze_thaw(budget=60)", 1000, curve=curve)
    assert 60 - 27 < sum(trial.budget or 0 for trial in run.trials) <= 60
