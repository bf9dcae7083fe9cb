"""Which config next: thin adapters between a `History` and the numerics in `whet.algorithms`."""

from whet.samplers.auto import Auto
from whet.samplers.cmaes import CMAES
from whet.samplers.gp import GP
from whet.samplers.grid import Grid
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random
from whet.samplers.tpe import TPE

__all__ = ["CMAES", "GP", "TPE", "Auto", "Grid", "QuasiRandom", "Random"]
