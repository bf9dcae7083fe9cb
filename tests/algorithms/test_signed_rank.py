"""The signed-rank test, against every combination of signs and against scipy."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, wilcoxon

from whet.algorithms.signed_rank import p_larger


def counted(d: np.ndarray) -> float:
    ranks = rankdata(np.abs(d))[d != 0]
    observed = ranks[d[d != 0] > 0].sum()
    sums = [ranks @ signs for signs in product((0, 1), repeat=len(ranks))]
    return float(np.mean([total >= observed for total in sums]))


@given(st.lists(st.integers(-3, 4), min_size=1, max_size=9))
def test_it_counts_the_combinations_of_signs_with_ties_and_zeros(values: list[int]) -> None:
    d = np.array(values, float)
    assert p_larger(d) == pytest.approx(counted(d) if d.any() else 1.0)


@pytest.mark.parametrize(("n", "tolerance"), [(4, 1e-12), (20, 1e-12), (50, 1e-12), (80, 2e-3), (400, 2e-3)])
def test_it_agrees_with_scipy(n: int, tolerance: float) -> None:
    for seed in range(5):
        d = np.random.default_rng(seed).normal(0.1, 1, n)
        assert p_larger(d) == pytest.approx(wilcoxon(d, alternative="greater", method="exact").pvalue, abs=tolerance)


def test_nothing_says_nothing() -> None:
    assert p_larger(np.empty(0)) == p_larger(np.zeros(7)) == 1.0


def test_infinite_differences_are_the_largest() -> None:
    assert p_larger(np.array([np.inf, np.inf, 1.0, 2.0])) == 1 / 16
    assert p_larger(np.array([-np.inf, 3.0, 1.0, 2.0])) > 0.4
