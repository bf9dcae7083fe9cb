"""What every sampler keeps, as a test class to inherit from.

::

    class TestMySampler(SamplerContract):
        def make(self) -> Sampler:
            return MySampler()

The attributes of the class say which of the optional promises the sampler makes. Written for pytest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest

from whet.core import jsontext
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import Objective, Problem
from whet.core.protocols import Sampler, Suggestion
from whet.core.randomness import config_rng
from whet.errors import SearchExhausted, SpaceError
from whet.space.domain import Categorical, Constant, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.space import Space

_METRIC = "value"

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
    "sampled only": lambda: Space({"a": NumpyDistribution("gamma", (2.0,)), "b": Int(1, 9)}),
}


def problem_of(space: Space) -> Problem:
    """Return the problem of making one bare number small."""
    return Problem(space, (Objective(_METRIC),))


def history_of(space: Space, seed: int = 0) -> History:
    """Return the history of a study that has just begun."""
    problem = problem_of(space)
    return History.begin({"problem": problem.to_json(), "seed": seed}, problem)


def ask(sampler: Sampler, history: History, numbers: Sequence[int]) -> list[Suggestion]:
    """Return what *sampler* suggests for *numbers*, with the generators that a study would give it."""
    return sampler.suggest(history, numbers, partial(config_rng, history.seed))


def told(history: History, results: Iterable[tuple[int, Suggestion, float]]) -> History:
    """Return the history after a trial was completed for each (number, suggestion, value)."""
    events: list[Event] = []

    def say(kind: Kind, number: int, attempt: int, payload: Mapping[str, Any]) -> None:
        seq = history.seq + len(events) + 1
        events.append(Event(seq, kind, number, attempt, float(seq), payload))

    for number, suggestion, value in results:
        asked = {"config": dict(suggestion.config), "why": dict(suggestion.why), "group": number, "replicate": 0}
        say(Kind.CLAIMED, number, 0, {"owner": "somebody"})
        say(Kind.ASKED, number, 0, asked)
        say(Kind.STARTED, number, 1, {"token": f"token {number}", "owner": "somebody"})
        say(Kind.COMPLETED, number, 1, {"values": {_METRIC: value}})
    return history.extended(events)


def given(history: History, number: int, config: Mapping[str, Any]) -> History:
    """Return the history after a person gave *config* the *number*."""
    return history.extended([Event(history.seq + 1, Kind.ENQUEUED, number, 0, 0.0, {"config": dict(config)})])


def exhausted(sampler: Sampler, history: History, batch: int = 1) -> list[Mapping[str, Any]]:
    """Return every config until the sampler has no more, asked *batch* numbers at a time."""
    configs: list[Mapping[str, Any]] = []
    while len(configs) < 10_000:
        try:
            suggestions = ask(sampler, history, range(len(configs), len(configs) + batch))
        except SearchExhausted:
            return configs
        assert 0 < len(suggestions) <= batch
        configs += [suggestion.config for suggestion in suggestions]
        if len(suggestions) < batch:
            with pytest.raises(SearchExhausted):
                ask(sampler, history, [len(configs)])
            return configs
    raise AssertionError("a finite space of a few points never ended")


class SamplerContract:
    """The promises; inherit and define :meth:`make`.

    Attributes:
        is_random: another seed of the study gives other configs.
        heeds_history: what is suggested depends on the values of other trials, not on the number alone.
        walks_finite_spaces: each config of a finite space comes exactly once.
        jumps: a large number in a plain grid costs no more than a small one.
    """

    is_random: ClassVar[bool] = True
    heeds_history: ClassVar[bool] = False
    walks_finite_spaces: ClassVar[bool] = True
    jumps: ClassVar[bool] = True

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
        suggestions = ask(self.make(), history, range(40))
        assert len(suggestions) == 40
        assert all(space.contains(suggestion.config) for suggestion in suggestions)

    @pytest.mark.parametrize("name", [*FINITE, *INFINITE])
    def test_suggestions_survive_the_store(self, name: str) -> None:
        space = {**FINITE, **INFINITE}[name]()
        if not self.supports(space):
            return
        for suggestion in ask(self.make(), history_of(space), range(5)):
            assert jsontext.loads(jsontext.dumps(dict(suggestion.config))) == dict(suggestion.config)
            assert jsontext.loads(jsontext.dumps(dict(suggestion.why))) == dict(suggestion.why)

    def test_what_is_random_varies(self) -> None:
        space = self._space()
        configs = [dict(suggestion.config) for suggestion in ask(self.make(), history_of(space), range(8))]
        assert all(config not in configs[:i] for i, config in enumerate(configs))

    # ---- a function of the history and the generators
    def test_the_seed_decides(self) -> None:
        space = self._space()
        first, again, other = (self._sequence(self.make(), history_of(space, seed), 12) for seed in (1, 1, 2))
        assert first == again
        assert (first != other) == self.is_random

    def test_a_fresh_sampler_answers_as_the_live_one(self) -> None:
        space = self._space()
        history, live = history_of(space, seed=5), self.make()
        values = np.random.default_rng(0)
        for number in range(25):
            suggestion = ask(live, history, [number])[0]
            assert suggestion == ask(self.make(), history, [number])[0], f"number {number}"
            history = told(history, [(number, suggestion, float(values.normal()))])

    def test_one_sampler_may_serve_two_studies(self) -> None:
        spaces = [self._space(), self._space()]
        histories = [history_of(space, seed) for space, seed in zip(spaces, (1, 2), strict=True)]
        alone = [self._sequence(self.make(), history, 6) for history in histories]
        shared = self.make()
        for number in range(6):
            for history, expected in zip(histories, alone, strict=True):
                assert ask(shared, history, [number])[0].config == expected[number]

    def test_no_global_generator_is_touched(self) -> None:
        # The legacy generator is what is watched here, not used.
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        ask(self.make(), history_of(self._space()), range(10))
        after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        assert before == after

    # ---- the number alone decides, for those that do not heed the history
    @pytest.mark.parametrize("name", [*FINITE, *INFINITE])
    def test_the_way_numbers_are_asked_changes_nothing(self, name: str) -> None:
        space = {**FINITE, **INFINITE}[name]()
        if self.heeds_history or not self.supports(space):
            return
        history = history_of(space, seed=9)
        expected = self._sequence(self.make(), history, 24)
        backwards = self.make()
        for number in reversed(range(len(expected))):
            assert ask(backwards, history, [number])[0].config == expected[number]
        split, start = self.make(), 0
        for size in (1, 5, 2, 7, 9):
            numbers = range(start, min(start + size, len(expected)))
            if numbers:
                assert [s.config for s in ask(split, history, numbers)] == expected[numbers.start : numbers.stop]
            start += size

    # ---- finite spaces
    @pytest.mark.parametrize("batch", [1, 4, 1000])
    @pytest.mark.parametrize("name", [*FINITE])
    def test_a_finite_space_is_walked_once(self, name: str, batch: int) -> None:
        if not self.walks_finite_spaces:
            return
        space = FINITE[name]()
        configs = exhausted(self.make(), history_of(space, seed=7), batch)
        texts = [jsontext.dumps(dict(sorted(config.items()))) for config in configs]
        assert len(set(texts)) == len(texts)
        assert all(space.contains(config) for config in configs)
        assert sorted(texts) == sorted(self._members(space))

    def test_an_exhausted_space_stays_exhausted(self) -> None:
        if not self.walks_finite_spaces:
            return
        sampler, history = self.make(), history_of(FINITE["a product"]())
        n = len(exhausted(sampler, history))
        for number in (n, n + 1, n + 1000):
            with pytest.raises(SearchExhausted):
                ask(sampler, history, [number])
        assert ask(sampler, history, [n - 1])

    def test_a_space_without_any_config_is_exhausted_at_once(self) -> None:
        if not self.walks_finite_spaces:
            return
        space = Space({"a": Int(1, 3)}, forbid=["a < 10"])
        with pytest.raises(SearchExhausted):
            ask(self.make(), history_of(space), [0])

    def test_a_huge_grid_costs_nothing(self) -> None:
        import tracemalloc

        space = Space({f"p{i}": Int(0, 9) for i in range(12)})
        sampler, history = self.make(), history_of(space)
        ask(sampler, history, [0])  # what is imported or made once is not the grid's
        numbers = [1, 2, 10**6, 10**11, 10**12 - 1] if self.jumps else range(1, 6)
        tracemalloc.start()
        suggestions = ask(sampler, history, numbers)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len({jsontext.dumps(dict(suggestion.config)) for suggestion in suggestions}) == 5
        assert peak < 1_000_000
        if self.walks_finite_spaces and self.jumps:
            with pytest.raises(SearchExhausted):
                ask(sampler, history, [10**12])

    # ---- configs that people gave
    @pytest.mark.parametrize("name", [*FINITE])
    @pytest.mark.parametrize("seed", range(4))
    def test_given_configs_take_no_place_of_a_finite_space(self, name: str, seed: int) -> None:
        """Each config of the space comes, those that were given once only; a fresh sampler answers as the live one."""
        if not self.walks_finite_spaces or self.heeds_history:
            return
        space, rng = FINITE[name](), np.random.default_rng(seed)
        history, live = history_of(space, seed), self.make()
        members, run = self._members(space), list[str]()
        for number in range(3 * len(members)):
            if rng.random() < 0.3:
                config = jsontext.loads(sorted(members)[rng.integers(len(members))])
                history = given(history, number, config)
                continue
            try:
                suggestion = ask(live, history, [number])[0]
            except SearchExhausted:
                with pytest.raises(SearchExhausted):
                    ask(self.make(), history, [number])
                continue
            assert ask(self.make(), history, [number]) == [suggestion]
            text = jsontext.dumps(dict(sorted(suggestion.config.items())))
            earlier = {jsontext.dumps(dict(sorted(c.parsed().items()))) for c in history.given.configs}
            assert text not in earlier, f"number {number} was given before"
            run.append(text)
            history = told(history, [(number, suggestion, rng.random())])
        assert len(set(run)) == len(run)
        everything = {*run, *(jsontext.dumps(dict(sorted(c.parsed().items()))) for c in history.given.configs)}
        with pytest.raises(SearchExhausted):
            ask(live, history, [3 * len(members) + 1])
        assert everything == members

    def test_given_configs_change_nothing_in_an_endless_space(self) -> None:
        if self.heeds_history or (space := self._space()).is_finite:
            return
        history = history_of(space, seed=2)
        expected = self._sequence(self.make(), history, 12)
        for number in (3, 7):
            history = given(history, number, expected[0])
        numbers = [number for number in range(12) if number not in (3, 7)]
        assert [s.config for s in ask(self.make(), history, numbers)] == [expected[number] for number in numbers]

    # ---- for the tests above
    def _space(self) -> Space:
        """Return a space that the sampler supports, with more configs than the tests ask for."""
        infinite = INFINITE["all kinds"]()
        return infinite if self.supports(infinite) else Space({"a": Int(0, 99), "b": Categorical(["u", "v"])})

    def _sequence(self, sampler: Sampler, history: History, n: int) -> list[Mapping[str, Any]]:
        """Return the first *n* configs, or all where there are fewer."""
        return [suggestion.config for suggestion in ask(sampler, history, range(n))]

    def _members(self, space: Space) -> set[str]:
        """Return every config of a small finite space, found by drawing until nothing new comes."""
        rng = np.random.default_rng(0)
        return {jsontext.dumps(dict(sorted(space.sample(rng).items()))) for _ in range(3_000)}
