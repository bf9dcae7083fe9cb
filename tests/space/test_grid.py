"""Grids by number, and shuffles without a list."""

import itertools
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import ConfigError, SpaceError
from whet.space.domain import Categorical, Constant, Float, Int, Ordinal
from whet.space.grid import Grid, permuted
from whet.space.space import Space


def test_the_first_parameter_is_slowest():
    grid = Grid(Space({"a": ["x", "y"], "b": (1, 3), "c": Float(0, 1, step=0.5)}))
    expected = [{"a": a, "b": b, "c": c} for a, b, c in itertools.product(["x", "y"], [1, 2, 3], [0.0, 0.5, 1.0])]
    assert grid.size == 18 and grid.is_plain
    assert [grid.at(i) for i in range(grid.size)] == expected
    assert [grid.index_of(config) for config in expected] == list(range(18))
    assert list(grid.at(0)) == ["a", "b", "c"]


def test_zips_are_one_axis_where_the_first_name_is():
    grid = Grid(Space({"a": [1, 2], "n": [0, 5], "b": ["x", "y"]}, zips=[("a", "b")]))
    assert [tuple(grid.at(i).values()) for i in range(grid.size)] == [
        (1, 0, "x"), (1, 5, "x"), (2, 0, "y"), (2, 5, "y"),
    ]  # fmt: skip
    assert grid.index_of({"a": 2, "n": 0, "b": "y"}) == 2
    with pytest.raises(ConfigError, match="zipped"):
        grid.index_of({"a": 2, "n": 0, "b": "x"})


def test_forbidden_points_are_none():
    grid = Grid(Space({"batch": [32, 64], "accum": [1, 2]}, forbid=["batch * accum > 64"]))
    assert [grid.at(i) is None for i in range(4)] == [False, False, False, True] and not grid.is_plain
    with pytest.raises(ConfigError, match="forbidden"):
        grid.index_of({"batch": 64, "accum": 2})


def test_inactive_parameters_do_not_vary():
    space = Space({"opt": ["sgd", "adam"], "m": Ordinal([0.1, 0.9], when={"opt": "sgd"}), "n": [1, 2]})
    grid = Grid(space)
    assert [grid.at(i) for i in range(grid.size)] == [
        {"opt": "sgd", "m": 0.1, "n": 1},
        {"opt": "sgd", "m": 0.1, "n": 2},
        {"opt": "sgd", "m": 0.9, "n": 1},
        {"opt": "sgd", "m": 0.9, "n": 2},
        {"opt": "adam", "n": 1},
        {"opt": "adam", "n": 2},
        None,
        None,
    ]
    assert grid.index_of({"opt": "adam", "n": 2}) == 5


@st.composite
def finite_spaces(draw):
    n = draw(st.integers(0, 4))
    names = [f"p{i}" for i in range(n)]
    domains = {}
    for i, name in enumerate(names):
        when = None
        if i and draw(st.booleans()):
            parent, sign = draw(st.sampled_from(names[:i])), draw(st.sampled_from(["<", ">=", "==", "!="]))
            when = f"{parent} {sign} {draw(st.integers(0, 2))}"
        size = draw(st.integers(1, 3))
        kinds = [Categorical(list(range(size)), when=when), Ordinal(range(size), when=when)]
        domains[name] = draw(st.sampled_from([*kinds, *([Int(0, size - 1, when=when)] if size > 1 else [])]))
    order = draw(st.permutations(names))
    forbid = []
    if n and draw(st.booleans()):
        one, two = (draw(st.sampled_from(names)) for _ in range(2))
        forbid = [f"{one} + {two} == {draw(st.integers(0, 4))}"]
    by_size = [[name for name in names if domains[name].size == size] for size in (1, 2, 3)]
    zips = [group for group in by_size if len(group) > 1 and draw(st.booleans())]
    return Space({name: domains[name] for name in order}, zips=zips, forbid=forbid)


@settings(max_examples=300, deadline=None)
@given(finite_spaces())
def test_every_config_has_one_number_and_every_number_one_config(space):
    grid = Grid(space)
    found = {i: config for i in range(grid.size) if (config := grid.at(i)) is not None}
    for index, config in found.items():
        space.check(config)
        assert grid.index_of(config) == index
    expected = set()
    for point in itertools.product(*(range(domain.size) for domain in space.values())):
        subsets = itertools.product(*[(True, False)] * len(point)) if space.is_conditional else [(True,) * len(point)]
        for keep in subsets:
            config = {
                name: domain.value_at(k)
                for (name, domain), k, kept in zip(space.items(), point, keep, strict=True)
                if kept
            }
            if space.contains(config):
                expected.add(tuple(config.items()))
    assert {tuple(config.items()) for config in found.values()} == expected
    assert len(found) == len(expected)
    if grid.is_plain:
        assert len(found) == grid.size == space.size


