"""``whet explain``: how a study chooses its configs, and why."""

from __future__ import annotations

import click

from whet.cli.budgets import axis_text
from whet.cli.lookup import find_study, json_option, opened, store_option
from whet.cli.render import say
from whet.core.ledger import Ledger
from whet.core.problem import Problem
from whet.describe import json_line
from whet.explaining import explanation_of
from whet.samplers.names import is_own, sampler_of
from whet.schedulers.names import settings_text


@click.command("explain")
@click.argument("name")
@store_option
@json_option
def explain_command(name: str, store: str | None, is_json: bool) -> int:
    """Say how study NAME chooses its next configs and why, where those so far came from, and what came of it.

    `whet show NAME/3` says the same of a single trial.
    """
    with opened(store) as studies:
        study = find_study(studies, name)
        sampler = sampler_of(study.settings) if is_own(study.settings) else None
        found = explanation_of(Ledger(studies, study), sampler)
        spends = {"scheduler": settings_text(study.settings), "fidelity": study.settings["problem"]["fidelity"]}
    if is_json:
        say(json_line({"study": study.name, **found.to_json(), **spends}))
        return 0
    say(found.text)
    axis = Problem.from_json(study.settings["problem"]).fidelity
    if axis is not None:
        say(f"budget: {spends['scheduler']}, {axis_text(axis)}")
    return 0
