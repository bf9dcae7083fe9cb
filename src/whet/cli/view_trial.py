"""A trial as ``whet show NAME/3`` prints it: all that is known of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from whet.cli.budgets import reached_by
from whet.cli.lookup import CommandLines, folder_of
from whet.cli.owned import is_log
from whet.cli.reach import Reach
from whet.cli.render import distinct_numbers, fields, local_time, print_table, say, size
from whet.cli.spending import rungs_of
from whet.core.problem import Problem
from whet.core.protocols import Store, StudyRecord
from whet.core.trial import State, Trial
from whet.describe import state_text, trial_name, trial_record
from whet.explaining import why_text
from whet.text import counted, duration, number, one_line

_MOST_VALUES = 30
_N_REPORTS = 5


def trial_page(store: Store, study: StudyRecord, trial: Trial) -> dict[str, Any]:
    """Return *trial* as JSON, with all that is known of it."""
    problem = Problem.from_json(study.settings["problem"])
    names = ("step", *problem.metrics)
    reach = Reach.of(problem, study.settings)
    return {
        **trial_record(trial),
        "message": trial.message,
        "exit_code": trial.exit_code,
        "budget": trial.budget,
        "bracket": trial.bracket,
        "reached": reached_by(reach.as_reported(trial)),
        "rungs": [{"budget": at, "value": value} for at, value in rungs_of(trial, reach, study.settings)],
        "retries": dict(trial.retries),
        "group": trial.group,
        "replicate": trial.replicate,
        "parent": trial.parent,
        "asked_at": trial.asked_at,
        "ended_at": trial.ended_at,
        "why": dict(trial.why),
        "reports": [{name: x for name, x in zip(names, row, strict=True) if not math.isnan(x)} for row in trial.curve],
        "command": CommandLines(store, study).of(trial),
        "directory": str(folder_of(store, study) / str(trial.number)),
    }


def print_trial(store: Store, study: StudyRecord, trial: Trial) -> None:
    """Print all that is known of *trial*."""
    commands = CommandLines(store, study)
    pairs = [
        ("trial", trial_name(study.name, trial.number)),
        ("state", state_text(trial)),
        *_life_of(study, trial),
        ("config", _lines_of(trial.config or {})),
        ("values", _lines_of(trial.values)),
        ("chosen by", why_text(trial)),
        ("files", _files_text(folder_of(store, study) / str(trial.number))),
        ("command", commands.of(trial) or commands.trouble),
        ("reason" if trial.state in (State.STOPPED, State.PAUSED) else "message", trial.message),
    ]
    for line in fields(pairs):
        say(line)
    if len(trial.curve):
        _print_reports(trial, Problem.from_json(study.settings["problem"]))


def _print_reports(trial: Trial, problem: Problem) -> None:
    rows = list(trial.curve)[-_N_REPORTS:]
    columns = [distinct_numbers([None if math.isnan(x) else x for x in column]) for column in zip(*rows, strict=True)]
    say(f"\nreports (the last of {len(trial.curve):,})")
    print_table(("step", *problem.metrics), list(zip(*columns, strict=True)))


def _life_of(study: StudyRecord, trial: Trial) -> Iterator[tuple[str, str]]:
    repeats = study.settings.get("repeats", 1)
    retries = ", ".join(f"{n} after {cause}" for cause, n in trial.retries.items())
    yield "repeat", f"{trial.replicate + 1} of {repeats}" if repeats > 1 else ""
    yield "attempts", f"{trial.attempt}{f' (run again: {retries})' if retries else ''}"
    yield "exit code", "" if trial.exit_code is None else str(trial.exit_code)
    yield from _budget_of(study, trial)
    yield "parent", "" if trial.parent is None else str(trial.parent)
    yield "asked", local_time(trial.asked_at)
    yield "began", local_time(trial.started_at)
    yield "ended", local_time(trial.ended_at)
    yield "took", took_text(trial)


def took_text(trial: Trial) -> str:
    """Return how long the last attempt of *trial* took, and which it was if there were others."""
    if trial.duration_s is None:
        return ""
    of = f" (the last of {trial.attempt} attempts)" if trial.attempt > 1 else ""
    return f"{duration(trial.duration_s)}{of}"


def _budget_of(study: StudyRecord, trial: Trial) -> Iterator[tuple[str, str]]:
    problem = Problem.from_json(study.settings["problem"])
    axis = problem.fidelity
    if axis is None:
        return
    reach = Reach.of(problem, study.settings)
    reached = reached_by(reach.as_reported(trial))
    name = one_line(axis.name, 60)
    told = axis.high if trial.budget is None else trial.budget
    yield "budget", f"{name} {number(told)} of {number(axis.high)}"
    yield "bracket", "" if trial.bracket is None else str(trial.bracket)
    yield "reached", "" if reached is None else f"{name} {number(reached)}"
    rungs = rungs_of(trial, reach, study.settings)
    values = distinct_numbers([value for _, value in rungs])
    yield "rungs", "\n".join(f"{name} {number(at)}: {value}" for (at, _), value in zip(rungs, values, strict=True))


def _lines_of(items: Mapping[str, Any]) -> str:
    lines = [f"{one_line(name)} = {_exact(value)}" for name, value in items.items()]
    if len(lines) > _MOST_VALUES:
        lines[_MOST_VALUES:] = [f"and {len(lines) - _MOST_VALUES:,} more (--json has them all)"]
    return "\n".join(lines)


def _exact(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else repr(value)


def _files_text(folder: Path) -> str:
    """Return where a trial's files are, and which of its logs hold something."""
    try:
        entries = sorted(folder.iterdir())
        logs = [f"{path.name} {size(path.lstat().st_size)}" for path in entries if is_log(path.name)]
    except OSError:
        return f"{folder} (not there)"
    n_others = len(entries) - len(logs)
    parts = [*logs, *([f"{counted(n_others, 'other file')}"] if n_others else [])]
    return f"{folder}\n{', '.join(parts)}" if parts else str(folder)
