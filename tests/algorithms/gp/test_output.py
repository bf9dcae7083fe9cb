"""The output transformation: increasing, undone by its inverse, blind to units, unmoved by values of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import skew, yeojohnson

from whet.algorithms.cube import Floats
from whet.algorithms.gp.output import Output, fitted, yeo_johnson

HUGE, TINY = 1.7e308, 5e-324
POWERS = [-3.0, -0.5, 0.0, 0.25, 1.0, 2.0, 2.5, 5.0]
HOSTILE = {
    "one value": [3.0],
    "one huge value": [HUGE],
    "a constant": [0.1] * 7,
    "a huge constant": [-HUGE] * 7,
    "a tiny constant": [TINY] * 7,
    "zeros of both signs": [0.0, -0.0] * 3,
    "two values": [1.0, 2.0],
    "ties": [0.0, 1.0] * 5,
    "nearly all equal": [5.0] * 9 + [6.0],
    "one outlier": [1e300, *np.arange(20.0)],
    "outliers below": [-1e300, -HUGE, *np.arange(20.0)],
    "outliers on both sides": [HUGE, -HUGE, 1.0] * 5,
    "outliers and nothing else": [HUGE, -HUGE] * 5,
    "an outlier among equal ones": [0.0] * 9 + [1e300],
    "a large one and denormals": [1.0, 0.0, TINY, 2 * TINY, 3 * TINY, 4 * TINY],
    "denormals": [TINY * i for i in range(8)],
    "differences in the last digit": [1e15 + 0.125 * i for i in range(8)],
    "all sizes": [10.0**i for i in range(-300, 300, 7)],
}
VALUES = arrays(float, st.integers(1, 30), elements=st.floats(-1e3, 1e3, width=32))


@pytest.mark.parametrize("power", POWERS)
def test_the_transformation_is_that_of_scipy(power: float) -> None:
    v = np.linspace(-30, 30, 121)
    assert np.allclose(yeo_johnson(v, power), yeojohnson(v, power), rtol=1e-9)


@pytest.mark.parametrize("power", POWERS)
def test_it_is_increasing_and_its_inverse_undoes_it(power: float) -> None:
    v = np.linspace(-30, 30, 601)
    output = Output(2.0, 0.5, power, 0.3, 1.7)
    values = 2.0 + 0.5 * v
    assert (np.diff(output(values)) > 0).all()
    assert np.allclose(output.inverse(output(values)), values, rtol=0, atol=1e-5)


@given(VALUES)
def test_what_is_fitted_is_increasing_and_its_inverse_undoes_it(values: Floats) -> None:
    output = fitted(values)
    ordered = np.unique(values)
    assert (np.diff(output(ordered)) >= 0).all()
    is_near = np.abs(ordered - np.median(values)) <= 20 * np.ptp(np.percentile(values, [25, 75]))
    back = output.inverse(output(ordered[is_near]))
    assert np.allclose(back, ordered[is_near], rtol=1e-6, atol=1e-5 * max(np.ptp(values), 1e-30))


@given(VALUES)
def test_what_it_makes_has_mean_0_and_spread_1(values: Floats) -> None:
    y = fitted(values)(values)
    assert np.isclose(y.mean(), 0, atol=1e-6)
    assert np.isclose(y.std(), 0 if np.ptp(values) == 0 else 1, atol=1e-6)


def test_skewed_values_become_nearly_normal() -> None:
    values = np.random.default_rng(0).lognormal(size=200)
    assert abs(skew(values)) > 1.5
    assert abs(skew(fitted(values)(values))) < 0.3
    assert fitted(values).power < 0.5
    assert fitted(-values).power > 1.5


def test_normal_values_stay_as_they_are() -> None:
    assert fitted(np.random.default_rng(0).standard_normal(300)).power == pytest.approx(1.0, abs=0.3)


# ---- units
@given(VALUES, st.integers(-900, 900))
@example(np.array([0.0, 1.0, 3.0]), -1020)
@example(np.array([0.0, 1.0, 3.0]), 1020)
def test_a_power_of_two_as_unit_changes_nothing_at_all(values: Floats, exponent: int) -> None:
    scaled = np.ldexp(values, exponent)
    if (np.ldexp(scaled, -exponent) == values).all():  # nothing was rounded
        assert (fitted(scaled)(scaled) == fitted(values)(values)).all()


@pytest.mark.parametrize("factor", [1e-290, 1e-7, 0.3, 7.0, 1e12, 1e290])
def test_any_unit_will_do(factor: float) -> None:
    values = np.random.default_rng(1).lognormal(size=25)
    assert np.allclose(fitted(factor * values)(factor * values), fitted(values)(values), rtol=0, atol=1e-9)


@pytest.mark.parametrize("offset", [1.0, -(2.0**30), 2.0**40])
def test_neither_does_the_zero_matter_where_values_are_exact(offset: float) -> None:
    values = np.floor(2.0**12 * np.random.default_rng(2).lognormal(size=24))
    assert (fitted(values + offset)(values + offset) == fitted(values)(values)).all()


# ---- values that nobody wants
@pytest.mark.parametrize("name", HOSTILE)
def test_values_of_any_size_give_finite_ones_in_their_order(name: str) -> None:
    """Without a warning, too: they are errors here."""
    values = np.array(HOSTILE[name])
    output = fitted(values)
    y = output(values)
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= np.sqrt(len(values))  # as for anything that has mean 0 and standard deviation 1
    assert (np.diff(y[np.argsort(values, kind="stable")]) >= 0).all()
    back = output.inverse(np.array([-1e9, -3.0, 0.0, 3.0, 1e9]))
    assert np.isfinite(back).all()
    assert (back[1:] >= back[:-1]).all()
    assert np.isfinite(output(np.array([-HUGE, 0.0, TINY, HUGE]))).all()


@pytest.mark.parametrize("outlier", [1e6, 1e100, HUGE])
def test_an_outlier_does_not_hide_what_else_there_is(outlier: float) -> None:
    values = np.arange(30.0)
    with_outlier = np.append(values, outlier)
    y = fitted(with_outlier)(with_outlier)
    assert np.ptp(y[:-1]) > 1
    assert y[-1] == y.max()


def test_the_inverse_gives_what_has_no_original_the_nearest_that_has() -> None:
    """With a negative power there is an upper end to what values can become."""
    output = Output(0.0, 1.0, -2.0, 0.0, 1.0)
    assert output(np.array([1e5]))[0] < 0.5
    assert output.inverse(np.array([0.5, 7.0])) == pytest.approx(output.inverse(np.array([7.0, 7.0])))
