"""What it means for a trial that an attempt has ended well: it is complete, or has reached its budget for now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import previewed
from whet.core.lookahead import known_to_decide
from whet.core.protocols import Decision, Reasons, Scheduler
from whet.core.trial import Trial


def end_drafts(
    history: History, scheduler: Scheduler, trial: Trial, payload: Mapping[str, Any], time: float
) -> list[Draft]:
    """Return the drafts for an attempt of *trial*, running in *history*, that has ended well; *payload* has its values.

    Where there is a fidelity, the values are reported at the budget of the trial, if no report was as far. Below the
    highest fidelity the scheduler then decides whether the trial is paused, stopped or complete.
    """
    fidelity = history.problem.fidelity
    end = Draft(Kind.COMPLETED, trial.number, payload, trial.token, time)
    if fidelity is None:
        return [end]
    budget = fidelity.high if trial.budget is None else trial.budget
    # What an interrupted attempt has reported counts: this one may have gone on from there, with nothing left to do.
    step = trial.curve.last_step() if len(trial.curve) > trial.n_kept else None
    reports: list[Draft] = []
    if step is None or step < budget:
        row = [budget, *(payload["values"].get(name) for name in history.problem.metrics)]
        reports = [Draft(Kind.REPORTED, trial.number, {"rows": [row]}, trial.token, time)]
    if budget < fidelity.high:
        decision, reason = decided(previewed(reports, history), scheduler, trial.number)
        if decision is not Decision.CONTINUE:
            payload = {**payload, "reason": reason} if reason else payload
            end = Draft(kind_of(decision), trial.number, payload, trial.token, time)
    return [*reports, end]


def decided(history: History, scheduler: Scheduler, number: int) -> tuple[Decision, str]:
    """Return what the scheduler decides on trial *number*, which has just reported, and why, if it says so.

    One that has reported nothing but NaN is lost and stops, without the scheduler being asked; see `Scheduler.decide`.
    One that has reached the highest fidelity goes on to its end, likewise.
    """
    if _is_lost(history.unfinished[number]) and not getattr(scheduler, "keeps_lost", False):
        return Decision.STOP, "it reported NaN and no number"
    fidelity = history.problem.fidelity
    step = history.unfinished[number].curve.last_step()
    if fidelity is not None and not fidelity.is_time and step is not None and step >= fidelity.high:
        return Decision.CONTINUE, ""  # it has all that there is: to stop it now would save nothing and lose its value
    known = known_to_decide(history, number)
    decision = scheduler.decide(known, number)
    if decision is Decision.CONTINUE or not isinstance(scheduler, Reasons):
        return decision, ""
    return decision, scheduler.reason(known, number)


def kind_of(decision: Decision) -> Kind:
    """Return the event that ends an attempt on which this was decided."""
    return Kind.STOPPED if decision is Decision.STOP else Kind.PAUSED


def _is_lost(trial: Trial) -> bool:
    """Tell whether a report of the last event with reports had no number."""
    width = trial.curve.width
    new = np.frombuffer(trial.curve.packed, dtype="<f8").reshape(-1, max(1, width))[trial.n_before :, 1:]
    return width > 1 and bool(np.isnan(new).all(axis=1).any())
