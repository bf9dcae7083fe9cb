"""Races: the chances that rows have the best mean in the end, against simulated races and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from whet.algorithms.races import ERROR, chances, moderated, unlikely

K = 10
SCORES = st.tuples(st.integers(2, 8), st.integers(2, K - 1)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 20).map(lambda n: n / 20))
)


def drawn(rng, m=8, spread=1.0, n_splits=K):
    """Return scores as the model has them: rows and splits that differ, and noise of each row's own size."""
    noise = np.sqrt(rng.gamma(4, 0.25, m))[:, None] * rng.normal(size=(m, n_splits))
    return spread * rng.normal(size=(m, 1)) + 3 * rng.normal(size=n_splits) + noise


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_rows_win_as_often_as_they_are_given_a_chance(n):
    rng = np.random.default_rng(0)
    given_chances, won = [], []
    for _ in range(200):
        y = drawn(rng, spread=2.0)
        given_chances.append(chances(y[:, :n], K))
        won.append(np.arange(len(y)) == np.argmax(y.mean(axis=1)))
    p, is_winner = np.ravel(given_chances), np.ravel(won)
    for low, high in [(0, 0.05), (0.05, 0.3), (0.3, 0.7), (0.7, 1.01)]:
        within = (low <= p) & (p < high)
        assert within.sum() > 20
        assert is_winner[within].mean() == pytest.approx(p[within].mean(), abs=0.09)


def test_the_winner_is_seldom_stopped():
    rng = np.random.default_rng(1)
    n_lost = n_done = 0
    for _ in range(100):
        y = drawn(rng, m=20)
        alive = np.arange(20)
        for n in range(2, K):
            alive = alive[~unlikely(chances(y[alive, :n], K), n)]
            n_done += len(alive)
        n_lost += np.argmax(y.mean(axis=1)) not in alive
    assert n_lost / 100 < ERROR * sum(1 / n for n in range(2, K))
    assert n_done / 100 < 0.35 * 20 * 8  # and most of the others are


def test_of_two_rows_with_known_noise_it_is_the_normal_distribution():
    # So many rows that do badly say what the noise is that it is as good as known.
    rng = np.random.default_rng(2)
    n = 5
    y = rng.normal(size=(4000, n)) - 50
    y -= y.mean(axis=1, keepdims=True)
    y[:2] += [[50.0], [49.8]]
    known = y.var(axis=1, ddof=1).mean()
    p = chances(y, K, np.arange(4000) < 2)
    assert p[:2].sum() == pytest.approx(1)
    assert p[0] == pytest.approx(norm.cdf(0.2 / np.sqrt(2 * known * (K - n) / (n * K))), abs=0.02)


def test_what_all_have_in_common_on_a_split_does_not_matter():
    rng = np.random.default_rng(3)
    y = rng.normal(size=(6, 4)) + np.arange(6)[:, None]
    assert chances(y + 100 * rng.normal(size=4), K) == pytest.approx(chances(y, K), abs=1e-6)


def test_pairs_tell_apart_what_means_do_not():
    y = np.linspace(0, 1, 4) + np.array([[0.0], [0.02], [0.04], [0.06]])
    y += 0.002 * np.random.default_rng(4).normal(size=y.shape)
    assert chances(y, K)[3] > 0.99
    shuffled = np.array([np.roll(row, shift) for shift, row in enumerate(y)])
    assert chances(shuffled, K)[3] < 0.6


