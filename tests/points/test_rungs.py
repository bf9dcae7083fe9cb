"""Who is how far, and who is ahead of whom there: the same whether it was followed or made anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.columns import as_config
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import BARE, Constraint, Fidelity, Objective, Problem
from whet.core.trial import State
from whet.points.rungs import NO_ROW, Rungs, level_of, place_of, take_of
from whet.points.standings import FrontRung, Point, Rung
from whet.space.domain import Float
from whet.space.space import Space
from whet.testing.sampler_histories import reloaded

SPACE = Space({"x": Float(0.0, 1.0)})
EPOCHS = Fidelity("epochs", 1, 9)
LEVELS = (1, 3, 9)
LOST = Point(True, (math.inf,))
Fact = tuple[Kind, int | None, Mapping[str, Any]]


def begun(problem: Problem | None = None, take: str = "last") -> History:
    problem = problem or Problem(SPACE, (Objective(BARE),), (), EPOCHS)
    return History.begin({"problem": problem.to_json(), "seed": 0, "rules": {"take": take}}, problem)


def after(history: History, *facts: Fact) -> History:
    return history.extended(
        Event(seq, kind, trial, 0, float(seq), payload)
        for seq, (kind, trial, payload) in zip(count(history.seq + 1), facts, strict=False)
    )


def started(number: int, bracket: int | None = 0, budget: float = 9) -> list[Fact]:
    who: dict[str, Any] = {"config": {"x": 0.5}, "budget": budget} | ({} if bracket is None else {"bracket": bracket})
    claim: list[Fact] = [(Kind.CLAIMED, number, {"owner": "me"}), (Kind.ASKED, number, who)]
    given_: list[Fact] = [(Kind.ENQUEUED, number, {"config": {"x": 0.5}})]
    return [*(given_ if bracket is None else claim), (Kind.STARTED, number, {"token": f"t{number}", "owner": "me"})]


def told(number: int, *rows: Sequence[float | None]) -> Fact:
    return (Kind.REPORTED, number, {"rows": rows})


def followed(history: History, given_in: int | None = None) -> Rungs:
    rungs = Rungs(LEVELS, given_in)
    rungs.follow(history)
    return rungs


def points(history: History, number: int = 0) -> list[float]:
    trial = history.unfinished[number]
    place = place_of(trial, history.problem, LEVELS, take_of(history))
    return [point.values[0] for point in place.points]


# ---- where a trial is
def test_the_first_report_as_far_as_a_level_counts_there() -> None:
    history = after(begun(), *started(0), told(0, [1, 0.5], [2, 0.4], [3, 0.3], [4, 0.2]))
    assert points(history) == [0.5, 0.3]


def test_a_report_beyond_a_level_counts_on_all_up_to_it() -> None:
    assert points(after(begun(), *started(0), told(0, [5, 0.5]))) == [0.5, 0.5]
    assert points(after(begun(), *started(0), told(0, [100, 0.5]))) == [0.5, 0.5, 0.5]


def test_steps_out_of_order_and_repeated_ones_change_nothing_that_was_known() -> None:
    history = after(begun(), *started(0), told(0, [3, 0.3], [1, 0.9], [3, 0.1], [2, 0.8]))
    assert points(history) == [0.3, 0.3]
    assert points(after(history, told(0, [9, 0.7], [9, 0.2]))) == [0.3, 0.3, 0.7]


def test_what_was_reached_is_told_by_the_last_report_event() -> None:
    history = after(begun(), *started(0), told(0, [1, 0.5]), told(0, [2, 0.5], [10, 0.4]))
    place = followed(history).places[0]
    assert list(place.reached_since(history.unfinished[0].n_before)) == [1, 2]
    again = after(history, told(0, [11, 0.1]))
    assert list(followed(again).places[0].reached_since(again.unfinished[0].n_before)) == []


@pytest.mark.parametrize(("take", "expected"), [("last", [5.0, 7.0]), ("best", [5.0, 3.0]), ("mean:2", [5.0, 5.0])])
def test_reports_are_taken_as_the_study_says(take: str, expected: list[float]) -> None:
    assert points(after(begun(take=take), *started(0), told(0, [1, 5.0], [2, 3.0], [3, 7.0]))) == expected


def test_the_best_is_the_largest_where_that_is_wanted() -> None:
    problem = Problem(SPACE, (Objective(BARE, "maximize"),), (), EPOCHS)
    history = after(begun(problem, "best"), *started(0), told(0, [1, 0.5], [2, 0.9], [3, 0.7]))
    assert points(history) == [-0.5, -0.9]


def test_no_number_is_the_worst_and_a_row_of_something_else_says_nothing() -> None:
    limit = Constraint("ms", "<=", 10.0)
    problem = Problem(SPACE, (Objective("loss"),), (limit,), EPOCHS)
    history = after(begun(problem), *started(0), told(0, [1, None, 4.0], [2, 0.5, None], [3, math.nan, math.nan]))
    place = followed(history).places[0]
    assert place.points == (Point(False, (0.5,)), LOST)
    assert place.steps == (2.0, 3.0)


def test_a_broken_constraint_comes_after_all_that_is_met() -> None:
    problem = Problem(SPACE, (Objective("loss"),), (Constraint("ms", "<=", 10.0),), EPOCHS)
    facts = [
        *started(0),
        *started(1),
        *started(2),
        told(0, [1, 0.1, 11.0]),
        told(1, [1, 0.9, 9.0]),
        told(2, [1, 0.5, None]),
    ]
    assert list(followed(after(begun(problem), *facts)).rung(0, 0)) == [2, 1, 0]


# ---- on a rung
def test_a_failed_trial_is_the_worst_where_it_was_on_its_way_to() -> None:
    history = after(begun(), *started(0), *started(1), told(0, [1, 0.1]), told(1, [1, 0.5], [3, 9e99]))
    rungs = followed(after(history, (Kind.FAILED, 0, {"cause": "error"})))
    assert list(rungs.rung(0, 0)) == [0, 1]
    assert list(rungs.rung(0, 1)) == [1, 0]
    assert rungs.places[0].points[1] == LOST and rungs.places[0].rows[1] == NO_ROW


def test_equal_ones_are_in_the_order_of_their_numbers() -> None:
    facts = [fact for number in (2, 0, 1) for fact in (*started(number), told(number, [1, 0.5]))]
    rung = followed(after(begun(), *facts)).rung(0, 0)
    assert list(rung) == [0, 1, 2] and [rung.rank(number) for number in (0, 1, 2)] == [0, 1, 2]


def test_a_retry_forgets_what_it_does_again_and_a_promotion_does_not() -> None:
    history = after(begun(), *started(0, budget=1), told(0, [1, 0.5]), (Kind.PAUSED, 0, {}))
    history = after(history, (Kind.RESUMED, 0, {"budget": 9}), (Kind.STARTED, 0, {"token": "b"}), told(0, [3, 0.3]))
    live = followed(history)
    assert 0 in live.rung(0, 1)
    history = after(history, (Kind.REQUEUED, 0, {}), (Kind.STARTED, 0, {"token": "c"}))
    live.follow(history)
    assert 0 in live.rung(0, 1), "it may go on from there"
    live.follow(after(history, told(0, [4, 0.2])))
    assert 0 in live.rung(0, 1), "it did"
    live.follow(after(history, told(0, [1, 0.5])))
    assert 0 in live.rung(0, 0) and 0 not in live.rung(0, 1)


def test_paused_trials_wait_on_the_rung_of_their_budget() -> None:
    facts: list[Fact] = []
    for number, value in enumerate((0.5, 0.1, 0.3)):
        facts += [*started(number, budget=3), told(number, [1, value], [3, value])]
    facts += [(Kind.PAUSED, 0, {}), (Kind.PAUSED, 1, {})]
    rungs = followed(after(begun(), *facts))
    assert list(rungs.rung(0, 0).paused(3)) == []
    assert [list(rungs.rung(0, 1).paused(n)) for n in range(4)] == [[], [1], [1], [1, 0]]
    rungs.follow(after(begun(), *facts, (Kind.RESUMED, 1, {"budget": 9})))
    assert list(rungs.rung(0, 1).paused(3)) == [0] and list(rungs.rung(0, 1)) == [1, 2, 0]


def test_what_people_gave_counts_where_it_was_seen_at_that_level() -> None:
    facts = [*started(0, None), *started(1), told(0, [3, 0.1]), told(1, [1, 0.5])]
    history = after(begun(), *facts)
    assert list(followed(history, given_in=0).rung(0, 0)) == [1], "a value at 3 epochs is no value at 1"
    assert list(followed(history, given_in=0).rung(0, 1)) == [0]
    assert list(followed(history).rung(0, 1)) == [] and list(followed(history).rung(None, 1)) == [0]
    assert followed(history).members == {None: [0], 0: [1]}


def test_the_level_of_a_budget() -> None:
    assert [level_of(LEVELS, budget) for budget in (0.5, 1, 2.9, 3, 9, 100, None)] == [0, 0, 0, 1, 2, 2, 0]


# ---- kept in step
_moves = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.floats(-3, 3) | st.just(math.nan)), max_size=40)


def moved(history: History, number: int, move: int, value: float) -> History:
    """Return the history after something that can happen to a trial, whatever its state."""
    trial = history.unfinished.get(number)
    if trial is None:
        if number < history.n_numbers:
            return history
        new = history.n_numbers
        return after(history, *started(new, None if move == 0 else move % 2, budget=LEVELS[move % 3]))
    token: Fact = (Kind.STARTED, number, {"token": f"t{history.seq}"})
    if trial.state is State.WAITING:
        return after(history, (Kind.CANCELLED, number, {}) if move == 9 else token)
    if trial.state is State.PAUSED:
        ends: list[Fact] = [(Kind.STOPPED, number, {}), (Kind.RESUMED, number, {"budget": 9})]
        return after(history, ends[move % 2])
    kinds = {6: Kind.PAUSED, 7: Kind.FAILED, 8: Kind.REQUEUED, 9: Kind.COMPLETED}
    if move in kinds:
        return after(history, (kinds[move], number, {"cause": "error", "values": {BARE: value}}))
    return after(history, told(number, [(move * 7) % 11, value]))


def naive(history: History, rungs: Rungs) -> dict[tuple[int | None, int], list[int]]:
    """Return the order of each rung, by looking at every curve from the beginning."""
    expected: dict[tuple[int | None, int], list[tuple[bool, float, int]]] = {}
    for trial in [*history.finished, *history.unfinished.values()]:
        if trial.config is None:
            continue
        top = -1
        for level, at in enumerate(LEVELS):
            found = [(step, value) for step, value in trial.curve if step >= at]
            if found:
                top, (step, value) = level, found[0]
                worst = math.isnan(value)
                entry = (worst, math.inf if worst else value, trial.number)
                if trial.bracket is not None or step < (*LEVELS, math.inf)[level + 1]:
                    expected.setdefault((trial.bracket, level), []).append(entry)
        if trial.state is State.FAILED and top < len(LEVELS) - 1:
            expected.setdefault((trial.bracket, top + 1), []).append((True, math.inf, trial.number))
        assert as_config(trial.config) == {"x": 0.5} and rungs.places[trial.number].top >= top
    return {key: [number for _, _, number in sorted(entries)] for key, entries in expected.items()}


@given(_moves, st.integers(1, 5))
def test_followed_is_as_made_anew(moves: list[tuple[int, int, float]], every: int) -> None:
    history, live = begun(), Rungs(LEVELS)
    for at, (number, move, value) in enumerate(moves):
        history = moved(history, number, move, value)
        if at % every == 0:
            for other in (7, move):  # previews of what never comes
                live.follow(moved(history, (number + other) % 6, other, value))
            live.follow(history)
    live.follow(history)
    anew = followed(reloaded(history))
    assert live.places == anew.places
    assert {b: sorted(numbers) for b, numbers in live.members.items() if numbers} == {
        b: sorted(numbers) for b, numbers in anew.members.items()
    }
    assert live.n_unfinished == anew.n_unfinished and live.last_bracket == anew.last_bracket
    assert +live.n_passed == +anew.n_passed and min(live.n_passed.values(), default=0) >= 0
    expected = naive(history, live)
    for bracket in (None, 0, 1):
        for level in range(len(LEVELS)):
            orders = [list(rungs.rung(bracket, level)) for rungs in (live, anew)]
            assert orders == [expected.get((bracket, level), [])] * 2
            waiting = [list(rungs.rung(bracket, level).paused(2)) for rungs in (live, anew)]
            assert waiting[0] == waiting[1]


@pytest.mark.parametrize("end", [(Kind.FAILED, {"cause": "error"}), (Kind.CANCELLED, {}), (Kind.STOPPED, {}), None])
def test_who_is_lost_has_passed_no_level_and_may_sink(end: tuple[Kind, Mapping[str, Any]] | None) -> None:
    lost = math.nan if end is None or end[0] is Kind.STOPPED else 0.1
    history = after(begun(), *started(0), *started(1), told(0, [1, 0.1], [3, 0.1]), told(1, [1, 0.5]))
    live = Rungs(LEVELS, sinks_lost=True)
    live.follow(history)
    assert live.n_passed == {(0, 0): 2, (0, 1): 1} and list(live.rung(0, 0)) == [0, 1]
    history = after(history, told(0, [4, lost]), *([] if end is None else [(end[0], 0, end[1])]))
    live.follow(history)
    is_lost = end is not None  # NaN alone is for the one who decides
    assert +live.n_passed == ({(0, 0): 1} if is_lost else {(0, 0): 2, (0, 1): 1})
    assert list(live.rung(0, 0)) == ([1, 0] if is_lost else [0, 1]) and len(live.rung(0, 0)) == 2
    assert list(followed(history).rung(0, 0)) == [0, 1], "only where that is wanted"


def test_who_is_stopped_on_a_level_has_not_passed_it() -> None:
    history = after(begun(), *started(0), told(0, [1, 0.1], [3, 0.1]), (Kind.STOPPED, 0, {}))
    rungs = followed(history)
    assert rungs.n_passed == {(0, 0): 1} and not rungs.places[0].is_lost


def test_a_preview_that_gave_the_number_another_bracket_is_forgotten() -> None:
    claimed = after(begun(), (Kind.CLAIMED, 0, {"owner": "me"}))
    live = followed(after(claimed, (Kind.ASKED, 0, {"config": {"x": 0.5}, "bracket": 1})))
    assert live.members == {1: [0]}
    live.follow(claimed)
    assert not live.places
    live.follow(after(claimed, (Kind.ASKED, 0, {"config": {"x": 0.5}, "bracket": 1})))
    live.follow(after(claimed, (Kind.ASKED, 0, {"config": {"x": 0.5}, "bracket": 2})))
    assert {b: numbers for b, numbers in live.members.items() if numbers} == {2: [0]}


# ---- several objectives
_values = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(st.lists(st.tuples(st.integers(0, 7), _values, st.booleans(), st.sampled_from("pppdl")), max_size=30))
def test_a_rung_of_several_objectives_forgets_and_takes_in_as_one_of_one(
    changes: list[tuple[int, tuple[int, int], bool, str]],
) -> None:
    live, kept = FrontRung(), dict[int, tuple[Point, bool]]()
    for number, values, flag, what in changes:
        if what == "d":
            live.drop(number)
            kept.pop(number, None)
        else:
            lost = (math.inf, math.inf)
            point = (
                Point(True, lost)
                if what == "l"
                else Point(flag and values[0] > 2, (float(values[0]), float(values[1])))
            )
            live.put(number, point, is_paused=flag)
            kept[number] = (point, flag)
        assert len(list(live)) == len(live)
    anew = FrontRung()
    for number, (point, flag) in sorted(kept.items(), reverse=True):
        anew.put(number, point, is_paused=flag)
    ordered = list(anew)
    assert list(live) == ordered and sorted(ordered) == sorted(kept)
    assert [anew.rank(number) for number in ordered] == list(range(len(ordered)))
    assert list(anew.paused(3)) == [number for number in ordered[:3] if kept[number][1]]
    places = [(kept[n][0].is_finite, not kept[n][0].is_broken) for n in ordered]
    assert places == sorted(places, reverse=True), "what breaks a constraint after the others, failures last"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans(), st.booleans()), max_size=40))
def test_a_rung_of_one_objective_is_a_sorted_list(changes: list[tuple[int, int, bool, bool]]) -> None:
    rung, kept = Rung(), dict[int, tuple[Point, bool]]()
    for number, value, is_paused, is_dropped in changes:
        if is_dropped:
            rung.drop(number)
            kept.pop(number, None)
        else:
            rung.put(number, Point(False, (float(value),)), is_paused=is_paused)
            kept[number] = (Point(False, (float(value),)), is_paused)
        ordered = sorted(kept, key=lambda number: (kept[number][0], number))
        assert list(rung) == ordered and [rung.rank(n) for n in ordered] == list(range(len(ordered)))
        assert list(rung.paused(2)) == [n for n in ordered[:2] if kept[n][1]]
