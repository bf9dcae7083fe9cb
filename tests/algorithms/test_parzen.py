"""The tree-structured Parzen estimator in numbers: densities that integrate to 1, draws that follow them, scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.parzen import Mixture, draw, log_density, log_kernel
from whet.algorithms.parzen_fit import Trials, candidates, fit, mixture_of, scores, thinned, widths

NAN = float("nan")


def always(x: Floats) -> tuple[Floats, Bools]:
    return x, np.ones(len(x), dtype=bool)


def second_if_first_is_low(x: Floats) -> tuple[Floats, Bools]:
    x = x.copy()
    x[x[:, 0] > 0.5, 1] = NAN
    return always(x)


def cells(n: int) -> Floats:
    return (np.arange(n) + 0.5) / n


def cube_of(*centres: Floats | None, categories: tuple[int, ...] = (), activate: object = always) -> Cube:
    is_category = np.array([axis in categories for axis in range(len(centres))], dtype=bool)
    return Cube(centres, is_category, activate)  # type: ignore[arg-type]  # one of the two above


def one_kernel(cube: Cube, mu: list[float], b: list[float]) -> Mixture:
    return Mixture(cube, np.array([mu]), np.ones(1), np.array(b))


# ---- kernels
@given(st.floats(0, 1), st.floats(0.03, 1))
def test_a_kernel_on_a_continuous_axis_integrates_to_one(mu: float, b: float) -> None:
    places = (np.arange(4000) + 0.5) / 4000
    density = np.exp(log_kernel(one_kernel(cube_of(None), [mu], [b]), 0, places))
    assert density.mean() == pytest.approx(1.0, abs=1e-4)


@given(st.integers(2, 60), st.floats(0, 1), st.floats(0.003, 1), st.booleans(), st.booleans())
def test_the_masses_of_values_sum_to_one(n: int, mu: float, b: float, is_category: bool, is_silent: bool) -> None:
    centres = np.sort(np.r_[0.0, cells(n)[1:] ** 2])  # cells of different widths, as of ints on a log scale
    cube = cube_of(centres, categories=(0,) if is_category else ())
    settled = cube.snapped(np.array([[mu]]))[0, 0]
    mixture = one_kernel(cube, [NAN if is_silent else settled], [min(b, 1 - 1 / n)])
    assert np.exp(log_kernel(mixture, 0, centres)).sum() == pytest.approx(1.0)


def test_a_kernel_is_highest_where_it_stands() -> None:
    cube = cube_of(None, cells(9), cells(5), categories=(2,))
    mixture = one_kernel(cube, [0.3, cells(9)[4], cells(5)[1]], [0.1, 0.1, 0.4])
    x = cube.snapped(np.random.default_rng(0).random((500, 3)))
    top = np.array([[0.3, cells(9)[4], cells(5)[1]]])
    assert (log_density(mixture, x) <= log_density(mixture, top)).all()


def test_the_far_tail_is_small_and_finite() -> None:
    centres = cells(10_000)
    logs = log_kernel(one_kernel(cube_of(centres), [centres[0]], [0.003]), 0, centres)
    assert np.isfinite(logs).all()
    assert (np.diff(logs[:1000, 0]) < 0).all()
    assert logs[-1, 0] < -600


# ---- densities over axes that come and go
def test_a_density_over_branches_integrates_to_one() -> None:
    """The second axis is there on the lower half of the first; kernels with and without it, and the prior."""
    cube = cube_of(cells(4), cells(3), categories=(0,), activate=second_if_first_is_low)
    mu = np.array([[cells(4)[0], cells(3)[2]], [cells(4)[3], NAN], [cells(4)[1], cells(3)[0]]])
    mixture = mixture_of(cube, mu, np.array([3.0, 1.0, 0.5]))
    x = np.array([*product(cells(4)[:2], cells(3)), *((c, NAN) for c in cells(4)[2:])])
    assert np.array_equal(cube.settled(x)[0], x, equal_nan=True)
    assert np.exp(log_density(mixture, x)).sum() == pytest.approx(1.0)


def test_a_trial_without_an_axis_says_nothing_of_it() -> None:
    cube = cube_of(None, None, activate=second_if_first_is_low)
    mixture = one_kernel(cube, [0.5, NAN], [0.2, 0.1])
    x = np.array([[0.4, 0.1], [0.4, 0.9], [0.6, NAN]])
    assert np.ptp(log_density(mixture, x)) == pytest.approx(0.0)


@given(st.integers(0, 2**32))
def test_draws_follow_the_density(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cube = cube_of(cells(4), cells(3), categories=(1,), activate=second_if_first_is_low)
    mu = cube.settled(rng.random((3, 2)))[0]
    mixture = mixture_of(cube, mu, rng.random(3) + 0.1)
    drawn = cube.settled(draw(mixture, 4000, rng))[0]
    x, n = np.unique(np.nan_to_num(drawn, nan=-1.0), axis=0, return_counts=True)
    x[x < 0] = NAN
    expected = np.exp(log_density(mixture, x))
    assert expected.sum() == pytest.approx(1.0, abs=0.05)
    assert np.abs(n / 4000 - expected).max() < 0.06


def test_draws_stay_in_the_cube() -> None:
    mixture = mixture_of(cube_of(None, None), np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones(2))
    u = draw(mixture, 1000, np.random.default_rng(0))
    assert ((u >= 0) & (u <= 1)).all()
    assert (u.std(axis=0) > 0.2).all()


# ---- widths and weights
def test_widths_shrink_with_what_is_known_and_stay_above_a_least_one() -> None:
    cube = cube_of(None, cells(5), cells(5), cells(2), categories=(2, 3))
    rng = np.random.default_rng(0)
    wide, narrow = rng.random((5, 4)), 0.5 + 0.01 * rng.random((1000, 4))
    few, many = widths(cube, wide, np.ones(5)), widths(cube, narrow, np.ones(1000))
    assert few[0] > 2 * many[0]
    assert many[:2].tolist() == [0.03, 0.1]
    assert few[2:].tolist() == [0.25, 1 / 7]  # 4 / 10 is more than the most
    assert many[2:].tolist() == [4 / 1005, 1 / 1002]
    assert np.isfinite(widths(cube, np.empty((0, 4)), np.empty(0))).all()


def test_the_width_of_a_category_goes_by_the_trials_that_have_it_and_not_by_their_kernels() -> None:
    cube = cube_of(cells(2), cells(2), categories=(0, 1), activate=second_if_first_is_low)
    mu = np.array([[cells(2)[0], cells(2)[0]], [cells(2)[1], NAN]])
    assert widths(cube, mu, np.array([10.0, 20.0])).tolist() == [1 / 32, 1 / 12]


@pytest.mark.parametrize(("n", "most"), [(0, 4), (3, 4), (4, 4), (5, 4), (1000, 7), (10**6, 128)])
def test_thinning_stands_for_all(n: int, most: int) -> None:
    kept, w = thinned(n, most)
    assert len(kept) == len(w) == min(n, most)
    assert len(set(kept.tolist())) == len(kept)
    assert kept.tolist() == sorted(kept.tolist())
    assert w.sum() == pytest.approx(n)
    assert kept[: most // 2].tolist() == [*range(min(n, most // 2))]
    assert n <= most or (kept < n).all()


# ---- the choice
@pytest.mark.parametrize("n_values", [2, 5, 20])
@pytest.mark.parametrize("n", [1000, 10_000, 100_000])
def test_a_value_that_was_hardly_tried_becomes_attractive(n_values: int, n: int) -> None:
    """All good trials have the first value, one bad one has the last: the others are many, l is still open to it."""
    cube = cube_of(cells(n_values), categories=(0,))
    x = np.full((n, 1), cells(n_values)[0])
    x[-1] = cells(n_values)[-1]
    score = scores(fit(cube, trials(x, np.arange(float(n))), 0.15), cube.snapped(np.array([[0.0], [1.0]])))
    assert score[1] - score[0] > np.log(n / 100)


def trials(x: Floats, y: NDArray[np.float64], pending: Floats | None = None) -> Trials:
    has_value = np.flatnonzero(~np.isnan(y))
    ranked = has_value[np.argsort(y[has_value], kind="stable")]
    return Trials(x, ranked, np.flatnonzero(np.isnan(y)), np.empty((0, x.shape[1])) if pending is None else pending)


def test_what_is_near_the_good_scores_high() -> None:
    cube, rng = cube_of(None, None), np.random.default_rng(0)
    x = rng.random((60, 2))
    found = fit(cube, trials(x, ((x - 0.3) ** 2).sum(axis=1)), 0.15)
    score = scores(found, np.array([[0.3, 0.3], [0.3, 0.9], [0.9, 0.9]]))
    assert score[0] > score[1] > score[2]
    assert (found.n_good, found.n_bad, found.f) == (9, 51, None)


def test_what_is_near_failures_scores_low() -> None:
    cube, rng = cube_of(None), np.random.default_rng(0)
    x = rng.random((60, 1))
    y = np.where(x[:, 0] > 0.7, NAN, rng.random(60))
    found = fit(cube, trials(x, y), 0.15)
    places = np.array([[0.35], [0.85]])
    without = fit(cube, trials(x[~np.isnan(y)], y[~np.isnan(y)]), 0.15)
    lost = scores(without, places) - scores(found, places)
    assert lost[1] > lost[0] + 1
    assert found.n_failed == np.isnan(y).sum()


@pytest.mark.parametrize("n_pending", [1, 30, 500])
def test_what_is_near_pending_points_scores_low(n_pending: int) -> None:
    cube, rng = cube_of(None), np.random.default_rng(0)
    x = rng.random((200, 1))
    y = (x[:, 0] - 0.5) ** 2
    place = np.array([[0.5]])
    plain, aware = fit(cube, trials(x, y), 0.15), fit(cube, trials(x, y, np.full((n_pending, 1), 0.5)), 0.15)
    assert scores(aware, place)[0] < scores(plain, place)[0] - 0.1


@pytest.mark.parametrize("n", [1, 2, 3, 1000])
def test_any_number_of_trials_will_do(n: int) -> None:
    cube = cube_of(None, cells(3))
    found = fit(cube, trials(cube.snapped(np.random.default_rng(0).random((n, 2))), np.zeros(n)), 0.15)
    assert np.isfinite(scores(found, cube.snapped(np.random.default_rng(1).random((50, 2))))).all()
    assert 1 <= found.n_good <= 25
    assert found.n_good + found.n_bad == n


def test_where_all_that_is_drawn_is_taken_the_whole_cube_is_looked_at() -> None:
    cube = cube_of(cells(1000))
    found = fit(cube, trials(cells(1000)[:40, None], np.arange(40.0)), 0.15)
    x = candidates(found, 200, lambda x: x[:, 0] > 0.9, np.random.default_rng(0))
    assert len(x) and (x > 0.9).all()
    nothing = candidates(found, 20, lambda x: np.zeros(len(x), dtype=bool), np.random.default_rng(0))
    assert len(nothing) == 20  # for others to replace
