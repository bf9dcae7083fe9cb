"""Trials that have not ended: as a dict would keep them, but snapshots share what is paused."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.asking import release_drafts, requeue_drafts, waiting_numbers
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import problem_of
from whet.core.trial import State, Trial
from whet.core.unfinished import Unfinished
from whet.schedulers.ladder import is_busy
from whet.space.domain import Float

# On both sides of the ends of chunks, and far away.
NUMBERS = st.sampled_from([0, 1, 2, 254, 255, 256, 257, 511, 512, 100_000])


@given(st.lists(st.dictionaries(NUMBERS, st.sampled_from(list(State)), max_size=4), max_size=12))
def test_it_is_what_a_dict_would_be(batches: list[dict[int, State]]) -> None:
    now, expected = Unfinished(), dict[int, Trial]()
    snapshots = [(now, dict(expected))]
    for seed, batch in enumerate(batches):
        changes = {number: Trial(number, state, attempt=seed) for number, state in batch.items()}
        expected = {n: t for n, t in (expected | changes).items() if not t.state.is_final}
        now = now.changed(changes)
        snapshots.append((now, expected))
    for snapshot, known in snapshots:
        assert snapshot == known == snapshot and Unfinished(known) == snapshot
        assert list(snapshot) == sorted(known) and len(snapshot) == len(known)
        assert list(snapshot.values()) == [known[number] for number in sorted(known)]
        assert all((n in snapshot) == (n in known) and snapshot.get(n) == known.get(n) for n in range(-2, 520))
        assert snapshot.active == {n: t for n, t in known.items() if t.state is not State.PAUSED}
        assert snapshot.n_paused == len(known) - len(snapshot.active)
        assert copy.copy(snapshot) == copy.deepcopy(snapshot) == snapshot


def test_who_is_not_there_is_not_found() -> None:
    unfinished = Unfinished({3: Trial(3, State.PAUSED), 4: Trial(4)})
    assert 5 not in unfinished and "3" not in unfinished and None not in unfinished
    assert unfinished.get(5) is None
    with pytest.raises(KeyError):
        unfinished[5]
    assert unfinished != {3: Trial(3), 4: Trial(4)} and unfinished != {4: Trial(4)}
    assert repr(Unfinished({4: Trial(4)})) == f"Unfinished({{4: {Trial(4)!r}}})"


def begun() -> History:
    problem = problem_of({"x": Float(0.0, 1.0)}, "minimize", (), {"epochs": (1, 81)})
    return History.begin({"problem": problem.to_json(), "seed": 0})


def with_paused(n: int) -> History:
    """Return a history of *n* paused trials and one that runs."""
    seq = count(1)

    def events() -> Iterator[Event]:
        for number in range(n + 1):
            yield Event(next(seq), Kind.CLAIMED, number, 0, 0.0, {"owner": "me"})
            yield Event(next(seq), Kind.ASKED, number, 0, 0.0, {"config": {"x": 0.5}, "budget": 1})
            yield Event(next(seq), Kind.STARTED, number, 0, 0.0, {"token": "t", "owner": "me"})
            if number < n:
                yield Event(next(seq), Kind.REPORTED, number, 0, 0.0, {"rows": [[1.0, 0.5]]})
                yield Event(next(seq), Kind.PAUSED, number, 0, 0.0, {})

    return begun().extended(events())


def then(history: History, kind: Kind, number: int, **payload: object) -> History:
    return history.extended([Event(history.seq + 1, kind, number, 0, 0.0, payload)])


def test_snapshots_share_what_is_paused() -> None:
    history = with_paused(20_000)
    tracemalloc.start()
    try:
        snapshots = [history]
        for step in range(100):
            snapshots.append(then(snapshots[-1], Kind.REPORTED, 20_000, rows=[[float(step), 0.5]]))
        resumed = [then(history, Kind.RESUMED, number, budget=3) for number in range(0, 20_000, 200)]
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 5_000_000  # to copy them all takes 600,000 for each of the 200
    assert [len(snapshot.unfinished) for snapshot in (*snapshots, *resumed)] == [20_001] * 201
    assert history.n_paused == 20_000 and {snapshot.n_paused for snapshot in resumed} == {19_999}


def test_a_snapshot_stays_as_it_is() -> None:
    before = with_paused(3)
    known = dict(before.unfinished)
    resumed = then(before, Kind.RESUMED, 1, budget=3)
    ended = then(then(resumed, Kind.STOPPED, 0), Kind.STARTED, 1, token="u")
    assert before.unfinished == known and before.n_paused == 3 and list(before.active) == [3]
    assert sorted(resumed.active) == [1, 3] and resumed.unfinished[1].state is State.WAITING and resumed.n_paused == 2
    assert list(ended.unfinished) == [1, 2, 3] and ended.n_paused == 1 and sorted(ended.active) == [1, 3]
    other = before.with_unfinished(replace(before.unfinished[2], note="seen"))
    assert other.unfinished[2].note == "seen" and other != before and before.unfinished == known


def test_what_is_asked_of_a_history_counts_the_paused() -> None:
    history = then(with_paused(3), Kind.CLAIMED, 4, owner="gone")
    assert history.counts() == dict.fromkeys(State, 0) | {State.PAUSED: 3, State.RUNNING: 1}
    assert history.n_asked == 4 and [trial.number for trial in history.running] == [3]
    assert waiting_numbers(history) == [] and is_busy(history)
    history = then(history, Kind.COMPLETED, 3, values={"value": 0.5})
    assert not is_busy(history) and history.n_asked == 4
    history = then(then(history, Kind.RESUMED, 2, budget=3), Kind.RESUMED, 0, budget=3)
    assert waiting_numbers(history) == [0, 2] and is_busy(history)
    assert [draft.trial for draft in release_drafts(history, lambda owner: True, now=lambda: 0.0)] == [4]
    history = then(history, Kind.STARTED, 2, token="u", owner="gone")
    assert [draft.trial for draft in requeue_drafts(history, lambda owner: owner == "gone", now=lambda: 0.0)] == [2]
    restored = History.restore(
        history.settings,
        seq=history.seq,
        n_numbers=history.n_numbers,
        unfinished=dict(history.unfinished),
        finished=list(history.finished),
        pending_commands={},
    )
    assert restored == history and restored.active == history.active and restored.n_paused == history.n_paused
