"""A space: named domains with conditions, zips and forbidden combinations."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ConfigError, SpaceError
from whet.space.conditions import Condition, condition_from
from whet.space.domain import Domain
from whet.space.plain import shortened
from whet.space.shorthand import domain_from
from whet.space.structure import axes_of, by_dependency, checked_zips, listed, resolved

_MAX_TRIES = 10_000


class Space(Mapping[str, Domain]):
    """All configs: an ordered, immutable mapping of names to domains.

    A parameter whose domain has a condition (``when``) is in a config exactly when the condition holds there.
    Parameters that are zipped take values of the same number. A config that a *forbid* condition holds for is not
    in the space. Spaces are equal when they have the same content in the same order.

    Args:
        domains: name to domain, or to what stands for one: a list, ``(low, high)``, ``(low, high, 'log')``, a typed
            dict, a frozen scipy distribution.
        zips: groups of names of finite domains of equal size.
        forbid: conditions.

    Raises:
        SpaceError: a name, domain, condition, zip or forbid that makes no sense.
    """

    __slots__ = ("_conditions", "_domains", "_order", "axes", "forbid", "zips")

    def __init__(
        self,
        domains: Mapping[str, Any],
        *,
        zips: Sequence[Sequence[str]] = (),
        forbid: Sequence[str | Condition] = (),
    ) -> None:
        if not isinstance(domains, Mapping):
            raise SpaceError(f"expected a dict of names and domains, came {shortened(repr(domains))}")
        for name in domains:
            if not isinstance(name, str) or not name:
                raise SpaceError(f"expected names of parameters that are text, came {shortened(repr(name))}")
        names = list(domains)
        self._domains = {name: resolved(name, domain_from(name, given), names) for name, given in domains.items()}
        self._conditions = {
            name: condition_from(domain.when) for name, domain in self._domains.items() if domain.when is not None
        }
        self._order = by_dependency(names, self._conditions)
        self.zips = checked_zips(zips, self._domains)
        self.axes = axes_of(names, self.zips)
        self.forbid = tuple(condition_from(item).resolve(names) for item in listed("forbid", forbid))

    def __getitem__(self, name: str) -> Domain:
        return self._domains[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        options = (f", zips={self.zips!r}" if self.zips else "") + (
            f", forbid={list(map(str, self.forbid))!r}" if self.forbid else ""
        )
        return f"Space({self._domains!r}{options})"

    @property
    def is_conditional(self) -> bool:
        """Whether a parameter can be missing from a config."""
        return bool(self._conditions)

    @property
    def is_finite(self) -> bool:
        """Whether the configs can be enumerated."""
        return self.size is not None

    @property
    def is_encodable(self) -> bool:
        """Whether every parameter maps to the unit interval."""
        return all(domain.is_encodable for domain in self._domains.values())

    @property
    def size(self) -> int | None:
        """Number of points of the grid, forbidden and equal ones included; None where there is no end of them."""
        sizes = [self._domains[axis[0]].size for axis in self.axes]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the *values*, one for every parameter, that belong into a config.

        Raises:
            ConfigError: a condition cannot be evaluated on them, or a value that is needed is missing.
        """
        if not self._conditions and len(values) == len(self._domains):
            return {name: values[name] for name in self._domains}
        config: dict[str, Any] = {}
        for name in self._order:
            condition = self._conditions.get(name)
            if condition is None or condition.holds(config):
                if name not in values:
                    why = f" (it is there when {condition})" if condition else ""
                    raise ConfigError(f"{name} is missing; expected a value of {shortened(str(self[name]))}{why}")
                config[name] = values[name]
        return {name: config[name] for name in self._domains if name in config}

    def check(self, config: Mapping[str, Any]) -> None:
        """Do nothing where *config* is in the space.

        Raises:
            ConfigError: it is not; the message says which parameter, what was expected and what came.
        """
        if not isinstance(config, Mapping):
            raise ConfigError(f"expected a config, a dict of names and values, came {shortened(repr(config))}")
        for name in config:
            if name not in self._domains:
                close = difflib.get_close_matches(str(name), self._domains, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f" (parameters: {', '.join(self._domains)})"
                raise ConfigError(f"unexpected parameter {shortened(repr(name))}{hint}")
            if not self._domains[name].contains(config[name]):
                raise ConfigError(f"{name}: {self._domains[name].misfit(config[name])}")
        active = self.active(config)
        for name, value in config.items():
            if name not in active:
                raise ConfigError(
                    f"unexpected parameter {name!r} = {shortened(repr(value))}: it is there only when "
                    f"{self._conditions[name]}; leave it out"
                )
        self._check_zips(active)
        for condition in self.forbid:
            if condition.holds(active):
                raise ConfigError(f"forbidden: {condition}, and {shortened(repr(dict(config)))} is such a config")

    def contains(self, config: Mapping[str, Any]) -> bool:
        """Tell whether *config* is in the space."""
        try:
            self.check(config)
        except ConfigError:
            return False
        return True

    def is_forbidden(self, config: Mapping[str, Any]) -> bool:
        """Tell whether a *forbid* condition holds for *config*.

        Raises:
            ConfigError: a condition cannot be evaluated on it.
        """
        return any(condition.holds(config) for condition in self.forbid)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw a config: every parameter from its own domain, again where the result is forbidden.

        Raises:
            SpaceError: nothing but forbidden configs came up in 10,000 draws.
        """
        for _ in range(_MAX_TRIES):
            values: dict[str, Any] = {}
            for axis in self.axes:
                values |= self._along(axis, axis[0], self[axis[0]].sample(rng))
            config = self.active(values)
            if not self.is_forbidden(config):
                return config
        raise SpaceError(
            f"{_MAX_TRIES:,} random configs in a row were forbidden ({'; '.join(map(str, self.forbid))}); "
            "loosen what is forbidden, or make the bounds tighter"
        )

    def encode(self, config: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return where *config* lies in the unit cube; shape (d,), NaN for parameters that it does not have.

        Raises:
            ConfigError: a value is not in its domain.
            SpaceError: a domain cannot be encoded.
        """
        row: NDArray[np.float64] = self.encode_many([config])[0]
        return row

    def encode_many(self, configs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """Return :meth:`encode` of each of the n *configs*; shape (n, d)."""
        encoded = np.full((len(configs), len(self._domains)), np.nan)
        for column, (name, domain) in enumerate(self._domains.items()):
            rows = [row for row, config in enumerate(configs) if name in config]
            try:
                encoded[rows, column] = domain.encode_column([configs[row][name] for row in rows])
            except (ConfigError, SpaceError) as error:
                raise type(error)(f"{name}: {error}") from None
        return encoded

    def decode(self, u: NDArray[np.float64]) -> dict[str, Any]:
        """Return the config at *u*, shape (d,) in the unit cube, forbidden or not.

        Parameters that are not active there are left out; zipped ones follow the first that is not NaN.

        Raises:
            ConfigError: the shape is wrong, or NaN stands for a parameter that is active.
            SpaceError: a domain cannot be decoded.
        """
        if np.shape(u) != (len(self),):
            raise ConfigError(f"expected {len(self)} numbers to decode, came an array of shape {np.shape(u)}")
        place = dict(zip(self._domains, np.asarray(u, dtype=float).tolist(), strict=True))
        values: dict[str, Any] = {}
        for axis in self.axes:
            leader = next((name for name in axis if not math.isnan(place[name])), None)
            if leader is not None:
                values |= self._along(axis, leader, self[leader].decode(place[leader]))
        return self.active(values)

    def difference(self, other: Space) -> list[str]:
        """Return what *other* has otherwise than this space, a line each; empty where they are equal."""
        lines = [f"{name}: {_shown(domain)} was removed" for name, domain in self.items() if name not in other]
        for name, domain in other.items():
            if name not in self:
                lines.append(f"{name}: {_shown(domain)} is new")
            elif domain != self[name]:
                lines.append(f"{name}: was {_shown(self[name])}, is {_shown(domain)}")
        common = [name for name in self if name in other]
        if common != [name for name in other if name in self]:
            lines.append(f"order: was {', '.join(self)}, is {', '.join(other)}")
        for what, was, now in (
            ("zip", {", ".join(group) for group in self.zips}, {", ".join(group) for group in other.zips}),
            ("forbid", set(map(str, self.forbid)), set(map(str, other.forbid))),
        ):
            lines += [f"{what}: {text} was removed" for text in sorted(was - now)]
            lines += [f"{what}: {text} is new" for text in sorted(now - was)]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads; a list of pairs keeps the order in any store.

        Raises:
            SpaceError: a value cannot be stored as JSON.
        """
        domains = []
        for name, domain in self.items():
            try:
                domains.append([name, domain.to_json()])
            except SpaceError as error:
                raise SpaceError(f"{name}: {error}") from None
        return {"domains": domains, "zips": [list(group) for group in self.zips], "forbid": list(map(str, self.forbid))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        """Rebuild a space from what :meth:`to_json` gave.

        Raises:
            SpaceError: it is something else.
        """
        try:
            domains, zips, forbid = dict(data["domains"]), data["zips"], data["forbid"]
        except (KeyError, TypeError, ValueError):
            raise SpaceError(
                f"expected a space as Space.to_json gives it, with domains, zips and forbid, "
                f"came {shortened(repr(data))}"
            ) from None
        return cls(domains, zips=zips, forbid=forbid)

    def _content(self) -> tuple[Any, ...]:
        return (tuple(self.items()), frozenset(self.zips), frozenset(self.forbid))

    def _along(self, axis: tuple[str, ...], leader: str, value: Any) -> dict[str, Any]:
        """Return the values of all names of *axis* where the *leader* has this one."""
        if len(axis) == 1:
            return {leader: value}
        index = self[leader].index_of(value)
        return {name: self[name].value_at(index) for name in axis}

    def _check_zips(self, config: Mapping[str, Any]) -> None:
        for group in self.zips:
            numbers = {name: self[name].index_of(config[name]) for name in group if name in config}
            if len(set(numbers.values())) > 1:
                pairs = ", ".join(f"{name} = {shortened(repr(config[name]))}" for name in numbers)
                raise ConfigError(f"{', '.join(numbers)} are zipped: expected values of the same place, came {pairs}")


def _shown(domain: Domain) -> str:
    return shortened(str(domain)) + (f" when {domain.when}" if domain.when is not None else "")
