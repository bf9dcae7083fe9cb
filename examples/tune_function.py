"""Tune a function: the smallest search that is of use.

It fits the width of a Gaussian bump and its height to points that were measured. Nothing is needed but whet::

    pip install whet
    python tune_function.py
"""

from __future__ import annotations

import math

import whet

MEASURED = [(-1.0, 0.22), (-0.5, 1.05), (0.0, 1.72), (0.5, 1.06), (1.0, 0.25)]


def squared_error(config: dict[str, float]) -> float:
    """How far the bump is from the points."""
    errors = (config["height"] * math.exp(-((x / config["width"]) ** 2)) - y for x, y in MEASURED)
    return sum(error**2 for error in errors)


study = whet.tune(squared_error, {"height": (0.1, 10.0), "width": (0.01, 10.0, "log")}, n_trials=200, workers=2, seed=0)

print(f"squared error {study.best_value:.3f} with {dict(study.best_config)}")
