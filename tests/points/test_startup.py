"""How a search by a model begins: the centre, then an even design, the next admissible new point of it."""

from __future__ import annotations

import numpy as np
import pytest

from whet.core.protocols import Suggestion
from whet.core.trial import State
from whet.points.codec import Codec
from whet.points.known import known_of
from whet.points.startup import Proposal, startup_point
from whet.space.domain import Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import Outcome, history_of, told

SQUARE = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})


def started(space: Space, outcomes: list[Outcome], n_start: int = 100, seed: int = 0) -> list[Proposal | None]:
    """Return the point before each of the *outcomes*, and the one after the last."""
    codec, history = Codec(space), history_of(space, seed)
    found = [startup_point(known_of(history, codec), codec, seed, n_start)]
    for number, outcome in enumerate(outcomes):
        last = found[-1]
        assert last is not None
        history = told(history, [(number, Suggestion(codec.config(last.x)), outcome)])
        found.append(startup_point(known_of(history, codec), codec, seed, n_start))
    return found


def test_the_centre_comes_first_and_the_square_is_filled_evenly() -> None:
    points = np.array([p.x for p in started(SQUARE, [1.0] * 63) if p is not None])
    assert points[0].tolist() == [0.5, 0.5]
    cells = np.unique((points * 4).astype(int), axis=0, return_counts=True)[1]
    assert len(cells) == 16
    assert cells.max() <= 5


def test_the_seed_scrambles_all_but_the_centre() -> None:
    one, other = (started(SQUARE, [1.0] * 3, seed=seed) for seed in (1, 2))
    same = [bool((a.x == b.x).all()) for a, b in zip(one, other, strict=True) if a and b]
    assert same == [True, False, False, False]


def test_it_ends_once_there_are_enough_configs_and_two_values() -> None:
    assert [p is None for p in started(SQUARE, [1.0] * 4, n_start=4)] == [False] * 4 + [True]
    outcomes: list[Outcome] = [State.FAILED, 1.0, State.RUNNING, State.FAILED, State.RUNNING, 2.0]
    assert [p is None for p in started(SQUARE, outcomes, n_start=3)] == [False] * 6 + [True]


def test_points_beyond_a_block_go_on_and_none_comes_twice() -> None:
    points = [p.x.tolist() for p in started(SQUARE, [State.FAILED] * 150) if p is not None]
    assert len({tuple(x) for x in points}) == 151


def test_what_is_forbidden_or_taken_is_passed_over() -> None:
    half = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)}, forbid=["a > 0.4"])
    assert all(p is not None and p.x[0] <= 0.4 for p in started(half, [1.0] * 20))
    few = Space({"a": Int(0, 9)})
    assert sorted(p.x.tolist() for p in started(few, [1.0] * 9) if p is not None) == [
        [(i + 0.5) / 10] for i in range(10)
    ]


@pytest.mark.parametrize("space", [Space({}), Space({f"p{i}": Float(0.0, 1.0) for i in range(22_000)})])
def test_any_number_of_dimensions_will_do(space: Space) -> None:
    (point,) = started(space, [])
    assert point is not None
    assert point.x.shape == (len(space),)
