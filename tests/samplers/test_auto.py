"""The default strategy: the contract, what it chooses when, that a finite space is walked once across its choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whet.core.history import History
from whet.core.problem import BARE, Fidelity, Objective, Problem
from whet.core.protocols import Sampler
from whet.core.trial import State
from whet.samplers import choosing
from whet.samplers.auto import Auto
from whet.samplers.choosing import Facts, chosen, facts_of
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random
from whet.samplers.tpe import TPE
from whet.space.distributions import ScipyRv
from whet.space.domain import (
    Categorical,
    Constant,
    Distribution,
    Domain,
    Float,
    Int,
    Normal,
    NumpyDistribution,
    Ordinal,
)
from whet.space.space import Space
from whet.testing.sampler_histories import (
    ask,
    check,
    ended,
    explored,
    given,
    history_of,
    measured,
    members_of,
    played,
    problem_of,
    reloaded,
    reported,
    text_of,
)
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FINITE, FiniteSpaceContract


@pytest.mark.slow  # nearly all of it is what `GP` shows
class TestContract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    def make(self) -> Sampler:
        return Auto()


def with_limits(history: History, **limits: Any) -> History:
    """Return *history* with other limits in the settings of its study."""
    return replace(history, settings={**history.settings, "limits": limits})


def name_for(**facts: Any) -> str:
    return chosen(Facts(**facts)).name


# ---- the tree
@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "gp"),
        ({"n_objectives": 0}, "quasi_random"),
        ({"n_objectives": 2}, "quasi_random"),
        ({"n_objectives": 0, "n_parameters": 30_000}, "random"),
        ({"unmapped": "g"}, "random"),
        ({"unmapped": "g", "n_objectives": 0}, "random"),
        ({"n_points": 30, "budget": 30}, "walk"),
        ({"n_points": 30, "budget": 29}, "gp"),
        ({"n_points": 30}, "gp"),
        ({"n_points": 0, "budget": 1}, "walk"),
        ({"n_axes": 0}, "gp"),
        ({"n_axes": 14, "is_continuous": False, "n_valued": 60}, "gp"),
        ({"n_axes": 1_000}, "tpe"),
        ({"n_axes": 2, "most_categories": 10_000}, "tpe"),
        ({"n_axes": 5, "n_valued": 5_000}, "cmaes"),
        ({"n_axes": 5, "n_valued": 5_000, "n_failed": 5_000}, "tpe"),
        ({"n_axes": 5, "n_valued": 400, "n_failed": 180}, "gp"),
        ({"n_axes": 5, "n_valued": 400, "n_failed": 170}, "cmaes"),
        ({"n_axes": 5, "n_valued": 5_000, "is_continuous": False}, "tpe"),
        ({"n_axes": 1, "n_valued": 5_000}, "tpe"),
        ({"n_axes": 90, "n_valued": 5_000}, "tpe"),
        ({"n_axes": 5, "n_valued": 5_000, "budget": 10_000}, "cmaes"),
        ({"n_axes": 5, "n_valued": 5, "budget": 10_000}, "gp"),
        ({"n_axes": 5, "n_valued": 99}, "gp"),
        ({"n_axes": 5, "n_valued": 100}, "cmaes"),
        ({"n_axes": 5, "n_valued": 149, "budget": 150}, "gp"),
        ({"n_axes": 5, "n_valued": 100, "budget": 151}, "cmaes"),
        ({"n_axes": 5, "n_valued": 499, "is_continuous": False}, "gp"),
        ({"n_axes": 5, "n_valued": 740, "is_continuous": False, "budget": 750}, "gp"),
        ({"n_axes": 5, "n_valued": 500, "is_continuous": False, "budget": 751}, "tpe"),
        ({"n_axes": 5, "n_valued": 100, "n_partial": 399, "is_continuous": False}, "gp"),
        ({"n_axes": 5, "n_valued": 100, "n_partial": 400, "is_continuous": False}, "tpe"),
        ({"n_axes": 5, "n_partial": 100}, "cmaes"),
        ({"n_axes": 5, "n_valued": 10, "n_partial": 90, "n_failed": 50}, "gp"),
    ],
)
def test_what_suits(facts: dict[str, Any], name: str) -> None:
    assert name_for(**facts) == name


def test_facts_of_a_study() -> None:
    space = Space(
        {
            "opt": Categorical(["adam", "sgd", "lion"]),
            "momentum": Float(0.0, 1.0, when={"opt": "sgd"}),
            "width": Ordinal([64, 128, 256]),
            "heads": Ordinal([1, 2, 4]),
            "fixed": Constant(3),
            "only": Categorical(["x"]),
        },
        zips=[["width", "heads"]],
    )
    outcomes: list[float | State] = [1.0, 2.0, State.FAILED, State.CANCELLED, State.RUNNING]
    history = explored(history_of(space), 5, lambda number, config: outcomes[number])
    expected = Facts(1, None, 6, 3, 3, False, None, None, 2, 1)
    assert facts_of(history) == expected
    assert facts_of(with_limits(history, n_trials=40)) == replace(expected, budget=40)
    for other in ({"timeout_s": 60.0}, {"target": 0.1}):  # that may end it long before
        assert facts_of(with_limits(history, n_trials=40, **other)).budget is None


def test_repeats_count_as_one_config() -> None:
    space = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    history = explored(history_of(space, repeats=3), 4, lambda number, config: 1.0 if number else State.FAILED)
    found = facts_of(with_limits(history, n_trials=40))
    assert (found.n_valued, found.n_failed, found.budget) == (3, 1, 40)
    assert found.is_continuous


@pytest.mark.parametrize(
    ("domain", "is_continuous"),
    [
        (Float(0.0, 1.0), True),
        (Normal(0.0, 1.0), True),
        (Distribution(ScipyRv("gamma", (2.0,))), True),
        (Normal(0.0, 1.0, step=0.5), False),
        (Distribution(ScipyRv("poisson", (5.0,))), False),
    ],
    ids=str,
)
def test_an_endless_list_is_no_continuum(domain: Domain, is_continuous: bool) -> None:
    assert facts_of(history_of(Space({"a": Float(0.0, 1.0), "b": domain}))).is_continuous is is_continuous


# ---- where there is nothing to learn from
@pytest.mark.parametrize("objectives", [(), (Objective("a"), Objective("b"))], ids=["none", "two"])
def test_without_one_objective_the_space_is_covered(objectives: tuple[Objective, ...]) -> None:
    for space in (Space({"a": Float(0.0, 1.0), "b": Int(1, 9)}), FINITE["a product"]()):
        history = history_of(Problem(space, objectives))
        assert ask(Auto(), history, range(20)) == ask(QuasiRandom(), history, range(20))


def test_what_can_only_be_sampled_is() -> None:
    history = history_of(Space({"g": NumpyDistribution("gamma", (2.0,)), "a": Float(0.0, 1.0)}))
    assert ask(Auto(), history, range(20)) == ask(Random(), history, range(20))


# ---- where all can be tried
@pytest.mark.parametrize("name", [*FINITE])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_space_that_the_trials_suffice_for_is_walked_once(name: str, batch: int) -> None:
    space = FINITE[name]()
    history = with_limits(history_of(space, seed=1), n_trials=space.size)
    suggestions, _ = played(Auto(), history, 1_000, batch=batch)
    assert sorted(text_of(s.config) for s in suggestions) == sorted(members_of(space))
    assert {s.why["source"] for s in suggestions} == {"random"}


def test_its_order_is_that_of_random_search() -> None:
    history = with_limits(history_of(FINITE["a product"](), seed=3), n_trials=30)
    assert ask(Auto(), history, range(30)) == ask(Random(), history, range(30))


@pytest.mark.parametrize("name", ["a product", "a condition", "a forbidden half"])
def test_a_finite_space_is_walked_once_whatever_the_choices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits are changed, and so many trials known that another sampler takes over; people give some configs."""
    monkeypatch.setattr(choosing, "_WORTH_A_MODEL", 5)
    space = FINITE[name]()
    n, live, found = len(members_of(space)), Auto(), list[str]()
    history = history_of(space, seed=2)
    first = space.sample(np.random.default_rng(0))
    history = given(history, 0, first, 1.0)
    for limits in ({"n_trials": 6}, {}, {"n_trials": 1000}, {"n_trials": 7}, {}, {"n_trials": 1000}):
        history = with_limits(history, **limits)
        assert ask(Auto(), reloaded(history), [history.n_numbers]) == ask(live, history, [history.n_numbers])
        suggestions, history = played(live, history, 2)
        found += [text_of(s.config) for s in suggestions]
    suggestions, history = played(live, history, 1000)
    found += [text_of(s.config) for s in suggestions]
    assert sorted([text_of(first), *found]) == sorted(members_of(space))
    assert len(found) == n - 1


