"""From trials to the two densities of the tree-structured Parzen estimator, and to the point to try next.

Sources and notation: see `whet.algorithms.parzen`. Only the order of the trials counts, never their values. What a
suggestion costs does not depend on how many there are: the good ones are at most 25, and of the others those that are
nearly good stand for themselves, while a sample of the rest, even over their ranks, stands for all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.parzen import Indices, Mixture, draw, log_density

MayBeTried = Callable[[Floats], Bools]  # of (m, d) points, which are new

_FEWEST_GOOD, _MOST_GOOD = 2, 25
_MOST_BAD = 128  # kernels of g, those of pending trials apart
_MOST_PENDING = 64
_LEAST_WIDTH = 0.03  # of a kernel on an ordered axis, as in Watanabe's clipping; in levels half of one
_LEAST_LEVELS = 0.5
_OTHER_CATEGORY = 0.25  # the most that a kernel gives to all other values of a category together
_N_PRIOR = 4.0  # observations that the spread of the uniform distribution counts as, in the width of kernels


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """What is known.

    Attributes:
        x: (n, d) points that were tried.
        ranked: which of them have a value, the best first; at least one.
        failed: which of them have none.
        pending: (p, d) points that are being tried.
    """

    x: Floats
    ranked: Indices
    failed: Indices
    pending: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The densities ``l`` of good trials, ``g`` of the others that have a value, ``f`` of those that failed.

    The numbers say how many trials each stands for; ``f`` is there if any failed.
    """

    l: Mixture  # noqa: E741  # as in the paper
    g: Mixture
    f: Mixture | None
    n_good: int
    n_bad: int
    n_failed: int


def fit(cube: Cube, trials: Trials, gamma: float) -> Fit:
    """Return the densities of the best share *gamma* of trials and of the others (Bergstra et al., eq. 2).

    A good trial counts the more, the better its rank: w_i ~ log(k + 1/2) - log(i). Pending trials are among the
    others, each as heavy as a good one is in l, so that trials side by side spread.
    """
    n, n_failed = len(trials.ranked), len(trials.failed)
    n_good = max(1, min(max(_FEWEST_GOOD, int(np.ceil(gamma * n))), _MOST_GOOD, n - 1))
    good, bad = trials.ranked[:n_good], trials.ranked[n_good:]
    kept, w = thinned(len(bad), _MOST_BAD)
    pending = trials.pending[thinned(len(trials.pending), _MOST_PENDING)[0]]
    w_pending = np.full(len(pending), max(1.0, len(bad) / n_good))
    w_good = np.log(n_good + 0.5) - np.log(np.arange(1, n_good + 1))
    l_of_x = mixture_of(cube, trials.x[good], w_good / w_good.mean())
    g_of_x = mixture_of(cube, np.vstack([trials.x[bad[kept]], pending]), np.concatenate([w, w_pending]))
    kept, w = thinned(n_failed, _MOST_BAD)
    f_of_x = mixture_of(cube, trials.x[trials.failed[kept]], w) if n_failed else None
    return Fit(l_of_x, g_of_x, f_of_x, n_good, len(bad), n_failed)


def thinned(n: int, most: int) -> tuple[Indices, Floats]:
    """Return which of *n* things to keep, at most *most*, and for how many each stands.

    The first half of *most* stand for themselves, the others are spread evenly over the rest.
    """
    if n <= most:
        return np.arange(n), np.ones(n)
    near = most // 2
    far = most - near
    spread = near + (2 * np.arange(far) + 1) * (n - near) // (2 * far)
    return np.concatenate([np.arange(near), spread]), np.repeat([1.0, (n - near) / far], [near, far])


def mixture_of(cube: Cube, mu: Floats, w: Floats) -> Mixture:
    """Return the density with kernels on the points *mu*, (k, d), that stand for *w* trials each, (k,), and the prior.

    The prior is as heavy as one trial.
    """
    b = widths(cube, mu, w)
    w = np.append(w, 1.0)
    return Mixture(cube, np.vstack([mu, np.full((1, cube.d), np.nan)]), w / w.sum(), b)


def widths(cube: Cube, mu: Floats, w: Floats) -> Floats:
    """Return the (d,) widths of kernels on *mu*, (k, d), that stand for *w* trials each, (k,).

    On an ordered axis Scott's rule on the spread of the kernels that have it, to which the uniform distribution adds
    four more: b = sd k^(-1 / (d + 4)), not below a least width; here d counts the axes that a trial has on average.

    On a category with c values Laplace's rule, one trial of each value beside the n that have the axis: the chance of
    all other values together is b = (c - 1) / (n + c), not above a most. So it vanishes in g, of many trials, long
    before it does in l, of a few: a value that was hardly tried becomes attractive, however good others are. Were the
    chance the same in both, l / g would be near 1 at all such values, for ever, and they would not be tried again.
    """
    is_active = ~np.isnan(mu)
    k = is_active.sum(axis=0)
    at = np.where(is_active, mu, 0.0)
    off = np.where(is_active, at - at.sum(axis=0) / np.maximum(k, 1), 0.0)
    variance = ((off**2).sum(axis=0) + _N_PRIOR / 12) / (k + _N_PRIOR)
    d_active = max(1.0, is_active.sum() / max(len(mu), 1))
    b = np.sqrt(variance) * np.maximum(k, 1) ** (-1 / (d_active + 4))
    b = np.maximum(b, _LEAST_WIDTH)
    n_levels = np.maximum(cube.n_levels, 1)
    b = np.where(cube.is_continuous, b, np.maximum(b, _LEAST_LEVELS / n_levels))
    b_category = np.minimum(_OTHER_CATEGORY, (n_levels - 1) / (w @ is_active + n_levels))
    return np.where(cube.is_category, b_category, b)


def scores(found: Fit, x: Floats) -> Floats:
    """Return (m,) log l(x) / g(x) (Bergstra et al., eq. 3), plus the log of the chance that x does not fail.

    Failed trials are among those that are not good, so g is the mean (n_g g + n_f f) / (n_g + n_f); and the chance is
    the share at x of the trials that have a value, (n_l l + n_g g) / (n_l l + n_g g + n_f f).
    """
    log_l, log_g = log_density(found.l, x), log_density(found.g, x)
    if found.f is None:
        return log_l - log_g
    good, bad = np.log(found.n_good) + log_l, np.log(max(found.n_bad, 1)) + log_g
    failed = np.log(found.n_failed) + log_density(found.f, x)
    others = np.logaddexp(bad, failed) - np.log(max(found.n_bad, 1) + found.n_failed)
    found_scores: Floats = log_l - others - np.logaddexp(0.0, failed - np.logaddexp(good, bad))
    return found_scores


def candidates(found: Fit, m: int, may_be_tried: MayBeTried, rng: np.random.Generator) -> Floats:
    """Return settled points, (m, d) or fewer, drawn from l; from the whole cube where all of those are refused."""
    cube = found.l.cube
    for u in (draw(found.l, m, rng), rng.random((m, cube.d))):
        x, is_allowed = cube.settled(u)
        kept = x[is_allowed & may_be_tried(x)]
        if len(kept):
            return kept
    return x
