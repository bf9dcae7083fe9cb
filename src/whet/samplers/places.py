"""Which place of a walk through a finite space each number has, where people gave the configs of some numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from whet.core.given import Given, GivenConfig
from whet.errors import SearchExhausted
from whet.space.grid import Grid


@dataclass(slots=True)
class _Stretch:
    """Numbers that follow a given one, up to the next given one, and the places that they have.

    Attributes:
        number: the first of them.
        start: its place, or the first that is skipped before it.
        end: the place up to which it is known what is skipped.
        skipped: those places from *start* to *end* whose config was given before.
    """

    number: int
    start: int
    end: int
    skipped: list[int] = field(default_factory=list)


class Places:
    """The places of a walk, one for each number that was not given, as a function of the numbers given before it.

    From number 0 on: a given number takes no place, and its config is remembered; any other takes the next place
    whose config is not among those remembered. What was found out is kept, so a number costs what lies between it and
    the furthest one before; where nothing was given, nothing.

    Args:
        grid: of the space.
        point_at: the point of the grid at a place; raises `SearchExhausted` beyond the last.
    """

    def __init__(self, grid: Grid, point_at: Callable[[int], int]) -> None:
        self._grid, self._point_at = grid, point_at
        self._begin()

    def _begin(self) -> None:
        self._given: tuple[GivenConfig, ...] = ()
        self._n_taken_in = 0  # of them
        self._points: set[int] = set()  # of the configs taken in
        self._stretches = [_Stretch(0, 0, 0)]

    def of(self, number: int, given: Given) -> int:
        """Return the place of *number*, which was not given itself.

        Raises:
            SearchExhausted: there is none left.
        """
        if not given.configs or number < given.configs[0].number:
            return number
        self._take_in(given.configs, number)
        stretches = self._stretches
        stretch = stretches[bisect_right(stretches, number, key=lambda stretch: stretch.number) - 1]
        return self._place(stretch, number - stretch.number)

    def _take_in(self, given: tuple[GivenConfig, ...], number: int) -> None:
        """Take in those of *given* that lie before *number*."""
        if given is not self._given:
            if given[: self._n_taken_in] != self._given[: self._n_taken_in]:  # of another study, or known later
                self._begin()
            self._given = given
        while self._n_taken_in < len(given) and given[self._n_taken_in].number < number:
            config = given[self._n_taken_in]
            self._end_stretch(config.number)
            self._points.add(self._grid.index_of(config.parsed()))
            self._n_taken_in += 1

    def _end_stretch(self, number: int) -> None:
        """Let the last stretch end before *number*, and begin another one after it."""
        last = self._stretches[-1]
        if last.number == number:
            self._stretches[-1] = _Stretch(number + 1, last.start, last.start)
            return
        try:
            end = self._place(last, number - 1 - last.number) + 1
        except SearchExhausted:
            end = last.end
        # It may have been walked further, for numbers that were not given then.
        last.end = end
        last.skipped = [place for place in last.skipped if place < end]
        self._stretches.append(_Stretch(number + 1, end, end))

    def _place(self, stretch: _Stretch, n_before: int) -> int:
        """Return the place of the number that has *n_before* others of *stretch* before it."""
        while stretch.end - stretch.start - len(stretch.skipped) <= n_before:
            if self._point_at(stretch.end) in self._points:
                stretch.skipped.append(stretch.end)
            stretch.end += 1
        place = stretch.start + n_before
        for skipped in stretch.skipped:
            if skipped > place:
                break
            place += 1
        return place
