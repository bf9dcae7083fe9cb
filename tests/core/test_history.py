"""Histories: snapshots that share what is finished, extend by the delta, and say who is best."""

from __future__ import annotations

import itertools
import math
import sys
import threading
from collections.abc import Mapping, Sequence
from random import Random
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core import jsontext
from whet.core.columns import Finished
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import Constraint, Objective
from whet.core.trial import Cause, State
from whet.errors import StateError
from whet.testing.store_writer import settings_of

_FINAL = {
    State.COMPLETED: Kind.COMPLETED,
    State.FAILED: Kind.FAILED,
    State.STOPPED: Kind.STOPPED,
    State.CANCELLED: Kind.CANCELLED,
}


class Log:
    """Makes events with gapless seqs, from the first one on."""

    def __init__(self, start: int = 1) -> None:
        self._seq = itertools.count(start)

    def event(self, kind: Kind, number: int | None = None, **payload: Any) -> Event:
        return Event(next(self._seq), kind, number, 0, 0.0, payload)

    def asked(self, number: int, **more: Any) -> list[Event]:
        payload = {"config": {"lr": number / 10}, "group": number, **more}
        return [self.event(Kind.CLAIMED, number, owner="me"), self.event(Kind.ASKED, number, **payload)]

    def life(self, number: int, values: Mapping[str, float], end: Kind = Kind.COMPLETED, **more: Any) -> list[Event]:
        started = self.event(Kind.STARTED, number, token="t")
        reported = self.event(Kind.REPORTED, number, rows=[[1, 0.5]])
        return [*self.asked(number, **more), started, reported, self.event(end, number, values=values, cause="error")]


def begun(*objectives: Objective, constraints: Sequence[Constraint] = (), **more: Any) -> History:
    return History.begin(settings_of(objectives or [Objective("loss")], constraints, **more))


def with_losses(*losses: float, history: History | None = None) -> History:
    log = Log()
    events = [event for number, loss in enumerate(losses) for event in log.life(number, {"loss": loss})]
    return (history or begun()).extended(_in_order(events))


def _in_order(events: Sequence[Event]) -> list[Event]:
    """Return *events* with seqs in their order: an event made first may come later."""
    return [Event(seq, e.kind, e.trial, e.attempt, e.time, e.payload) for seq, e in enumerate(events, start=1)]


# ---- snapshots


def test_a_new_study_knows_nothing_but_its_settings() -> None:
    history = begun(note="x")
    assert (history.seq, history.n_numbers, history.n_finished, history.n_asked) == (0, 0, 0, 0)
    assert history.settings["note"] == "x"
    assert (history.best(), list(history.finished), history.running) == (None, [], [])
    assert sum(history.counts().values()) == 0
    observations = history.observations()
    assert (observations.x.shape, observations.values.shape, len(observations.numbers)) == ((0, 1), (0, 1), 0)


def test_a_snapshot_does_not_change() -> None:
    log = Log()
    first = begun().extended(_in_order(log.life(0, {"loss": 1.0})))
    seen = (first.seq, first.counts(), first.best(), list(first.finished), first.observations())
    more = [Event(first.seq + i, *rest) for i, rest in enumerate(_rest(log.life(1, {"loss": 0.5})), start=1)]
    second = first.extended(more)
    assert (second.n_finished, second.best(), second.n_numbers) == (2, 1, 2)
    assert [trial.number for trial in second.just_ended] == [1]
    assert (first.seq, first.counts(), first.best(), list(first.finished)) == seen[:4]
    assert len(first.observations().numbers) == 1
    assert second.extended([]).just_ended == ()


