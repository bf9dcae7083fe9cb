"""What a Gaussian process believes once it has seen data, for several sets of hyperparameters side by side.

Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 2.25 and 2.26. Notation as in
`whet.algorithms.gp.kernel`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from whet.algorithms.cube import Floats
from whet.algorithms.gp.fit import cholesky
from whet.algorithms.gp.kernel import Features, Hyper, covariance, embed, with_noise

_LEAST_VARIANCE = 1e-12
_MOST_TRIES = 40  # to mend a covariance: the noise grows to some 1e32


class Posterior:
    """Means and variances of the function (without the noise of observations) at any points.

    Args:
        features: of the points.
        hyper: s sets of hyperparameters.
        x: (n, d) points.
        y: (n,) what was observed there, or (s, n) where each set sees it otherwise.

    Attributes:
        features, hyper: as given, the latter with more noise where rounding made that necessary.
        y, z: (s, n) what was observed, and (s, n, q) where.
        inverse: (s, n, n) inverses of the Cholesky factors of the covariances.
    """

    def __init__(self, features: Features, hyper: Hyper, x: Floats, y: Floats) -> None:
        from scipy.linalg.lapack import dtrtri

        y = np.broadcast_to(y, (len(hyper.signal), len(x)))
        self.features, self._x, self.y = features, x, y
        f = features(x)
        for _ in range(_MOST_TRIES):
            self.hyper = hyper
            self.z = embed(f, hyper, features)
            factors = cholesky(with_noise(covariance(self.z, self.z, hyper), hyper))
            found = [factor for factor in factors if factor is not None]
            if len(found) == len(factors):
                break
            # Rounding has made a covariance indefinite: more noise mends that.
            hyper = replace(hyper, noise=hyper.noise * 10)
        assert len(found) == len(factors), "a covariance is not finite"
        self.inverse = np.stack([dtrtri(factor, lower=1)[0] for factor in found])
        self._weights = np.einsum("snm,sn->sm", self.inverse, np.einsum("snm,sm->sn", self.inverse, y))

    def __call__(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the (s, m) means and variances at *x*, (m, d)."""
        z = embed(self.features(x), self.hyper, self.features)
        k = covariance(self.z, z, self.hyper)
        mean = np.einsum("snm,sn->sm", k, self._weights)
        v = self.inverse @ k
        var = self.hyper.variance[:, None] - np.einsum("snm,snm->sm", v, v)
        return mean, np.maximum(var, _LEAST_VARIANCE)

    def first(self, n: int) -> Posterior:
        """Return what the first *n* sets believe."""
        some = copy(self)
        some.hyper = self.hyper.among(slice(n))
        some.y, some.z, some.inverse, some._weights = (a[:n] for a in (self.y, self.z, self.inverse, self._weights))
        return some

    def draw(self, x: Floats, rng: np.random.Generator) -> Floats:
        """Return a joint sample (s, m) of the function at *x*, (m, d), one from each set."""
        z = embed(self.features(x), self.hyper, self.features)
        k = covariance(self.z, z, self.hyper)
        v = self.inverse @ k
        joint = covariance(z, z, self.hyper) - np.swapaxes(v, 1, 2) @ v
        values, vectors = np.linalg.eigh((joint + np.swapaxes(joint, 1, 2)) / 2)
        root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
        mean = np.einsum("snm,sn->sm", k, self._weights)
        drawn: Floats = mean + np.einsum("smk,sk->sm", root, rng.standard_normal(mean.shape))
        return drawn

    def imagining(self, x: Floats, rng: np.random.Generator) -> Posterior:
        """Return what is believed once the points *x*, (p, d), have come to what each set imagines there."""
        y = np.hstack([self.y, self.draw(x, rng)])
        return Posterior(self.features, self.hyper, np.vstack([self._x, self.features.complete(x)]), y)

    def lowest(self, n: int) -> Floats:
        """Return the (s, 1) lowest of the last *n* > 0 values that each set has seen."""
        found: Floats = self.y[:, -n:].min(axis=1, keepdims=True)
        return found
