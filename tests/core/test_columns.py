"""Finished trials in columns: what grows step by step is as if it had been made at once, and branches keep apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from whet.core.columns import STATES, Columns, Finished
from whet.core.trial import State
from whet.space.domain import Float
from whet.space.space import Space

SPACE = Space({"a": Float(0.0, 1.0)})


def row(number: int, at: float = 0.5, state: State = State.COMPLETED) -> Finished:
    return Finished(number, state, number, {"a": at}, (float(number),))


def keys_of(encoded: NDArray[np.float64]) -> list[bytes]:
    return [one.tobytes() for one in encoded]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_growing_in_steps_is_growing_at_once(steps: list[int]) -> None:
    rows = [row(i, i % 7 / 10, STATES[-1 - i % 3]) for i in range(sum(steps))]
    grown, n = Columns([]), 0
    for step in steps:
        assert grown.extended(n, rows[n : n + step]) is grown
        n += step
        at_once = Columns(rows[:n])
        assert np.array_equal(grown.encoded(n, SPACE), at_once.encoded(n, SPACE))
        assert np.array_equal(grown.facts(n, 1), at_once.facts(n, 1), equal_nan=True)
        assert grown.first_rows(n, SPACE, keys_of) == at_once.first_rows(n, SPACE, keys_of)
    assert grown.facts(n, 1)[:, 0].tolist() == [*range(n)]


def test_the_first_of_equal_configs_is_the_one_that_is_found() -> None:
    columns = Columns([row(0, 0.25), row(1, 0.5), row(2, 0.25), Finished(3, State.CANCELLED, 3, None, (1.0,))])
    assert [*columns.first_rows(4, SPACE, keys_of).values()] == [0, 1]


def test_what_was_seen_stays_as_it_was_and_is_read_only() -> None:
    columns = Columns([row(0, 0.25)])
    encoded, facts = columns.encoded(1, SPACE), columns.facts(1, 1)
    columns.extended(1, [row(i) for i in range(1, 50)])
    columns.encoded(50, SPACE), columns.facts(50, 1)
    assert (encoded.tolist(), facts[0, 0]) == ([[0.25]], 0.0)
    for array in (encoded, facts):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 9.0


def test_a_branch_knows_what_was_before_it_and_nothing_after() -> None:
    columns = Columns([row(0, 0.0), row(1, 0.125), row(2, 0.25)])
    columns.encoded(3, SPACE), columns.facts(3, 1), columns.first_rows(3, SPACE, keys_of)
    branch = columns.extended(1, [row(7, 0.75)])
    assert branch is not columns
    assert branch.encoded(2, SPACE).tolist() == [[0.0], [0.75]]
    assert branch.facts(2, 1)[:, 0].tolist() == [0.0, 7.0]
    assert [*branch.first_rows(2, SPACE, keys_of).values()] == [0, 1]
    assert columns.encoded(3, SPACE)[:, 0].tolist() == [0.0, 0.125, 0.25]
    assert len(columns.first_rows(3, SPACE, keys_of)) == 3


def test_nothing_at_all_has_the_right_shapes() -> None:
    columns = Columns([])
    assert (columns.encoded(0, SPACE).shape, columns.facts(0, 2).shape) == ((0, 1), (0, 5))
    assert columns.first_rows(0, SPACE, keys_of) == {}