# ---- it changes its mind
@pytest.mark.parametrize(
    ("space", "then"),
    [
        (Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)}), "cmaes"),
        (Space({"a": Float(0.0, 1.0), "b": Categorical(["u", "v"])}), "tpe"),
    ],
    ids=["numbers", "mixed"],
)
def test_others_take_over_when_there_are_many_trials(space: Space, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "_WORTH_A_MODEL", 16)
    monkeypatch.setattr(choosing, "_WORTH_BESIDE_CMAES", 16)
    history, live, lines = history_of(space, seed=4), Auto(), list[str]()
    sources = list[str]()
    for _ in range(22):
        lines.append(live.explain(history).partition("\n")[0])
        assert ask(live, history, [history.n_numbers]) == ask(Auto(), reloaded(history), [history.n_numbers])
        suggestions, history = played(live, history, 1)
        check(space, suggestions)
        sources.append(suggestions[0].why["source"])
    assert set(sources[:16]) == {"start", "gp"}
    assert set(sources[16:]) == {then}
    assert len(set(lines[:16])) == len(set(lines[16:])) == 1
    assert lines[0].startswith("gp, ")
    assert lines[-1].startswith(f"{then} ")


def test_trials_that_fail_count() -> None:
    def outcome(number: int, config: Mapping[str, Any]) -> float | State:
        return State.FAILED if number % 2 else measured(space, config)

    space = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    history = explored(history_of(space), 1_200, outcome)
    assert chosen(facts_of(history)).name == "tpe"
    assert "600 failed" in Auto().explain(history)
    assert ask(Auto(), history, [1_200])[0].why["source"] == "tpe"


