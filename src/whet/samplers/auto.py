"""The default strategy: chooses a sampler that suits the space."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random


class Auto:
    """Quasi-random search where every parameter has a map to the unit interval, random search elsewhere."""

    def __init__(self) -> None:
        self._random, self._quasi_random = Random(), QuasiRandom()

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return what the chosen sampler suggests; see `Sampler`."""
        sampler = self._quasi_random if history.problem.space.is_encodable else self._random
        return sampler.suggest(history, numbers, rng_of)

    def explain(self, history: History) -> str:
        """Say which of the two it is; see `Explains`."""
        if history.problem.space.is_encodable:
            return "quasi-random search, which covers the space evenly"
        name = next(name for name, domain in history.problem.space.items() if not domain.is_encodable)
        return f"random search, as {name} can only be sampled"
