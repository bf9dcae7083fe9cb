"""What a sampler keeps that heeds what trials came to, as a test class to inherit from.

The histories of these tests are long enough for a model to have begun, and short enough for a costly one.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from whet.core.columns import as_config
from whet.core.history import History
from whet.core.lookahead import known_for
from whet.core.problem import Constraint, Direction, Objective, Problem
from whet.core.protocols import Suggestion
from whet.core.trial import State
from whet.errors import UsageError
from whet.space.domain import Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import (
    Outcome,
    ask,
    asked,
    branches,
    check,
    ended,
    explored,
    given,
    history_of,
    measured,
    played,
    problem_of,
    reloaded,
    text_of,
    told,
)
from whet.testing.sampler_suite import INFINITE, SamplerContract

N_KNOWN = 32  # a power of two: means of whole numbers are exact, so a shift of all of them shows nowhere
Configs = list[Mapping[str, Any]]
_DIRECTIONS: Sequence[tuple[Direction, float]] = (
    ("minimize", 1.0),
    ("minimize", -1.0),
    ("maximize", 1.0),
    ("maximize", -1.0),
)


class ModelSamplerContract(SamplerContract):
    """Inherit, and define ``make``.

    Attributes:
        ranks: only the order of the objective's values counts.
    """

    ranks: ClassVar[bool] = False

    # ---- it heeds what trials came to
    def test_it_does_better_than_chance(self) -> None:
        space = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})
        by_chance = np.median([measured(space, space.sample(np.random.default_rng(i))) for i in range(500)])
        suggestions, _ = played(self.make(), history_of(space, seed=1), 40)
        assert np.median([measured(space, s.config) for s in suggestions[-16:]]) < 0.5 * by_chance

    def test_what_is_good_is_looked_for(self) -> None:
        """The same trials with values the other way round lead elsewhere, and so does the other direction."""
        space = self.model_space()
        found = [self._after(space, direction, factor) for direction, factor in _DIRECTIONS]
        assert found[0] == found[3]
        assert found[1] == found[2]
        assert found[0] != found[1]

    def _after(self, space: Space, direction: Direction, factor: float) -> Configs:
        problem = problem_of(space, direction)
        history = explored(history_of(problem, seed=6), N_KNOWN, lambda i, config: factor * measured(space, config))
        return _configs(ask(self.make(), history, range(N_KNOWN, N_KNOWN + 3)))

    # ---- how values are scaled
    @pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
    def test_the_unit_of_the_objective_does_not_matter(self, factor: float) -> None:
        space = self.model_space()
        plain = self._played(space, lambda value: value)
        assert self._played(space, lambda value: factor * value) == plain

    @pytest.mark.parametrize("offset", [2.0**21, -(2.0**30)])
    def test_nor_does_its_zero(self, offset: float) -> None:
        space = self.model_space()
        plain, shifted = (self._shifted(space, by) for by in (0.0, offset))
        for one, other in zip(plain, shifted, strict=True):
            _assert_near(space, one, other)

    def _shifted(self, space: Space, offset: float) -> Configs:
        history = explored(history_of(space, seed=8), N_KNOWN, lambda i, config: measured(space, config) + offset)
        return _configs(ask(self.make(), history, range(N_KNOWN, N_KNOWN + 4)))

    @pytest.mark.parametrize("curve", [np.cbrt, lambda value: value**3, lambda value: value + 1e6 * (value > 1e5)])
    def test_only_the_order_counts_for_a_method_that_ranks(self, curve: Callable[[float], float]) -> None:
        space = self.model_space()
        plain = self._played(space, lambda value: value)
        bent = self._played(space, lambda value: float(curve(value)))
        if self.ranks:
            assert bent == plain
        else:  # another model may well lead elsewhere
            assert all(space.contains(config) for config in bent)

    def _played(self, space: Space, scale: Callable[[float], float]) -> Configs:
        history = history_of(space, seed=4)
        suggestions, history = played(self.make(), history, 18, lambda i, config: scale(measured(space, config)))
        return _configs([*suggestions, *ask(self.make(), history, range(18, 21))])

    # ---- a function of the trials, whatever came when
    def test_the_order_in_which_trials_end_does_not_matter(self) -> None:
        space = self.model_space()
        begun = explored(history_of(space, seed=11), N_KNOWN, lambda i, config: State.WAITING)
        found = []
        for seed in range(4):
            history = begun
            for number in np.random.default_rng(seed).permutation(N_KNOWN - 4).tolist():
                history = _ended_mixed(history, number)
            found.append(ask(self.make(), history, range(N_KNOWN, N_KNOWN + 3)))
        assert all(suggestions == found[0] for suggestions in found[1:])

    def test_a_fresh_sampler_answers_as_one_that_saw_trials_end_late_and_in_any_order(self) -> None:
        """Asked in batches while others run, some of which fail; numbers are reserved, and people add configs."""
        space, rng = self.model_space(), np.random.default_rng(12)
        history, live, n = history_of(space, seed=5), self.make(), 0
        while n < 40:
            numbers = range(n, n + int(rng.integers(1, 5)))
            suggestions = ask(live, history, numbers)
            assert suggestions == ask(self.make(), reloaded(history), numbers), f"numbers {numbers}"
            for number, suggestion in zip(numbers, suggestions, strict=True):
                history = asked(history, number, suggestion)
            n = numbers.stop
            for trial in rng.permutation([*history.unfinished]).tolist()[: int(rng.integers(0, 6))]:
                history = _ended_mixed(history, trial)
            if rng.random() < 0.3:
                history = given(history, n, space.sample(rng), (State.WAITING, 2.0**18)[n % 2])
                n += 1

    def test_what_was_asked_before_leaves_no_trace(self) -> None:
        """Previews, numbers out of order, older snapshots: whoever is asked the same answers the same."""
        space = self.model_space()
        early = explored(history_of(space, seed=2), 12, lambda i, config: measured(space, config))
        late = explored(early, 20, lambda i, config: measured(space, config))
        other = explored(history_of(space, seed=3), 32, lambda i, config: measured(space, config))
        live = self.make()
        questions = [(early, [12, 13]), (late, [32]), (late, [32]), (early, [12]), (other, [32]), (late, [900, 32])]
        for history, numbers in [*questions, *reversed(questions)]:
            assert ask(live, history, numbers) == ask(self.make(), history, numbers)

    def test_a_batch_is_one_after_another(self) -> None:
        """What is asked at once is what is asked in turn while the earlier ones run."""
        space = self.model_space()
        history = explored(history_of(space, seed=9), 20, lambda i, config: measured(space, config))
        batch = ask(self.make(), history, range(20, 25))
        for number, expected in enumerate(batch, 20):
            (found,) = ask(self.make(), history, [number])
            assert found.config == expected.config
            history = told(history, [(number, found, State.RUNNING)])

    def test_a_deterministic_study_is_the_same_whoever_runs_it(self) -> None:
        """Chosen from what is known as of some trials before, others having ended or not."""
        space = self.model_space()
        alone, together = (self._as_known(space, 20, n_running) for n_running in (0, 3))
        assert alone == together

    def _as_known(self, space: Space, n: int, n_running: int) -> Configs:
        history, live, configs = history_of(space, seed=7, lookahead=4), self.make(), []
        for number in range(n):
            (suggestion,) = ask(live, known_for(history, number), [number])
            configs.append(suggestion.config)
            history = asked(history, number, suggestion)
            while len(history.unfinished) > n_running:
                history = _ended_mixed(history, min(history.unfinished))
        return configs

    # ---- where others are at work
    @pytest.mark.parametrize("n_known", [0, N_KNOWN])
    def test_64_running_trials_have_configs_of_their_own(self, n_known: int) -> None:
        space = Space({"a": Int(1, 12), "b": Int(1, 12), "c": Float(0.0, 1.0, step=0.5)})
        history = explored(history_of(space, seed=n_known), n_known, lambda i, config: measured(space, config))
        sampler, seen = self.make(), {text_of(as_config(row.config)) for row in history.finished}
        for start in range(n_known, n_known + 64, 8):
            suggestions = ask(sampler, history, range(start, start + 8))
            check(space, suggestions)
            assert len(suggestions) == 8
            for number, suggestion in enumerate(suggestions, start):
                assert text_of(suggestion.config) not in seen
                seen.add(text_of(suggestion.config))
                history = asked(history, number, suggestion)

    def test_64_configs_at_once_are_different(self) -> None:
        space = self.model_space()
        history = explored(history_of(space, seed=1), 16, lambda i, config: measured(space, config))
        suggestions = ask(self.make(), history, range(16, 80))
        check(space, suggestions)
        assert len({text_of(suggestion.config) for suggestion in suggestions}) == 64

    # ---- other kinds of studies
    @pytest.mark.parametrize("name", [*INFINITE])
    def test_a_model_stays_in_the_space(self, name: str) -> None:
        space = INFINITE[name]()
        if not self.supports(space):
            space = self.model_space()
        history = explored(history_of(space, seed=3), 24, lambda i, config: _mixed(space, i, config))
        suggestions, _ = played(self.make(), history, 8, batch=2)
        check(space, suggestions)
        assert len({text_of(suggestion.config) for suggestion in suggestions}) == 8

    def test_repeats_of_a_config_count_as_one(self) -> None:
        """Some of them fail, some still run; configs stay different and the order of their ends does not matter."""
        space = self.model_space()
        begun = explored(history_of(space, seed=4, repeats=3), 12, lambda i, config: State.WAITING)
        found = []
        for trials in (range(34), reversed(range(34))):
            history = begun
            for trial in trials:
                outcome = State.FAILED if trial % 5 == 0 or trial < 3 else float(trial // 3 * 8 + trial % 3)
                history = ended(history, trial, outcome)
            found.append(ask(self.make(), history, range(12, 16)))
        assert found[0] == found[1]
        check(space, found[0])
        assert len({text_of(suggestion.config) for suggestion in found[0]}) == 4

    def test_constraints_on_what_comes_out_are_survived(self) -> None:
        """Met by some, broken by some, unknown for some, and not to be met at all."""
        space = self.model_space()
        for bound in (0.5, -1e300):
            problem = problem_of(space, constraints=[Constraint("ms", "<=", bound), Constraint("acc", ">=", 0.25)])

            def outcome(i: int, config: Mapping[str, Any]) -> Outcome:
                more = {"ms": (0.0, 1.0, float("nan"), 1e300)[i % 4]} if i % 5 else {}
                acc = {"acc": (0.5, float("inf"), float("-inf"), float("nan"))[i // 2 % 4]}
                return {"value": measured(space, config), **more, **acc}

            history = explored(history_of(problem, seed=2), 20, outcome)
            suggestions, history = played(self.make(), history, 5, outcome)
            check(space, suggestions)
            assert ask(self.make(), reloaded(history), [25]) == ask(self.make(), history, [25])

    @pytest.mark.parametrize("objectives", [(), (Objective("a"), Objective("b", "maximize"))], ids=["none", "two"])
    def test_without_one_objective_it_says_so_or_does_without(self, objectives: tuple[Objective, ...]) -> None:
        problem = Problem(self.model_space(), objectives)
        history = explored(history_of(problem), 4, lambda i, config: {"a": float(i), "b": 1.0})
        try:
            suggestions = ask(self.make(), history, [4, 5])
        except UsageError as error:
            assert "objective" in str(error)
        else:
            check(problem.space, suggestions)

    @pytest.mark.parametrize("name", ["plain", "branches"])
    def test_a_huge_grid_needs_little_memory(self, name: str) -> None:
        space = Space({f"p{i}": Int(0, 9) for i in range(12)}) if name == "plain" else branches()
        history = explored(history_of(space), 20, lambda i, config: measured(space, config))
        sampler = self.make()
        ask(sampler, history, [20])  # what is imported or made once is not the grid's
        tracemalloc.start()
        suggestions = ask(sampler, history, range(21, 24))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        check(space, suggestions)
        assert peak < 100_000_000

    # ---- for the tests above
    def model_space(self) -> Space:
        """Return a space of all kinds that the sampler supports, with more configs than the tests ask for."""
        return INFINITE["conditions, zips and more"]()


def _mixed(space: Space, number: int, config: Mapping[str, Any]) -> Outcome:
    """Return an outcome of each kind now and then."""
    if number % 4 == 3:
        return (State.FAILED, State.CANCELLED, State.STOPPED)[number // 4 % 3]
    return measured(space, config)


def _ended_mixed(history: History, trial: int) -> History:
    config = history.unfinished[trial].config
    assert config is not None, "it is not only a number"
    return ended(history, trial, _mixed(history.problem.space, trial, config))


def _configs(suggestions: Sequence[Suggestion]) -> Configs:
    return [suggestion.config for suggestion in suggestions]


def _assert_near(space: Space, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """See that two configs are the same but for what rounding does to an optimiser of their floats."""
    places = space.encode(one), space.encode(other)
    assert np.allclose(*places, rtol=0, atol=1e-3, equal_nan=True), f"{one} and {other}"
