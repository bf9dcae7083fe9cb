"""Bayesian optimisation as a sampler: the contract, its options, what it says of its suggestions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whet.core.problem import Constraint, Direction
from whet.core.protocols import Sampler, Suggestion
from whet.core.trial import State
from whet.errors import SearchExhausted, UsageError
from whet.samplers.gp import GP
from whet.space.domain import Categorical, Constant, Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import (
    ask,
    exhausted,
    explored,
    history_of,
    measured,
    members_of,
    played,
    problem_of,
    text_of,
    told,
)
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FINITE, FiniteSpaceContract

SQUARE = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
NUMBERS = {"mean", "std", "score"}


class TestContract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    def make(self) -> Sampler:
        return GP()

    def supports(self, space: Space) -> bool:
        return space.is_encodable


# ---- options
@pytest.mark.parametrize("option", [0, -1, 2.5, True, "5", None])
def test_the_length_of_the_start_is_a_whole_number_from_1_on(option: Any) -> None:
    with pytest.raises(UsageError, match=r"n_start.*got"):
        GP(n_start=option)


@pytest.mark.parametrize("option", ["LogEI", "", "random", None, ("ei",)])
def test_an_unknown_acquisition_is_refused_and_all_are_named(option: Any) -> None:
    with pytest.raises(UsageError, match="logei, ei, pi, ucb, ts"):
        GP(acquisition=option)


@pytest.mark.parametrize("acquisition", ["logei", "ei", "pi", "ucb", "ts"])
def test_each_acquisition_suggests_something_of_its_own_kind(acquisition: Any) -> None:
    history = explored(history_of(SQUARE, seed=3), 12, lambda i, config: measured(SQUARE, config))
    (suggestion,) = ask(GP(acquisition=acquisition), history, [12])
    assert suggestion.why["acquisition"] == acquisition
    others = {other: ask(GP(acquisition=other), history, [12])[0].config for other in ("logei", "ucb", "ts")}  # type: ignore[arg-type]
    others.pop(acquisition, None)
    assert suggestion.config not in others.values()


# ---- what is said
def test_why_names_the_source_and_what_was_believed() -> None:
    suggestions, _ = played(GP(n_start=4), history_of(SQUARE), 8)
    assert [s.why["source"] for s in suggestions] == ["start"] * 4 + ["gp"] * 4
    for suggestion in suggestions[4:]:
        assert set(suggestion.why) == {"source", "acquisition", *NUMBERS}
        assert all(suggestion.why[name] == float(f"{suggestion.why[name]:.6g}") for name in NUMBERS)
        assert suggestion.why["std"] > 0


def test_where_trials_fail_or_break_constraints_why_says_how_likely_that_is_not() -> None:
    def met(_: int, config: Any) -> Any:
        return {"y": -config["a"], "c": config["a"]}

    history = explored(history_of(SQUARE), 12, lambda i, config: State.FAILED if config["a"] > 0.6 else -config["a"])
    assert 0 < ask(GP(), history, [12])[0].why["p_well"] < 1
    history = explored(history_of(problem_of(SQUARE, constraints=[Constraint("c", "<=", 5e9)], name="y")), 12, met)
    assert ask(GP(), history, [12])[0].why["p_well"] == 1  # rounded
    problem = problem_of(SQUARE, constraints=[Constraint("c", "<=", 0.5)], name="y")
    history = explored(history_of(problem), 12, lambda i, config: {"y": -config["a"], "c": config["a"] ** 2})
    assert 0 < ask(GP(), history, [12])[0].why["p_well"] < 1


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_means_are_in_the_units_of_the_user(direction: Direction) -> None:
    """And with the sign of the user's: what is predicted is what comes of it, within what the model doubts."""
    sign = 1 if direction == "minimize" else -1

    def outcome(_: int, config: Any) -> float:
        return 5000.0 + sign * 100 * ((config["a"] - 0.6) ** 2 + (config["b"] - 0.3) ** 2)

    history = explored(history_of(problem_of(SQUARE, direction), seed=1), 25, outcome)
    suggestions = ask(GP(), history, [25, 26])
    for suggestion in suggestions:
        assert abs(suggestion.why["mean"] - outcome(0, suggestion.config)) < 4 * suggestion.why["std"] + 0.5
    assert abs(suggestions[0].why["mean"] - 5000) < 2  # it is to be a good one


# ---- what is searched
def test_a_mixed_conditional_space_is_searched_better_than_by_an_even_design() -> None:
    space = Space(
        {
            "kind": Categorical(["tree", "net", "line"]),
            "lr": Float(1e-4, 1.0, log=True, when={"kind": "net"}),
            "depth": Int(1, 12, when={"kind": "tree"}),
            "c": Float(-1.0, 1.0),
        }
    )

    def outcome(_: int, config: Any) -> float:
        if config["kind"] == "net":
            return (np.log10(config["lr"]) + 2.0) ** 2 + config["c"] ** 2
        return 1.0 + config["c"] ** 2 + (0.1 * abs(config["depth"] - 7) if config["kind"] == "tree" else 0.5)

    suggestions, _ = played(GP(), history_of(space, seed=2), 26, outcome)
    best = min(outcome(0, s.config) for s in suggestions)
    assert best < 0.01
    assert suggestions[-1].config["kind"] == "net"


@pytest.mark.parametrize("batch", [1, 4])
def test_a_finite_space_is_walked_once(batch: int) -> None:
    """By the model to its end, of which the start takes no more than it should; some trials fail."""
    space = FINITE["a condition"]()
    configs = exhausted(
        GP(n_start=3), history_of(space), batch, lambda i, config: (float(i % 3), State.FAILED)[i % 4 == 3]
    )
    assert sorted(map(text_of, configs)) == sorted(members_of(space))


@pytest.mark.parametrize("names", ["ab", "abcdef"])
def test_where_trials_fail_is_avoided(names: str) -> None:
    """The values get better up to the border of where all fails, and the model of them is drawn beyond."""
    space = Space({name: Float(0.0, 1.0) for name in names})

    def outcome(_: int, config: Any) -> Any:
        return State.FAILED if config["a"] > 0.5 else (config["b"] - 0.3) ** 2 - config["a"]

    suggestions, _ = played(GP(), history_of(space, seed=3), 40, outcome)
    configs = [s.config for s in suggestions]
    assert np.mean([config["a"] > 0.6 for config in configs[20:]]) <= 0.15
    assert min(outcome(0, config) for config in configs if config["a"] <= 0.5) < -0.47


def test_the_start_lasts_until_two_trials_have_a_value() -> None:
    def outcome(number: int, config: Any) -> Any:
        return measured(SQUARE, config) if number in (7, 9) else State.FAILED

    suggestions, _ = played(GP(n_start=3), history_of(SQUARE), 12, outcome)
    assert [s.why["source"] for s in suggestions] == ["start"] * 10 + ["gp"] * 2


def test_two_values_of_the_one_point_there_is() -> None:
    """As people give them: a space of which nothing varies has no more."""
    space = Space({"a": Constant(3)})
    history = told(history_of(space), [(0, Suggestion({"a": 3}), 1.0), (1, Suggestion({"a": 3}), 2.0)])
    with pytest.raises(SearchExhausted):
        ask(GP(n_start=1), history, [2])
