"""Which configs are best: by the mean of an objective over their repeats, or beaten by none in every objective."""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whet.core.problem import Objective, Problem
from whet.core.trial import State, Trial


@dataclass(frozen=True, slots=True)
class Reached:
    """What a config reached.

    Attributes:
        number: of the trial that ran it; of several repeats the first that completed.
        means: of each objective over the repeats that completed.
        sds: their sample standard deviations, ``None`` where only one completed.
        n: how many completed.
    """

    number: int
    means: tuple[float, ...]
    sds: tuple[float, ...] | None = None
    n: int = 1


def reached(problem: Problem, trials: Iterable[Trial], objectives: Sequence[Objective]) -> list[Reached]:
    """Return what each config reached that may be the best one, by number.

    As in `History.best`, trials count that completed within the constraints, and configs once none of their repeats is
    unfinished.
    """
    found: dict[int, list[tuple[int, tuple[float, ...]]]] = {}
    unfinished: set[int] = set()
    for trial in trials:
        values = tuple(trial.values.get(objective.name, math.nan) for objective in objectives)
        if not trial.state.is_final:
            unfinished.add(trial.group)
        elif trial.state is State.COMPLETED and problem.is_feasible(trial.values) and not any(map(math.isnan, values)):
            found.setdefault(trial.group, []).append((trial.number, values))
    return [_reached(repeats) for group, repeats in found.items() if group not in unfinished]


def _reached(repeats: Sequence[tuple[int, tuple[float, ...]]]) -> Reached:
    number, values = repeats[0]
    if len(repeats) == 1:
        return Reached(number, values)
    columns = list(zip(*(values for _, values in repeats), strict=True))
    return Reached(number, tuple(map(statistics.fmean, columns)), tuple(map(_sd, columns)), len(repeats))


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def top(configs: Iterable[Reached], objective: Objective, n: int) -> list[Reached]:
    """Return the best *n* by the first of their means, best first; ties go to the lower number."""
    return heapq.nsmallest(n, configs, key=lambda config: (objective.sign * config.means[0], config.number))


def pareto_front(configs: Iterable[Reached], objectives: Sequence[Objective]) -> list[Reached]:
    """Return, by number, the configs that no other one beats in one objective without losing in another.

    Those with equal values are all in it.
    """

    def point(config: Reached) -> tuple[float, ...]:
        return tuple(objective.sign * mean for objective, mean in zip(objectives, config.means, strict=True))

    front: list[tuple[tuple[float, ...], Reached]] = []
    for here, config in sorted(((point(config), config) for config in configs), key=lambda pair: pair[0]):
        # Sorted, so nothing that comes later can beat what is in the front already.
        if not any(_dominates(other, here) for other, _ in reversed(front)):
            front.append((here, config))
    return sorted((config for _, config in front), key=lambda config: config.number)


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
