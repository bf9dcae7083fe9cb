"""Which of several candidates looks best to a local quadratic model of the ranks; for evolution strategies.

Of more candidates than can be evaluated, those that a model fitted to the points nearby prefers are. It only orders
candidates, so it can be crude; and it sees ranks, so like the strategy itself it does not change when the objective
is rescaled by any increasing function.

Source: pre-selection by local meta-models: Kern, Hansen and Koumoutsakos, PPSN 2006 (lmm-CMA); the model that grows
with the data, from linear to diagonal to full quadratic, and better points that weigh more: Hansen, GECCO 2019
(lq-CMA); ranks in place of values: Loshchilov, Schoenauer and Sebag, PPSN 2010 (ACM-ES).

Notation:
    n, m    known points, candidates
    z       (n, k) coordinates in which the strategy samples a standard normal distribution
    c       (n, l) indicators of categories
    t       (n,) ranks, the best lowest
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from whet.algorithms.cube import Floats

_MOST_TERMS = 200  # of a model: its fit costs the cube of them
_PER_TERM = 3  # points nearby for each term of the largest model
_SPARE = 1.1  # points for each term, that a model be fitted at all
_RIDGE = 1e-2
_NARROWEST = 1e-12  # squared scale of a model, in units of the furthest point's
_WEIGHT_OF_BEST = 3.0  # against 1 for the worst; in between linear in the rank


def predicted(z: Floats, c: Floats, t: Floats, z_new: Floats, c_new: Floats) -> Floats | None:
    """Return (m,) scores of the candidates *z_new*, *c_new*, low where they look good; ``None``: too little is known.

    Ties in *t* count as their mean rank; the order of the points does not matter, except that of points as near as
    each other the later ones are preferred.
    """
    k, n_categories = z.shape[1], c.shape[1]
    n_terms = np.cumsum([1 + k + n_categories, k, k * (k - 1) // 2])  # linear, with squares, with products
    may_be = n_terms <= _MOST_TERMS
    degree = int((may_be & (len(z) >= _SPARE * n_terms + 1)).sum()) - 1
    if degree < 0:
        return None
    distance = (z**2).sum(axis=1)
    near = np.lexsort((-np.arange(len(z)), distance))[: _PER_TERM * int(n_terms[may_be].max())]
    # As wide as the points lie, or a model of those far closer together than the candidates would see no difference.
    furthest = float(distance[near].max())
    scale = math.sqrt(max(float(np.median(distance[near])), _NARROWEST * furthest) / k) if furthest > 0 else 1.0
    rank = _mean_ranks(t[near])
    target = np.array([NormalDist().inv_cdf((r + 0.5) / len(near)) for r in rank])
    weight = _WEIGHT_OF_BEST - (_WEIGHT_OF_BEST - 1) * rank / max(1, len(near) - 1)
    terms = _terms(z[near] / scale, c[near], degree)
    penalty = np.full(terms.shape[1], _RIDGE * len(near) / 10)
    penalty[0] = 1e-9  # the constant is free
    normal = (terms * weight[:, None]).T @ terms + np.diag(penalty)
    coefficients = np.linalg.solve(normal, terms.T @ (weight * target))
    scores: Floats = _terms(z_new / scale, c_new, degree) @ coefficients
    return scores


def _terms(z: Floats, c: Floats, degree: int) -> Floats:
    """Return the (n, n_terms) values of the model's terms at points."""
    terms = [np.ones((len(z), 1)), z, c]
    if degree >= 1:
        terms.append(z**2)
    if degree >= 2:
        i, j = np.triu_indices(z.shape[1], 1)
        terms.append(z[:, i] * z[:, j])
    return np.hstack(terms)


def _mean_ranks(t: Floats) -> Floats:
    _, which, counts = np.unique(t, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts + 1) / 2)[which]
    return ranks
