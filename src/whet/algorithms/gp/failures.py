"""How likely a trial fails, by a Gaussian process that classifies: the probit model in Laplace's approximation.

What the process describes is not the labels but how sure they are. So a border beyond which all fails may be as sharp
as it likes, and failures by chance leave the process flat.

Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), sections 3.4 to 3.6. Notation as in
`whet.algorithms.gp.kernel`, without warping and noise, and:
    labels      (n,) 1 where a trial went well, -1 where it failed
    theta       (s, d + 1) logarithms of d lengthscales and of the signal variance
    g           (s, n) the process; a label is the sign of g and normal noise of variance 1
    centre      prior mean of g
    weights     (s, n) inverse of the covariances, times g less its prior mean
"""

from __future__ import annotations

import math

import numpy as np

from whet.algorithms.cube import Cube, Floats
from whet.algorithms.gp.acquisition import log_mean_exp
from whet.algorithms.gp.fit import elliptical_slices
from whet.algorithms.gp.kernel import Features, Hyper, covariance, embed
from whet.algorithms.gp.subset import subset_of_both

_MOST_POINTS = 96  # that hyperparameters are fitted to
_N_UPDATES = 2  # of each set on each rung
_MOST_STEPS = 50  # of Newton's method; it takes less than ten
_MOST_HALVINGS = 20  # of a step
_ENOUGH = 1e-8  # rise of the log density below which a mode is reached


def share_of(labels: Floats) -> float:
    """Return the share of *labels* that are 1 by Laplace's rule of succession, by which nothing is certain."""
    return float(((labels > 0).sum() + 1) / (len(labels) + 2))


def prior(features: Features) -> tuple[Floats, Floats]:
    """Return the (d + 1,) means and standard deviations of the normal prior of theta.

    Of what a trial survives few axes decide, and mostly with one border: lengthscales are long, the signal is strong.
    """
    d = features.d
    mean = np.append(np.full(d, math.log(2.0) + 0.5 * math.log(max(d, 1))), math.log(30.0))
    return mean, np.append(np.full(d, 0.8), 1.5)


def mode(k: Floats, labels: Floats, centre: float) -> tuple[Floats, Floats]:
    """Return the weights of the most probable g under prior covariances *k*, (s, n, n): algorithm 3.1, Newton's method.

    Also the (s,) approximate log probabilities of the labels (eq. 3.32).
    """
    weights = np.zeros(k.shape[:2])
    centred, density = _seen(weights, k, labels, centre)
    rise = np.inf
    for step in range(_MOST_STEPS + 1):
        slope, root = _derivatives(centre + centred, labels)
        b = root[:, :, None] * k * root[:, None, :] + np.eye(len(labels))
        factor = np.asarray(np.linalg.cholesky(b), dtype=np.float64)
        if rise < _ENOUGH or step == _MOST_STEPS:
            break
        aim: Floats = np.square(root) * centred + slope
        aim -= root * _solved(factor, root * _times(k, aim))
        for _ in range(_MOST_HALVINGS):
            centred, following = _seen(aim, k, labels, centre)
            falls = following < density - _ENOUGH
            if not falls.any():
                break
            aim = np.where(falls[:, None], (weights + aim) / 2, aim)
        weights, rise, density = aim, float((following - density).max()), following
    i = np.arange(len(labels))
    return weights, density - np.log(factor[:, i, i]).sum(axis=1)


def _seen(weights: Floats, k: Floats, labels: Floats, centre: float) -> tuple[Floats, Floats]:
    """Return g less its mean, (s, n), and the (s,) log densities of g and the labels up to a constant (eq. 3.12)."""
    from scipy.special import log_ndtr

    centred = _times(k, weights)
    density: Floats = log_ndtr(labels * (centre + centred)).sum(axis=1) - 0.5 * (weights * centred).sum(axis=1)
    return centred, density


def _derivatives(g: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Return the slope of the log likelihood at *g*, (s, n), and roots of its negated curvature (eq. 3.16)."""
    from scipy.special import erfcx

    v = labels * g
    ratio: Floats = math.sqrt(2 / math.pi) / erfcx(-v / math.sqrt(2))  # phi(v) / Phi(v), also where both underflow
    curvature: Floats = np.clip(ratio * (ratio + v), 0, 1)
    return labels * ratio, np.sqrt(curvature)


def _times(k: Floats, v: Floats) -> Floats:
    found: Floats = (k @ v[:, :, None])[:, :, 0]
    return found


def _solved(factor: Floats, v: Floats) -> Floats:
    from scipy.linalg.lapack import dpotrs

    found: Floats = np.stack([dpotrs(one, each, lower=1)[0] for one, each in zip(factor, v, strict=True)])
    return found


class Failures:
    """What is believed of failures once trials have come out.

    Args:
        features: of the points.
        theta: s sets of hyperparameters.
        x: (n, d) points.
        labels: see above.
        share: probability that all goes well far from all points.

    Attributes:
        log_evidence: (s,) approximate log probabilities of the labels.
    """

    def __init__(self, features: Features, theta: Floats, x: Floats, labels: Floats, share: float) -> None:
        from scipy.special import ndtri

        e, ones = np.exp(theta), np.ones((len(theta), features.w))
        self._features = features
        self._hyper = Hyper(e[:, : features.d], e[:, features.d], np.zeros(len(theta)), ones, ones)
        self._z = embed(features(x), self._hyper, features)
        self._centre = float(ndtri(share))
        self._weights, self.log_evidence = mode(covariance(self._z, self._z, self._hyper), labels, self._centre)

    def log_p_well(self, x: Floats) -> Floats:
        """Return the (m,) logarithms of how probable it is that trials at *x*, (m, d), go well; means over the sets.

        In each set the median of what that probability may be (eq. 3.21), not its mean (eq. 3.25): far into where all
        fails the mean stays some percent, and a maximiser finds the point whose few percent promise most.
        """
        from scipy.special import log_ndtr

        k = covariance(self._z, embed(self._features(x), self._hyper, self._features), self._hyper)
        return log_mean_exp(log_ndtr(self._centre + np.einsum("snm,sn->sm", k, self._weights)))


def samples(cube: Cube, seed: int, n_sets: int, earlier: Floats | None, x: Floats, labels: Floats) -> Floats:
    """Return (*n_sets*, d + 1) hyperparameters for *labels* of *x*, (n, d), from those *earlier* on fewer points."""
    chosen = subset_of_both(labels, _MOST_POINTS)
    features = Features(cube, x[chosen])
    mean, std = prior(features)
    theta = np.repeat(mean[None], n_sets, axis=0) if earlier is None else earlier
    if labels.min() == labels.max():
        return theta

    def log_evidence(theta: Floats) -> Floats:
        return Failures(features, theta, x[chosen], labels[chosen], share_of(labels)).log_evidence

    rng = np.random.default_rng((seed, len(x)))
    for _ in range(_N_UPDATES):
        theta = elliptical_slices(theta, log_evidence, mean, std, rng)
    return theta
