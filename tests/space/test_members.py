"""The configs of spaces with conditions by number: as walking over every point of the grid finds them."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.space import grid as grid_module
from whet.space.domain import Categorical, Int, Ordinal
from whet.space.grid import Grid, n_configs
from whet.space.members import members_of
from whet.space.space import Space

OPTS = "abcd"
OF_SUM = [f"p{i}" for i in range(9)]


def branches(n: int = 6, *, is_last: bool = False, **options: Any) -> Space:
    """Return a space in which each of four values has *n* parameters of its own."""
    opt = {"opt": Categorical(list(OPTS))}
    own = {f"{o}{i}": Int(1, 10, when={"opt": o}) for o in OPTS for i in range(n)}
    return Space({**own, **opt} if is_last else {**opt, **own}, **options)


@st.composite
def _condition(draw: Any, parents: Sequence[str]) -> str:
    def comparison() -> str:
        sign = draw(st.sampled_from(["<", ">=", "==", "!="]))
        return f"{draw(st.sampled_from(parents))} {sign} {draw(st.integers(0, 2))}"

    kind = draw(st.sampled_from(["one", "and", "or", "not", "sum", "always"]))
    if kind in ("and", "or"):
        return f"{comparison()} {kind} {comparison()}"
    if kind == "sum":
        return f"{draw(st.sampled_from(parents))} + {draw(st.sampled_from(parents))} > {draw(st.integers(0, 2))}"
    return {"one": comparison(), "not": f"not {comparison()}", "always": draw(st.sampled_from(["True", "1 > 2"]))}[kind]


@st.composite
def conditional_spaces(draw: Any) -> Space:
    """Conditions of all kinds on parameters that come before or after, some zipped, some shared, some never true."""
    names = [f"p{i}" for i in range(draw(st.integers(1, 6)))]
    domains: dict[str, Any] = {}
    for i, name in enumerate(names):
        shared = [str(domain.when) for domain in domains.values() if domain.when is not None]
        when = draw(st.sampled_from([None, "new", "shared"])) if i else None
        when = draw(_condition(names[:i])) if when == "new" or (when and not shared) else when and shared[-1]
        values = range(draw(st.integers(1, 3)))
        domains[name] = draw(st.sampled_from([Categorical, Ordinal]))(values, when=when)
    by_size = [[name for name in names if domains[name].size == size] for size in (1, 2, 3)]
    zips = [group for group in by_size if len(group) > 1 and draw(st.booleans())]
    forbid = [draw(_condition(names))] if draw(st.booleans()) else []
    return Space({name: domains[name] for name in draw(st.permutations(names))}, zips=zips, forbid=forbid)


def walked(space: Space) -> list[list[int]]:
    """Return the digits of every config, forbidden or not, in the order of the grid."""
    found = []
    for digits in itertools.product(*(range(space[axis[0]].size or 0) for axis in space.axes)):
        axes = list(zip(space.axes, digits, strict=True))
        config = space.active({name: space[name].value_at(digit) for axis, digit in axes for name in axis})
        if all(not digit or any(name in config for name in axis) for axis, digit in axes):
            found.append(list(digits))
    return found


@settings(max_examples=200, deadline=None)
@given(conditional_spaces())
def test_members_are_what_a_walk_finds_in_its_order(space: Space) -> None:
    members = members_of(space)
    assert members is not None
    expected = walked(space)
    assert members.n == len(expected)
    assert [members.digits_at(number) for number in range(members.n)] == expected
    assert [members.number_of(digits) for digits in expected] == list(range(members.n))


@settings(max_examples=100, deadline=None)
@given(conditional_spaces())
def test_a_large_grid_has_the_configs_of_a_small_one_in_the_same_order(space: Space) -> None:
    small = Grid(space)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "MOST_SKIPPED", 0)
        large = Grid(space)
    assert small.size == space.size
    configs = [config for i in range(small.size) if (config := small.at(i)) is not None]
    numbers = [i for i in range(large.size) if large.at(i) is not None]
    assert [large.at(i) for i in numbers] == configs
    assert [large.index_of(config) for config in configs] == numbers
    assert n_configs(space) == len(configs)
    if large.is_plain:
        assert len(configs) == large.size


@pytest.mark.parametrize("is_last", [False, True], ids=["opt first", "opt last"])
def test_branches_are_numbered_without_a_walk(is_last: bool) -> None:
    space = branches(is_last=is_last)
    tracemalloc.start()
    grid = Grid(space)
    assert space.size == 4 * 10**24 and grid.size == n_configs(space) == 4 * 10**6 and grid.is_plain
    drawn = [0, 1, 2, 999_999, 10**6, 10**6 + 1, 1_234_567, 3_999_999]
    configs = [grid.at(i) for i in drawn]
    assert [grid.index_of(config) for config in configs if config is not None] == drawn
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    if not is_last:
        ones = {f"a{i}": 1 for i in range(6)}
        assert configs[:2] == [{"opt": "a", **ones}, {"opt": "a", **ones, "a5": 2}]
        assert configs[3:5] == [{"opt": "a", **dict.fromkeys(ones, 10)}, {"opt": "b", **{f"b{i}": 1 for i in range(6)}}]
        assert configs[-1] == {"opt": "d", **{f"d{i}": 10 for i in range(6)}}


def test_what_is_forbidden_keeps_its_number() -> None:
    space = branches(forbid=["a5 == 1", "opt == 'b' and b0 + b1 > 3"])
    grid = Grid(space)
    assert grid.size == 4 * 10**6 and not grid.is_plain
    assert [grid.at(i) is None for i in (0, 1, 10, 11, 10**6, 2 * 10**6 - 1)] == [True, False, True, False, False, True]
    assert n_configs(space) is None
    few = branches(forbid=["opt != 'a' or a0 * a1 * a2 * a3 != 1"])
    assert n_configs(few) is None
    assert n_configs(branches(2, forbid=["a0 > 1"])) == 400 - 90


def test_up_to_100_000_combinations_each_has_its_number() -> None:
    """The random order of studies of before is one of all of them."""
    for n_values, is_counted in ((50_000, False), (50_001, True)):
        space = Space({"a": Int(0, 1), "b": Int(1, n_values, when="a == 1")})
        grid = Grid(space)
        assert grid.size == (n_values + 1 if is_counted else 2 * n_values)
        assert grid.is_plain == is_counted and not grid.is_sparse
        assert n_configs(space) == n_values + 1


@pytest.mark.parametrize(
    "space",
    [
        Space({"n": Int(1, 10**6), **{f"p{i}": Int(0, 9, when="n == 5") for i in range(9)}}),
        Space(
            {f"p{i}": Int(0, 9, when=" + ".join(f"p{j}" for j in range(i)) + " > 4" if i else None) for i in range(9)}
        ),
        Space({"c": Categorical(["x", 1]), **{f"p{i}": Int(0, 9, when="c < 2") for i in range(9)}}),
    ],
    ids=["many values", "many parents", "not to be compared"],
)
def test_what_cannot_be_counted_is_numbered_by_all_combinations(space: Space) -> None:
    grid = Grid(space)
    assert (grid.size, grid.is_plain, grid.is_sparse) == (space.size, False, True)
    assert n_configs(space) is None


def test_deep_and_wide_spaces_are_counted() -> None:
    chain = Space({f"p{i}": Int(0, 1, when=f"p{i - 1} == 1" if i else None) for i in range(1_200)})
    assert n_configs(chain) == 1_201
    flags = Space({"on": Int(0, 1), **{f"p{i}": Int(0, 9, when="on == 1") for i in range(1_200)}})
    assert n_configs(flags) == 10**1_200 + 1
    assert Grid(flags).at(10**1_200) == {"on": 1, **{f"p{i}": 9 for i in range(1_200)}}


def test_a_space_without_conditions_has_them_all() -> None:
    for space in (Space({}), Space({"a": Int(1, 3), "b": Ordinal(range(10**6))})):
        members = members_of(space)
        assert members is not None and members.n == space.size
