"""whet in the frame: a real study, asked and told on the virtual clock."""

from __future__ import annotations

import re

from searching.parameters import whet_space

import whet
from fidelities.clock import Attempt, Exhausted
from fidelities.tasks import CurveTask
from whet.core.protocols import Decision
from whet.errors import NotReady, SearchExhausted


class WhetPlayer:
    """A study made from ``SAMPLER+SCHEDULER``, both as users write them; ``none`` trains every trial to the end."""

    def __init__(self, task: CurveTask, seed: int, method: str) -> None:
        sampler, scheduler = split(method)
        axis = task.axis
        self._study = whet.Study(
            whet_space(task.parameters),
            sampler=sampler,
            scheduler=scheduler,
            fidelity={axis.name: (axis.low, axis.high)},
            seed=seed,
        )

    def next(self) -> Attempt | None:
        """See `Player`."""
        try:
            trial = self._study.ask()
        except NotReady:
            return None
        except SearchExhausted:
            raise Exhausted from None
        assert trial.budget is not None
        return Attempt(trial.number, dict(trial.config), trial.budget, trial)

    def report(self, attempt: Attempt, step: float, loss: float) -> bool:
        """See `Player`."""
        if self._study.report(attempt.handle, loss, step=step) is not Decision.CONTINUE:
            return False
        if step < attempt.budget:
            return True
        self._study.tell(attempt.handle, loss)
        return False


def split(method: str) -> tuple[str, str]:
    """Return the sampler and the scheduler of ``SAMPLER+SCHEDULER``; a plus in brackets is not the one."""
    sampler, *scheduler = re.split(r"\+(?![^(]*\))", method)
    if len(scheduler) != 1 or not sampler or not scheduler[0]:
        raise SystemExit(f"expected SAMPLER+SCHEDULER, as in gp+asha or random+none, got {method!r}")
    return sampler, scheduler[0]
