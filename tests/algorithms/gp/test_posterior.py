"""The posterior against the formulas of the textbook, and the laws it has to keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.kernel import Features, Hyper, covariance, embed, hyper_of, n_hyper
from whet.algorithms.gp.posterior import Posterior

S = 3


def branches(x: Floats) -> tuple[Floats, Bools]:
    x = x.copy()
    x[x[:, 2] < 0.4, 1] = np.nan
    return x, np.ones(len(x), dtype=bool)


MIXED = Cube((None, None, np.array([1 / 6, 0.5, 5 / 6]), np.linspace(0, 1, 4)), np.array([0, 0, 1, 0], bool), branches)


def points(n: int, seed: int) -> Floats:
    return MIXED.settled(np.random.default_rng(seed).random((n, MIXED.d)))[0]


def setting(x: Floats, seed: int, log_noise: float = -3.0) -> tuple[Features, Hyper]:
    features = Features(MIXED, x)
    theta = 0.5 * np.random.default_rng(seed).standard_normal((S, n_hyper(features)))
    theta[:, MIXED.d + 1] = log_noise
    return features, hyper_of(theta, features)


def textbook(features: Features, hyper: Hyper, x: Floats, y: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Return means and joint covariances: Rasmussen & Williams, eq. 2.23 and 2.24."""
    means, covariances = [], []
    for i in range(S):
        one = hyper.among(slice(i, i + 1))
        z, z_at = (embed(features(p), one, features) for p in (x, at))
        k = covariance(z, z, one)[0] + one.noise * np.eye(len(x))
        cross = covariance(z, z_at, one)[0]
        means.append(cross.T @ np.linalg.solve(k, y))
        covariances.append(covariance(z_at, z_at, one)[0] - cross.T @ np.linalg.solve(k, cross))
    return np.array(means), np.array(covariances)


@pytest.mark.parametrize("n", [1, 2, 25])
def test_it_is_what_the_textbook_says(n: int) -> None:
    x, at, y = points(n, 0), points(9, 1), np.random.default_rng(2).standard_normal(n)
    features, hyper = setting(x, 3)
    mean, var = Posterior(features, hyper, x, y)(at)
    expected, joint = textbook(features, hyper, x, y, at)
    assert np.allclose(mean, expected, atol=1e-6)
    assert np.allclose(var, np.diagonal(joint, axis1=1, axis2=2), atol=1e-6)


def test_samples_have_the_moments_of_the_textbook() -> None:
    x, at, y = points(10, 0), points(4, 1), np.random.default_rng(2).standard_normal(10)
    features, hyper = setting(x, 3)
    posterior, rng = Posterior(features, hyper, x, y), np.random.default_rng(4)
    draws = np.array([posterior.draw(at, rng) for _ in range(1500)])
    expected, joint = textbook(features, hyper, x, y, at)
    for i in range(S):
        assert np.allclose(draws[:, i].mean(axis=0), expected[i], atol=5 * np.sqrt(joint[i].max() / 1500))
        assert np.allclose(np.cov(draws[:, i].T), joint[i], atol=0.16 * joint[i].max())


def test_nearly_noise_free_data_are_met() -> None:
    x, y = points(12, 5), np.random.default_rng(6).standard_normal(12)
    features, hyper = setting(x, 7, log_noise=-50.0)
    mean, var = Posterior(features, hyper, x, y)(x)
    assert np.allclose(mean, y, atol=1e-3)
    assert var.max() < 1e-4


def test_far_more_noise_than_signal_leaves_the_prior() -> None:
    x, y = points(12, 5), np.full(12, 3.0)
    features, hyper = setting(x, 7, log_noise=25.0)
    mean, _ = Posterior(features, hyper, x, y)(x)
    assert np.abs(mean).max() < 1e-6


@given(st.integers(0, 2**32), st.floats(-50, 2))
def test_more_data_never_make_it_less_certain(seed: int, log_noise: float) -> None:
    x, at, y = points(20, seed), points(15, seed + 1), np.random.default_rng(seed).standard_normal(20)
    features, hyper = setting(x, seed, log_noise)
    _, before = Posterior(features, hyper, x[:12], y[:12])(at)
    _, after = Posterior(features, hyper, x, y)(at)
    assert (before > 0).all()
    assert (after > 0).all()
    assert (after <= before + 1e-6 * before.max()).all()


@pytest.mark.parametrize("log_noise", [-50.0, -3.0])
def test_equal_points_are_survived(log_noise: float) -> None:
    """Two hundred of them: with little noise their covariance is singular but for rounding."""
    x, y = np.repeat(points(2, 8), 100, axis=0), np.tile([0.0, 1.0], 100)
    features, hyper = setting(x, 9, log_noise)
    mean, var = Posterior(features, hyper, x, y)(np.vstack([x[[0, 100]], points(5, 10)]))
    assert np.isfinite(mean).all()
    assert (var > 0).all()
    assert np.allclose(mean[:, :2], 0.5, atol=0.25)


def test_where_rounding_spoils_a_covariance_there_is_more_noise() -> None:
    """Here on purpose: a signal so strong that the noise is lost beside it."""
    x, y = np.repeat(points(2, 8), 30, axis=0), np.zeros(60)
    features, hyper = setting(x, 9, -50.0)
    strong = Hyper(hyper.lengthscales, hyper.signal * 1e14, hyper.noise, hyper.a, hyper.b)
    posterior = Posterior(features, strong, x, y)
    assert (posterior.hyper.noise > strong.noise).all()
    assert np.isfinite(posterior(x)[0]).all()


def test_each_set_may_have_seen_something_else() -> None:
    x, at, y = points(8, 0), points(5, 1), np.random.default_rng(2).standard_normal((S, 8))
    features, hyper = setting(x, 3)
    mean, _ = Posterior(features, hyper, x, y)(at)
    for i in range(S):
        assert np.allclose(mean[i], Posterior(features, hyper, x, y[i])(at)[0][i])


# ---- what is being tried
def test_imagined_values_are_met_and_nothing_else_is_forgotten() -> None:
    x, pending, y = points(10, 0), points(6, 1), np.random.default_rng(2).standard_normal(10)
    features, hyper = setting(x, 3, log_noise=-50.0)
    posterior = Posterior(features, hyper, x, y)
    imagining = posterior.imagining(pending, np.random.default_rng(4))
    (there, var), (known, _) = imagining(pending), imagining(x)
    assert var.max() < 1e-4
    assert np.allclose(known, y, atol=1e-2)
    assert np.allclose(imagining.lowest(6), there.min(axis=1, keepdims=True), atol=1e-2)
    assert not np.allclose(there[0], there[1], atol=0.01)  # each set imagines its own


def test_what_is_imagined_changes_nothing_on_average() -> None:
    x, pending, at = points(6, 0), points(5, 1), points(4, 5)
    features, hyper = setting(x, 3)
    posterior, rng = (
        Posterior(features, hyper, x, np.random.default_rng(2).standard_normal(6)),
        np.random.default_rng(4),
    )
    mean, var = posterior(at)
    found = np.array([posterior.imagining(pending, rng)(at)[0] for _ in range(400)])
    assert np.allclose(found.mean(axis=0), mean, atol=5 * np.sqrt(var.max() / 400))
