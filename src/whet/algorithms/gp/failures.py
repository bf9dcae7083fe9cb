"""How likely a trial fails, by a Gaussian process that classifies: the probit model in Laplace's approximation.

A border beyond which all fails may be as sharp as it likes, for what the process describes is not the labels but how
sure they are; failures by chance leave it flat.

Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), sections 3.4 to 3.6. Notation as in
`whet.algorithms.gp.kernel`, without warping and noise, and:
    is_well     (n,) which of the points did not fail
    theta       (s, d + 1) logarithms of d lengthscales and of the signal variance
    g           (s, n) latent function, whose sign the labels have, less noise of variance 1
    weights     (s, n) inverse of the covariance times g less its mean; at the mode, the slope of the log likelihood
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp.acquisition import log_probability
from whet.algorithms.gp.fit import elliptical_slices
from whet.algorithms.gp.kernel import Features, Hyper, covariance, embed
from whet.algorithms.gp.subset import of_both

_MOST_POINTS = 96  # that hyperparameters are fitted to
_N_UPDATES = 2  # of each chain on each rung
_MOST_STEPS = 50  # of Newton's method, which takes about six
_MOST_HALVINGS = 20
_ENOUGH = 1e-9  # rise of the log density at which it is done


@dataclass(frozen=True, slots=True, eq=False)
class Mode:
    """Where the posterior density of the latent function is highest, for s sets of hyperparameters.

    Attributes:
        weights: (s, n), see above.
        curvature: (s, n) negated second derivatives of the log likelihood, square roots of them.
        factor: (s, n, n) lower Cholesky factors of B (eq. 3.26).
        log_evidence: (s,) approximate log probabilities of the labels (eq. 3.32).
    """

    weights: Floats
    curvature: Floats
    factor: Floats
    log_evidence: Floats


def prior(features: Features) -> tuple[Floats, Floats]:
    """Return the (d + 1,) means and standard deviations of the normal prior of theta."""
    d = features.d
    mean = np.append(np.full(d, 0.5 * math.log(max(d, 1))), math.log(4.0))
    return mean, np.ones(d + 1)


def hyper_of(theta: Floats, features: Features) -> Hyper:
    """Return what *theta*, (s, d + 1), stands for."""
    s, d, w = len(theta), features.d, features.w
    e = np.exp(theta)
    return Hyper(e[:, :d], e[:, d], np.zeros(s), np.ones((s, w)), np.ones((s, w)))


def centre(is_well: Bools, hyper: Hyper) -> Floats:
    """Return the (s, 1) prior means of g by which the share of what is well is the probability far from all data.

    The share is Laplace's rule of succession, so that neither 0 nor 1 is believed.
    """
    from scipy.special import ndtri

    share = (is_well.sum() + 1) / (len(is_well) + 2)
    found: Floats = ndtri(share) * np.sqrt(1 + hyper.signal)[:, None]
    return found


def mode(k: Floats, is_well: Bools, mean: Floats) -> Mode:
    """Return the mode for prior covariances *k*, (s, n, n), and prior means *mean*, (s, 1): algorithm 3.1."""
    sign = np.where(is_well, 1.0, -1.0)
    weights = np.zeros(k.shape[:2])
    density = _log_density(weights, k, sign, mean)
    i = np.arange(k.shape[1])
    for _ in range(_MOST_STEPS):
        centred = np.einsum("snm,sm->sn", k, weights)
        slope, w = _derivatives(mean + centred, sign)
        root = np.sqrt(w)
        b = root[:, :, None] * k * root[:, None, :]
        b[:, i, i] += 1
        target = w * centred + slope
        solved = np.linalg.solve(b, (root * np.einsum("snm,sm->sn", k, target))[:, :, None])[:, :, 0]
        weights, following = _risen(weights, target - root * solved, density, k, sign, mean)
        rise, density = (following - density).max(), following
        if rise < _ENOUGH:
            break
    root = np.sqrt(_derivatives(mean + np.einsum("snm,sm->sn", k, weights), sign)[1])
    b = root[:, :, None] * k * root[:, None, :]
    b[:, i, i] += 1
    factor = np.linalg.cholesky(b)
    return Mode(weights, root, factor, density - np.log(factor[:, i, i]).sum(axis=1))


class Failures:
    pass
