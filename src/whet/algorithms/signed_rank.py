"""The Wilcoxon signed-rank test: are paired differences larger than nothing more often, and by more, than by chance?

Notation:
    d       (n,) differences between pairs
    T       the sum of the ranks of |d| over d > 0
    p       the chance of a T as large or larger, if each sign were a coin's

Sources: Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1 (1945). Differences of 0 as in
Pratt, Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures, JASA 54 (1959): ranked, and left out then.
"""

from __future__ import annotations

import math

import numpy as np

from whet.algorithms.cube import Floats

_N_EXACT = 50  # pairs up to which every combination of signs is counted


def p_larger(d: Floats) -> float:
    """Return p for differences *d*, (n,), none of which is NaN; 1 where all are 0 or there are none."""
    ranks = midranks(np.abs(d))[d != 0]
    if not len(ranks):
        return 1.0
    observed = ranks[d[d != 0] > 0].sum()
    if len(ranks) > _N_EXACT:
        spread = math.sqrt(float((ranks**2).sum()) / 4)
        return 0.5 * math.erfc((observed - ranks.sum() / 2 - 0.25) / spread / math.sqrt(2))
    # Midranks are halves: twice the ranks are whole numbers.
    twice = np.rint(2 * ranks).astype(int)
    shares = np.zeros(twice.sum() + 1)  # of all combinations of signs, those with each 2 T
    shares[0] = 1.0
    for rank in twice:
        shares[rank:] = (shares[rank:] + shares[:-rank]) / 2
        shares[:rank] /= 2
    return float(shares[round(2 * observed) :].sum())


def midranks(sizes: Floats) -> Floats:
    """Return the ranks of *sizes*, (n,), from 1 on; equal ones share the mean of theirs."""
    _, which, n_equal = np.unique(sizes, return_inverse=True, return_counts=True)
    last = n_equal.cumsum()
    middle: Floats = (last - (n_equal - 1) / 2)[which]
    return middle
