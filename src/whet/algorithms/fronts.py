"""Who is ahead of whom where there are several objectives: front after front, each spread out.

Notation:
    n, m    points and objectives, all to be minimised

Sources: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEC 6 (2002): non-dominated
sorting; Schmucker et al., Multi-objective Asynchronous Successive Halving, arXiv:2106.12639 (2021): the order within a
front by an epsilon-net.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Floats


def order(values: Floats) -> NDArray[np.intp]:
    """Return the indices of (n, m) finite *values*, the best first.

    The first front comes first. Of a front any beginning is spread over all of it.
    """
    from moocore import pareto_rank

    if not len(values):
        return np.zeros(0, dtype=np.intp)
    ranks = np.asarray(pareto_rank(values))
    fronts = [np.flatnonzero(ranks == rank) for rank in range(int(ranks.max()) + 1)]
    return np.concatenate([front[epsilon_net(values[front])] for front in fronts])


def epsilon_net(values: Floats) -> NDArray[np.intp]:
    """Return the indices of (n, m) *values*, each as far as can be from those before it.

    The first is the best by the first objective. Distances are Euclidean, each objective scaled to its range here; of
    equal ones the first counts.
    """
    width = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(width > 0.0, width, 1.0)
    chosen = [int(np.argmin(values[:, 0]))]
    nearest = np.full(len(values), np.inf)  # squared distance to what is chosen; -1 once chosen itself
    while len(chosen) < len(values):
        nearest = np.minimum(nearest, ((scaled - scaled[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen[-1]] = -1.0
        chosen.append(int(np.argmax(nearest)))
    return np.array(chosen, dtype=np.intp)
