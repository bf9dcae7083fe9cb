"""From reserved numbers to configs: what a study and its run loop share when they ask."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.lookahead import known_for
from whet.core.owner import this_process
from whet.core.protocols import Assignment, New, Resume, Sampler, Stop, Suggestion
from whet.core.randomness import config_rng
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted


def waiting_numbers(history: History) -> list[int]:
    """Return the trials that have a config and wait to be run, lowest number first."""
    return sorted(
        trial.number for trial in history.active.values() if trial.state is State.WAITING and not trial.is_reserved
    )


def n_left(history: History, below: int) -> int:
    """Return how many numbers below *below* nobody has reserved or given a config."""
    released = (trial.number for trial in history.active.values() if is_released(trial))
    return max(0, below - history.n_numbers) + sum(number < below for number in released)


def is_released(trial: Trial) -> bool:
    """Tell whether the trial is a number that was given back."""
    return trial.is_reserved and trial.owner is None


def release_drafts(history: History, is_left: Callable[[str], bool], *, now: Callable[[], float]) -> list[Draft]:
    """Return a ``released`` draft for each number whose reserver *is_left* says will never give it a config."""
    return [
        Draft(Kind.RELEASED, trial.number, time=now())
        for _, trial in sorted(history.active.items())
        if trial.is_reserved and trial.owner is not None and is_left(trial.owner)
    ]


def requeue_drafts(history: History, is_left: Callable[[str], bool], *, now: Callable[[], float]) -> list[Draft]:
    """Return a ``requeued`` draft for each running trial whose owner *is_left* says is there no more."""
    payload = {"reason": "the process that ran it is gone", "counts": False}
    return [
        Draft(Kind.REQUEUED, trial.number, payload, trial.token, now())
        for trial in history.running
        if trial.owner is not None and is_left(trial.owner)
    ]


def left_drafts(history: History, is_left: Callable[[str], bool], *, now: Callable[[], float]) -> list[Draft]:
    """Return drafts that take over the numbers and the trials of processes which *is_left* says are there no more."""
    return release_drafts(history, is_left, now=now) + requeue_drafts(history, is_left, now=now)


def cancel_drafts(history: History, number: int, *, now: Callable[[], float]) -> list[Draft]:
    """Return the draft that cancels trial *number*, unless it has ended or is only a number.

    One that another process runs goes on there; what it says is refused from then on.
    """
    trial = history.unfinished.get(number)
    if trial is None or trial.is_reserved:
        return []
    return [Draft(Kind.CANCELLED, number, time=now())]


def answer_draft(seq: int, outcome: str, *, now: Callable[[], float]) -> Draft:
    """Return the draft that says what became of the command *seq*."""
    return Draft(Kind.COMMAND, None, {"of": seq, "outcome": outcome}, time=now())


def ask_drafts(
    history: History,
    sampler: Sampler,
    numbers: Sequence[int],
    assigned: Sequence[New],
    *,
    now: Callable[[], float],
) -> list[Draft]:
    """Return an ``asked`` draft for each of *numbers*; ``released`` ones for those that the space has no config for.

    With repeats, ``repeats`` consecutive numbers share a config: number *k* is repeat ``k % repeats`` of config
    ``k // repeats``. *assigned* says what the scheduler wants of each number, in order. In a deterministic study
    *numbers* are `askable`.
    """
    known: dict[int, Suggestion] = {}
    for number, new in zip(numbers, assigned, strict=False):
        group = number // history.repeats
        found = _suggestion_of(history, group) or (None if new.config is None else Suggestion(new.config, new.why))
        if found is not None:
            known[group] = found
    missing = sorted({number // history.repeats for number in numbers} - set(known))
    if missing:
        # An exhausted space leaves the numbers without a config: they are released below.
        with suppress(SearchExhausted):
            known_then = known_for(history, missing[0] * history.repeats)
            suggestions = sampler.suggest(known_then, missing, partial(config_rng, history.seed))
            known |= dict(zip(missing, suggestions, strict=False))
    time = now()
    return [
        _ask_draft(number, history.repeats, known, new, time) for number, new in zip(numbers, assigned, strict=False)
    ]


def heeded(assigned: Sequence[Assignment], n: int, n_new: int) -> list[Assignment]:
    """Return what of *assigned* can be heeded: all ends of paused trials, *n* others, *n_new* of them new trials."""
    kept: list[Assignment] = []
    n_kept = n_kept_new = 0
    for one in assigned:
        is_new = isinstance(one, New)
        if not isinstance(one, Stop):
            if n_kept >= n or (is_new and n_kept_new >= n_new):
                continue
            n_kept, n_kept_new = n_kept + 1, n_kept_new + is_new
        kept.append(one)
    return kept


def assigned_drafts(assigned: Sequence[Assignment], *, now: Callable[[], float]) -> list[Draft]:
    """Return the drafts for what a scheduler has *assigned* to paused trials."""
    drafts = []
    for one in assigned:
        if isinstance(one, Resume):
            drafts.append(Draft(Kind.RESUMED, one.number, {"budget": one.budget}, time=now()))
        elif isinstance(one, Stop):
            payload = {"reason": one.reason} if one.reason else {}
            drafts.append(Draft(Kind.STOPPED, one.number, payload, time=now()))
    return drafts


def _ask_draft(number: int, repeats: int, known: Mapping[int, Suggestion], new: New, time: float) -> Draft:
    group, replicate = divmod(number, repeats)
    if group not in known:
        return Draft(Kind.RELEASED, number, time=time)
    payload: dict[str, Any] = {
        "config": dict(known[group].config),
        "why": dict(known[group].why),
        "group": group,
        "replicate": replicate,
    }
    for name, value in (("budget", new.budget), ("bracket", new.bracket)):
        if value is not None:
            payload[name] = value
    return Draft(Kind.ASKED, number, payload, time=time)


def _suggestion_of(history: History, group: int) -> Suggestion | None:
    """Return the config of *group* if another repeat of it has one already."""
    if history.repeats == 1:
        return None
    numbers = range(group * history.repeats, (group + 1) * history.repeats)
    for number in numbers:
        trial = history.unfinished.get(number)
        if trial is not None and trial.config is not None:
            return Suggestion(trial.config, trial.why)
    config = history.finished_config(numbers)
    return None if config is None else Suggestion(config)


def start_draft(number: int, *, now: Callable[[], float]) -> Draft:
    """Return a ``started`` draft with a new fencing token."""
    payload = {"token": secrets.token_hex(8), "owner": this_process()}
    return Draft(Kind.STARTED, number, payload, time=now())
