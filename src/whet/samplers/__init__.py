"""Which config next: thin adapters between a `History` and the numerics in `whet.algorithms`."""

from whet.samplers.auto import Auto
from whet.samplers.grid import Grid
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random

__all__ = ["Auto", "Grid", "QuasiRandom", "Random"]
