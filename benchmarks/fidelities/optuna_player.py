"""Optuna in the frame: ask, report, should_prune, tell."""

from __future__ import annotations

import warnings
from typing import Any

from searching.methods import suggested_by_optuna

from fidelities.clock import Attempt
from fidelities.tasks import Axis, CurveTask, started_from

SAMPLERS = {"random": "RandomSampler", "tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler"}
PRUNERS = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "sha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}


class OptunaPlayer:
    """A study made from ``SAMPLER`` or ``SAMPLER+PRUNER``, with the defaults of both.

    ``PRUNER-from-N`` compares nobody below step N, and keeps one in three there. As the manual says, Hyperband is told
    the largest resource, and TPE gets ``constant_liar`` where several trials run at once.
    """

    def __init__(self, task: CurveTask, seed: int, method: str, n_workers: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler, _, rest = method.partition("+")
        pruner, low = started_from(rest or "none")
        if sampler not in SAMPLERS or pruner not in PRUNERS:
            known = f"samplers {', '.join(SAMPLERS)}; pruners {', '.join(PRUNERS)}"
            raise SystemExit(f"unknown: Optuna's {method!r} ({known})")
        self._task, self._pruned = task, optuna.trial.TrialState.PRUNED
        options: dict[str, Any] = {"constant_liar": True} if sampler == "tpe" and n_workers > 1 else {}
        self._study = optuna.create_study(
            sampler=getattr(optuna.samplers, SAMPLERS[sampler])(seed=seed, **options),
            pruner=getattr(optuna.pruners, PRUNERS[pruner])(**_limits(pruner, low, task.axis)),
        )

    def next(self) -> Attempt:
        """See `Player`."""
        trial = self._study.ask()
        return Attempt(trial.number, suggested_by_optuna(trial, self._task.parameters), self._task.axis.high, trial)

    def report(self, attempt: Attempt, step: float, loss: float) -> bool:
        """See `Player`."""
        trial = attempt.handle
        trial.report(loss, self._task.axis.count(step))
        if step >= attempt.budget:
            self._study.tell(trial, loss)
        elif trial.should_prune():
            self._study.tell(trial, state=self._pruned)
        else:
            return True
        return False


def _limits(pruner: str, low: int | None, axis: Axis) -> dict[str, Any]:
    found: dict[str, Any] = {"max_resource": axis.count(axis.high)} if pruner == "hyperband" else {}
    if low is not None:
        found |= {"n_warmup_steps": low} if pruner == "median" else {"min_resource": low, "reduction_factor": 3}
    elif pruner == "sha" and axis.steps == axis.levels:
        found["reduction_factor"] = 3  # by the default of 4 it would look where nobody reports
    return found
