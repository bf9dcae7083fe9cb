"""``whet resume``: go on with a study, in the directory in which it was started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from whet.cli.conduct import Conduct, gpus_for
from whet.cli.console import chosen_style
from whet.cli.lookup import find_study, hint, json_option, opened, store_option
from whet.cli.options import TrialCount, duration, trial_count
from whet.cli.origin import Origin
from whet.cli.plan import DEFAULT_MAX_TRIALS, known_scheduler
from whet.cli.program import read_program
from whet.cli.render import say
from whet.cli.script import ScriptRun
from whet.cli.standing import Standing, command_text, standing_of
from whet.cli.stop import give_command
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.lookahead import check_workers, lookahead_of
from whet.core.problem import Problem
from whet.core.protocols import Store, StudyRecord
from whet.errors import StudyBusy, UsageError
from whet.schedulers.names import described, settings_text
from whet.space.grid import n_configs
from whet.stopping import Limits
from whet.storage.locks import Holder
from whet.study import load
from whet.text import counted, one_line
from whet.text import duration as duration_text
from whet.tuning import give_first


@dataclass(frozen=True, slots=True)
class _Changes:
    """What is to be different from now on; ``None``: as before."""

    trials: TrialCount | None
    timeout_s: float | None
    target: float | None
    max_failures: int | None
    workers: int | None
    scheduler: str | None

    @property
    def is_of_limits(self) -> bool:
        """Tell whether a bound of the search changes."""
        return any(bound is not None for bound in (self.trials, self.timeout_s, self.target, self.max_failures))


@click.command("resume")
@click.argument("name")
@click.option("--trials", type=trial_count, metavar="N|+N", help="How many combinations in all, or how many more.")
@click.option("--timeout", "timeout_s", type=duration, metavar="TIME", help="Of this run: 90, 10m, 2h or 1d.")
@click.option("--target", type=float, metavar="VALUE", help="End when the first objective reaches this.")
@click.option("--max-failures", type=click.IntRange(min=1), metavar="N", help="End after N failures in all.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Trials at a time, from now on.")
@click.option("--scheduler", metavar="NAME", help="Only the one that the study was begun with.")
@click.option("--trust", is_flag=True, help="Run the command of a study that was begun by another user or elsewhere.")
@click.option("--yes", is_flag=True, help=f"Add more than {DEFAULT_MAX_TRIALS:,} trials.")
@click.option("--quiet", "is_quiet", is_flag=True, help="Print only how it ended.")
@store_option
@json_option
def resume_command(
    name: str, trust: bool, yes: bool, is_quiet: bool, store: str | None, is_json: bool, **options: Any
) -> int:
    """Go on with study NAME: run what is missing, or more of it with --trials, with the values it would have had.

    Trials that were interrupted run again; those that failed stay failed. While another process runs the study,
    --trials, --timeout, --target and --max-failures are passed on to it.
    """
    changes = _Changes(**options)
    with opened(store) as studies:
        study = find_study(studies, name)
        run = ScriptRun.from_settings(study.settings)
        _check_scheduler(study, changes.scheduler)
        if study.holder is not None:
            limits, notices = _limits(study, standing_of(studies, study), changes, yes=yes)
            for notice in notices:
                say(notice, err=True)
            return _pass_on(studies, study, changes, limits, store)
        loaded = load(study.name, studies)
        amended, outcomes = _with_passed_on(study, loaded.ledger.history)
        limits, notices = _limits(amended, standing_of(studies, amended), changes, yes=yes)
        standing = _with_limits(standing_of(studies, study), limits)
        if standing.phase == "finished":
            return _say_finished(standing, notices, store)
        check_workers(lookahead_of(loaded.ledger.history), changes.workers or run.workers)
        here = Origin.here(studies.url)
        run = _moved(run if changes.workers is None else replace(run, workers=changes.workers), here)
        _go_home(run)
        run = _trusted(study, run, here, store, is_asked=trust)
        gpus = gpus_for(run)
        notices += [f"since {one_line(study.name)} began: {change}" for change in run.changed_since()]
        give_first(loaded, study.settings.get("first", ()))  # unless the run was killed before it had
        conduct = Conduct(
            loaded,
            run,
            style=chosen_style(is_json=is_json, is_quiet=is_quiet),
            n_configs=n_configs(standing.problem.space),
            gpus=gpus,
            store_option=store,
        )
        head = f"resuming {one_line(study.name)}: {standing.counts_text}"
        return conduct.run([*notices, head], amendments=[*_amendments(study, run, limits), *outcomes])


def _trusted(study: StudyRecord, run: ScriptRun, here: Origin, store: str | None, *, is_asked: bool) -> ScriptRun:
    """Return *run* as one of here, if it is one or if that is *is_asked* for.

    Raises:
        UsageError: it would run what somebody else may have written; the message shows that.
    """
    if difference := "" if is_asked else run.origin.difference(here):
        kept = f", with {one_line(', '.join(run.environment))} in its environment" if run.environment else ""
        raise UsageError(
            f"to resume {study.name!r} is to run the program that is written in its store, and {difference}. It runs, "
            f"in {one_line(run.cwd)} by {one_line(run.python)}{kept}:\n{command_text(study)}\n"
            f"If you trust that: {hint('resume', study.name, store, '--trust')}"
        )
    return replace(run, origin=here)


def _check_scheduler(study: StudyRecord, asked: str | None) -> None:
    """See that *asked* is the scheduler of *study*, whose trials have the budgets and brackets that it gave them.

    Raises:
        UsageError: it is another one.
    """
    before = settings_text(study.settings)
    if asked is not None and described(known_scheduler(asked)) != before:
        raise UsageError(
            f"--scheduler {asked}: {study.name!r} was begun with {before}, which its trials have their budgets from, "
            "and goes on with it; for another one begin a new study with `whet run --scheduler`"
        )


def _limits(study: StudyRecord, standing: Standing, changes: _Changes, *, yes: bool) -> tuple[Limits, list[str]]:
    """Return the limits from now on, and notices about what of the changes cannot be had.

    Raises:
        UsageError: they make no sense for this study.
    """
    limits = Limits(**study.settings.get("limits", {}))
    if changes.target is not None and not standing.problem.objectives:
        raise UsageError(f"--target needs an objective to reach it with, and {study.name!r} has none")
    n_trials, notices = _n_trials(limits, standing, changes.trials, yes=yes)
    return (
        Limits(
            n_trials=n_trials,
            timeout_s=limits.timeout_s if changes.timeout_s is None else changes.timeout_s,
            target=limits.target if changes.target is None else changes.target,
            max_failures=limits.max_failures if changes.max_failures is None else changes.max_failures,
        ),
        notices,
    )


def _n_trials(
    limits: Limits, standing: Standing, wanted: TrialCount | None, *, yes: bool
) -> tuple[int | None, list[str]]:
    if wanted is None:
        return limits.n_trials, []
    repeats = standing.study.settings.get("repeats", 1)
    n_asked = -(-sum(standing.counts.values()) // repeats)
    n_before = limits.n_trials if limits.n_trials is not None else n_asked
    n_trials = n_before + wanted.n if wanted.is_more else wanted.n
    if n_trials < n_asked:
        raise UsageError(f"--trials {wanted.n}: {n_asked:,} have been asked already; for more of them: --trials +N")
    n_points = n_configs(standing.problem.space)
    if n_points is not None and n_trials > n_points:
        return n_points, [f"there are only {n_points:,} combinations, so {counted(n_points, 'trial')} in all"]
    if n_trials - n_before > DEFAULT_MAX_TRIALS and not yes:
        raise UsageError(f"{n_trials - n_before:,} more trials: add --yes if that is what you want")
    return n_trials, []


def _with_passed_on(study: StudyRecord, history: History) -> tuple[StudyRecord, list[Draft]]:
    """Return *study* with the limits that were passed on to a run which ended before it heard of them.

    With them come the drafts that say that these commands are carried out.
    """
    outcomes = []
    for seq, command in history.pending_commands.items():
        match command:
            case {"command": "amend", "settings": {"limits": dict(limits)}}:
                study = replace(study, settings={**study.settings, "limits": limits})
                outcomes.append(Draft(Kind.COMMAND, None, {"of": seq, "outcome": "done"}))
    return study, outcomes


def _with_limits(standing: Standing, limits: Limits) -> Standing:
    study = standing.study
    amended = replace(study, settings={**study.settings, "limits": asdict(limits)})
    return replace(standing, study=amended)


def _pass_on(store: Store, study: StudyRecord, changes: _Changes, limits: Limits, where: str | None) -> int:
    """Tell the process that runs *study* about new limits.

    Raises:
        StudyBusy: there is nothing to tell it.
        UsageError: what is asked cannot be changed while it runs.
    """
    if changes.workers is not None:
        stop = hint("stop", study.name, where)
        raise UsageError(f"--workers cannot change while {study.holder} runs {study.name!r}; first: {stop}")
    if not changes.is_of_limits:
        raise StudyBusy(
            f"study {study.name!r} is being run by {Holder(str(study.holder), study.held_since)}; "
            f"to look: {hint('status', study.name, where)}; "
            f"to end it: {hint('stop', study.name, where)}"
        )
    before = Limits(**study.settings.get("limits", {}))
    if before.n_trials is None and limits.n_trials is not None:
        before = replace(before, n_trials=n_configs(Problem.from_json(study.settings["problem"]).space))
    if limits == before:
        say(f"nothing changes for {study.holder}, which runs {one_line(study.name)}: {_limits_text(limits)}")
        return 0
    give_command(store, study, {"command": "amend", "settings": {"limits": asdict(limits)}})
    say(f"told {study.holder}, which runs {one_line(study.name)}: {_limits_text(limits)}")
    return 0


def _limits_text(limits: Limits) -> str:
    n_trials, timeout_s, target, max_failures = limits.n_trials, limits.timeout_s, limits.target, limits.max_failures
    parts = [
        None if n_trials is None else f"{counted(n_trials, 'combination')} in all",
        None if timeout_s is None else f"{duration_text(timeout_s)} for this run",
        None if target is None else f"until {target:g} is reached",
        None if max_failures is None else f"at most {counted(max_failures, 'failure')}",
    ]
    return ", ".join(part for part in parts if part is not None)


def _say_finished(standing: Standing, notices: list[str], where: str | None) -> int:
    name = standing.study.name
    for notice in notices:
        say(notice, err=True)
    limits = standing.study.settings["limits"]
    n_asked, n_points = sum(standing.counts.values()), n_configs(standing.problem.space)
    if limits["target"] is not None and n_asked != standing.n_planned:
        say(f"{one_line(name)} is finished, its target {limits['target']:g} is reached: {standing.counts_text}")
        say(f"to go on: {hint('resume', name, where, '--target', 'VALUE')}")
        return 0
    say(f"{one_line(name)} is finished, nothing is left to run: {standing.counts_text}")
    if n_points is None or (limits["n_trials"] is not None and limits["n_trials"] < n_points):
        say(f"for more: {hint('resume', name, where, '--trials', '+10')}")
    return 0


def _moved(run: ScriptRun, here: Origin) -> ScriptRun:
    """Return *run* in the directory that was moved together with its database, if the one that it knows is gone."""
    if not run.origin.store or not here.store or Path(run.cwd).is_dir():
        return run
    way = os.path.relpath(run.cwd, Path(run.origin.store).parent)
    cwd = (Path(here.store).parent / way).resolve()
    return replace(run, cwd=str(cwd)) if cwd.is_dir() else run


def _go_home(run: ScriptRun) -> None:
    """Go to the directory in which the study was started, and see that its program is there.

    Raises:
        UsageError: one of them is not.
    """
    try:
        os.chdir(run.cwd)
    except OSError as error:
        raise UsageError(
            f"the study was started in {run.cwd}, where nobody can go now: {error.strerror}. If it was moved, put a "
            "link to it there"
        ) from None
    read_program([*(["-m"] if run.program.kind == "module" else []), run.program.target])


def _amendments(study: StudyRecord, run: ScriptRun, limits: Limits) -> list[Draft]:
    """Return the event that writes down what is different from now on, if anything is."""
    wanted: Mapping[str, Any] = {"limits": asdict(limits), "run": run.to_settings()}
    changed = {key: value for key, value in wanted.items() if study.settings.get(key) != value}
    return [Draft(Kind.AMENDED, None, {"settings": changed})] if changed else []
