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


def subset_of_curves(x: Floats, values: Floats, most: int) -> NDArray[np.intp]:
    """Return which rows of curves to keep, ascending; at most *most*.

    All rows of the configs that came to the best values anywhere, up to half of *most*, and of the rows of the others a
    sample at equal distances in the rank of their config.

    Args:
        x: (n, d + 1) points and, in the last column, how far along its fidelity each row is.
        values: (n,) what they came to, to be minimised.
        most: see above.
    """
    if len(values) <= most:
        return np.arange(len(values))
    _, which = np.unique(np.nan_to_num(x[:, :-1], nan=-1.0), axis=0, return_inverse=True)
    which = which.reshape(-1)
    best = np.full(which.max() + 1, np.inf)
    np.minimum.at(best, which, values)
    place = np.empty(len(best), dtype=np.intp)
    place[np.argsort(best, kind="stable")] = np.arange(len(best))
    rows = np.argsort(place[which], kind="stable")  # whole configs, the best first
    ends = np.cumsum(np.bincount(place[which]))
    n_best = int(ends[ends <= most // 2].max(initial=0))
    others = n_best + np.linspace(0, len(values) - n_best - 1, most - n_best).round().astype(np.intp)
    return np.sort(rows[np.concatenate([np.arange(n_best), others])])


def subset_of_both(labels: Floats, most: int) -> NDArray[np.intp]:
    """Return which of the points with these *labels*, (n,), 1 or -1, to keep, ascending; at most *most*.

    Evenly from the first to the last, of either label by its share but no less than a quarter of *most*, if there are
    as many.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    above, below = np.flatnonzero(labels > 0), np.flatnonzero(labels <= 0)
    n_above = int(np.clip(round(most * len(above) / len(labels)), most // 4, most - most // 4))
    n_above = min(max(n_above, most - len(below)), len(above))
    return np.sort(np.concatenate([_evenly(above, n_above), _evenly(below, most - n_above)]))


def _evenly(these: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    return these[np.linspace(0, len(these) - 1, n).round().astype(np.intp)]
