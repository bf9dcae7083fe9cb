"""Linear and logarithmic scales: from a place on a bounded axis to the unit interval and back.

Places are given as the distance *offset* from the axis' lower end *base*, never as the coordinate itself, so that
an axis that is narrow against its coordinates (1e10 to 1e10 + 1) loses no digits.

A finite axis of *n* values ``low + k*step`` is cut into cells that reach half a step to either side of a value
(on a log scale not below ``low/2``), and a value is encoded where it lies among the cells. On a linear scale that
is the centre of its cell, ``(k + 1/2) / n``.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal

import numpy as np
from numpy.typing import NDArray

# Beside the user's own decimal context, and wide enough for an index of 2^40 times a step of 17 digits.
_DECIMAL = Context(prec=60, traps=[])

ON_GRID = 1e-9  # how far from a multiple of its step, in steps, a float still counts as that multiple
TAIL = 2.0**-53  # quantiles nearer than this to 0 and 1 run off to infinity; 8.2 standard deviations of a normal


def within_tails(u: float) -> float:
    """Return the quantile *u* moved into TAIL to 1 - TAIL."""
    return min(max(u, TAIL), 1 - TAIL)


def log_ratio(offset: float, base: float) -> float:
    """Return log((base + offset) / base)."""
    return math.log1p(offset / base) if offset <= base else math.log(base + offset) - math.log(base)


def log_ratios(offsets: NDArray[np.float64], base: float) -> NDArray[np.float64]:
    """Return :func:`log_ratio` of each of the *offsets*; same shape."""
    near = np.log1p(np.minimum(offsets, base) / base)
    return np.where(offsets <= base, near, np.log(base + offsets) - math.log(base))


def log_offset(ratio: float, base: float) -> float:
    """Return the offset whose :func:`log_ratio` is *ratio*."""
    return base * math.expm1(ratio) if ratio <= 1 else math.exp(math.log(base) + ratio) - base


def _cells(n: int, low: float, step: float) -> tuple[float, float, float]:
    """Return the lower end of the first cell, how far the first value lies above it, and the log width of all."""
    lead = min(step / 2, low / 2)
    return low - lead, lead, log_ratio((n - 0.5) * step + lead, low - lead)


def encode_cell(k: int, n: int, low: float = 0, step: float = 1, log: bool = False) -> float:
    """Return where value number *k* of *n* lies in the unit interval."""
    if not log:
        return (k + 0.5) / n
    base, lead, width = _cells(n, low, step)
    return log_ratio(k * step + lead, base) / width


def encode_cells(k: NDArray[np.float64], n: int, low: float, step: float, log: bool) -> NDArray[np.float64]:
    """Return :func:`encode_cell` of each of the indices *k*; same shape."""
    if not log:
        return (k + 0.5) / n
    base, lead, width = _cells(n, low, step)
    return log_ratios(k * step + lead, base) / width


def decode_cell(u: float, n: int, low: float = 0, step: float = 1, log: bool = False) -> int:
    """Return the number of the value in whose cell *u* lies."""
    if not log:
        return min(int(u * n), n - 1)
    base, lead, width = _cells(n, low, step)
    return min(max(round((log_offset(u * width, base) - lead) / step), 0), n - 1)


def decode_cells(u: NDArray[np.float64], n: int, low: float, step: float, log: bool) -> NDArray[np.float64]:
    """Return :func:`decode_cell` of each of the places *u*; same shape."""
    if not log:
        return np.minimum(np.floor(u * n), n - 1)
    base, lead, width = _cells(n, low, step)
    ratios = u * width
    near = base * np.expm1(np.minimum(ratios, 1.0))
    offsets = np.where(ratios <= 1, near, np.exp(math.log(base) + ratios) - base)
    return np.clip(np.round((offsets - lead) / step), 0, n - 1)


def decimal_multiple(k: int, step: float, start: float = 0.0) -> float:
    """Return start + k*step as the decimals that *start* and *step* are written with give it: 3 × 0.1 is 0.3."""
    return float(_DECIMAL.fma(Decimal(k), Decimal(repr(step)), Decimal(repr(start))))
