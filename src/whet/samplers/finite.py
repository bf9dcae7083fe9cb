"""Walking a finite space: every config exactly once, in an order that is a function of the position alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whet.core.protocols import Suggestion
from whet.errors import SearchExhausted, SpaceError
from whet.space.grid import Grid
from whet.space.space import Space

_MOST_SKIPPED = 100_000  # points in a row, which takes seconds; a space may have 10^12 and forbid them all


class FiniteWalk:
    """The configs of a finite space in the order of ``order``, a permutation of ``range(grid.size)``.

    Points that are forbidden, or the same config as another, are skipped; the walk remembers which it has met, so
    asking for position *k* costs what lies between the furthest position asked before and *k*.
    """

    def __init__(self, space: Space, order: Callable[[int], int]) -> None:
        self.grid = Grid(space)
        self._order = order
        self._found: list[int] = []  # points of the grid, by position; used only where some are skipped
        self._next = 0

    def config(self, position: int) -> Mapping[str, Any]:
        """Return the config at *position*.

        Raises:
            SearchExhausted: the space has no more than *position* configs.
            SpaceError: so many points in a row were forbidden that looking further would take forever.
        """
        if not self.grid.is_plain:
            point = self._point(position)
        elif position < self.grid.size:
            point = self._order(position)
        else:
            raise SearchExhausted
        config = self.grid.at(point)
        assert config is not None, f"point {point} of the grid was found valid before"
        return config

    def _point(self, position: int) -> int:
        while len(self._found) <= position:
            self._next, _ = next_config(self.grid, self._order, self._next)
            self._found.append(self._order(self._next - 1))
        return self._found[position]


def next_config(grid: Grid, order: Callable[[int], int], start: int) -> tuple[int, Mapping[str, Any]]:
    """Return the first config of *grid* from place *start* of *order* on, after the place that follows its own.

    Raises:
        SearchExhausted: there is none.
        SpaceError: so many points in a row were forbidden that looking further would take forever.
    """
    for place in range(start, min(grid.size, start + _MOST_SKIPPED)):
        config = grid.at(order(place))
        if config is not None:
            return place + 1, config
    if start + _MOST_SKIPPED < grid.size:
        raise SpaceError(
            f"{_MOST_SKIPPED:,} points of the grid in a row were forbidden, and there are {grid.size:,}; "
            "loosen what is forbidden, or leave out the values that it excludes"
        )
    raise SearchExhausted


def suggest_each(
    numbers: Sequence[int], config_of: Callable[[int], Mapping[str, Any]], source: str
) -> list[Suggestion]:
    """Return a suggestion for each of *numbers*, or for the first of them where the space ends before the last.

    Raises:
        SearchExhausted: there is none even for the first.
    """
    suggestions: list[Suggestion] = []
    for number in numbers:
        try:
            suggestions.append(Suggestion(config_of(number), {"source": source}))
        except SearchExhausted:
            if not suggestions:
                raise
            break
    return suggestions
