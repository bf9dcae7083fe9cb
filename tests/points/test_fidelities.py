"""What is known of trials that were cut short or are on their way: at which level, how many times, since when."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.algorithms.cube import keys
from whet.core.columns import as_config
from whet.core.history import History
from whet.core.problem import BARE, Constraint, Fidelity, Objective, Problem
from whet.core.protocols import Suggestion
from whet.core.trial import State
from whet.core.values import Take
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.fidelities import KnownAtLevels, at_levels, levels_of
from whet.points.known import Known, known_of
from whet.space.domain import Categorical, Float
from whet.space.space import Space
from whet.testing.sampler_histories import (
    Outcome,
    asked,
    ended,
    explored,
    history_of,
    reloaded,
    reported,
    resumed,
    told,
)

SPACE = Space({"a": Float(0.0, 1.0), "c": Categorical(["u", "v"]), "k": Float(0.0, 1.0, when={"c": "u"})})
CODEC = Codec(SPACE)
EPOCHS = Fidelity("epochs", 1, 81)
PROBLEM = Problem(SPACE, (Objective(BARE),), (), EPOCHS)
LEVELS = (1, 3, 9, 27, 81)


def config(number: int) -> Suggestion:
    return Suggestion(SPACE.sample(np.random.default_rng(number)))


def begun(n: int, problem: Problem = PROBLEM, repeats: int = 1) -> History:
    history = history_of(problem, repeats=repeats)
    for number in range(n):
        history = asked(history, number, config(number))
    return history


def at(history: History, number: int) -> list[float]:
    """Return the objective of a trial at each level."""
    trial = history.unfinished.get(number) or next(row for row in history.finished if row.number == number)
    return [float(value) for value in at_levels(trial, history.problem, LEVELS, Take())[:, 0]]


def check_same(one: Known, other: Known) -> None:
    for name in ("x", "y", "excess", "pending"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert one.taken.others == other.taken.others
    assert (one.partial is None) == (other.partial is None)
    if one.partial is not None and other.partial is not None:
        for name in ("numbers", "behind", "ahead", "is_under_way", "places", "values"):
            assert np.array_equal(getattr(one.partial, name), getattr(other.partial, name), equal_nan=True), name


# ---- levels
@pytest.mark.parametrize(
    ("fidelity", "expected"),
    [
        (EPOCHS, LEVELS),
        (Fidelity("epochs", 1, 52), (1, 2, 6, 17, 52)),  # the lowest of the ladder is above the lowest there is
        (Fidelity("epochs", 1, 2), (1, 2)),
        (Fidelity("subset", 0.1, 1.0), (0.1, 1 / 9, 1 / 3, 1.0)),
    ],
)
def test_the_levels_reach_from_the_lowest_to_the_highest(fidelity: Fidelity, expected: Sequence[float]) -> None:
    assert levels_of(fidelity) == pytest.approx(expected)


def test_a_value_counts_at_a_level_if_it_comes_before_the_next() -> None:
    history = reported(begun(1), 0, {1: 5.0, 2: 4.0, 30: 3.0, 40: 2.0})
    assert at(history, 0) == pytest.approx([5.0, math.nan, math.nan, 3.0, math.nan], nan_ok=True)
    assert at(ended(history, 0, State.STOPPED), 0) == pytest.approx(at(history, 0), nan_ok=True)
    assert at(ended(history, 0, 1.0), 0) == pytest.approx([5.0, math.nan, math.nan, 3.0, 1.0], nan_ok=True)
    for spoilt in (State.FAILED, State.CANCELLED):
        assert np.isnan(at(ended(history, 0, spoilt), 0)).all()


def test_steps_that_go_back_or_lie_below_the_lowest_do_no_harm() -> None:
    history = reported(begun(2), 0, {0.5: 9.0, 3: 4.0, 2: 8.0, 4: 3.0})
    assert at(history, 0) == pytest.approx([math.nan, 4.0, math.nan, math.nan, math.nan], nan_ok=True)
    assert np.isnan(at(reported(history, 1, {0.5: 9.0}), 1)).all()


@pytest.mark.parametrize(("direction", "worst"), [("minimize", math.inf), ("maximize", -math.inf)])
def test_no_number_is_the_worst(direction: str, worst: float) -> None:
    problem = Problem(SPACE, (Objective(BARE, direction),), (), EPOCHS)  # type: ignore[arg-type]
    assert at(reported(begun(1, problem), 0, {3: math.nan}), 0)[1] == worst


# ---- where nothing is known in part
@given(st.lists(st.sampled_from([State.FAILED, State.CANCELLED, State.STOPPED, State.RUNNING, 0.5, 1.5]), max_size=9))
def test_without_a_curve_it_is_what_it_is_without_levels(outcomes: list[Outcome]) -> None:
    history = explored(history_of(PROBLEM), len(outcomes), lambda number, _: outcomes[number])
    plain, known = known_of(history, CODEC), KnownAtLevels()(history, CODEC)
    for name in ("x", "y", "excess", "pending"):
        assert np.array_equal(getattr(plain, name), getattr(known, name), equal_nan=True), name


def test_without_a_fidelity_curves_do_not_count() -> None:
    history = begun(3, Problem(SPACE, (Objective(BARE),)))
    history = ended(reported(ended(history, 0, 1.0), 1, {1: 0.5}), 1, State.STOPPED)
    check_same(KnownAtLevels()(history, CODEC), known_of(history, CODEC))


def test_it_needs_one_objective() -> None:
    with pytest.raises(UsageError, match="exactly one objective"):
        KnownAtLevels()(history_of(Problem(SPACE, (), (), EPOCHS)), CODEC)


# ---- who counts, and how often
def test_each_config_counts_once_whatever_it_does() -> None:
    history = begun(8)
    for number, curve in ((0, {1: 4.0}), (1, {1: 3.0, 3: 2.0}), (2, {1: 9.0}), (3, {1: 5.0}), (5, {1: 6.0})):
        history = reported(history, number, curve)
    history = ended(ended(history, 1, State.PAUSED), 2, State.STOPPED)
    history = ended(ended(history, 3, State.FAILED), 4, 1.0)
    history = ended(history, 6, State.STOPPED)  # before it reported; 0 and 5 run, 7 waits
    known = KnownAtLevels()(history, CODEC)
    partial = known.partial
    assert partial is not None
    assert partial.numbers.tolist() == [0, 1, 2, 3, 4, 5]
    assert known.y.tolist() == pytest.approx([4.0, 2.0, 9.0, math.nan, 1.0, 6.0], nan_ok=True)
    assert partial.behind.tolist() == [4, 3, 4, 0, 0, 4]
    assert partial.is_under_way.tolist() == [True, False, False, False, False, True]
    assert partial.ahead.tolist() == pytest.approx([1.5 / 4, 0.5, 3.5 / 4, math.nan, 0.5, 2.5 / 4], nan_ok=True)
    assert len(known.pending) == 1
    x = CODEC.points(SPACE.encode_many([config(number).config for number in range(8)]))
    assert not known.is_new(x).any()
    assert np.array_equal(known.pending[0], x[7], equal_nan=True)


def test_what_is_known_at_each_level_is_kept() -> None:
    problem = Problem(SPACE, (Objective(BARE, "maximize"),), (), EPOCHS)
    history = ended(reported(begun(2, problem), 0, {1: 4.0, 3: math.nan}), 1, 2.0)
    partial = KnownAtLevels()(history, CODEC).partial
    assert partial is not None
    assert partial.places.tolist() == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    nan = math.nan
    expected = [-4.0, -2.0, nan, nan, nan, nan, nan, nan, nan, -2.0]  # no number is the worst of all
    assert partial.values.ravel().tolist() == pytest.approx(expected, nan_ok=True)


def test_levels_can_be_those_of_a_scheduler() -> None:
    history = ended(reported(begun(2), 0, {1: 4.0, 9: 3.0}), 1, 2.0)
    partial = KnownAtLevels(lambda problem: (9, 81))(history, CODEC).partial
    assert partial is not None
    assert (partial.values[0, 0], partial.behind.tolist()) == (3.0, [1, 0])


def test_who_is_ahead_is_compared_with_all_that_came_by() -> None:
    """Nine at the first level, of which the best three go on: what became of these does not make the others better."""
    history = begun(9)
    for number in range(9):
        history = reported(history, number, {1: float(number)})
        if number < 3:
            history = reported(history, number, {3: -float(number)})
        history = ended(history, number, State.STOPPED)
    partial = KnownAtLevels()(history, CODEC).partial
    assert partial is not None
    assert partial.ahead[:3].tolist() == pytest.approx([2.5 / 3, 1.5 / 3, 0.5 / 3])
    assert partial.ahead[3:].tolist() == pytest.approx([(number + 0.5) / 9 for number in range(3, 9)])


def test_what_breaks_a_constraint_is_behind_what_meets_it_at_that_level() -> None:
    problem = Problem(SPACE, (Objective("loss"),), (Constraint("ms", "<=", 1.0),), EPOCHS)
    history = begun(3, problem)
    for number, row in enumerate([[1.0, 9.0], [5.0, 0.5], [2.0, 3.0]]):
        history = ended(reported(history, number, {1: row}), number, State.STOPPED)
    partial = KnownAtLevels()(history, CODEC).partial
    assert partial is not None
    assert np.argsort(partial.ahead).tolist() == [1, 2, 0]


def test_repeats_count_by_their_mean_at_the_highest_level_known() -> None:
    history = begun(3, repeats=2)
    history = reported(reported(history, 0, {1: 1.0}), 1, {1: 3.0})
    history = ended(ended(history, 0, State.STOPPED), 1, State.STOPPED)
    history = ended(reported(history, 2, {1: math.inf, 3: 7.0}), 3, State.FAILED)
    known = KnownAtLevels()(history, CODEC)
    assert known.partial is not None
    assert (known.y.tolist(), known.partial.behind.tolist(), len(known.pending)) == ([2.0, 7.0], [4, 3], 1)


def test_a_trial_that_goes_on_is_where_it_was_until_it_reports() -> None:
    history = ended(reported(begun(2), 0, {1: 4.0}), 0, State.PAUSED)
    paused = KnownAtLevels()(history, CODEC)
    again = KnownAtLevels()(resumed(history, 0, 3), CODEC)
    assert paused.partial is not None
    assert again.partial is not None
    assert (paused.y.tolist(), again.y.tolist()) == ([4.0], [4.0])
    assert (paused.partial.is_under_way.tolist(), again.partial.is_under_way.tolist()) == ([False], [True])


# ---- a function of the history
_deeds = st.lists(st.tuples(st.integers(0, 7), st.sampled_from("rrrpsfxcg")), max_size=40)


def lived(history: History, deeds: Sequence[tuple[int, str]]) -> list[History]:
    """Return what becomes of eight trials: reports, pauses and resumptions, stops, failures, cancellations, ends."""
    snapshots, steps = [history], [0] * 8
    for number, deed in deeds:
        if number >= history.n_numbers:
            history = asked(history, history.n_numbers, config(history.n_numbers))
        elif number in history.unfinished and history.unfinished[number].state is State.PAUSED:
            history = resumed(history, number, 81) if deed in "rg" else history
        elif number in history.unfinished:
            ends = {"p": State.PAUSED, "s": State.STOPPED, "f": State.FAILED, "c": State.CANCELLED, "x": float(number)}
            if deed in ends:
                history = ended(history, number, ends[deed])
            else:
                steps[number] += 1 + (deed == "g") * 9
                history = reported(history, number, {steps[number]: (number * 7 + steps[number]) % 5})
        snapshots.append(history)
    return snapshots


@given(_deeds)
@settings(max_examples=60)
def test_live_is_as_fresh(deeds: list[tuple[int, str]]) -> None:
    """Of each snapshot on the way, and of the first ones once more at the end."""
    live = KnownAtLevels()
    snapshots = lived(begun(2), deeds)
    for snapshot in [*snapshots, *snapshots[::7]]:
        known = live(snapshot, CODEC)
        check_same(known, KnownAtLevels()(reloaded(snapshot), CODEC))
        configs = [as_config(trial.config) for trial in (*snapshot.finished, *snapshot.unfinished.values())]
        assert not known.is_new(CODEC.points(SPACE.encode_many(configs))).any()


def test_neither_the_order_of_the_endings_nor_that_of_the_reports_counts() -> None:
    found = []
    for seed in range(4):
        history = begun(9)
        for number in np.random.default_rng(seed).permutation(9).tolist():
            history = reported(history, number, {1: float(number % 4), 3: float(number % 5)})
        for number in np.random.default_rng(seed + 9).permutation(6).tolist():
            history = ended(history, number, (State.STOPPED, State.PAUSED, 1.5, State.FAILED)[number % 4])
        found.append(KnownAtLevels()(history, CODEC))
    for known in found[1:]:
        check_same(known, found[0])


def test_what_was_never_committed_leaves_no_trace() -> None:
    """Another config is what number 2 is given in the end."""
    history = reported(begun(2), 0, {1: 4.0})
    live = KnownAtLevels()
    live(asked(history, 2, config(99)), CODEC)
    once = told(history, [(2, config(98), 0.5)])
    for snapshot in (history, once, asked(history, 2, config(97))):
        check_same(live(snapshot, CODEC), KnownAtLevels()(reloaded(snapshot), CODEC))
    x = CODEC.point(config(99).config)
    assert live(once, CODEC).is_new(x[None]).all()
    assert keys(x[None])[0] not in live(history, CODEC).taken
