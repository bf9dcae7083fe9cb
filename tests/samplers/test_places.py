"""The places that numbers have where people gave the configs of others: by the definition, whatever is asked when."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.given import Given, GivenConfig
from whet.errors import SearchExhausted
from whet.samplers import Grid, QuasiRandom, Random
from whet.samplers.places import Places
from whet.space.domain import Int
from whet.space.grid import Grid as Points
from whet.space.grid import permuted
from whet.space.space import Space
from whet.testing.sampler_suite import ask, history_of
from whet.testing.sampler_suite import given as given_as

N = 12
SPACE = Space({"n": Int(0, N - 1)})


def point_at(place: int) -> int:
    if place >= N:
        raise SearchExhausted
    return permuted(5, N, place)


def defined(known: Mapping[int, int], n: int) -> dict[int, int | None]:
    """Return the place of each number below *n* that was not given, None for none, by the definition."""
    place, seen, places = 0, set[int](), dict[int, int | None]()
    for number in range(n):
        if number in known:
            seen.add(known[number])
            continue
        while place < N and point_at(place) in seen:
            place += 1
        places[number] = place if place < N else None
        place += 1
    return places


def as_given(known: Mapping[int, int]) -> Given:
    return Given().extended([GivenConfig(number, "enqueued", {"n": point}) for number, point in sorted(known.items())])


def found(places: Places, number: int, known: Given) -> int | None:
    try:
        place = places.of(number, known)
        point_at(place)
    except SearchExhausted:
        return None
    return place


_KNOWN = st.dictionaries(st.integers(0, 25), st.integers(0, N - 1), max_size=10)


@given(_KNOWN, st.data())
def test_places_are_those_of_the_definition_in_whatever_order_they_are_asked(known: dict[int, int], data: Any) -> None:
    expected = defined(known, 30)
    places = Places(Points(SPACE), point_at)
    for number in data.draw(st.permutations(sorted(expected))):
        assert found(places, number, as_given(known)) == expected[number], number


@given(st.lists(st.tuples(st.sampled_from(["ask", "peek", "give", "older"]), st.integers(0, N - 1)), max_size=40))
def test_places_follow_as_configs_are_given(steps: list[tuple[str, int]]) -> None:
    """As a study lives: numbers only grow; now and then a number far ahead is looked at, or an older snapshot used."""
    places = Places(Points(SPACE), point_at)
    known: dict[int, int] = {}
    snapshots = [dict(known)]
    n_numbers = 0
    for what, value in steps:
        if what == "give":
            known[n_numbers] = value
            n_numbers += 1
            snapshots.append(dict(known))
        elif what == "ask":
            assert found(places, n_numbers, as_given(known)) == defined(known, n_numbers + 1)[n_numbers]
            n_numbers += 1
        else:
            seen = known if what == "peek" else snapshots[value % len(snapshots)]
            number = n_numbers + value
            assert found(places, number, as_given(seen)) == defined(seen, number + 1)[number]


def test_a_grid_whose_first_configs_were_given_goes_on_with_the_others() -> None:
    space = Space({"a": Int(1, 2), "b": Int(1, 2)})
    history = history_of(space)
    sampler = Grid()
    assert ask(sampler, history, [0])[0].config == {"a": 1, "b": 1}
    history = given_as(history, 1, {"a": 1, "b": 2})
    history = given_as(history, 2, {"a": 1, "b": 1})  # once more, as it was asked for
    assert [s.config for s in ask(sampler, history, [3, 4, 5])] == [{"a": 2, "b": 1}, {"a": 2, "b": 2}]
    with pytest.raises(SearchExhausted):
        ask(sampler, history, [5])


@pytest.mark.parametrize("sampler", [Grid(), Random(), QuasiRandom()], ids=lambda sampler: type(sampler).__name__)
def test_one_sampler_serves_studies_that_were_given_other_configs(sampler: Any) -> None:
    space = Space({"a": Int(1, 40)})
    plain, other = history_of(space), given_as(given_as(history_of(space), 2, {"a": 1}), 5, {"a": 2})
    numbers = [0, 1, 3, 4, 6, 7, 8]
    expected = [ask(type(sampler)(), history, numbers) for history in (plain, other)]
    assert expected[0] != expected[1]
    for i, number in enumerate(numbers):
        for history, of_history in zip((plain, other), expected, strict=True):
            assert ask(sampler, history, [number]) == [of_history[i]]


def test_a_huge_grid_needs_little_memory_after_a_config_was_given() -> None:
    space = Space({f"p{i}": Int(0, 9) for i in range(12)})
    history = given_as(history_of(space), 0, dict.fromkeys(space, 0))
    for sampler in (Grid(), Random()):
        ask(sampler, history, [1])
        tracemalloc.start()
        suggestions = ask(sampler, history, range(2_000, 2_010))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len({tuple(s.config.values()) for s in suggestions}) == 10
        assert peak < 1_000_000