def test_the_empty_space_has_one_point():
    grid = Grid(Space({}))
    assert grid.size == 1 and grid.at(0) == {} and grid.index_of({}) == 0 and grid.is_plain


def test_what_is_not_finite_is_named():
    with pytest.raises(SpaceError, match=r"lr is loguniform\(1e-05, 0.1\); give it a list"):
        Grid(Space({"a": [1], "lr": (1e-5, 1e-1, "log"), "b": (0.0, 1.0)}))


@pytest.mark.parametrize("index", [-1, 4, 10**30])
def test_numbers_that_are_not_there(index):
    with pytest.raises(IndexError, match="expected an index from 0 to 3"):
        Grid(Space({"a": [1, 2], "b": [1, 2]})).at(index)


def test_a_config_that_is_not_in_the_space_has_no_number():
    grid = Grid(Space({"a": [1, 2]}))
    for config in ({"a": 3}, {}, {"a": 1, "b": 2}):
        with pytest.raises(ConfigError):
            grid.index_of(config)


@pytest.mark.parametrize("n_parameters", [2, 4, 40])
def test_huge_grids_cost_nothing(n_parameters):
    tracemalloc.start()
    space = Space({f"p{i}": Ordinal(range(10**6)) if i % 2 else Int(1, 10**6) for i in range(n_parameters)})
    grid = Grid(space)
    assert grid.size == 10 ** (6 * n_parameters)
    for i in (0, 1, 10**11, grid.size // 3, grid.size - 1):
        assert grid.index_of(grid.at(i)) == i
    last = permuted(3, grid.size, grid.size - 1)
    assert grid.index_of(grid.at(last)) == last
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_constants_are_points_of_one_value():
    grid = Grid(Space({"a": Constant("x"), "b": [1, 2]}))
    assert [grid.at(i) for i in range(2)] == [{"a": "x", "b": 1}, {"a": "x", "b": 2}]


def test_permuted_is_a_bijection_for_every_small_size():
    for size in range(1, 151):
        for key in range(5):
            assert sorted(permuted(key, size, i) for i in range(size)) == list(range(size))


@pytest.mark.parametrize("size", [1000, 1023, 1024, 1025, 10_007])
@pytest.mark.parametrize("key", [-1, 0, 2**128 + 7])
def test_permuted_is_a_bijection(size, key):
    assert len({permuted(key, size, i) for i in range(size)}) == size


@settings(deadline=None)
@given(st.integers(), st.integers(1, 2**80), st.data())
def test_permuted_stays_within_any_size(key, size, data):
    i = data.draw(st.integers(0, size - 1))
    assert 0 <= permuted(key, size, i) < size
    assert permuted(key, size, i) == permuted(key, size, i)


def test_permuted_does_not_repeat_in_a_huge_range():
    for size in (10**12, 2**63, 2**64 + 1, 10**40, 10**2000):
        drawn = [permuted(9, size, i) for i in range(2000)]
        assert len(set(drawn)) == 2000 and all(0 <= k < size for k in drawn)


def test_permuted_is_spread_and_depends_on_the_key():
    size = 10**12
    drawn = np.array([permuted(4, size, i) for i in range(4000)]) / size
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 45  # chi², 19 degrees of freedom, p ≈ 0.0007
    low_digits = Counter(permuted(4, size, i) % 10 for i in range(4000))
    assert max(low_digits.values()) < 500 and min(low_digits.values()) > 300
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.06
    assert [permuted(5, size, i) for i in range(5)] != [permuted(4, size, i) for i in range(5)]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_permuted_favours_no_order_of_a_few(size):
    n_keys = 3000
    firsts = Counter(permuted(key, size, 0) for key in range(n_keys))
    assert all(abs(firsts[k] - n_keys / size) < 5 * (n_keys / size) ** 0.5 for k in range(size))
    if size <= 4:
        orders = Counter(tuple(permuted(key, size, i) for i in range(size)) for key in range(n_keys))
        n_orders = {2: 2, 3: 6, 4: 24}[size]
        assert len(orders) == n_orders
        assert max(orders.values()) < 2 * n_keys / n_orders and min(orders.values()) > 0.5 * n_keys / n_orders


def test_permuted_is_the_same_on_every_machine():
    assert [permuted(0, 10, i) for i in range(10)] == [2, 6, 5, 8, 9, 7, 4, 1, 3, 0]  # a stored study relies on it
    assert permuted(12345, 10**12, 0) == 720795167046


@pytest.mark.parametrize(("size", "i"), [(10, 10), (10, -1), (0, 0), (1, 1)])
def test_permuted_refuses_what_is_out_of_range(size, i):
    with pytest.raises(IndexError):
        permuted(0, size, i)
