"""Samplers by the names that users type, with their options: ``gp``, ``gp(acquisition=ucb)``; and as studies keep them.

An option is a keyword-only argument of the sampler's class, which keeps it as an attribute of the same name. A study
keeps the name and those options that differ from their defaults, so that it finds the same sampler again.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any

from whet.core import jsontext
from whet.core.problem import Problem
from whet.core.protocols import Sampler
from whet.errors import SpaceError, UsageError
from whet.samplers.auto import Auto
from whet.samplers.cmaes import CMAES
from whet.samplers.gp import GP
from whet.samplers.grid import Grid
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random
from whet.samplers.tpe import TPE
from whet.space.assignments import read_assignments
from whet.space.plain import plain, shortened, value_key

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
_CALL = re.compile(r"\s*([^()]*?)\s*(?:\((.*)\))?\s*", re.DOTALL)


# ---- from what users type or give to a sampler
def plain_name(text: str) -> str:
    """Return the name of a sampler in whet's own spelling: ``Grid-Search`` is ``grid``; unknown ones as typed."""
    plainly = text.strip().lower().replace("-", "_")
    return _ALIASES.get(plainly, plainly)


def split_options(text: str) -> tuple[str, str | None]:
    """Return the name in ``gp(acquisition=ucb)`` as typed, and what is in the brackets; ``None`` without brackets.

    Raises:
        UsageError: a bracket opens and the text does not end with the one that closes it.
    """
    found = _CALL.fullmatch(text)
    if found is None and "(" in text:
        problem = "the closing bracket is missing" if ")" not in text else "expected the closing bracket at the end"
        raise UsageError(f"{shortened(repr(text))}: {problem}, as in gp(acquisition=ucb)")
    return (text, None) if found is None else (found[1], found[2])


def sampler_named(text: str) -> Sampler:
    """Return a new sampler, from its name or ``name(option=value, …)``.

    Raises:
        UsageError: nobody has that name, or it has no such option; the message lists those that exist.
    """
    name, inside = split_options(text)
    assigned = read_assignments(inside or "", "gp(acquisition=ucb)")
    return _made(name, {option: given.value for option, given in assigned.items()})


def _made(name: str, options: Mapping[str, Any]) -> Sampler:
    kind = SAMPLERS.get(plain_name(name))
    if kind is None:
        close = difflib.get_close_matches(plain_name(name), [*SAMPLERS, *_ALIASES], n=1)
        hint = f"; did you mean {plain_name(close[0])!r}?" if close else ""
        raise UsageError(f"unknown sampler {shortened(repr(name))}{hint} (known: {', '.join(SAMPLERS)})")
    known = _defaults(kind)
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            there = f"options: {', '.join(known)}" if known else "it has none"
            raise UsageError(f"{plain_name(name)} has no option {option!r}{hint} ({there})")
    return kind(**options)


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
    if type(sampler) not in SAMPLERS.values():
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


# ---- from a sampler to its name and options
def name_of(sampler: Sampler) -> str:
    """Return the name by which :func:`sampler_named` finds the class of *sampler*, else the name of the class."""
    return next((name for name, kind in SAMPLERS.items() if type(sampler) is kind), type(sampler).__name__)


def options_of(sampler: Sampler) -> dict[str, Any]:
    """Return those options of one of whet's samplers that differ from their defaults; none for a user's own.

    Raises:
        UsageError: one of them is nothing that a study can keep.
    """
    if type(sampler) not in SAMPLERS.values():
        return {}
    defaults = _defaults(type(sampler))
    given = {option: plain(getattr(sampler, option)) for option in defaults}
    options = {name: value for name, value in given.items() if value_key(value) != value_key(defaults[name])}
    try:
        kept: dict[str, Any] = jsontext.loads(jsontext.dumps(options))
    except TypeError:
        raise UsageError(
            f"{name_of(sampler)}: a study keeps its sampler's options as JSON, and cannot keep "
            f"{shortened(repr(options))}; give numbers, texts, True, False and lists of them"
        ) from None
    return kept


def described(sampler: Sampler) -> str:
    """Return the text from which :func:`sampler_named` makes one like *sampler*: ``gp(acquisition='ucb')``."""
    return _call(name_of(sampler), options_of(sampler))


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
    return _made(name, settings.get("sampler_options", {}))


def is_own(settings: Mapping[str, Any]) -> bool:
    """Tell whether a study was made with a sampler of whet's, by its settings."""
    return settings.get("sampler") in SAMPLERS


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the sampler of a study as `described`, from its settings."""
    return _call(str(settings.get("sampler", "")), settings.get("sampler_options", {}))


def _call(name: str, options: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name}({inside})" if inside else name


def _defaults(kind: type[Sampler]) -> dict[str, Any]:
    """Return the options of a class of samplers with their defaults."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
