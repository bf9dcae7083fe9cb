"""Acquisitions: exact where doubles underflow, and better where better is believed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import norm

from whet.algorithms.cube import Floats
from whet.algorithms.gp.acquisition import (
    ACQUISITIONS,
    ei,
    log_ei,
    log_h,
    log_mean_exp,
    log_pi,
    log_probability,
    ucb,
)

# z and log(phi(z) + z Phi(z)), computed with 2,000 digits.
EXACT = [
    (40.0, 3.6888794541139363),
    (10.0, 2.30258509299404568),
    (3.0, 1.09873966532770777),
    (1.0, 0.08002621884930694),
    (0.1, -0.796431339550747127),
    (0.0, -0.918938533204672742),
    (-0.5, -1.62051626438731992),
    (-0.999999, -2.48511912144176894),
    (-1.0, -2.48512102571264134),
    (-1.000001, -2.4851229299842355),
    (-1.5, -3.52993592080570985),
    (-2.0, -4.76878352391711416),
    (-5.0, -16.7443011626609901),
    (-10.0, -55.5531220361223559),
    (-30.0, -457.724653760598004),
    (-100.0, -5010.12957880024979),
    (-500.0, -125013.348166729881),
    (-999.99, -500004.734482091128),
    (-1000.0, -500014.734452091158),
    (-1000.01, -500024.734522090989),
    (-2000.0, -2000016.12074420229),
    (-10000.0, -50000019.3396193072),
    (-100000.0, -5000000023.94478946),
    (-1000000.0, -500000000028.54996),
]
MEANS, STDS = st.floats(-5, 5), st.floats(1e-3, 3)


def believed(mean: object, std: object) -> tuple[Floats, Floats]:
    """Return what one set believes, (1, m)."""
    mean, std = np.broadcast_arrays(np.atleast_1d(np.asarray(mean, float)), np.asarray(std, float))
    return mean[None], np.square(std)[None]


# ---- log h
@pytest.mark.parametrize(("z", "exact"), EXACT)
def test_log_h_is_exact(z: float, exact: float) -> None:
    assert log_h(np.array([z]))[0] == pytest.approx(exact, rel=1e-12, abs=1e-12)


def test_log_h_is_the_logarithm_of_what_it_says_where_that_does_not_cancel() -> None:
    z = np.linspace(-3, 30, 200)
    assert np.allclose(np.exp(log_h(z)), norm.pdf(z) + z * ndtr(z), rtol=1e-9)


@pytest.mark.parametrize("switch", [-1.0, -1e3])
def test_log_h_rises_and_does_not_jump_where_its_formula_changes(switch: float) -> None:
    z = switch * (1 + np.linspace(1e-6, -1e-6, 41))
    values = log_h(z)
    slopes = np.diff(values) / np.diff(z)
    assert (slopes > 0).all()
    assert np.allclose(slopes, slopes.mean(), rtol=1e-3)


def test_log_h_rises_everywhere() -> None:
    z = np.concatenate([-np.logspace(100, -8, 5000), np.logspace(-8, 2, 1000)])
    values = log_h(z)
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


# ---- expected improvement
@given(MEANS, STDS, MEANS)
def test_the_expected_improvement_is_what_it_is_called(mean: float, std: float, best: float) -> None:
    z = np.linspace(-10, 10, 4001)
    expected = (np.maximum(best - (mean + std * z), 0) * norm.pdf(z)).sum() * 0.005
    assert ei(*believed(mean, std), np.array([[best]]))[0] == pytest.approx(expected, rel=1e-4, abs=1e-5 * std)


@given(MEANS, STDS, MEANS, st.floats(0.01, 2))
def test_lower_means_and_wider_beliefs_promise_more(mean: float, std: float, best: float, by: float) -> None:
    found = log_ei(*believed([mean, mean - by, mean], [std, std, std + by]), np.array([[best]]))
    assert found[1] > found[0]
    assert found[2] > found[0] - 1e-12  # far below the best value only the mean counts
    assert log_ei(*believed(mean, std), np.array([[best + by]]))[0] > found[0]


def test_far_from_any_improvement_points_are_still_told_apart() -> None:
    """Where the expected improvement itself is 0."""
    mean = np.linspace(50, 60, 20)
    assert (ei(*believed(mean, 0.1), np.zeros((1, 1))) == 0).all()
    assert (np.diff(log_ei(*believed(mean, 0.1), np.zeros((1, 1)))) < 0).all()


# ---- others
def test_the_probability_of_an_improvement() -> None:
    mean, std = np.array([-1.0, 0.0, 1.0, 3.0, 100.0]), np.array([0.5, 1.0, 2.0, 1.0, 1.0])
    found = log_pi(*believed(mean, std), np.array([[0.5]]))
    assert np.allclose(found, norm.logcdf(0.5, mean, std))
    assert np.allclose(log_probability(*believed(mean, std), 0.5), found)


@given(MEANS, STDS, st.floats(0.01, 2))
def test_the_confidence_bound_favours_low_means_and_wide_beliefs(mean: float, std: float, by: float) -> None:
    found = ucb(*believed([mean, mean - by, mean], [std, std, std + by]), np.zeros((1, 1)))
    assert found[1] == pytest.approx(found[0] + by)
    assert found[2] > found[0]
    assert found[0] > -mean


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_sets_are_averaged(name: str) -> None:
    """Two that believe the same are one; of two that differ the promise lies between theirs."""
    acquisition, best = ACQUISITIONS[name], np.array([[0.1], [0.3]])
    mean, var = np.array([[0.0, 1.0, 0.5], [0.5, 3.0, 0.2]]), np.array([[1.0, 0.2, 0.3], [0.5, 0.1, 0.9]])
    one, other = (acquisition(mean[i : i + 1], var[i : i + 1], best[i : i + 1]) for i in range(2))
    both = acquisition(mean, var, best)
    assert both.shape == (3,)
    assert (np.minimum(one, other) < both).all()
    assert (both < np.maximum(one, other)).all()
    assert np.allclose(acquisition(mean[[0, 0]], var[[0, 0]], best[[0, 0]]), one)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_beliefs_of_any_size_give_numbers(name: str) -> None:
    mean, var = believed([-1e6, -1e3, 0.0, 1e3, 1e6], 1e-6)
    found = ACQUISITIONS[name](mean, var, np.zeros((1, 1)))
    assert np.isfinite(found).all()
    assert (np.diff(found) <= 0).all()


def test_means_of_exponentials_do_not_underflow() -> None:
    a = np.array([[-1e5, 0.0, 900.0], [-1e5 + math.log(3), -1e9, 900.0]])
    assert np.allclose(log_mean_exp(a), [-1e5 + math.log(2), -math.log(2), 900.0], rtol=1e-12)
