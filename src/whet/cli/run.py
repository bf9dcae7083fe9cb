"""``whet run``: sweep the arguments of a program."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from whet.cli.conduct import Conduct, gpus_for
from whet.cli.console import chosen_style
from whet.cli.lookup import hint
from whet.cli.origin import Origin
from whet.cli.prepare import LONGEST_NAME, Prepared, prepare
from whet.cli.runoptions import Request, RunCommand, check_built
from whet.cli.script import ScriptRun
from whet.cli.surroundings import Surroundings
from whet.core.protocols import Store
from whet.errors import StudyExists, StudyNotFound
from whet.schedulers.fifo import Fifo
from whet.schedulers.names import described
from whet.storage.open import DEFAULT_STORE, open_store
from whet.storage.places import place_on_server
from whet.study import Study
from whet.text import counted, one_line
from whet.tuning import give_first

_N_NAMES_TRIED = 20  # where several runs of the same script begin at the same moment


_HELP = """Run SCRIPT once for each combination of the values of its arguments.

SCRIPT is a Python file, -m MODULE, or any program. An argument varies where its value says so; all others are passed as
they are:

\b
  --layers "[1, 2, 3]"                  each value of the list
  --width "(16, 65, 16)"                a range, as in Python: 16 32 48 64
  --lr "loguniform(1e-5, 1e-1, 5)"      five values, drawn once
  --lr "loguniform(1e-5, 1e-1)"         drawn anew for each trial; needs --trials

Options come before SCRIPT. Ctrl-C ends a run; `whet resume` goes on with it.
"""


@click.command("run", cls=RunCommand, help=_HELP)
def run_command(tokens: tuple[str, ...], **options: Any) -> int:
    """Prepare, and run or show what would run."""
    prepared = prepare(Request(**check_built(options)), tokens)
    if prepared.request.dry_run:
        from whet.cli.dryrun import show_commands

        return show_commands(prepared, _name_if_new(prepared))
    return _start(prepared)


def _start(prepared: Prepared) -> int:
    request, run = prepared.request, prepared.run
    gpus = gpus_for(run)
    surroundings = Surroundings.now(run.program, run.arguments, run.python, Path(run.cwd))
    store = open_store(DEFAULT_STORE if request.store is None else request.store)
    run = replace(run, surroundings=surroundings, origin=Origin.here(store.url), on_server=place_on_server(store.url))
    try:
        study = _created(prepared, run, store)
        give_first(study, prepared.first)
        head = (
            f"{one_line(study.name)}: {_how_many(prepared)}, seed {run.seed} "
            f"(from another shell: {hint('status', study.name, request.store)})"
        )
        conduct = Conduct(
            study,
            run,
            style=chosen_style(is_json=request.is_json, is_quiet=request.is_quiet),
            n_configs=prepared.plan.n_points,
            gpus=gpus,
            store_option=request.store,
        )
        return conduct.run([*prepared.notices, head])
    finally:
        store.close()


def _how_many(prepared: Prepared) -> str:
    plan = prepared.plan
    under = "" if isinstance(prepared.scheduler, Fifo) else f" under {described(prepared.scheduler)}"
    n = "trials" if plan.n_trials is None else counted(plan.n_trials, "trial")
    times = f" × {plan.repeats} repeats" if plan.repeats > 1 else ""
    return f"{n}{times}{'' if plan.strategy == 'none' else f' by {plan.strategy}'}{under}"


def _created(prepared: Prepared, run: ScriptRun, store: Store) -> Study:
    """Create the study, under the next free name unless one was given."""
    request = prepared.request
    for n in range(_N_NAMES_TRIED):
        name = next_name(run.program.name, store) if request.name is None else request.name
        try:
            return Study(
                prepared.problem.space,
                prepared.problem.objectives,
                constraints=prepared.problem.constraints,
                sampler=prepared.plan.sampler,
                scheduler=prepared.scheduler,
                fidelity=prepared.problem.fidelity,
                seed=run.seed,
                repeats=request.repeats,
                store=store,
                name=name,
                lookahead=prepared.lookahead,
                settings={
                    "limits": asdict(prepared.limits),
                    "rules": prepared.rules.to_json(),
                    "run": run.to_settings(),
                    "first": [dict(config) for config in prepared.first],
                },
            )
        except StudyExists:
            if request.name is not None or n == _N_NAMES_TRIED - 1:
                raise StudyExists(
                    f"there is a study {name!r} already; to go on with it: {hint('resume', name, request.store)}; "
                    "for a new one, give another --name"
                ) from None
    raise AssertionError("unreachable")


def next_name(stem: str, store: Store) -> str:
    """Return ``stem-1``, or one more than the highest number that is taken."""
    stem = "".join(char for char in stem if char.isprintable())[: LONGEST_NAME // 2] or "study"
    taken = re.compile(re.escape(stem) + r"-([0-9]{1,15})")
    numbers = [int(match[1]) for study in store.studies() if (match := taken.fullmatch(study.name))]
    return f"{stem}-{max(numbers, default=0) + 1}"


def _name_if_new(prepared: Prepared) -> str:
    """Return the name that the study would have; makes no store."""
    if prepared.request.name is not None:
        return prepared.request.name
    try:
        store = open_store(DEFAULT_STORE if prepared.request.store is None else prepared.request.store, must_exist=True)
    except StudyNotFound:
        return f"{prepared.run.program.name}-1"
    try:
        return next_name(prepared.run.program.name, store)
    finally:
        store.close()
