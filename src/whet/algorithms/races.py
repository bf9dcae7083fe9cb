"""Races: which of several rows will have the best mean once all splits are done, judged by the splits done so far.

Rows are compared split by split, as some splits are harder than others for all: what counts is how far a row is from
what is usual on a split. How much that varies is known badly from two or three splits of one row; the other rows say
what is likely, and each variance is moved towards that.

Notation:
    m, n, K    rows, splits done, and splits there are
    y          (m, n) scores, the larger the better
    e          (m, n) what is left of y without the mean of the row and what is usual on the split
    s2         (m,) variances of e, each with g = n - 1 degrees of freedom
    d0, s02    the prior of these variances: its degrees of freedom and its place
    M          (m,) mean of a row over all K splits; known of it is the mean over n of them
    p          (m,) chance that a row has the largest M

After n of K splits M is about the mean so far, with variance v (K - n) / (n K) where one split has variance v; it
vanishes as n nears K, for the splits are all there are.

Sources: Maron & Moore, Hoeffding Races, NIPS 6 (1994): stop what is unlikely to be the best; Birattari et al., A Racing
Algorithm for Configuring Metaheuristics, GECCO 2002: pairs, as here by split; Smyth, Linear Models and Empirical Bayes
Methods for Assessing Differential Expression in Microarray Experiments, SAGMB 3 (2004), section 6.2: the prior of the
variances, by moments of their logarithms.
"""

from __future__ import annotations

import math

import numpy as np

from whet.algorithms.cube import Bools, Floats

ERROR = 0.07
"""The winner is stopped after n splits with a chance of at most ERROR / n, as far as `chances` are right.

Over all splits that is 0.13 for K = 10. Chosen on the scores of 59 pairs of data and estimator, 60 candidates on 10
splits: the least with which racing takes less than 0.4 of the fits. There it takes 0.395 of them; in 86 of 100 races
the winner is that of the full search, in 95 it is, or is within 0.1 standard errors of its score.
"""

_N_GRID = 400  # places at which the chances are summed up
_REACH = 6.0  # how far they go: sinh(6), or 200 standard deviations
_FEWEST = 3  # variances that say what is likely of others
_MOST_DF = 1e4  # beyond that Student's distribution is the normal one


def unlikely(p: Floats, n: int) -> Bools:
    """Return which rows stop after *n* splits: as many of the least likely as `ERROR` allows, never the likeliest.

    Of rows that are as likely the later ones stop first: where means are equal, the earlier row wins.
    """
    order = np.lexsort((-np.arange(len(p)), p))
    stops = np.zeros(len(p), bool)
    stops[order[np.cumsum(p[order]) <= ERROR / n]] = True
    stops[np.argmax(p)] = False
    return stops


def chances(y: Floats, n_splits: int, contenders: Bools | None = None) -> Floats:
    """Return p, (m,), for finite scores *y*, (m, n), on n >= 2 of K = *n_splits* splits.

    Rows that are no *contenders*, (m,), only say how scores vary; their p is 0.
    """
    (m, n), K = y.shape, n_splits  # noqa: N806 - as above
    assert 2 <= n <= K
    within = np.ones(m, bool) if contenders is None else contenders
    p = np.zeros(m)
    size = np.abs(y).max()
    y = y / size if size > 0 else y  # squares neither overflow nor vanish
    v, df = _variances(y)
    p[within] = _p_largest(y[within].mean(axis=1), np.sqrt(v[within] * (K - n) / (n * K)), df)
    return p


def moderated(s2: Floats, g: int, floor: float, weak: float) -> tuple[Floats, float]:
    """Return the variances *s2* moved towards what is likely of them, and their degrees of freedom.

    Args:
        s2: variances.
        g: the degrees of freedom of each.
        floor: what is smaller is rounding; such variances do not say what is likely, and none becomes smaller.
        weak: where fewer than three say it: the likely variance, which then counts as one degree of freedom.
    """
    from scipy.special import digamma, polygamma

    known = s2[s2 > floor]
    if len(known) < _FEWEST:
        d0, s02 = 1.0, max(weak, floor)
    else:
        e = np.log(known) - digamma(g / 2) + math.log(g / 2)
        excess = float(e.var(ddof=1) - polygamma(1, g / 2))  # of the logarithms, beyond that of the estimates
        d0 = min(2 * _inverse_trigamma(excess), _MOST_DF) if excess > 0 else _MOST_DF
        s02 = math.exp(e.mean() + digamma(d0 / 2) - math.log(d0 / 2))  # equation 10 of Smyth
    return np.maximum((d0 * s02 + g * s2) / (d0 + g), floor), min(d0 + g, _MOST_DF)


def _variances(y: Floats) -> tuple[Floats, float]:
    """Return of each row the variance of a split, and their degrees of freedom."""
    m, n = y.shape
    of_splits = float(np.median(y.var(axis=1, ddof=1)))
    floor = max(1e-6 * of_splits, 1e-24)
    # What is usual is said by the better half: what does badly is often not hindered by what hinders others.
    better = np.argsort(-y.mean(axis=1), kind="stable")[: max(2, math.ceil(m / 2))]
    e = y - y.mean(axis=1, keepdims=True)
    e = e - np.median(e[better], axis=0)
    s2 = (e**2).sum(axis=1) / (n - 1) * (m / max(1, m - 1))  # part of e went into what is usual
    return moderated(s2, n - 1, floor, of_splits)


def _p_largest(mean: Floats, sd: Floats, df: float) -> Floats:
    """Return of independent variables, Student's with *df* around *mean*, the chance of each to be the largest."""
    from scipy.special import stdtr

    if not sd.all():  # all is known
        largest: Floats = np.eye(len(mean))[np.argmax(mean)]
        return largest
    middle = math.exp(np.log(sd).mean())
    x = mean.max() + middle * np.sinh(np.linspace(-_REACH, _REACH, _N_GRID))
    below = np.maximum(stdtr(df, (x - mean[:, None]) / sd[:, None]), 1e-300)  # P(row < x), (m, grid)
    logs = np.log(below)
    others = np.exp(logs.sum(axis=0) - logs)  # P(all others < x)
    others = np.pad(others, ((0, 0), (1, 1)), constant_values=((0, 0), (0.0, 1.0)))
    steps = np.diff(below, axis=1, prepend=0.0, append=1.0)
    p = (steps * (others[:, 1:] + others[:, :-1]) / 2).sum(axis=1)
    shares: Floats = p / p.sum()
    return shares


def _inverse_trigamma(value: float) -> float:
    """Return where the trigamma function has *value* > 0, by Newton's method (Smyth, appendix)."""
    from scipy.special import polygamma

    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if abs(step) < 1e-8 * y:
            break
    return y
