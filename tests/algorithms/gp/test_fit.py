"""How likely hyperparameters are, and samples of them: against scipy's densities, and exact moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.fit import cholesky, elliptical_slices, log_likelihoods, prior
from whet.algorithms.gp.kernel import Features, covariance, embed, hyper_of, n_hyper, with_noise


def branches(x: Floats) -> tuple[Floats, Bools]:
    x = x.copy()
    x[x[:, 2] < 0.4, 1] = np.nan
    return x, np.ones(len(x), dtype=bool)


MIXED = Cube((None, None, np.array([1 / 6, 0.5, 5 / 6])), np.array([False, False, True]), branches)


def points(n: int, seed: int) -> Floats:
    return MIXED.settled(np.random.default_rng(seed).random((n, MIXED.d)))[0]


# ---- likelihood
@pytest.mark.parametrize("n", [1, 2, 30])
def test_the_likelihood_is_that_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = points(n, n), rng.standard_normal(n)
    features = Features(MIXED, x)
    theta = 0.5 * rng.standard_normal((4, n_hyper(features))) - 0.5
    hyper = hyper_of(theta, features)
    z = embed(features(x), hyper, features)
    expected = [multivariate_normal.logpdf(y, cov=k) for k in with_noise(covariance(z, z, hyper), hyper)]
    found = log_likelihoods(theta, features(x), y, features) - 0.5 * n * np.log(2 * np.pi)
    assert np.allclose(found, expected, rtol=1e-6)


def test_what_cannot_be_computed_is_impossible_and_spoils_no_other_set() -> None:
    x = np.repeat(points(1, 0), 50, axis=0)
    features = Features(MIXED, x)
    theta = np.zeros((3, n_hyper(features)))
    theta[1, MIXED.d] = 60.0  # such a signal that rounding leaves nothing of the noise
    y = np.random.default_rng(0).standard_normal(50)
    found = log_likelihoods(theta, features(x), y, features)
    assert np.isneginf(found[1])
    assert np.allclose(found[[0, 2]], log_likelihoods(theta[:1], features(x), y, features))


def test_factors() -> None:
    good = np.array([[2.0, 1.0], [1.0, 2.0]])
    first, bad, nan, last = cholesky(np.array([good, -good, good * np.nan, 3 * good]))
    assert bad is None
    assert nan is None
    assert first is not None and np.allclose(first @ first.T, good)
    assert last is not None and np.allclose(last @ last.T, 3 * good)


# ---- prior
@given(st.integers(0, 30), st.integers(0, 5))
def test_the_prior_has_a_place_for_each_hyperparameter(n_numeric: int, n_categories: int) -> None:
    d = n_numeric + n_categories
    is_category = np.arange(d) >= n_numeric
    cube = Cube(tuple(np.linspace(0, 1, 3) if c else None for c in is_category), is_category, branches)
    features = Features(cube, np.full((2, d), 0.5))
    mean, std = prior(features)
    assert mean.shape == std.shape == (n_hyper(features),)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


def test_lengthscales_grow_with_the_diameter_of_the_cube() -> None:
    def lengthscale(d: int) -> float:
        cube = Cube((None,) * d, np.zeros(d, dtype=bool), branches)
        features = Features(cube, np.empty((0, d)))
        return float(hyper_of(prior(features)[0][None], features).lengthscales[0, 0])

    assert lengthscale(400) == pytest.approx(10 * lengthscale(4))


# ---- elliptical slice sampling
def test_chains_keep_to_the_posterior() -> None:
    """Of a normal prior and a normal likelihood, whose product is known."""
    rng = np.random.default_rng(0)
    mean, std = np.array([1.0, -2.0, 0.5]), np.array([0.5, 2.0, 1.0])
    at, precision = np.array([0.0, 1.0, 0.0]), np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.3], [0.0, 0.3, 0.5]])
    exact_cov = np.linalg.inv(np.diag(std**-2) + precision)
    exact_mean = exact_cov @ (mean / std**2 + precision @ at)

    def log_likelihood(theta: Floats) -> Floats:
        found: Floats = -0.5 * np.einsum("sp,pq,sq->s", theta - at, precision, theta - at)
        return found

    theta, kept = np.repeat(mean[None], 200, axis=0), []
    for i in range(160):
        theta = elliptical_slices(theta, log_likelihood, mean, std, rng)
        if i >= 20:
            kept.append(theta)
    found = np.vstack(kept)
    assert np.allclose(found.mean(axis=0), exact_mean, atol=0.05)
    assert np.allclose(np.cov(found.T), exact_cov, atol=0.06 * exact_cov.max())


def test_chains_do_not_touch_each_other_nor_what_they_are_given() -> None:
    """One that is nowhere possible stays where it is, the others move."""
    mean, std = np.zeros(2), np.ones(2)

    def log_likelihood(theta: Floats) -> Floats:
        return np.where(theta[:, 0] < 5, -np.square(theta).sum(axis=1), np.nan)

    start = np.array([[0.1, 0.2], [9.0, 9.0], [-1.0, 0.5]])
    before = start.copy()
    found = elliptical_slices(start, log_likelihood, mean, std, np.random.default_rng(0))
    assert (start == before).all()
    assert (found[1] == start[1]).all()
    assert (found[[0, 2]] != start[[0, 2]]).all()
