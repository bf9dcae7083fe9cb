"""What every sampler survives: strange values, strange spaces, trials that fail; as a test class to inherit from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from whet.core.events import Event, Kind
from whet.core.protocols import Suggestion
from whet.core.trial import State
from whet.errors import SearchExhausted, SpaceError
from whet.space.domain import Categorical, Constant, Float, Int, Normal, Ordinal
from whet.space.space import Space
from whet.testing.sampler_histories import (
    SPOILT,
    Outcome,
    ask,
    branches,
    check,
    explored,
    history_of,
    measured,
    played,
    problem_of,
    reloaded,
    text_of,
    told,
)
from whet.testing.sampler_suite import INFINITE, SamplerContract

_HUGE = 1.7e308
# From the number of a trial and a value of its config, a float of some size, to what came of it.
OUTCOMES: Mapping[str, Callable[[int, float], Outcome]] = {
    "a constant": lambda i, value: 0.25,
    "zeros of both signs": lambda i, value: (0.0, -0.0)[i % 2],
    "ties": lambda i, value: float(i % 2),
    "one outlier": lambda i, value: 1e300 if i == 5 else value,
    "many outliers": lambda i, value: (1e300, value, _HUGE)[i % 3],
    "outliers below": lambda i, value: (-1e300, value, value, -_HUGE)[i % 4],
    "outliers on both sides": lambda i, value: (-_HUGE, value, _HUGE)[i % 3],
    "all huge": lambda i, value: value * 1e300,
    "denormals": lambda i, value: i % 4 * 5e-324,
    "all tiny": lambda i, value: value * 1e-300,
    "differences in the last digit": lambda i, value: 1e15 + 0.125 * (i % 5),
    "the worst of all now and then": lambda i, value: math.inf if i % 3 == 1 else value,
    "nothing but the worst": lambda i, value: math.inf,
    "the worst and one more": lambda i, value: 1.0 if i == 7 else math.inf,
    "some fail": lambda i, value: State.FAILED if i % 3 == 0 else value,
    "the first ones fail": lambda i, value: State.FAILED if i < 15 else value,
    "all fail": lambda i, value: State.FAILED,
    "all but one fail": lambda i, value: value if i == 7 else State.FAILED,
    "all are cancelled": lambda i, value: State.CANCELLED,
    "all are stopped": lambda i, value: State.STOPPED,
    "all run": lambda i, value: State.RUNNING,
    "a bit of everything": lambda i, value: (value, *SPOILT, math.inf, 1e300, -1e300)[i % 8],
}
SPACES: Mapping[str, Callable[[], Space]] = {
    "1,000 parameters": lambda: Space({f"p{i}": Float(0.0, 1.0) if i % 3 else Int(1, 9) for i in range(1_000)}),
    "10,000 categories": lambda: Space({"c": Categorical([f"c{i}" for i in range(10_000)]), "a": Float(0.0, 1.0)}),
    "10,000 ordered values": lambda: Space({"o": Ordinal(range(10_000)), "a": Float(0.0, 1.0)}),
    "100 levels of conditions": lambda: Space(
        {f"p{i}": Categorical(["on", "off"], when=f"p{i - 1} == 'on'" if i else None) for i in range(100)}
    ),
    "branches": branches,
    "one axis that varies": lambda: Space({"a": Float(0.0, 1.0), **{f"c{i}": Constant(i) for i in range(30)}}),
    "extremes": lambda: Space(
        {
            "wide": Float(-1e300, 1e300),
            "log": Float(1e-300, 1e300, log=True),
            "narrow": Float(1.0, 1.0 + 1e-12),
            "tiny": Float(0.0, 5e-324 * 2**20),
            "large": Int(0, 10**15),
            "large log": Int(1, 10**15, log=True),
            "steps": Float(0.0, 1.0, step=1e-9),
            "tails": Normal(0.0, 1e-300),
        }
    ),
    "nearly all forbidden": lambda: Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)}, forbid=["a > 0.05 or b > 0.5"]),
    "strange names": lambda: Space(
        {"a b": Float(0.0, 1.0), "größe": Int(1, 9), "x['y']": Categorical([None, True, 1])}
    ),
}


class HostileSamplerContract(SamplerContract):
    """Inherit, and define ``make``."""

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize("name", [*OUTCOMES])
    def test_strange_outcomes_are_survived(self, name: str, direction: Any) -> None:
        """Configs that are new and in the space go on coming, and whoever comes later answers the same."""
        space = self._supported(INFINITE["all kinds"]())
        sign = 1.0 if direction == "minimize" else -1.0

        def outcome_of(i: int, config: Mapping[str, Any]) -> Outcome:
            found = OUTCOMES[name](i, measured(space, config) / 2**20)
            return sign * found if isinstance(found, float) else found

        history = explored(history_of(problem_of(space, direction), seed=1), 20, outcome_of)
        sampler = self.make()
        suggestions, history = played(sampler, history, 4, outcome_of)
        last = ask(sampler, history, [24, 25])
        check(space, [*suggestions, *last])
        assert len({text_of(suggestion.config) for suggestion in [*suggestions, *last]}) == 6
        assert ask(self.make(), reloaded(history), [24, 25]) == last

    @pytest.mark.parametrize("name", [*SPACES])
    def test_strange_spaces_are_searched(self, name: str) -> None:
        space = self._supported(SPACES[name]())
        history = explored(history_of(space, seed=2), 12, lambda i, config: measured(space, config))
        suggestions, history = played(self.make(), history, 2)
        batch = ask(self.make(), history, [14, 15])
        check(space, [*suggestions, *batch])
        assert len({text_of(suggestion.config) for suggestion in [*suggestions, *batch]}) == 4

    def test_a_space_of_one_point_is_searched_and_is_over_then(self) -> None:
        space = Space({"a": Constant("x"), "b": Categorical([3])})
        (suggestion,) = ask(self.make(), history_of(space), range(64))[:1]
        assert suggestion.config == {"a": "x", "b": 3}
        for outcome in (1.0, *SPOILT):
            history = told(history_of(space), [(0, suggestion, outcome)])
            with pytest.raises(SearchExhausted):
                ask(self.make(), history, [1])

    def test_a_space_without_any_config_is_exhausted_at_once(self) -> None:
        space = Space({"a": Int(1, 3)}, forbid=["a < 10"])
        with pytest.raises(SearchExhausted):
            ask(self.make(), history_of(space), [0])

    def test_an_endless_space_that_is_all_forbidden_is_given_up(self) -> None:
        with pytest.raises(SpaceError):
            ask(self.make(), history_of(Space({"a": Float(0.0, 1.0), "b": Int(0, 9)}, forbid=["a < 2"])), [0])

    @pytest.mark.slow
    def test_a_huge_grid_that_is_all_forbidden_is_given_up(self) -> None:
        with pytest.raises(SpaceError):
            ask(self.make(), history_of(Space({f"p{i}": Int(0, 9) for i in range(12)}, forbid=["p0 < 100"])), [0])

    def test_numbers_that_are_only_reserved_are_no_trials(self) -> None:
        """As other processes reserve them while they choose, now and then for ever."""
        space = self._supported(INFINITE["all kinds"]())
        history = explored(history_of(space, seed=1), 12, lambda i, config: measured(space, config))
        reserved = history.extended(
            Event(history.seq + i, Kind.CLAIMED, 11 + i, 0, 0.0, {"owner": "somebody"}) for i in range(1, 5)
        )
        sampler = self.make()
        found = ask(sampler, reserved, [12, 15])
        check(space, found)
        assert found == ask(self.make(), reloaded(reserved), [12, 15])

    @pytest.mark.parametrize("seed", [0, 2**64 - 1])
    def test_any_seed_will_do(self, seed: int) -> None:
        space = self._supported(INFINITE["all kinds"]())
        suggestions, _ = played(self.make(), history_of(space, seed), 3)
        check(space, suggestions)

    def test_the_same_config_over_and_over_is_survived(self) -> None:
        """As people give it, with values that differ; it does not come again."""
        space = self._supported(INFINITE["floats"]())
        config = space.sample(np.random.default_rng(0))
        history = told(history_of(space), ((i, Suggestion(config), float(i % 5)) for i in range(20)))
        suggestions, _ = played(self.make(), history, 4)
        check(space, suggestions)
        assert len({text_of(config), *(text_of(suggestion.config) for suggestion in suggestions)}) == 5

    def _supported(self, space: Space) -> Space:
        """Return *space*, or a plain large one where a sampler refuses it, as it has to."""
        if self.supports(space):
            return space
        with pytest.raises(SpaceError):
            ask(self.make(), history_of(space), [0])
        return Space({"a": Int(0, 99), "b": Categorical(["u", "v"])})
