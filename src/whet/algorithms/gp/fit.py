"""Hyperparameters that agree with the data: samples from their posterior, by elliptical slice sampling.

The prior is normal in the logarithms of all hyperparameters, which is just what elliptical slice sampling needs; it has
no step size to tune. A chain is state, and a suggestion may only depend on the history, so a chain is a function
of its data: it starts from where it ended on the first points alone, as many as the last rung of a ladder of sizes
that grow by a quarter, and so on down to the prior.

Source: Murray, Adams & MacKay, Elliptical slice sampling, AISTATS 2010, figure 2.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from whet.algorithms.cube import Cube, Floats
from whet.algorithms.gp.kernel import Features, covariance, embed, hyper_of, with_noise
from whet.algorithms.gp.mode import mode
from whet.algorithms.gp.output import fitted
from whet.algorithms.gp.subset import subset

_MAX_SHRINKS = 40  # of a bracket; it halves on average each time
_REMEMBERED = 256
_FEWEST = 3  # points that hyperparameters are fitted to
_GROWTH = 1.25
_MODE = 15
_ALL = True
_N_UPDATES = 2  # of each chain, on each rung and at the end
_MOST_POINTS = 96  # that hyperparameters are fitted to: they change slowly


def prior(features: Features) -> tuple[Floats, Floats]:
    """Return the (p,) means and standard deviations of the prior of theta.

    Distances grow with the root of the number of axes, and lengthscales with them: Hvarfner et al., Vanilla Bayesian
    Optimization Performs Great in High Dimensions, ICML 2024, eq. 7.
    """
    d, w = features.d, features.w
    mean = np.concatenate(
        [np.full(d, -0.3 + 0.5 * math.log(max(d, 1))), [0.0, math.log(1e-3), math.log(0.1)], np.zeros(2 * w)]
    )
    std = np.concatenate([np.full(d, 0.8), [1.0, 1.5, 1.0], np.full(2 * w, 0.5)])
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
        return np.linalg.cholesky(k) if np.isfinite(k).all() else None
    except np.linalg.LinAlgError:
        return None


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


class Chains:
    """Samples of the hyperparameters of one kind of data, as a function of the data and the seed.

    Args:
        cube: where the points lie.
        seed: of the chains.
        n_chains: how many sets of hyperparameters there are.
    """

    def __init__(self, cube: Cube, seed: int, n_chains: int) -> None:
        self._cube, self._seed, self._n_chains = cube, seed, n_chains
        self._known: OrderedDict[bytes, Floats] = OrderedDict()

    def theta(self, x: Floats, values: Floats) -> Floats:
        """Return the (s, p) hyperparameters for points *x*, (n, d), and their *values*, (n,)."""
        key = hashlib.blake2b(x.tobytes() + values.tobytes(), digest_size=16).digest()
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        chosen = subset(values, _MOST_POINTS)
        features = Features(self._cube, x[chosen])
        mean, std = prior(features)
        before = rung_below(len(x))
        theta = self.theta(x[:before], values[:before]) if before else np.repeat(mean[None], self._n_chains, axis=0)
        if len(x) >= _FEWEST:
            f, y = features(x[chosen]), fitted(values)(values[chosen])
            rng = np.random.default_rng((self._seed, len(x)))
            if _MODE:
                m = mode(theta[0], f, y, features, (mean, std), _MODE)
                if _ALL: theta = np.repeat(m[None], self._n_chains, axis=0)
                else: theta = np.vstack([m[None], theta[1:]])
                rest = theta[1:]
                for _ in range(_N_UPDATES):
                    rest = elliptical_slices(rest, lambda t: log_likelihoods(t, f, y, features), mean, std, rng)
                theta = np.vstack([m[None], rest])
                self._known[key] = theta
                return theta
            for _ in range(_N_UPDATES):
                theta = elliptical_slices(theta, lambda t: log_likelihoods(t, f, y, features), mean, std, rng)
        self._known[key] = theta
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return theta


def rung_below(n: int) -> int:
    """Return the largest rung of the ladder below *n*, 0 if there is none."""
    rung = 0
    following = _FEWEST
    while following < n:
        rung, following = following, math.ceil(following * _GROWTH)
    return rung
