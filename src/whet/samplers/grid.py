"""Grid search: every config of a finite space in order, the first parameter slowest."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.samplers.finite import FiniteWalk, suggest_each
from whet.space.space import Space


class Grid:
    """Config *k* is the *k*-th of the grid, so resuming and running in parallel change nothing.

    Configs that people gave take no place of it and are not run again.

    Raises:
        SpaceError: from :meth:`suggest`, when a parameter is not finite.
    """

    def __init__(self) -> None:
        self._walk: tuple[Space, FiniteWalk] | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return the configs at *numbers*; see `Sampler`."""
        del rng_of  # nothing is random here
        space = history.problem.space
        if self._walk is None or self._walk[0] is not space:
            self._walk = (space, FiniteWalk(space, lambda position: position))
        return suggest_each(numbers, history.given, self._walk[1].config, "grid")
