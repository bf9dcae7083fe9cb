"""``whet status``: what is going on. ``whet history``: what was."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from whet.cli.budgets import axis_text
from whet.cli.lookup import CommandLines, find_study, hint, json_option, opened, store_option
from whet.cli.render import ago, fields, local_time, print_table, say
from whet.cli.spending import spender_text
from whet.cli.standing import Standing, command_text, standing_of
from whet.core.protocols import Store
from whet.core.trial import State
from whet.describe import config_text, json_line, trial_record
from whet.errors import StudyNotFound
from whet.storage.open import DEFAULT_STORE
from whet.storage.urls import without_password
from whet.text import duration

_MOST_SHOWN = 20  # studies; `whet history` shows them all


@click.command("status")
@click.argument("name", required=False)
@store_option
@json_option
def status_command(name: str | None, store: str | None, is_json: bool) -> int:
    """Show what is going on: every study, whether it runs, and how to go on with it; with NAME that one in detail.

    A study is running (a process runs it now), stopped (it ended early or was killed; `whet resume NAME` runs what is
    missing) or finished (nothing of what was asked for is left to do). A directory without studies is no error.
    """
    if name is None and _is_empty(store):
        return 0
    with opened(store) as studies:
        if name is not None:
            standing = standing_of(studies, find_study(studies, name))
            if is_json:
                _print_json(studies, [standing], store)
            else:
                _show_one(standing, store)
            return 0
        standings = _all_standings(studies)
        standings.sort(key=lambda s: (s.phase != "running", -s.summary.last_event_at))
        if is_json:
            _print_json(studies, standings, store)
        elif standings:
            _show_many(standings, store)
        else:
            say(f"no studies in {DEFAULT_STORE if store is None else without_password(store)}")
    return 0


@click.command("history")
@store_option
@json_option
def history_command(store: str | None, is_json: bool) -> int:
    """Show what was: every study, oldest first, with when it began, how long it took and its command."""
    if _is_empty(store):
        return 0
    with opened(store) as studies:
        standings = _all_standings(studies)
        if is_json:
            _print_json(studies, standings, store)
            return 0
        rows = [
            (
                s.study.name,
                local_time(s.study.created_at),
                duration(s.elapsed_s),
                s.phase,
                _n_of(s),
                _n_in(s, State.PAUSED),
                _n_in(s, State.STOPPED),
                _n_in(s, State.FAILED),
                s.best_text,
                command_text(s.study),
            )
            for s in standings
        ]
    print_table(("STUDY", "BEGAN", "TOOK", "STATE", "DONE", "PAUSED", "STOPPED", "FAILED", "BEST", "COMMAND"), rows)
    return 0


def _is_empty(store: str | None) -> bool:
    """Tell, and say, whether there is no store in this directory; one that was asked for by name must be there."""
    if store is not None or Path(DEFAULT_STORE).exists():
        return False
    say(f"no studies here: {DEFAULT_STORE} does not exist (`whet run` makes it)", err=True)
    return True


def _all_standings(store: Store) -> list[Standing]:
    standings = []
    for study in store.studies():
        with suppress(StudyNotFound):  # deleted since it was listed
            standings.append(standing_of(store, study))
    return standings


def _show_many(standings: Sequence[Standing], store: str | None) -> None:
    shown = standings[:_MOST_SHOWN]
    rows = [
        (
            s.study.name,
            s.phase_text,
            _n_of(s),
            _n_in(s, State.PAUSED),
            _n_in(s, State.STOPPED),
            _n_in(s, State.FAILED),
            s.best_text,
            _when(s),
            duration(s.elapsed_s),
        )
        for s in shown
    ]
    print_table(("STUDY", "STATE", "DONE", "PAUSED", "STOPPED", "FAILED", "BEST", "LAST SIGN", "ELAPSED"), rows)
    if len(standings) > len(shown):
        say(f"and {len(standings) - len(shown):,} more; all of them: whet history")
    resumable = [s.study.name for s in shown if s.can_resume]
    if resumable:
        say(f"\nto go on: {hint('resume', resumable[0] if len(resumable) == 1 else 'NAME', store)}")


def _show_one(standing: Standing, store: str | None) -> None:
    study, best = standing.study, standing.best
    for line in fields(
        (
            ("study", study.name),
            ("state", standing.phase_text),
            ("trials", standing.counts_text),
            ("best", "" if best is None else f"{standing.best_text}  {config_text(best.config or {})}"),
            ("scheduler", spender_text(study.settings)),
            ("fidelity", "" if standing.problem.fidelity is None else axis_text(standing.problem.fidelity)),
            ("began", local_time(study.created_at)),
            ("last sign", _when(standing)),
            ("elapsed", duration(standing.elapsed_s)),
            ("command", command_text(study)),
            ("go on", hint("resume", study.name, store) if standing.can_resume else ""),
        )
    ):
        say(line)


def _print_json(store: Store, standings: Sequence[Standing], where: str | None) -> None:
    for standing in standings:
        best = None
        if standing.best is not None:
            best = {**trial_record(standing.best), "command": CommandLines(store, standing.study).of(standing.best)}
        resume = hint("resume", standing.study.name, where) if standing.can_resume else None
        say(json_line({**standing.to_json(), "best": best, "resume": resume}))


def _when(standing: Standing) -> str:
    return ago(standing.summary.last_event_at)


def _n_of(standing: Standing) -> str:
    """Return how many trials have ended, of how many there will be."""
    n_ended = sum(n for state, n in standing.counts.items() if state.is_final)
    return f"{n_ended:,}" if standing.n_planned is None else f"{n_ended:,}/{standing.n_planned:,}"


def _n_in(standing: Standing, state: State) -> str:
    n = standing.counts.get(state, 0)
    return f"{n:,}" if n else ""
