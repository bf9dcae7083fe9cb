"""Who is ahead of whom among the trials that have reached a level."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from whet.algorithms import fronts


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """What counts of a trial at a level: smaller is better.

    Attributes:
        is_broken: a constraint is broken.
        values: of the objectives, to be minimised; infinite where the trial failed or reported no number.
    """

    is_broken: bool
    values: tuple[float, ...]

    @property
    def is_finite(self) -> bool:
        """Whether every objective is a finite number."""
        return all(map(math.isfinite, self.values))


_Entry = tuple[bool, tuple[float, ...], int]  # a point and its trial: as tuples they are compared much faster


class Rung:
    """The trials of a bracket that have reached a level, the best first, of equal ones the lower number.

    For one objective. A change costs a search and a shift in a sorted list: microseconds for 100,000 trials.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._order: list[_Entry] = []
        self._paused: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers, the best first."""
        return (entry[2] for entry in self._order)

    def rank(self, number: int) -> int:
        """Return how many trials are ahead of trial *number*, which is one of them."""
        return bisect_left(self._order, self._entries[number])

    def paused(self, n: int) -> Iterator[int]:
        """Yield those of the first *n* trials that are paused here, the best first."""
        return (entry[2] for entry in takewhile(lambda entry: bisect_left(self._order, entry) < n, self._paused))

    def put(self, number: int, point: Point, *, is_paused: bool = False) -> None:
        """Note what trial *number* has come to, and whether it is paused here, in the place of what was known."""
        entry, known = (point.is_broken, point.values, number), self._entries.get(number)
        if known != entry:
            self.drop(number)
            self._entries[number] = entry
            insort(self._order, entry)
        at = bisect_left(self._paused, entry)
        is_there = at < len(self._paused) and self._paused[at] == entry
        if is_paused and not is_there:
            self._paused.insert(at, entry)
        elif is_there and not is_paused:
            del self._paused[at]

    def drop(self, number: int) -> None:
        """Forget trial *number*, if it is one of them."""
        known = self._entries.pop(number, None)
        if known is not None:
            for entries in (self._order, self._paused):
                at = bisect_left(entries, known)
                if at < len(entries) and entries[at] == known:
                    del entries[at]


class FrontRung(Rung):
    """The same for several objectives: by fronts, each spread out; what breaks a constraint comes after, failures last.

    Sorted anew when it is looked at after a change, which costs O(n log n) and the square of the largest front.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ranks: dict[int, int] | None = {}
        self._waiting: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers, the best first."""
        return iter(self._ranked())

    def rank(self, number: int) -> int:
        """Return how many trials are ahead of trial *number*, which is one of them."""
        return self._ranked()[number]

    def paused(self, n: int) -> Iterator[int]:
        """Yield those of the first *n* trials that are paused here, the best first."""
        return (number for number, rank in self._ranked().items() if rank < n and number in self._waiting)

    def put(self, number: int, point: Point, *, is_paused: bool = False) -> None:
        """Note what trial *number* has come to, and whether it is paused here, in the place of what was known."""
        entry = (point.is_broken, point.values, number)
        if self._entries.get(number) != entry:
            self._entries[number] = entry
            self._ranks = None
        (self._waiting.add if is_paused else self._waiting.discard)(number)

    def drop(self, number: int) -> None:
        """Forget trial *number*, if it is one of them."""
        if self._entries.pop(number, None) is not None:
            self._ranks = None
        self._waiting.discard(number)

    def _ranked(self) -> dict[int, int]:
        """Return the rank of each trial, in order."""
        if self._ranks is None:
            groups: tuple[list[_Entry], ...] = ([], [], [])
            for entry in sorted(self._entries.values(), key=lambda entry: entry[2]):
                groups[int(entry[0]) if all(map(math.isfinite, entry[1])) else 2].append(entry)
            ordered: list[int] = []
            for group in groups[:2]:
                values = np.array([entry[1] for entry in group])
                ordered += [group[index][2] for index in (fronts.order(values) if group else ())]
            ordered += [entry[2] for entry in groups[2]]
            self._ranks = {number: rank for rank, number in enumerate(ordered)}
        return self._ranks
