"""Surrogates with learning curves (lcbench) or data fractions (rbv2_xgboost)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from searching.parameters import Config, Parameter
from searching.tasks import references, scenario_in


@dataclass(frozen=True)
class Axis:
    """The fidelity of a family of tasks.

    *levels* is the ladder by which H is scored, anchored at the top with eta 3; *steps* are where a running trial
    reports, the last of them full fidelity; *unit* is what peers count in, who know whole numbers only.
    """

    name: str  # in the surrogate
    low: float
    levels: tuple[float, ...]
    steps: tuple[float, ...]
    unit: float

    @property
    def high(self) -> float:
        return self.steps[-1]

    def after(self, reached: float, budget: float) -> float:
        """Return where a trial that got to *reached* reports next on its way to *budget*."""
        return min(next(step for step in (*self.steps, budget) if step > reached), budget)

    def count(self, step: float) -> int:
        """Return *step* in units."""
        return round(step / self.unit)


def started_from(method: str) -> tuple[str, int | None]:
    """Return the peer's name for it, and N, in ``NAME-from-N``: the lowest level, in its units, that it heeds."""
    name, _, low = method.partition("-from-")
    if not low:
        return method, None
    if not low.isdigit() or not int(low):
        raise SystemExit(f"expected NAME-from-N with a whole number of at least 1, got {method!r}")
    return name, int(low)


# Data fractions: a model is fitted once for every level, so there are as many reports as levels.
_NINTHS = (1 / 9, 1 / 3, 1.0)
AXES = {
    "lcbench": Axis("epoch", 1, (2, 6, 17, 52), tuple(range(1, 53)), 1),
    "rbv2_xgboost": Axis("trainsize", 0.1, _NINTHS, _NINTHS, 1 / 9),
}


@dataclass(frozen=True)
class CurveTask:
    """A function of a config and a fidelity, to be minimised; *best* and *median* are at full fidelity."""

    name: str
    parameters: Sequence[Parameter]
    axis: Axis
    losses: Callable[[Config, Sequence[float]], list[float]]  # of a config at some fidelities
    best: float
    median: float

    def regret(self, loss: float) -> float:
        """Return *loss* on the scale where 0 is the best known and 1 the median of random configs."""
        return (loss - self.best) / (self.median - self.best)


def task_names(data: Path, family: str) -> list[str]:
    return [name for name in references(data) if name.startswith(f"{family}/")]


def load(data: Path, name: str) -> CurveTask:
    """Return the task *name*, as in ``lcbench/3945/val_accuracy``, from the folder of surrogates."""
    family, instance, metric = name.split("/")
    reference, scenario, axis = references(data)[name], scenario_in(data / "yahpo" / family), AXES[family]
    sign = 1.0 if reference["minimize"] else -1.0  # the references are losses already

    def losses(config: Config, fidelities: Sequence[float]) -> list[float]:
        rows = [{**config, axis.name: fidelity} for fidelity in fidelities]
        return [sign * float(value) for value in scenario.values(instance, metric, rows)]

    return CurveTask(name, scenario.parameters, axis, losses, reference["best"], reference["median"])
