"""The arithmetic of Hyperband, against table 1 of the paper, and exact where floating point is not."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.brackets import Rung, bracket, halving, levels, n_best, s_max

# Li et al., JMLR 18 (2018), table 1: R = 81, eta = 3; by s, from the lowest rung on, (configs, budget of each).
TABLE_1 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}


@pytest.mark.parametrize("s", TABLE_1)
def test_a_bracket_is_that_of_the_paper(s: int) -> None:
    budgets = levels(1, 81, 3, is_integer=True)
    assert bracket(s, budgets, 3) == tuple(Rung(n, budget) for n, budget in TABLE_1[s])


def test_no_bracket_costs_more_than_its_share_and_rounding_down_costs_little() -> None:
    budgets = levels(1, 81, 3, is_integer=True)
    for s in range(5):
        cost = sum(rung.n * rung.budget for rung in bracket(s, budgets, 3))
        n_added = bracket(s, budgets, 3)[0].n - Fraction(5, s + 1) * 3**s  # the first rung is rounded up
        assert 0.75 * 5 * 81 <= cost <= 5 * 81 + (s + 1) * n_added * budgets[4 - s]


def test_powers_are_counted_exactly() -> None:
    assert int(log(243) / log(3)) == 4, "the slip of floating point that this is about"
    assert s_max(1, 243, 3) == 5
    assert levels(1, 243, 3, is_integer=True) == (1, 3, 9, 27, 81, 243)
    assert levels(0.1, 100.0, 10, is_integer=False) == (0.1, 1.0, 10.0, 100.0)
    assert levels(0.3, 2.7, 3, is_integer=False) == (0.3, 0.9, 2.7)


@given(st.integers(1, 9), st.integers(2, 12), st.integers(0, 30))
def test_every_power_has_its_level(low: int, eta: int, s: int) -> None:
    assert s_max(low, low * eta**s, eta) == s
    assert levels(low, low * eta**s, eta, is_integer=True) == tuple(low * eta**i for i in range(s + 1))
    if s:
        assert s_max(low, low * eta**s - 1, eta) == s - 1


@given(st.integers(1, 500), st.integers(1, 5_000), st.sampled_from([2, 2.5, 3, 4, 7.3]))
def test_levels_are_anchored_at_the_highest(low: int, extent: int, eta: float) -> None:
    high = low + extent
    found = levels(low, high, eta, is_integer=True)
    assert found[-1] == high and all(isinstance(level, int) for level in found)
    assert list(found) == sorted(set(found))
    assert found[0] >= low - 0.5
    for below, above in pairwise(found):
        assert below - 1 <= above / eta <= below + 1


def test_levels_are_rounded_once() -> None:
    assert levels(1, 52, 3, is_integer=True) == (2, 6, 17, 52)
    assert levels(1, 3, 2, is_integer=True) == (2, 3)  # 1.5 is rounded up
    assert levels(1, 5, 2, is_integer=True) == (1, 3, 5)


@given(st.integers(0, 400), st.integers(2, 7))
def test_halving_leaves_one_in_eta(n: int, eta: int) -> None:
    rungs = halving(n, (1, 2, 3, 4), eta)
    assert [rung.budget for rung in rungs] == [1, 2, 3, 4]
    for below, above in pairwise(rungs):
        assert above.n == max(1, n_best(below.n, eta))


@given(st.integers(0, 10_000), st.integers(20, 99))
def test_the_best_are_counted_exactly(n: int, tenths: int) -> None:
    assert n_best(n, tenths / 10) == 10 * n // tenths
    assert n_best(n, tenths) == n // tenths


def test_a_share_is_that_of_the_number_as_it_was_typed() -> None:
    assert 11 // 2.2 == 4.0, "the slip of floating point that this is about"
    assert n_best(11, 2.2) == 5
