"""What model-based samplers share: one point after another, each knowing those before it, none twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.algorithms.cube import Floats
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import SearchExhausted, SpaceError
from whet.samplers.codec import Codec
from whet.samplers.finite import next_config
from whet.samplers.known import Known, known_of
from whet.space.grid import Grid, permuted
from whet.space.space import Space

# Random configs that are drawn for one that nobody has been given; an endless space has one at once.
_MOST_DRAWS = 1000
_MOST_DRAWS_OF_FINITE = 100  # before the space is walked through, which finds whatever is left


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
        # Not of the proposal's own point, which is in between where an axis has too many values to list them.
        if not codec.space.contains(config) or not known.is_new(codec.point(config)[None])[0]:
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
    drawn = _drawn(known, codec, rng)
    if drawn is not None:
        return drawn
    if not space.is_finite:
        return space.sample(rng)
    grid, place = Grid(space), 0
    while True:
        place, config = next_config(grid, lambda at: permuted(history.seed, grid.size, at), place)
        if known.is_new(codec.point(config)[None])[0]:
            return config


def _drawn(known: Known, codec: Codec, rng: np.random.Generator) -> Mapping[str, Any] | None:
    """Return a random config that nobody has been given, ``None`` if none comes up."""
    is_finite = codec.space.is_finite
    for _ in range(_MOST_DRAWS_OF_FINITE if is_finite else _MOST_DRAWS):
        try:
            config = codec.space.sample(rng)
        except SpaceError:  # nearly all is forbidden, if not all
            if is_finite:
                return None
            raise
        if known.is_new(codec.point(config)[None])[0]:
            return config
    return None
