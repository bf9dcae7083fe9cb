"""How a search by a model begins: with the centre of the cube, then points that fill it evenly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.algorithms.cube import Floats
from whet.algorithms.sobol import MOST_DIMENSIONS, sobol
from whet.points.codec import Codec
from whet.points.known import Known

_BLOCK = 64  # points that are made at a time, and at least how many are looked at for one that may be tried
FEWEST_VALUES = 2  # that a model can begin with


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point that an algorithm would try, (d,), settled, and what it believes of it."""

    x: Floats
    why: Mapping[str, Any]


def startup_point(known: Known, codec: Codec, seed: int, n_start: int) -> Proposal | None:
    """Return the next point of the design of a study with this *seed*, ``None`` once a model can take over.

    That is when there are *n_start* configs, ended or being tried, and two of them have a value. Which point is next
    is a function of the number of configs; where it is forbidden or taken it is the first after it that is not.
    """
    n = known.n_configs
    if n >= n_start and np.isfinite(known.y).sum() >= FEWEST_VALUES:
        return None
    block, place = divmod(n, _BLOCK)
    u = np.vstack([_design(codec.cube.d, block, seed)[place:], _design(codec.cube.d, block + 1, seed)])
    x, may_be = codec.cube.settled(u)
    may_be &= known.is_new(x)
    return Proposal(x[np.argmax(may_be)], {"source": "start"})  # the first, where none may be


def _design(d: int, block: int, seed: int) -> Floats:
    """Return block number *block* of the design, (64, d): each is one scrambled net of its own."""
    own_seed = seed + (block << 64)  # seeds of studies are below 2^64
    u = sobol(d, _BLOCK, own_seed) if d <= MOST_DIMENSIONS else np.random.default_rng(own_seed).random((_BLOCK, d))
    if block == 0:
        u[0] = 0.5
    return u
