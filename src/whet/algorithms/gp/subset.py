"""Which of many points a Gaussian process is fitted to, so that its cost stays flat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Floats


def subset(values: Floats, most: int) -> NDArray[np.intp]:
    """Return which of the points with these *values*, (n,), to be minimised, to keep, ascending; at most *most*.

    The best half of them, for it is around them that the model has to be right, and a sample of the others at equal
    distances in rank, so that what is bad is known everywhere.
    """
    if len(values) <= most:
        return np.arange(len(values))
    order = np.argsort(values, kind="stable")
    n_best = most // 2
    others = n_best + np.linspace(0, len(values) - n_best - 1, most - n_best).round().astype(np.intp)
    return np.sort(order[np.concatenate([np.arange(n_best), others])])
