"""Our Sobol' points are those of scipy; the reference is the installed one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import qmc

from whet.algorithms.sobol import MOST_DIMENSIONS, sobol


def reference(d: int, exponent: int, seed: int) -> np.ndarray:
    return qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed)).random_base2(exponent)


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
@pytest.mark.parametrize("d", [1, 2, 3, 13, 99, 100])
def test_the_points_are_those_of_scipy(d: int, seed: int):
    for exponent in (0, 1, 6):
        assert np.array_equal(sobol(d, 2**exponent, seed), reference(d, exponent, seed))


def test_many_points_are_those_of_scipy():
    assert np.array_equal(sobol(4, 2**13, 3), reference(4, 13, 3))


@pytest.mark.parametrize("d", [101, 300])
def test_beyond_our_own_table_scipy_itself_is_asked(d: int):
    assert np.array_equal(sobol(d, 16, 5), reference(d, 4, 5))


@pytest.mark.parametrize("d", [0, 1, 5, 130])
@pytest.mark.parametrize("n", [0, 1, 3, 100])
def test_any_number_of_points_begins_as_a_larger_one(d: int, n: int):
    points = sobol(d, n, 11)
    assert points.shape == (n, d) and points.dtype == np.float64
    assert np.array_equal(points, sobol(d, 128, 11)[:n])


def test_points_are_even():
    """2^m points in one dimension have one point in each of 2^m equal intervals."""
    points = sobol(100, 64, 0)
    assert all(sorted(np.floor(column * 64)) == list(range(64)) for column in points.T)
    assert ((points >= 0) & (points < 1)).all()


@pytest.mark.parametrize(("d", "n"), [(-1, 4), (MOST_DIMENSIONS + 1, 4), (2, -1), (2, 2**30 + 1)])
def test_what_has_no_sequence_is_refused(d: int, n: int):
    with pytest.raises(AssertionError):
        sobol(d, n, 0)


def test_no_global_generator_is_touched():
    before = np.random.get_state()[1].tolist()
    sobol(3, 64, 0)
    assert np.random.get_state()[1].tolist() == before


def test_usual_dimensions_do_not_need_scipy():
    program = "import sys; from whet.algorithms.sobol import sobol; sobol(100, 64, 0); print('scipy' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout == "False\n"
    )
