"""Trials that a search gives to its study, starts and ends by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet.core.events import Draft
    from whet.core.ledger import Ledger
    from whet.core.trial import Trial
    from whet.study import Study

# Imported below, where it is needed: all that is heavy, as workers import this package and need none of it.


def enqueued(ledger: Ledger, configs: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """Return trials of *configs*, which wait, in their order."""
    from whet.core.giving import enqueue_all

    return [ledger.trial(numbers[0]) for numbers in enqueue_all(ledger, configs, now=time.time)]


def started(ledger: Ledger, trial: Trial, seconds: float, *drafts: Draft) -> Trial:
    """Return *trial*, which waited, as running for so many *seconds*; write *drafts* as well."""
    from whet.core.asking import start_draft

    ledger.commit([start_draft(trial.number, now=lambda: time.time() - seconds), *drafts], durable=False)
    return ledger.trial(trial.number)


def ended(study: Study, trial: Trial, values: Mapping[str, float], message: str | None, why: str = "") -> Trial:
    """Return *trial*, which runs, as ended: with a *message* it has failed, and *why* it was stopped."""
    from whet.core.events import Draft, Kind

    if why:
        payload = {"values": values, "reason": why}
        study.ledger.commit([Draft(Kind.STOPPED, trial.number, payload, trial.token, time.time())])
        return study.ledger.trial(trial.number)
    return study.tell(trial, values) if message is None else study.fail(trial, message=message)
