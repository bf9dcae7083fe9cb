"""Whole searches on arrays: optima, failures, constraints, points that are being tried, many points, strange ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from whet.algorithms.cube import Bools, Cube, Floats, keys
from whet.algorithms.gp.propose import NAMES, Belief, Data, Proposer

NAN = float("nan")
Outcome = Callable[[Floats], float | tuple[float, ...]]  # of a point: its value, and what constraints come to


def always(x: Floats) -> tuple[Floats, Bools]:
    return x, np.ones(len(x), dtype=bool)


SQUARE = Cube((None, None), np.zeros(2, dtype=bool), always)
MIXED = Cube(
    (None, np.array([1 / 6, 0.5, 5 / 6]), np.linspace(0, 1, 5)),
    np.array([False, True, False]),
    always,
)


def data(x: Floats, y: object, excess: object = None, pending: Floats | None = None) -> Data:
    """Return what is known; what has been given is not new."""
    pending = np.empty((0, x.shape[1])) if pending is None else pending
    taken = set(keys(np.vstack([x, pending])))

    def is_new(at: Floats) -> Bools:
        return np.array([key not in taken for key in keys(at)], dtype=bool)

    y = np.asarray(y, dtype=float)
    excess = np.empty((len(x), 0)) if excess is None else np.asarray(excess, dtype=float)
    return Data(x, y, excess, pending, is_new)


def start(cube: Cube, n: int, seed: int = 0) -> Floats:
    return cube.settled(np.random.default_rng(seed).random((n, cube.d)))[0]


def searched(cube: Cube, outcome: Outcome, n: int, acquisition: str = "logei", seed: int = 0) -> tuple[Floats, Floats]:
    """Return the (n, d) points of a search, five of them random, and the (n, 1 + c) outcomes."""
    proposer, rng = Proposer(cube, seed, acquisition), np.random.default_rng(seed)
    x = start(cube, 5, seed)
    results = np.array([np.atleast_1d(outcome(point)) for point in x])
    while len(x) < n:
        point, _ = proposer.propose(data(x, results[:, 0], results[:, 1:]), rng)
        x = np.vstack([x, point])
        results = np.vstack([results, np.atleast_1d(outcome(point))])
    return x, results


def bowl(point: Floats) -> float:
    return float(np.square(point - 0.7).sum())


# ---- it finds
@pytest.mark.parametrize("acquisition", NAMES)
def test_every_acquisition_finds_the_bottom_of_a_bowl(acquisition: str) -> None:
    _, results = searched(SQUARE, bowl, 22, acquisition)
    assert results.min() < 1e-3


def test_a_mixed_space_is_searched_in_all_its_axes() -> None:
    def outcome(point: Floats) -> float:
        return float((point[0] - 0.3) ** 2 + (point[1] != 0.5) + (point[2] - 0.75) ** 2)

    x, results = searched(MIXED, outcome, 28)
    best = x[results[:, 0].argmin()]
    assert best[1:].tolist() == [0.5, 0.75]
    assert best[0] == pytest.approx(0.3, abs=0.02)


def test_what_is_believed_holds() -> None:
    """In the units of the values, before the trial is made."""
    x = start(SQUARE, 25)
    y = np.array([1e6 + 1e3 * bowl(point) for point in x])
    point, belief = Proposer(SQUARE, 0, "logei").propose(data(x, y), np.random.default_rng(0))
    assert isinstance(belief, Belief)
    assert abs(belief.mean - (1e6 + 1e3 * bowl(point))) < 4 * belief.std + 5
    assert 0 < belief.std < 100
    assert belief.p_well is None


# ---- a function of the data and the generator
@pytest.mark.parametrize("acquisition", ["logei", "ts"])
def test_a_fresh_one_proposes_what_the_live_one_does(acquisition: str) -> None:
    x = start(MIXED, 20, 3)
    y, excess = x.sum(axis=1), x[:, :1] - 0.8
    y[4] = NAN
    live = Proposer(MIXED, 7, acquisition)
    for n in (8, 20, 13):
        known = data(x[:n], y[:n], excess[:n], pending=x[n : n + 2])
        (point, belief), (again, other) = (
            proposer.propose(known, np.random.default_rng(n)) for proposer in (live, Proposer(MIXED, 7, acquisition))
        )
        assert point.tolist() == again.tolist()
        assert belief == other


# ---- what fails
def test_what_always_failed_is_left_alone_where_something_else_is_as_good() -> None:
    """The values know no difference between the halves; one of them fails."""
    x = start(SQUARE, 24)
    y = np.where(x[:, 0] > 0.5, NAN, np.square(np.abs(x[:, 0] - 0.5) - 0.25))
    proposer, found = Proposer(SQUARE, 0, "logei"), []
    for i in range(12):
        point, belief = proposer.propose(data(x, y), np.random.default_rng(i))
        found.append(point[0])
        assert 0 < belief.p_well <= 1
    assert max(found) < 0.55


def test_a_single_failure_does_not_forbid_its_surroundings_for_ever() -> None:
    """The optimum lies beside a point that failed by chance."""

    def outcome(point: Floats) -> float:
        return NAN if np.abs(point - 0.68).max() < 0.005 else bowl(point)

    proposer, rng = Proposer(SQUARE, 1, "logei"), np.random.default_rng(1)
    x = np.vstack([start(SQUARE, 6, 1), [[0.68, 0.68]]])
    y = np.array([outcome(point) for point in x])
    for _ in range(18):
        point, _ = proposer.propose(data(x, y), rng)
        x, y = np.vstack([x, point]), np.append(y, outcome(point))
    assert np.nanmin(y) < 5e-3


def test_nearly_all_failed() -> None:
    x = start(SQUARE, 40)
    y = np.full(40, NAN)
    y[[3, 30]] = 1.0, 2.0
    point, belief = Proposer(SQUARE, 0, "logei").propose(data(x, y), np.random.default_rng(0))
    assert SQUARE.settled(point[None])[0].tolist() == [point.tolist()]
    assert np.isfinite([belief.mean, belief.std, belief.score]).all()


# ---- constraints
@pytest.mark.parametrize("seed", range(3))
def test_the_constrained_optimum_is_found(seed: int) -> None:
    """The bottom of the bowl is forbidden: the nearest allowed point lies on the border, at (0.4, 0.7).

    What is tried at the border lies on either side of it; far on the wrong side there is nothing to learn.
    """

    def outcome(point: Floats) -> tuple[float, float, float]:
        return bowl(point), 1e12 * (point[0] - 0.4), -1.0 - point[1]

    x, results = searched(SQUARE, outcome, 26, seed=seed)
    meets = (results[:, 1:] <= 0).all(axis=1)
    best = x[meets][results[meets, 0].argmin()]
    assert np.allclose(best, [0.4, 0.7], atol=0.01)
    assert (x[10:, 0] < 0.41).mean() > 0.7


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
def test_the_unit_of_a_constraint_does_not_matter(unit: float) -> None:
    x = start(SQUARE, 15)
    y, excess = [bowl(point) for point in x], x[:, :1] - 0.4
    (plain, belief), (scaled, other) = (
        Proposer(SQUARE, 0, "logei").propose(data(x, y, each), np.random.default_rng(0))
        for each in (excess, unit * excess)
    )
    assert plain.tolist() == scaled.tolist()
    assert belief == other


@pytest.mark.parametrize("d", [2, 4])
def test_the_optimum_is_found_though_a_third_fails_by_chance(d: int) -> None:
    """A failure does not blacken its surroundings where others went well."""
    cube = Cube((None,) * d, np.zeros(d, dtype=bool), always)
    fails = iter(np.random.default_rng(5).random(60) < 0.3)
    _, results = searched(cube, lambda point: NAN if next(fails) else bowl(point), 40)
    assert 6 < np.isnan(results).sum() < 20
    assert np.nanmin(results) < (1e-4 if d == 2 else 1e-2)


def test_of_many_trials_few_of_which_failed_the_failures_are_remembered() -> None:
    """All of the few beyond a border; the model of the objective is drawn there."""
    x = start(SQUARE, 600)
    x = x[(x[:, 0] < 0.5) | (np.arange(600) % 15 == 0)]
    y = np.where(x[:, 0] > 0.5, NAN, -x[:, 0])
    proposer = Proposer(SQUARE, 0, "logei")
    found = [proposer.propose(data(x, y), np.random.default_rng(i)) for i in range(3)]
    assert max(point[0] for point, _ in found) < 0.6
    assert all(belief.p_well is not None and belief.p_well > 0.05 for _, belief in found)


def test_where_nothing_is_feasible_that_is_what_is_looked_for() -> None:
    """The objective pulls to (0.7, 0.7); what is allowed is a small disk around (0.1, 0.9)."""
    x = np.array([[0.7, 0.7], [0.5, 0.5], [0.3, 0.6], [0.6, 0.9], [0.9, 0.2]])
    proposer, rng = Proposer(SQUARE, 0, "logei"), np.random.default_rng(0)

    def excess(x: Floats) -> Floats:
        found: Floats = np.linalg.norm(x - [0.1, 0.9], axis=1)[:, None] - 0.1
        return found

    for _ in range(12):
        if (excess(x) <= 0).any():
            break
        point, _ = proposer.propose(data(x, [bowl(p) for p in x], excess(x)), rng)
        x = np.vstack([x, point])
    assert (excess(x) <= 0).any()


@pytest.mark.parametrize(
    "excess",
    [
        [NAN] * 8,
        [np.inf] * 8,
        [-np.inf] * 8,
        [-np.inf, np.inf] * 4,
        [0.0] * 8,
        [0.0, -0.0] * 4,
        [1e300, -1.7e308, NAN, 0.0, 5e-324, np.inf, -5e-324, 1.0],
        [NAN] * 7 + [0.5],
    ],
    ids=str,
)
def test_constraints_of_any_size_known_or_not(excess: list[float]) -> None:
    x = start(SQUARE, 8)
    known = data(x, x.sum(axis=1), np.array(excess)[:, None])
    point, belief = Proposer(SQUARE, 0, "logei").propose(known, np.random.default_rng(0))
    assert ((point >= 0) & (point <= 1)).all()
    assert np.isfinite([belief.mean, belief.std, belief.score]).all()
    assert belief.p_well is None or 0 <= belief.p_well <= 1


# ---- what is being tried
@pytest.mark.parametrize("acquisition", ["logei", "ucb", "ts"])
def test_sixteen_at_once_are_different_and_spread(acquisition: str) -> None:
    x = start(SQUARE, 12)
    y = np.array([bowl(point) for point in x])
    proposer, pending = Proposer(SQUARE, 0, acquisition), np.empty((0, 2))
    for i in range(16):
        point, _ = proposer.propose(data(x, y, pending=pending), np.random.default_rng(i))
        pending = np.vstack([pending, point])
    assert len(set(keys(pending))) == 16
    distances = np.linalg.norm(pending[:, None] - pending[None], axis=-1)
    assert np.median(distances[np.triu_indices(16, 1)]) > 0.02
    near = np.linalg.norm(pending - 0.7, axis=1)
    assert np.median(near) < 0.35  # but where it is good


def test_small_finite_cubes_are_walked_to_their_end() -> None:
    cube = Cube((np.array([0.25, 0.75]), np.linspace(0, 1, 3)), np.array([True, False]), always)
    x = cube.snapped(np.array([[0.25, 0.0], [0.75, 1.0]]))
    proposer, rng = Proposer(cube, 0, "logei"), np.random.default_rng(0)
    while len(x) < 6:
        point, belief = proposer.propose(data(x, x.sum(axis=1)), rng)
        assert np.isfinite(belief.score)
        x = np.vstack([x, point])
    assert len(set(keys(x))) == 6
    assert proposer.propose(data(x, x.sum(axis=1)), rng)[1].score == -np.inf


def test_a_cube_without_axes() -> None:
    cube = Cube((), np.empty(0, dtype=bool), always)
    point, belief = Proposer(cube, 0, "logei").propose(
        data(np.empty((3, 0)), [1.0, 2.0, 3.0]), np.random.default_rng(0)
    )
    assert point.shape == (0,)
    assert belief.score == -np.inf


# ---- many points, strange values
class Counting:
    """A cube whose settled points are counted."""

    def __init__(self) -> None:
        self.n = 0
        self.cube = Cube((None, None), np.zeros(2, dtype=bool), self._activate)

    def _activate(self, x: Floats) -> tuple[Floats, Bools]:
        self.n += len(x)
        return always(x)


def test_many_points_cost_no_more_and_are_used_no_worse() -> None:
    """Whatever their number, as many candidates are scored, and the model is as right where it counts."""
    counts, found = [], []
    for n in (150, 300, 2000):
        counting = Counting()
        x, counting.n = start(counting.cube, n), 0
        y = np.array([bowl(point) for point in x])
        point, _ = Proposer(counting.cube, 0, "logei").propose(data(x, y), np.random.default_rng(0))
        counts.append(counting.n)
        found.append(bowl(point))
    assert max(counts) < 1.5 * min(counts)
    assert max(found) < 1e-3


@pytest.mark.parametrize(
    "y",
    [
        [1.0, 2.0],
        [0.5] * 12,
        [0.0, 1.0] * 6,
        [*range(11), 1e300],
        [-1.7e308, 1.7e308] * 6,
        [5e-324 * i for i in range(12)],
        [1e15 + 0.125 * i for i in range(12)],
        [NAN] * 6 + [1.0] * 6,
    ],
    ids=["two", "constant", "ties", "outlier", "huge", "denormals", "last digits", "failures and a constant"],
)
@pytest.mark.parametrize("acquisition", ["logei", "ts"])
def test_values_of_any_kind(y: list[float], acquisition: str) -> None:
    x = start(MIXED, len(y))
    point, belief = Proposer(MIXED, 0, acquisition).propose(data(x, y), np.random.default_rng(0))
    assert MIXED.settled(point[None])[0].tolist() == [point.tolist()]
    assert np.isfinite([belief.mean, belief.std, belief.score]).all()
    assert (belief.p_well is None) == (not np.isnan(y).any())


def test_equal_points_with_values_that_differ() -> None:
    x = np.repeat(start(SQUARE, 2), 30, axis=0)
    point, _ = Proposer(SQUARE, 0, "logei").propose(data(x, np.arange(60.0) % 7), np.random.default_rng(0))
    assert keys(point[None])[0] not in keys(x)
