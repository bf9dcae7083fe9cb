"""The normal domain, and through a logarithm the lognormal one."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whet.errors import SpaceError
from whet.space.base import Domain, settle, unit
from whet.space.conditions import When
from whet.space.numeric import finite, number_column, refuse_first
from whet.space.plain import is_number, plain
from whet.space.scale import ON_GRID, TAIL, decimal_multiple, within_tails

_STANDARD = NormalDist()
_LONGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True, eq=False)
class Normal(Domain):
    """Normally distributed floats; every finite float belongs to the domain.

    With *log* the logarithm is what is normally distributed, and the values are positive (numpy's ``lognormal``).
    With a *step* values are rounded to a multiple of it. Decoding reaches 8.2 standard deviations to either side.

    Raises:
        SpaceError: parameters that are no finite numbers, a spread or step that is not positive, or values that
            leave the range of floats.
    """

    kind: ClassVar[str] = "normal"
    mean: float
    std: float
    log: bool = False
    step: float | None = None
    when: When = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check and settle the arguments."""
        mean, std = finite("Normal: mean", self.mean), finite("Normal: std", self.std)
        step = None if self.step is None else finite("Normal: step", self.step)
        if not isinstance(self.log, bool):
            raise SpaceError(f"Normal: expected True or False for log, came {self.log!r}")
        if std <= 0:
            raise SpaceError(f"Normal: expected a std above 0, came {std!r}; use Constant for a single value")
        if step is not None and step <= 0:
            raise SpaceError(f"Normal: expected a step above 0, came {step!r}")
        reach = abs(mean) + 9 * std
        if reach > (_LONGEST_EXPONENT if self.log else sys.float_info.max / 4):
            hint = " (mean and std are of the logarithm)" if self.log else ""
            raise SpaceError(f"Normal: mean={mean!r} and std={std!r} leave the range of floats{hint}")
        highest = math.exp(reach) if self.log else reach
        if step is not None and not math.isfinite(highest / step):
            raise SpaceError(f"Normal: the step {step!r} is too small for values up to {highest!r}; leave it out")
        settle(self, mean=mean, std=std, step=step)

    @property
    def is_discrete(self) -> bool:
        """Whether there is a step."""
        return self.step is not None

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is a finite number, positive with *log*, and a multiple of the *step*."""
        value = plain(value)
        if not is_number(value) or not abs(value) <= sys.float_info.max:
            return False
        if self.step is None:
            return value > 0 or not self.log
        steps = value / self.step
        if not math.isfinite(steps) or (self.log and value < 0):
            return False
        off = abs(decimal_multiple(round(steps), self.step) - value)
        return bool(off <= max(ON_GRID * self.step, math.ulp(value)))

    def encode(self, value: Any) -> float:
        """Return the value's quantile, from 2^-53 to 1 - 2^-53."""
        if not self.contains(value):
            raise self.misfit(value)
        x = float(value)
        if self.step is not None:  # values that no quantile is rounded to count as the nearest that one is
            x = min(max(x, self.decode(0.0)), self.decode(1.0))
        if self.log:
            if x == 0:
                return TAIL
            x = math.log(x)
        return within_tails(0.5 * math.erfc((self.mean - x) / self.std / math.sqrt(2)))

    def decode(self, u: float) -> float:
        """Return the value at the quantile *u*, moved into 2^-53 to 1 - 2^-53."""
        x = self.mean + self.std * _STANDARD.inv_cdf(within_tails(unit(u)))
        if self.log:
            x = math.exp(x)
        return x if self.step is None else decimal_multiple(round(x / self.step), self.step)

    def encode_column(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return :meth:`encode` of each of the n *values*; shape (n,)."""
        if self.step is not None:
            return Domain.encode_column(self, values)
        column = number_column(self, values, {int, float})
        refuse_first(self, values, ~(np.isfinite(column) & ((column > 0) | (not self.log))))
        z = (self.mean - (np.log(column) if self.log else column)) / self.std / math.sqrt(2)
        tails = np.fromiter(map(math.erfc, z.tolist()), dtype=np.float64, count=len(values))
        return np.clip(0.5 * tails, TAIL, 1 - TAIL)

    def values_within(self, tail: float, most: int) -> Sequence[float] | None:
        """Return the multiples of the *step* between the quantiles, ``None`` without one or if there are too many."""
        if self.step is None:
            return None
        first, last = (round(self.decode(u) / self.step) for u in (tail, 1 - tail))
        return None if last - first >= most else [decimal_multiple(k, self.step) for k in range(first, last + 1)]

    def __str__(self) -> str:
        name = ("q" if self.step is not None else "") + ("lognormal" if self.log else "normal")
        return f"{name}({self.mean!r}, {self.std!r}{'' if self.step is None else f', q={self.step!r}'})"
