"""Between configs and points of the cube in which model-based samplers search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.algorithms.cube import Bools, Cube, Floats
from whet.errors import ConfigError, SpaceError
from whet.space.base import Domain
from whet.space.conditions import Condition, condition_from
from whet.space.domain import Categorical
from whet.space.space import Space

_MOST_LEVELS = 2**14  # an axis with more values is searched as a continuous one, and what is found there is snapped
_TAIL = 1e-6  # quantiles beyond which values of an endless list are none of its levels
_MOST_COMBINATIONS = 2**16  # of values that a condition depends on and that are looked up in a table


class Codec:
    """The axes of a space that vary, and the maps between its configs and their points.

    Zipped parameters share an axis, and what has a single value has none.

    Raises:
        SpaceError: a parameter has no map to the unit interval.
    """

    def __init__(self, space: Space) -> None:
        bad = next((name for name, domain in space.items() if not domain.is_encodable), None)
        if bad is not None:
            raise SpaceError(
                f"this search needs to map every parameter to the unit interval, and {bad!r} ({space[bad]}) can only "
                "be sampled; use random search"
            )
        self.space = space
        names = list(space)
        self.axes = [axis for axis in space.axes if space[axis[0]].size != 1]
        column_of = {name: column for column, name in enumerate(names)}
        self._columns = [[column_of[name] for name in axis] for axis in self.axes]
        self._leaders = [axis[0] for axis in self.axes]
        followers = {column for columns in self._columns for column in columns[1:]}
        self._own_centres = {column: _centres(space[names[column]]) for column in followers}
        self._fixed = {name: 0.5 for axis in space.axes if space[axis[0]].size == 1 for name in axis}
        centres = tuple(_centres(space[name]) for name in self._leaders)
        is_category = np.array([isinstance(space[name], Categorical) for name in self._leaders], dtype=bool)
        unlisted = [axis for axis, own in enumerate(centres) if own is None]
        domains = {axis: space[self._leaders[axis]] for axis in unlisted}
        snaps = {axis: domain.snapped for axis, domain in domains.items() if domain.is_discrete}
        self.cube = Cube(centres, is_category, self._activate, snaps)
        conditions = {name: condition_from(domain.when) for name, domain in space.items() if domain.when is not None}
        rules = {condition: self._rule(condition) for condition in conditions.values()}
        self._rules = {name: rules[condition] for name, condition in conditions.items()}  # one for those that share it
        self._forbidden = [self._rule(condition) for condition in space.forbid]
        self._order = self._by_dependency()

    def points(self, encoded: Floats) -> Floats:
        """Return the (n, d) points of configs that the space has *encoded*, (n, number of parameters)."""
        x = np.empty((len(encoded), len(self.axes)))
        for axis, columns in enumerate(self._columns):
            x[:, axis] = encoded[:, columns[0]]
            for column in columns[1:]:
                is_open = np.isnan(x[:, axis])
                x[is_open, axis] = self._as_leader(axis, column, encoded[is_open, column])
        return x

    def _as_leader(self, axis: int, column: int, u: Floats) -> Floats:
        """Return where the leader of *axis* has the values that a zipped parameter, of another scale, has at *u*."""
        centres, own = self.cube.centres[axis], self._own_centres.get(column)
        if centres is None or own is None:
            zipped = [self.space[name] for name in self.axes[axis]]
            leader, follower = zipped[0], zipped[self._columns[axis].index(column)]
            return np.array([_as_other(follower, leader, place) for place in u.tolist()])
        return np.where(np.isnan(u), np.nan, centres[np.searchsorted((own[1:] + own[:-1]) / 2, u, side="right")])

    def point(self, config: Mapping[str, Any]) -> Floats:
        """Return the (d,) point of *config*."""
        point: Floats = self.points(self.space.encode_many([config]))[0]
        return point

    def config(self, x: Floats) -> dict[str, Any]:
        """Return the config at a settled point, (d,)."""
        place = dict.fromkeys(self.space, np.nan) | self._fixed
        for axis, u in zip(self.axes, x, strict=True):
            place |= dict.fromkeys(axis, u)
        return self.space.decode(np.array(list(place.values())))

    # ---- which axes are active, and what is forbidden
    def _by_dependency(self) -> list[str]:
        """Return the names with conditions so that each comes after those that its own asks for."""
        order: list[str] = []
        waiting = list(self._rules)
        while waiting:
            ready = [name for name in waiting if not set(self._rules[name].names) & set(waiting)]
            assert ready, "a space has no circular conditions"
            order += ready
            waiting = [name for name in waiting if name not in ready]
        return order

    def _rule(self, condition: Condition) -> _Rule:
        axis_of = {name: i for i, axis in enumerate(self.axes) for name in axis}
        return _Rule(condition, self.space, axis_of, self.cube)

    def _activate(self, x: Floats) -> tuple[Floats, Bools]:
        if not self._rules and not self._forbidden:
            return x, np.ones(len(x), dtype=bool)
        is_active: dict[str, Bools] = {}
        found: dict[_Rule, Bools] = {}
        for name in self._order:
            rule = self._rules[name]
            if rule not in found:
                found[rule] = rule.holds(x, is_active)
            is_active[name] = found[rule]
        if is_active:
            x = x.copy()
            for i, axis in enumerate(self.axes):
                if all(name in is_active for name in axis):
                    x[~np.logical_or.reduce([is_active[name] for name in axis]), i] = np.nan
        is_allowed = np.ones(len(x), dtype=bool)
        for rule in self._forbidden:
            is_allowed &= ~rule.holds(x, is_active)
        return x, is_allowed


class _Rule:
    """A condition, evaluated on many points at once."""

    def __init__(self, condition: Condition, space: Space, axis_of: Mapping[str, int], cube: Cube) -> None:
        self.names = condition.names
        # What cannot be evaluated does not hold, so the order of the parts means nothing: the quick ones come first.
        parts = [_Part(part, space, axis_of, cube) for part in condition.parts]
        self._parts = sorted(parts, key=lambda part: not part.is_listed)

    def holds(self, x: Floats, is_active: Mapping[str, Bools]) -> Bools:
        """Tell at which of the points *x* the condition holds; *is_active* has the names with conditions."""
        always = np.ones(len(x), dtype=bool)
        first, *others = self._parts
        holds = first.holds(x, [is_active.get(name, always) for name in first.names])
        for part in others:
            left = np.flatnonzero(holds)
            holds[left] = part.holds(x[left], [is_active.get(name, always)[left] for name in part.names])
        return holds


class _Part:
    """A condition, or one of several that all have to hold; what was found for a combination of levels is remembered.

    Attributes:
        names: of the parameters that it asks for.
        is_listed: whether their values are so few that it is looked up in a table.
    """

    def __init__(self, condition: Condition, space: Space, axis_of: Mapping[str, int], cube: Cube) -> None:
        self.names = condition.names
        self._condition, self._space, self._cube = condition, space, cube
        self._axes = [axis_of.get(name) for name in self.names]
        self._leader_of = {name: axis[0] for axis in space.axes for name in axis}
        # Per name: one state for "not active", then its levels.
        sizes = [1 + (1 if axis is None else int(cube.n_levels[axis])) for axis in self._axes]
        n_combinations = math.prod(sizes)
        has_levels = all(axis is None or not cube.is_continuous[axis] for axis in self._axes)
        self.is_listed = has_levels and n_combinations <= _MOST_COMBINATIONS
        self._strides = np.cumprod([1, *sizes], dtype=np.int64)[:-1] if self.is_listed else np.empty(0, np.int64)
        self._table = np.full(n_combinations if self.is_listed else 0, -1, dtype=np.int8)  # -1: not known yet

    def holds(self, x: Floats, active: list[Bools]) -> Bools:
        """Tell at which of the points *x*, (n, d), it holds; *active* has (n,) for each name."""
        return self._looked_up(x, active) if self.is_listed else self._evaluated(x, active)

    def _looked_up(self, x: Floats, active: list[Bools]) -> Bools:
        codes = np.zeros(len(x), dtype=np.int64)
        for axis, stride, a in zip(self._axes, self._strides, active, strict=True):
            level = 0 if axis is None else self._cube.level(x[:, axis], axis)
            codes += stride * np.where(a, 1 + level, 0)
        unknown = np.flatnonzero(self._table[codes] < 0)
        if len(unknown):
            new, first = np.unique(codes[unknown], return_index=True)
            rows = unknown[first]
            self._table[new] = self._evaluated(x[rows], [a[rows] for a in active])
        holds: Bools = self._table[codes] == 1
        return holds

    def _evaluated(self, x: Floats, active: list[Bools]) -> Bools:
        # Where none of the names is there, one answer will do.
        is_there = np.logical_or.reduce(active) if active else np.zeros(len(x), dtype=bool)
        holds = np.zeros(len(x), dtype=bool) if is_there.all() else np.full(len(x), self._at({}))
        rows = np.flatnonzero(is_there)
        configs: list[dict[str, Any]] = [{} for _ in rows]
        for name, axis, a in zip(self.names, self._axes, active, strict=True):
            places = [0.5] * len(rows) if axis is None else x[rows, axis].tolist()
            for config, u, has_it in zip(configs, places, a[rows].tolist(), strict=True):
                if has_it:
                    config[name] = self._value(name, u)
        holds[rows] = np.fromiter(map(self._at, configs), dtype=bool, count=len(rows))
        return holds

    def _at(self, config: Mapping[str, Any]) -> bool:
        try:
            return self._condition.holds(config)
        except ConfigError:  # cannot be evaluated: asking for the config itself says why
            return False

    def _value(self, name: str, u: float) -> Any:
        """Return the value of *name* at place *u* of its axis: of the first of the parameters that are zipped."""
        domain, leader = self._space[name], self._space[self._leader_of[name]]
        return domain.decode(u) if domain is leader else domain.value_at(leader.index_of(leader.decode(u)))


def _centres(domain: Domain) -> Floats | None:
    """Return the places of the values of *domain*, ascending, or ``None`` if they are not few."""
    # Categories have no scale to move along, so they are levels however many there are.
    most = domain.size if isinstance(domain, Categorical) else _MOST_LEVELS
    values = domain.values_within(_TAIL, most)
    if values is None:
        return None
    places = domain.encode_column(values)
    if domain.size is not None:
        return places
    places = np.unique(places)  # values at the ends of a distribution may share theirs
    return places if len(places) > 1 else None


def _as_other(domain: Domain, other: Domain, u: float) -> float:
    """Return where *other* has the value that is zipped with that of *domain* at *u*, which may be NaN."""
    return u if math.isnan(u) else other.encode(other.value_at(domain.index_of(domain.decode(u))))
