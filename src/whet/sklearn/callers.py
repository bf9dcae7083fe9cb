"""Who has called a search: warnings point there."""

from __future__ import annotations

from inspect import currentframe


def caller() -> int:
    """Return how far above who asks here the frame is that has called the search, or what the search is a part of."""
    level, frame = 0, currentframe()
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(("whet.", "sklearn.", "joblib.")):
        level, frame = level + 1, frame.f_back
    return level
