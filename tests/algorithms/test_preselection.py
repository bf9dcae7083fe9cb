"""The local model that orders candidates: what it can tell, and that it stays silent or harmless where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from whet.algorithms.preselection import predicted


def without(n: int) -> np.ndarray:
    return np.empty((n, 0))


def order_of(f, n: int, k: int, spread: float = 1.0) -> float:
    """Return the rank correlation of what the model says and what is so, of 100 candidates."""
    rng = np.random.default_rng(0)
    z, new = spread * rng.standard_normal((n, k)), rng.standard_normal((100, k))
    found = predicted(z, without(n), f(z), new, without(100))
    assert found is not None and np.isfinite(found).all()
    ranks = [np.argsort(np.argsort(values)) for values in (found, f(new))]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("curve", [lambda y: y, np.cbrt, lambda y: np.exp(np.minimum(y, 600))])
def test_a_bent_bowl_is_told_after_some_points(curve) -> None:
    def bowl(z: np.ndarray) -> np.ndarray:
        turned = z @ np.array([[1.0, 0.9, 0.0], [0.0, 0.4, 0.9], [0.0, 0.0, 3.0]])
        return curve(((turned - 0.5) ** 2).sum(axis=1))

    assert order_of(bowl, 40, 3) > 0.95


def test_a_slope_is_told_from_few_points() -> None:
    assert order_of(lambda z: z[:, 0] - 2 * z[:, 1], 6, 2) > 0.9


def test_points_far_closer_together_than_candidates_still_tell() -> None:
    assert order_of(lambda z: (z**2).sum(axis=1), 30, 2, spread=0.03) > 0.8


def test_categories_are_told_apart() -> None:
    level = np.arange(30) % 3
    c = (level[:, None] == np.arange(3)).astype(float)
    found = predicted(without(30), c, np.array([5.0, 1.0, 3.0])[level], without(3), np.eye(3))
    assert np.argsort(found).tolist() == [1, 2, 0]


def test_too_little_is_known_at_first() -> None:
    assert predicted(np.eye(3), without(3), np.arange(3.0), np.eye(3), without(3)) is None
    assert predicted(np.zeros((9, 1000)), without(9), np.arange(9.0), np.zeros((1, 1000)), without(1)) is None


def test_only_the_order_counts() -> None:
    rng = np.random.default_rng(1)
    z, new = rng.standard_normal((2, 30, 2))
    t = rng.random(30)
    plain = predicted(z, without(30), t, new, without(30))
    assert np.array_equal(predicted(z, without(30), np.exp(9 * t), new, without(30)), plain)


def test_nothing_is_told_where_all_are_alike() -> None:
    z = np.random.default_rng(0).standard_normal((30, 2))
    assert np.ptp(predicted(z, without(30), np.zeros(30), z, without(30))) < 1e-9
    same = predicted(np.zeros((30, 2)), without(30), np.arange(30.0), z, without(30))
    assert same is not None and np.isfinite(same).all()
    one_far = np.zeros((30, 2))
    one_far[3] = 1e9
    assert np.isfinite(predicted(one_far, without(30), np.arange(30.0), z, without(30))).all()
