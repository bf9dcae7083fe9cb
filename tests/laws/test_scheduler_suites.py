"""The contract suite of schedulers: one that keeps it passes, and each that breaks a promise is found out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.laws import toy_schedulers as toys
from whet.core.protocols import Scheduler
from whet.testing.scheduler_suite import SchedulerContract


class Contract(SchedulerContract):
    every: ClassVar[int] = 1
    kind: type[Scheduler] = toys.Halver

    def make(self) -> Scheduler:
        return self.kind()

    def supports(self, problem: str) -> bool:
        return problem in ("epochs", "levels that are no whole numbers", "a fraction")


class TestHalver(Contract):
    pass


def cases(name: str) -> Iterator[dict[str, Any]]:
    """Return the arguments with which pytest would call a test of the contract."""
    marks = [mark for mark in getattr(getattr(Contract, name), "pytestmark", []) if mark.name == "parametrize"]
    for values in product(*(mark.args[1] for mark in marks)):
        yield {mark.args[0]: value for mark, value in zip(marks, values, strict=True)}


def fails(kind: type[Scheduler], name: str, tmp_path: Path) -> bool:
    """Tell whether *kind* fails one of the cases of a test."""
    contract = type("Contract", (Contract,), {"kind": kind})()
    test = getattr(contract, name)
    more = {"tmp_path": tmp_path} if "tmp_path" in inspect.signature(test).parameters else {}
    for arguments in cases(name):
        try:
            test(**arguments, **more)
        except (Exception, pytest.fail.Exception):
            return True
    return False


WHATEVER = "test_whatever_happens_it_answers_and_comes_to_an_end"
TRAINED = "test_a_search_ends_with_a_trial_that_was_trained_to_the_end"
BEST = "test_a_promoted_trial_was_among_the_best"
BROKEN = [
    (toys.Counting, WHATEVER),
    (toys.Sticky, "test_one_scheduler_may_serve_two_studies"),
    (toys.Remembering, WHATEVER),
    (toys.Remembering, "test_found_again_in_a_store_it_goes_on"),
    (toys.WaitsForEver, TRAINED),
    (toys.WaitsForEver, WHATEVER),
    (toys.LeavesUnfinished, TRAINED),
    (toys.WaitsForSuccess, "test_a_search_goes_on_where_all_trials_fail"),
    (toys.PromotesTheWorst, BEST),
    (toys.PromotesMost, BEST),
    (toys.PromotesTheRunning, WHATEVER),
    (toys.PromotesTwice, WHATEVER),
    (toys.Marking, WHATEVER),
    (toys.Marking, BEST),
    (toys.OffTheAxis, "test_it_begins_with_new_trials"),
    (toys.OffTheAxis, WHATEVER),
    (toys.Greedy, "test_it_begins_with_new_trials"),
    (toys.Greedy, WHATEVER),
    (toys.Literal, WHATEVER),
    (toys.HoldsAttemptsAgainst, "test_killed_and_resumed_is_as_never_killed"),
    (toys.GoesByEvents, "test_killed_and_resumed_is_as_never_killed"),
    (toys.AboveQuota, "test_no_rung_is_above_its_quota"),
    (toys.Wordless, WHATEVER),
    (toys.Rambling, WHATEVER),
]


@pytest.mark.parametrize(("kind", "name"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_promise_is_found_out(kind: type[Scheduler], name: str, tmp_path: Path) -> None:
    assert fails(kind, name, tmp_path)


def test_each_toy_is_tried() -> None:
    kinds = {kind for _, kind in inspect.getmembers(toys, inspect.isclass) if issubclass(kind, toys.Halver)}
    assert kinds == {toys.Halver, *(kind for kind, _ in BROKEN)}
