"""Failures as a class of their own: against integrals by brute force, and the laws a probability has to keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import norm

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.failures import Failures, mode, prior, samples, share_of
from whet.algorithms.gp.kernel import Features, Hyper, covariance, embed

S = 3


def branches(x: Floats) -> tuple[Floats, Bools]:
    x = x.copy()
    x[x[:, 2] < 0.4, 1] = np.nan
    return x, np.ones(len(x), dtype=bool)


MIXED = Cube((None, None, np.array([1 / 6, 0.5, 5 / 6])), np.array([False, False, True]), branches)
LINE = Cube((None,), np.zeros(1, dtype=bool), lambda x: (x, np.ones(len(x), dtype=bool)))


def points(n: int, seed: int, cube: Cube = MIXED) -> Floats:
    return cube.settled(np.random.default_rng(seed).random((n, cube.d)))[0]


def labels_of(n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).choice([-1.0, 1.0], n)


def model(theta: Floats, x: Floats, labels: Floats, share: float = 0.7, cube: Cube = MIXED) -> Failures:
    return Failures(Features(cube, x), theta, x, labels, share)


def thetas(seed: int, cube: Cube = MIXED) -> Floats:
    mean, std = prior(Features(cube, points(1, 0, cube)))
    found: Floats = mean + std * np.random.default_rng(seed).standard_normal((S, len(mean)))
    return found


# ---- against integrals
def on_a_grid(theta: Floats, x: Floats, labels: Floats, centre: float, at: float) -> tuple[float, float]:
    """Return the exact log probability of one or two *labels* on a line, and the median of g at *at* given them."""
    one = Hyper(np.exp(theta[None, :1]), np.exp(theta[1:]), np.zeros(1), np.ones((1, 1)), np.ones((1, 1)))
    features = Features(LINE, x)
    z = embed(features(np.vstack([x, [[at]]])), one, features)
    k = covariance(z, z, one)[0]
    k_inverse = np.linalg.inv(k[:-1, :-1])
    side = np.linspace(-9, 9, 401)
    root = np.linalg.cholesky(k[:-1, :-1])
    whites = np.stack(np.meshgrid(*[side] * len(x), indexing="ij"), axis=-1).reshape(-1, len(x))
    g = whites @ root.T
    mass = norm.pdf(whites).prod(axis=1) * ndtr(labels * (centre + g)).prod(axis=1) * (side[1] - side[0]) ** len(x)
    cross = k_inverse @ k[:-1, -1]
    mean, std = g @ cross, np.sqrt(max(k[-1, -1] - k[-1, :-1] @ cross, 1e-12))
    low, high = -60.0, 60.0
    for _ in range(50):
        middle = (low + high) / 2
        below = (mass * norm.cdf((middle - mean) / std)).sum() / mass.sum()
        low, high = (middle, high) if below < 0.5 else (low, middle)
    return float(np.log(mass.sum())), centre + low


@pytest.mark.parametrize(("log_signal", "error"), [(-4.0, 2e-3), (-2.0, 0.01), (0.0, 0.05), (1.5, 0.12)])
@pytest.mark.parametrize("labels", [[1.0], [-1.0], [1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]], ids=str)
def test_evidence_and_probability_are_those_of_the_integrals(
    labels: list[float], log_signal: float, error: float
) -> None:
    """The better the less there is to learn from one label, for then all is nearly normal."""
    x, theta, share = np.array([[0.3], [0.6]])[: len(labels)], np.array([np.log(0.5), log_signal]), 0.7
    evidence, median = on_a_grid(theta, x, np.array(labels), float(ndtri(share)), 0.4)
    found = model(theta[None], x, np.array(labels), share, LINE)
    assert found.log_evidence[0] == pytest.approx(evidence, abs=error)
    assert np.exp(found.log_p_well(np.array([[0.4]])))[0] == pytest.approx(ndtr(median), abs=error)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_mode_is_one(seed: int, n: int) -> None:
    """There the slope of the log likelihood is what the prior pulls back with."""
    x, labels, rng = points(n, seed), labels_of(n, seed), np.random.default_rng(seed)
    features = Features(MIXED, x)
    e = np.exp(thetas(seed))
    hyper = Hyper(e[:, :-1], e[:, -1], np.zeros(S), np.ones((S, features.w)), np.ones((S, features.w)))
    z = embed(features(x), hyper, features)
    k, centre = covariance(z, z, hyper), float(rng.normal())
    weights, log_evidence = mode(k, labels, centre)
    v = labels * (centre + np.einsum("snm,sm->sn", k, weights))
    slope = labels * np.exp(norm.logpdf(v) - log_ndtr(v))
    assert np.allclose(weights, slope, atol=1e-3)
    assert (log_evidence < 0).all()


# ---- laws
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_probabilities_lie_between_0_and_1_and_labels_may_be_flipped(seed: int, n: int) -> None:
    x, at, labels, theta = points(n, seed), points(20, seed + 1), labels_of(n, seed), thetas(seed)[:1]
    well, failed = (np.exp(model(theta, x, y, p).log_p_well(at)) for y, p in ((labels, 0.7), (-labels, 0.3)))
    assert (well > 0).all()
    assert (well < 1).all()
    assert np.allclose(well + failed, 1, atol=1e-4)


def test_far_from_all_points_it_is_the_share() -> None:
    x = np.array([[0.0], [0.05], [0.1]])
    found = model(np.array([[np.log(0.02), 2.0]]), x, np.array([-1.0, -1.0, 1.0]), 0.8, LINE)
    assert np.exp(found.log_p_well(np.array([[1.0]])))[0] == pytest.approx(0.8, abs=1e-6)
    assert np.exp(found.log_p_well(x[:1]))[0] < 0.3


def test_the_share_is_never_certain() -> None:
    assert share_of(np.array([1.0, 1.0, -1.0])) == pytest.approx(3 / 5)
    assert 0 < share_of(-np.ones(50)) < share_of(np.r_[1.0, -np.ones(49)]) < share_of(np.ones(50)) < 1


@pytest.mark.parametrize("labels", [np.ones(60), -np.ones(60), np.tile([1.0, -1.0], 30)], ids=["1", "-1", "both"])
def test_equal_points_are_survived(labels: Floats) -> None:
    """However strong the signal: what they say is the share among them."""
    x = np.repeat(points(1, 3), 60, axis=0)
    theta = np.tile(np.r_[np.zeros(MIXED.d), 12.0], (S, 1))
    p = np.exp(model(theta, x, labels).log_p_well(x[:1]))[0]
    assert p == pytest.approx((labels > 0).mean(), abs=0.05)


# ---- hyperparameters
def followed(x: Floats, labels: Floats) -> Floats:
    theta = None
    for n in (10, 20, 40, len(x)):
        theta = samples(MIXED, 0, 4, theta, x[:n], labels[:n])
    assert theta is not None
    return theta


def test_a_sharp_border_is_learnt_and_the_axis_it_lies_across() -> None:
    x = points(60, 0)
    labels = np.where(x[:, 0] > 0.5, -1.0, 1.0)
    theta = followed(x, labels)
    assert (theta[:, 0] < theta[:, 2]).mean() > 0.7
    at = np.tile(x[:1], (2, 1))
    at[:, 0] = 0.25, 0.75
    p = np.exp(Failures(Features(MIXED, x), theta, x, labels, share_of(labels)).log_p_well(at))
    assert p[0] > 0.95
    assert p[1] < 0.05


def test_failures_by_chance_are_known_as_such() -> None:
    x, labels = points(60, 0), np.where(np.random.default_rng(1).random(60) < 0.3, -1.0, 1.0)
    p = np.exp(Failures(Features(MIXED, x), followed(x, labels), x, labels, share_of(labels)).log_p_well(points(50, 2)))
    assert p.min() > 0.3


def test_where_nothing_failed_there_is_nothing_to_learn() -> None:
    x = points(20, 0)
    mean, _ = prior(Features(MIXED, x))
    assert (samples(MIXED, 0, 4, None, x, np.ones(20)) == mean).all()
    before = thetas(0)
    assert (samples(MIXED, 0, S, before, x, -np.ones(20)) == before).all()
