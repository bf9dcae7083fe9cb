"""Sets of hyperparameters: a function of the data, whatever was asked before."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.cube import Cube, Floats
from whet.algorithms.gp.chains import Chains, rung_below, samples
from whet.algorithms.gp.kernel import Features, hyper_of
from whet.algorithms.gp.output import fitted

N_SETS = 4
CUBE = Cube(
    (None, np.array([1 / 6, 0.5, 5 / 6]), None),
    np.array([False, True, False]),
    lambda x: (x, np.ones(len(x), dtype=bool)),
)


def chains(seed: int = 0, cube: Cube = CUBE) -> Chains:
    return Chains(partial(samples, cube, seed, N_SETS, fitted))


def data(n: int) -> tuple[Floats, Floats]:
    x = CUBE.snapped(np.random.default_rng(3).random((n, CUBE.d)))
    return x, np.sin(6 * x[:, 0]) + 0.1 * x[:, 1]


# ---- a function of the data
def test_a_fresh_one_answers_as_one_that_saw_the_data_grow() -> None:
    x, y = data(30)
    live = chains()
    for n in range(1, 31):
        found = live.theta(x[:n], y[:n])
        if n in (1, 2, 3, 4, 9, 10, 17, 30):
            assert (found == chains().theta(x[:n], y[:n])).all(), f"{n} points"


def test_what_was_asked_before_leaves_no_trace() -> None:
    x, y = data(24)
    asked = chains()
    for n in (24, 3, 24, 11, 7, 24):
        asked.theta(x[:n][::-1], -y[:n])
        asked.theta(x[:n], y[:n] + 1)
        assert (asked.theta(x[:n], y[:n]) == chains().theta(x[:n], y[:n])).all()


def test_seed_and_data_decide() -> None:
    x, y = data(12)
    found = chains().theta(x, y)
    assert (chains(1).theta(x, y)[1:] != found[1:]).any()
    changed = y.copy()
    changed[-1] += 0.5
    assert (chains().theta(x, changed) != found).any()
    moved = x.copy()
    moved[-1, 0] /= 2
    assert (chains().theta(moved, y) != found).any()


def test_they_start_from_where_they_ended_on_the_rung_below() -> None:
    """Data that agree from some trial on but not before lead to other sets: the way there counts."""
    x, y = data(40)
    rung = rung_below(40)
    order = np.r_[np.arange(rung)[::-1], np.arange(rung, 40)]
    assert 20 < rung < 40
    assert (chains().theta(x, y) != chains().theta(x[order], y[order])).any()


def test_the_unit_of_values_does_not_matter() -> None:
    x, y = data(20)
    assert (chains().theta(x, 2.0**60 * y) == chains().theta(x, y)).all()


# ---- what they find
def test_they_know_which_axis_counts() -> None:
    x, y = data(60)
    theta = chains().theta(x, y)
    hyper = hyper_of(theta, Features(CUBE, x))
    assert theta.shape[0] == N_SETS
    assert np.isfinite(theta).all()
    assert (hyper.lengthscales[:, 0] < hyper.lengthscales[:, 2]).all()
    assert len(np.unique(theta[:, 0])) == N_SETS  # they differ


def test_values_and_points_of_any_kind() -> None:
    x, _ = data(24)
    equal = np.repeat(x[:1], 24, axis=0)
    for values in (
        np.zeros(24),
        np.r_[1e300, np.zeros(23)],
        np.tile([1.0, 2.0], 12),
        np.r_[-1.7e308, 1.7e308, x[2:, 0]],
    ):
        for points in (x, equal):
            assert np.isfinite(chains().theta(points, values)).all()


def test_no_axes() -> None:
    cube = Cube((), np.empty(0, dtype=bool), CUBE.activate)
    theta = chains(cube=cube).theta(np.empty((5, 0)), np.arange(5.0))
    assert np.isfinite(theta).all()


# ---- the ladder
@given(st.integers(1, 10**6))
def test_a_rung_lies_below_and_not_far(n: int) -> None:
    rung = rung_below(n)
    assert 0 <= rung < n
    assert rung == 0 or rung >= n / 2
    assert rung_below(n + 1) in (rung, n)


def test_there_are_few_rungs() -> None:
    """So a fresh sampler has little to repeat, however many trials there are."""
    n, count = 10**6, 0
    while n := rung_below(n):
        count += 1
    assert count < 100
