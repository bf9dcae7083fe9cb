"""``whet run --dry-run``: the command lines that would run, and how many; nothing is started or stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from whet.cli.prepare import Prepared
from whet.cli.spending import first_new
from whet.core.asking import ask_drafts
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.protocols import New
from whet.core.randomness import replicate_seed
from whet.describe import json_line
from whet.samplers.names import sampler_named
from whet.schedulers.fifo import Fifo
from whet.schedulers.names import described
from whet.storage.open import DEFAULT_STORE
from whet.storage.places import study_dir
from whet.streams import Stream
from whet.text import counted, printable, shell_line

_N_FIRST = 10  # shown of a grid that is too large to be run without being asked for
_CHUNK = 100


def show_commands(prepared: Prepared, name: str) -> int:
    """Print the command lines of the study that would be called *name*; return the exit code."""
    request, run = prepared.request, prepared.run
    out, err = Stream("stdout"), Stream("stderr")
    for notice in dict.fromkeys(prepared.notices):
        err.line(printable(notice))
    folder = study_dir(DEFAULT_STORE if request.store is None else request.store, name, Path(run.cwd))
    n_planned = prepared.plan.n_trials
    n_shown = n_planned
    if request.trials is None and (n_planned is None or n_planned > request.max_trials):
        n_shown = _N_FIRST
    if prepared.plan.heeds_results:
        n_first = max(_N_FIRST, len(prepared.first))
        n_shown = n_first if n_planned is None else min(n_first, n_planned)
    n = 0
    axis = prepared.problem.fidelity
    for trial in islice(_trials(prepared, n_shown), None if n_shown is None else n_shown * request.repeats):
        n += 1
        seed = replicate_seed(run.seed, trial.replicate)
        known = run.placeholders(name, trial.number, seed, folder / str(trial.number), trial.budget)
        argv = run.argv(trial.config, known, trial.budget)
        budget = {} if axis is None else {"budget": axis.high if trial.budget is None else trial.budget}
        record = {"number": trial.number, "config": trial.config, **budget, "argv": argv}
        out.line(json_line(record) if request.is_json else shell_line(argv))
    count = _count_text(n, n_planned, n_shown, request.repeats)
    if not isinstance(prepared.scheduler, Fifo):
        count += f"; {described(prepared.scheduler)} decides how far they go, and what goes on"
    if prepared.plan.heeds_results:
        count += f"; what {prepared.plan.strategy} chooses depends on what comes of those before"
    if request.is_json:
        err.line(count)
    else:
        out.line(f"# {count}")
    if out.failure is None:
        return 0
    err.line(f"the command lines could not be written to standard output ({out.failure})")
    return 1


@dataclass(frozen=True, slots=True)
class _Shown:
    """A trial as it will begin."""

    number: int
    config: dict[str, Any]
    replicate: int
    budget: float | None


def _trials(prepared: Prepared, n_shown: int | None) -> Iterator[_Shown]:
    """Yield the trials as they will begin; what a scheduler gives only once others have ended is not known."""
    history = _history(prepared)
    for trial in history.unfinished.values():
        yield _Shown(trial.number, dict(trial.config or {}), trial.replicate, trial.budget)
    sampler = sampler_named(prepared.plan.sampler)
    n = (_N_FIRST if prepared.plan.heeds_results else _CHUNK) * history.repeats
    first = history.n_numbers
    is_bare = isinstance(prepared.scheduler, Fifo)
    known = [] if is_bare else first_new(prepared.scheduler, history, (n_shown or _N_FIRST) * history.repeats)
    while is_bare or known:
        new = [New()] * n if is_bare else known[:n]
        known = known[n:]
        drafts = ask_drafts(history, sampler, range(first, first + len(new)), new, now=lambda: 0.0)
        for draft in drafts:
            if draft.kind is Kind.RELEASED or draft.trial is None:
                return
            told = draft.payload
            yield _Shown(draft.trial, told["config"], told["replicate"], told.get("budget"))
        first += n


def _history(prepared: Prepared) -> History:
    """Return what is known when a study begins: the configs of ``--first``, which wait to be run."""
    history = History(prepared.problem, prepared.run.seed, prepared.request.repeats)
    numbered = list(enumerate(config for config in prepared.first for _ in range(history.repeats)))
    return history.extended(
        Event(
            number + 1,
            Kind.ENQUEUED,
            number,
            0,
            0.0,
            {"config": config, "group": number // history.repeats, "replicate": number % history.repeats},
        )
        for number, config in numbered
    )


def _count_text(n: int, n_planned: int | None, n_shown: int | None, repeats: int) -> str:
    if n_planned is None:
        return f"the first {counted(n, 'trial')}, there is no end of them; nothing was run"
    if n_planned == n_shown or n == n_planned * repeats:
        return f"{counted(n, 'trial')}; nothing was run"
    return f"the first {n:,} of {counted(n_planned * repeats, 'trial')}; nothing was run"
