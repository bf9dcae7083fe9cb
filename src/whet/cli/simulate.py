"""``whet simulate``: which scheduler would have been best for a study, by the curves that it recorded."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from whet.cli.lookup import all_trials, find_study, json_option, opened, store_option
from whet.cli.render import distinct_numbers, print_table, say
from whet.core.problem import Problem
from whet.core.trial import State
from whet.core.values import Rules
from whet.describe import json_line
from whet.errors import UsageError
from whet.samplers.names import sampler_named
from whet.schedulers.names import described, scheduler_named
from whet.testing.recorded import Recording, reasons, recording_of, replay
from whet.testing.simulated import Simulated
from whet.text import counted, duration

_USUAL = ("asha", "median", "hyperband")
_CLOSE = 0.01  # of the range of all values; who is within it has found the best


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a scheduler came to in one search.

    Attributes:
        reached_s: when a trained config was close to the best, infinite if none ever was.
        best: value of the best config trained to the end, NaN without one.
        cost: part of the time that training all configs to the end takes.
        has_stopped_best: whether the best config of all was begun and not trained to the end.
        end_s: when it ended.
    """

    reached_s: float
    best: float
    cost: float
    has_stopped_best: bool
    end_s: float


@click.command("simulate")
@click.argument("name")
@click.option(
    "--scheduler",
    "schedulers",
    multiple=True,
    metavar="NAME",
    help=f"To compare, as in asha or 'asha(eta=4)'; repeatable. By default {', '.join(_USUAL)}.",
)
@click.option("--strategy", default="random", metavar="NAME", help="In which order configs are tried (random).")
@click.option("--workers", type=click.IntRange(1), default=8, metavar="N", help="Trials at a time (8).")
@click.option("--repeats", type=click.IntRange(1), default=20, metavar="N", help="Searches for each scheduler (20).")
@click.option("--from-zero", is_flag=True, help="A trial that goes on starts again: the program keeps no checkpoint.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of the first search (0).")
@store_option
@json_option
def simulate_command(
    name: str,
    schedulers: Sequence[str],
    strategy: str,
    workers: int,
    repeats: int,
    from_zero: bool,
    seed: int,
    store: str | None,
    is_json: bool,
) -> int:
    """Compare schedulers on the curves that study NAME has recorded; nothing is run.

    Only trials that ran to the end are used, as only their curves are whole. Each search tries their configs in another
    order, on a virtual clock that takes the recorded times.
    """
    # Made before anything is simulated, and once for each name: every search is to be told apart from the others.
    compared = {described(scheduler_named(text)): text for text in ("none", *(schedulers or _USUAL))}
    sampler_named(strategy)
    with opened(store) as studies:
        study = find_study(studies, name)
        problem, rules = Problem.from_json(study.settings["problem"]), study.settings.get("rules", {})
        take = Rules.from_json(rules).take
        recording = recording_of(study.name, problem, all_trials(studies, study), take, checkpoints=not from_zero)
    if recording.best is None:
        raise UsageError(f"study {study.name!r} has no completed trial that meets its constraints")
    if not is_json:
        _say_what(recording, workers, repeats)
    outcomes = {}
    for shown, text in compared.items():
        outcomes[shown] = [
            _outcome(
                recording,
                replay(
                    recording,
                    scheduler_named(text),
                    sampler_named(strategy),
                    n_workers=workers,
                    seed=seed + i,
                    checkpoints=not from_zero,
                ),
            )
            for i in range(repeats)
        ]
        if is_json:
            say(json_line({"study": study.name, **_record(shown, outcomes[shown], recording)}))
    if not is_json:
        _print(outcomes, recording)
    return 0


def _outcome(recording: Recording, found: Simulated) -> _Outcome:
    sign, values = recording.problem.objectives[0].sign, recording.values
    assert recording.best is not None, "looked at before"
    best = recording.trials[recording.best]
    finite = [value for value in values if math.isfinite(value)]
    goal = sign * values[recording.best] + _CLOSE * (max(finite) - min(finite))
    reached = (one.time_s for one in found.incumbents if sign * one.value <= goal)
    of_best = [trial for trial in found.trials if trial.config == best[1]]
    return _Outcome(
        next(reached, math.inf),
        found.incumbents[-1].value if found.incumbents else math.nan,
        found.busy_s / recording.total_s if recording.total_s else math.nan,
        any(trial.state is not State.COMPLETED for trial in of_best),
        found.end_s,
    )


def _record(scheduler: str, outcomes: Sequence[_Outcome], recording: Recording) -> dict[str, Any]:
    """Return the medians over all searches."""
    return {
        "scheduler": scheduler,
        "n_trials": len(recording.trials),
        "n_searches": len(outcomes),
        "reached_s": statistics.median(outcome.reached_s for outcome in outcomes),
        "best": statistics.median(outcome.best for outcome in outcomes),
        "cost": statistics.median(outcome.cost for outcome in outcomes),
        "n_stopped_best": sum(outcome.has_stopped_best for outcome in outcomes),
        "end_s": statistics.median(outcome.end_s for outcome in outcomes),
    }


def _say_what(recording: Recording, workers: int, repeats: int) -> None:
    axis = recording.problem.fidelity
    assert axis is not None, "the curves are on it"
    left_out = f" (left out: {reasons(recording.left_out)})" if recording.left_out else ""
    n_trials = counted(len(recording.trials), "trial")
    say(f"{n_trials} that ran to the end{left_out}, {axis.name} {axis.low:g} to {axis.high:g}")
    n_searches = "1 search" if repeats == 1 else f"medians of {repeats:,} searches"
    say(f"{n_searches} with {counted(workers, 'worker')}:\n")


def _print(outcomes: dict[str, list[_Outcome]], recording: Recording) -> None:
    records = [_record(scheduler, each, recording) for scheduler, each in outcomes.items()]
    bests = distinct_numbers([record["best"] for record in records])
    rows = [
        (
            record["scheduler"],
            duration(record["reached_s"]) if math.isfinite(record["reached_s"]) else "never",
            best,
            "" if math.isnan(record["cost"]) else f"{record['cost']:.0%}",
            f"{record['n_stopped_best']}/{record['n_searches']}",
            duration(record["end_s"]),
        )
        for record, best in zip(records, bests, strict=True)
    ]
    print_table(("SCHEDULER", "NEAR THE BEST AFTER", "BEST", "COST", "BEST STOPPED EARLY", "ENDS AFTER"), rows)
    name = recording.problem.objectives[0].name
    say(
        f"\nnear the best: a config trained to the end, with {name} within {_CLOSE:.0%} of the range of all; "
        "cost: of training every config to the end"
    )