def _rest(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    return [(e.kind, e.trial, e.attempt, e.time, e.payload) for e in _in_order(events)]


def test_events_in_pieces_say_the_same_as_at_once() -> None:
    log = Log()
    lives = [log.life(n, {"loss": float(n)}, end) for n, end in enumerate([*_FINAL.values(), Kind.PAUSED])]
    events = _in_order([event for life in lives for event in life])
    whole = begun().extended(events)
    for size in (1, 2, 7):
        pieces = begun()
        for start in range(0, len(events), size):
            pieces = pieces.extended(events[start : start + size])
        assert pieces == whole
        assert list(pieces.finished) == list(whole.finished)
        assert pieces.counts() == whole.counts()


def test_two_futures_of_one_snapshot_do_not_mix() -> None:
    log = Log()
    now = begun().extended(_in_order([*log.asked(0), log.event(Kind.STARTED, 0, token="t"), *log.asked(1)]))
    futures = []
    for loss in (1.0, 2.0, 1.0):
        end = Event(now.seq + 1, Kind.COMPLETED, 0, 1, 0.0, {"values": {"loss": loss}})
        futures.append(now.extended([end]))
        futures[-1].observations()
    assert [future.finished[0].values for future in futures] == [(1.0,), (2.0,), (1.0,)]
    assert [future.observations().values[0, 0] for future in futures] == [1.0, 2.0, 1.0]
    later = []
    for future, kind in zip(futures, (Kind.CANCELLED, Kind.CANCELLED, Kind.CANCELLED), strict=True):
        later.append(future.extended([Event(future.seq + 1, kind, 1, 0, 0.0, {})]))
    assert [len(future.finished) for future in later] == [2, 2, 2]
    assert [future.finished[0].values for future in later] == [(1.0,), (2.0,), (1.0,)]
    assert now.n_finished == 0


def test_an_event_that_cannot_be_is_refused() -> None:
    history = with_losses(1.0)
    with pytest.raises(StateError, match="trial 0"):
        history.extended([Event(history.seq + 1, Kind.REPORTED, 0, 1, 0.0, {"rows": []})])
    with pytest.raises(AssertionError):
        history.extended([Event(history.seq, Kind.CLAIMED, 1, 0, 0.0, {})])


def test_commands_and_amendments_are_folded() -> None:
    log = Log()
    history = begun(n_trials=1).extended(
        [
            log.event(Kind.COMMAND, command="stop"),
            log.event(Kind.COMMAND, command="stop", trial=3),
            log.event(Kind.COMMAND, of=1, outcome="done"),
            log.event(Kind.AMENDED, settings={"n_trials": 5, "new": True}),
        ]
    )
    assert history.pending_commands == {2: {"command": "stop", "trial": 3}}
    assert (history.settings["n_trials"], history.settings["new"], history.settings["seed"]) == (5, True, 7)


def test_running_and_counts() -> None:
    log = Log()
    events = [
        *log.asked(2),
        log.event(Kind.STARTED, 2, token="t"),
        *log.asked(0),
        log.event(Kind.STARTED, 0, token="u"),
    ]
    events += [*log.asked(1), log.event(Kind.CLAIMED, 3, owner="me"), *log.life(4, {}, Kind.FAILED)]
    history = begun().extended(_in_order(events))
    assert [trial.number for trial in history.running] == [0, 2]
    assert (history.n_numbers, history.n_asked, history.n_finished) == (5, 4, 1)
    counts = {state: n for state, n in history.counts().items() if n}
    assert counts == {State.RUNNING: 2, State.WAITING: 1, State.FAILED: 1}


# ---- restored from a store


def test_a_restored_history_goes_on_like_the_one_that_lived() -> None:
    lived = with_losses(3.0, 1.0, 2.0)
    finished = [
        Finished(row.number, row.state, row.group, jsontext.dumps(row.config), row.values, row.budget, None, row.curve)
        for row in lived.finished
    ]
    restored = History.restore(
        lived.settings, seq=lived.seq, n_numbers=3, unfinished={}, finished=finished, pending_commands={}
    )
    assert restored.best() == lived.best() == 1
    assert restored.counts() == lived.counts()
    assert np.array_equal(restored.observations().x, lived.observations().x)
    assert restored.finished_config(range(1, 3)) == {"lr": 0.1}
    more = [Event(lived.seq + i, *rest) for i, rest in enumerate(_rest(Log().life(3, {"loss": 0.5})), start=1)]
    assert restored.extended(more).best() == lived.extended(more).best() == 3


# ---- what algorithms see


def test_observations_are_in_the_order_of_the_endings() -> None:
    log = Log()
    ends = list(_FINAL.values())
    events = [
        event for n, end in zip((3, 0, 2, 1), ends, strict=True) for event in log.life(n, {"loss": n}, end, budget=9)
    ]
    history = begun().extended(_in_order(events))
    highest, everything = history.observations(), history.observations("all")
    assert highest.numbers.tolist() == [3, 0]
    assert highest.completed.tolist() == [True, False]
    assert everything.numbers.tolist() == [3, 0, 2]
    assert everything.values.tolist() == [[3.0], [0.0], [2.0]]
    assert everything.budgets.tolist() == [9.0] * 3
    assert np.allclose(everything.x[:, 0], [0.3, 0.0, 0.2])
    assert [row.cause for row in history.finished] == [None, Cause.ERROR, None, None]


def test_what_is_unknown_is_nan() -> None:
    history = begun(Objective("acc", "maximize"), constraints=[Constraint("ms", "<=", 1.0)])
    observations = history.extended(_in_order(Log().life(0, {"ms": 0.5, "other": 3.0}))).observations()
    assert np.array_equal(observations.values, [[math.nan, 0.5]], equal_nan=True)
    assert np.isnan(observations.budgets).all()


def test_what_is_given_away_may_be_changed() -> None:
    history = with_losses(1.0, 2.0)
    history.observations().x[:] = 99.0
    history.observations().values[:] = 99.0
    assert history.observations().x.max() < 1
    assert history.best() == 0


def test_snapshots_are_read_from_several_threads() -> None:
    """A suggestion is computed in a thread while the study goes on."""
    history, log = begun(), Log()
    lives = [log.life(number, {"loss": 1.0}) for number in range(300)]
    events = _in_order([event for life in lives for event in life])
    wrong: list[object] = []

    def look(snapshot: History) -> None:
        observations = snapshot.observations()
        if not np.allclose(observations.x[:, 0], np.minimum(np.arange(snapshot.n_finished) / 10, 1.0), atol=1e-9):
            wrong.append(observations.x)

    threads = []
    for start in range(0, len(events), 50):
        history = history.extended(_clipped(events[start : start + 50]))
        threads += [threading.Thread(target=look, args=(history,)) for _ in range(2)]
        for thread in threads[-2:]:
            thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert history.n_finished == 300


def _clipped(events: Sequence[Event]) -> list[Event]:
    """Return *events* with configs inside the space, whose only parameter goes from 0 to 1."""
    clipped = []
    for e in events:
        payload = e.payload
        if e.kind is Kind.ASKED:
            payload = {**payload, "config": {"lr": min(payload["config"]["lr"], 1.0)}}
        clipped.append(Event(e.seq, e.kind, e.trial, e.attempt, e.time, payload))
    return clipped


# ---- who is best


@given(st.lists(st.floats(), max_size=8), st.sampled_from(["minimize", "maximize"]))
def test_the_best_is_the_first_of_the_extremes(losses: list[float], direction: Any) -> None:
    history = with_losses(*losses, history=begun(Objective("loss", direction)))
    pick = min if direction == "minimize" else max
    known = [loss for loss in losses if not math.isnan(loss)]
    assert history.best() == (losses.index(pick(known)) if known else None)
    if known:
        assert history.leader() == (losses.index(pick(known)), pick(known))


def test_only_what_completed_within_the_constraints_is_best() -> None:
    history, log = begun(constraints=[Constraint("ms", "<=", 20.0)]), Log()
    events = [
        *log.life(0, {"loss": 0.0, "ms": 1.0}, Kind.FAILED),
        *log.life(1, {"loss": 0.1, "ms": 1.0}, Kind.STOPPED),
        *log.life(2, {"loss": 0.2, "ms": 20.1}),
        *log.life(3, {"loss": 0.3}),
        *log.life(4, {"loss": 0.4, "ms": 20.0}),
        *log.life(5, {"loss": 0.5, "ms": 20.0}),
    ]
    assert history.extended(_in_order(events)).best() == 4


def test_no_trial_is_the_best_of_several_objectives() -> None:
    history = begun(Objective("a"), Objective("b"))
    assert history.extended(_in_order(Log().life(0, {"a": 1.0, "b": 2.0}))).best() is None


def test_repeats_count_by_their_mean_once_all_have_ended() -> None:
    log = Log()

    def life(number: int, loss: float, end: Kind = Kind.COMPLETED) -> list[Event]:
        return log.life(number, {"loss": loss}, end, group=number // 2, replicate=number % 2)

    ended = [*life(0, 1.0), *life(1, 3.0), *life(2, 2.5), *life(3, 0.5), *life(4, 0.0)]
    waiting = [*log.asked(5, group=2, replicate=1)]
    history = begun(repeats=2).extended(_in_order([*ended, *waiting]))
    assert history.means() == [(2, 1.5), (0, 2.0)]
    assert history.leader() == (2, 1.5)
    last = [Event(history.seq + 1, Kind.CANCELLED, 5, 0, 0.0, {})]
    assert history.extended(last).leader() == (4, 0.0)  # the mean of the one that completed


@pytest.mark.parametrize("end", [Kind.STOPPED, Kind.PAUSED])
def test_repeats_that_were_cut_do_not_make_their_config_look_better(end: Kind) -> None:
    log = Log()

    def life(number: int, loss: float, end: Kind = Kind.COMPLETED) -> list[Event]:
        return log.life(number, {"loss": loss}, end, group=number // 2, replicate=number % 2)

    events = _in_order([*life(0, 0.1), *life(1, 9.0, end), *life(2, 0.4), *life(3, 0.6)])
    history = begun(repeats=2).extended(events)
    assert history.means() == [(2, 0.5), (0, 0.1)]
    only = begun(repeats=2).extended(_in_order([*life(4, 0.1), *life(5, 9.0, end)]))
    assert only.leader() == (4, 0.1)


def test_two_threads_may_ask_what_is_known() -> None:
    log = Log()
    history = begun().extended(_in_order([event for n in range(60) for event in log.life(n, {"loss": float(n)})]))
    errors: list[Exception] = []

    def ask(seed: int) -> None:
        rng = Random(seed)
        try:
            for _ in range(1_500):
                history.as_known(rng.randrange(60))
        except Exception as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [Thread(target=ask, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors


def test_a_trial_that_has_paused_is_told_as_it_was_then_though_it_goes_on_at_once() -> None:
    log = Log()
    life = _in_order(log.life(0, {"loss": 0.5}, Kind.PAUSED))
    seq = life[-1].seq
    more = [
        Event(seq + 1, Kind.RESUMED, 0, 0, 0.0, {"budget": 9}),
        Event(seq + 2, Kind.STARTED, 0, 0, 0.0, {"token": "u"}),
    ]
    history = begun().extended([*life, *more])
    assert [(trial.state, trial.values) for trial in history.just_ended] == [(State.PAUSED, {"loss": 0.5})]
    assert history.unfinished[0].state is State.RUNNING and history.n_finished == 0
