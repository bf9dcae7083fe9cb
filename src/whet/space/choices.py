"""Domains of listed values: Categorical, Ordinal and Constant."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from whet.errors import SpaceError
from whet.space.base import Domain, in_range, settle
from whet.space.conditions import When
from whet.space.plain import own_copy, plain, shortened, value_key, value_to_json

_MAX_RANGE = 2**62 - 1  # so that the length of every range fits


@dataclass(frozen=True, slots=True, eq=False)
class Categorical(Domain):
    """One of *values*, which have no order that means anything. 1, 1.0 and True are three different values.

    Raises:
        SpaceError: no values, a value that is there twice, or something that is no sequence.
    """

    kind: ClassVar[str] = "categorical"
    values: Sequence[Any]
    when: When = field(default=None, kw_only=True)
    _numbers: Mapping[Hashable, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check and settle the arguments."""
        values = _listed("Categorical", self.values)
        settle(self, values=values, _numbers=_numbered("Categorical", values))

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is one of the values, by type and value."""
        return value_key(plain(value)) in self._numbers

    def value_at(self, index: int) -> Any:
        """Return value number *index*."""
        return own_copy(self.values[in_range(index, self.size)])

    def index_of(self, value: Any) -> int:
        """Return the number of *value*."""
        index = self._numbers.get(value_key(plain(value)))
        if index is None:
            raise self.misfit(value)
        return index

    def arguments(self) -> dict[str, Any]:
        """Return the values as JSON."""
        return {"values": [value_to_json(value) for value in self.values]}

    def __str__(self) -> str:
        return _call("choice", self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Ordinal(Domain):
    """One of *values*, in an order that means something. A Python ``range`` is kept as it is, however long.

    Raises:
        SpaceError: no values, a value that is there twice, or something that is no sequence.
    """

    kind: ClassVar[str] = "ordinal"
    values: Sequence[Any]
    when: When = field(default=None, kw_only=True)
    _numbers: Mapping[Hashable, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check and settle the arguments."""
        if isinstance(self.values, range):
            _check_range(self.values)
            settle(self, _numbers={})
        else:
            values = _listed("Ordinal", self.values)
            settle(self, values=values, _numbers=_numbered("Ordinal", values))

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is one of the values, by type and value."""
        return self._index(plain(value)) is not None

    def value_at(self, index: int) -> Any:
        """Return value number *index*."""
        return own_copy(self.values[in_range(index, self.size)])

    def index_of(self, value: Any) -> int:
        """Return the number of *value*."""
        index = self._index(plain(value))
        if index is None:
            raise self.misfit(value)
        return index

    def arguments(self) -> dict[str, Any]:
        """Return the values as JSON; a range as its three numbers."""
        if isinstance(self.values, range):
            return {"range": [self.values.start, self.values.stop, self.values.step]}
        return {"values": [value_to_json(value) for value in self.values]}

    def identity(self) -> Hashable:
        """Return the values, as a range where they are one, and the condition."""
        progression = _as_range(self.values)
        values = tuple(map(value_key, self.values)) if progression is None else progression
        return (values, self.when)

    def __str__(self) -> str:
        if isinstance(self.values, range):
            return f"range({self.values.start}, {self.values.stop}, {self.values.step})"
        return _call("ordinal", self.values)

    def _index(self, value: Any) -> int | None:
        if not isinstance(self.values, range):
            return self._numbers.get(value_key(value))
        return self.values.index(value) if type(value) is int and value in self.values else None


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Domain):
    """One value that never varies."""

    kind: ClassVar[str] = "constant"
    value: Any
    when: When = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Settle the arguments."""
        settle(self, value=own_copy(plain(self.value)))

    @property
    def size(self) -> int:
        """Return 1."""
        return 1

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is the constant, by type and value."""
        return value_key(plain(value)) == value_key(self.value)

    def value_at(self, index: int) -> Any:
        """Return the constant."""
        in_range(index, 1)
        return own_copy(self.value)

    def index_of(self, value: Any) -> int:
        """Return 0."""
        if not self.contains(value):
            raise self.misfit(value)
        return 0

    def arguments(self) -> dict[str, Any]:
        """Return the value as JSON, also where it is None or False."""
        return {"value": value_to_json(self.value)}

    def __str__(self) -> str:
        return repr(self.value)


def _listed(kind: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, np.ndarray):
        values = values.tolist() if values.ndim else [values.item()]
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not isinstance(values, Iterable):
        why = " (a set has no order)" if isinstance(values, AbstractSet) else ""
        raise SpaceError(
            f"{kind}: expected a list of values, came {shortened(repr(values))}{why}; write {kind}([…, …])"
        )
    found = tuple(own_copy(plain(value)) for value in values)
    if not found:
        raise SpaceError(f"{kind}: expected at least one value, came an empty list")
    return found


def _numbered(kind: str, values: Sequence[Any]) -> dict[Hashable, int]:
    numbers: dict[Hashable, int] = {}
    for number, value in enumerate(values):
        first = numbers.setdefault(value_key(value), number)
        if first != number:
            raise SpaceError(
                f"{kind}: the value {shortened(repr(value))} is there twice, at positions {first} and {number}; "
                "drop one of them"
            )
    return numbers


def _check_range(values: range) -> None:
    if not values:
        raise SpaceError(f"Ordinal: {values} is empty; expected a range that holds at least one value")
    if max(abs(values[0]), abs(values[-1])) > _MAX_RANGE:
        raise SpaceError(f"Ordinal: expected a range within 2^62 of 0, came {shortened(str(values))}")


def _as_range(values: Sequence[Any]) -> range | None:
    """Return *values* as a range where they are ints at equal distances, so that equal domains compare as equal."""
    if isinstance(values, range):
        return values
    if any(type(value) is not int for value in values):
        return None
    step = values[1] - values[0] if len(values) > 1 else 1
    progression = range(values[0], values[-1] + (1 if step > 0 else -1), step)
    return progression if len(values) == len(progression) and tuple(progression) == tuple(values) else None


def _call(name: str, values: Sequence[Any]) -> str:
    inner = ", ".join(map(repr, values))
    # A list in first place would itself be read as the list of values.
    return f"{name}([{inner}])" if isinstance(values[0], list | tuple) else f"{name}({inner})"
