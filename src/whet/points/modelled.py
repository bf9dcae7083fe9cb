"""What a Gaussian process is told of a study, and what it says of a config; see `whet.algorithms.gp.propose`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from whet.algorithms.gp.propose import Belief, Curves, Data
from whet.points.known import Known


def with_finite_values(known: Known) -> Known:
    """Return *known* with what is infinite as if it had failed: on their way trials may report anything."""
    if known.partial is None:
        return known
    y, values = (np.where(np.isfinite(one), one, np.nan) for one in (known.y, known.partial.values))
    return replace(known, y=y, partial=replace(known.partial, values=values))


def data_of(known: Known) -> Data:
    """Return *known* as the model takes it; with curves where configs are known in part."""
    known = with_finite_values(known)
    partial = known.partial
    if partial is None:
        return Data(known.x, known.y, known.excess, known.pending, known.is_new)
    which, level = np.nonzero(~np.isnan(partial.values))
    curves = Curves(np.column_stack([known.x[which], partial.places[level]]), partial.values[which, level])
    pending = np.vstack([known.x[partial.is_under_way], known.pending])
    return Data(known.x, known.y, known.excess, pending, known.is_new, curves)


def numbers_of(belief: Belief, sign: int) -> dict[str, Any]:
    """Return what is believed of a config in numbers that can be kept, in the user's sign."""
    why = {"mean": sign * belief.mean, "std": belief.std, "score": belief.score}
    if belief.p_well is not None:
        why["p_well"] = belief.p_well
    return {name: float(f"{value:.6g}") for name, value in why.items() if math.isfinite(value)}
