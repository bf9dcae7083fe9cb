"""Samplers by the names that users type, and whether one can search for what a problem wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.core.problem import Problem
from whet.core.protocols import Sampler
from whet.core.registry import BOHB, Registry, called
from whet.errors import SpaceError, UsageError
from whet.samplers.auto import Auto
from whet.samplers.cmaes import CMAES
from whet.samplers.gp import GP
from whet.samplers.grid import Grid
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random
from whet.samplers.tpe import TPE

SAMPLERS: dict[str, type[Sampler]] = {
    "grid": Grid,
    "random": Random,
    "quasi_random": QuasiRandom,
    "gp": GP,
    "tpe": TPE,
    "cmaes": CMAES,
    "auto": Auto,
}
_ALIASES = {
    "grid_search": "grid",
    "random_search": "random",
    "sobol": "quasi_random",
    "qmc": "quasi_random",
    "bayes": "gp",
    "bayesian": "gp",
    "bayesian_optimization": "gp",
    "bo": "gp",
    "gaussian_process": "gp",
    "cma": "cmaes",
    "cma_es": "cmaes",
}
_SAMPLES_ANYTHING = (Auto, Grid, Random)  # parameters without a map to the unit interval included
_NEEDS_NO_OBJECTIVE = (Auto, Grid, QuasiRandom, Random)


_REGISTRY: Registry[Sampler] = Registry("sampler", SAMPLERS, _ALIASES, "gp(acquisition=ucb)", BOHB)

# From what users type or give to a sampler, and back; see `Registry`.
plain_name = _REGISTRY.plain_name
split_options = _REGISTRY.split
sampler_named = _REGISTRY.named
name_of = _REGISTRY.name_of
options_of = _REGISTRY.options_of
described = _REGISTRY.described


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


def check_sampler(sampler: Sampler, problem: Problem) -> None:
    """See that *sampler* can search for what *problem* wants; one of a user's own may do anything.

    Raises:
        UsageError: it cannot; the message names one that can.
    """
    if not _REGISTRY.has(sampler):
        return
    name, n = name_of(sampler), len(problem.objectives)
    if not isinstance(sampler, _NEEDS_NO_OBJECTIVE) and n != 1:
        raise UsageError(
            f"{name} needs exactly one objective, as in objective='minimize' or --objective val_loss:min, got {n}; "
            "random and quasi_random take any number"
        )
    if not isinstance(sampler, _SAMPLES_ANYTHING):
        for key, domain in problem.space.items():
            if not domain.is_encodable:
                raise SpaceError(
                    f"{key}: {name} needs to map every parameter to the unit interval, and {domain} can only be "
                    "sampled; use random, or one of uniform, loguniform, normal, lognormal, int, choice"
                )


def sampler_settings(sampler: Sampler) -> dict[str, Any]:
    """Return what a study keeps of its sampler in its settings, as JSON; see :func:`sampler_of`."""
    return {"sampler": name_of(sampler), "sampler_options": options_of(sampler)}


def sampler_of(settings: Mapping[str, Any]) -> Sampler:
    """Return the sampler that a study was made with, from its settings.

    Raises:
        UsageError: it was one of the user's own, or is none of this version's.
    """
    name = settings["sampler"]
    if not is_own(settings):
        raise UsageError(
            f"the study was made with the sampler {name!r}, which is none of whet's ({', '.join(SAMPLERS)}): "
            f"give it again, as in whet.load(…, sampler={name}())"
        )
    return _REGISTRY.made(name, settings.get("sampler_options", {}))


def is_own(settings: Mapping[str, Any]) -> bool:
    """Tell whether a study was made with a sampler of whet's, by its settings."""
    return settings.get("sampler") in SAMPLERS


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the sampler of a study as `described`, from its settings."""
    return called(str(settings.get("sampler", "")), settings.get("sampler_options", {}))
