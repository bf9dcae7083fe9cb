"""Maximising a cheap function: the known optimum of simple ones, on axes of every kind; what may be had, what not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.cube import Bools, Cube, Floats, keys
from whet.algorithms.maximise import maximised, mutated, polished, with_edges

SEEDS = range(3)


def always(x: Floats) -> tuple[Floats, Bools]:
    return x, np.ones(len(x), dtype=bool)


def cells(n: int) -> Floats:
    return (np.arange(n) + 0.5) / n


def cube_of(*centres: Floats | None, categories: tuple[int, ...] = (), activate: object = always) -> Cube:
    is_category = np.array([axis in categories for axis in range(len(centres))], dtype=bool)
    return Cube(centres, is_category, activate)  # type: ignore[arg-type]  # one of the two above


def every(x: Floats) -> Bools:
    return np.ones(len(x), dtype=bool)


def best_of(cube: Cube, score: object, seed: int, is_new: object = every) -> tuple[Floats, float]:
    rng = np.random.default_rng(seed)
    good = cube.settled(rng.random((4, cube.d)))[0]
    return maximised(score, score, cube, is_new, good, rng)  # type: ignore[arg-type]  # functions as it wants them


def near(target: Floats) -> object:
    return lambda x: -np.square(np.nan_to_num(x, nan=0.0) - target).sum(axis=1)


# ---- known optima
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("d", [1, 2, 6, 20])
def test_a_smooth_peak_is_found_exactly(d: int, seed: int) -> None:
    target = np.random.default_rng(99).random(d)
    x, value = best_of(cube_of(*[None] * d), near(target), seed)
    assert np.allclose(x, target, atol=1e-3)
    assert value == near(target)(x[None])[0]  # type: ignore[operator]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_corner_is_found(seed: int) -> None:
    direction = np.array([1.0, -1.0, 0.3, -0.2, 1e-4])
    x, _ = best_of(cube_of(*[None] * 5), lambda x: x @ direction, seed)
    assert x.tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 7, 1000])
def test_the_best_integers_are_found(n: int, seed: int) -> None:
    cube = cube_of(*[cells(n)] * 3)
    target = cells(n)[[0, n // 3, n - 1]]
    assert best_of(cube, near(target), seed)[0].tolist() == target.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_categories_are_found(seed: int) -> None:
    cube = cube_of(*[cells(5)] * 6, categories=tuple(range(6)))
    target = cells(5)[[0, 4, 2, 2, 1, 3]]
    x, value = best_of(cube, lambda x: np.isclose(x, target).sum(axis=1).astype(float), seed)
    assert value == 6
    assert x.tolist() == target.tolist()


def second_if_first_is_low(x: Floats) -> tuple[Floats, Bools]:
    x = x.copy()
    x[x[:, 0] > 0.5, 1] = np.nan
    x[x[:, 0] <= 0.5, 2] = np.nan
    return always(x)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("better", [1, 2])
def test_the_better_branch_is_found_and_followed(better: int, seed: int) -> None:
    cube = cube_of(cells(2), None, cells(9), None, categories=(0,), activate=second_if_first_is_low)

    def score(x: Floats) -> Floats:
        bonus = np.where(np.isnan(x[:, better]), 0.0, 0.1 - np.square(x[:, better] - 0.5))
        found: Floats = bonus - np.square(x[:, 3] - 0.25)
        return found

    x, value = best_of(cube, score, seed)
    assert np.isnan(x[3 - better])
    assert x[better] == pytest.approx(0.5, abs=1e-3)
    assert x[3] == pytest.approx(0.25, abs=1e-3)
    assert value == pytest.approx(0.1, abs=1e-5)


def test_a_narrow_peak_at_a_good_point_is_found() -> None:
    """Which uniform points would miss."""
    d = 8
    target, rng = np.random.default_rng(5).random(d), np.random.default_rng(0)
    score = lambda x: np.exp(-np.square((x - target) / 0.05).sum(axis=1))  # noqa: E731
    _, value = maximised(score, score, cube_of(*[None] * d), every, np.clip(target + 0.02, 0, 1)[None], rng)
    assert value > 0.9


def test_the_slope_is_followed_onto_the_edge() -> None:
    """The last step ends on it and not near it, on whichever side."""
    cube = cube_of(None, None)
    x, _ = best_of(cube, lambda x: x[:, 0] - x[:, 1] - 0.1 * np.square(x).sum(axis=1), 0)
    assert x.tolist() == [1.0, 0.0]


# ---- what may be had
def test_only_what_is_new_is_returned() -> None:
    """All levels but the worst are taken, one after another."""
    cube, taken = cube_of(cells(4), cells(3), categories=(1,)), set[bytes]()
    values = []
    for i in range(12):
        is_new = lambda x: np.array([key not in taken for key in keys(x)], dtype=bool)  # noqa: E731
        x, value = best_of(cube, lambda x: 10 * x[:, 0] + x[:, 1], i, is_new)
        assert np.isfinite(value)
        assert keys(x[None])[0] not in taken
        taken.update(keys(x[None]))
        values.append(value)
    assert values == sorted(values, reverse=True)
    assert best_of(cube, lambda x: x[:, 0], 0, is_new)[1] == -np.inf


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_not_allowed_is_not_returned(seed: int) -> None:
    """The peak lies where nothing may; the border of what may be is the best there is."""
    cube = cube_of(None, None, activate=lambda x: (x, x.sum(axis=1) <= 1.0))
    x, _ = best_of(cube, lambda x: x.sum(axis=1), seed)
    assert 0.99 < x.sum() <= 1.0


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_scores_that_are_none(value: float) -> None:
    """Wherever the score is a number that is better; where it never is, so be it."""
    cube = cube_of(None, cells(3))
    x, found = best_of(cube, lambda x: np.where(x[:, 0] > 0.3, value, x[:, 0]), 0)
    assert 0.29 < x[0] <= 0.3
    assert found == x[0]
    assert best_of(cube, lambda x: np.full(len(x), value), 0)[1] == -np.inf


def test_where_nothing_is_new_nothing_is_scored() -> None:
    def score(x: Floats) -> Floats:
        raise AssertionError("not to be asked")

    def none(x: Floats) -> Bools:
        return np.zeros(len(x), dtype=bool)

    rng, good = np.random.default_rng(0), np.array([[0.5]])
    assert maximised(score, lambda x: x[:, 0], cube_of(None), none, good, rng)[1] == -np.inf


def test_a_flat_score_gives_some_point() -> None:
    x, value = best_of(cube_of(None, cells(2)), lambda x: np.zeros(len(x)), 0)
    assert value == 0
    assert ((x >= 0) & (x <= 1)).all()


def test_a_cube_without_axes_has_one_point() -> None:
    x, value = best_of(cube_of(), lambda x: np.full(len(x), 3.0), 0)
    assert x.shape == (0,)
    assert value == 3
    assert best_of(cube_of(), lambda x: np.zeros(len(x)), 0, lambda x: np.zeros(len(x), dtype=bool))[1] == -np.inf


def test_what_is_scored_is_settled() -> None:
    """Whatever the search does to points, the score sees nothing but values of the axes, in batches of bounded size."""
    cube = cube_of(None, cells(3), cells(4), categories=(2,), activate=second_if_first_is_low)
    sizes = []

    def score(x: Floats) -> Floats:
        sizes.append(len(x))
        assert np.array_equal(cube.settled(x)[0], x, equal_nan=True)
        found: Floats = np.nansum(x, axis=1)
        return found

    best_of(cube, score, 0)
    assert max(sizes) < 2000


def test_the_generator_decides() -> None:
    cube = cube_of(*[None] * 4)
    flat = lambda x: np.round(x).sum(axis=1)  # noqa: E731  # many points are equally good
    assert best_of(cube, flat, 1)[0].tolist() == best_of(cube, flat, 1)[0].tolist()
    assert best_of(cube, flat, 1)[0].tolist() != best_of(cube, flat, 2)[0].tolist()


def test_a_thousand_axes() -> None:
    """Are too many for a peak, but not for better than chance; and batches do not grow with their square."""
    d, n_scored = 1000, []

    def score(x: Floats) -> Floats:
        n_scored.append(len(x))
        found: Floats = -np.square(x - 0.3).mean(axis=1)
        return found

    cube = cube_of(*[None] * d)
    _, value = best_of(cube, score, 0)
    assert value > score(np.random.default_rng(1).random((500, d))).max()
    assert sum(n_scored) < 5_000


# ---- moves
@given(st.integers(0, 2**32), st.floats(1e-3, 1))
def test_variants_differ_and_numbers_move_to_other_levels(seed: int, step: float) -> None:
    cube, rng = (
        cube_of(None, cells(9), cells(2), cells(4), categories=(3,), activate=always),
        np.random.default_rng(seed),
    )
    x = cube.snapped(rng.random((50, 4)))
    x[::5, 1] = np.nan
    found = cube.snapped(mutated(x, cube, np.full(50, step), rng))
    assert not np.isnan(found).any()
    moved = found[:, :3] != x[:, :3]
    is_known = ~np.isnan(x[:, 1])
    # Only on an axis without a place before, or by a step of a number across an end, may a variant stay what it was.
    assert (moved.any(axis=1) | (found[:, 3] != x[:, 3]))[is_known].mean() > 0.5
    assert ((found >= 0) & (found <= 1)).all()


def test_small_steps_lead_to_neighbouring_levels_on_both_sides() -> None:
    cube, rng = cube_of(cells(9)), np.random.default_rng(0)
    for start, expected in ((0, {1}), (4, {3, 5}), (8, {7})):
        found = mutated(np.full((60, 1), cells(9)[start]), cube, np.full(60, 1e-6), rng)
        assert {int(level) for level in cube.level(found[:, 0], 0)} == expected


def test_a_category_is_drawn_among_its_other_levels() -> None:
    cube, rng = cube_of(cells(4), categories=(0,)), np.random.default_rng(0)
    for start in range(4):
        found = cube.level(mutated(np.full((90, 1), cells(4)[start]), cube, np.full(90, 0.1), rng)[:, 0], 0)
        assert set(found.tolist()) == {0, 1, 2, 3} - {start}
        assert np.bincount(found).max() < 55  # about as often


def test_edges_are_moved_to_for_numbers_only() -> None:
    cube, rng = cube_of(None, cells(5), cells(5), categories=(2,)), np.random.default_rng(0)
    u = rng.random((400, 3))
    found = with_edges(u, cube, rng)
    at_edge = np.isin(found, [0.0, 1.0])
    assert (found[~at_edge] == u[~at_edge]).all()
    assert (at_edge.mean(axis=0)[:2] > 0.02).all()
    assert not at_edge[:, 2].any()
    assert (np.abs(found - u) <= 0.5).all()


def test_what_becomes_active_on_the_way_has_a_place() -> None:
    """The slope leads across the border where another axis appears: the point that is found has a place on it."""

    def activate(x: Floats) -> tuple[Floats, Bools]:
        x = x.copy()
        x[x[:, 0] <= 0.5, 1] = np.nan
        return x, np.ones(len(x), dtype=bool)

    cube = Cube((None, None), np.array([False, False]), activate)
    x = np.array([0.4, np.nan])
    found, value = polished(lambda u: (cube.settled(u)[0], u[:, 0]), cube, x, 0.4, np.random.default_rng(0))
    assert value > 0.5
    assert not np.isnan(found).any()
