"""What model-based samplers share: no config twice, whatever an algorithm proposes, and what comes instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from whet.core.history import History
from whet.core.protocols import RngOf, Sampler, Suggestion
from whet.errors import SearchExhausted, SpaceError
from whet.points.known import Known
from whet.points.startup import Proposal
from whet.samplers.cmaes import CMAES
from whet.samplers.gp import GP
from whet.samplers.modelled import CodecOf, suggest_in_turn
from whet.samplers.tpe import TPE
from whet.space.distributions import ScipyRv
from whet.space.domain import Categorical, Distribution, Float, Int, Normal
from whet.space.space import Space
from whet.testing.sampler_histories import (
    ask,
    branches,
    check,
    exhausted,
    explored,
    history_of,
    measured,
    played,
    text_of,
)


class Stubborn:
    """Proposes points at one place, give or take *jitter*: configs that are taken after the first."""

    def __init__(self, jitter: float = 0.0) -> None:
        self.jitter = jitter
        self._codec_of = CodecOf()

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        codec = self._codec_of(history.problem.space)

        def propose(known: Known, rng: np.random.Generator) -> Proposal:
            del known
            u = 0.5 + self.jitter * rng.random((1, codec.cube.d))
            return Proposal(codec.cube.settled(u)[0][0], {"source": "model"})

        return suggest_in_turn(history, numbers, rng_of, codec, propose)


@pytest.mark.parametrize("sampler", [GP, TPE, CMAES])
@pytest.mark.parametrize(
    "space",
    [
        Space({"a": Int(0, 100_000)}),
        Space({"a": Distribution(ScipyRv("poisson", (5.0,))), "b": Categorical(["x", "y", "z"])}),
        Space({"a": Normal(0.0, 1.0, step=0.5), "b": Normal(0.0, 1.0, step=0.5)}),
        Space({"a": Int(0, 100_000), "b": Int(1, 100_001, log=True)}, zips=[["a", "b"]]),
    ],
    ids=["int", "poisson", "normal", "zip"],
)
def test_a_model_knows_which_of_many_values_are_taken(sampler: Callable[[], Sampler], space: Space) -> None:
    suggestions, _ = played(sampler(), history_of(space), 30)
    check(space, suggestions)
    assert len({text_of(s.config) for s in suggestions}) == 30
    assert sum(s.why["source"] == "rest" for s in suggestions) <= 3


def test_points_in_between_are_the_config_that_they_stand_for() -> None:
    """An axis of so many values is continuous to the algorithm; a value is nonetheless suggested once."""
    space = Space({"n": Int(1, 20_000)})
    history = history_of(space)
    suggestions = ask(Stubborn(jitter=1e-6), history, range(8))
    check(space, suggestions)
    assert len({text_of(s.config) for s in suggestions}) == 8
    assert [s.why["source"] for s in suggestions] == ["model", *["rest"] * 7]


@pytest.mark.parametrize("forbid", [[], ["a0 == 0", "opt == 'b' and b1 == b2"]], ids=["plain", "forbid"])
def test_a_space_of_branches_has_another_config(forbid: list[str]) -> None:
    space = Space(dict(branches()), forbid=forbid)
    history = explored(history_of(space, seed=1), 20, lambda i, config: measured(space, config))
    suggestions = ask(Stubborn(), history, range(20, 40))
    check(space, suggestions)
    assert len({text_of(s.config) for s in suggestions}) == 20


def test_draws_come_before_the_walk() -> None:
    """Through a grid of which nobody can tell where the configs are; nearly every draw is a new one."""
    own = {f"p{i}": Int(0, 9, when="n == 500000") for i in range(12)}
    space = Space({"n": Int(1, 1_000_000), **own})
    suggestions = ask(Stubborn(), history_of(space), range(4))
    check(space, suggestions)
    assert len({text_of(s.config) for s in suggestions}) == 4


def test_what_no_draw_finds_is_found_by_the_walk() -> None:
    """Half of all draws end at each level, so one of 2^19 gets to the last."""
    space = Space({f"p{i}": Categorical(["on", "off"], when=f"p{i - 1} == 'on'" if i else None) for i in range(20)})
    configs = exhausted(Stubborn(), history_of(space))
    assert sorted(map(len, configs)) == [*range(1, 21), 20]
    assert len(set(map(text_of, configs))) == 21


def test_a_finite_space_of_which_nearly_all_is_forbidden_is_walked() -> None:
    space = Space({"a": Int(1, 60), "b": Int(1, 60)}, forbid=["a != 7 or b != 9"])
    history = history_of(space)
    assert [s.config for s in ask(Stubborn(), history, range(3))] == [{"a": 7, "b": 9}]
    with pytest.raises(SearchExhausted):
        ask(Stubborn(), history_of(Space({"a": Int(1, 3)}, forbid=["a < 4"])), [0])


def test_an_endless_space_that_is_all_forbidden_says_so() -> None:
    space = Space({"a": Float(0, 1)}, forbid=["a < 2"])
    with pytest.raises(SpaceError, match="random configs in a row were forbidden"):
        ask(Stubborn(), history_of(space), [0])
