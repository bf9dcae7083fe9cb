"""What every domain can do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whet.errors import ConfigError, SpaceError
from whet.space.conditions import When, condition_from
from whet.space.plain import shortened, value_key
from whet.space.scale import decode_cell, encode_cell


class Domain(ABC):
    """One parameter's possible values, with a map to and from the unit interval.

    Domains are frozen; two are equal when they hold the same values (by type and value) under the same condition.
    ``when`` is the condition under which the parameter is there at all: a value, a list of values or an expression,
    see :func:`whet.space.conditions.condition_from`.
    """

    __slots__ = ()
    kind: ClassVar[str]
    when: When

    @property
    def size(self) -> int | None:
        """Number of values; None where they are not finitely many."""
        return None

    @property
    def is_discrete(self) -> bool:
        """Whether the values lie apart from each other, be they finitely many or not."""
        return self.size is not None

    @property
    def is_encodable(self) -> bool:
        """Whether the values map to the unit interval; without that, random search is all there is."""
        return True

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Tell whether *value* is one of the domain's; among choices 1, 1.0 and True are three values."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the form that the command line reads, without the condition."""

    def encode(self, value: Any) -> float:
        """Return where *value* lies in the unit interval: for listed values, the centre of one of equal cells.

        Raises:
            ConfigError: the value is not in the domain.
            SpaceError: the domain cannot be encoded.
        """
        index = self.index_of(value)
        assert self.size is not None, "what has indices has a size"
        return encode_cell(index, self.size)

    def decode(self, u: float) -> Any:
        """Return the value at *u*; what lies outside [0, 1] is moved to its nearer end.

        Raises:
            ConfigError: *u* is NaN.
            SpaceError: the domain cannot be encoded.
        """
        if self.size is None:
            raise self.not_finite()
        return self.value_at(decode_cell(unit(u), self.size))

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value."""
        return self.decode(rng.random())

    def encode_column(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return :meth:`encode` of each of the n *values*; shape (n,)."""
        return np.fromiter(map(self.encode, values), dtype=np.float64, count=len(values))

    def snapped(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the values at the places *u* lie themselves, their :meth:`encode`; shape (n,) as *u*."""
        return self.encode_column([self.decode(place) for place in u.tolist()])

    def values_within(self, tail: float, most: int) -> Sequence[Any] | None:
        """Return the values in the order of their places, or ``None`` if they are no list or more than *most*.

        Where there is no end of them, those between the quantiles *tail* and 1 - *tail* count.
        """
        del tail
        if self.size is None or self.size > most:
            return None
        return [self.value_at(index) for index in range(self.size)]

    def value_at(self, index: int) -> Any:
        """Return value number *index* of a finite domain, from 0.

        Raises:
            SpaceError: the domain is not finite.
            IndexError: there is no such value.
        """
        raise self.not_finite()

    def index_of(self, value: Any) -> int:
        """Return the number of *value* in a finite domain, from 0.

        Raises:
            SpaceError: the domain is not finite.
            ConfigError: the value is not in the domain.
        """
        raise self.not_finite()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values, without the condition and without what is unset."""
        given = {name: getattr(self, name) for name in self._arguments() if name != "when"}
        return {name: value for name, value in given.items() if value is not None and value is not False}

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`whet.space.domain.domain_from_json` reads.

        Raises:
            SpaceError: a value cannot be stored as JSON.
        """
        when = {} if self.when is None else {"when": str(self.when)}
        return {"type": self.kind, **self.arguments(), **when}

    def identity(self) -> Hashable:
        """Return what equal domains have in common."""
        return tuple(value_key(getattr(self, name)) for name in self._arguments())

    def misfit(self, value: Any) -> ConfigError:
        """Return the error for a *value* that is not in the domain."""
        return ConfigError(f"expected a value of {shortened(str(self))}, came {shortened(repr(value))}")

    def not_finite(self) -> SpaceError:
        """Return the error for asking a domain that is not finite for its values one by one."""
        return SpaceError(f"{self} has no finite list of values; use Categorical or Ordinal, or Float with a step")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Domain):
            return NotImplemented
        return self.identity() == other.identity()

    def __hash__(self) -> int:
        return hash((self.kind, self.identity()))

    def _arguments(self) -> list[str]:
        return [f.name for f in fields(self) if f.init]  # type: ignore[arg-type]


def settle(domain: Domain, **values: Any) -> None:
    """Set checked attributes of a frozen *domain* while it is made, and turn its ``when`` into a condition."""
    values["when"] = None if domain.when is None else condition_from(domain.when)
    for name, value in values.items():
        object.__setattr__(domain, name, value)


def unit(u: float) -> float:
    """Return *u* moved into [0, 1].

    Raises:
        ConfigError: *u* is NaN.
    """
    if math.isnan(u):
        raise ConfigError("expected a number from 0 to 1 to decode, came NaN (which marks an inactive parameter)")
    return min(max(float(u), 0.0), 1.0)


def in_range(index: int, size: int) -> int:
    """Return *index* when it counts one of *size* things.

    Raises:
        IndexError: it does not.
    """
    if not 0 <= index < size:
        raise IndexError(f"expected an index from 0 to {size - 1}, came {index}")
    return index
