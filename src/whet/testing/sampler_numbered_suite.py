"""What a sampler keeps whose config *k* depends on the number *k* alone, as a test class to inherit from."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from whet.core.protocols import Sampler
from whet.errors import SearchExhausted
from whet.space.domain import Categorical, Int
from whet.space.space import Space
from whet.testing.sampler_histories import ask, branches, exhausted, given, history_of, text_of
from whet.testing.sampler_suite import FINITE, INFINITE, SamplerContract


class NumberedSamplerContract(SamplerContract):
    """Inherit, and define ``make``.

    Attributes:
        jumps: a large number in a plain grid costs no more than a small one.
    """

    jumps: ClassVar[bool] = True

    @pytest.mark.parametrize("name", [*FINITE, *INFINITE])
    def test_the_way_numbers_are_asked_changes_nothing(self, name: str) -> None:
        space = {**FINITE, **INFINITE}[name]()
        if not self.supports(space):
            space = Space({"a": Int(0, 99), "b": Categorical(["u", "v"])}, forbid=["b == 'v' and a > 3"])
        history = history_of(space, seed=9)
        expected = _configs(self.make(), space, 9)
        backwards = self.make()
        for number in reversed(range(len(expected))):
            assert ask(backwards, history, [number])[0].config == expected[number]
        split, start = self.make(), 0
        for size in (1, 5, 2, 7, 9):
            numbers = range(start, min(start + size, len(expected)))
            if numbers:
                assert [s.config for s in ask(split, history, numbers)] == expected[numbers.start : numbers.stop]
            start += size

    def test_the_last_config_of_a_finite_space_can_be_asked_again(self) -> None:
        sampler, history = self.make(), history_of(FINITE["a product"]())
        configs = exhausted(sampler, history)
        assert ask(sampler, history, [len(configs) - 1])[0].config == configs[-1]

    @pytest.mark.parametrize("name", ["plain", "branches"])
    def test_a_huge_grid_costs_nothing(self, name: str) -> None:
        space = Space({f"p{i}": Int(0, 9) for i in range(12)}) if name == "plain" else branches()
        n = 10**12 if name == "plain" else 4 * 10**6
        sampler, history = self.make(), history_of(space)
        ask(sampler, history, [0])  # what is imported or made once is not the grid's
        numbers = [1, 2, n // 10**3, n // 10, n - 1] if self.jumps else range(1, 6)
        tracemalloc.start()
        suggestions = ask(sampler, history, numbers)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len({text_of(suggestion.config) for suggestion in suggestions}) == 5
        assert peak < 1_000_000
        if self.jumps:
            with pytest.raises(SearchExhausted):
                ask(sampler, history, [n])

    def test_given_configs_change_nothing_in_a_large_space(self) -> None:
        """In an endless one at all, in a finite one as long as they are not its turn."""
        space = self.space()
        expected = _configs(self.make(), space, 2)
        history = history_of(space, seed=2)
        late = expected[0] if not space.is_finite else {"a": 99, "b": "v"}
        for number in (3, 7):
            history = given(history, number, late)
        numbers = [number for number in range(12) if number not in (3, 7)]
        found = [s.config for s in ask(self.make(), history, numbers)]
        assert found == (expected[:10] if space.is_finite else [expected[number] for number in numbers])


def _configs(sampler: Sampler, space: Space, seed: int) -> list[Mapping[str, Any]]:
    """Return the first 24 configs, or all where there are fewer."""
    return [suggestion.config for suggestion in ask(sampler, history_of(space, seed), range(24))]
