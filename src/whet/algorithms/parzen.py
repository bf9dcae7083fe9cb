"""Tree-structured Parzen estimator: points are tried where good ones are dense and others are not.

Sources: Bergstra, Bardenet, Bengio & Kegl, Algorithms for Hyper-Parameter Optimization, NIPS 2011 (the criterion);
Falkner, Klein & Hutter, BOHB, ICML 2018 (one multivariate kernel a trial); Watanabe, Tree-Structured Parzen Estimator:
Understanding Its Algorithm Components, arXiv 2304.11127 (what each component is worth).

A kernel is a product over all axes of the cube. On an axis where its own trial was not active it is uniform: the trial
says nothing of it. The density of a point is the product over the axes that are active *there*, which is the kernel
with the others integrated out. So parents decide whether a child is there, a child is estimated from the trials that
had it, densities of points with different active axes compare, and trials of every branch share what they have in
common. The prior is a kernel that says nothing of any axis.

Notation:
    d      axes, m candidates, k kernels
    x      (m, d) points whose density is wanted, NaN where an axis is not active
    mu     (k, d) points that the kernels stand on, NaN where the kernel is uniform
    w      (k,) weights of the kernels, sum 1
    b      (d,) widths: the standard deviation on an ordered axis, the chance of another value on a category
    l, g   densities of the good trials and of the others
    gamma  share of the trials that is good
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Cube, Floats

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A density over the cube: kernels (k, d), their weights (k,), their widths (d,); see the notation above."""

    cube: Cube
    mu: Floats
    w: Floats
    b: Floats


# ---- the density
def log_density(mixture: Mixture, x: Floats) -> Floats:
    """Return the (m,) log densities at settled points: of values on axes with levels the mass, elsewhere the density.

    log p(x) = log sum_k w_k prod_j K_j(x_j | mu_kj, b_j), j over the axes active at x.
    """
    logs = np.repeat(np.log(mixture.w)[None], len(x), axis=0)
    is_active = ~np.isnan(x)
    for axis in range(mixture.cube.d):
        rows = is_active[:, axis]
        if rows.all():  # no need to copy
            logs += log_kernel(mixture, axis, x[:, axis])
        elif rows.any():
            logs[rows] += log_kernel(mixture, axis, x[rows, axis])
    top = logs.max(axis=1, keepdims=True)
    logs -= top
    found: Floats = top[:, 0] + np.log(np.exp(logs, out=logs).sum(axis=1))
    return found


def log_kernel(mixture: Mixture, axis: int, x: Floats) -> Floats:
    """Return (m, k) log K(x | mu, b) of every kernel at places *x*, (m,), on one axis."""
    cube, mu, b = mixture.cube, mixture.mu[:, axis], mixture.b[axis]
    centres = cube.centres[axis]
    is_silent = np.isnan(mu)
    if centres is None:
        logs = _log_normal(x, np.where(is_silent, 0.5, mu), b)
        logs[:, is_silent] = 0.0
        return logs
    # What many points or kernels share is computed once.
    level, of_x = np.unique(cube.level(x, axis), return_inverse=True)
    own, of_mu = np.unique(np.where(is_silent, -1, cube.level(mu, axis)), return_inverse=True)
    if cube.is_category[axis]:
        mass = _category_mass(level, own, len(centres), b)
    else:
        edges = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [1.0]])
        low, high = edges[level][:, None], edges[level + 1][:, None]
        mass = np.where(own < 0, high - low, _cell_mass(low, high, centres[own], b))
    found: Floats = np.log(mass).take(of_x, axis=0).take(of_mu, axis=1)
    return found


def _log_normal(x: Floats, mu: Floats, b: float) -> Floats:
    """Return the (m, k) log density at *x*, (m,), of normal distributions cut off at 0 and 1."""
    from scipy.special import ndtr

    log_z = np.log(ndtr((1 - mu) / b) - ndtr(-mu / b)) + np.log(b * np.sqrt(2 * np.pi))
    scale = b * np.sqrt(2)
    logs: Floats = np.subtract.outer(x / scale, mu / scale)
    np.square(logs, out=logs)
    np.negative(logs, out=logs)
    logs -= log_z
    return logs


def _cell_mass(low: Floats, high: Floats, mu: Floats, b: float) -> Floats:
    """Return the mass between *low* and *high*, (m, 1), of normal distributions cut off at 0 and 1, (m, k)."""
    from scipy.special import ndtr

    # Seen from the side of mu where both are in the lower tail, the difference of small numbers stays exact.
    flip = np.where(low + high > 2 * mu, -1.0, 1.0)
    first, second = (low - mu) / b * flip, (high - mu) / b * flip
    mass = np.abs(ndtr(second) - ndtr(first)) / (ndtr((1 - mu) / b) - ndtr(-mu / b))
    found: Floats = np.maximum(mass, 1e-300)
    return found


def _category_mass(level: NDArray[np.int64], own: NDArray[np.int64], n: int, b: float) -> Floats:
    """Return (m, k) the mass at *level* of kernels that have *own* level, -1 for none (Aitchison & Aitken, 1976)."""
    other = b / (n - 1)
    mass: Floats = np.where(own < 0, 1.0 / n, np.where(level[:, None] == own, 1.0 - b, other))
    return mass


# ---- drawing from it
def draw(mixture: Mixture, m: int, rng: np.random.Generator) -> Floats:
    """Return *m* draws, (m, d) places in the cube on every axis, to be settled."""
    mu = mixture.mu[rng.choice(len(mixture.w), size=m, p=mixture.w)]
    u = rng.random(mu.shape)
    for axis in range(mixture.cube.d):
        speaks = ~np.isnan(mu[:, axis])
        u[speaks, axis] = _drawn(mixture, axis, mu[speaks, axis], u[speaks, axis], rng)
    return u


def _drawn(mixture: Mixture, axis: int, mu: Floats, u: Floats, rng: np.random.Generator) -> Floats:
    """Return a draw on *axis* from the kernels that stand on *mu*, (m,), given uniform draws *u*, (m,)."""
    from scipy.special import ndtr, ndtri

    b = mixture.b[axis]
    if mixture.cube.is_category[axis]:
        centres = mixture.cube.centres[axis]
        assert centres is not None and len(centres) > 1, "an axis has more than one value"
        other = rng.integers(len(centres) - 1, size=len(mu))
        other += other >= mixture.cube.level(mu, axis)
        return np.where(u < b, centres[other], mu)
    low, high = ndtr(-mu / b), ndtr((1 - mu) / b)
    drawn: Floats = np.clip(mu + b * ndtri(low + u * (high - low)), 0.0, 1.0)
    return drawn
