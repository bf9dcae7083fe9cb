"""Values as a Gaussian process likes them: around 0, of spread 1, and nearly normal.

Source: Yeo & Johnson, A new family of power transformations to improve normality or symmetry, Biometrika 87 (2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whet.algorithms.cube import Floats

_POWERS = np.linspace(-3.0, 5.0, 33)
_FARTHEST = 1e6  # spreads from the median: what lies beyond counts as there, so nothing overflows
_LARGEST = np.finfo(float).max


@dataclass(frozen=True, slots=True)
class Output:
    """An increasing map from values to what the process models; made by :func:`fitted`.

    Attributes:
        centre, spread: of the values, divided by 2^exponent.
        power: lambda of the transformation.
        mean, std: of the transformed values.
        exponent: what brings the values into the range where arithmetic neither overflows nor loses digits.
    """

    centre: float
    spread: float
    power: float
    mean: float
    std: float
    exponent: int = 0

    def __call__(self, values: Floats) -> Floats:
        """Return the transformed *values*, any shape."""
        with np.errstate(over="ignore"):
            scaled = np.ldexp(values, -self.exponent)
        return (yeo_johnson(_bounded(scaled - self.centre, self.spread), self.power) - self.mean) / self.std

    def inverse(self, y: Floats) -> Floats:
        """Return the values whose transformed ones are *y*; what no value leads to counts as the nearest that does."""
        values = self.centre + self.spread * _inverse_yeo_johnson(y * self.std + self.mean, self.power)
        with np.errstate(over="ignore"):
            return np.clip(np.ldexp(values, self.exponent), -_LARGEST, _LARGEST)


def standardised(values: Floats) -> Output:
    """Return the map that moves *values*, (n,) and of moderate size, to mean 0 and standard deviation 1."""
    return Output(float(values.mean()), float(values.std()) or 1.0, 1.0, 0.0, 1.0)


def fitted(values: Floats) -> Output:
    """Return the map that makes *values*, (n,) and finite, most like a normal sample (Yeo & Johnson, eq. 3.1)."""
    exponent = int(np.frexp(np.abs(values).max())[1])
    scaled = np.ldexp(values, -exponent)
    low, centre, high = np.percentile(scaled, [25, 50, 75]).tolist()
    if scaled.min() == scaled.max():
        return Output(centre, 1.0, 1.0, 0.0, 1.0, exponent)
    spread = (high - low) / 1.35 or float(scaled.std())
    v = _bounded(scaled - centre, spread)
    slope = (np.sign(v) * np.log1p(np.abs(v))).sum()
    best, found = -np.inf, Output(centre, spread, 1.0, float(v.mean()), float(v.std()), exponent)
    for power in _POWERS:
        t = yeo_johnson(v, power)
        std = t.std()
        if not std > 0:
            continue
        score = -len(v) * np.log(std) + (power - 1) * slope
        if score > best:
            best, found = score, Output(centre, spread, float(power), float(t.mean()), float(std), exponent)
    return found


def _bounded(values: Floats, spread: float) -> Floats:
    with np.errstate(over="ignore"):
        return np.clip(values / spread, -_FARTHEST, _FARTHEST)


def yeo_johnson(v: Floats, power: float) -> Floats:
    """Return the transformed *v*, any shape (eq. 2.1)."""
    above, below = np.log1p(np.maximum(v, 0)), np.log1p(np.maximum(-v, 0))
    up = above if power == 0 else np.expm1(power * above) / power
    down = below if power == 2 else np.expm1((2 - power) * below) / (2 - power)
    return np.where(v >= 0, up, -down)


def _inverse_yeo_johnson(t: Floats, power: float) -> Floats:
    farthest = np.array([-_FARTHEST, _FARTHEST])
    lowest, highest = yeo_johnson(farthest, power)
    t = np.clip(t, lowest, highest)
    above, below = np.maximum(t, 0), np.maximum(-t, 0)
    return np.clip(np.where(t >= 0, _unbent(above, power), -_unbent(below, 2 - power)), -_FARTHEST, _FARTHEST)


def _unbent(t: Floats, power: float) -> Floats:
    if power == 0:
        return np.expm1(t)
    with np.errstate(divide="ignore"):  # where a negative power ends
        return np.expm1(np.log1p(np.maximum(power * t, -1.0)) / power)
