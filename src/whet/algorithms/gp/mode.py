"""The most probable hyperparameters, by following the slope of their posterior density.

Notation as in `whet.algorithms.gp.kernel`, for one set of hyperparameters:
    k           (n, n) covariances of the observations
    slope_k     (n, n) derivative of the log likelihood by k: Rasmussen & Williams (2006), eq. 5.9
"""

from __future__ import annotations

import numpy as np

from whet.algorithms.cube import Floats
from whet.algorithms.gp.kernel import (
    Along,
    Features,
    Hyper,
    covariance,
    embed,
    hyper_of,
    matern_slope,
    squared_distances,
    with_noise,
)

_NOT_DEFINITE = 1e10  # in the place of a log density, where there is none
_FARTHEST = 8.0  # standard deviations of the prior from its mean


def mode(start: Floats, f: Floats, y: Floats, features: Features, prior: tuple[Floats, Floats], n_steps: int) -> Floats:
    """Return the (p,) hyperparameters that at most *n_steps* of L-BFGS lead to from *start*, (p,).

    *prior* has the (p,) means and standard deviations of the normal prior.
    """
    from scipy.optimize import minimize

    mean, std = prior

    # In units of the prior all directions are about as wide.
    def negated(v: Floats) -> tuple[float, Floats]:
        value, slope = log_likelihood(mean + std * v, f, y, features)
        if not np.isfinite(value):
            return _NOT_DEFINITE, v
        return 0.5 * float(v @ v) - value, v - std * slope

    bounds = [(-_FARTHEST, _FARTHEST)] * len(mean)
    begin = (start - mean) / std
    found = minimize(negated, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": n_steps})
    best: Floats = mean + std * found.x
    return best


def log_likelihood(theta: Floats, f: Floats, y: Floats, features: Features) -> tuple[float, Floats]:
    """Return the log marginal likelihood of *y*, (n,), up to a constant, and its (p,) slope by theta."""
    from scipy.linalg.lapack import dpotrf, dpotri

    hyper = hyper_of(theta[None], features)
    z = embed(f, hyper, features)
    k = covariance(z, z, hyper)[0]
    factor, info = dpotrf(with_noise(k[None].copy(), hyper)[0], lower=1)
    if info != 0:
        return -np.inf, np.zeros_like(theta)
    inverse = dpotri(factor, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse @ y
    value = -0.5 * float(y @ weights) - float(np.log(np.diagonal(factor)).sum())
    slope_k = 0.5 * (np.outer(weights, weights) - inverse)
    z = z[0, :, : len(features.axis_of)]
    slope_matern, matern = slope_k, k
    by_along: list[float] = []
    if hyper.along is not None:
        slope_matern, matern, by_along = _by_fidelity(slope_k, k, f[:, -1], hyper.along)
    slope_r2 = slope_matern * hyper.signal[0] * matern_slope(squared_distances(z))
    slope_z = 4 * (z * slope_r2.sum(axis=1)[:, None] - slope_r2 @ z)
    of_variances = [(slope_matern * matern).sum(), hyper.noise[0] * np.trace(slope_k)]
    # z is inverse to the lengthscales, so its slope by their logarithms is -z.
    by_axes = -np.bincount(features.axis_of, (z * slope_z).sum(axis=0), minlength=features.d)
    numeric = slope_z[:, : features.w] / hyper.lengthscales[0, features.axis_of[: features.w]]
    return value, np.concatenate([by_axes, of_variances, *_by_warping(f, numeric, hyper), by_along])


def _by_fidelity(slope_k: Floats, k: Floats, t: Floats, along: Along) -> tuple[Floats, Floats, list[float]]:
    """Return the slope by the (n, n) Matern covariances, these, and the slopes by what theta has of fidelities."""
    apart, decays = along.decays(t, t)
    decay, common = decays[0], along.in_common(apart)[0]
    share, length = along.share[0], along.length[0]
    factor = share + (1 - share) * decay
    matern = (k - common) / factor
    slope_factor = slope_k * matern
    by_share = share * (1 - share) * (slope_factor * (1 - decay)).sum()
    by_length = (1 - share) * (slope_factor * decay * apart).sum() / length
    return slope_k * factor, matern, [float(by_share), float(by_length), float((slope_k * common).sum())]


def _by_warping(f: Floats, slope: Floats, hyper: Hyper) -> tuple[Floats, Floats]:
    """Return the (w,) slopes by log a and by log b, from the (n, w) *slope* by what `embed` makes of coordinates."""
    a, b = hyper.a[0], hyper.b[0]
    u = f[:, : len(a)]
    t = u**a
    by_a = b * (1 - t) ** (b - 1) * t * a * np.log(u)
    by_b = -b * np.log1p(-t) * (1 - t) ** b
    return (by_a * slope).sum(axis=0), (by_b * slope).sum(axis=0)
