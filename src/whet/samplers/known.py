"""What model-based samplers know of a study: its trials as arrays, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Bools, Floats, keys
from whet.core.columns import as_config
from whet.core.history import History
from whet.errors import UsageError
from whet.samplers.codec import Codec


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The configs of a study and what came of them: a function of the trials, whatever the order in which they ended.

    Attributes:
        x: (n, d) points of the configs that have ended, repeats as one.
        y: (n,) their objective, to be minimised: the mean of the repeats, NaN where all of them failed.
        excess: (n, m) by how much each outcome constraint is broken, at most 0 where it is met, NaN where unknown.
        pending: (p, d) points of the configs that are being tried, or wait to be.
        taken: keys of the points of all configs that anybody has been given, cancelled ones included.
    """

    x: Floats
    y: Floats
    excess: Floats
    pending: Floats
    taken: frozenset[bytes] = field(repr=False)

    @property
    def n_configs(self) -> int:
        """Number of configs that have ended or are being tried."""
        return len(self.x) + len(self.pending)

    @property
    def is_feasible(self) -> Bools:
        """(n,) whether a config was completed and meets the constraints."""
        return (self.excess <= 0).all(axis=1) & ~np.isnan(self.y)

    def is_new(self, x: Floats) -> Bools:
        """Tell which of the points *x*, (n, d), nobody has been given."""
        return np.fromiter((key not in self.taken for key in keys(x)), dtype=bool, count=len(x))

    def with_pending(self, x: Floats) -> Known:
        """Return this with one more point, (d,), that is being tried."""
        return replace(self, pending=np.vstack([self.pending, x]), taken=self.taken | set(keys(x[None])))


def known_of(history: History, codec: Codec) -> Known:
    """Return what *history* knows.

    Raises:
        UsageError: the problem has more or less than one objective.
    """
    problem = history.problem
    if len(problem.objectives) != 1:
        raise UsageError(
            f"this search needs exactly one objective, as in --objective val_loss:min, got {len(problem.objectives)}; "
            "random and quasi_random search do without"
        )
    seen = history.observations()
    groups, first, which = np.unique(seen.numbers // history.repeats, return_index=True, return_inverse=True)
    values = np.where(seen.completed[:, None], seen.values, np.nan)
    excess = np.empty((len(seen.numbers), len(problem.constraints)))
    for i, c in enumerate(problem.constraints):
        excess[:, i] = (values[:, problem.metrics.index(c.name)] - c.bound) * (1 if c.relation == "<=" else -1)
    y = _finite(problem.objectives[0].sign * values[:, 0])
    ended = set(groups.tolist())
    pending: dict[int, Mapping[str, Any]] = {}
    for number, trial in sorted(history.unfinished.items()):
        group = number // history.repeats
        if trial.config is not None and group not in ended:
            pending.setdefault(group, trial.config)
    pending_x = _points(codec, list(pending.values()))
    everything = _points(codec, [as_config(row.config) for row in history.finished if row.config is not None])
    return Known(
        x=codec.points(seen.x)[first],
        y=_means(y[:, None], which, len(groups))[:, 0],
        excess=_means(excess, which, len(groups)),
        pending=pending_x,
        taken=frozenset(keys(everything)).union(keys(pending_x)),
    )


def _points(codec: Codec, configs: Sequence[Mapping[str, Any]]) -> Floats:
    return codec.points(codec.space.encode_many(configs))


def _finite(y: Floats) -> Floats:
    """Return *y* with the worst finite value in place of those that count as the worst of all."""
    finite = y[np.isfinite(y)]
    return np.where(np.isposinf(y), finite.max() if len(finite) else 0.0, y)


def _means(values: Floats, which: NDArray[np.intp], n: int) -> Floats:
    """Return the (n, m) means of the known *values* of rows that belong together, NaN where there are none."""
    is_known = ~np.isnan(values)
    counts = np.zeros((n, values.shape[1]))
    np.add.at(counts, which, is_known)
    means = np.zeros((n, values.shape[1]))
    # Divided first: the sum of what is finite may not be.
    np.add.at(means, which, np.where(is_known, values, 0.0) / np.maximum(counts, 1)[which])
    return np.where(counts > 0, means, np.nan)
