"""What varies in a task, told in a way that whet and every peer can be given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Literal

import numpy as np

import whet

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One axis: bounds for a float or an int, values for an ordinal (in their order) or a category.

    *when* is the category, earlier in the list, and its values with which the parameter is there.
    """

    name: str
    kind: Literal["float", "int", "ordinal", "category"]
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    values: tuple[Any, ...] = ()
    when: tuple[str, tuple[Any, ...]] | None = None

    def is_active(self, config: Config) -> bool:
        return self.when is None or config.get(self.when[0]) in self.when[1]


def active(parameters: Sequence[Parameter], values: Config) -> Config:
    """Return those of the *values* that belong into a config."""
    config: Config = {}
    for parameter in parameters:
        if parameter.is_active(config):
            config[parameter.name] = values[parameter.name]
    return config


def whet_space(parameters: Sequence[Parameter]) -> whet.Space:
    return whet.Space({parameter.name: _whet_domain(parameter) for parameter in parameters})


def _whet_domain(parameter: Parameter) -> Any:
    when = None if parameter.when is None else {parameter.when[0]: list(parameter.when[1])}
    match parameter.kind:
        case "float":
            return whet.Float(parameter.low, parameter.high, log=parameter.log, when=when)
        case "int":
            return whet.Int(int(parameter.low), int(parameter.high), log=parameter.log, when=when)
        case "ordinal":
            return whet.Ordinal(parameter.values, when=when)
        case "category":
            return whet.Categorical(parameter.values, when=when)


def sampled(parameters: Sequence[Parameter], rng: np.random.Generator) -> Config:
    """Return a config drawn evenly, on the scale that each parameter asks for."""
    return active(parameters, {parameter.name: _drawn(parameter, rng) for parameter in parameters})


def _drawn(parameter: Parameter, rng: np.random.Generator) -> Any:
    if parameter.values:
        return parameter.values[rng.integers(len(parameter.values))]
    room = 0.5 if parameter.kind == "int" else 0.0  # every whole number gets its full cell
    low, high = parameter.low - room, parameter.high + room
    number = exp(rng.uniform(log(low), log(high))) if parameter.log else rng.uniform(low, high)
    number = min(max(number, parameter.low), parameter.high)
    return round(number) if parameter.kind == "int" else float(number)
