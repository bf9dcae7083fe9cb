"""Samplers by the names that users type."""

from __future__ import annotations

import difflib

from whet.core.protocols import Sampler
from whet.errors import UsageError
from whet.samplers.auto import Auto
from whet.samplers.grid import Grid
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random

SAMPLERS: dict[str, type[Sampler]] = {
    "auto": Auto,
    "grid": Grid,
    "quasi_random": QuasiRandom,
    "random": Random,
}


def sampler_named(name: str) -> Sampler:
    """Return a new sampler with its defaults.

    Raises:
        UsageError: nobody has that name; the message lists those that exist.
    """
    if name not in SAMPLERS:
        close = difflib.get_close_matches(name, SAMPLERS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"unknown sampler {name!r}{hint} (known: {', '.join(SAMPLERS)})")
    return SAMPLERS[name]()


def sampler_from(given: object) -> Sampler:
    """Return the sampler that *given* is or names.

    Raises:
        UsageError: it is none, and names none.
    """
    if isinstance(given, str):
        return sampler_named(given)
    if isinstance(given, type) or not hasattr(given, "suggest"):
        raise UsageError(f"a sampler is a name ({', '.join(SAMPLERS)}) or an object with `suggest`, got {given!r}")
    sampler: Sampler = given
    return sampler


def name_of(sampler: Sampler) -> str:
    """Return the name by which :func:`sampler_named` finds the class of *sampler*, else the name of the class."""
    return next((name for name, kind in SAMPLERS.items() if type(sampler) is kind), type(sampler).__name__)
