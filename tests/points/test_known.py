"""What model-based samplers know: made anew from shared columns, and the same as if nothing were shared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.cube import keys
from whet.core.columns import as_config
from whet.core.history import History
from whet.core.problem import BARE, Constraint, Objective, Problem
from whet.core.protocols import Suggestion
from whet.core.trial import State
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.known import Known, known_of, violation_ranks
from whet.space.domain import Categorical, Constant, Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import Outcome, asked, ended, history_of, problem_of, reloaded, told

SPACE = Space(
    {
        "a": Float(0.0, 1.0),
        "n": Int(1, 5),
        "c": Categorical(["u", "v"]),
        "k": Float(0.0, 1.0, when={"c": "u"}),
        "e": Constant(1),
    }
)
CODEC = Codec(SPACE)


def check_same(one: Known, other: Known) -> None:
    for name in ("x", "y", "excess", "pending"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name


def check_taken(known: Known, history: History, others: int = 0) -> None:
    """See that exactly the configs of *history* are taken, of a few hundred others none."""
    configs = [as_config(row.config) for row in history.finished if row.config is not None]
    configs += [trial.config for trial in history.unfinished.values() if trial.config is not None]
    if configs:
        assert not known.is_new(CODEC.points(SPACE.encode_many(configs))).any()
    rng = np.random.default_rng(1234)
    assert known.is_new(CODEC.points(SPACE.encode_many([SPACE.sample(rng) for _ in range(others)]))).all()


_outcomes = st.lists(
    st.sampled_from(
        [State.FAILED, State.CANCELLED, State.STOPPED, State.RUNNING, State.WAITING, 0.5, 1.5, float("inf")]
    ),
    min_size=1,
    max_size=14,
)


@given(_outcomes, st.integers(1, 2))
def test_it_is_the_same_whatever_was_looked_at_before(outcomes: list[Outcome], repeats: int) -> None:
    """Of each snapshot on the way, of the last one reloaded, and of the first ones once more at the end."""
    rng = np.random.default_rng(len(outcomes))
    history = history_of(SPACE, repeats=repeats)
    snapshots = []
    for number, outcome in enumerate(outcomes):
        history = told(history, [(number, Suggestion(SPACE.sample(rng)), outcome)])
        snapshots.append((history, known_of(history, CODEC) if number % 3 else None))
    for snapshot, before in snapshots:
        known = known_of(snapshot, CODEC)
        fresh = known_of(reloaded(snapshot), Codec(SPACE))
        check_same(known, fresh)
        check_taken(known, snapshot, others=50)
        check_taken(fresh, snapshot)
        if before is not None:
            check_same(known, before)


def test_a_snapshot_does_not_know_what_later_ones_took() -> None:
    configs = [SPACE.sample(np.random.default_rng(i)) for i in range(6)]
    histories = [history_of(SPACE)]
    for number, config in enumerate(configs):
        histories.append(told(histories[-1], [(number, Suggestion(config), float(number))]))
    x = CODEC.points(SPACE.encode_many(configs))
    known_of(histories[-1], CODEC)  # fills what all of them share
    for n, history in enumerate(histories):
        assert known_of(history, CODEC).is_new(x).tolist() == [False] * n + [True] * (6 - n)


def test_two_futures_of_one_snapshot_do_not_mix() -> None:
    configs = [SPACE.sample(np.random.default_rng(i)) for i in range(3)]
    now = told(history_of(SPACE), [(0, Suggestion(configs[0]), 0.0)])
    futures = []
    for config, value in ((configs[1], 1.0), (configs[2], 2.0)):
        futures.append(told(now, [(1, Suggestion(config), value)]))
        known_of(futures[-1], CODEC)
    x = CODEC.points(SPACE.encode_many(configs))
    assert [known_of(future, CODEC).is_new(x).tolist() for future in futures] == [
        [False, False, True],
        [False, True, False],
    ]
    assert [known_of(future, CODEC).y.tolist() for future in futures] == [[0.0, 1.0], [0.0, 2.0]]


def test_the_order_of_the_numbers_counts_and_not_that_of_the_endings() -> None:
    configs = [SPACE.sample(np.random.default_rng(i)) for i in range(8)]
    found = []
    for seed in range(3):
        history = history_of(SPACE)
        for number, config in enumerate(configs):
            history = asked(history, number, Suggestion(config))
        for number in np.random.default_rng(seed).permutation(6).tolist():
            history = ended(history, number, float(number))
        found.append(known_of(history, CODEC))
    assert [known.y.tolist() for known in found] == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]] * 3
    for known in found[1:]:
        check_same(known, found[0])
    assert len(found[0].pending) == 2


def test_repeats_count_as_one_config_while_some_of_them_run() -> None:
    history = history_of(SPACE, repeats=3)
    for number in range(3):
        history = asked(history, number, Suggestion(SPACE.sample(np.random.default_rng(number))))
    for trial, outcome in ((0, 1.0), (1, State.FAILED), (2, 4.0), (3, State.FAILED), (4, State.RUNNING)):
        history = ended(history, trial, outcome)
    known = known_of(history, CODEC)
    assert known.y.tolist()[0] == 2.5
    assert np.isnan(known.y[1])
    assert (len(known.x), len(known.pending), known.n_configs) == (2, 1, 3)


def test_a_direction_and_constraints_are_read_from_the_problem() -> None:
    problem = problem_of(SPACE, "maximize", [Constraint("ms", "<=", 10.0), Constraint("acc", ">=", 0.5)], name="acc")
    history = history_of(problem)
    outcomes: list[Outcome] = [{"acc": 0.75, "ms": 8.0}, {"acc": 0.25, "ms": 11.0}, {"acc": 1.0}, State.FAILED]
    for number, outcome in enumerate(outcomes):
        history = told(history, [(number, Suggestion(SPACE.sample(np.random.default_rng(number))), outcome)])
    known = known_of(history, CODEC)
    assert known.y[:3].tolist() == [-0.75, -0.25, -1.0]
    assert known.excess[:2].tolist() == [[-2.0, -0.25], [1.0, 0.25]]
    assert np.isnan(known.excess[2, 0]) and np.isnan(known.excess[3]).all()
    assert known.is_feasible.tolist() == [True, False, False, False]


def test_what_has_just_been_suggested_is_pending_and_taken() -> None:
    known = known_of(history_of(SPACE), CODEC)
    x = CODEC.point(SPACE.sample(np.random.default_rng(0)))
    more = known.with_pending(x)
    assert more.is_new(x[None]).tolist() == [False]
    assert known.is_new(x[None]).tolist() == [True]
    assert (known.n_configs, more.n_configs) == (0, 1)
    assert keys(x[None])[0] in more.taken


@pytest.mark.parametrize("n", [0, 2])
def test_it_needs_one_objective(n: int) -> None:
    problem = Problem(SPACE, tuple(Objective(f"{BARE}{i}") for i in range(n)))
    with pytest.raises(UsageError, match=f"exactly one objective.*got {n}"):
        known_of(history_of(problem), CODEC)


# ---- constraints
def test_violations_are_ranked_whatever_their_units() -> None:
    excess = np.array([[-1.0, 0.0], [3e9, -1.0], [-5.0, 2e-9], [3e9, 1e-9], [0.0, np.nan], [2e9, -7.0]])
    assert violation_ranks(excess).tolist() == [0, 2, 2, 3, 3, 1]
    assert violation_ranks(np.empty((3, 0))).tolist() == [0, 0, 0]
    assert violation_ranks(np.empty((0, 2))).tolist() == []
