"""Random search.

A finite space is drawn from without replacement; any other by independent draws. Source: Bergstra & Bengio, Random
Search for Hyper-Parameter Optimization, JMLR 13 (2012).
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.samplers.finite import FiniteWalk, suggest_each
from whet.space.grid import permuted
from whet.space.space import Space


class Random:
    """Config *k* is a function of the study's seed and *k*, in a finite space also of the configs that people gave."""

    def __init__(self) -> None:
        self._walk: tuple[Space, int, FiniteWalk] | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return a draw for each of *numbers*; see `Sampler`."""
        space = history.problem.space
        if space.is_finite:
            return suggest_each(numbers, history.given, self._walk_of(space, history.seed).config, "random")
        return [Suggestion(space.sample(rng_of(number)), {"source": "random"}) for number in numbers]

    def _walk_of(self, space: Space, seed: int) -> FiniteWalk:
        if self._walk is None or self._walk[0] is not space or self._walk[1] != seed:
            walk = FiniteWalk(space, lambda position: permuted(seed, walk.grid.size, position))
            self._walk = (space, seed, walk)
        return self._walk[2]
