"""Hyperband: the brackets of the paper in turn, beside each other where there are more slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

import whet
from tests.schedulers.driving import at_level, driven, falling, resumes
from whet.algorithms.brackets import Rung, bracket, levels
from whet.core.history import History
from whet.core.trial import State
from whet.errors import UsageError
from whet.schedulers.hyperband import Hyperband

LEVELS = levels(1, 27, 3, is_integer=True)
PLANS = [bracket(s, LEVELS, 3) for s in (3, 2, 1, 0)]
PASS = sum(plan[0].n for plan in PLANS)  # configs in all brackets: 27 + 12 + 6 + 4


def expected(n: int) -> dict[int, Counter[float]]:
    """Return how far the trials of the first *n* brackets go."""
    found = {}
    for b in range(n):
        plan = PLANS[b % 4]
        left = [rung.n for rung in plan[1:]] + [0]
        found[b] = Counter({rung.budget: rung.n - after for rung, after in zip(plan, left, strict=True)})
    return found


def cost_of(plan: list[tuple[int, float]]) -> float:
    return sum(n * budget for n, budget in plan)


@pytest.mark.parametrize("workers", [1, 4, 20])
def test_a_pass_is_algorithm_1(workers: int) -> None:
    run = driven("hyperband", PASS + 27, workers)
    for b, counted in expected(5).items():
        assert Counter(trial.budget for trial in run.of(b)) == {k: n for k, n in counted.items() if n}, b
    assert run.waited == 0
    exact = sum(n * budget for counted in expected(5).values() for budget, n in counted.items())
    assert sum(run.cost.values()) == exact
    assert max(trial.bracket or 0 for trial in run.trials) == 4


def test_with_one_worker_a_bracket_ends_before_the_next_one_begins() -> None:
    run = driven("hyperband", PASS)
    ends = [max(trial.ended_at or 0.0 for trial in run.of(b)) for b in range(4)]
    begins = [min(trial.asked_at or 0.0 for trial in run.of(b)) for b in range(4)]
    assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))


@pytest.mark.parametrize("workers", [1, 7])
def test_who_goes_on_was_among_the_best_third_of_a_full_rung(workers: int) -> None:
    run = driven("hyperband", PASS, workers)
    n = 0
    for history, one in resumes(run):
        trial = history.unfinished[one.number]
        assert trial.bracket is not None and trial.budget is not None
        plan = {rung.budget: rung.n for rung in PLANS[trial.bracket]}
        known = at_level(history, trial.bracket, trial.budget)
        assert len(known) == plan[trial.budget], "the rung is full"
        assert [number for _, number in known].index(one.number) < plan[one.budget]
        n += 1
    assert n == (9 + 3 + 1) + (4 + 1) + 2


def test_no_rung_is_above_its_quota_at_any_time() -> None:
    run = driven("hyperband", PASS + 10, 9)
    for history, _ in run.watched.assigned:
        trials = [*history.finished, *history.unfinished.values()]
        for b in {trial.bracket for trial in trials if trial.bracket is not None}:
            for rung in PLANS[b % 4]:
                assert sum(t.bracket == b and (t.budget or 0) >= rung.budget for t in trials) <= rung.n


def test_rounds_in_which_nothing_has_changed_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    original = Hyperband.planned

    def planned(self: Hyperband, number: int, budgets: tuple[float, ...]) -> tuple[Rung, ...]:
        looked.append(number)
        return original(self, number, budgets)

    monkeypatch.setattr(Hyperband, "planned", planned)
    histories = [history for history, _ in driven("hyperband", 5 * PASS, 40, fresh_every=1000).watched.assigned]

    def n_open(history: History) -> int:
        return len({trial.bracket for trial in history.unfinished.values() if not trial.is_reserved})

    history = max(histories, key=n_open)
    assert n_open(history) > 6
    scheduler = Hyperband()
    n_looked = []
    for _ in range(2):
        looked.clear()
        scheduler.assign(history, 1, 1)
        n_looked.append(len(set(looked)))
    assert n_looked[0] > 6 and n_looked[1] <= 2, "those that begin"


def test_budgets_add_up_to_those_of_the_paper() -> None:
    """Without what is kept from level to level, a bracket costs no more than (s_max + 1) R but for rounding."""
    for plan in PLANS:
        cost = cost_of([(rung.n, rung.budget) for rung in plan])
        assert 0.7 * 4 * 27 <= cost <= 1.1 * 4 * 27


@pytest.mark.parametrize("n_trials", [1, 3, 30, 41])
def test_a_search_that_is_cut_off_ends_with_a_trial_trained_to_the_end(n_trials: int) -> None:
    run = driven("hyperband", n_trials, 3)
    assert len(run.trials) == n_trials
    assert run.study.best.budget == 27
    assert {trial.state for trial in run.trials} <= {State.COMPLETED, State.STOPPED}


def test_failing_trials_hold_up_nothing() -> None:
    def curve(config: Mapping[str, Any], step: float) -> float:
        if int(1000 * config["x"]) % 3 == 0 and step >= 1 + 20 * config["x"]:
            raise ArithmeticError("now and then")
        return falling(config, step)

    run = driven("hyperband", PASS, 5, curve)
    assert run.waited == 0
    states = Counter(trial.state for trial in run.trials)
    assert states[State.FAILED] > 5 and not states[State.PAUSED]


def test_a_finite_space_is_exhausted() -> None:
    run = driven("hyperband", 1_000, 4, space={"x": [i / 40 for i in range(41)]})
    assert len(run.trials) == 41 and {t.state for t in run.trials} <= {State.COMPLETED, State.STOPPED}


def test_it_works_on_fractions() -> None:
    study = whet.Study(
        {"x": whet.Float(0, 1)}, fidelity={"subset": (0.1, 1.0)}, scheduler="hyperband", sampler="random"
    )
    trials = study.ask(9)
    assert {trial.budget for trial in trials} == {1 / 9}
    for trial in trials:
        study.tell(trial, trial.number / 10)
    assert (
        study.trials[8].message
        == "9th of 9 at subset 0.1111 so far; the best 3 go on once 9 are there, or one in 3 where fewer come"
    )
    again = study.ask(3)
    assert [(trial.number, trial.budget) for trial in again] == [(0, 1 / 3), (1, 1 / 3), (2, 1 / 3)]
    assert study.trials[8].message == "9th of 9 at subset 0.1111, the best 3 go on"


def test_eta_out_of_range() -> None:
    with pytest.raises(UsageError, match="eta must be a number of at least 2"):
        Hyperband(eta=1)
    with pytest.raises(UsageError, match="hyperband needs an objective"):
        whet.Study({"x": whet.Float(0, 1)}, objective=[], scheduler="hyperband", fidelity={"epochs": (1, 9)})
