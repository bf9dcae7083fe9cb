"""For whoever extends whet or chooses between its parts: contract suites to inherit from, and simulated searches.

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet.testing.courses import Course, Curves
    from whet.testing.simulated import Incumbent, Simulated
    from whet.testing.simulating import simulate

__all__ = ["Course", "Curves", "Incumbent", "Simulated", "simulate"]

_HOMES = {
    "Course": "whet.testing.courses",
    "Curves": "whet.testing.courses",
    "Incumbent": "whet.testing.simulated",
    "Simulated": "whet.testing.simulated",
    "simulate": "whet.testing.simulating",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whet.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
