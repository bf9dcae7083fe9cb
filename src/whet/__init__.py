"""whet finds good hyperparameters: sweep any script without changing a line, tune a function, or drive a study.

The names below are loaded when they are first used, so ``import whet`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet import errors, samplers, schedulers
    from whet._version import __version__
    from whet.core.problem import Constraint, Fidelity, Objective
    from whet.errors import TrialStopped
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
    from whet.tuning import tune

__all__ = [
    "Categorical",
    "Constant",
    "Constraint",
    "Distribution",
    "Fidelity",
    "Float",
    "Int",
    "Normal",
    "NumpyDistribution",
    "Objective",
    "Ordinal",
    "Space",
    "Study",
    "TrialStopped",
    "__version__",
    "errors",
    "load",
    "report",
    "samplers",
    "schedulers",
    "tune",
]

_MODULES = {"errors", "samplers", "schedulers"}
_HOMES = {
    "Categorical": "whet.space.domain",
    "Constant": "whet.space.domain",
    "Constraint": "whet.core.problem",
    "Distribution": "whet.space.domain",
    "Fidelity": "whet.core.problem",
    "Float": "whet.space.domain",
    "Int": "whet.space.domain",
    "Normal": "whet.space.domain",
    "NumpyDistribution": "whet.space.domain",
    "Objective": "whet.core.problem",
    "Ordinal": "whet.space.domain",
    "Space": "whet.space.space",
    "Study": "whet.study",
    "TrialStopped": "whet.errors",
    "__version__": "whet._version",
    "load": "whet.study",
    "report": "whet.reporting",
    "tune": "whet.tuning",
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
