"""What model-based samplers know of a study: its trials as arrays, in the order of their numbers.

Made anew for each suggestion, so it costs no more than to pass over arrays: what finished trials are encoded to, and
which configs they had, is kept with the study and shared by its snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Bools, Floats, keys
from whet.core.history import History
from whet.core.problem import Problem
from whet.errors import UsageError
from whet.points.codec import Codec


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """The configs that anybody has been given, cancelled ones included, by the keys of their points.

    Attributes:
        first_rows: key to the first finished trial that had it; other snapshots may have added trials from ``n`` on.
        n: finished trials that are known.
        others: keys of configs that are being tried, wait to be or have just been suggested.
    """

    first_rows: Mapping[bytes, int] = field(default_factory=dict)
    n: int = 0
    others: frozenset[bytes] = frozenset()

    def __contains__(self, key: bytes) -> bool:
        return self.first_rows.get(key, self.n) < self.n or key in self.others


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """How far configs have come that have ended or are known in part, where there are any of the latter.

    Attributes:
        numbers: (n,) of the configs, ascending.
        behind: (n,) how many levels of the fidelity lie beyond the highest that it has reached; 0 where it failed.
        ahead: (n,) the share of the configs known at that level that are ahead of it there, NaN where it failed.
        is_under_way: (n,) whether a trial of the config runs, or is about to.
        places: (L,) of the levels on the axis of the fidelity, from 0, the lowest, to 1, by its logarithm.
        values: (n, L) the objective at the levels, to be minimised, NaN where unknown.
    """

    numbers: NDArray[np.int64]
    behind: NDArray[np.int64]
    ahead: Floats
    is_under_way: Bools
    places: Floats
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The configs of a study and what came of them: a function of the trials, whatever the order in which they ended.

    Attributes:
        x: (n, d) points of the configs that have ended, repeats as one.
        y: (n,) their objective, to be minimised: the mean of the repeats, NaN where all of them failed.
        excess: (n, m) by how much each outcome constraint is broken, at most 0 where it is met, NaN where unknown.
        pending: (p, d) points of the configs that are being tried, or wait to be.
        taken: the points of all configs that anybody has been given.
        partial: of configs that are known in part, which are then among the others, with what they came to at the
            highest level they have reached; ``None``: there are none, or they do not count.
    """

    x: Floats
    y: Floats
    excess: Floats
    pending: Floats
    taken: Taken = field(repr=False)
    partial: Partial | None = None

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
        taken = replace(self.taken, others=self.taken.others.union(keys(x[None])))
        return replace(self, pending=np.vstack([self.pending, x]), taken=taken)


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
    values = np.where(seen.completed[:, None], seen.values, np.nan)
    x, excess = codec.points(seen.x), excess_of(problem, values)
    y = worst_finite(problem.objectives[0].sign * values[:, 0])
    groups = seen.numbers // history.repeats
    if history.repeats == 1:
        if not (groups[1:] > groups[:-1]).all():
            order = np.argsort(groups, kind="stable")  # which is quick where little is out of order
            groups, x, y, excess = groups[order], x[order], y[order], excess[order]
    else:
        groups, first, which = np.unique(groups, return_index=True, return_inverse=True)
        x, y, excess = x[first], means_of(y[:, None], which, len(groups))[:, 0], means_of(excess, which, len(groups))
    pending = _pending(history, codec, groups)
    first_rows = history.first_rows(lambda encoded: keys(codec.points(encoded)))
    return Known(x, y, excess, pending, Taken(first_rows, history.n_finished, frozenset(keys(pending))))


def violation_ranks(excess: Floats) -> NDArray[np.int64]:
    """Return (n,) ranks that are the lower, the less the constraints are broken; equal where all of them are met.

    Constraints differ in their units, so it is the ranks of the amounts, (n, m), whose sum counts.
    """
    broken = np.zeros(len(excess), dtype=np.int64)
    for column in excess.T:
        broken += np.unique(np.maximum(column, 0.0), return_inverse=True)[1]  # NaN, for unknown, comes last
    return broken


def excess_of(problem: Problem, values: Floats) -> Floats:
    """Return the (n, m) amounts by which the outcome constraints are broken by (n, k) metrics of the *problem*."""
    excess = np.empty((len(values), len(problem.constraints)))
    for i, c in enumerate(problem.constraints):
        excess[:, i] = (values[:, problem.metrics.index(c.name)] - c.bound) * (1 if c.relation == "<=" else -1)
    return excess


def _pending(history: History, codec: Codec, ended: NDArray[np.int64]) -> Floats:
    """Return the (p, d) points of the configs of unfinished trials, by number, without the groups that *ended*."""
    configs: dict[int, Mapping[str, Any]] = {}
    for number, trial in sorted(history.unfinished.items()):
        if trial.config is not None:
            configs.setdefault(number // history.repeats, trial.config)
    waiting = np.fromiter(configs, dtype=np.int64, count=len(configs))
    place = np.searchsorted(ended, waiting)
    has_ended = np.append(ended, -1)[place] == waiting
    return _points(codec, [config for config, over in zip(configs.values(), has_ended, strict=True) if not over])


def _points(codec: Codec, configs: Sequence[Mapping[str, Any]]) -> Floats:
    return codec.points(codec.space.encode_many(configs))


def worst_finite(y: Floats) -> Floats:
    """Return *y* with the worst finite value in place of those that count as the worst of all."""
    finite = y[np.isfinite(y)]
    return np.where(np.isposinf(y), finite.max() if len(finite) else 0.0, y)


def means_of(values: Floats, which: NDArray[np.intp], n: int) -> Floats:
    """Return the (n, m) means of the known *values* of rows that belong together, NaN where there are none."""
    is_known = ~np.isnan(values)
    counts = np.zeros((n, values.shape[1]))
    np.add.at(counts, which, is_known)
    means = np.zeros((n, values.shape[1]))
    # Divided first: the sum of what is finite may not be.
    np.add.at(means, which, np.where(is_known, values, 0.0) / np.maximum(counts, 1)[which])
    return np.where(counts > 0, means, np.nan)