@settings(deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_chances_are_of_rows_wherever_they_stand(y, random):
    p = chances(y, K)
    assert p.sum() == pytest.approx(1)
    assert ((p >= 0) & (p <= 1)).all()
    order = list(range(len(y)))
    random.shuffle(order)
    # Which of those that are equal count as the better half depends on where they stand.
    if len(set(y.mean(axis=1).round(9))) == len(y):
        assert chances(y[order], K) == pytest.approx(p[order], abs=1e-9)


@settings(deadline=None)
@given(SCORES, st.sampled_from([-660, -30, 30, 660]).map(lambda n: 2.0**n))
def test_units_do_not_matter(y, factor):
    assert chances(y * factor, K) == pytest.approx(chances(y, K), abs=1e-6)


def test_equal_rows_are_equally_likely():
    assert chances(np.ones((5, 3)), K) == pytest.approx(0.2)
    assert chances(np.zeros((4, 3)), K) == pytest.approx(0.25)
    y = np.array([[0.5, 0.6, 0.7], [0.9, 0.7, 0.8], [0.5, 0.6, 0.7], [0.4, 0.4, 0.6]])
    p = chances(y, K)
    assert p[0] == pytest.approx(p[2])
    assert p[1] > p[0] > p[3]


def test_when_all_splits_are_done_the_best_is_certain_and_of_equals_the_first():
    y = np.array([[1.0, 0.0], [1.0, 2.0], [2.0, 1.0]])
    assert chances(y, 2).tolist() == [0.0, 1.0, 0.0]


def test_rows_that_do_not_contend_have_no_chance():
    y = np.array([[0.1, 0.2, 0.3], [9.0, 9.1, 9.2], [0.2, 0.1, 0.3]])
    assert chances(y, K, np.array([True, False, True])) == pytest.approx([0.5, 0.0, 0.5])


def test_two_rows_that_happen_to_differ_by_the_same_twice_are_not_told_apart_by_that():
    y = np.array([[0.90, 0.95], [0.91, 0.96]])
    assert chances(y, K)[0] > ERROR / 2


def test_variances_move_towards_the_prior_that_they_show():
    rng = np.random.default_rng(5)
    d0, place, g = 6.0, 2.0, 3
    true = d0 * place / rng.chisquare(d0, 20_000)
    s2 = true * rng.chisquare(g, 20_000) / g
    moved, df = moderated(s2, g, 0.0, 1.0)
    assert df == pytest.approx(d0 + g, rel=0.1)
    assert moved == pytest.approx((d0 * place + g * s2) / (d0 + g), rel=0.1)
    assert ((moved - true) ** 2).mean() < ((s2 - true) ** 2).mean()


def test_variances_that_differ_as_by_chance_are_all_the_same():
    s2 = np.random.default_rng(6).chisquare(4, 500) / 4
    moved, df = moderated(s2, 4, 0.0, 1.0)
    assert df >= 30
    assert moved == pytest.approx(1.0, abs=0.3)


def test_too_few_variances_say_little():
    moved, df = moderated(np.array([0.0, 4.0]), 1, 1e-6, 3.0)
    assert df == 2
    assert moved.tolist() == [1.5, 3.5]


def test_rounding_says_nothing_of_variances():
    rng = np.random.default_rng(7)
    s2 = rng.chisquare(3, 50) / 3
    with_rounding, df = moderated(np.append(s2, [0.0, 1e-20]), 3, 1e-12, 1.0)
    without, same_df = moderated(s2, 3, 1e-12, 1.0)
    assert df == same_df
    assert with_rounding[:50] == pytest.approx(without)
    assert with_rounding[50:] == pytest.approx((df - 3) / df * _prior(s2, without, df), rel=1e-6)


def _prior(s2, moved, df):
    return (df * moved[0] - 3 * s2[0]) / (df - 3)


@given(arrays(float, st.integers(1, 12), elements=st.floats(0.0, 1.0)), st.integers(2, 20))
def test_as_many_stop_as_the_error_allows(weights, n):
    p = (weights + 1e-9) / (weights + 1e-9).sum()
    stops = unlikely(p, n)
    assert not stops[np.argmax(p)]
    assert p[stops].sum() <= ERROR / n + 1e-12
    going = np.flatnonzero(~stops)
    if len(going) > 1:  # one more would be too many
        assert p[stops].sum() + p[going].min() > ERROR / n - 1e-12
        assert p[stops].max(initial=0) <= p[going].min()


def test_of_rows_as_likely_the_later_ones_stop():
    low = ERROR / 5 / 2.5  # two of these are fewer than what may stop after 5 splits, three are more
    assert np.flatnonzero(unlikely(np.array([low, low, 1 - 4 * low, low, low]), 5)).tolist() == [3, 4]
    assert np.flatnonzero(unlikely(np.full(100, low), 5)).tolist() == [98, 99]
