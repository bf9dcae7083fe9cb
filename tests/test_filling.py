"""What free slots do next: which numbers are reserved, when each gets its config, and in which thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.lookahead import check_workers
from whet.core.protocols import RngOf, Suggestion
from whet.errors import SearchExhausted, SpaceError, UsageError
from whet.filling import Filling
from whet.schedulers.fifo import Fifo
from whet.storage.memory import MemoryStore
from whet.testing.store_writer import settings_of


class Noting:
    """A sampler that remembers what it was asked, in which thread, and what it was told."""

    def __init__(self, n_configs: int = 1000) -> None:
        self.asked: list[list[int]] = []
        self.n_known: list[int] = []
        self.threads: set[threading.Thread] = set()
        self._n_configs = n_configs

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        self.asked.append(list(numbers))
        self.n_known.append(history.n_finished)
        self.threads.add(threading.current_thread())
        if numbers[0] >= self._n_configs:
            raise SearchExhausted
        return [Suggestion({"lr": number / 1000}) for number in numbers if number < self._n_configs]


class Engine:
    """A run loop without the waiting: ticks when it is told to."""

    def __init__(self, slots: int, sampler: Any = None, *, in_background: bool = False, **settings: Any) -> None:
        store = MemoryStore()
        limits = {"n_trials": settings.pop("n_trials", None)}
        self.ledger = Ledger(store, store.create("s", settings_of(limits=limits, **settings)))
        self.sampler = sampler or Noting()
        self.slots = slots
        self.filling = Filling(self.sampler, Fifo(), slots, in_background=in_background)

    @property
    def running(self) -> list[int]:
        return [trial.number for trial in self.ledger.history.running]

    def tick(self, n: int = 1) -> list[Draft]:
        drafts: list[Draft] = []
        for _ in range(n):
            new = self.filling.drafts(self.ledger.history, self.slots - len(self.running))
            reserve = self.filling.n_to_reserve(self.ledger.history)
            appended = self.ledger.commit(new, reserve=reserve, below=self.filling.below(self.ledger.history))
            self.filling.add(appended.numbers)
            drafts += new
        return drafts

    def end(self, *numbers: int) -> None:
        payload = {"values": {"loss": 1.0}}
        self.ledger.commit([Draft(Kind.COMPLETED, number, payload) for number in numbers])


def test_slots_are_filled_in_the_order_of_the_numbers() -> None:
    engine = Engine(3)
    engine.tick(2)
    assert engine.running == [0, 1, 2]
    assert engine.sampler.asked == [[0, 1, 2]]
    engine.end(1)
    engine.tick(2)
    assert engine.running == [0, 2, 3]


@pytest.mark.parametrize("in_background", [True, False])
def test_configs_are_chosen_in_a_thread_only_where_there_is_something_else_to_do(in_background: bool) -> None:
    engine = Engine(2, in_background=in_background)
    while not engine.running:
        engine.tick()
    assert (threading.current_thread() in engine.sampler.threads) is not in_background
    assert not engine.filling.is_suggesting


@pytest.mark.parametrize("in_background", [True, False])
def test_an_error_of_the_sampler_comes_out(in_background: bool) -> None:
    class Broken:
        def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
            raise SpaceError("no")

    engine = Engine(1, Broken(), in_background=in_background)
    with pytest.raises(SpaceError, match="no"):
        for _ in range(1000):
            engine.tick()


# ---- the limit


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_limit_is_kept_and_nothing_beyond_it_reserved(repeats: int) -> None:
    engine = Engine(4, n_trials=3, repeats=repeats)
    for _ in range(10):
        engine.tick(2)
        engine.end(*engine.running)
    history = engine.ledger.history
    assert (history.n_finished, history.n_numbers) == (3 * repeats, 3 * repeats)
    assert not engine.filling.may_ask(history)
    assert engine.filling.n_to_reserve(history) == 0
    assert engine.filling.below(history) == 3 * repeats


def test_without_a_limit_there_is_always_more_to_ask() -> None:
    engine = Engine(2)
    engine.tick(2)
    assert engine.filling.below(engine.ledger.history) is None
    assert engine.filling.may_ask(engine.ledger.history)


def test_numbers_beyond_a_limit_that_was_lowered_are_not_asked() -> None:
    engine = Engine(5, n_trials=5)
    engine.tick()  # reserves
    engine.ledger.commit([Draft(Kind.AMENDED, None, {"settings": {"limits": {"n_trials": 2}}})])
    engine.tick(3)
    assert engine.running == [0, 1]
    assert not engine.filling.may_ask(engine.ledger.history)
    released = engine.filling.release_drafts()
    assert [draft.trial for draft in released] == [2, 3, 4]


def test_trials_that_others_added_do_not_count() -> None:
    engine = Engine(2, n_trials=3)
    added = Draft(Kind.ADDED, 0, {"config": {"lr": 0.5}, "group": 0, "replicate": 0})
    engine.ledger.commit([added, Draft(Kind.COMPLETED, 0, {"values": {"loss": 1.0}})])
    for _ in range(5):
        engine.tick(2)
        engine.end(*engine.running)
    assert engine.ledger.history.n_finished == 4
    assert not engine.filling.may_ask(engine.ledger.history)


def test_a_number_that_was_given_back_comes_before_those_that_wait() -> None:
    engine = Engine(2)
    (other,) = engine.ledger.commit([], reserve=1).numbers  # somebody else's
    engine.tick()
    engine.ledger.commit([Draft(Kind.RELEASED, other)])
    assert engine.filling.n_to_reserve(engine.ledger.history) == 1
    engine.filling.add(engine.ledger.commit([], reserve=1).numbers)
    engine.tick()
    assert engine.sampler.asked[0][0] == other


# ---- deterministic studies


def test_one_number_is_asked_at_a_time_and_each_from_what_is_old_enough() -> None:
    engine = Engine(3, lookahead=3)
    engine.tick(9)
    assert engine.running == [0, 1, 2]
    assert engine.sampler.asked == [[0], [1], [2]]
    engine.end(1, 2)
    assert not engine.tick(3)
    assert engine.running == [0]
    engine.end(0)
    engine.tick(9)
    assert engine.running == [3, 4, 5]
    assert engine.sampler.asked[3:] == [[3], [4], [5]]
    assert engine.sampler.n_known == [0, 0, 0, 1, 2, 3]


def test_to_wait_is_not_to_be_exhausted() -> None:
    engine = Engine(2, lookahead=2, n_trials=4)
    engine.tick(4)
    engine.end(1)
    assert not engine.tick()
    assert engine.filling.may_ask(engine.ledger.history)
    assert not engine.filling.is_exhausted
    assert not engine.filling.is_suggesting


def test_a_trial_that_is_to_run_again_is_waited_for() -> None:
    engine = Engine(2, lookahead=2)
    engine.tick(4)
    engine.ledger.commit([Draft(Kind.REQUEUED, 0, {"reason": "lost", "counts": False})])
    engine.end(1)
    started = [draft.trial for draft in engine.tick(3)]
    assert started == [0]


def test_repeats_are_asked_without_waiting_for_one_another() -> None:
    engine = Engine(4, lookahead=4, repeats=3)
    engine.tick(9)
    assert engine.running == [0, 1, 2, 3]
    assert engine.sampler.asked == [[0], [1]]
    engine.end(1, 2, 3)
    engine.tick(9)
    assert engine.running == [0, 4, 5]  # config 2 begins with trial 6, which waits for trial 2 and before
    engine.end(0)
    engine.tick(9)
    assert engine.sampler.asked == [[0], [1], [2]]
    assert engine.sampler.n_known == [0, 0, 3]


def test_a_number_that_somebody_else_holds_is_waited_for() -> None:
    engine = Engine(2, lookahead=4)
    (other,) = engine.ledger.commit([], reserve=1).numbers
    assert not engine.tick(3)
    engine.ledger.commit([Draft(Kind.RELEASED, other)])
    engine.tick(4)
    assert engine.running == [0, 1]


def test_the_end_of_the_space_is_the_end() -> None:
    engine = Engine(2, Noting(n_configs=3), lookahead=2)
    for _ in range(9):
        engine.tick(3)
        engine.end(*engine.running)
    assert engine.ledger.history.n_finished == 3
    assert engine.filling.is_exhausted
    assert not engine.filling.may_ask(engine.ledger.history)


@pytest.mark.parametrize(("lookahead", "workers"), [(None, 1), (None, 100), (1, 1), (8, 8)])
def test_as_many_workers_as_are_looked_ahead_are_fine(lookahead: int | None, workers: int) -> None:
    check_workers(lookahead, workers)


@pytest.mark.parametrize(("lookahead", "workers"), [(1, 2), (8, 9)])
def test_more_workers_are_refused(lookahead: int, workers: int) -> None:
    with pytest.raises(UsageError, match=f"at most {lookahead} trials at a time, got {workers} workers: use at most"):
        check_workers(lookahead, workers)
