"""``whet show``: a study or a trial. ``whet best``: the best trial, with the command line that runs it again."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import click

from whet.cli.budgets import short_record
from whet.cli.lookup import (
    CommandLines,
    all_trials,
    find,
    find_study,
    hint,
    json_option,
    opened,
    store_option,
    trial_numbered,
)
from whet.cli.ranking import Reached, pareto_front, reached, top
from whet.cli.reach import Reach
from whet.cli.render import say
from whet.cli.standing import Standing, as_it_is, standing_of
from whet.cli.view_best import BestView
from whet.cli.view_study import print_study, print_trials
from whet.cli.view_trial import print_trial, trial_page
from whet.core.problem import Objective, Problem
from whet.core.protocols import Store, StudyRecord
from whet.core.trial import State, Trial
from whet.describe import json_line, trial_record
from whet.errors import UsageError
from whet.executors.metrics import closest_metrics, find_metric

_PAGE = 50
_NOTHING_COMPLETED = 3  # exit code
_N_SAMPLED = 100  # trials whose metrics are listed in a message


@click.command("show")
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), help=f"Show so many trials; by default {_PAGE}, with --json all.")
@click.option("--after", type=click.IntRange(min=0), metavar="N", help="Begin behind trial N.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only trials in this state; repeatable.",
)
@click.option(
    "--sort", type=click.Choice(["number", "value"]), default="number", help="By number, or the best value first."
)
@store_option
@json_option
def show_command(
    name: str,
    limit: int | None,
    after: int | None,
    states: Sequence[str],
    sort: str,
    store: str | None,
    is_json: bool,
) -> int:
    """Show study NAME with a page of its trials, or with NAME/3 all that is known of its trial 3.

    What a trial took is the time of its last attempt: one that paused and went on has trained in several.
    """
    with opened(store) as studies:
        target = find(studies, name)
        if target.number is not None:
            lost = studies.lease(target.study.id)
            trial = as_it_is(target.study, trial_numbered(studies, target.study, target.number), lost)
            if is_json:
                say(json_line(trial_page(studies, target.study, trial)))
            else:
                print_trial(studies, target.study, trial)
            return 0
        if sort == "value" and after is not None:
            raise UsageError("--after counts by number and cannot be used with --sort value; use --limit alone")
        standing = standing_of(studies, target.study)
        wanted = frozenset(map(State, states))
        reach = Reach.of(standing.problem, target.study.settings)
        start = -1 if after is None else after
        if is_json:
            commands = CommandLines(studies, target.study)
            for trial in _chosen(studies, standing, wanted, sort, after=start, limit=limit):
                short = short_record(reach.as_reported(trial), standing.problem.fidelity)
                say(json_line({**trial_record(trial), **short, "command": commands.of(trial)}))
            return 0
        print_study(studies, standing, store)
        say()
        n_shown = _PAGE if limit is None else limit
        found = list(_chosen(studies, standing, wanted, sort, after=start, limit=n_shown + 1))
        page = found[:n_shown]
        print_trials(page, reach)
        if sort == "number" and len(found) > n_shown:
            options = ("--after", str(page[-1].number), *(word for state in states for word in ("--state", state)))
            say(f"\nmore: {hint('show', name, store, *options)}")
    return 0


def _chosen(
    store: Store, standing: Standing, states: frozenset[State], sort: str, *, after: int, limit: int | None
) -> Iterable[Trial]:
    """Return the trials to show; read one after the other as far as they are in order of their number."""
    study, objectives = standing.study, standing.problem.objectives
    lost = store.lease(study.id)
    trials: Iterator[Trial] = (
        as_it_is(study, trial, lost) for trial in all_trials(store, study, after=after, page=limit)
    )
    if states:
        trials = (trial for trial in trials if trial.state in states)
    if sort == "number":
        return islice(trials, limit)
    if not objectives:
        raise UsageError(f"study {study.name!r} has no objective, so its trials have no value to sort by")
    objective = objectives[0]

    def rank(trial: Trial) -> tuple[bool, float, int]:
        value = objective.sign * trial.values.get(objective.name, math.nan)
        has_value = not math.isnan(value)
        return (not has_value, value if has_value else 0.0, trial.number)

    return sorted(trials, key=rank) if limit is None else heapq.nsmallest(limit, trials, key=rank)


@click.command("best")
@click.argument("name")
@click.option("--top", "n_top", type=click.IntRange(min=1), default=1, metavar="N", help="Show the best N, not one.")
@click.option(
    "--objective",
    "spelled",
    metavar="METRIC:min|max",
    help="Rank by this metric instead of the study's own objective.",
)
@store_option
@json_option
def best_command(name: str, n_top: int, spelled: str | None, store: str | None, is_json: bool) -> int:
    """Show the best trial of study NAME with its command line, ready to paste.

    With repeats, configs are ranked by the mean over theirs. With several objectives, the trials are shown that no
    other one beats in all of them. Exit code 3: no trial has completed yet.
    """
    with opened(store) as studies:
        study = find_study(studies, name)
        problem = Problem.from_json(study.settings["problem"])
        objectives = problem.objectives if spelled is None else (_objective(studies, study, spelled),)
        if not objectives:
            raise UsageError(_no_objective(studies, study, store))
        found = _found(studies, study, problem, objectives, n_top)
        if not found:
            say(f"whet: {_nothing(studies, study, problem)}", err=True)
            return _NOTHING_COMPLETED
        shown = BestView(studies, study, objectives, found)
        if is_json:
            shown.print_json()
        elif len(objectives) > 1:
            shown.print_front(hint("show", f"{study.name}/{found[0].number}", store))
        elif len(found) > 1:
            shown.print_top()
        else:
            shown.print_one()
    return 0


def _found(
    store: Store, study: StudyRecord, problem: Problem, objectives: Sequence[Objective], n_top: int
) -> list[Reached]:
    repeats = study.settings.get("repeats", 1)
    if objectives == problem.objectives and len(objectives) == n_top == repeats == 1:
        # What the store keeps at hand anyway.
        trial = store.summary(study.id).best
        return [] if trial is None else [Reached(trial.number, (trial.values[objectives[0].name],))]
    configs = reached(problem, all_trials(store, study), objectives)
    return top(configs, objectives[0], n_top) if len(objectives) == 1 else pareto_front(configs, objectives)


def _objective(store: Store, study: StudyRecord, spelled: str) -> Objective:
    """Return the objective *spelled*, under the name that the study's trials have it.

    Raises:
        UsageError: no trial has that metric.
    """
    wanted = Objective.parse(spelled)
    names = _metrics_seen(store, study)
    name = find_metric(wanted.name, names)
    if name is None and names:
        near = closest_metrics(wanted.name, names) or names[:5]
        raise UsageError(f"no trial of {study.name!r} has the metric {wanted.name!r}; metrics seen: {', '.join(near)}")
    return Objective(name or wanted.name, wanted.direction)


def _metrics_seen(store: Store, study: StudyRecord) -> list[str]:
    trials = store.trials(study.id, limit=_N_SAMPLED, newest_first=True)
    return list(dict.fromkeys(name for trial in trials for name in trial.values))


def _no_objective(store: Store, study: StudyRecord, where: str | None) -> str:
    names = _metrics_seen(store, study)
    example = hint("best", study.name, where, "--objective", f"{names[0] if names else 'val_loss'}:min")
    seen = f" (metrics seen: {', '.join(names[:12])})" if names else ""
    what = f"study {study.name!r} has no objective, so none of its trials is the best"
    return f"{what}; name a metric to rank by: {example}{seen}"


def _nothing(store: Store, study: StudyRecord, problem: Problem) -> str:
    standing = standing_of(store, study)
    if standing.counts.get(State.COMPLETED) and study.settings.get("repeats", 1) > 1:
        return f"study {study.name!r}: no config has all its repeats behind it yet ({standing.counts_text})"
    if standing.counts.get(State.COMPLETED):
        what = "meets the constraints" if problem.constraints else "has a value to rank by"
        return f"study {study.name!r}: no completed trial {what} ({standing.counts_text})"
    return f"study {study.name!r}: no trial has completed yet ({standing.counts_text})"
