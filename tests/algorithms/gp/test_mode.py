"""The most probable hyperparameters: slopes against differences, and a mode that nothing near it beats."""

from __future__ import annotations

import numpy as np
import pytest

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.fit import log_likelihoods, prior
from whet.algorithms.gp.kernel import Features, hyper_of, n_hyper
from whet.algorithms.gp.mode import log_likelihood, mode


def branches(x: Floats) -> tuple[Floats, Bools]:
    x = x.copy()
    x[x[:, 2] < 0.4, 1] = np.nan
    return x, np.ones(len(x), dtype=bool)


LEVELS = np.array([1 / 6, 0.5, 5 / 6])
MIXED = Cube((None, None, LEVELS, np.linspace(0, 1, 4)), np.array([False, False, True, False]), branches)
ONLY_CATEGORIES = Cube((LEVELS, LEVELS), np.ones(2, dtype=bool), lambda x: (x, np.ones(len(x), dtype=bool)))


def points(n: int, seed: int, cube: Cube = MIXED) -> Floats:
    return cube.settled(np.random.default_rng(seed).random((n, cube.d)))[0]


@pytest.mark.parametrize("cube", [MIXED, ONLY_CATEGORIES], ids=["mixed", "categories"])
@pytest.mark.parametrize("n", [1, 3, 25])
def test_value_and_slope(cube: Cube, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = points(n, n, cube), rng.standard_normal(n)
    features = Features(cube, x)
    theta = 0.5 * rng.standard_normal(n_hyper(features))
    value, slope = log_likelihood(theta, features(x), y, features)
    assert value == pytest.approx(log_likelihoods(theta[None], features(x), y, features)[0])
    step = 1e-5 * np.eye(len(theta))
    above, below = (log_likelihoods(theta + sign * step, features(x), y, features) for sign in (1, -1))
    assert np.allclose(slope, (above - below) / 2e-5, rtol=1e-4, atol=1e-5)


def test_equal_points_have_a_slope_too() -> None:
    x, y = np.repeat(points(2, 0), 10, axis=0), np.arange(20.0) / 10
    features = Features(MIXED, x)
    value, slope = log_likelihood(prior(features)[0], features(x), y, features)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_nothing_near_the_mode_is_more_probable() -> None:
    rng = np.random.default_rng(0)
    x = points(40, 1)
    y = np.sin(5 * x[:, 0]) + 0.05 * rng.standard_normal(40)
    features = Features(MIXED, x)
    f, (mean, std) = features(x), prior(features)

    def log_density(theta: Floats) -> Floats:
        density: Floats = log_likelihoods(theta, f, y, features) - 0.5 * np.square((theta - mean) / std).sum(axis=1)
        return density

    best = mode(mean, f, y, features, (mean, std), 200)
    top = log_density(best[None])[0]
    near = np.concatenate([best + scale * std * rng.standard_normal((100, len(best))) for scale in (0.01, 0.1, 1.0)])
    assert (log_density(near) < top + 1e-6).all()
    assert top > log_density(mean[None])[0] + 10
    # It knows which axis counts, and how little noise there is.
    hyper = hyper_of(best[None], features)
    assert hyper.lengthscales[0, 0] < 0.5 * hyper.lengthscales[0, [1, 2, 3]].min()
    assert hyper.noise[0] < 0.02


def test_the_longer_the_way_the_better_and_no_way_is_none() -> None:
    x = points(30, 1)
    y = np.cos(7 * x[:, 0]) * x[:, 3]
    features = Features(MIXED, x)
    f, around = features(x), prior(features)
    found = [mode(around[0], f, y, features, around, n) for n in (1, 5, 100)]
    values = [log_likelihood(theta, f, y, features)[0] for theta in (around[0], *found)]
    assert values[0] < values[1] < values[2] <= values[3] + 1


@pytest.mark.parametrize("y", [[0.0] * 20, [1e-9] * 20, [*np.zeros(19), 1e6], [1e9, -1e9] * 10])
def test_strange_data_have_a_mode(y: list[float]) -> None:
    x = points(20, 1)
    features = Features(MIXED, x)
    mean, std = prior(features)
    found = mode(mean, features(x), np.array(y), features, (mean, std), 20)
    assert np.isfinite(found).all()
    assert (np.abs(found - mean) <= 20 * std).all()
