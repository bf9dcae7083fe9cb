"""What has changed since an earlier snapshot: told by the trail, and the same as if everything were compared."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from whet.core.columns import Finished
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.trail import Trail
from whet.core.trial import Trial
from whet.space.domain import Float
from whet.space.space import Space
from whet.testing.sampler_histories import history_of


def trials(*numbers: int) -> list[Trial]:
    return [Trial(number) for number in numbers]


def test_snapshots_that_go_the_same_way_share_a_trail() -> None:
    trail, n = Trail().extended(0, trials(1, 2))
    assert n == 2 and trail.numbers(0, 2) == {1, 2} and trail.numbers(2, 2) == set()
    same, n = trail.extended(0, trials(1, 2, 3))
    assert same is trail and n == 3 and trail.numbers(2, 3) == {3}
    shorter, n = trail.extended(1, trials(2))
    assert shorter is trail and n == 2


def test_another_way_is_another_trail() -> None:
    trail, _ = Trail().extended(0, trials(1, 2))
    other, n = trail.extended(1, trials(5))
    assert other is not trail and n == 1 and other.numbers(0, 1) == {5}
    assert trail.numbers(0, 2) == {1, 2}


def test_the_beginning_of_a_long_trail_is_forgotten() -> None:
    trail, n = Trail(), 0
    for number in range(5_000):
        trail, n = trail.extended(n, trials(number))
    assert n == 5_000
    assert trail.numbers(0, n) is None
    assert trail.numbers(n - 100, n) == set(range(4_900, 5_000))
    branch, m = trail.extended(3, trials(7))
    assert branch is not trail and branch.numbers(0, m) == {7}


def reported(history: History, number: int, value: float) -> History:
    """Return the history after trial *number* began, or reported *value*, or completed with it where that is 0."""
    begin = [(Kind.CLAIMED, {"owner": "me"}), (Kind.ASKED, {"config": {"x": 0.5}}), (Kind.STARTED, {"token": "t"})]
    if number in history.unfinished:
        begin = [(Kind.REPORTED, {"rows": [[1.0, value]]}) if value else (Kind.COMPLETED, {"values": {"value": value}})]
    elif number < history.n_numbers:
        return history
    numbered = zip(count(history.seq + 1), begin, strict=False)
    return history.extended(Event(seq, kind, number, 0, 0.0, payload) for seq, (kind, payload) in numbered)


_steps = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0]), st.booleans()), max_size=30)


@given(_steps, st.integers(1, 4))
def test_the_trail_tells_what_has_changed(steps: list[tuple[int, float, bool]], every: int) -> None:
    history = since = history_of(Space({"x": Float(0.0, 1.0)}))
    known: dict[int, Trial | Finished] = {}
    for at, (number, value, is_preview) in enumerate(steps):
        number = min(number, history.n_numbers)
        if is_preview:
            reported(history, number, 3.0 - value)
        history = reported(reported(history, number, value), number, value)
        if at % every == 0:
            changes = history.changes_since(since)
            if changes is None:
                known, changes = {}, [*history.finished, *history.unfinished.values()]
            known.update((trial.number, trial) for trial in changes)
            since = history
            everything = [*history.finished, *history.unfinished.values()]
            assert known == {trial.number: trial for trial in everything}
