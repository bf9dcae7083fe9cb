"""Trials and studies in words, and trials as JSON, the same wherever they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from whet.core.history import History
from whet.core.problem import BARE, Problem
from whet.core.trial import Cause, State, Trial
from whet.text import counted, duration, number, one_line

_MOST_WITH_REPEATS = 5_000  # trials up to which the best mean of repeats is looked for at each refresh
_MOST_METRICS = 4  # on a line, where no objective says which of them matter
_CAUSES: Mapping[Cause, str] = {
    Cause.ERROR: "error",
    Cause.TIMEOUT: "ran out of time",
    Cause.MEMORY: "ran out of memory",
    Cause.SIGNAL: "ended by a signal",
    Cause.EXIT_CODE: "exit code",
    Cause.BAD_VALUE: "objective not finite",
    Cause.NO_METRIC: "objective never printed",
}


def trial_name(study: str, number: int) -> str:
    """Return the name by which commands know a trial."""
    return f"{one_line(study)}/{number}"


def config_text(config: Mapping[str, Any], width: int = 100) -> str:
    """Return a config on one line: ``lr=0.1 layers=2``."""
    return one_line(" ".join(f"{name}={_value_text(value)}" for name, value in config.items()), width)


def _value_text(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def values_text(trial: Trial, problem: Problem) -> str:
    """Return a trial's values of the problem's metrics on one line; where it has none, the first few of all."""
    names = [name for name in problem.metrics if name in trial.values]
    if not problem.metrics:
        names = list(trial.values)[:_MOST_METRICS]
    return one_line(" ".join(f"{name}={number(trial.values[name])}" for name in names), 100)


def state_text(trial: Trial) -> str:
    """Return a trial's state, and for a failure its cause: ``failed: exit code 1``."""
    if trial.state is not State.FAILED or trial.cause is None:
        return trial.state.value
    return f"failed: {cause_text(trial.cause, trial.exit_code)}"


def cause_text(cause: Cause, exit_code: int | None = None) -> str:
    """Return why a trial failed, in a few words."""
    words = _CAUSES[cause]
    if cause is Cause.EXIT_CODE and exit_code is not None:
        return f"{words} {exit_code}"
    if cause is Cause.SIGNAL and exit_code is not None and exit_code < 0:
        return f"{words} ({-exit_code})"
    return words


def trial_line(trial: Trial, study: str, problem: Problem) -> str:
    """Return a trial that has ended on one line."""
    took = "" if trial.duration_s is None else f"({duration(trial.duration_s)})"
    parts = (
        trial_name(study, trial.number),
        state_text(trial),
        values_text(trial, problem),
        config_text(trial.config or {}),
        took,
    )
    return "  ".join(part for part in parts if part)


def counts_text(history: History) -> str:
    """Return how many trials there are in each state: ``12 trials: 11 completed, 1 failed``."""
    counts = {state: n for state, n in history.counts().items() if n}
    parts = ", ".join(f"{n:,} {state.value}" for state, n in counts.items())
    return f"{counted(sum(counts.values()), 'trial')}{': ' if parts else ''}{parts}"


def leader_text(history: History, leader: tuple[int, float]) -> str:
    """Return the best value, its metric unless that is a bare number, and the trial: ``acc=0.93 (trial 7)``."""
    name = history.problem.objectives[0].name
    metric = "" if name == BARE else f"{one_line(name, 60)}="
    mean = "mean " if history.repeats > 1 else ""
    return f"{mean}{metric}{number(leader[1])} (trial {leader[0]})"


def quick_leader(history: History) -> tuple[int, float] | None:
    """Return `History.leader`, or ``None`` where finding it takes too long to do it again and again."""
    if history.repeats > 1 and history.n_finished > _MOST_WITH_REPEATS:
        return None
    return history.leader()


def why_no_best(history: History) -> str:
    """Return why there is no best trial to name, in a few words."""
    problem = history.problem
    if not problem.objectives:
        return "no objective, so no best trial"
    if len(problem.objectives) > 1:
        return f"{len(problem.objectives)} objectives, so no single best trial"
    if not history.counts()[State.COMPLETED]:
        return "no completed trial yet"
    if problem.constraints and not history.means():
        return "no completed trial meets the constraints"
    return "no config whose repeats have all ended"


def trial_record(trial: Trial) -> dict[str, Any]:
    """Return a trial as the JSON that ``export`` writes; see `json_line`."""
    return {
        "number": trial.number,
        "state": trial.state.value,
        "cause": trial.cause.value if trial.cause else None,
        "config": dict(trial.config or {}),
        "values": dict(trial.values),
        "attempts": trial.attempt,
        "started_at": trial.started_at,
        "duration_s": trial.duration_s,
    }


def json_line(record: Any) -> str:
    """Return *record* as one line of JSON in ASCII; numbers that JSON lacks become ``"nan"``, ``"inf"``, ``"-inf"``."""
    try:
        return json.dumps(record, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(record), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
