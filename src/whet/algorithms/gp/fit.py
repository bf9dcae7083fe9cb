"""Hyperparameters that agree with the data: their posterior density, and sampling from it by elliptical slices.

The prior is normal in the logarithms of all hyperparameters, which is just what elliptical slice sampling needs; it has
no step size to tune.

Source: Murray, Adams & MacKay, Elliptical slice sampling, AISTATS 2010, figure 2. Notation as in
`whet.algorithms.gp.kernel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from whet.algorithms.cube import Floats
from whet.algorithms.gp.kernel import Features, covariance, embed, hyper_of, with_noise

_ALONG_MEAN = (0.0, math.log(0.5), math.log(0.3))  # what changes from fidelity to fidelity: see `Along`
_ALONG_STD = (1.0, 0.7, 1.0)
_MAX_SHRINKS = 40  # of a bracket; it halves on average each time


def prior(features: Features) -> tuple[Floats, Floats]:
    """Return the (p,) means and standard deviations of the prior of theta.

    Distances grow with the root of the number of axes, and lengthscales with them: Hvarfner et al., Vanilla Bayesian
    Optimization Performs Great in High Dimensions, ICML 2024, eq. 7.
    """
    d, w = features.d, features.w
    mean = np.concatenate([np.full(d, -0.3 + 0.5 * math.log(max(d, 1))), [0.0, math.log(1e-3)], np.zeros(2 * w)])
    std = np.concatenate([np.full(d, 0.8), [1.0, 1.5], np.full(2 * w, 0.5)])
    if features.has_fidelity:
        mean, std = np.concatenate([mean, _ALONG_MEAN]), np.concatenate([std, _ALONG_STD])
    return mean, std


def log_likelihoods(theta: Floats, f: Floats, y: Floats, features: Features) -> Floats:
    """Return the (s,) log marginal likelihoods of *y*, (n,), up to a constant; -inf where they cannot be computed."""
    from scipy.linalg.lapack import dtrtrs

    hyper = hyper_of(theta, features)
    z = embed(f, hyper, features)
    k = with_noise(covariance(z, z, hyper), hyper)
    found = np.full(len(theta), -np.inf)
    for i, factor in enumerate(cholesky(k)):
        if factor is not None:
            a = dtrtrs(factor, y, lower=1)[0]
            found[i] = -0.5 * a @ a - np.log(np.diagonal(factor)).sum()  # Rasmussen & Williams, eq. 2.30
    return found


def cholesky(k: Floats) -> list[Floats | None]:
    """Return the lower factor of each of the (s, n, n) matrices, ``None`` for one that is not positive definite."""
    try:
        return list(np.linalg.cholesky(k))
    except np.linalg.LinAlgError:
        return [_factor(one) for one in k]


def _factor(k: Floats) -> Floats | None:
    try:
        factor = np.asarray(np.linalg.cholesky(k), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    return factor if np.isfinite(factor).all() else None


def elliptical_slices(
    theta: Floats, log_likelihood: Callable[[Floats], Floats], mean: Floats, std: Floats, rng: np.random.Generator
) -> Floats:
    """Return the next state of each of s chains at *theta*, (s, p), under a prior of *mean* and *std*, (p,) each."""
    s = len(theta)
    theta, centred = theta.copy(), theta - mean
    nu = rng.standard_normal(theta.shape) * std
    threshold = log_likelihood(theta) + np.log(rng.random(s))
    angle = 2 * np.pi * rng.random(s)
    low, high = angle - 2 * np.pi, angle.copy()
    left = np.arange(s)
    for _ in range(_MAX_SHRINKS):
        at = angle[left, None]
        proposed = mean + centred[left] * np.cos(at) + nu[left] * np.sin(at)
        is_accepted = log_likelihood(proposed) >= threshold[left]
        theta[left[is_accepted]] = proposed[is_accepted]
        left = left[~is_accepted]
        if not len(left):
            break
        is_above = angle[left] >= 0
        high[left] = np.where(is_above, angle[left], high[left])
        low[left] = np.where(is_above, low[left], angle[left])
        angle[left] = low[left] + rng.random(len(left)) * (high[left] - low[left])
    return theta
