"""Walking a finite space: every config exactly once, in an order that is a function of the position alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whet.core.given import Given
from whet.core.protocols import Suggestion
from whet.errors import SearchExhausted, SpaceError
from whet.samplers.places import Places
from whet.space.grid import MOST_SKIPPED, Grid
from whet.space.space import Space


class FiniteWalk:
    """The configs of a finite space in the order of ``order``, a permutation of ``range(grid.size)``.

    Points that are forbidden, or the same config as another, are skipped; the walk remembers which it has met, so
    asking for position *k* costs what lies between the furthest position asked before and *k*. Configs that people
    gave are not met again after that: see `Places`.
    """

    def __init__(self, space: Space, order: Callable[[int], int]) -> None:
        self.grid = Grid(space)
        self._order = order
        self._found: list[int] = []  # points of the grid, by position; used only where some are skipped
        self._next = 0
        self._places = Places(self.grid, self._point)

    def config(self, number: int, given: Given) -> Mapping[str, Any]:
        """Return config *number*, where people gave some others.

        Raises:
            SearchExhausted: the space has no config left for it.
            SpaceError: so many points in a row were no config that looking further would take forever.
        """
        point = self._point(self._places.of(number, given))
        config = self.grid.at(point)
        assert config is not None, f"point {point} of the grid was found valid before"
        return config

    def _point(self, position: int) -> int:
        """Return the point of the grid at *position*; raises as :meth:`config` does."""
        if self.grid.is_plain:
            if position >= self.grid.size:
                raise SearchExhausted
            return self._order(position)
        while len(self._found) <= position:
            self._next, _ = next_config(self.grid, self._order, self._next)
            self._found.append(self._order(self._next - 1))
        return self._found[position]


def next_config(grid: Grid, order: Callable[[int], int], start: int) -> tuple[int, Mapping[str, Any]]:
    """Return the first config of *grid* from place *start* of *order* on, after the place that follows its own.

    Raises:
        SearchExhausted: there is none.
        SpaceError: so many points in a row were no config that looking further would take forever.
    """
    for place in range(start, min(grid.size, start + MOST_SKIPPED)):
        config = grid.at(order(place))
        if config is not None:
            return place + 1, config
    if start + MOST_SKIPPED < grid.size:
        if grid.is_sparse:
            raise SpaceError(
                f"{MOST_SKIPPED:,} points of the grid in a row were forbidden or the same config as others, and there "
                f"are {grid.size:,}, too many to count the configs by their conditions; let conditions look at fewer "
                "parameters, or at parameters of fewer values"
            )
        raise SpaceError(
            f"{MOST_SKIPPED:,} points of the grid in a row were forbidden, and there are {grid.size:,}; "
            "loosen what is forbidden, or leave out the values that it excludes"
        )
    raise SearchExhausted


def suggest_each(
    numbers: Sequence[int], given: Given, config_of: Callable[[int, Given], Mapping[str, Any]], source: str
) -> list[Suggestion]:
    """Return a suggestion for each of *numbers*, or for the first of them where the space ends before the last.

    ``config_of`` is asked for each number, with what was *given*.

    Raises:
        SearchExhausted: there is none even for the first.
    """
    suggestions: list[Suggestion] = []
    for number in numbers:
        try:
            suggestions.append(Suggestion(config_of(number, given), {"source": source}))
        except SearchExhausted:
            if not suggestions:
                raise
            break
    return suggestions
