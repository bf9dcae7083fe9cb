"""The order of points with several objectives: front after front, and each front spread out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whet.algorithms.cube import Floats
from whet.algorithms.fronts import epsilon_net, order

_points = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=25)


def dominates(a: Floats, b: Floats) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(_points)
def test_whoever_dominates_comes_first(points: list[tuple[int, int]]) -> None:
    values = np.array(points, dtype=float)
    ordered = order(values)
    assert sorted(ordered) == list(range(len(values)))
    place = {int(index): at for at, index in enumerate(ordered)}
    for i in range(len(values)):
        for j in range(len(values)):
            if dominates(values[i], values[j]):
                assert place[i] < place[j]


@given(_points)
def test_each_is_as_far_as_can_be_from_those_before(points: list[tuple[int, int]]) -> None:
    values = np.array(points, dtype=float)
    net = epsilon_net(values)
    assert sorted(net) == list(range(len(values)))
    assert values[net[0], 0] == values[:, 0].min()
    width = np.where(np.ptp(values, axis=0) > 0, np.ptp(values, axis=0), 1.0)
    scaled = values / width
    for at in range(1, len(net)):
        apart = np.linalg.norm(scaled[:, None] - scaled[net[:at]][None], axis=2).min(axis=1)
        assert np.isclose(apart[net[at]], max(apart[i] for i in net[at:]))


def test_the_ends_of_a_front_come_before_its_middle_whatever_the_units() -> None:
    front = np.array([[0.0, 4e6], [1.0, 3e6], [2.0, 2e6], [3.0, 1e6], [4.0, 0.0]])
    assert list(epsilon_net(front)[:3]) == [0, 4, 2]


def test_nothing_and_one() -> None:
    assert list(order(np.zeros((0, 2)))) == []
    assert list(order(np.array([[1.0, 2.0]]))) == [0]
