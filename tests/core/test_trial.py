"""A trial's life: the table of transitions, and what each event changes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.events import Event, Kind
from whet.core.trial import FINAL, TRANSITIONS, Cause, Curve, State, Trial, advance
from whet.errors import StateError

_seq = itertools.count(1)


def event(kind: Kind, time: float = 0.0, number: int | None = 0, **payload: Any) -> Event:
    return Event(next(_seq), kind, number, 0, time, payload)


def lived(*events: Event) -> Trial:
    trial: Trial | None = None
    for happened in events:
        trial = advance(trial, happened)
    assert trial is not None
    return trial


CLAIMED = event(Kind.CLAIMED, owner="me")
ASKED = event(Kind.ASKED, 1.0, config={"lr": 0.1}, why={"how": "random"}, group=2, replicate=1, budget=9)
STARTED = event(Kind.STARTED, 2.0, token="t", owner="me")
REPORTED = event(Kind.REPORTED, 3.0, rows=[[1, 0.5], [2, None]])
REQUEUED = event(Kind.REQUEUED, 4.0, reason="lost")
RESERVED = lived(CLAIMED)
RUNNING = lived(CLAIMED, ASKED, STARTED, REPORTED)

# A trial in each state, as it is reached.
IN: dict[State | None, Trial | None] = {
    None: None,
    State.WAITING: lived(CLAIMED, ASKED),
    State.RUNNING: RUNNING,
    State.PAUSED: advance(RUNNING, event(Kind.PAUSED, 4.0)),
    State.COMPLETED: advance(RUNNING, event(Kind.COMPLETED, 4.0, values={"loss": 0.5})),
    State.STOPPED: advance(RUNNING, event(Kind.STOPPED, 4.0)),
    State.FAILED: advance(RUNNING, event(Kind.FAILED, 4.0, cause="error")),
    State.CANCELLED: advance(RUNNING, event(Kind.CANCELLED, 4.0)),
}
PAYLOADS: dict[Kind, dict[str, Any]] = {
    Kind.CLAIMED: {"owner": "me"},
    Kind.ASKED: {"config": {}},
    Kind.ENQUEUED: {"config": {}},
    Kind.ADDED: {"config": {}},
    Kind.STARTED: {"token": "u"},
    Kind.REPORTED: {"rows": []},
}
# What the table allows by state, but not for every trial in it.
ONLY_RESERVED = {Kind.CLAIMED, Kind.RELEASED, Kind.ASKED}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("state", IN)
def test_the_table_is_all_there_is(state: State | None, kind: Kind) -> None:
    trial = IN[state]
    happened = event(kind, 5.0, **PAYLOADS.get(kind, {}))
    allowed = kind in TRANSITIONS.get(state, {}) and not (state is State.WAITING and kind in ONLY_RESERVED)
    if allowed:
        after = advance(trial, happened)
        assert after.state is TRANSITIONS[state][kind]
        assert after.number == 0
    else:
        with pytest.raises(StateError, match="trial 0"):
            advance(trial, happened)


@pytest.mark.parametrize("kind", Kind)
def test_a_number_without_a_config_is_asked_or_released_only(kind: Kind) -> None:
    happened = event(kind, **PAYLOADS.get(kind, {}))
    if kind in (Kind.ASKED, Kind.RELEASED):
        assert advance(RESERVED, happened).state is State.WAITING
    else:
        with pytest.raises(StateError, match="trial 0 is waiting without a config"):
            advance(RESERVED, happened)


def test_a_released_number_is_claimed_again() -> None:
    free = advance(RESERVED, event(Kind.RELEASED, owner="nobody asks"))
    assert free.owner is None
    assert advance(free, event(Kind.CLAIMED, owner="you")).owner == "you"


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_trial_that_has_ended_can_be_annotated_and_no_more(state: State) -> None:
    assert TRANSITIONS[state] == {Kind.ANNOTATED: state}


@pytest.mark.parametrize("state", State)
def test_what_is_said_of_a_trial_changes_nothing_else(state: State) -> None:
    before = IN[state]
    assert before is not None
    said = advance(before, event(Kind.ANNOTATED, 9.0, attributes={"a": 1, "b": [2]}, note="good"))
    assert (said.attributes, said.note) == ({"a": 1, "b": [2]}, "good")
    assert replace(said, attributes={}, note="") == before
    more = advance(said, event(Kind.ANNOTATED, 9.0, attributes={"b": None, "c": {"d": None}, "none": None}))
    assert (more.attributes, more.note) == ({"a": 1, "c": {"d": None}}, "good")
    assert advance(more, event(Kind.ANNOTATED, 9.0, note="")).note == ""
    assert advance(more, event(Kind.ANNOTATED, 9.0)) == more


def test_a_given_config_claims_its_number_itself() -> None:
    enqueued = lived(event(Kind.ENQUEUED, 1.0, config={"lr": 1}, group=3, replicate=1))
    assert (enqueued.state, enqueued.given) == (State.WAITING, "enqueued")
    assert (enqueued.config, enqueued.group) == ({"lr": 1}, 3)
    assert advance(enqueued, STARTED).given == "enqueued"
    added = lived(event(Kind.ADDED, 1.0, config={"lr": 1}), REPORTED, event(Kind.COMPLETED, 2.0, values={"loss": 0.5}))
    assert (added.state, added.given, added.values, len(added.curve)) == (State.COMPLETED, "added", {"loss": 0.5}, 2)
    assert (added.attempt, added.started_at, added.ended_at, added.duration_s) == (0, None, 2.0, None)
    assert lived(CLAIMED, ASKED).given is None


def test_an_event_that_names_no_trial_is_refused() -> None:
    with pytest.raises(StateError, match="'started' names no trial"):
        advance(None, event(Kind.STARTED, number=None))


def test_a_refusal_says_what_would_be_allowed() -> None:
    with pytest.raises(StateError, match=r"trial 0 is completed and cannot be started \(possible now: annotated\)"):
        advance(IN[State.COMPLETED], event(Kind.STARTED, token="u"))
    with pytest.raises(StateError, match=r"possible now: resumed, completed, stopped, cancelled, annotated\)"):
        advance(IN[State.PAUSED], event(Kind.STARTED, token="u"))


def test_each_event_leaves_its_mark() -> None:
    waiting = lived(CLAIMED, ASKED)
    assert (waiting.config, waiting.why, waiting.group, waiting.replicate) == ({"lr": 0.1}, {"how": "random"}, 2, 1)
    assert (waiting.budget, waiting.owner, waiting.asked_at, waiting.duration_s) == (9, None, 1.0, None)
    assert (RUNNING.attempt, RUNNING.token, RUNNING.owner, RUNNING.started_at) == (1, "t", "me", 2.0)
    assert RUNNING.duration_s is None
    done = advance(RUNNING, event(Kind.COMPLETED, 4.5, values={"loss": 0.5}))
    assert (done.values, done.token, done.owner, done.duration_s) == ({"loss": 0.5}, None, None, 2.5)


def test_a_failure_says_why() -> None:
    failed = advance(RUNNING, event(Kind.FAILED, 4.0, cause="memory", message="no room", exit_code=-9, values={"a": 1}))
    assert (failed.cause, failed.message, failed.exit_code, failed.values) == (Cause.MEMORY, "no room", -9, {"a": 1})
    with pytest.raises(ValueError, match="bad luck"):
        advance(RUNNING, event(Kind.FAILED, cause="bad luck"))


def test_only_what_counts_uses_up_a_retry() -> None:
    trial = RUNNING
    for counts, cause in ((True, "timeout"), (False, "timeout"), (True, None), (True, "error"), (True, "timeout")):
        trial = advance(trial, event(Kind.REQUEUED, 4.0, reason="again", counts=counts, cause=cause))
        assert (trial.state, trial.message, trial.token) == (State.WAITING, "again", None)
        trial = advance(trial, event(Kind.STARTED, 5.0, token="next"))
    assert trial.retries == {"timeout": 2, "error": 1}
    assert trial.attempt == 6


def test_a_new_attempt_has_no_values_of_the_last_one() -> None:
    done = event(Kind.REQUEUED, 4.0, reason="lost", values={"loss": 0.5})
    again = lived(CLAIMED, ASKED, STARTED, REPORTED, done, event(Kind.STARTED, 6.0, token="u"))
    assert (again.attempt, again.token, again.started_at, again.ended_at) == (2, "u", 6.0, None)
    assert (again.values, again.config) == ({}, {"lr": 0.1})


def reporting(trial: Trial, *steps: float) -> Trial:
    return advance(trial, event(Kind.REPORTED, rows=[[step, step / 10] for step in steps]))


def restarted(trial: Trial, kind: Kind = Kind.REQUEUED) -> Trial:
    more = (Kind.RESUMED,) if kind is Kind.PAUSED else ()
    for happened in (event(kind, 4.0), *(event(one, 5.0) for one in more), event(Kind.STARTED, 6.0, token="u")):
        trial = advance(trial, happened)
    return trial


def steps_of(curve: Curve) -> list[float]:
    return [row[0] for row in curve]


@pytest.mark.parametrize(
    ("own", "steps", "n_earlier"),
    [
        ((1,), [1], 0),
        ((3, 4), [1, 2, 3, 4], 2),
        ((4,), [1, 2, 3, 4], 3),
        ((0.5, 2), [0.5, 2], 0),
        ((9,), [1, 2, 3, 9], 3),
    ],
)
def test_an_attempt_replaces_what_an_interrupted_one_reported_from_its_own_first_step_on(
    own: tuple[float, ...], steps: list[float], n_earlier: int
) -> None:
    again = restarted(reporting(lived(CLAIMED, ASKED, STARTED), 1, 2, 3))
    assert (steps_of(again.curve), again.n_earlier, again.n_before) == ([1, 2, 3], 3, 0)
    again = reporting(again, *own)
    assert (steps_of(again.curve), again.n_earlier, again.n_before) == (steps, n_earlier, 0)
    more = reporting(again, 10)
    assert (steps_of(more.curve), more.n_earlier, more.n_before) == ([*steps, 10], n_earlier, len(steps))
    assert steps_of(more.curve.once(more.n_earlier)) == [*steps, 10]


def test_what_was_reported_before_a_pause_is_kept_and_counts_once() -> None:
    resumed = restarted(reporting(lived(CLAIMED, ASKED, STARTED), 1, 2), Kind.PAUSED)
    from_zero = reporting(resumed, 1, 2, 3)
    assert (steps_of(from_zero.curve), from_zero.n_kept, from_zero.n_before) == ([1, 2, 1, 2, 3], 2, 2)
    assert steps_of(from_zero.curve.once(from_zero.n_earlier)) == [1, 2, 3]
    going_on = reporting(resumed, 3)
    assert steps_of(going_on.curve.once(going_on.n_earlier)) == [1, 2, 3]
    killed = reporting(restarted(from_zero), 1, 2)
    assert (steps_of(killed.curve), killed.n_kept, killed.n_earlier, killed.n_before) == ([1, 2, 1, 2], 2, 2, 2)
    assert steps_of(resumed.curve.once(resumed.n_earlier)) == [1, 2]


def test_a_paused_trial_goes_on_with_a_larger_budget() -> None:
    paused = advance(RUNNING, event(Kind.PAUSED, 4.0, values={"loss": 0.5}))
    assert (paused.token, paused.ended_at, paused.values) == (None, 4.0, {"loss": 0.5})
    assert paused.curve == RUNNING.curve
    resumed = advance(paused, event(Kind.RESUMED, 5.0, budget=27))
    assert (resumed.state, resumed.budget) == (State.WAITING, 27)
    assert advance(paused, event(Kind.RESUMED, 5.0)).budget == 9


@pytest.mark.parametrize("kind", [Kind.COMPLETED, Kind.STOPPED, Kind.CANCELLED])
def test_what_ends_a_trial_that_is_not_running_does_not_lengthen_its_attempt(kind: Kind) -> None:
    assert advance(IN[State.PAUSED], event(kind, 1000.0)).duration_s == 2.0
    assert lived(CLAIMED, ASKED, event(Kind.CANCELLED, 7.0)).ended_at == 7.0
    requeued = lived(CLAIMED, ASKED, STARTED, REQUEUED, event(Kind.CANCELLED, 1000.0))
    assert requeued.duration_s == 2.0


def test_a_clock_that_jumps_back_gives_no_negative_duration() -> None:
    assert lived(CLAIMED, ASKED, STARTED, event(Kind.COMPLETED, -50.0)).duration_s == 0.0


def test_a_trial_does_not_change_in_place() -> None:
    before = repr(RUNNING)
    advance(RUNNING, event(Kind.REPORTED, rows=[[3, 0.1]]))
    advance(RUNNING, event(Kind.COMPLETED, values={"loss": 1.0}))
    assert repr(RUNNING) == before


# ---- curves

_row = st.tuples(st.floats(), st.none() | st.floats(), st.none() | st.floats())


@given(st.lists(st.lists(_row, max_size=4), max_size=4))
def test_a_curve_is_the_rows_it_was_given(chunks: list[list[tuple[float | None, ...]]]) -> None:
    curve = Curve()
    for chunk in chunks:
        curve = curve.extended(chunk)
    rows = [tuple(math.nan if value is None else value for value in row) for chunk in chunks for row in chunk]
    assert repr(list(curve)) == repr(rows)
    assert len(curve) == len(rows)


@pytest.mark.parametrize("rows", [[[1, 2], [1]], [[1]], [[1, 2, 3]]])
def test_rows_of_another_width_are_our_mistake(rows: list[list[float]]) -> None:
    with pytest.raises(AssertionError):
        Curve().extended([[1, 2]]).extended(rows)


def test_what_the_interrupted_attempt_reported_last_is_decided_on_once_more_and_nothing_before() -> None:
    trial = reporting(reporting(reporting(lived(CLAIMED, ASKED, STARTED), 1), 2, 3), 4)
    again = reporting(restarted(trial), 5)
    assert (steps_of(again.curve), again.n_earlier, again.n_before) == ([1, 2, 3, 4, 5], 4, 3)
    late = advance(trial, event(Kind.REPORTED, rows=[[5, 0.5]], late=True))
    assert (steps_of(late.curve), late.n_before) == ([1, 2, 3, 4, 5], 3)
    assert reporting(restarted(late), 6).n_before == 3, "nobody has decided on what came late"
    assert reporting(restarted(restarted(trial)), 5).n_before == 3
    assert reporting(restarted(trial), 1).n_before == 0
    assert reporting(restarted(trial, Kind.PAUSED), 5).n_before == 4


def test_silence_does_not_make_up_for_a_failure() -> None:
    failed = advance(RUNNING, event(Kind.REQUEUED, 4.0, cause="error", counts=True))
    silent = restarted(advance(failed, event(Kind.STARTED, 5.0, token="u")))
    assert silent.cause is Cause.ERROR
    assert restarted(reporting(silent, 1)).cause is None
