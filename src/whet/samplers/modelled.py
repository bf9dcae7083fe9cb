"""What model-based samplers share: one point after another, each knowing those before it, none twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress, islice
from typing import Any

import numpy as np

from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import SearchExhausted
from whet.points.codec import Codec
from whet.points.known import Known, known_of
from whet.points.startup import Proposal
from whet.samplers.finite import next_config
from whet.space.grid import Grid, permuted
from whet.space.space import Space

_MOST_DRAWS = 1000  # of random configs, for one that nobody has been given; an endless space has one at once
_N_DRAWS_OF_FINITE = 100  # before a finite space is walked through, which finds whatever is left
_BLOCK = 256  # configs that are looked at together


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
    history: History,
    numbers: Sequence[int],
    rng_of: RngOf,
    codec: Codec,
    propose: Propose,
    known: Known | None = None,
) -> list[Suggestion]:
    """Return what *propose* proposes for each of *numbers*, the earlier ones pending; another config if one is taken.

    *known* is what it is to know, by default what `known_of` does. In a finite space no config comes twice, and once
    all have been given there are fewer suggestions than numbers.

    Raises:
        SearchExhausted: there is none even for the first.
    """
    known = known_of(history, codec) if known is None else known
    suggestions: list[Suggestion] = []
    for number in numbers:
        rng = rng_of(number)
        proposal = propose(known, rng)
        config: Mapping[str, Any] = codec.config(proposal.x)
        why = proposal.why
        if _first_new([config], known, codec) is None:
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
        draws: Iterator[Mapping[str, Any]] = (space.sample(rng) for _ in range(_MOST_DRAWS))
        first = next(draws)
        found = _first_new(chain([first], draws), known, codec)
        return first if found is None else found
    x, may_be = codec.cube.settled(rng.random((_N_DRAWS_OF_FINITE, codec.cube.d)))
    found = _first_new(map(codec.config, x[may_be & known.is_new(x)]), known, codec)
    if found is None:
        found = _first_new(_walk(space, history.seed), known, codec)
    if found is None:
        raise SearchExhausted
    return found


def _walk(space: Space, seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield every config of a finite *space*, in random order."""
    grid, place = Grid(space), 0
    while True:
        try:
            place, config = next_config(grid, lambda at: permuted(seed, grid.size, at), place)
        except SearchExhausted:
            return
        yield config


def _first_new(configs: Iterable[Mapping[str, Any]], known: Known, codec: Codec) -> Mapping[str, Any] | None:
    """Return the first of *configs* that is in the space and nobody has been given, ``None`` if there is none."""
    waiting, size = iter(configs), 1  # mostly the first one is new
    while block := list(islice(waiting, size)):
        is_new = known.is_new(codec.points(codec.space.encode_many(block)))
        for config in compress(block, is_new):
            if codec.space.contains(config):
                return config
        size = _BLOCK
    return None
