"""Maximising a cheap function of points over a mixed and conditional cube: wide scoring, then local moves, then slopes.

Of many uniform points, some of their coordinates moved to the ends of their axes, those that a rough score likes are
scored, and so are variants of the best trials; from the best of both start walks whose steps shrink: numbers move a
little, ints at least a level, categories are drawn anew. Where axes are continuous, the winner is polished along its
slope.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whet.algorithms.cube import Bools, Cube, Floats

_N_WIDE = 1200  # uniform points that are scored roughly; where axes are categories, a promising place is easily missed
_N_UNIFORM = 150  # of them that are scored
_N_VARIANTS = 300
_N_STARTS = 4  # of each kind
_N_ROUNDS = 6
_N_CHILDREN = 16
_FIRST_STEP, _SHRINK = 0.15, 0.5
_P_EDGE = 0.15  # of a coordinate of a uniform point: the best configs often lie at the ends of axes
_VARIANT_STEPS = (0.02, 0.05, 0.1, 0.2, 0.4)
_POLISH_STEPS = 12
_SLOPE_STEP = 1e-6
_MOST_POLISHED = 64  # axes: the cost of a slope is their number times that of a point, which grows with it as well

Score = Callable[[Floats], Floats]
IsNew = Callable[[Floats], Bools]


def maximised(
    score: Score, rough: Score, cube: Cube, is_new: IsNew, good: Floats, rng: np.random.Generator
) -> tuple[Floats, float]:
    """Return the point, (d,), with the highest *score* found among those that are configs and new, and the score.

    Args:
        score: (m, d) settled points -> (m,) finite or -inf.
        rough: likewise, cheaper, and right about where it is worth looking.
        cube: where to look.
        is_new: tells which of the settled points nobody has been given.
        good: (g, d) points worth looking around, g > 0.
        rng: of the search.

    The score is -inf where nothing new was found.
    """

    def scored(u: Floats) -> tuple[Floats, Floats]:
        x, is_allowed = cube.settled(u)
        found = np.full(len(x), -np.inf)
        usable = np.flatnonzero(is_allowed & is_new(x))
        if len(usable):
            found[usable] = score(x[usable])
        return x, np.where(np.isnan(found), -np.inf, found)

    if not cube.d:
        x, values = scored(np.empty((1, 0)))
        return x[0], float(values[0])
    wide = cube.settled(with_edges(rng.random((_N_WIDE, cube.d)), cube, rng))[0]
    uniform = scored(wide[np.argsort(-rough(wide), kind="stable")[:_N_UNIFORM]])
    parents = good[rng.integers(len(good), size=_N_VARIANTS)]
    variants = scored(mutated(parents, cube, rng.choice(_VARIANT_STEPS, size=_N_VARIANTS), rng))
    first = [np.argsort(-values, kind="stable")[:_N_STARTS] for _, values in (uniform, variants)]
    at = np.vstack([uniform[0][first[0]], variants[0][first[1]]])
    best = np.concatenate([uniform[1][first[0]], variants[1][first[1]]])
    step = _FIRST_STEP
    for _ in range(_N_ROUNDS):
        steps = step * np.exp(0.5 * rng.standard_normal(len(at) * _N_CHILDREN))
        x, values = scored(mutated(np.repeat(at, _N_CHILDREN, axis=0), cube, steps, rng))
        values = values.reshape(len(at), _N_CHILDREN)
        winner = values.argmax(axis=1)
        value = values[np.arange(len(at)), winner]
        is_better = value > best
        at[is_better] = x.reshape(len(at), _N_CHILDREN, cube.d)[is_better, winner[is_better]]
        best = np.maximum(value, best)
        step *= _SHRINK
    top = int(best.argmax())
    return polished(scored, cube, at[top], float(best[top]), rng)


def with_edges(u: Floats, cube: Cube, rng: np.random.Generator) -> Floats:
    """Return *u*, (m, d), with some coordinates moved to the nearer end of their axes."""
    is_moved = (rng.random(u.shape) < _P_EDGE) & ~cube.is_category
    return np.where(is_moved, np.round(u), u)


def mutated(x: Floats, cube: Cube, steps: Floats, rng: np.random.Generator) -> Floats:
    """Return a variant of each of the points *x*, (m, d), that differs in one or more axes; *steps*, (m,)."""
    m, d = x.shape
    u = np.where(np.isnan(x), rng.random(x.shape), x)
    is_moved = rng.random((m, d)) < min(max(1.5 / d, 0.2), 1.0)
    still = np.flatnonzero(~is_moved.any(axis=1))
    is_moved[still, rng.integers(d, size=len(still))] = True
    moved = np.clip(u + rng.standard_normal((m, d)) * steps[:, None], 0.0, 1.0)
    for axis, centres in enumerate(cube.centres):
        if centres is None:
            continue
        n = len(centres)
        if cube.is_category[axis]:
            # Any level but the one it has, which a draw among one fewer skips over.
            level = (cube.level(u[:, axis], axis) + 1 + rng.integers(max(n - 1, 1), size=m)) % n
        else:
            before, level = cube.level(u[:, axis], axis), cube.level(moved[:, axis], axis)
            one = np.where(before == 0, 1, np.where(before == n - 1, -1, rng.choice([-1, 1], size=m)))
            level = np.where(level == before, before + one, level)
        moved[:, axis] = centres[level]
    return np.where(is_moved, moved, u)


def polished(
    scored: Callable[[Floats], tuple[Floats, Floats]], cube: Cube, x: Floats, value: float, rng: np.random.Generator
) -> tuple[Floats, float]:
    """Return the point that following the slope from *x*, (d,), leads to on continuous axes, and its score."""
    axes = np.flatnonzero(cube.is_continuous & ~np.isnan(x))
    if not len(axes) or not np.isfinite(value):
        return x, value
    if len(axes) > _MOST_POLISHED:
        axes = rng.choice(axes, _MOST_POLISHED, replace=False)
    from scipy.optimize import minimize

    # Moving one axis may make another active.
    start = np.nan_to_num(x, nan=0.5)

    # The slope by differences, all axes in one batch: any score will do, and it costs one call.
    def negated(at: Floats) -> tuple[float, Floats]:
        u = np.repeat(start[None], len(axes) + 1, axis=0)
        u[:, axes] = at
        sign = np.where(at > 0.5, -1.0, 1.0)  # into the cube
        u[np.arange(1, len(axes) + 1), axes] += sign * _SLOPE_STEP
        values = scored(u)[1]
        if not np.isfinite(values).all():
            return np.inf, np.zeros(len(axes))
        return -values[0], -(values[1:] - values[0]) * sign / _SLOPE_STEP

    found = minimize(
        negated,
        start[axes],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * len(axes),
        options={"maxiter": _POLISH_STEPS},
    )
    start[axes] = found.x
    at, values = scored(start[None])
    return (at[0], float(values[0])) if values[0] > value else (x, value)
