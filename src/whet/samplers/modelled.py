"""What model-based samplers share: one point after another, each knowing those before it, none twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.algorithms.cube import Floats
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import SearchExhausted
from whet.samplers.codec import Codec
from whet.samplers.finite import next_config
from whet.samplers.known import Known, known_of
from whet.space.grid import Grid, permuted
from whet.space.space import Space

_MOST_DRAWS = 1000  # of random configs, for one that nobody has been given; an endless space has one at once
_N_DRAWS_OF_FINITE = 100  # before a finite space is walked through, which finds whatever is left


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point that an algorithm would try, (d,), settled, and what it believes of it."""

    x: Floats
    why: Mapping[str, Any]


Propose = Callable[[Known, np.random.Generator], Proposal]


class CodecOf:
    """The codec of the space that a sampler was last asked about."""

    def __init__(self) -> None:
        self._codec: Codec | None = None

    def __call__(self, space: Space) -> Codec:
        """Return the codec of *space*."""
        if self._codec is None or self._codec.space is not space:
            self._codec = Codec(space)
        return self._codec


def suggest_in_turn(
    history: History, numbers: Sequence[int], rng_of: RngOf, codec: Codec, propose: Propose
) -> list[Suggestion]:
    """Return what *propose* proposes for each of *numbers*, the earlier ones pending; another config if one is taken.

    In a finite space no config comes twice, and once all have been given there are fewer suggestions than numbers.

    Raises:
        SearchExhausted: there is none even for the first.
    """
    known = known_of(history, codec)
    suggestions: list[Suggestion] = []
    for number in numbers:
        rng = rng_of(number)
        proposal = propose(known, rng)
        config: Mapping[str, Any] = codec.config(proposal.x)
        why = proposal.why
        if not _is_new(config, known, codec):
            try:
                config, why = _another(history, known, codec, rng), {"source": "rest"}
            except SearchExhausted:
                if not suggestions:
                    raise
                break
        suggestions.append(Suggestion(config, why))
        known = known.with_pending(codec.point(config))
    return suggestions


def _another(history: History, known: Known, codec: Codec, rng: np.random.Generator) -> Mapping[str, Any]:
    """Return a config that nobody has been given, in an endless space any config if there seems to be none.

    Raises:
        SearchExhausted: a finite space has no other.
    """
    space = codec.space
    if not space.is_finite:
        for _ in range(_MOST_DRAWS):
            drawn = space.sample(rng)
            if _is_new(drawn, known, codec):
                break
        return drawn
    x, may_be = codec.cube.settled(rng.random((_N_DRAWS_OF_FINITE, codec.cube.d)))
    for drawn in map(codec.config, x[may_be]):
        if _is_new(drawn, known, codec):
            return drawn
    grid, place = Grid(space), 0
    while True:
        place, config = next_config(grid, lambda at: permuted(history.seed, grid.size, at), place)
        if _is_new(config, known, codec):
            return config


def _is_new(config: Mapping[str, Any], known: Known, codec: Codec) -> bool:
    """Tell whether *config* is in the space and nobody has been given it.

    An axis with too many values to list them is continuous to an algorithm: the point that it proposes may be new
    where the config, and so its own point, is not.
    """
    return codec.space.contains(config) and bool(known.is_new(codec.point(config)[None])[0])
