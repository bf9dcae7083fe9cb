"""Functions drawn from a posterior: over many draws their moments are those of the posterior."""

from __future__ import annotations

import numpy as np
import pytest

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.kernel import Features, hyper_of, n_hyper
from whet.algorithms.gp.posterior import Posterior
from whet.algorithms.gp.thompson import drawn_function


def always(x: Floats) -> tuple[Floats, Bools]:
    return x, np.ones(len(x), dtype=bool)


MIXED = Cube((None, None, np.array([1 / 6, 0.5, 5 / 6])), np.array([False, False, True]), always)


def points(n: int, rng: np.random.Generator) -> Floats:
    x = MIXED.snapped(rng.random((n, 3)))
    x[::4, 1] = np.nan
    return x


def posterior(n: int, n_sets: int, rng: np.random.Generator) -> Posterior:
    x = points(n, rng)
    features = Features(MIXED, x)
    theta = 0.3 * rng.standard_normal((n_sets, n_hyper(features)))
    theta[:, MIXED.d + 1] = np.log(1e-2)  # noise
    return Posterior(features, hyper_of(theta, features), x, rng.standard_normal(n))


@pytest.mark.parametrize("n", [1, 12])
def test_the_moments_are_those_of_the_posterior(n: int) -> None:
    rng = np.random.default_rng(0)
    model, at = posterior(n, 1, rng), points(10, rng)
    (mean,), (var,) = model(at)
    draws = np.array([drawn_function(model, rng)(at) for _ in range(1500)])
    assert np.abs(draws.mean(axis=0) - mean).max() < 5 * np.sqrt(var.max() / len(draws))
    assert np.allclose(draws.var(axis=0), var, rtol=0.2, atol=1e-3)
    # Jointly as well: the difference of two points has the variance that joint samples give it.
    joint = np.array([model.draw(at[:2], rng)[0] for _ in range(1500)])
    assert np.var(draws[:, 0] - draws[:, 1]) == pytest.approx(np.var(joint[:, 0] - joint[:, 1]), rel=0.2)


def test_each_of_the_sets_is_drawn_from() -> None:
    """Two that believe in opposite slopes: draws follow the one or the other."""
    rng = np.random.default_rng(1)
    x = points(30, rng)
    features = Features(MIXED, x)
    hyper = hyper_of(np.full((2, n_hyper(features)), -1.0), features)
    model = Posterior(features, hyper, x, np.stack([x[:, 0], -x[:, 0]]) * 10)
    ends = np.array([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]])
    rises = [np.diff(drawn_function(model, rng)(ends))[0] > 0 for _ in range(60)]
    assert 12 < sum(rises) < 48


def test_a_draw_is_one_function() -> None:
    """It answers the same whenever and with whatever else it is asked; another draw is another function."""
    rng = np.random.default_rng(2)
    model, at = posterior(8, 3, rng), points(20, rng)
    drawn, other = drawn_function(model, rng), drawn_function(model, rng)
    assert np.allclose([drawn(one[None])[0] for one in at], drawn(at), rtol=0, atol=1e-9)
    assert not np.allclose(drawn(at), other(at), atol=0.1)


def test_where_there_are_nearly_noise_free_data_it_goes_through_them() -> None:
    rng = np.random.default_rng(3)
    x = np.column_stack([np.linspace(0, 1, 9), np.full(9, 0.5), np.full(9, 0.5)])
    features = Features(MIXED, x)
    theta = np.zeros((1, n_hyper(features)))
    theta[:, MIXED.d + 1] = -50.0
    y = np.sin(6 * x[:, 0])
    assert np.allclose(drawn_function(Posterior(features, hyper_of(theta, features), x, y), rng)(x), y, atol=2e-3)
