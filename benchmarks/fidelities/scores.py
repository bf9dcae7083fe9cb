"""What rows come to: means, standard errors over seeds, differences paired by task and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from searching.scores import interval

from fidelities.rows import N_FULL, Row

SHARES = (0.25, 0.5, 1.0)  # of the budget at which searches are compared
NOTHING = 1.0  # the regret of a search that has nothing to show: that of a random config

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The rows of one method: H and F, clipped at 0, each of shape (tasks, seeds, shares of the budget)."""

    h: Array
    f: Array
    n_trials: float
    cpu_ms: float

    @property
    def n_seeds(self) -> int:
        return self.h.shape[1]


def scored(rows: Sequence[Row], tasks: Sequence[str], n_seeds: int) -> Scored:
    """Arrange the *rows* of one method, one for every task and seed."""
    by_place = {(row.task, row.seed): row for row in rows}
    ordered = [[by_place[task, seed] for seed in range(n_seeds)] for task in tasks]
    h = np.array([[_shares(row.h) for row in of_task] for of_task in ordered])
    f = np.array([[_shares(row.f) for row in of_task] for of_task in ordered])
    return Scored(h, f, float(np.mean([row.n_trials for row in rows])), float(np.median([row.cpu_ms for row in rows])))


def _shares(regrets: Sequence[float | None]) -> list[float]:
    values = [regrets[round(share * N_FULL) - 1] for share in SHARES]
    return [NOTHING if value is None else max(value, 0.0) for value in values]


def errors(regret: Array) -> Array:
    """Return the standard errors over seeds of the means over tasks; shape (shares,), NaN for a single seed."""
    by_seed = regret.mean(axis=0)
    if len(by_seed) == 1:
        return np.full(by_seed.shape[1], np.nan)
    return np.asarray(by_seed.std(axis=0, ddof=1) / np.sqrt(len(by_seed)))


def differences(mine: Array, theirs: Array) -> list[tuple[float, float, float]]:
    """Return, for each share, the mean of *mine* - *theirs* and its 95 % interval by bootstrap over tasks and seeds.

    Paired by task and seed, as far as both have the seed.
    """
    n_seeds = min(mine.shape[1], theirs.shape[1])
    paired = (mine[:, :n_seeds] - theirs[:, :n_seeds]).reshape(-1, len(SHARES))
    return [interval(column) for column in paired.T]
