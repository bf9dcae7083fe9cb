"""Configs that people gave: in order, and left out of the limit where they were added."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whet.core.given import Given, GivenConfig


def configs(numbers, giver="added"):
    return [GivenConfig(number, giver, {"n": number}) for number in numbers]


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_a_limit_counts_what_was_not_added(added: set[int], n: int) -> None:
    known = Given().extended(configs(sorted(added)))
    bound = known.first_beyond(n)
    assert len([number for number in range(bound) if number not in added]) == n
    assert bound == 0 or bound - 1 not in added or n == 0


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), unique_by=lambda pair: pair[0]), st.data())
def test_they_are_in_order_however_they_come(pairs, data) -> None:
    whole = [GivenConfig(number, "added" if is_added else "enqueued", "{}") for number, is_added in pairs]
    known, rest = Given(), whole
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        known, rest = known.extended(rest[:size]), rest[size:]
    assert [config.number for config in known.configs] == sorted(number for number, _ in pairs)
    assert list(known.added) == sorted(number for number, is_added in pairs if is_added)


def test_a_config_is_read_when_it_is_looked_at() -> None:
    assert GivenConfig(0, "added", '{"x":{"$float":"inf"}}').parsed() == {"x": float("inf")}
    assert GivenConfig(0, "added", {"x": 1}).parsed() == {"x": 1}
