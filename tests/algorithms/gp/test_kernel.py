"""The kernel against loops that say what it is, and against scikit-learn's where that has the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.gaussian_process.kernels import Matern

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.kernel import Features, Hyper, covariance, embed, hyper_of, n_hyper, with_noise

NAN = float("nan")
LEVELS = np.array([0.125, 0.375, 0.625, 0.875])


def branches(x: Floats) -> tuple[Floats, Bools]:
    """Of the four numeric and two categorical axes the second and the last exist for the first two levels only."""
    x = x.copy()
    is_other = x[:, 2] > 0.5
    x[is_other, 1] = NAN
    x[is_other, 5] = NAN
    return x, np.ones(len(x), dtype=bool)


MIXED = Cube(
    (None, None, LEVELS, np.linspace(0, 1, 5), None, LEVELS[1:]), np.array([0, 0, 1, 0, 0, 1], dtype=bool), branches
)
NUMERIC = Cube((None,) * 3, np.zeros(3, dtype=bool), lambda x: (x, np.ones(len(x), dtype=bool)))


def points(n: int, seed: int, cube: Cube = MIXED) -> Floats:
    return cube.settled(np.random.default_rng(seed).random((n, cube.d)))[0]


def random_hyper(features: Features, seed: int, s: int = 3) -> Hyper:
    return hyper_of(0.7 * np.random.default_rng(seed).standard_normal((s, n_hyper(features))), features)


def covered(x: Floats, other: Floats, hyper: Hyper, features: Features) -> Floats:
    z, z_other = (embed(features(at), hyper, features) for at in (x, other))
    return covariance(z, z_other, hyper)


def warped(u: float, a: float, b: float) -> float:
    """Return the distribution function of Kumaraswamy at *u*."""
    return float(1 - (1 - min(max(u, 1e-6), 1 - 1e-6) ** a) ** b)


def reference(p: Floats, q: Floats, one: Hyper, levels: dict[int, set[float]]) -> float:
    """Return the covariance of two points of `MIXED`, axis by axis; *one* set, *levels* those that were seen."""
    squared, w = 0.0, 0
    for axis in range(MIXED.d):
        length = one.lengthscales[0, axis]
        if MIXED.is_category[axis]:
            first, second = (
                None if math.isnan(v) else v if v in levels[axis] else "unknown" for v in (p[axis], q[axis])
            )
            n_active = (first is not None) + (second is not None)
            if first != second:
                squared += n_active / 2 / length**2
            continue
        a, b = one.a[0, w], one.b[0, w]
        w += 1
        first, second = (warped(0.5 if math.isnan(v) else v, a, b) / length for v in (p[axis], q[axis]))
        squared += (first - second) ** 2
    r = math.sqrt(5 * squared)
    return float(one.signal[0] * (1 + r + r * r / 3) * math.exp(-r))


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_the_loops_say(seed: int) -> None:
    known, x, other = points(6, seed), points(9, 10 + seed), points(7, 20 + seed)
    features = Features(MIXED, known)
    hyper = random_hyper(features, seed)
    levels = {axis: {v for v in known[:, axis] if not math.isnan(v)} for axis in np.flatnonzero(MIXED.is_category)}
    k = covered(x, other, hyper, features)
    for i in range(3):
        expected = [[reference(p, q, hyper.among(slice(i, i + 1)), levels) for q in other] for p in x]
        assert np.allclose(k[i], expected, rtol=1e-7, atol=1e-9)


def test_without_warping_it_is_the_matern_kernel_of_scikit_learn() -> None:
    x = points(12, 1, NUMERIC)
    features = Features(NUMERIC, x)
    theta = np.zeros((1, n_hyper(features)))
    theta[0, :3] = np.log([0.3, 1.0, 4.0])
    theta[0, 3:5] = math.log(2.5), -800.0
    k = covered(x, x, hyper_of(theta, features), features)[0]
    assert np.allclose(k, 2.5 * Matern([0.3, 1.0, 4.0], nu=2.5)(x), rtol=0, atol=2e-5)  # the ends of axes are cut


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_it_is_symmetric_and_positive_definite(seed: int, n: int) -> None:
    x = points(n, seed)
    x = np.vstack([x, x[: n // 2]])  # points that are equal as well
    features = Features(MIXED, x[::2])
    hyper = random_hyper(features, seed)
    k = covered(x, x, hyper, features)
    assert np.allclose(k, np.swapaxes(k, 1, 2), rtol=0, atol=1e-9 * k.max())
    assert np.linalg.eigvalsh((k + np.swapaxes(k, 1, 2)) / 2).min() > -1e-9 * k.max()
    noisy = with_noise(k.copy(), hyper)
    assert (np.linalg.eigvalsh(noisy).min(axis=1) > 0.5 * hyper.noise).all()
    assert np.allclose(noisy - k, hyper.noise[:, None, None] * np.eye(len(x)))


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_a_point_is_its_covariance_with_itself(seed: int) -> None:
    x = points(15, seed)
    features = Features(MIXED, x)
    hyper = random_hyper(features, seed)
    z = embed(features(x), hyper, features)
    assert np.allclose(hyper.signal[:, None], np.diagonal(covariance(z, z, hyper), axis1=1, axis2=2), rtol=1e-5)


def test_noise_never_vanishes() -> None:
    features = Features(NUMERIC, points(3, 0, NUMERIC))
    assert (hyper_of(np.full((2, n_hyper(features)), -800.0), features).noise > 0).all()


# ---- features
def squared_distances(levels: list[float], known: list[float]) -> Floats:
    cube = Cube((LEVELS,), np.ones(1, dtype=bool), branches)
    features = Features(cube, np.array(known)[:, None])
    f = features(np.array(levels)[:, None])
    return np.square(f[:, None] - f[None]).sum(axis=-1)


def test_levels_that_differ_are_one_apart_known_or_not() -> None:
    found = squared_distances(LEVELS[:3].tolist(), LEVELS[:2].tolist())
    assert np.allclose(found, 1 - np.eye(3))


def test_what_was_never_seen_is_all_the_same() -> None:
    assert np.allclose(squared_distances(LEVELS[2:].tolist(), LEVELS[:2].tolist()), 0)
    assert np.allclose(squared_distances(LEVELS.tolist(), []), 0)


def test_what_is_inactive_is_half_as_far_from_each_level() -> None:
    found = squared_distances([NAN, NAN, *LEVELS], [LEVELS[1], NAN])
    assert np.allclose(found[0], [0, 0, 0.5, 0.5, 0.5, 0.5])


def test_what_is_inactive_lies_in_the_middle() -> None:
    x = np.array([[0.5, NAN, NAN], [NAN, 0.5, 0.5]])
    assert np.allclose(*Features(NUMERIC, x)(x))


def test_warping_is_increasing_and_survives_the_ends_of_axes() -> None:
    x = np.repeat(np.linspace(0, 1, 101)[:, None], 3, axis=1)
    features = Features(NUMERIC, x)
    theta = np.zeros((3, n_hyper(features)))
    theta[:, 5:] = np.array([-2.5, 0.0, 2.5])[:, None]
    z = embed(features(x), hyper_of(theta, features), features)
    assert np.isfinite(z).all()
    assert (np.diff(z, axis=1) >= 0).all()


@pytest.mark.parametrize("is_category", [False, True])
def test_no_points_and_no_axes(is_category: bool) -> None:
    cube = Cube((LEVELS,), np.array([is_category]), branches)
    features = Features(cube, np.empty((0, 1)))
    z = embed(features(np.empty((0, 1))), random_hyper(features, 0), features)
    assert covariance(z, z, random_hyper(features, 0)).shape == (3, 0, 0)
    empty = Cube((), np.empty(0, dtype=bool), branches)
    features = Features(empty, np.empty((2, 0)))
    hyper = random_hyper(features, 0)
    assert np.allclose(covered(np.empty((2, 0)), np.empty((1, 0)), hyper, features), hyper.signal[:, None, None])
