"""How promising points are, from what is believed of them: larger is better, values are to be minimised.

Notation:
    s, m        sets of hyperparameters, points
    mean, var   (s, m) what each set believes
    best        (s, 1) the best value so far

Sources: Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization, NeurIPS 2023 (logEI);
Jones, Schonlau & Welch, J. Global Optimization 13 (1998), eq. 15 (EI); Kushner, J. Basic Engineering 86 (1964) (PI);
Srinivas et al., ICML 2010, eq. 6 (UCB).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from whet.algorithms.cube import Floats

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_UCB_BETA = 2.0  # standard deviations


def log_mean_exp(a: Floats) -> Floats:
    """Return the (m,) logarithms of the means over s of exp(a), (s, m)."""
    top = a.max(axis=0)
    found: Floats = top + np.log(np.exp(a - top).mean(axis=0))
    return found


def log_h(z: Floats) -> Floats:
    """Return log(phi(z) + z Phi(z)), to full precision also where it underflows (Ament et al., eq. 9)."""
    from scipy.special import erfcx, ndtr

    found = np.empty_like(z)
    is_near = z > -1
    near, far = z[is_near], np.maximum(z[~is_near], -1e100)
    found[is_near] = np.log(np.exp(-0.5 * near * near - _LOG_ROOT_2PI) + near * ndtr(near))
    # phi(z) (1 + z Phi(z)/phi(z)), whose bracket is 1/z^2 - 3/z^4 + … far out, where the difference loses its digits
    ratio = 1 + math.sqrt(math.pi / 2) * far * erfcx(-far / math.sqrt(2))
    inverse = 1 / np.square(far)
    bracket = np.where(far < -1e3, inverse * (1 - 3 * inverse), np.maximum(ratio, np.finfo(float).tiny))
    with np.errstate(over="ignore", divide="ignore"):
        found[~is_near] = -0.5 * far * far - _LOG_ROOT_2PI + np.log(bracket)
    return found


def log_ei(mean: Floats, var: Floats, best: Floats) -> Floats:
    """Return the (m,) logarithm of the expected improvement on *best*, averaged over the sets."""
    std = np.sqrt(var)
    return log_mean_exp(log_h((best - mean) / std) + np.log(std))


def ei(mean: Floats, var: Floats, best: Floats) -> Floats:
    """Return the (m,) expected improvement on *best*; flat zero where :func:`log_ei` still tells points apart."""
    return np.exp(log_ei(mean, var, best))


def log_pi(mean: Floats, var: Floats, best: Floats) -> Floats:
    """Return the (m,) logarithm of the probability of an improvement on *best*."""
    from scipy.special import log_ndtr

    return log_mean_exp(log_ndtr((best - mean) / np.sqrt(var)))


def ucb(mean: Floats, var: Floats, best: Floats) -> Floats:
    """Return the (m,) upper confidence bound of the negated value: how good a point may well be."""
    del best
    found: Floats = (_UCB_BETA * np.sqrt(var) - mean).mean(axis=0)
    return found


def log_probability(mean: Floats, var: Floats, bound: float) -> Floats:
    """Return the (m,) logarithm of the probability that a value is at most *bound*."""
    from scipy.special import log_ndtr

    return log_mean_exp(log_ndtr((bound - mean) / np.sqrt(var)))


ACQUISITIONS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "logei": log_ei,
    "ei": ei,
    "pi": log_pi,
    "ucb": ucb,
}
