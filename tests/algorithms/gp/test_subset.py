"""Which points a model is fitted to: the best, and others of all ranks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.gp.subset import subset, subset_of_both


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0, 1e300]), max_size=60), st.integers(1, 40))
def test_as_many_as_may_be_each_once_in_order_the_best_half_among_them(values: list[float], most: int) -> None:
    chosen = subset(np.array(values), most).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(len(values), most)
    assert all(0 <= i < len(values) for i in chosen)
    best = np.argsort(values, kind="stable")[: most // 2].tolist()
    assert set(best) <= set(chosen)


def test_the_others_are_of_all_ranks() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1000.0))
    ranks = np.sort(values[subset(values, 100)])
    assert ranks[:50].tolist() == list(range(50))
    assert ranks[-1] == 999
    assert np.diff(ranks[50:]).max() <= 1.1 * np.diff(ranks[50:]).min() + 1


def test_few_are_all_kept() -> None:
    assert subset(np.array([3.0, 1.0, 2.0]), 3).tolist() == [0, 1, 2]


@given(st.lists(st.sampled_from([1.0, -1.0]), max_size=80), st.integers(4, 40))
def test_of_two_labels_neither_is_lost(labels: list[float], most: int) -> None:
    values = np.array(labels)
    chosen = subset_of_both(values, most).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(len(labels), most)
    for label in (1.0, -1.0):
        assert (values[chosen] == label).sum() >= min(most // 4, labels.count(label))


def test_labels_are_kept_by_their_share_and_evenly() -> None:
    values = np.where(np.arange(1000) % 3 == 0, -1.0, 1.0)
    chosen = subset_of_both(values, 90)
    assert (values[chosen] < 0).sum() == 30
    for label in (1.0, -1.0):
        these = chosen[values[chosen] == label]
        assert np.diff(these).max() < 1.5 * 1000 / len(these)
