"""What a history says is known once trials up to a number have ended: the same in whatever order they did."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import Objective
from whet.core.trial import State
from whet.testing.store_writer import settings_of

_ENDS = (Kind.COMPLETED, Kind.FAILED, Kind.STOPPED, Kind.CANCELLED)
_Life = tuple[Kind, float, int]  # how it ends, with which value, after how many reports


def _asks(n: int, repeats: int) -> list[tuple[Kind, int, dict[str, Any]]]:
    asked = []
    for number in range(n):
        group, replicate = divmod(number, repeats)
        payload = {"config": {"lr": group / 100}, "group": group, "replicate": replicate, "why": {"source": "here"}}
        asked += [(Kind.CLAIMED, number, {"owner": "me"}), (Kind.ASKED, number, payload)]
    return asked


def _life(number: int, life: _Life, attempts: int = 1) -> list[tuple[Kind, int, dict[str, Any]]]:
    end, value, n_reports = life
    facts: list[tuple[Kind, int, dict[str, Any]]] = []
    for attempt in range(attempts):
        facts.append((Kind.STARTED, number, {"token": f"{number}/{attempt}", "owner": "me"}))
        facts += [(Kind.REPORTED, number, {"rows": [[step, value + 1]]}) for step in range(n_reports)]
        facts.append((Kind.REQUEUED, number, {"reason": "lost", "counts": False}))
    facts[-1] = (end, number, {"values": {"loss": value}, "cause": "error" if end is Kind.FAILED else None})
    return facts


def _folded(
    facts: Sequence[tuple[Kind, int, Mapping[str, Any]]], history: History | None = None, repeats: int = 1
) -> History:
    history = history or History.begin(settings_of([Objective("loss")], repeats=repeats))
    events = [Event(history.seq + i, kind, n, 0, float(i), payload) for i, (kind, n, payload) in enumerate(facts, 1)]
    return history.extended(events)


def _with_ended(lives: Sequence[_Life], order: Sequence[int], repeats: int = 1) -> History:
    """Return a history in which trials end in *order*; those that are not in it run."""
    facts = _asks(len(lives), repeats)
    for number in order:
        facts += _life(number, lives[number])
    facts += [(Kind.STARTED, n, {"token": "t", "owner": "me"}) for n in range(len(lives)) if n not in order]
    return _folded(facts, repeats=repeats)


def _check_same(one: History, other: History) -> None:
    assert one == other
    assert one.finished == other.finished
    assert (one.best(), one.leader(), one.counts(), one.n_asked) == (
        other.best(),
        other.leader(),
        other.counts(),
        other.n_asked,
    )
    for fidelity in ("highest", "all"):
        mine, theirs = one.observations(fidelity), other.observations(fidelity)
        for name in ("numbers", "x", "values", "budgets", "completed"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=True)


_lives = st.lists(
    st.tuples(st.sampled_from(_ENDS), st.sampled_from([0.0, 1.5, 2.0, float("inf")]), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


@given(_lives, st.data(), st.integers(1, 3))
def test_it_is_a_function_of_the_trials_and_not_of_the_order_in_which_they_ended(
    lives: list[_Life], data: st.DataObject, repeats: int
) -> None:
    lives = lives[: len(lives) - len(lives) % repeats] or lives * repeats
    upto = data.draw(st.integers(-1, len(lives) - 1))
    later = range(upto + 1, len(lives))
    views = []
    for _ in range(2):
        also_ended = data.draw(st.lists(st.sampled_from(later), unique=True)) if later else []
        order = data.draw(st.permutations([*range(upto + 1), *also_ended]))
        views.append(_with_ended(lives, order, repeats).as_known(upto))
    _check_same(*views)
    assert [row.number for row in views[0].finished] == list(range(upto + 1))
    assert [trial.number for trial in views[0].running] == list(later)


@given(_lives)
def test_it_is_what_a_single_worker_would_know(lives: list[_Life]) -> None:
    one_worker = _folded([])
    in_any_order = _with_ended(lives, random.Random(1).sample(range(len(lives)), len(lives)))
    facts = _asks(len(lives), 1)
    for number, life in enumerate(lives):
        one_worker = _folded([*facts[2 * number : 2 * number + 2], *_life(number, life)], one_worker)
        known = in_any_order.as_known(number)
        assert known.finished == one_worker.finished
        assert known.leader() == one_worker.leader()
        assert {s: n for s, n in known.counts().items() if s.is_final} == {
            s: n for s, n in one_worker.counts().items() if s.is_final
        }


@given(_lives, st.permutations(range(12)))
def test_going_on_gives_what_beginning_anew_gives(lives: list[_Life], order: list[int]) -> None:
    order = [number for number in order if number < len(lives)]
    history = _folded(_asks(len(lives), 1))
    for number in order:
        history = _folded(_life(number, lives[number]), history)
        n_ended = next((n for n in range(len(lives)) if n in history.unfinished), len(lives))
        afresh = History.restore(
            history.settings,
            seq=history.seq,
            n_numbers=history.n_numbers,
            unfinished=history.unfinished,
            finished=list(history.finished),
            pending_commands={},
        )
        _check_same(history.as_known(n_ended - 1), afresh.as_known(n_ended - 1))


def test_what_has_ended_later_runs_as_if_it_had_just_begun() -> None:
    lives = [(Kind.COMPLETED, 3.0, 2), (Kind.COMPLETED, 1.0, 2), (Kind.FAILED, 0.5, 2), (Kind.COMPLETED, 2.0, 2)]
    ended, running = _with_ended(lives, [3, 2, 1, 0]).as_known(0), _with_ended(lives, [0]).as_known(0)
    _check_same(ended, running)
    assert (ended.best(), ended.n_finished, ended.n_asked, ended.n_numbers) == (0, 1, 4, 4)
    assert not ended.just_ended
    trial = ended.unfinished[2]
    assert (trial.state, trial.config, trial.attempt, len(trial.curve)) == (State.RUNNING, {"lr": 0.02}, 1, 0)
    assert (trial.values, trial.cause, trial.token, trial.owner, trial.started_at) == ({}, None, None, None, None)


def test_numbers_without_a_config_and_commands_are_left_out() -> None:
    lives = [(Kind.COMPLETED, 1.0, 0)] * 2
    history = _with_ended(lives, [1, 0])
    reserved = _folded([(Kind.CLAIMED, 2, {"owner": "me"}), (Kind.CLAIMED, 3, {"owner": "you"})], history)
    commanded = reserved.extended([Event(reserved.seq + 1, Kind.COMMAND, None, 0, 0.0, {"command": "stop"})])
    _check_same(commanded.as_known(1), history.as_known(1))
    assert commanded.as_known(1).n_numbers == 2


def test_how_often_a_trial_was_tried_is_forgotten() -> None:
    life = (Kind.COMPLETED, 1.0, 1)
    once = _folded([*_asks(2, 1), *_life(0, life)])
    thrice = _folded([*_asks(2, 1), *_life(0, life, attempts=3), (Kind.STARTED, 1, {"token": "x", "owner": "me"})])
    _check_same(once.as_known(0), thrice.as_known(0))


def test_trials_that_have_not_ended_yet_run_whatever_their_number() -> None:
    lives = [(Kind.COMPLETED, float(number), 0) for number in range(5)]
    known = _with_ended(lives, [4, 2, 0]).as_known(3)
    assert [row.number for row in known.finished] == [0, 2]
    assert [trial.number for trial in known.running] == [1, 3, 4]
    assert known.best() == 0


@pytest.mark.parametrize("upto", [-9, -1])
def test_at_first_nothing_has_ended(upto: int) -> None:
    known = _with_ended([(Kind.COMPLETED, 1.0, 0)] * 3, [0, 2]).as_known(upto)
    assert (known.n_finished, known.best(), len(known.running)) == (0, None, 3)
    assert _folded([]).as_known(upto).n_numbers == 0


def test_it_sees_all_that_is_there_and_no_more() -> None:
    history = _with_ended([(Kind.COMPLETED, 1.0, 0)] * 3, [0, 2])
    _check_same(history.as_known(99), history.as_known(2))


def test_a_config_whose_repeats_have_not_all_ended_is_no_leader() -> None:
    lives = [(Kind.COMPLETED, value, 0) for value in (5.0, 6.0, 1.0, 1.0)]
    history = _with_ended(lives, [3, 2, 1, 0], repeats=2)
    assert history.leader() == (2, 1.0)
    assert history.as_known(2).leader() == (0, 5.5)
    assert history.as_known(0).leader() is None


def test_a_snapshot_answers_from_what_it_knows_itself() -> None:
    lives = [(Kind.COMPLETED, 2.0, 0)] * 2
    before = _with_ended(lives, [0])
    after = _folded([(Kind.COMPLETED, 1, {"values": {"loss": 1.0}})], before)
    otherwise = _folded([(Kind.FAILED, 1, {"cause": "error"})], before)
    assert after.as_known(1).best() == 1
    assert [trial.number for trial in before.as_known(1).running] == [1]
    assert otherwise.as_known(1).counts()[State.FAILED] == 1
    assert (otherwise.as_known(1).best(), after.as_known(1).best()) == (0, 1)


def test_its_seq_tells_one_state_of_knowledge_from_another() -> None:
    lives = [(Kind.COMPLETED, 1.0, 0)] * 6
    history = _folded([])
    facts = _asks(6, 1)
    seen = []
    for number in range(6):  # asked with a lookahead of 2
        seen.append(history.as_known(number - 2).seq)
        history = _folded([*facts[2 * number : 2 * number + 2], *_life(number, lives[number])], history)
    assert seen == sorted(set(seen))
