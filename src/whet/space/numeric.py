"""Domains of numbers between two bounds: Float and Int."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whet.errors import SpaceError
from whet.space.base import Domain, in_range, settle, unit
from whet.space.conditions import When
from whet.space.plain import is_number, plain, shortened
from whet.space.scale import (
    ON_GRID,
    decimal_multiple,
    decode_cell,
    decode_cells,
    encode_cell,
    encode_cells,
    log_offset,
    log_ratio,
    log_ratios,
)

MAX_INT = 2**62
_MAX_STEPS = 2**40  # as far as encoding and decoding are exact


@dataclass(frozen=True, slots=True, eq=False)
class Float(Domain):
    """Floats from *low* to *high*, both included.

    With a *step* the values are ``low + k*step`` for k = 0, 1, … as far as *high*; *high* itself is a value only if
    it is one of these. With *log* the values are spread evenly over the logarithm.

    Raises:
        SpaceError: bounds that are no finite numbers with low < high (0 < low with *log*), or a step that does not
            fit between them.
    """

    kind: ClassVar[str] = "float"
    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: When = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check and settle the arguments."""
        low, high = finite("Float: low", self.low), finite("Float: high", self.high)
        step = None if self.step is None else finite("Float: step", self.step)
        _check_bounds("Float", low, high, self.log, step)
        if not math.isfinite(2 * low) or not math.isfinite(2 * high):  # room for sums and differences
            raise SpaceError(f"Float: {low!r} to {high!r} is at the end of what floats can hold; give narrower bounds")
        if step is not None and ((high - low) / step >= _MAX_STEPS or step < 2 * math.ulp(max(-low, high))):
            raise SpaceError(f"Float: the step {step!r} is too small for {low!r} to {high!r}; leave it out")
        settle(self, low=low, high=high, step=step)

    @property
    def size(self) -> int | None:
        """Number of values; None without a step."""
        return None if self.step is None else self._n_steps(self.step)

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is a number of the domain; an int or a numpy number counts as well."""
        value = plain(value)
        if not is_number(value):
            return False
        if self.step is None:
            return bool(self.low <= value <= self.high)
        return self._index(value, self.step) is not None

    def encode(self, value: Any) -> float:
        """Return where *value* lies in the unit interval."""
        if self.step is not None:
            return encode_cell(self.index_of(value), self._n_steps(self.step), self.low, self.step, self.log)
        if not self.contains(value):
            raise self.misfit(value)
        offset, width = float(value) - self.low, self.high - self.low
        if self.log:
            return min(log_ratio(offset, self.low) / log_ratio(width, self.low), 1.0)
        return offset / width

    def decode(self, u: float) -> float:
        """Return the value at *u*, never outside the bounds."""
        u = unit(u)
        if self.step is not None:
            return self.value_at(decode_cell(u, self._n_steps(self.step), self.low, self.step, self.log))
        if u == 1.0:
            return self.high
        width = self.high - self.low
        offset = log_offset(u * log_ratio(width, self.low), self.low) if self.log else u * width
        return min(max(self.low + offset, self.low), self.high)

    def encode_column(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return :meth:`encode` of each of the n *values*; shape (n,)."""
        if self.step is not None:
            return Domain.encode_column(self, values)
        column = number_column(self, values, {int, float})
        refuse_first(self, values, ~((self.low <= column) & (column <= self.high)))
        offsets, width = column - self.low, self.high - self.low
        if self.log:
            return np.minimum(log_ratios(offsets, self.low) / log_ratio(width, self.low), 1.0)
        return offsets / width

    def snapped(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the values at the places *u* lie themselves; shape (n,) as *u*."""
        if self.step is None:
            return np.clip(u, 0.0, 1.0)
        return _snapped(u, self._n_steps(self.step), self.low, self.step, self.log)

    def value_at(self, index: int) -> float:
        """Return ``low + index*step``, computed as decimals: 0.3, not 0.30000000000000004."""
        if self.step is None:
            raise self.not_finite()
        return min(decimal_multiple(in_range(index, self._n_steps(self.step)), self.step, self.low), self.high)

    def index_of(self, value: Any) -> int:
        """Return the k of ``low + k*step``; rounding errors of up to 1e-9 of a step are forgiven."""
        if self.step is None:
            raise self.not_finite()
        number = plain(value)
        index = self._index(number, self.step) if is_number(number) else None
        if index is None:
            raise self.misfit(value)
        return index

    def __str__(self) -> str:
        name = ("q" if self.step is not None else "") + ("loguniform" if self.log else "uniform")
        return f"{name}({self.low!r}, {self.high!r}{'' if self.step is None else f', q={self.step!r}'})"

    def _n_steps(self, step: float) -> int:
        return math.floor((self.high - self.low) / step + ON_GRID) + 1

    def _index(self, value: float, step: float) -> int | None:
        if not self.low - step <= value <= self.high + step:
            return None
        k = round((value - self.low) / step)
        return k if 0 <= k < self._n_steps(step) and abs(self.value_at(k) - value) <= ON_GRID * step else None


@dataclass(frozen=True, slots=True, eq=False)
class Int(Domain):
    """Whole numbers from *low* to *high*, both included.

    With a *step* the values are ``low + k*step`` for k = 0, 1, … as far as *high*; *high* itself is a value only if
    it is one of these. Encoding is exact for up to 2^40 values, with *log* too.

    Raises:
        SpaceError: bounds that are no whole numbers with low < high (0 < low with *log*) and at most 2^62 from 0,
            or a step that does not fit between them.
    """

    kind: ClassVar[str] = "int"
    low: int
    high: int
    log: bool = False
    step: int | None = None
    when: When = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check and settle the arguments."""
        low, high = whole("Int: low", self.low), whole("Int: high", self.high)
        step = None if self.step is None else whole("Int: step", self.step)
        _check_bounds("Int", low, high, self.log, step)
        settle(self, low=low, high=high, step=step)

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.high - self.low) // (self.step or 1) + 1

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is an int of the domain; 3.0 and True are not."""
        value = plain(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (value - self.low) % (self.step or 1) == 0

    def encode(self, value: Any) -> float:
        """Return where *value* lies in the unit interval."""
        return encode_cell(self.index_of(value), self.size, self.low, self.step or 1, self.log)

    def decode(self, u: float) -> int:
        """Return the value in whose cell *u* lies."""
        return self.low + (self.step or 1) * decode_cell(unit(u), self.size, self.low, self.step or 1, self.log)

    def encode_column(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return :meth:`encode` of each of the n *values*; shape (n,)."""
        column = number_column(self, values, {int})
        refuse_first(self, values, (column < self.low) | (column > self.high))
        # Modulo 2^64 the difference is right even where it does not fit into an int64.
        offsets = column.view(np.uint64) - np.uint64(self.low % 2**64)
        k, rest = np.divmod(offsets, np.uint64(self.step or 1))
        refuse_first(self, values, rest != 0)
        return encode_cells(k.astype(np.float64), self.size, self.low, self.step or 1, self.log)

    def snapped(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the values at the places *u* lie themselves; shape (n,) as *u*."""
        return _snapped(u, self.size, self.low, self.step or 1, self.log)

    def value_at(self, index: int) -> int:
        """Return ``low + index*step``."""
        return self.low + in_range(index, self.size) * (self.step or 1)

    def index_of(self, value: Any) -> int:
        """Return the k of ``low + k*step``."""
        if not self.contains(value):
            raise self.misfit(value)
        return (int(value) - self.low) // (self.step or 1)

    def __str__(self) -> str:
        return f"{'logint' if self.log else 'int'}({self.low}, {self.high}{f', step={self.step}' if self.step else ''})"


def finite(what: str, value: Any) -> float:
    """Return *value* as a finite float.

    Raises:
        SpaceError: it is none; *what* says where it was given.
    """
    number = plain(value)
    try:
        if is_number(number) and math.isfinite(number):
            return float(number)
    except OverflowError:
        pass
    raise SpaceError(f"{what}: expected a finite number, came {shortened(repr(value))}{_remedy(number)}")


def whole(what: str, value: Any) -> int:
    """Return *value* as an int of at most 2^62 either way; a float that is a whole number, such as 1e3, will do.

    Raises:
        SpaceError: it is none; *what* says where it was given.
    """
    number = plain(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        hint = "; use Float for fractions" if isinstance(number, float) and math.isfinite(number) else _remedy(number)
        raise SpaceError(f"{what}: expected a whole number, came {shortened(repr(value))}{hint}")
    if abs(number) > MAX_INT:
        raise SpaceError(f"{what}: expected a whole number of at most 2^62 either way; use Float for more")
    return number


def number_column(domain: Domain, values: Sequence[Any], kinds: set[type]) -> NDArray[Any]:
    """Return the n *values* as an array of ints if *kinds* has no float, else of floats; shape (n,).

    Raises:
        ConfigError: one of them is no number of these kinds, and none that the domain takes.
    """
    dtype = np.float64 if float in kinds else np.int64
    if set(map(type, values)) <= kinds:
        with contextlib.suppress(OverflowError):
            return np.array(values, dtype)
    refuse_first(domain, values, np.array([not domain.contains(value) for value in values]))
    return np.array([plain(value) for value in values], dtype)


def refuse_first(domain: Domain, values: Sequence[Any], is_bad: NDArray[np.bool_]) -> None:
    """Raise the error for the first of the *values* that *is_bad*.

    Raises:
        ConfigError: there is one.
    """
    if is_bad.any():
        raise domain.misfit(values[int(is_bad.argmax())])


def _snapped(u: NDArray[np.float64], n: int, low: float, step: float, log: bool) -> NDArray[np.float64]:
    return encode_cells(decode_cells(np.clip(u, 0.0, 1.0), n, low, step, log), n, low, step, log)


def _remedy(value: Any) -> str:
    if isinstance(value, str):
        return "; write the number without quotes"
    return "; use Categorical([False, True])" if isinstance(value, bool) else ""


def _check_bounds(kind: str, low: float, high: float, log: Any, step: float | None) -> None:
    if not isinstance(log, bool):
        raise SpaceError(f"{kind}: expected True or False for log, came {log!r}")
    if low == high:
        raise SpaceError(f"{kind}: low and high are both {low!r}; use Constant({low!r}) for a single value")
    if low > high:
        raise SpaceError(f"{kind}: expected low < high, came low={low!r} and high={high!r}; swap them")
    if log and low <= 0:
        raise SpaceError(f"{kind}: log needs low > 0, came low={low!r}; raise it or leave log out")
    if step is not None and not 0 < step <= high - low:
        raise SpaceError(f"{kind}: expected a step from 0 to {high - low!r} (high - low), came {step!r}")
