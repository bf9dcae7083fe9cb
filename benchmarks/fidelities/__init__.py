"""Comparing searches that cut trials short: tasks with curves, a clock, players, scores. Used by `fidelity.py`."""

from __future__ import annotations

import searching  # noqa: F401  (one thread everywhere, before the first numerical library is loaded)
