"""The configs of a finite space with conditions, counted and numbered without a walk over the grid between them."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whet.errors import ConfigError
from whet.space.conditions import Condition, condition_from
from whet.space.space import Space
from whet.space.structure import by_dependency

_MOST_EFFORT = 2**18  # lookups and the like, which take about half a second

# A digit is known by the name of its parameter, whether a condition holds by the condition's number.
_Key = str | int
# All that later axes have to know of the digits before them: what conditions will look at, and sets of conditions of
# which one has to hold, because a parameter has another than its first value.
_State = tuple[tuple[int, ...], frozenset[frozenset[int]]]
_START: _State = ((), frozenset())


@dataclass(frozen=True, slots=True)
class _Node:
    """The digits that an axis may have in some state, by runs of digits that lead to the same state.

    Attributes:
        firsts: the first digit of each run.
        each: how many configs there are under each digit of a run.
        ends: how many there are up to the end of a run.
        states: where a run leads.
    """

    firsts: tuple[int, ...]
    each: tuple[int, ...]
    ends: tuple[int, ...]
    states: tuple[_State, ...]


class Members:
    """The configs of a space, what is forbidden included, numbered in the order of its grid; see `members_of`.

    Attributes:
        n: how many there are.
    """

    __slots__ = ("_layers", "n")

    def __init__(self, layers: Sequence[Mapping[_State, _Node]]) -> None:
        self._layers = layers
        self.n = layers[0][_START].ends[-1] if layers else 1

    def digits_at(self, number: int) -> list[int]:
        """Return for each axis which of its values config *number* has, 0 where it has none."""
        state, digits = _START, []
        for layer in self._layers:
            node = layer[state]
            run = bisect_right(node.ends, number)
            offset, number = divmod(number - (node.ends[run - 1] if run else 0), node.each[run])
            digits.append(node.firsts[run] + offset)
            state = node.states[run]
        return digits

    def number_of(self, digits: Sequence[int]) -> int:
        """Return the number of the config that has these digits, one for each axis."""
        state, number = _START, 0
        for layer, digit in zip(self._layers, digits, strict=True):
            node = layer[state]
            run = bisect_right(node.firsts, digit) - 1
            number += (node.ends[run - 1] if run else 0) + (digit - node.firsts[run]) * node.each[run]
            state = node.states[run]
        return number


def members_of(space: Space) -> Members | None:
    """Return the configs of a finite *space*, ``None`` if it takes too long to count them.

    Points of the grid whose first digits leave the same state behind have as many configs under them, in the same
    order. Most parameters are in no condition, so states are few. They are many where conditions look at parameters
    with very many values, or at many parameters at once. ``None`` also if a condition cannot be evaluated on a config.
    """
    steps, states, effort = _Steps(space), {_START}, 0
    found = []
    for axis in range(len(space.axes)):
        effort += len(states) * len(steps.digits(axis)) * steps.effort(axis)
        if effort > _MOST_EFFORT:
            return None
        try:
            runs = {state: steps.runs(axis, state) for state in states}
        except ConfigError:
            return None
        found.append(runs)
        states = {state for of_state in runs.values() for _, _, state in of_state}
    layers: list[dict[_State, _Node]] = []
    n_under = dict.fromkeys(states, 1)
    for runs in reversed(found):
        nodes = {state: _node(of_state, n_under) for state, of_state in runs.items()}
        n_under = {state: node.ends[-1] if node.ends else 0 for state, node in nodes.items()}
        layers.append(nodes)
    return Members(layers[::-1])


_Run = tuple[int, int, _State]  # first digit, number of digits, where they lead


def _node(runs: Sequence[_Run], n_under: Mapping[_State, int]) -> _Node:
    alive = [run for run in runs if n_under[run[2]]]
    firsts, _, states = zip(*alive, strict=True) if alive else ((), (), ())
    ends = itertools.accumulate(size * n_under[state] for _, size, state in alive)
    return _Node(firsts, tuple(n_under[state] for state in states), tuple(ends), states)


class _Steps:
    """How a state follows from the one before an axis and the digit that the axis has.

    A condition is settled at the axis from which on it is known what it looks at, which may lie before or behind the
    parameters that depend on it.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        whens = {name: condition_from(domain.when) for name, domain in space.items() if domain.when is not None}
        names_by_dependency = by_dependency(list(space), whens)
        # Numbered so that each comes after those that decide what it looks at.
        numbers = {when: i for i, when in enumerate(dict.fromkeys(whens[n] for n in names_by_dependency if n in whens))}
        self._conditions = list(numbers)
        self._condition_of = {name: numbers[when] for name, when in whens.items()}
        axis_of = {name: i for i, axis in enumerate(space.axes) for name in axis}
        settled: list[int] = []
        for condition in self._conditions:
            keys = self._looked_at(condition)
            settled.append(max((axis_of[key] if isinstance(key, str) else settled[key] for key in keys), default=0))
        self._settled_at: list[list[int]] = [[] for _ in space.axes]
        for number, axis in enumerate(settled):
            self._settled_at[axis].append(number)
        self._kept = self._kept_before_each(axis_of, settled)

    def _looked_at(self, condition: Condition) -> list[_Key]:
        """Return the names in a condition, and the conditions that decide whether they are there."""
        return [*condition.names, *(self._condition_of[name] for name in condition.names if name in self._condition_of)]

    def _kept_before_each(self, axis_of: Mapping[str, int], settled: Sequence[int]) -> list[tuple[_Key, ...]]:
        """Return what is in the state before each axis, and behind the last."""
        last_use: dict[_Key, int] = {}
        for condition, axis in zip(self._conditions, settled, strict=True):
            for key in self._looked_at(condition):
                last_use[key] = max(last_use.get(key, 0), axis)
        for name, number in self._condition_of.items():
            last_use[number] = max(last_use.get(number, 0), axis_of[name])
        kept: list[tuple[_Key, ...]] = [()]
        for i, names in enumerate(self._space.axes):
            known = (*kept[-1], *names, *self._settled_at[i])
            kept.append(tuple(key for key in known if last_use.get(key, -1) > i))
        self._is_looked_at = [any(name in last_use for name in names) for names in self._space.axes]
        return kept

    def effort(self, axis: int) -> int:
        """Return about how many lookups a step along *axis* takes."""
        names = sum(1 + len(self._conditions[number].names) for number in self._settled_at[axis])
        return 8 + 6 * names + len(self._kept[axis])

    def digits(self, axis: int) -> range:
        """Return the digits of *axis* to be tried; where nobody looks at it, 1 stands for all that are not 0."""
        return range(self._size(axis) if self._is_looked_at[axis] else min(self._size(axis), 2))

    def runs(self, axis: int, state: _State) -> list[_Run]:
        """Return the digits that *axis* may have in *state*."""
        runs: list[_Run] = []
        for digit in self.digits(axis):
            after = self._after(axis, state, digit)
            if after is None:
                continue
            first, n = digit, 1 if self._is_looked_at[axis] or digit == 0 else self._size(axis) - 1
            if runs and runs[-1][2] == after and runs[-1][0] + runs[-1][1] == digit:
                first, n_before, _ = runs.pop()
                n += n_before
            runs.append((first, n, after))
        return runs

    def _size(self, axis: int) -> int:
        size = self._space[self._space.axes[axis][0]].size
        assert size is not None, "every parameter of a finite space is finite"
        return size

    def _after(self, axis: int, state: _State, digit: int) -> _State | None:
        """Return the state behind *axis*, ``None`` if its parameters have the *digit* and cannot be there."""
        values, duties = state
        names = self._space.axes[axis]
        facts: dict[_Key, int] = dict(zip(self._kept[axis], values, strict=True))
        facts |= dict.fromkeys(names, digit)
        for number in self._settled_at[axis]:
            facts[number] = self._holds(self._conditions[number], facts)
        if digit and all(name in self._condition_of for name in names):
            duties |= {frozenset(self._condition_of[name] for name in names)}
        still_open = set()
        for duty in duties:
            if not any(facts.get(number) for number in duty):
                unsettled = frozenset(number for number in duty if number not in facts)
                if not unsettled:
                    return None
                still_open.add(unsettled)
        return tuple([facts[key] for key in self._kept[axis + 1]]), frozenset(still_open)

    def _holds(self, condition: Condition, facts: Mapping[_Key, int]) -> bool:
        config = {}
        for name in condition.names:
            number = self._condition_of.get(name)
            if number is None or facts[number]:
                config[name] = self._space[name].value_at(facts[name])
        return condition.holds(config)
