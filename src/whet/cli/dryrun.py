"""``whet run --dry-run``: the command lines that would run, and how many; nothing is started or stored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from whet.cli.prepare import Prepared
from whet.core.asking import ask_drafts
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.protocols import New
from whet.core.randomness import replicate_seed
from whet.describe import json_line
from whet.samplers.names import sampler_named
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
    for number, config, replicate in islice(_trials(prepared), None if n_shown is None else n_shown * request.repeats):
        n += 1
        seed = replicate_seed(run.seed, replicate)
        argv = run.argv(config, run.placeholders(name, number, seed, folder / str(number), None))
        out.line(json_line({"number": number, "config": config, "argv": argv}) if request.is_json else shell_line(argv))
    count = _count_text(n, n_planned, n_shown, request.repeats)
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


def _trials(prepared: Prepared) -> Iterator[tuple[int, dict[str, Any], int]]:
    """Yield number, config and repeat of the trials as they will run."""
    history = _history(prepared)
    for trial in history.unfinished.values():
        yield trial.number, dict(trial.config or {}), trial.replicate
    sampler = sampler_named(prepared.plan.sampler)
    n = (_N_FIRST if prepared.plan.heeds_results else _CHUNK) * history.repeats
    first = history.n_numbers
    while True:
        drafts = ask_drafts(history, sampler, range(first, first + n), [New()] * n, now=lambda: 0.0)
        for draft in drafts:
            if draft.kind is Kind.RELEASED or draft.trial is None:
                return
            yield draft.trial, draft.payload["config"], draft.payload["replicate"]
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
