"""CMA-ES as a fold over what is known: a state, and the state after one more population.

The updates are those of the package ``cmaes``: plain CMA-ES where all axes are continuous, CMA-ES with margin for
axes of few values, separable CMA-ES beyond a hundred axes, and beside either the categorical distribution of CatCMA.
We draw the points ourselves, all from the one generator we are given, and tell ranks, which are finite and tell a
rank-based method all it wants to know.

Source: Hansen, arXiv:1604.00772; margin: Hamano et al., arXiv:2205.13482 and 2504.07884; categories: Hamano et al.,
GECCO 2024 (arXiv:2405.09962); separable: Ros and Hansen, PPSN 2008; points from elsewhere: Hansen, Injecting external
solutions into CMA-ES, arXiv:1110.4181, equation 4; restarts: Auger and Hansen, CEC 2005 (IPOP); warm start: Nomura et
al., AAAI 2021. Reference implementation: the package itself.

Notation:
    u    (n, d) raw points: not snapped to levels, and within [0, 1] only where an axis is continuous
    x    (n, d) settled points, NaN where an axis is not active
    v    (n, k) raw places on the axes that have an order, the continuous ones first
    q    (K,) probabilities of the categories of an axis
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Bools, Cube, Floats, keys

N_DRAWS = 128  # points drawn at a time, of which a few are candidates

_MOST_STEPS = 64  # an ordered axis with more values is as good as continuous
_MOST_JOINT = 100  # axes whose correlations are learned
_MOST_DOUBLINGS = 5  # of the population, by restarts
_SMALLEST_WIDTH = 1e-8  # of the distribution, in units of the cube: what is narrower has converged
_MOST_FLAT = 10  # populations in a row whose values were all the same
_ENOUGH_TO_WARM = 10  # points, so that the best tenth of them is at least one
_TINY = 1e-150

RngOf = Callable[[int], np.random.Generator]


@dataclass(frozen=True)
class Axes:
    """How the axes of a cube are searched; two values are a category."""

    cube: Cube

    @cached_property
    def is_category(self) -> Bools:
        """(d,) whether an axis has a categorical distribution."""
        found: Bools = self.cube.is_category | (self.cube.n_levels == 2)
        return found

    @cached_property
    def categories(self) -> NDArray[np.intp]:
        """The axes with a categorical distribution."""
        return np.flatnonzero(self.is_category)

    @cached_property
    def n_continuous(self) -> int:
        """How many of :attr:`ordered` are searched as continuous axes."""
        return len(self.ordered) - int(self._is_stepped.sum())

    @cached_property
    def ordered(self) -> NDArray[np.intp]:
        """The other axes, the continuous ones first."""
        return np.concatenate([np.flatnonzero(~self.is_category & ~self._is_stepped), np.flatnonzero(self._is_stepped)])

    @cached_property
    def _is_stepped(self) -> Bools:
        stepped: Bools = ~self.is_category & (self.cube.n_levels > 0) & (self.cube.n_levels <= _MOST_STEPS)
        return stepped if (~self.is_category).sum() <= _MOST_JOINT else np.zeros_like(stepped)

    @cached_property
    def is_exact(self) -> Bools:
        """(d,) whether a settled point says what was drawn on an axis, where the axis is active."""
        return self.cube.is_continuous | self.is_category

    def centres(self, axis: int) -> Floats:
        """Return the places of the values of an *axis* that has some."""
        centres = self.cube.centres[axis]
        assert centres is not None, f"axis {axis} is continuous"
        return centres


@dataclass(frozen=True, slots=True)
class Start:
    """Where a search begins: its mean, (d,), and the width and shape of its distribution on the ordered axes."""

    mean: Floats
    sigma: float
    shape: Floats | None = None
    is_informed: bool = False  # the mean is a good point, not just any


@dataclass(frozen=True, slots=True)
class State:
    """What the populations so far have led to.

    Attributes:
        n_used: points that were part of them, those before the first population included.
        since: points that were used up when the search last began anew, 0 if it never did.
        popsize: how many points make the next one.
        restart: how often the search has begun anew.
        generation: populations since then.
        n_flat: populations in a row whose values were all the same.
        gaussian, categorical: the distributions, as the package keeps them; never changed once they are here.
    """

    n_used: int
    since: int
    popsize: int
    restart: int
    generation: int
    n_flat: int
    gaussian: Any
    categorical: Any


@dataclass(frozen=True, slots=True)
class Gaussian:
    """v = mean + widths * rotation (scales * z), where z is standard normal; no rotation stands for the identity."""

    mean: Floats
    widths: Floats
    scales: Floats
    rotation: Floats | None

    @classmethod
    def of(cls, optimizer: Any) -> Gaussian:
        """Return the distribution of an optimizer of the package, which has no public name for most of it."""
        found = optimizer._eigen_decomposition()
        rotation, scales = found if isinstance(found, tuple) else (None, found)
        widths = optimizer._sigma * getattr(optimizer, "_A", np.ones(len(scales)))
        return cls(optimizer._mean, widths, np.maximum(scales, _TINY), rotation)

    def from_white(self, z: Floats) -> Floats:
        """Return the places v for *z*."""
        y = z * self.scales
        v: Floats = self.mean + self.widths * (y if self.rotation is None else y @ self.rotation.T)
        return v

    def to_white(self, v: Floats) -> Floats:
        """Return the z for places *v*; NaN counts as the mean."""
        y = np.nan_to_num((v - self.mean) / self.widths, nan=0.0)
        z: Floats = (y if self.rotation is None else y @ self.rotation) / self.scales
        return z

    @property
    def deviations(self) -> Floats:
        """(k,) standard deviation of each axis."""
        spread = self.scales if self.rotation is None else np.linalg.norm(self.rotation * self.scales, axis=1)
        deviations: Floats = self.widths * spread
        return deviations


def default_popsize(d: int) -> int:
    """Return how many points make a population of a search over *d* axes.

    Smaller than the usual 4 + 3 ln d, which pays at a hundred trials.
    """
    return 4 + int(1.5 * math.log(max(d, 1)))


def start_at(axes: Axes, x: Floats, order: NDArray[np.intp], sigma0: float) -> Start:
    """Return where to begin, given points *x* whose values are known and their *order*, the best first.

    From ten points on the best of them shape the distribution, fewer give its mean; without any it is the centre.
    """
    if not len(order):
        return Start(np.full(axes.cube.d, 0.5), sigma0)
    k = len(axes.ordered)
    mean = np.where(np.isnan(x[order[0]]), 0.5, x[order[0]])
    if len(order) < _ENOUGH_TO_WARM or not 0 < k <= _MOST_JOINT:
        return Start(mean, sigma0, is_informed=True)
    from cmaes import get_warm_start_mgd

    places = np.where(np.isnan(x), 0.5, x)[:, axes.ordered]
    best, sigma, shape = get_warm_start_mgd([(places[i], float(rank)) for rank, i in enumerate(order)])
    mean[axes.ordered] = np.clip(best, 0.0, 1.0)
    return Start(mean, sigma, shape, is_informed=True)


def begun(axes: Axes, start: Start, popsize: int, n_used: int, restart: int = 0) -> State:
    """Return the state of a search that begins at *start*."""
    since = n_used if restart else 0
    return State(
        n_used, since, popsize, restart, 0, 0, _gaussian(axes, start, popsize), _categorical(axes, start, popsize)
    )


def _gaussian(axes: Axes, start: Start, popsize: int) -> Any:
    import cmaes

    k, n = len(axes.ordered), axes.n_continuous
    mean = start.mean[axes.ordered].copy()
    if not k:
        return None
    if k > _MOST_JOINT:
        return cmaes.SepCMA(mean=mean, sigma=start.sigma, population_size=popsize, seed=0)
    shape = np.eye(k) if start.shape is None else start.shape.copy()
    if n == k:
        return cmaes.CMA(mean=mean, sigma=start.sigma, cov=shape, population_size=popsize, seed=0)
    return cmaes.CatCMAwM(
        x_space=[[0.0, 1.0]] * n or None,
        z_space=[axes.centres(axis).tolist() for axis in axes.ordered[n:]],
        mean=mean,
        sigma=start.sigma,
        cov=shape,
        population_size=popsize,
        seed=0,
    )


def _categorical(axes: Axes, start: Start, popsize: int) -> Any:
    """Return the categorical distributions: even, or halfway between that and the category of a good point."""
    import cmaes

    if not len(axes.categories):
        return None
    sizes = axes.cube.n_levels[axes.categories]
    q = (np.arange(sizes.max()) < sizes[:, None]) / sizes[:, None]
    if start.is_informed:
        q /= 2
        for row, axis in enumerate(axes.categories):
            q[row, axes.cube.level(start.mean[axis, None], axis)] += 0.5
    return cmaes.CatCMAwM(c_space=sizes.tolist(), cat_param=q, population_size=popsize, seed=0)


def drawn(axes: Axes, state: State, rng: np.random.Generator) -> Floats:
    """Return raw points u drawn from the distributions; those that needed no clipping come first."""
    u = np.empty((N_DRAWS, axes.cube.d))
    order = np.arange(N_DRAWS)
    if state.gaussian is not None:
        v = Gaussian.of(state.gaussian).from_white(rng.standard_normal((N_DRAWS, len(axes.ordered))))
        box = v[:, : axes.n_continuous]
        order = np.argsort(((box < 0) | (box > 1)).any(axis=1), kind="stable")
        np.clip(box, 0.0, 1.0, out=box)
        u[:, axes.ordered] = v
    for row, axis in enumerate(axes.categories):
        centres, q = axes.centres(axis), state.categorical._q[row]
        level = np.searchsorted(np.cumsum(q[: len(centres)]), rng.random(N_DRAWS), side="right")
        u[:, axis] = centres[np.minimum(level, len(centres) - 1)]
    return u[order]


def advanced(
    axes: Axes,
    state: State,
    x: Floats,
    ranks: Floats,
    numbers: Sequence[int],
    rng_of: RngOf,
    *,
    sigma0: float,
    restarts: bool,
) -> State:
    """Return the state after the population *x*, (popsize, d), whose points have *ranks* and *numbers*.

    A point that was drawn from *state* by the generator of its number counts as it was drawn; others, from elsewhere
    or late, are brought nearer if they are too far away. Where nothing is known of a coordinate it is the mean.
    """
    n_used = state.n_used + len(x)
    is_flat = bool((ranks == ranks[0]).all())
    after = replace(state, n_used=n_used, generation=state.generation + 1, n_flat=state.n_flat + 1 if is_flat else 0)
    if not is_flat:
        after = _told(axes, after, x, ranks, numbers, rng_of)
    if not _has_ended(after):
        return after
    if not restarts:
        return replace(state, n_used=n_used)
    restart = state.restart + 1
    start = Start(rng_of(int(numbers[-1])).random(axes.cube.d), sigma0)
    popsize = state.popsize * (2 if restart <= _MOST_DOUBLINGS else 1)
    return begun(axes, start, popsize, n_used, restart)


def _told(axes: Axes, state: State, x: Floats, ranks: Floats, numbers: Sequence[int], rng_of: RngOf) -> State:
    order = np.argsort(ranks, kind="stable")
    gaussian, categorical = copy.deepcopy(state.gaussian), copy.deepcopy(state.categorical)
    with np.errstate(all="ignore"):  # what becomes of it is looked at afterwards
        if gaussian is not None:
            v = _places(axes, state, x, numbers, rng_of)[order]
            if (n := axes.n_continuous) < len(axes.ordered):
                told = [gaussian.Solution(x=row[:n], z=row[n:], _v_raw=row) for row in v]
            else:
                told = list(v)
            gaussian.tell([(solution, float(rank)) for rank, solution in enumerate(told)])
        if categorical is not None:
            c = _indicators(axes, categorical._q, x[order])
            categorical.tell([(categorical.Solution(c=row), float(rank)) for rank, row in enumerate(c)])
    return replace(state, gaussian=gaussian, categorical=categorical)


def _places(axes: Axes, state: State, x: Floats, numbers: Sequence[int], rng_of: RngOf) -> Floats:
    """Return the (popsize, k) raw places of points *x*."""
    before = Gaussian.of(state.gaussian)
    level_of_mean = axes.cube.snapped(_with(axes, before.mean))[0, axes.ordered]
    v = x[:, axes.ordered].copy()
    is_exact = axes.is_exact[axes.ordered]
    furthest = math.sqrt(v.shape[1]) + 2 * v.shape[1] / (v.shape[1] + 2)
    for i, number in enumerate(numbers):
        if np.isnan(v[i]).any() or not is_exact.all():
            u = drawn(axes, state, rng_of(int(number)))
            (key,) = keys(x[i, None])
            found = keys(axes.cube.settled(u)[0])
            if key in found:
                v[i] = u[found.index(key), axes.ordered]
                continue
        v[i] = np.where(np.isnan(v[i]) | (~is_exact & (v[i] == level_of_mean)), before.mean, v[i])
        length = float(np.linalg.norm(before.to_white(v[i])))
        if length > furthest:
            v[i] = before.mean + (v[i] - before.mean) * (furthest / length)
    return v


def _with(axes: Axes, v: Floats) -> Floats:
    """Return one point, (1, d), that has places *v* on the ordered axes."""
    u = np.full((1, axes.cube.d), 0.5)
    u[0, axes.ordered] = v
    return u


def _indicators(axes: Axes, q: Floats, x: Floats) -> Floats:
    """Return (n, number of categorical axes, K) indicators of categories; q itself, which says nothing, for NaN."""
    c = np.zeros((len(x), *q.shape))
    for row, axis in enumerate(axes.categories):
        c[np.arange(len(x)), row, axes.cube.level(x[:, axis], axis)] = 1.0
        c[np.isnan(x[:, axis]), row] = q[row]
    return c


def _has_ended(state: State) -> bool:
    """Tell whether nothing more is to be expected of a search."""
    if state.n_flat >= _MOST_FLAT:
        return True
    if state.categorical is not None and not np.isfinite(state.categorical._q).all():
        return True
    if state.gaussian is None:
        return False
    found = [state.gaussian._mean, state.gaussian._C, state.gaussian._sigma, getattr(state.gaussian, "_A", 1.0)]
    if not all(np.isfinite(part).all() for part in found):
        return True
    with np.errstate(all="ignore"):
        narrow = bool((Gaussian.of(state.gaussian).deviations < _SMALLEST_WIDTH).all())
        return narrow or bool(state.gaussian.should_stop())
