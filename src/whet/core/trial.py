"""A trial's life: its states, the one table of legal transitions, and the fold of its events.

Every store, and every history, uses :func:`advance` to turn events into trials, so they cannot disagree.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, takewhile
from typing import Any, Literal, TypeVar

from whet.core.events import Event, Kind
from whet.errors import StateError


class State(StrEnum):
    """Where a trial is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Tell whether the trial has ended: it can be annotated, and nothing else can happen to it."""
        return self in FINAL


FINAL = frozenset({State.COMPLETED, State.STOPPED, State.FAILED, State.CANCELLED})
Giver = Literal["enqueued", "added"]  # how a person gave a config: to be run, or with what came of it elsewhere


class Cause(StrEnum):
    """Why a trial failed."""

    ERROR = "error"  # the function raised
    TIMEOUT = "timeout"
    MEMORY = "memory"
    SIGNAL = "signal"  # ended by a signal that was not ours
    EXIT_CODE = "exit_code"
    BAD_VALUE = "bad_value"  # the objective is no finite number
    NO_METRIC = "no_metric"  # the objective never appeared


# The one table: which events a trial in a given state may meet, and where they lead. None is a number nobody has yet.
TRANSITIONS: Mapping[State | None, Mapping[Kind, State]] = {
    None: {
        Kind.CLAIMED: State.WAITING,
        Kind.ENQUEUED: State.WAITING,
        Kind.ADDED: State.RUNNING,
    },
    State.WAITING: {
        Kind.CLAIMED: State.WAITING,  # a released number is claimed again
        Kind.RELEASED: State.WAITING,
        Kind.ASKED: State.WAITING,
        Kind.STARTED: State.RUNNING,
        Kind.CANCELLED: State.CANCELLED,
        Kind.ANNOTATED: State.WAITING,
    },
    State.RUNNING: {
        Kind.REPORTED: State.RUNNING,
        Kind.PAUSED: State.PAUSED,
        Kind.COMPLETED: State.COMPLETED,
        Kind.STOPPED: State.STOPPED,
        Kind.FAILED: State.FAILED,
        Kind.CANCELLED: State.CANCELLED,
        Kind.REQUEUED: State.WAITING,
        Kind.ANNOTATED: State.RUNNING,
    },
    State.PAUSED: {
        Kind.RESUMED: State.WAITING,
        Kind.COMPLETED: State.COMPLETED,
        Kind.STOPPED: State.STOPPED,
        Kind.CANCELLED: State.CANCELLED,
        Kind.ANNOTATED: State.PAUSED,
    },
    **{state: {Kind.ANNOTATED: state} for state in FINAL},
}


GIVERS: Mapping[Kind, Giver] = {Kind.ENQUEUED: "enqueued", Kind.ADDED: "added"}
# What these events, and ``asked``, say of their trial.
ASKED_FIELDS = ("config", "why", "budget", "bracket", "group", "replicate", "parent", "from_step", "member")


@dataclass(frozen=True, slots=True)
class Curve:
    """A trial's reports as rows of doubles: the step, then the value of each metric of the problem (NaN: not said).

    Packed, because a study may hold millions of rows. ``width`` is 1 + the number of metrics.
    """

    width: int = 0
    packed: bytes = b""

    def extended(self, rows: Sequence[Sequence[float | None]]) -> Curve:
        """Return the curve with *rows* at its end; ``None`` stands for NaN."""
        if not rows:
            return self
        width = len(rows[0])
        assert all(len(row) == width for row in rows) and self.width in (0, width), "rows of one width"
        nan = float("nan")
        flat = [nan if value is None else value for row in rows for value in row]
        return Curve(width, self.packed + struct.pack(f"<{len(flat)}d", *flat))

    def first(self, n: int) -> Curve:
        """Return the first *n* rows."""
        return Curve(self.width, self.packed[: 8 * self.width * n]) if n else Curve()

    def before(self, step: float, n_kept: int = 0) -> Curve:
        """Return the first *n_kept* rows and those after them that come before the first one at *step* or later on."""
        steps = (row[0] for row in islice(self, n_kept, None))
        return self.first(n_kept + sum(1 for _ in takewhile(lambda earlier: earlier < step, steps)))

    def once(self, n_earlier: int) -> Curve:
        """Return the rows without those of the first *n_earlier* that the others have repeated."""
        own = next(islice(self, n_earlier, None), None)
        if own is None or not n_earlier:
            return self
        return Curve(self.width, self.before(own[0]).packed + self.packed[8 * self.width * n_earlier :])

    def last_step(self) -> float | None:
        """Return the step of the last row, ``None`` without one."""
        return struct.unpack_from("<d", self.packed, len(self.packed) - 8 * self.width)[0] if self.packed else None

    def __len__(self) -> int:
        return len(self.packed) // (8 * self.width) if self.width else 0

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return struct.iter_unpack(f"<{self.width}d", self.packed) if self.width else iter(())


@dataclass(frozen=True)
class Trial:
    """A snapshot of one configuration's life.

    Attributes:
        number: counts from 0 within the study.
        config: parameter name to value; ``None`` while the number is only reserved.
        attempt: how many attempts have been started.
        token: fencing token of the attempt that runs now.
        owner: the process that reserved the number or runs the attempt.
        budget: how far along the fidelity the trial may go.
        bracket: of the scheduler that asked for it; ``None`` for one that a person gave.
        curve: its reports. An attempt that goes on from a checkpoint adds to those of an interrupted one; one that
            starts again replaces them, from the step of its own first report on.
        n_kept: rows of the curve that no attempt replaces: those of before the trial last paused.
        n_earlier: rows of the curve that attempts before the current one have reported.
        n_before: rows of the curve before the last event with reports that a scheduler decided on; 0 in the end. A new
            attempt has that event decided on once more, as nobody may have acted on it.
        values: every metric seen, objectives first; those of the last attempt only.
        cause, message, exit_code: of its failure, or of the last attempt that was requeued; a message may also say why
            it was stopped or paused.
        retries: how often each cause has used up a retry.
        asked_at, started_at, ended_at: seconds since the epoch, UTC; of the last attempt.
        measured_s: how long the last attempt took by a monotonic clock, where one and the same process saw it all.
        group, replicate: which ask it belongs to and which repeat of it this is.
        parent, from_step, member: lineage in a population.
        why: what the sampler said of its choice.
        given: how a person gave the config; ``None``: a sampler or a scheduler chose it.
        attributes, note: what people have said of it.
    """

    number: int
    state: State = State.WAITING
    config: Mapping[str, Any] | None = None
    attempt: int = 0
    token: str | None = None
    owner: str | None = None
    budget: float | None = None
    bracket: int | None = None
    curve: Curve = field(default_factory=Curve)
    n_kept: int = 0
    n_earlier: int = 0
    n_before: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    cause: Cause | None = None
    message: str = ""
    exit_code: int | None = None
    retries: Mapping[str, int] = field(default_factory=dict)
    asked_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    measured_s: float | None = None
    group: int = 0
    replicate: int = 0
    parent: int | None = None
    from_step: float | None = None
    member: int | None = None
    why: Mapping[str, Any] = field(default_factory=dict)
    given: Giver | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def duration_s(self) -> float | None:
        """Seconds from the last attempt's start to its end, if both are known; measured, else by the wall clock."""
        if self.measured_s is not None:
            return self.measured_s
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)

    @property
    def is_reserved(self) -> bool:
        """Tell whether only the number exists so far."""
        return self.config is None


