"""Quasi-random search: a scrambled Sobol' sequence covers the unit cube more evenly than independent draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.sobol import MOST_DIMENSIONS, sobol
from whet.core.given import Given
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import SpaceError
from whet.samplers.finite import next_config, suggest_each
from whet.samplers.places import Places
from whet.space.grid import Grid, permuted
from whet.space.space import Space

_MAX_MISSES = 64  # draws in a row that bring nothing new before the rest of a finite space is taken in random order
_MAX_FORBIDDEN = 100_000  # draws in a row that a space may refuse before we say that it refuses nearly everything


class QuasiRandom:
    """Config *k* is the *k*-th admissible point of one sequence, which the study's seed scrambles.

    In a finite space each config comes once: points of the sequence that fall on a config seen before are skipped.

    Raises:
        SpaceError: from :meth:`suggest`, when a parameter has no map to the unit interval, when there are more than
            21,201 parameters, or when nearly every point is forbidden.
    """

    def __init__(self) -> None:
        self._sequence: tuple[Space, int, _Sequence] | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return the points of the sequence at *numbers*; see `Sampler`."""
        del rng_of  # the sequence is scrambled by the study's seed as a whole
        space = history.problem.space
        if self._sequence is None or self._sequence[0] is not space or self._sequence[1] != history.seed:
            self._sequence = (space, history.seed, _Sequence(space, history.seed))
        return suggest_each(numbers, history.given, self._sequence[2].config, "quasi_random")


class _Sequence:
    """The admissible points of one scrambled sequence, found from the first on and remembered."""

    def __init__(self, space: Space, seed: int) -> None:
        if not space.is_encodable:
            name = next(name for name, domain in space.items() if not domain.is_encodable)
            raise SpaceError(
                f"quasi-random search needs to map every parameter to the unit interval, and {name!r} "
                f"({space[name]}) can only be sampled; use random search"
            )
        if len(space) > MOST_DIMENSIONS:
            raise SpaceError(
                f"the Sobol' sequence is known for at most {MOST_DIMENSIONS} parameters, this space has {len(space)}; "
                "use random search"
            )
        self._space, self._seed = space, seed
        self._grid = Grid(space) if space.is_finite else None
        self._points: NDArray[np.float64] = np.empty((0, len(space)))
        self._n_used = 0
        self._configs: list[Mapping[str, Any]] = []
        self._seen: set[int] = set()  # points of the grid, for a finite space
        self._rest: int | None = None  # how far the rest of a finite space has been walked
        self._places = None if self._grid is None else Places(self._grid, self._point_of_grid)

    def config(self, number: int, given: Given) -> Mapping[str, Any]:
        """Return config *number*, where people gave some others."""
        return self._config(number if self._places is None else self._places.of(number, given))

    def _point_of_grid(self, position: int) -> int:
        assert self._grid is not None, "only a finite space has a grid"
        return self._grid.index_of(self._config(position))

    def _config(self, position: int) -> Mapping[str, Any]:
        while len(self._configs) <= position:
            self._configs.append(self._next())
        return self._configs[position]

    def _next(self) -> Mapping[str, Any]:
        n_misses = 0
        while self._rest is None:
            config = self._space.decode(self._point())
            if self._is_new(config):
                return config
            n_misses += 1
            if self._grid is not None and n_misses >= _MAX_MISSES:
                self._rest = 0
            elif n_misses >= _MAX_FORBIDDEN:
                raise SpaceError(
                    f"{n_misses:,} points in a row were forbidden; loosen what is forbidden, or make the bounds tighter"
                )
        return self._next_of_rest()

    def _is_new(self, config: Mapping[str, Any]) -> bool:
        if not self._space.contains(config):
            return False
        if self._grid is None:
            return True
        point = self._grid.index_of(config)
        if point in self._seen:
            return False
        self._seen.add(point)
        return True

    def _next_of_rest(self) -> Mapping[str, Any]:
        grid, rest = self._grid, self._rest
        assert grid is not None and rest is not None, "only a finite space has a rest"
        while True:
            rest, config = next_config(grid, lambda place: permuted(self._seed, grid.size, place), rest)
            self._rest = rest
            if grid.index_of(config) not in self._seen:
                return config

    def _point(self) -> NDArray[np.float64]:
        """Return the next point of the sequence; whole blocks of 2^m points are made at a time."""
        if self._n_used >= len(self._points):
            n = 2 ** max(6, len(self._points).bit_length())
            self._points = sobol(len(self._space), n, self._seed)
        point: NDArray[np.float64] = self._points[self._n_used]
        self._n_used += 1
        return point
