"""What every sampler keeps, as test classes to inherit from.

::

    class TestMySampler(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
        def make(self) -> Sampler:
            return MySampler()

`SamplerContract` holds what all samplers promise; the others add to it. `FiniteSpaceContract` is for samplers that give
each config of a finite space once, `whet.testing.sampler_numbered_suite.NumberedSamplerContract` for those whose config
*k* depends on the number alone, `whet.testing.sampler_model_suite.ModelSamplerContract` for those that heed what trials
came to, and `whet.testing.sampler_hostile_suite.HostileSamplerContract` for all that are to be used in earnest. Written
for pytest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import pytest

from whet.core import jsontext
from whet.core.protocols import Sampler
from whet.core.trial import State
from whet.errors import SearchExhausted, SpaceError
from whet.space.domain import Categorical, Constant, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.space import Space
from whet.testing.sampler_histories import (
    SPOILT,
    ask,
    check,
    exhausted,
    given,
    history_of,
    measured,
    members_of,
    played,
    reloaded,
    text_of,
    told,
)

FINITE: Mapping[str, Callable[[], Space]] = {
    "one point": lambda: Space({"a": Constant("x"), "b": Categorical([3])}),
    "no parameters": lambda: Space({}),
    "a list": lambda: Space({"a": Categorical(["x", None, True, 1, 1.5])}),
    "a product": lambda: Space({"a": Int(1, 5), "b": Ordinal([8, 16, 32]), "c": Categorical(["u", "v"])}),
    "steps": lambda: Space({"a": Float(0.0, 1.0, step=0.25), "b": Int(1, 9, step=2)}),
    "a condition": lambda: Space(
        {"opt": Categorical(["adam", "sgd"]), "momentum": Ordinal([0.0, 0.5, 0.9], when={"opt": "sgd"}), "n": Int(1, 3)}
    ),
    "a forbidden half": lambda: Space({"a": Int(1, 6), "b": Int(1, 6)}, forbid=["a > b"]),
    "a zip": lambda: Space(
        {"a": Int(1, 4), "b": Categorical(["u", "v"]), "c": Ordinal([2, 3, 5, 7])}, zips=[("a", "c")]
    ),
    # 12 configs in a grid of 19,200,000 points, of which 100,000 and more in a row are none; "wide" is never there.
    "branches": lambda: Space(
        {
            "opt": Categorical(["a", "b", "c"]),
            **{f"of {opt}": Int(1, 4, when={"opt": opt}) for opt in "abc"},
            "wide": Int(1, 100_000, when="`of a` > 4"),
        }
    ),
}
INFINITE: Mapping[str, Callable[[], Space]] = {
    "floats": lambda: Space({"a": Float(-1.0, 1.0), "lr": Float(1e-5, 1e-1, log=True)}),
    "all kinds": lambda: Space(
        {
            "a": Float(0.0, 1.0),
            "b": Int(1, 10**15),
            "c": Categorical(["u", "v", "w"]),
            "d": Ordinal([1, 2, 4, 8]),
            "e": Constant(7),
            "f": Normal(0.0, 1.0),
        }
    ),
    "a condition": lambda: Space(
        {"opt": Categorical(["adam", "sgd"]), "momentum": Float(0.0, 1.0, when={"opt": "sgd"}), "lr": Float(0.0, 1.0)}
    ),
    "a forbidden half": lambda: Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)}, forbid=["a > b"]),
    "conditions, zips and more": lambda: Space(
        {
            "warm": Int(0, 5, when="momentum > 0.5"),
            "opt": Categorical(["adam", "sgd", "lion"]),
            "momentum": Float(0.0, 1.0, when={"opt": ["sgd", "lion"]}),
            "width": Ordinal([64, 128, 256], when="opt != 'lion'"),
            "heads": Ordinal([1, 2, 4]),
            "lr": Float(1e-5, 1e-1, log=True),
            "n": Int(1, 1000, log=True),
        },
        zips=[["width", "heads"]],
        forbid=["opt == 'adam' and n > 500", "heads == 4 and lr > 0.01"],
    ),
    "sampled only": lambda: Space({"a": NumpyDistribution("gamma", (2.0,)), "b": Int(1, 9)}),
}


class SamplerContract:
    """What all samplers promise; inherit and define :meth:`make`.

    Attributes:
        is_random: another seed of the study gives other configs.
    """

    is_random: ClassVar[bool] = True

    def make(self) -> Sampler:
        """Return a new sampler."""
        raise NotImplementedError("define make(), returning a new sampler")

    def supports(self, space: Space) -> bool:
        """Tell whether the sampler can search *space*; where it cannot, it has to raise a SpaceError."""
        del space
        return True

    # ---- one config after another
    @pytest.mark.parametrize("name", [*INFINITE])
    def test_suggestions_lie_in_the_space(self, name: str) -> None:
        space = INFINITE[name]()
        history = history_of(space, seed=3)
        if not self.supports(space):
            with pytest.raises(SpaceError):
                ask(self.make(), history, [0])
            return
        sampler = self.make()
        at_once = ask(sampler, history, range(30))
        in_turn, _ = played(sampler, history, 20, batch=2)
        assert (len(at_once), len(in_turn)) == (30, 20)
        check(space, [*at_once, *in_turn])

    def test_what_is_random_varies(self) -> None:
        suggestions = ask(self.make(), history_of(self.space()), range(8))
        assert len({text_of(suggestion.config) for suggestion in suggestions}) == 8

    # ---- a function of the history and the generators
    def test_the_seed_decides(self) -> None:
        space = self.space()
        first, again, other = (played(self.make(), history_of(space, seed), 12)[0] for seed in (1, 1, 2))
        assert first == again
        assert (first != other) == self.is_random

    def test_a_fresh_sampler_answers_as_the_live_one(self) -> None:
        history, live = history_of(self.space(), seed=5), self.make()
        for number in range(25):
            suggestion = ask(live, history, [number])[0]
            assert suggestion == ask(self.make(), reloaded(history), [number])[0], f"number {number}"
            history = told(history, [(number, suggestion, measured(history.problem.space, suggestion.config))])

    def test_one_sampler_may_serve_two_studies(self) -> None:
        histories = [history_of(self.space(), seed) for seed in (1, 2)]
        alone = [played(self.make(), history, 10)[0] for history in histories]
        shared = self.make()
        for number in range(10):
            for i, expected in enumerate(alone):
                (found,), histories[i] = played(shared, histories[i], 1)
                assert found == expected[number], f"number {number} of study {i}"

    def test_no_global_generator_is_touched(self) -> None:
        # The legacy generator is what is watched here, not used.
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        played(self.make(), history_of(self.space()), 15, batch=3)
        after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        assert before == after

    def space(self) -> Space:
        """Return a space that the sampler supports, with more configs than the tests ask for."""
        infinite = INFINITE["all kinds"]()
        return infinite if self.supports(infinite) else Space({"a": Int(0, 99), "b": Categorical(["u", "v"])})


class FiniteSpaceContract(SamplerContract):
    """Inherit as well where each config of a finite space comes exactly once, and what people gave not again."""

    @pytest.mark.parametrize("batch", [1, 4, 1000])
    @pytest.mark.parametrize("name", [*FINITE])
    def test_a_finite_space_is_walked_once(self, name: str, batch: int) -> None:
        space = FINITE[name]()
        configs = exhausted(self.make(), history_of(space, seed=7), batch)
        assert all(space.contains(config) for config in configs)
        assert sorted(map(text_of, configs)) == sorted(members_of(space))

    @pytest.mark.parametrize("name", ["a list", "a condition", "a zip"])
    def test_whatever_becomes_of_the_trials(self, name: str) -> None:
        """A config whose trial failed, was cancelled or stopped, or still runs has been tried."""
        space = FINITE[name]()
        outcomes = (1.0, *SPOILT)
        configs = exhausted(self.make(), history_of(space, seed=7), 2, lambda number, config: outcomes[number % 5])
        assert sorted(map(text_of, configs)) == sorted(members_of(space))

    def test_an_exhausted_space_stays_exhausted(self) -> None:
        sampler = self.make()
        suggestions, history = played(sampler, history_of(FINITE["a product"]()), 31)
        n = len(suggestions)
        assert n == 30
        for number in (n, n + 1, n + 1000):
            for who in (sampler, self.make()):
                with pytest.raises(SearchExhausted):
                    ask(who, history, [number])

    @pytest.mark.parametrize("name", [*FINITE])
    @pytest.mark.parametrize("seed", range(2))
    def test_given_configs_take_no_place_of_a_finite_space(self, name: str, seed: int) -> None:
        """Each config of the space comes, those that were given once only; a fresh sampler answers as the live one."""
        space, rng = FINITE[name](), np.random.default_rng(seed)
        history, live = history_of(space, seed), self.make()
        members, come, number = members_of(space), set[str](), 0
        handed = sorted(members)
        while come != members:
            if rng.random() < 0.3:
                text = handed[rng.integers(len(handed))]
                history = given(history, number, jsontext.loads(text), (State.WAITING, 1.0)[number % 2])
            else:
                suggestion = ask(live, history, [number])[0]
                assert ask(self.make(), history, [number]) == [suggestion]
                text = text_of(suggestion.config)
                assert text not in come, f"number {number} came before"
                history = told(history, [(number, suggestion, rng.random())])
            come.add(text)
            number += 1
        for _ in range(2):  # nor once one of them is given again
            for sampler in (live, self.make()):
                with pytest.raises(SearchExhausted):
                    ask(sampler, history, [number])
            history = given(history, number, jsontext.loads(handed[0]))
            number += 1