Value = TypeVar("Value")


def evolved(value: Value, **changes: Any) -> Value:
    """Return a copy of a frozen dataclass without slots with some fields changed, unvalidated.

    ``dataclasses.replace`` calls the constructor, which for the many fields of a trial costs more than all else that
    an event does.
    """
    copy = object.__new__(type(value))
    copy.__dict__.update(value.__dict__, **changes)
    return copy


def advance(trial: Trial | None, event: Event) -> Trial:
    """Return the trial after *event*.

    Raises:
        StateError: the table of transitions does not allow it; the message says what would be allowed.
    """
    state = trial.state if trial is not None else None
    target = TRANSITIONS.get(state, {}).get(event.kind)
    if target is None or event.trial is None:
        raise StateError(_refusal(trial, event))
    if trial is None and event.kind is Kind.CLAIMED:
        return Trial(number=event.trial, owner=event.payload.get("owner"))
    if trial is None:
        trial = Trial(number=event.trial, given=GIVERS[event.kind])
    return evolved(trial, state=target, **_changes(trial, event))


def _changes(trial: Trial, event: Event) -> dict[str, Any]:
    """Return the fields that *event* changes, the state aside."""
    payload = event.payload
    match event.kind:
        case Kind.CLAIMED | Kind.RELEASED:
            if trial.config is not None or (event.kind is Kind.CLAIMED and trial.owner is not None):
                raise StateError(_refusal(trial, event))
            return {"owner": payload.get("owner") if event.kind is Kind.CLAIMED else None}
        case Kind.ASKED | Kind.ENQUEUED | Kind.ADDED:
            if trial.config is not None:
                raise StateError(_refusal(trial, event))
            known = {name: payload[name] for name in ASKED_FIELDS if name in payload}
            return {**known, "asked_at": event.time, "owner": None}
        case Kind.STARTED:
            if trial.config is None:
                raise StateError(_refusal(trial, event))
            return {
                "attempt": trial.attempt + 1,
                "token": payload["token"],
                "owner": payload.get("owner"),
                "started_at": event.time,
                "ended_at": None,
                "measured_s": None,
                "n_earlier": len(trial.curve),
                "values": {},
            }
        case Kind.REPORTED:
            return _reported(trial, payload["rows"], is_late=payload.get("late", False))
        case Kind.RESUMED:
            return {"budget": payload.get("budget", trial.budget), "cause": None, "message": "", "exit_code": None}
        case Kind.ANNOTATED if trial.config is not None:
            return annotated({"attributes": trial.attributes}, payload)
        case _:
            if trial.config is None:  # a number nobody has a config for is released, not ended
                raise StateError(_refusal(trial, event))
            return _ending(trial, event)


