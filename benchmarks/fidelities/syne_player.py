"""Syne Tune in the frame: its schedulers, called as its tuner calls them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from searching.parameters import Parameter, active

from fidelities.clock import Attempt, Exhausted
from fidelities.tasks import CurveTask, started_from

BASELINES = {"asha": "ASHA", "bohb": "BOHB", "asha-bore": "ASHABORE", "asha-cqr": "ASHACQR"}


class SynePlayer:
    """One of its multi-fidelity baselines with its defaults, all of them ASHA, stopping, with one bracket.

    ``NAME-from-N`` has its lowest rung at step N. Its spaces have no conditions: it suggests every parameter, and those
    that do not apply are dropped.
    """

    def __init__(self, task: CurveTask, seed: int, method: str) -> None:
        from syne_tune.optimizer import baselines

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        name, low = started_from(method)
        if name not in BASELINES:
            raise SystemExit(f"unknown: Syne Tune's {method!r} (known: {', '.join(BASELINES)})")
        self._task, self._n_trials = task, 0
        self._scheduler = getattr(baselines, BASELINES[name])(
            _space(task.parameters),
            metric="loss",
            time_attr="step",
            max_t=task.axis.count(task.axis.high),
            random_seed=seed,
            **({} if low is None else {"grace_period": low}),
        )

    def next(self) -> Attempt:
        """See `Player`."""
        from syne_tune.backend.trial_status import Trial

        suggestion = self._scheduler.suggest()
        if suggestion is None:
            raise Exhausted
        trial = Trial(self._n_trials, suggestion.config, datetime.now(UTC))
        self._n_trials += 1
        self._scheduler.on_trial_add(trial)
        config = active(self._task.parameters, trial.config)
        return Attempt(trial.trial_id, config, self._task.axis.high, trial)

    def report(self, attempt: Attempt, step: float, loss: float) -> bool:
        """See `Player`."""
        result = {"loss": loss, "step": self._task.axis.count(step)}
        if self._scheduler.on_trial_result(attempt.handle, result) == "CONTINUE":
            return True
        self._scheduler.on_trial_remove(attempt.handle)
        return False


def _space(parameters: Sequence[Parameter]) -> dict[str, Any]:
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform

    draws = {("float", False): uniform, ("float", True): loguniform, ("int", False): randint, ("int", True): lograndint}
    return {
        axis.name: choice(list(axis.values))
        if axis.kind == "category"
        else draws[axis.kind, axis.log](
            *((int(axis.low), int(axis.high)) if axis.kind == "int" else (axis.low, axis.high))
        )
        for axis in parameters
    }
