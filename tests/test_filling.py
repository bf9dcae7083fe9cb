"""What free slots do next: which numbers are reserved, when each gets its config, and in which thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.test_run_engine import Noted, Scripted, ended, make
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.lookahead import check_workers
from whet.core.protocols import (
    Assignment,
    Decision,
    Ended,
    Happening,
    Launch,
    Reported,
    Resume,
    RngOf,
    Scheduler,
    Suggestion,
)
from whet.core.trial import State
from whet.errors import SearchExhausted, SpaceError, UsageError
from whet.filling import Filling
from whet.run import Outcome, run
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

    def __init__(
        self,
        slots: int,
        sampler: Any = None,
        scheduler: Scheduler | None = None,
        *,
        in_background: bool = False,
        **settings: Any,
    ) -> None:
        store = MemoryStore()
        limits = {"n_trials": settings.pop("n_trials", None)}
        self.ledger = Ledger(store, store.create("s", settings_of(limits=limits, **settings)))
        self.sampler = sampler or Noting()
        self.slots = slots
        self.filling = Filling(self.sampler, scheduler or Fifo(), slots, in_background=in_background)

    @property
    def running(self) -> list[int]:
        return [trial.number for trial in self.ledger.history.running]

    def tick(self, n: int = 1) -> list[Draft]:
        drafts: list[Draft] = []
        for _ in range(n):
            new = self.filling.drafts(self.ledger.history, self.slots - len(self.running))
            reserve = self.filling.n_to_reserve(self.ledger.history)
            if new or reserve:
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


# ---- schedulers that take long


class Thinking(Fifo):
    """A scheduler, and the other one that it has assign: that answers as *answer* does."""

    def __init__(self, answer: Callable[[History, int, int], list[Assignment]] | None = None) -> None:
        self.threads: list[threading.Thread] = []
        self.decided = threading.Event()
        self._answer = answer or Fifo().assign
        self.other: Thinking | None = self

    def assigner(self) -> Scheduler | None:
        self.other = None if self.other is None else Thinking(self._answer)
        return self.other

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        self.threads.append(threading.current_thread())
        return self._answer(history, n, n_new)

    def decide(self, history: History, number: int) -> Decision:
        self.decided.set()
        fidelity, budget = history.problem.fidelity, history.unfinished[number].budget
        return Decision.CONTINUE if fidelity is None or budget == fidelity.high else Decision.PAUSE


def test_who_takes_long_to_assign_does_so_in_a_thread_and_another_one_decides() -> None:
    goes_on = threading.Event()

    def answer(history: History, n: int, n_new: int) -> list[Assignment]:
        assert goes_on.wait(20)
        return Fifo().assign(history, n, n_new)

    scheduler = Thinking(answer)
    engine = Engine(2, scheduler=scheduler, in_background=True)
    assert engine.tick(3) == []
    assert engine.filling.is_suggesting
    assert engine.filling.may_ask(engine.ledger.history)
    goes_on.set()
    while not engine.running:
        engine.tick()
    assert engine.running == [0, 1]
    assert scheduler.threads == []
    assert scheduler.other is not None and scheduler.other is not scheduler
    assert threading.current_thread() not in scheduler.other.threads
    assert len(scheduler.other.threads) == 1


@pytest.mark.parametrize("in_background", [True, False])
def test_who_takes_no_time_or_has_no_thread_assigns_at_once(in_background: bool) -> None:
    scheduler = Thinking()
    if in_background:
        scheduler.other = None
    engine = Engine(2, scheduler=scheduler, in_background=in_background)
    while not engine.running:
        engine.tick()
    assert set(scheduler.threads) == {threading.current_thread()}


@pytest.mark.parametrize("in_background", [True, False])
def test_what_a_scheduler_raises_comes_out(in_background: bool) -> None:
    def broken(history: History, n: int, n_new: int) -> list[Assignment]:
        raise SpaceError("no")

    engine = Engine(1, scheduler=Thinking(broken), in_background=in_background)
    with pytest.raises(SpaceError, match="no"):
        for _ in range(1000):
            engine.tick()


@pytest.mark.parametrize("in_background", [True, False])
def test_a_scheduler_that_waits_for_nothing_is_an_error(in_background: bool) -> None:
    engine = Engine(1, scheduler=Thinking(lambda history, n, n_new: []), in_background=in_background)
    with pytest.raises(UsageError, match="the scheduler Thinking waits for trials, and none is running"):
        for _ in range(1000):
            engine.tick()


@pytest.mark.parametrize("in_background", [True, False])
def test_a_scheduler_that_is_done_ends_the_search(in_background: bool) -> None:
    def done(history: History, n: int, n_new: int) -> list[Assignment]:
        raise SearchExhausted

    engine = Engine(1, scheduler=Thinking(done), in_background=in_background)
    while not engine.filling.is_exhausted:
        assert engine.tick() == []
    assert not engine.filling.may_ask(engine.ledger.history)


@pytest.mark.parametrize("in_background", [True, False])
def test_who_has_nothing_to_do_is_asked_again_only_when_more_is_known(in_background: bool) -> None:
    histories: list[History] = []

    def answer(history: History, n: int, n_new: int) -> list[Assignment]:
        histories.append(history)
        return Fifo().assign(history, n, n_new) if history.n_numbers < 2 or history.n_finished else []

    engine = Engine(2, scheduler=Thinking(answer), in_background=in_background)
    (other,) = engine.ledger.commit([], reserve=1).numbers
    engine.ledger.commit([Draft(Kind.ASKED, other, {"config": {"lr": 0.5}}),
                          Draft(Kind.STARTED, other, {"token": "t", "owner": "me"})])  # fmt: skip
    engine.slots = 3
    while len(histories) < 2:
        engine.tick()
    engine.tick(20)
    assert len(histories) == len({id(history) for history in histories})
    n_asked = len(histories)
    engine.end(other)
    while len(engine.running) < 2:
        engine.tick()
    assert len(histories) > n_asked


def test_reports_are_decided_on_while_the_scheduler_thinks() -> None:
    def answer(history: History, n: int, n_new: int) -> list[Assignment]:
        if history.running:
            waited.append(scheduler.decided.wait(10))
        return Fifo().assign(history, min(n, 1), n_new)

    class Reporting(Scripted):
        def poll(self, timeout_s: float) -> list[Happening]:
            happened = super().poll(timeout_s)
            if len(self.launches) == 1 and self._n_polls > 5:
                return [*(Reported(token, [(self._n_polls, {"value": 1.0})]) for token in self.running), *happened]
            return happened

    def ending(launch: Launch) -> Ended | None:
        return None if launch.number == 0 else ended(launch)

    def stop(n: int) -> None:
        if len(executor.launches) == 3:
            executor.stop(next(iter(executor.running), ""), "kill")

    waited: list[bool] = []
    scheduler = Thinking(answer)
    study = make(limits={"n_trials": 3}, scheduler=scheduler)
    executor = Reporting(ending, 2, stop)
    run(study, executor, Noted())
    assert waited[0]
    assert [launch.number for launch in executor.launches] == [0, 1, 2]


@pytest.mark.parametrize("how", ["cancelled", "resumed"])
def test_what_was_assigned_long_ago_and_cannot_be_any_more_is_left_out(how: str) -> None:
    goes_on = threading.Event()

    def answer(history: History, n: int, n_new: int) -> list[Assignment]:
        if n_new:
            return Fifo().assign(history, n, n_new)
        paused = [trial for trial in history.unfinished.values() if trial.state is State.PAUSED]
        if paused and not goes_on.is_set():
            thinking.set()
            assert goes_on.wait(10)
            return [Resume(trial.number, 9.0) for trial in paused]
        raise SearchExhausted

    def meanwhile(n: int) -> None:
        if not thinking.is_set() or goes_on.is_set():
            return
        other = Ledger(study.ledger.store, study.ledger.store.studies("s")[0])
        if how == "cancelled":
            other.commit([Draft(Kind.CANCELLED, 0)])
        else:
            start = Draft(Kind.STARTED, 0, {"token": "theirs", "owner": "elsewhere:1:abc"})
            other.commit([Draft(Kind.RESUMED, 0, {"budget": 9.0}), start])
            other.commit([Draft(Kind.PAUSED, 0, {"values": {"value": 7.0}}, "theirs")])
        goes_on.set()

    thinking = threading.Event()
    study = make(limits={"n_trials": 1}, scheduler=Thinking(answer), fidelity={"epochs": (1, 9)})
    study.ledger.commit([], reserve=1)
    config = {"config": {"n": 0}, "why": {}, "group": 0, "replicate": 0, "budget": 1}
    study.ledger.commit([Draft(Kind.ASKED, 0, config)])
    executor = Scripted(lambda launch: ended(launch, value=1.0), 1, meanwhile)
    assert run(study, executor, Noted()) == Outcome("done")
    assert [launch.budget for launch in executor.launches] == [1]
    assert study.trials[0].state is (State.CANCELLED if how == "cancelled" else State.PAUSED)
    assert study.trials[0].attempt == (1 if how == "cancelled" else 2)


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
