"""What is kept of a search: H and F as the budget is spent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import inf
from typing import Any

from fidelities.clock import SLACK, Game
from fidelities.tasks import CurveTask

N_FULL = 20  # the budget, in full trainings; regret is kept after each


@dataclass(frozen=True)
class Row:
    """The record of one search.

    *h* and *f* are normalised regrets, not clipped, after each full training's worth of budget; None: no trial yet.
    H is that of the config which is best at the highest level that any trial has reached, trained to the end; F that
    of the best trial that was. *cpu_ms* is what the search itself took for an attempt, reports included.
    """

    method: str
    version: str
    task: str
    seed: int
    workers: int
    h: list[float | None]
    f: list[float | None]
    n_trials: int
    n_attempts: int
    cpu_ms: float
    date: str

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.method, self.version, self.task, self.seed, self.workers)


def row_of(game: Game, task: CurveTask, method: str, version: str, seed: int, workers: int) -> Row:
    h, f = _regrets(game, task)
    cpu_ms = float(f"{1e3 * game.cpu_s / max(game.n_attempts, 1):.3g}")
    counts = (len(game.full), game.n_attempts)
    return Row(method, version, task.name, seed, workers, h, f, *counts, cpu_ms, str(date.today()))


def _regrets(game: Game, task: CurveTask) -> tuple[list[float | None], list[float | None]]:
    levels = task.axis.levels
    best: dict[float, tuple[float, Any]] = {}  # level: the least loss there, and whose it is
    met: set[tuple[Any, float]] = set()
    h: list[float | None] = []
    f: list[float | None] = []
    points = iter(game.points)
    point = next(points, None)
    for n in range(1, N_FULL + 1):
        while point is not None and point.spent <= n * task.axis.high * (1 + SLACK):
            for level in levels:
                if point.step >= level and (point.key, level) not in met:  # the first report at or beyond it counts
                    met.add((point.key, level))
                    best[level] = min(best.get(level, (inf, None)), (point.loss, point.key), key=lambda pair: pair[0])
            point = next(points, None)
        top = max(best, default=None)
        h.append(None if top is None else _rounded(task.regret(game.full[best[top][1]])))
        f.append(_rounded(task.regret(best[levels[-1]][0])) if levels[-1] in best else None)
    return h, f


def _rounded(regret: float) -> float:
    return float(f"{regret:.4g}")
