"""The cube: levels, snapping, keys."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whet.algorithms.cube import Cube, keys

CENTRES = (None, np.array([0.1, 0.2, 0.7]), np.array([1 / 4, 3 / 4]), np.array([0.5]))
PLACES = st.floats(-0.5, 1.5) | st.sampled_from([0.0, -0.0, 1.0, 0.15, 0.45, 0.5, np.inf, -np.inf, np.nan])


def make_cube(centres=CENTRES, activate=lambda x: (x, np.ones(len(x), dtype=bool))) -> Cube:
    return Cube(centres, np.zeros(len(centres), dtype=bool), activate)


def test_axes_have_as_many_levels_as_centres() -> None:
    cube = make_cube()
    assert cube.d == 4
    assert cube.n_levels.tolist() == [0, 3, 2, 1]
    assert cube.is_continuous.tolist() == [True, False, False, False]


@given(arrays(float, st.tuples(st.integers(0, 5), st.just(4)), elements=PLACES))
def test_places_are_moved_to_the_nearest_level(u: np.ndarray) -> None:
    cube, before = make_cube(), u.copy()
    x = cube.snapped(u)
    np.testing.assert_array_equal(u, before)  # what is given stays as it is
    np.testing.assert_array_equal(np.isnan(x), np.isnan(u))
    np.testing.assert_array_equal(cube.snapped(x), x)
    for axis, centres in enumerate(CENTRES):
        known = ~np.isnan(u[:, axis])
        clipped, column = np.clip(u[known, axis], 0, 1), x[known, axis]
        if centres is None:
            np.testing.assert_array_equal(column, clipped)
        else:
            assert np.isin(column, centres).all()
            nearest = np.abs(clipped[:, None] - centres).min(axis=1)
            np.testing.assert_allclose(np.abs(clipped - column), nearest, atol=1e-15)


def test_centres_are_at_their_own_level_and_what_lies_between_two_at_the_upper() -> None:
    cube = make_cube()
    for axis, centres in enumerate(CENTRES):
        if centres is not None:
            assert cube.level(centres, axis).tolist() == list(range(len(centres)))
    assert cube.level(np.array([0.0, 0.49, 0.5, 1.0, np.nan]), 2).tolist() == [0, 0, 1, 1, 1]


def test_places_without_levels_are_moved_to_values_where_there_are_some() -> None:
    def snap(u: np.ndarray) -> np.ndarray:
        assert not np.isnan(u).any()
        return np.round(u * 1e5) / 1e5

    cube = Cube((None, None), np.zeros(2, dtype=bool), lambda x: (x, np.ones(len(x), dtype=bool)), {1: snap})
    assert cube.is_continuous.all()
    x = cube.snapped(np.array([[0.1234567, 0.1234567], [np.nan, np.nan], [2.0, 2.0]]))
    np.testing.assert_array_equal(x, [[0.1234567, 0.12346], [np.nan, np.nan], [1.0, 1.0]])


def test_settled_points_are_those_that_are_active() -> None:
    def activate(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(x > 0.7, np.nan, x), x[:, 0] > 0.2

    x, is_allowed = make_cube((None, CENTRES[2]), activate).settled(np.array([[0.1, 0.9], [0.3, 0.1]]))
    np.testing.assert_array_equal(x, [[0.1, np.nan], [0.3, 0.25]])
    assert is_allowed.tolist() == [False, True]


def test_a_cube_without_axes_has_one_point() -> None:
    x, is_allowed = make_cube(()).settled(np.empty((3, 0)))
    assert x.shape == (3, 0)
    assert is_allowed.all()
    assert len(set(keys(x))) == 1


@given(arrays(float, (2, 3), elements=st.sampled_from([0.0, -0.0, 0.5, 0.5 + 1e-14, 0.5 + 1e-9, 1.0, np.nan])))
def test_points_have_one_key_if_they_are_the_same_to_twelve_digits(x: np.ndarray) -> None:
    is_same = np.allclose(x[0], x[1], rtol=0, atol=1e-12, equal_nan=True)
    first, second = keys(x)
    assert (first == second) == is_same


def test_a_key_does_not_depend_on_how_an_array_lies_in_memory() -> None:
    x = np.random.default_rng(0).random((4, 3))
    assert keys(x) == keys(np.asfortranarray(x)) == keys(np.vstack([x, x])[:4])
    assert keys(x[:0]) == []
