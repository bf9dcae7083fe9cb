"""The unit cube in which algorithms search: what its axes are like, and which of its points are configs.

Notation:
    d    axes, n points
    x    (n, d) points: of an axis with values apart from each other the place of one, NaN where it is not active
    u    (n, d) places anywhere in [0, 1], before they are settled
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cube:
    """The axes of a search.

    Attributes:
        centres: of each axis the places of its values in ascending order, its levels; ``None`` for one that is
            continuous, or has so many values that it is searched as if it were.
        is_category: (d,) whether the values of an axis have no order.
        activate: (n, d) snapped places -> the same with NaN where an axis is not active, and (n,) whether each is a
            config that may be tried.
        snaps: of those without levels that have values apart from each other, by their numbers: (n,) places on the
            axis -> the places of the values there.
    """

    centres: tuple[Floats | None, ...]
    is_category: Bools
    activate: Callable[[Floats], tuple[Floats, Bools]]
    snaps: Mapping[int, Callable[[Floats], Floats]] = field(default_factory=dict)

    @property
    def d(self) -> int:
        """Number of axes."""
        return len(self.centres)

    @cached_property
    def n_levels(self) -> NDArray[np.int64]:
        """(d,) number of values of each axis, 0 where it is continuous."""
        return np.array([0 if c is None else len(c) for c in self.centres], dtype=np.int64)

    @cached_property
    def is_continuous(self) -> Bools:
        """(d,) whether an axis has no levels."""
        found: Bools = self.n_levels == 0
        return found

    @cached_property
    def _borders(self) -> tuple[Floats | None, ...]:
        return tuple(None if c is None else (c[1:] + c[:-1]) / 2 for c in self.centres)

    def level(self, u: Floats, axis: int) -> NDArray[np.int64]:
        """Return the number of the level of *axis* at places *u*, (n,) on that axis; NaN counts as the last."""
        borders = self._borders[axis]
        assert borders is not None, f"axis {axis} is continuous"
        return np.searchsorted(borders, u, side="right")

    def snapped(self, u: Floats) -> Floats:
        """Return *u* moved into the cube and to the nearest level, or the value there; NaN stays."""
        x = np.clip(u, 0.0, 1.0)
        for axis, centres in enumerate(self.centres):
            if centres is not None:
                column = x[:, axis]
                x[:, axis] = np.where(np.isnan(column), np.nan, centres[self.level(column, axis)])
        for axis, snap in self.snaps.items():
            is_there = ~np.isnan(x[:, axis])
            x[is_there, axis] = snap(x[is_there, axis])
        return x

    def settled(self, u: Floats) -> tuple[Floats, Bools]:
        """Return the points nearest to *u*, and whether each is a config that may be tried."""
        return self.activate(self.snapped(u))


def keys(x: Floats) -> list[bytes]:
    """Return what equal points of *x*, (n, d), have in common: their coordinates to twelve digits."""
    rounded = np.round(np.nan_to_num(x, nan=-1.0), 12) + 0.0  # + 0.0: there is only one zero
    return [row.tobytes() for row in rounded]
