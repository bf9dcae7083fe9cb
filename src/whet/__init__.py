"""whet finds good hyperparameters: sweep any script without changing a line, or drive a study with ask and tell.

The names below are loaded when they are first used, so ``import whet`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet import errors, samplers
    from whet._version import __version__
    from whet.core.problem import Constraint, Objective
    from whet.reporting import report
    from whet.space.domain import (
        Categorical,
        Constant,
        Distribution,
        Float,
        Int,
        Normal,
        NumpyDistribution,
        Ordinal,
    )
    from whet.space.space import Space
    from whet.study import Study, load

__all__ = [
    "Categorical",
    "Constant",
    "Constraint",
    "Distribution",
    "Float",
    "Int",
    "Normal",
    "NumpyDistribution",
    "Objective",
    "Ordinal",
    "Space",
    "Study",
    "__version__",
    "errors",
    "load",
    "report",
    "samplers",
]

_MODULES = {"errors", "samplers"}
_HOMES = {
    "Categorical": "whet.space.domain",
    "Constant": "whet.space.domain",
    "Constraint": "whet.core.problem",
    "Distribution": "whet.space.domain",
    "Float": "whet.space.domain",
    "Int": "whet.space.domain",
    "Normal": "whet.space.domain",
    "NumpyDistribution": "whet.space.domain",
    "Objective": "whet.core.problem",
    "Ordinal": "whet.space.domain",
    "Space": "whet.space.space",
    "Study": "whet.study",
    "__version__": "whet._version",
    "load": "whet.study",
    "report": "whet.reporting",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"whet.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'whet' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
