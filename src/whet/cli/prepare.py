"""From the options and tokens of `whet run` to a run that could begin."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whet.cli.first import first_configs
from whet.cli.plan import Plan, known_search, make_plan
from whet.cli.program import Program, misplaced_options, read_program
from whet.cli.runoptions import SECTIONS, Request
from whet.cli.script import ScriptRun
from whet.cli.spending import check_spending
from whet.cli.surroundings import chosen_python, kept_environment
from whet.core.lookahead import DEFAULT_LOOKAHEAD, check_workers
from whet.core.problem import Constraint, Objective, Problem
from whet.core.protocols import Scheduler
from whet.core.randomness import fresh_seed
from whet.core.values import Rules, Take
from whet.errors import UsageError
from whet.executors.gpus import gpu_amount
from whet.executors.metrics import MetricReader
from whet.samplers.names import check_sampler, sampler_named
from whet.schedulers.names import compares
from whet.stopping import Limits
from whet.storage.open import file_of
from whet.text import one_line

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that could begin: everything is read and checked, nothing stored."""

    request: Request
    run: ScriptRun
    plan: Plan
    scheduler: Scheduler
    first: tuple[Mapping[str, Any], ...]
    problem: Problem
    limits: Limits
    rules: Rules
    lookahead: int | None
    notices: tuple[str, ...]


def prepare(request: Request, tokens: Sequence[str]) -> Prepared:
    """Read everything that was typed.

    Raises:
        UsageError: something of it makes no sense; the message says what, and what to type.
    """
    program, arguments = read_program(tokens)
    known = {name for section in SECTIONS.values() for option in section for name in option.opts}
    misplaced = misplaced_options(["-m", program.target, *arguments], known)
    try:
        prepared = _prepared(request, program, arguments)
    except UsageError as error:
        # What is missing may stand there.
        named = [line for line in misplaced if re.search(rf"{line.partition(' ')[0]}\b", str(error))]
        raise UsageError("\n".join([str(error), *named])) if named else error from None
    return replace(prepared, notices=(*misplaced, *prepared.notices))


def _prepared(request: Request, program: Program, arguments: Sequence[str]) -> Prepared:
    _check_places(request)
    lookahead = DEFAULT_LOOKAHEAD if request.deterministic else None
    check_workers(lookahead, request.workers)
    asked, scheduler = known_search(request.strategy, request.scheduler)
    run = ScriptRun(
        program=program,
        arguments=tuple(arguments),
        cwd=str(Path.cwd()),
        seed=fresh_seed() if request.seed is None else request.seed,
        python=chosen_python(request.python),
        strategy=asked or "grid",
        literal=request.literal,
        zips=request.zips,
        when=request.when,
        forbid=request.forbid,
        fidelity=request.fidelity,
        chdir=request.chdir,
        pty=request.pty,
        workers=request.workers,
        cpus=request.cpus,
        gpus=request.gpus,
        memory_bytes=request.memory_bytes,
        trial_timeout_s=request.trial_timeout_s,
        grace_s=request.grace_s,
        log_cap_bytes=request.log_cap_bytes,
        metric_pattern=request.metric_pattern,
        environment=kept_environment(request.env_keep, os.environ),
    )
    objectives, objective_notices = _objectives(request)
    if request.trials is not None and request.trials.is_more:
        raise UsageError(f"--trials +{request.trials.n} is for `whet resume`; a new study has --trials N")
    constraints = tuple(map(Constraint.parse, request.constraints))
    problem = Problem(run.sweep.space, objectives, constraints, run.axis)
    plan = make_plan(
        run.sweep,
        strategy=asked,
        n_trials=None if request.trials is None else request.trials.n,
        max_trials=request.max_trials,
        repeats=request.repeats,
        has_objective=bool(objectives),
        timeout_s=request.timeout_s,
        target=request.target,
        # A dry run starts nothing, however many there are.
        yes=request.yes or request.dry_run,
        scheduler=scheduler,
    )
    spending_notices = check_spending(scheduler, problem, run, lookahead)
    check_sampler(sampler_named(plan.sampler), problem)
    if lookahead is not None and compares(scheduler):
        spending_notices.append(
            "--deterministic: a trial is compared only with those that had ended when its config was chosen, "
            f"{lookahead} or more before it: the first {lookahead} run to their end, and fewer are stopped than without"
        )
    first, first_notices = first_configs(request.first, run)
    if plan.n_trials is not None and len(first) > plan.n_trials:
        raise UsageError(f"--first gives {len(first)} configs, and --trials {plan.n_trials} is less; raise it")
    MetricReader(request.metric_pattern)  # which says what is wrong with it
    return Prepared(
        request=request,
        run=replace(run, strategy=plan.strategy),
        plan=plan,
        scheduler=scheduler,
        first=tuple(first),
        problem=problem,
        limits=Limits(plan.n_trials, request.timeout_s, request.target, request.max_failures),
        rules=Rules(Take.parse(request.take), request.infinite, request.retries or {}),
        lookahead=lookahead,
        notices=(
            *run.sweep.notices,
            *plan.notices,
            *spending_notices,
            *objective_notices,
            *first_notices,
        ),
    )


def _check_places(request: Request) -> None:
    """Refuse what the run would refuse when it makes the study; a dry run makes none."""
    if request.gpus is not None:
        gpu_amount(request.gpus)
    if request.store is not None:
        file_of(request.store)
    name = request.name
    if name is not None and (not name.strip() or len(name) > LONGEST_NAME or not name.isprintable()):
        raise UsageError(f"--name {one_line(name, 40)!r}: expected 1 to {LONGEST_NAME} characters that can be printed")


def _objectives(request: Request) -> tuple[tuple[Objective, ...], list[str]]:
    """Return the objectives, and a notice for each whose direction was left open."""
    parsed = [(text, Objective.parse(text)) for text in request.objectives]
    notices = [
        f"{objective.name} is made small; if it should be large: --objective {text}:max"
        for text, objective in parsed
        if objective.name == text
    ]
    objectives = [objective for _, objective in parsed]
    objectives += [Objective(name, "maximize") for name in request.maximize]
    objectives += [Objective(name, "minimize") for name in request.minimize]
    return tuple(objectives), notices
