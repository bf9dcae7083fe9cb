"""The contract suites of samplers: one that keeps them passes, and each that breaks a promise is found out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.laws import toy_samplers as toys
from whet.core.protocols import Sampler
from whet.space.space import Space
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FiniteSpaceContract


class Contract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    """All that a sampler which heeds the history may promise."""

    ranks = True
    kind: type[Sampler] = toys.NearBest

    def make(self) -> Sampler:
        return self.kind()

    def supports(self, space: Space) -> bool:
        return space.is_encodable


class TestNearBest(Contract):
    pass


def cases(name: str) -> Iterator[dict[str, Any]]:
    """Return the arguments with which pytest would call a test of the contract."""
    marks = [mark for mark in getattr(getattr(Contract, name), "pytestmark", []) if mark.name == "parametrize"]
    for values in product(*(mark.args[1] for mark in marks)):
        yield {mark.args[0]: getattr(value, "values", value) for mark, value in zip(marks, values, strict=True)}


def fails(kind: type[Sampler], name: str) -> bool:
    """Tell whether *kind* fails one of the cases of a test."""
    contract = type("Contract", (Contract,), {"kind": kind})()
    for arguments in cases(name):
        try:
            getattr(contract, name)(**arguments)
        except (Exception, pytest.fail.Exception):
            return True
    return False


BROKEN = [
    (toys.Deaf, "test_it_does_better_than_chance"),
    (toys.Deaf, "test_what_is_good_is_looked_for"),
    (toys.Contrary, "test_it_does_better_than_chance"),
    (toys.LastTold, "test_the_order_in_which_trials_end_does_not_matter"),
    (toys.LastTold, "test_repeats_of_a_config_count_as_one"),
    (toys.Forgetful, "test_what_is_random_varies"),
    (toys.Forgetful, "test_64_configs_at_once_are_different"),
    (toys.Forgetful, "test_a_batch_is_one_after_another"),
    (toys.IgnoresRunning, "test_64_running_trials_have_configs_of_their_own"),
    (toys.IgnoresRunning, "test_whatever_becomes_of_the_trials"),
    (toys.Stateful, "test_a_fresh_sampler_answers_as_the_live_one"),
    (toys.Stateful, "test_a_fresh_sampler_answers_as_one_that_saw_trials_end_late_and_in_any_order"),
    (toys.Stateful, "test_what_was_asked_before_leaves_no_trace"),
    (toys.Stateful, "test_strange_outcomes_are_survived"),
    (toys.Sticky, "test_one_sampler_may_serve_two_studies"),
    (toys.Sticky, "test_what_was_asked_before_leaves_no_trace"),
    (toys.Outside, "test_suggestions_lie_in_the_space"),
    (toys.Outside, "test_a_model_stays_in_the_space"),
    (toys.Unconditional, "test_suggestions_lie_in_the_space"),
    (toys.Unconditional, "test_a_finite_space_is_walked_once"),
    (toys.Global, "test_no_global_generator_is_touched"),
    (toys.Absolute, "test_nor_does_its_zero"),
    (toys.Absolute, "test_the_unit_of_the_objective_does_not_matter"),
    (toys.Unscaled, "test_the_unit_of_the_objective_does_not_matter"),
    (toys.Averaging, "test_only_the_order_counts_for_a_method_that_ranks"),
    (toys.Overflowing, "test_strange_outcomes_are_survived"),
    (toys.Talkative, "test_suggestions_lie_in_the_space"),
    (toys.Talkative, "test_strange_spaces_are_searched"),
    (toys.GivesUp, "test_a_finite_space_is_walked_once"),
    (toys.GivesUp, "test_an_exhausted_space_stays_exhausted"),
    (toys.TriesCancelledAgain, "test_whatever_becomes_of_the_trials"),
    (toys.TriesCancelledAgain, "test_a_space_of_one_point_is_searched_and_is_over_then"),
]


@pytest.mark.parametrize(("kind", "name"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_promise_is_found_out(kind: type[Sampler], name: str) -> None:
    assert fails(kind, name)


def test_each_toy_is_tried() -> None:
    kinds = {kind for _, kind in inspect.getmembers(toys, inspect.isclass) if issubclass(kind, toys.NearBest)}
    assert kinds == {toys.NearBest, *(kind for kind, _ in BROKEN)}
