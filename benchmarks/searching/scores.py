"""What rows come to: means, ranks and paired intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searching.running import Row, thirds

N_RESAMPLED = 10_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The rows of one method, seeds averaged: regret, clipped at 0, and its log10; each of shape (tasks, trials)."""

    regret: Array
    log10: Array
    n_rows: int
    cpu_ms: Array  # at the end of each third, median over rows; NaN where nobody measured

    def at_thirds(self) -> Array:
        """Return regret at 1/3, 2/3 and all of the budget; shape (tasks, 3)."""
        return self.regret[:, [n - 1 for n in thirds(self.regret.shape[1])]]

    def log_at_thirds(self) -> Array:
        return self.log10[:, [n - 1 for n in thirds(self.regret.shape[1])]]

    def log_over_trials(self) -> Array:
        """Return log10 of regret averaged over all trials but the first sixth; shape (tasks,)."""
        return self.log10[:, self.regret.shape[1] // 6 - 1 :].mean(axis=1)


def scored(rows: Sequence[Row], tasks: Sequence[str], n_trials: int, floor: float) -> Scored:
    """Average the *rows* of one method, some for every task, over seeds; where nothing is known a curve is NaN."""
    regret, log10 = np.empty((len(tasks), n_trials)), np.empty((len(tasks), n_trials))
    for index, task in enumerate(tasks):
        curves = np.array([_curve(row, n_trials) for row in rows if row.task == task])
        regret[index] = curves.mean(axis=0)
        log10[index] = np.log10(np.maximum(curves, floor)).mean(axis=0)
    timed = [row.cpu_ms for row in rows if row.cpu_ms]
    return Scored(regret, log10, len(rows), np.median(timed, axis=0) if timed else np.full(3, np.nan))


def _curve(row: Row, n_trials: int) -> Array:
    """Return the incumbent's regret after each trial; of results that came with the data only at their points."""
    curve = np.full(n_trials, np.nan)
    for n, regret in row.curve:
        curve[int(n) - 1 :] = max(regret, 0.0)
    if row.version == "given":
        points = {int(n) - 1 for n, _ in row.curve}
        curve[[n for n in range(n_trials) if n not in points]] = np.nan
    return curve


def average_ranks(methods: Mapping[str, Scored]) -> dict[str, float]:
    """Return the rank of each method's final regret, averaged over tasks; equal ones share their ranks."""
    from scipy.stats import rankdata

    last = np.array([score.regret[:, -1] for score in methods.values()])
    return dict(zip(methods, rankdata(last, axis=0).mean(axis=1).tolist(), strict=True))


def interval(differences: Array) -> tuple[float, float, float]:
    """Return the mean of paired *differences*, one a task, and its 95 % interval by bootstrap over tasks."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(differences), size=(N_RESAMPLED, len(differences)))
    low, high = np.percentile(differences[picks].mean(axis=1), [2.5, 97.5])
    return float(differences.mean()), float(low), float(high)
