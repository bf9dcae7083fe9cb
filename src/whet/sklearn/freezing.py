"""The study of a search as it can be pickled with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whet.sklearn.trials import ended, enqueued, started

if TYPE_CHECKING:
    from whet.study import Study


@dataclass(frozen=True, slots=True)
class Frozen:
    """A study as it can be pickled: its name, its problem as JSON, and of each trial what it is and has come to.

    Attributes:
        trials: config, values, the message of its failure, and why it was stopped; no values: it has not ended.
    """

    name: str
    problem: Mapping[str, Any]
    trials: Sequence[tuple[Mapping[str, Any], Mapping[str, float], str | None, str]]


def frozen(study: Study) -> Frozen:
    """Return what `thawed` makes a study of again, one in memory that knows the same."""
    trials = [
        (
            trial.config or {},
            trial.values,
            trial.message if trial.cause else None,
            (trial.message or "stopped") if trial.state in ("stopped", "paused") else "",
        )
        for trial in study.trials
    ]
    return Frozen(study.name, study.ledger.history.problem.to_json(), trials)


def thawed(ice: Frozen) -> Study:
    """Return the study that *ice* was made of."""
    from whet.core.problem import Problem
    from whet.study import Study  # heavy, and workers, which import this package, need none

    problem = Problem.from_json(ice.problem)
    directions = {objective.name: objective.direction for objective in problem.objectives}
    study = Study(problem.space, directions, sampler="random", fidelity=problem.fidelity, seed=0, name=ice.name)
    trials = enqueued(study.ledger, [config for config, _, _, _ in ice.trials])
    for trial, (_, values, message, why) in zip(trials, ice.trials, strict=True):
        if values or message is not None or why:
            ended(study, started(study.ledger, trial, 0), values, message, why)
    return study
