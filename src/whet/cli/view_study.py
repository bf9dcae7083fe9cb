"""A study as ``whet show`` prints it: what it is, and a page of its trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from whet.cli.budgets import axis_text, reached_by
from whet.cli.lookup import folder_of, hint
from whet.cli.reach import Reach
from whet.cli.render import ago, distinct_numbers, fields, local_time, print_table, say
from whet.cli.spending import spender_text
from whet.cli.standing import Standing, command_text, is_script
from whet.core.problem import Problem
from whet.core.protocols import Store
from whet.core.trial import Trial
from whet.core.values import Rules
from whet.describe import config_text, state_text
from whet.samplers.names import settings_text
from whet.text import counted, duration, number, one_line

_MOST_METRICS = 4  # columns, where no objective says which of them matter


def print_study(store: Store, standing: Standing, where: str | None) -> None:
    """Print what is known of a study apart from its trials; *where* is what was given as ``--store``."""
    for line in fields(_study_fields(store, standing, where)):
        say(line)


def _study_fields(store: Store, standing: Standing, where: str | None) -> Iterator[tuple[str, str]]:
    study, settings, problem = standing.study, standing.study.settings, standing.problem
    run, folder = settings.get("run") or {}, folder_of(store, study)
    repeats, lookahead = settings.get("repeats", 1), settings.get("lookahead")
    limits = {name: value for name, value in settings.get("limits", {}).items() if value is not None}
    n_configs = limits.pop("n_trials", None) if repeats > 1 else None
    repeated = "" if n_configs is None else f"{counted(n_configs, 'config')} × {repeats:,} repeats"
    usual = Rules().to_json()
    rules = {name: value for name, value in settings.get("rules", {}).items() if value != usual.get(name)}
    yield "study", study.name
    yield "state", standing.phase_text
    yield "trials", standing.counts_text
    yield "best", standing.best_text
    yield "objective", ", ".join(f"{o.name} ({o.direction})" for o in problem.objectives)
    yield "constraints", ", ".join(f"{c.name} {c.relation} {c.bound:g}" for c in problem.constraints)
    yield "parameters", "\n".join(one_line(f"{name}  {domain}") for name, domain in problem.space.items())
    yield "sampler", settings_text(settings)
    yield "scheduler", spender_text(settings)
    yield "fidelity", "" if problem.fidelity is None else one_line(axis_text(problem.fidelity))
    yield "seed", str(settings.get("seed", ""))
    yield "deterministic", f"with up to {counted(lookahead, 'worker')}" if lookahead else ""
    yield "repeats", str(repeats) if repeats > 1 else ""
    yield "limits", " ".join(part for part in (repeated, config_text(limits)) if part)
    yield "rules", config_text(rules)
    yield "command", command_text(study)
    yield "directory", str(run.get("cwd", ""))
    yield "interpreter", str(run.get("python", "")) if run.get("program", {}).get("kind") != "executable" else ""
    yield "workers", str(run.get("workers", ""))
    yield "files", str(folder) if is_script(study) or folder.is_dir() else ""
    yield "began", local_time(study.created_at)
    yield "last sign", ago(standing.summary.last_event_at)
    yield "elapsed", duration(standing.elapsed_s)
    yield "go on", hint("resume", study.name, where) if standing.can_resume else ""


def print_trials(trials: Sequence[Trial], reach: Reach) -> None:
    """Print *trials* as a table: state, how far they came, the problem's metrics, configs, time of the last attempt."""
    problem = reach.problem
    metrics = list(problem.metrics)
    if not metrics:
        metrics = list(dict.fromkeys(name for trial in trials for name in trial.values))[:_MOST_METRICS]
    parameters = list(dict.fromkeys(name for trial in trials for name in trial.config or {}))
    columns = [
        ("TRIAL", [str(trial.number) for trial in trials]),
        ("STATE", [state_text(trial) for trial in trials]),
        *([] if problem.fidelity is None else [(problem.fidelity.name, [_reached(trial, reach) for trial in trials])]),
        *((name, distinct_numbers([_value(trial, problem, name) for trial in trials])) for name in metrics),
        *((name, _column([(trial.config or {}).get(name) for trial in trials])) for name in parameters),
        ("TOOK", ["" if trial.duration_s is None else duration(trial.duration_s) for trial in trials]),
    ]
    if trials:
        print_table([name for name, _ in columns], list(zip(*(cells for _, cells in columns), strict=True)))
    else:
        say("no trials")


def _value(trial: Trial, problem: Problem, name: str) -> float | None:
    """Return a trial's value of a metric; while it is under way, what it has reported last."""
    if name in trial.values or trial.state.is_final or name not in problem.metrics:
        return trial.values.get(name)
    i = 1 + problem.metrics.index(name)
    return next((row[i] for row in reversed(list(trial.curve)) if not math.isnan(row[i])), None)


def _reached(trial: Trial, reach: Reach) -> str:
    """Return how far a trial has come, of how far it may go."""
    reached = reached_by(reach.as_reported(trial))
    parts = ["0" if reached is None else number(reached), *([] if trial.budget is None else [number(trial.budget)])]
    return "/".join(parts)


def _column(values: Sequence[Any]) -> list[str]:
    """Return the values of one parameter as cells."""
    floats = [value if isinstance(value, float) else None for value in values]
    return [
        text if isinstance(value, float) else "" if value is None else str(value)
        for value, text in zip(values, distinct_numbers(floats), strict=True)
    ]
