"""The model of configs and fidelities: its slopes, what it learns of curves, and data that nobody would wish for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.fit import log_likelihoods, prior
from whet.algorithms.gp.kernel import Features, covariance, embed, hyper_of, n_hyper, with_noise
from whet.algorithms.gp.mode import log_likelihood
from whet.algorithms.gp.posterior import Posterior
from whet.algorithms.gp.propose import Curves, Data, Proposer, View
from whet.algorithms.gp.subset import subset_of_curves
from whet.algorithms.gp.thompson import drawn_function

PLACES = np.array([0.3, 0.65, 1.0])


def every(x: Floats) -> tuple[Floats, Bools]:
    return x, np.ones(len(x), dtype=bool)


PLANE = Cube((None, None), np.zeros(2, dtype=bool), every)
MIXED = Cube((None, np.array([1 / 6, 0.5, 5 / 6])), np.array([False, True]), every)


def rows(x: Floats, reached: list[int], curve: Floats) -> Curves:
    """Return the rows of configs *x*, (n, d), that have *reached* so many levels; *curve* has all values, (n, 3)."""
    which = np.repeat(np.arange(len(x)), reached)
    level = np.concatenate([np.arange(n) for n in reached]).astype(int)
    return Curves(np.column_stack([x[which], PLACES[level]]), curve[which, level])


def data_of(x: Floats, curves: Curves, pending: Floats | None = None, failed: Floats | None = None) -> Data:
    y = np.zeros(len(x)) if failed is None else np.where(failed, np.nan, 0.0)
    none = np.empty((0, x.shape[1])) if pending is None else pending
    return Data(x, y, np.empty((len(x), 0)), none, lambda at: np.ones(len(at), dtype=bool), curves)


def view_of(data: Data, cube: Cube = PLANE, seed: int = 0) -> View:
    return Proposer(cube, seed, "logei").view(data, np.random.default_rng(seed))


# ---- the kernel
@pytest.mark.parametrize("cube", [PLANE, MIXED], ids=["plane", "mixed"])
@pytest.mark.parametrize("n", [1, 4, 20])
def test_value_and_slope(cube: Cube, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = np.column_stack([cube.settled(rng.random((n, 2)))[0], rng.choice(PLACES, n)]), rng.standard_normal(n)
    features = Features(cube, x)
    theta = 0.5 * rng.standard_normal(n_hyper(features))
    assert len(prior(features)[0]) == len(theta)
    value, slope = log_likelihood(theta, features(x), y, features)
    assert value == pytest.approx(log_likelihoods(theta[None], features(x), y, features)[0])
    step = 1e-5 * np.eye(len(theta))
    above, below = (log_likelihoods(theta + sign * step, features(x), y, features) for sign in (1, -1))
    assert np.allclose(slope, (above - below) / 2e-5, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_covariances_are_positive_definite_whatever_the_hyperparameters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.repeat(rng.random((4, 2)), 3, axis=0), np.tile(PLACES, 4)])
    features = Features(PLANE, x)
    mean, std = prior(features)
    hyper = hyper_of(mean + 2 * std * rng.standard_normal((3, len(mean))), features)
    z = embed(features(x), hyper, features)
    k = covariance(z, z, hyper)
    assert np.allclose(k, np.swapaxes(k, 1, 2))
    assert np.allclose(np.diagonal(k, axis1=1, axis2=2), hyper.variance[:, None])
    assert (np.linalg.eigvalsh(with_noise(k, hyper)) > 0).all()


def test_points_without_a_fidelity_are_at_the_highest() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.random((5, 2)), rng.choice(PLACES, 5)])
    features = Features(PLANE, x)
    posterior = Posterior(features, hyper_of(prior(features)[0][None], features), x, rng.standard_normal(5))
    new = rng.random((4, 2))
    for one, other in zip(posterior(new), posterior(np.column_stack([new, np.ones(4)])), strict=True):
        assert (one == other).all()
    lower = posterior(np.column_stack([new, np.full(4, 0.3)]))
    assert not np.allclose(lower[0], posterior(new)[0])


@pytest.mark.parametrize("n", [1, 6])
def test_drawn_functions_have_the_moments_of_the_posterior(n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.column_stack([rng.random((n, 2)), rng.choice(PLACES, n)])
    features = Features(PLANE, x)
    theta = prior(features)[0][None]
    posterior = Posterior(features, hyper_of(theta, features), x, rng.standard_normal(n))
    new = rng.random((5, 2))
    draws = np.array([drawn_function(posterior, rng)(new) for _ in range(600)])
    mean, var = posterior(new)
    assert np.abs(draws.mean(axis=0) - mean[0]).max() < 5 * np.sqrt(var.max() / 600)
    assert draws.var(axis=0) == pytest.approx(var[0], rel=0.35, abs=0.02)


# ---- what it learns
def crossing(x: Floats) -> Floats:
    """Return (n, 3) values that fall with the fidelity, to what depends on the first axis only."""
    final, start = np.square(x[:, 0] - 0.3), 1.5 + 0.3 * x[:, 1]
    return final[:, None] + start[:, None] * (1 - PLACES) ** 2


def test_it_foretells_where_curves_end() -> None:
    x = np.random.default_rng(1).random((24, 2))
    reached = [3] * 8 + [2] * 4 + [1] * 12
    view = view_of(data_of(x, rows(x, reached, crossing(x))))
    expected = np.array([view.belief(point, 0.0).mean for point in x])
    final = crossing(x)[:, -1]
    assert np.abs(expected[:8] - final[:8]).max() < 0.05
    assert np.corrcoef(expected[8:], final[8:])[0, 1] > 0.95
    assert np.argmin(view.means(x)) in np.argsort(final)[:3]


def test_what_is_nearly_trained_is_surer_than_what_is_not() -> None:
    x = np.random.default_rng(2).random((16, 2))
    own = np.cumsum(0.3 * np.random.default_rng(3).standard_normal((16, 3)), axis=1)  # each goes a way of its own
    view = view_of(data_of(x, rows(x, [3] * 6 + [2] * 5 + [1] * 5, crossing(x) + own)))
    stds = np.array([view.belief(point, 0.0).std for point in x])
    assert stds[:6].mean() < stds[6:11].mean() < stds[11:].mean()


def test_it_looks_where_curves_end_low() -> None:
    x = np.random.default_rng(3).random((20, 2))
    view = view_of(data_of(x, rows(x, [3] * 10 + [1] * 10, crossing(x))))
    point, belief = view.proposed(np.random.default_rng(0))
    assert abs(point[0] - 0.3) < 0.2
    assert np.isfinite([belief.mean, belief.std, belief.score]).all()


def test_what_is_being_tried_promises_less() -> None:
    x = np.random.default_rng(4).random((12, 2))
    curves = rows(x, [3] * 4 + [1] * 8, crossing(x))
    tried = np.array([[0.31, 0.9]])
    alone, beside = view_of(data_of(x, curves)), view_of(data_of(x, curves, pending=tried))
    assert beside.score(tried)[0] < alone.score(tried)[0] - 1


def test_failures_are_shunned() -> None:
    rng = np.random.default_rng(5)
    x = rng.random((30, 2))
    failed = x[:, 1] > 0.5
    curves = rows(x[~failed], [1 + i % 3 for i in range(int((~failed).sum()))], crossing(x[~failed]))
    data = data_of(x, curves, failed=failed)
    points = [view_of(data, seed=seed).proposed(np.random.default_rng(seed))[0] for seed in range(4)]
    assert all(point[1] < 0.6 for point in points)


# ---- a function of the data
def test_asked_again_or_anew_it_answers_the_same() -> None:
    x = np.random.default_rng(6).random((15, 2))
    data = data_of(x, rows(x, [1 + i % 3 for i in range(15)], crossing(x)))
    live = Proposer(PLANE, 7, "logei")
    for n in (4, 9, 12):  # earlier calls leave their traces in what it remembers
        live.propose(data_of(x[:n], rows(x[:n], [1] * n, crossing(x[:n]))), np.random.default_rng(n))
    answers = [p.propose(data, np.random.default_rng(1)) for p in (live, live, Proposer(PLANE, 7, "logei"))]
    assert all((point == answers[0][0]).all() and belief == answers[0][1] for point, belief in answers)


# ---- hostile
@pytest.mark.parametrize(
    "values",
    [
        [1.0] * 9,
        [1e308, -1e308, 1e308, 0.0, 1.0, 2.0, 3.0, -1e308, 5.0],
        [1e-300 * i for i in range(9)],
        [1.0] * 8 + [1e12],
        [1e15 + i for i in range(9)],
    ],
    ids=["equal", "huge", "tiny", "an outlier", "far from 0"],
)
def test_whatever_the_values_there_is_an_answer(values: list[float]) -> None:
    x = np.random.default_rng(8).random((3, 2))
    view = view_of(data_of(x, rows(x, [3, 3, 3], np.reshape(values, (3, 3)))))
    point, belief = view.proposed(np.random.default_rng(0))
    assert ((point >= 0) & (point <= 1)).all()
    assert np.isfinite([belief.mean, belief.std, belief.score]).all()
    assert np.isfinite(view.means(x)).all()


@pytest.mark.parametrize("reached", [[1], [2], [1, 1]])
def test_a_row_or_two_are_enough(reached: list[int]) -> None:
    x = np.random.default_rng(9).random((len(reached), 2))
    point, _ = view_of(data_of(x, rows(x, reached, crossing(x)))).proposed(np.random.default_rng(0))
    assert ((point >= 0) & (point <= 1)).all()


def test_many_rows_of_equal_configs_do_no_harm() -> None:
    x = np.repeat(np.random.default_rng(10).random((2, 2)), 40, axis=0)
    view = view_of(data_of(x, rows(x, [3] * 80, crossing(x))))
    assert np.isfinite(view.score(x)).all()


# ---- which rows are kept
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 2**32))
def test_as_many_rows_as_may_be_each_once_in_order(n: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2))
    curves = rows(x, rng.integers(1, 4, n).tolist(), rng.choice([0.0, 1.0, 2.0], (n, 3)))
    chosen = subset_of_curves(curves.x, curves.y, most).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(len(curves.y), most)
    assert all(0 <= i < len(curves.y) for i in chosen)


def test_the_best_configs_keep_all_their_rows_and_the_rest_is_of_all_ranks() -> None:
    x = np.random.default_rng(0).random((300, 2))
    values = np.random.default_rng(1).permutation(300.0 + np.arange(300))[:, None] - np.array([0.0, 50.0, 100.0])
    curves = rows(x, [3] * 300, values)
    kept = curves.y[subset_of_curves(curves.x, curves.y, 120)]
    best = np.sort(values[:, 2])[:20]
    assert np.isin(values[np.isin(values[:, 2], best)], kept).all()
    assert kept.max() > 550
