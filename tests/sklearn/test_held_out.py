"""Which samples are held out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whet.sklearn.held_out import held_out

SEEDS = st.integers(0, 2**32 - 1)


def is_split(train, held, n):
    return sorted([*train, *held]) == list(range(n)) and list(train) == sorted(train) and list(held) == sorted(held)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.floats(0.01, 0.99), SEEDS)
def test_each_class_is_trained_on_and_held_out_in_proportion(classes, fraction, seed):
    codes = np.unique(classes, return_inverse=True)[1]
    n, counts = len(codes), np.bincount(codes)
    if n == len(counts):
        return  # nothing to spare
    train, held = held_out(n, fraction, np.random.RandomState(seed), codes)
    assert is_split(train, held, n)
    assert set(codes[train]) == set(codes)
    wanted = max(2, int(np.ceil(fraction * n)))
    assert len(held) == min(wanted, n - len(counts))
    of_each = np.bincount(codes[held], minlength=len(counts))
    if wanted <= n - len(counts) and (counts * wanted / n <= counts - 1).all():
        assert (abs(of_each - counts * wanted / n) <= 1 + 1e-9).all() or len(counts) > 2


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.floats(0.01, 0.99), SEEDS)
def test_groups_stay_together(groups, fraction, seed):
    groups = np.array(groups)
    if len(set(groups)) == 1:
        return
    train, held = held_out(len(groups), fraction, np.random.RandomState(seed), groups=groups)
    assert is_split(train, held, len(groups))
    assert not set(groups[train]) & set(groups[held])
    assert len(train)
    wanted = max(2, int(np.ceil(fraction * len(groups))))
    assert len(held) <= wanted or len(set(groups[held])) == 1


def test_each_sample_is_held_out_as_often_as_any():
    codes = np.array([0] * 45 + [1] * 5)
    counts = np.zeros(50)
    rng = np.random.RandomState(0)
    for _ in range(2000):
        counts[held_out(50, 0.1, rng, codes)[1]] += 1
    assert 0.07 < counts.min() / 2000 < counts.max() / 2000 < 0.13


def test_groups_that_are_names_and_classes_that_are_rare():
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    codes = np.array([0, 1, 0, 0, 0, 0])  # group a has the only one of its class
    for seed in range(20):
        train, _ = held_out(6, 0.3, np.random.RandomState(seed), codes, groups)
        assert 1 in train