def test_trials_that_are_known_in_part_count() -> None:
    """Stopped, paused and running ones with a report do, and those that wait or have not reported do not."""
    space = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
    for fidelity, n_partial in ((Fidelity("epochs", 1, 9), 3), (None, 0)):
        problem = Problem(space, (Objective(BARE),), (), fidelity)
        history = explored(history_of(problem), 6, lambda number, _: 1.0 if number == 5 else State.WAITING)
        for number in range(3):
            history = reported(history, number, {1: 0.5})
        history = ended(ended(ended(history, 0, State.STOPPED), 1, State.PAUSED), 3, State.RUNNING)
        facts = facts_of(history)
        assert (facts.n_valued, facts.n_partial, facts.n_known) == (1, n_partial, 1 + n_partial)
        said = Auto().explain(history)
        assert "1 config with a value" in said
        assert ("3 configs more that did not go all the way count as well." in said) is bool(n_partial)
        if fidelity is not None:
            assert "1 config with a value, 3 in part." in TPE(n_start=1).explain(history)


# ---- what it says
@pytest.mark.parametrize(
    ("history", "parts"),
    [
        (history_of(Space({"a": Float(0.0, 1.0), "b": Int(0, 9)})), ["gp, ", "2 parameters", "0 configs", "tpe"]),
        (history_of(Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})), ["gp, ", "From 100 configs", "cmaes"]),
        (
            with_limits(history_of(Space({"a": Float(0.0, 1.0)})), n_trials=60),
            ["gp, ", "1 parameter)", "60 trials", "to the end"],
        ),
        (with_limits(history_of(Space({"a": Int(0, 9)})), n_trials=10), ["all configs", "10 trials", "fewer"]),
        (history_of(problem_of(Space({f"p{i}": Int(0, 9) for i in range(200)}))), ["tpe, ", "200 parameters"]),
        (history_of(Problem(Space({"a": Float(0.0, 1.0)}), ())), ["quasi-random", "no objective"]),
        (history_of(Space({"g": NumpyDistribution("gamma", (2.0,))})), ["random", "g can only be sampled"]),
        (history_of(Space({"a": Constant(1)})), ["gp, ", "0 parameters"]),
    ],
)
def test_it_says_what_it_does_and_what_comes_next(history: History, parts: list[str]) -> None:
    said = Auto().explain(history)
    first = said.splitlines()[0]
    assert len(first) <= 110
    assert "auto" not in first
    for part in parts:
        assert part in said
    assert parts[0] in first
