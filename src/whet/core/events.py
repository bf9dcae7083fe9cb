"""The log: facts about a study in the order in which they became true. The log is the truth, all else a projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened. The payload's keys are listed beside each kind."""

    # about a trial
    CLAIMED = "claimed"  # owner: the number is reserved for a process that is choosing its config
    ASKED = "asked"  # config, why, budget, bracket, group, replicate, parent, from_step, member
    ENQUEUED = "enqueued"  # the same: a person gave the config, which is to be run under a number nobody had
    ADDED = "added"  # the same: it was run elsewhere; reports and the end follow in the same transaction
    STARTED = "started"  # token, owner: a new attempt begins
    REPORTED = "reported"  # rows: [[step, value of each metric of the problem in order], …]
    PAUSED = "paused"  # values, reason: it has reached its budget and may be given more
    RESUMED = "resumed"  # budget: a paused trial may go on
    COMPLETED = "completed"  # values
    STOPPED = "stopped"  # values, reason: a scheduler ended it
    FAILED = "failed"  # cause, message, values, exit_code
    CANCELLED = "cancelled"  # a person ended it
    REQUEUED = "requeued"  # reason, counts, cause: the attempt is over, the trial is to run again
    RELEASED = "released"  # the reserver is gone; the number goes to the next ask
    # about a trial in whatever state, or about the study
    ANNOTATED = "annotated"  # attributes: those that change, None to remove one; note
    # about the study
    CREATED = "created"  # the study's settings
    AMENDED = "amended"  # settings: keys of the settings that change, with their new values
    COMMAND = "command"  # command, …; or outcome, of (the seq of the command)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that is not in the log yet.

    ``token`` is the fencing token of the attempt that speaks. A store refuses a draft whose token is not the one of
    the trial's current attempt; ``None`` speaks for the study, not for an attempt, and is not checked.
    """

    kind: Kind
    trial: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = None
    time: float | None = None  # seconds since the epoch, UTC; None: when the store writes it


@dataclass(frozen=True, slots=True)
class Event:
    """One fact in the log. ``seq`` counts from 1 within a study and orders its events."""

    seq: int
    kind: Kind
    trial: int | None
    attempt: int
    time: float
    payload: Mapping[str, Any]
