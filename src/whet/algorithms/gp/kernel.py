"""The kernel: Matern-5/2 with a lengthscale per axis, on warped coordinates; a category differs or it does not.

What is not active lies in the middle, for a category as far from all of its levels as half a difference; the axis that
decides on it tells the branches apart.

Where the same config is seen at several fidelities, points have one coordinate more, the last: t, its place between 0
and 1, where 1 is the highest. Then the kernel is signal matern (c + (1 - c) exp(-|dt| / l)) + common exp(-2 dt^2): each
config keeps a share c of what it is at all fidelities and loses the rest as they lie apart, and all move in common.

Notation:
    n, m, d, w  points, other points, axes, numeric axes
    s           sets of hyperparameters, evaluated side by side
    q           features: one per numeric axis, then one per known level of a category and one for all unknown ones
    f           (n, q) features of points
    z           (s, n, q) features, warped and divided by their lengthscales
    theta       (s, p) logarithms of d lengthscales, signal and noise variance, a and b of each numeric axis; with
                fidelities also log(c / (1 - c)), log l and log common

Sources: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), sections 4.2.1 and 4.2.2; Snoek et al.,
Input Warping for Bayesian Optimization of Non-Stationary Functions, ICML 2014, here with Kumaraswamy's distribution;
Swersky, Snoek & Adams, Freeze-Thaw Bayesian Optimization, arXiv:1406.3896, section 3 (a process over configs and
fidelities; its kernel along a curve is another one).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from whet.algorithms.cube import Cube, Floats

_EDGE = 1e-6  # how near to the ends of an axis warping is followed; its slope may be infinite there
_JITTER = 1e-8  # variance that keeps covariances of equal points positive definite in floating point


class Features:
    """The map from points to features, which knows the levels of categories that *x*, (n, d), has.

    Where *x* is (n, d + 1), with fidelities, t is the last feature, (n, q + 1), and points without one are at t = 1.
    """

    def __init__(self, cube: Cube, x: Floats) -> None:
        self.has_fidelity = bool(x.shape[1] > cube.d)
        self._numeric = np.flatnonzero(~cube.is_category)
        axes = np.flatnonzero(cube.is_category)
        self._levels = [(axis, np.unique(x[~np.isnan(x[:, axis]), axis])) for axis in axes]
        widths = [len(levels) + 1 for _, levels in self._levels]
        self.axis_of = np.concatenate([self._numeric, np.repeat(axes, widths)]).astype(np.intp)
        self.d, self.w = cube.d, len(self._numeric)

    def __call__(self, x: Floats) -> Floats:
        """Return the (n, q) features of *x*, (n, d)."""
        x = self.complete(x)
        f = np.zeros((len(x), len(self.axis_of) + self.has_fidelity))
        if self.has_fidelity:
            f[:, -1] = x[:, -1]
        f[:, : self.w] = np.clip(np.nan_to_num(x[:, self._numeric], nan=0.5), _EDGE, 1 - _EDGE)
        start = self.w
        for axis, levels in self._levels:
            rows = np.flatnonzero(~np.isnan(x[:, axis]))
            column = x[rows, axis]
            place = np.searchsorted(levels, column)
            padded = np.append(levels, np.nan)
            is_known = padded[place] == column
            f[rows, start + np.where(is_known, place, len(levels))] = np.sqrt(0.5)  # two that differ are 1 apart
            start += len(levels) + 1
        return f

    def complete(self, x: Floats) -> Floats:
        """Return *x*, (n, d), with the highest fidelity where points have one and these have not."""
        if self.has_fidelity and x.shape[1] == self.d:
            return np.column_stack([x, np.ones(len(x))])
        return x


@dataclass(frozen=True, slots=True, eq=False)
class Along:
    """How values at different fidelities belong together: share c, length l and the variance in common, (s,) each."""

    share: Floats
    length: Floats
    common: Floats

    def among(self, which: slice) -> Along:
        """Return the sets that *which* selects."""
        return Along(*(getattr(self, each.name)[which] for each in fields(self)))

    def decays(self, t: Floats, other: Floats) -> tuple[Floats, Floats]:
        """Return |dt|, (n, m), of fidelities *t*, (n,), and *other*, (m,), and the (s, n, m) decays exp(-|dt| / l)."""
        apart = np.abs(t[:, None] - other)
        return apart, np.exp(-apart / self.length[:, None, None])

    def in_common(self, apart: Floats) -> Floats:
        """Return the (s, n, m) covariances of what all configs have in common at fidelities *apart*, (n, m)."""
        found: Floats = self.common[:, None, None] * np.exp(-2 * np.square(apart))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Hyper:
    """Sets of hyperparameters: lengthscales (s, d), variances (s,), exponents of the warping (s, w)."""

    lengthscales: Floats
    signal: Floats
    noise: Floats
    a: Floats
    b: Floats
    along: Along | None = None

    @property
    def variance(self) -> Floats:
        """(s,) prior variance of each value, without noise."""
        return self.signal if self.along is None else self.signal + self.along.common

    def among(self, which: slice) -> Hyper:
        """Return the sets that *which* selects."""
        along = None if self.along is None else self.along.among(which)
        return Hyper(
            self.lengthscales[which], self.signal[which], self.noise[which], self.a[which], self.b[which], along
        )


def n_hyper(features: Features) -> int:
    """Return p, how many hyperparameters a set has."""
    return features.d + 2 + 2 * features.w + 3 * features.has_fidelity


def hyper_of(theta: Floats, features: Features) -> Hyper:
    """Return what *theta*, (s, p), stands for."""
    d, w = features.d, features.w
    e = np.exp(theta)
    warp = d + 2
    along = None
    if features.has_fidelity:
        along = Along(e[:, -3] / (1 + e[:, -3]), e[:, -2], e[:, -1])
    own = e[:, :d], e[:, d], e[:, d + 1] + _JITTER, e[:, warp : warp + w], e[:, warp + w : warp + 2 * w]
    return Hyper(*own, along)


def embed(f: Floats, hyper: Hyper, features: Features) -> Floats:
    """Return z, (s, n, q), of features *f*; (s, n, q + 1) with fidelities, which stay as they are."""
    w, q = features.w, len(features.axis_of)
    z = np.empty((len(hyper.signal), *f.shape))
    a, b = hyper.a[:, None, :], hyper.b[:, None, :]
    t = np.exp(a * np.log(f[:, :w]))
    z[:, :, :w] = 1 - np.exp(b * np.log1p(-t))  # 1 - (1 - u^a)^b
    z[:, :, w:] = f[:, w:]
    z[:, :, :q] /= hyper.lengthscales[:, None, features.axis_of]
    return z


def covariance(z: Floats, other: Floats, hyper: Hyper) -> Floats:
    """Return the (s, n, m) prior covariances of points at *z* and at *other*, (s, m, q), without noise."""
    if hyper.along is None:
        return _matern(z, other, hyper.signal)
    k = _matern(z[:, :, :-1], other[:, :, :-1], hyper.signal)
    apart, decay = hyper.along.decays(z[0, :, -1], other[0, :, -1])
    share = hyper.along.share[:, None, None]
    decay *= 1 - share
    decay += share
    k *= decay
    k += hyper.along.in_common(apart)
    return k


def _matern(z: Floats, other: Floats, signal: Floats) -> Floats:
    # In place: these arrays are the largest, and most of the time of a suggestion goes into them.
    r: Floats = z @ np.swapaxes(other, 1, 2)
    r *= -2
    r += np.einsum("snq,snq->sn", z, z)[:, :, None]
    r += np.einsum("smq,smq->sm", other, other)[:, None, :]
    np.maximum(r, 0, out=r)
    r *= 5
    np.sqrt(r, out=r)
    k = r * (1 / 3)
    k += 1
    k *= r
    k += 1
    np.negative(r, out=r)
    k *= np.exp(r, out=r)  # eq. 4.17
    k *= signal[:, None, None]
    return k


def squared_distances(z: Floats) -> Floats:
    """Return the (n, n) squared distances of points at *z*, (n, q)."""
    norms = np.einsum("nq,nq->n", z, z)
    r2: Floats = np.maximum(norms[:, None] + norms - 2 * (z @ z.T), 0)
    return r2


def matern_slope(r2: Floats) -> Floats:
    """Return the derivative of the Matern-5/2 correlation by the squared distance, any shape."""
    r = np.sqrt(5 * r2)
    slope: Floats = (-5 / 6) * (1 + r) * np.exp(-r)
    return slope


def with_noise(k: Floats, hyper: Hyper) -> Floats:
    """Return the covariances *k*, (s, n, n), with the noise of observations added to it, in place."""
    i = np.arange(k.shape[1])
    k[:, i, i] += hyper.noise[:, None]
    return k
