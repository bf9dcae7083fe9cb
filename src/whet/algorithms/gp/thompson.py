"""A function drawn from the posterior, that can be evaluated anywhere at once: Thompson sampling.

A draw from the prior, of random Fourier features, is corrected by what the data say of it. It costs no more at many
points than the mean does.

Sources: Wilson et al., Efficiently Sampling Functions from Gaussian Process Posteriors, ICML 2020, eq. 7 and 8;
Rahimi & Recht, Random Features for Large-Scale Kernel Machines, NeurIPS 2007, figure 1. Notation as in
`whet.algorithms.gp.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whet.algorithms.cube import Floats
from whet.algorithms.gp.kernel import Along, covariance, embed
from whet.algorithms.gp.posterior import Posterior

_N_WAVES = 1024
_DEGREES = 5  # the spectral density of a Matern-5/2 kernel is Student's t with so many degrees of freedom


def drawn_function(posterior: Posterior, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Return a function, (m, d) points -> (m,) values, drawn from what one set, drawn too, believes."""
    which = int(rng.integers(len(posterior.hyper.signal)))
    hyper, features = posterior.hyper.among(slice(which, which + 1)), posterior.features
    z, inverse = posterior.z[which], posterior.inverse[which]
    q = len(features.axis_of)
    waves = rng.standard_normal((q, _N_WAVES)) / np.sqrt(rng.chisquare(_DEGREES, _N_WAVES) / _DEGREES)
    phases = rng.uniform(0, 2 * np.pi, _N_WAVES)
    weights = rng.standard_normal(_N_WAVES) * np.sqrt(2 * hyper.signal / _N_WAVES)
    if hyper.along is not None:
        waves, phases, weights = _along(waves, phases, weights, hyper.along, rng)

    def from_prior(at: Floats) -> Floats:
        found: Floats = np.cos(at @ waves + phases) @ weights
        return found

    noise = rng.standard_normal(len(z)) * np.sqrt(hyper.noise)
    correction = inverse.T @ (inverse @ (posterior.y[which] - from_prior(z) - noise))

    def drawn(points: Floats) -> Floats:
        at = embed(features(points), hyper, features)
        found: Floats = from_prior(at[0]) + covariance(at, z[None], hyper)[0] @ correction
        return found

    return drawn


def _along(
    waves: Floats, phases: Floats, weights: Floats, along: Along, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return waves that run along the fidelity as well, and others along it only, with their phases and weights.

    The spectral densities: Cauchy's for the decay, a point at 0 for the share that stays, a normal one in common.
    """
    shape = weights.shape
    along_t = np.where(rng.random(shape) < along.share, 0.0, rng.standard_cauchy(shape) / along.length)
    in_common = np.zeros_like(waves)
    common_t = 2 * rng.standard_normal(shape)
    waves = np.hstack([np.vstack([waves, along_t]), np.vstack([in_common, common_t])])
    phases = np.append(phases, rng.uniform(0, 2 * np.pi, shape))
    return waves, phases, np.append(weights, rng.standard_normal(shape) * np.sqrt(2 * along.common / len(weights)))
