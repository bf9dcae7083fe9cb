"""The tree-structured Parzen estimator as a sampler: the contract, options, constraints, failures, parallel trials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whet.core.problem import BARE, Constraint, Fidelity, Objective, Problem
from whet.core.protocols import Sampler, Suggestion
from whet.core.trial import State
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.known import Known, Partial, Taken, known_of
from whet.samplers.tpe import TPE, ranking
from whet.space.domain import Categorical, Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import (
    ask,
    asked,
    ended,
    explored,
    history_of,
    measured,
    played,
    problem_of,
    reported,
)
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FiniteSpaceContract


class TestContract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    ranks = True

    def make(self) -> Sampler:
        return TPE()

    def supports(self, space: Space) -> bool:
        return space.is_encodable


SQUARE = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})


def known(y: list[float], excess: list[list[float]] | None = None) -> Known:
    n = len(y)
    at = np.linspace(0.0, 1.0, n)[:, None]
    return Known(at, np.array(y), np.array(excess or np.empty((n, 0))), np.empty((0, 1)), Taken())


# ---- what is good
def test_the_lowest_value_comes_first_and_failures_are_left_out() -> None:
    assert ranking(known([3.0, np.nan, 1.0, 2.0, 1.0, -np.inf])).tolist() == [5, 2, 4, 3, 0]


def test_what_breaks_constraints_comes_after_what_meets_them() -> None:
    excess = [[0.5, -1.0], [0.0, -9.0], [0.1, -1.0], [0.1, 3.0], [-2.0, np.nan]]
    assert ranking(known([1.0, 9.0, 2.0, 0.0, 0.0], excess)).tolist() == [1, 2, 3, 4, 0]


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_a_constraint_does_not_matter(unit: float) -> None:
    excess = [[0.5, 7.0], [0.25, 9.0], [-1.0, 2.0], [1e-3, 8.0]]
    plain = ranking(known([1.0, 2.0, 3.0, 4.0], excess))
    assert ranking(known([1.0, 2.0, 3.0, 4.0], [[first * unit, second] for first, second in excess])).tolist() == (
        plain.tolist()
    )


def test_a_search_keeps_to_what_is_allowed() -> None:
    """The objective pulls to a = 0; the constraint allows a >= 0.6 only."""
    problem = problem_of(SQUARE, constraints=[Constraint("c", "<=", 0.0)], name="y")

    def outcome(_: int, config: Any) -> dict[str, float]:
        return {"y": config["a"] + (config["b"] - 0.5) ** 2, "c": 0.6 - config["a"]}

    suggestions, _ = played(TPE(), history_of(problem, seed=2), 60, outcome)
    late = np.array([[s.config["a"], s.config["b"]] for s in suggestions[30:]])
    assert np.mean((late[:, 0] > 0.5) & (late[:, 0] < 0.8)) > 0.7


def test_where_trials_fail_is_avoided() -> None:
    """Half of the square fails, and the better the other half gets the nearer to it: the border is all that is met."""
    suggestions, _ = played(
        TPE(), history_of(SQUARE, seed=3), 60, lambda _, config: State.FAILED if config["a"] > 0.5 else -config["a"]
    )
    late = [s.config["a"] for s in suggestions[30:]]
    assert np.mean([a > 0.75 for a in late]) < 0.1
    assert max(a for a in late if a <= 0.5) > 0.48


# ---- trials that are known in part
LINE = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
IN_PART = Problem(LINE, (Objective(BARE),), (), Fidelity("epochs", 1, 9))


def test_who_is_furthest_ahead_where_it_got_to_comes_first() -> None:
    ahead, behind = np.array([0.5, 0.1, np.nan, 0.5, 0.3]), np.array([0, 1, 0, 2, 2])
    partial = Partial(np.arange(5), behind, ahead, np.zeros(5, dtype=bool), np.empty(0), np.empty((5, 0)))
    some = known([1.0, 7.0, np.nan, 0.0, 3.0])
    assert ranking(replace(some, partial=partial)).tolist() == [1, 4, 0, 3]


def halved(low: Any, high: Any, seed: int) -> Any:
    """Return the history after 27 configs at one epoch, of which the best nine went on to nine, and nine more there.

    *low* and *high* say what a config comes to.
    """
    rng, history = np.random.default_rng(seed), history_of(IN_PART, seed=seed)
    configs = [LINE.sample(rng) for _ in range(36)]
    for number, config in enumerate(configs):
        history = asked(history, number, Suggestion(config))
    best = sorted(range(27), key=lambda number: low(configs[number]))[:9]
    for number in range(27):
        history = reported(history, number, {1: low(configs[number])})
        if number not in best:
            history = ended(history, number, State.STOPPED)
    for number in (*best, *range(27, 36)):
        history = ended(history, number, high(configs[number]))
    return history


@pytest.mark.parametrize("misleads", [False, True])
def test_low_fidelities_count_only_as_far_as_the_highest_agrees(misleads: bool) -> None:
    """The best is at a = 0.2; where one epoch misleads it says 0.9."""

    def high(config: Any) -> float:
        return float((config["a"] - 0.2) ** 2)

    def low(config: Any) -> float:
        return float((config["a"] - 0.9) ** 2) if misleads else high(config) + 1.0

    found = [s.config["a"] for seed in range(6) for s in ask(TPE(), halved(low, high, seed), range(36, 44))]
    assert np.median(np.abs(np.array(found) - 0.2)) < (0.25 if misleads else 0.15)


def test_stopped_trials_are_enough_for_a_model() -> None:
    history = history_of(IN_PART, seed=1)
    for number in range(30):
        (suggestion,) = ask(TPE(), history, [number])
        assert suggestion.why["source"] == ("start" if number < 6 else "tpe")
        history = reported(asked(history, number, suggestion), number, {1: (suggestion.config["a"] - 0.3) ** 2})
        history = ended(history, number, (State.STOPPED, State.PAUSED, State.RUNNING)[number % 3])
    assert abs(np.median([s.config["a"] for s in ask(TPE(), history, range(30, 46))]) - 0.3) < 0.15


# ---- branches and categories
LR = Float(1e-5, 1e-1, log=True)
BRANCHES = Space(
    {
        "opt": Categorical(["sgd", "adam"]),
        "mom": Float(0.0, 1.0, when={"opt": "sgd"}),
        "b2": Float(0.9, 0.999, when={"opt": "adam"}),
        "lr": LR,
    }
)
LISTS = Space({"lr": LR, "opt": Categorical(["a", "b", "c", "sgd"]), "bs": Categorical([16, 32, 64, 128, 256])})


def in_branches(config: Any) -> float:
    """Adam comes to 0.5 at once, sgd to less once the rest fits."""
    own = abs(config["mom"] - 0.9) if config["opt"] == "sgd" else 0.5 + abs(config["b2"] - 0.99)
    return float((np.log10(config["lr"]) + 3) ** 2 + own)


def in_lists(config: Any) -> float:
    return float((np.log10(config["lr"]) + 3) ** 2 + (config["opt"] != "sgd") - config["bs"] / 64)


def bests(space: Space, loss: Any, n: int) -> list[float]:
    found = []
    for seed in range(8):
        suggestions, _ = played(TPE(), history_of(space, seed=seed), n, lambda _, config: loss(config))
        found.append(min(loss(s.config) for s in suggestions))
    return found


def test_a_search_leaves_the_branch_where_it_first_did_well() -> None:
    """Random search comes to 0.17 on average, and one that stays with adam to 0.5."""
    found = bests(BRANCHES, in_branches, 40)
    assert max(found) < 0.3
    assert np.mean(found) < 0.08


def test_a_search_leaves_the_values_where_it_first_did_well() -> None:
    """Random search comes to -3.5 on average, and one that stays with any other value than sgd to -3."""
    assert max(bests(LISTS, in_lists, 50)) < -3.9


# ---- trials side by side
def test_pending_trials_are_kept_away_from() -> None:
    """Sixteen at once lie further apart than sixteen that do not know of each other."""
    history = explored(history_of(SQUARE, seed=4), 60, lambda _, config: measured(SQUARE, config))
    together = ask(TPE(), history, range(60, 76))
    alone = [ask(TPE(), history, [number])[0] for number in range(60, 76)]

    def spread(suggestions: list[Suggestion]) -> float:
        at = np.array([[s.config["a"], s.config["b"]] for s in suggestions])
        return float(np.median(np.linalg.norm(at[:, None] - at[None], axis=-1)))

    assert spread(together) > 1.2 * spread(alone)


# ---- what is said
def test_why_names_the_source_and_a_few_numbers() -> None:
    suggestions, _ = played(TPE(n_start=4), history_of(SQUARE), 10)
    assert [s.why["source"] for s in suggestions] == ["start"] * 4 + ["tpe"] * 6
    why = suggestions[-1].why
    assert (why["n_good"], why["n_bad"]) == (2, 7)
    assert why["score"] == float(f"{why['score']:.6g}")


def test_a_small_table_gets_what_is_new_by_the_model() -> None:
    """While configs are left the model chooses among them, however many are taken."""
    space = Space({"a": Int(0, 19), "b": Categorical(["u", "v"])})
    suggestions, _ = played(TPE(), history_of(space, seed=1), 40)
    assert len(suggestions) == 40
    assert [s.why["source"] for s in suggestions].count("rest") <= 2


# ---- options
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_start", 0),
        ("n_start", 2.5),
        ("n_start", True),
        ("n_candidates", 0),
        ("n_candidates", "many"),
        ("gamma", 0.0),
        ("gamma", 1),
        ("gamma", float("nan")),
        ("gamma", None),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=option):
        TPE(**{option: value})


def test_the_start_lasts_until_two_trials_have_a_value() -> None:
    def outcome(number: int, config: Any) -> Any:
        return measured(SQUARE, config) if number in (9, 12) else State.FAILED

    suggestions, _ = played(TPE(n_start=5), history_of(SQUARE), 15, outcome)
    assert [s.why["source"] for s in suggestions] == ["start"] * 13 + ["tpe"] * 2


def test_cancelled_configs_do_not_come_again() -> None:
    space = Space({"a": Int(0, 9)})
    suggestions, history = played(TPE(n_start=2), history_of(space), 5, lambda _, config: State.CANCELLED)
    assert known_of(history, Codec(space)).n_configs == 0
    rest, _ = played(TPE(n_start=2), history, 10)
    assert sorted(s.config["a"] for s in [*suggestions, *rest]) == [*range(10)]