def _reported(trial: Trial, rows: Sequence[Sequence[float | None]], *, is_late: bool) -> dict[str, Any]:
    """Return the fields changed by a report; the first one of an attempt says where it has begun.

    Nobody decides on one that *is_late*, of an attempt that was asked to end.
    """
    decided = {} if is_late else {"n_before": len(trial.curve)}
    if not rows:
        return decided
    if len(trial.curve) > trial.n_earlier or not trial.curve:
        return {"curve": trial.curve.extended(rows), **decided}
    step = rows[0][0]
    earlier = trial.curve if step is None else trial.curve.before(step, trial.n_kept)
    n_before = min(trial.n_before, len(earlier))
    return {"curve": earlier.extended(rows), "n_earlier": len(earlier), "n_before": n_before}


def annotated(known: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an ``annotated`` event with *payload* changes of ``attributes`` and ``note``, as *known* before."""
    changes: dict[str, Any] = {}
    if "attributes" in payload:
        attributes = {**known.get("attributes", {}), **payload["attributes"]}
        changes["attributes"] = {name: value for name, value in attributes.items() if value is not None}
    if "note" in payload:
        changes["note"] = payload["note"]
    return changes


def _ending(trial: Trial, event: Event) -> dict[str, Any]:
    """Return the fields changed by an event that ends an attempt."""
    payload = event.payload
    changes: dict[str, Any] = {"token": None, "owner": None}
    if trial.state is State.RUNNING or trial.ended_at is None:  # else its last attempt has ended before
        changes["ended_at"] = event.time
        changes["measured_s"] = payload.get("duration_s")
    if "values" in payload:
        changes["values"] = payload["values"]
    if event.kind in (Kind.FAILED, Kind.REQUEUED):
        cause = payload.get("cause")
        # Who has reported nothing has not made up for an earlier failure.
        is_silent = event.kind is Kind.REQUEUED and len(trial.curve) == trial.n_earlier
        changes["cause"] = Cause(cause) if cause else trial.cause if is_silent else None
        changes["message"] = payload.get("message") or payload.get("reason", "")
        changes["exit_code"] = payload.get("exit_code")
        if event.kind is Kind.REQUEUED and payload.get("counts") and cause:
            changes["retries"] = {**trial.retries, cause: trial.retries.get(cause, 0) + 1}
    else:
        changes |= {"cause": None, "message": payload.get("reason", ""), "exit_code": payload.get("exit_code")}
        if event.kind is Kind.PAUSED:
            changes["n_kept"] = changes["n_before"] = len(trial.curve)
    if TRANSITIONS[trial.state][event.kind].is_final:
        changes["n_before"] = 0
    return changes


def _refusal(trial: Trial | None, event: Event) -> str:
    if event.trial is None:
        return f"the event {event.kind.value!r} names no trial"
    if trial is None:
        return f"trial {event.trial} does not exist; its number must be reserved before it can be {event.kind.value}"
    allowed = ", ".join(kind.value for kind in TRANSITIONS[trial.state])
    what = trial.state.value
    if trial.config is None:
        what = f"{what} without a config"
    return f"trial {trial.number} is {what} and cannot be {event.kind.value} (possible now: {allowed})"
