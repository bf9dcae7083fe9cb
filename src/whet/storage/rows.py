"""Trials and events as rows of tables, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from whet.core import jsontext
from whet.core.columns import Finished
from whet.core.events import Event, Kind
from whet.core.problem import Problem
from whet.core.trial import Cause, Curve, State, Trial
from whet.storage.batch import Batch, Progress, value_to_rank

# Fields of a Trial that are read one trial at a time, with their defaults: kept in one column, where they differ.
_REST: dict[str, Any] = {
    "token": None,
    "bracket": None,
    "n_kept": 0,
    "n_earlier": 0,
    "n_before": 0,
    "message": "",
    "exit_code": None,
    "retries": {},
    "measured_s": None,
    "replicate": 0,
    "parent": None,
    "from_step": None,
    "member": None,
    "why": {},
    "attributes": {},
    "note": "",
}
_NO_CURVE = Curve()


def trial_of(row: Sequence[Any]) -> Trial:
    """Return the trial in a row of `Statements.trial` and its like.

    Raises:
        ValueError: the row is not what whet wrote.
    """
    number, state, group, attempt, owner, config, budget, values, cause, given, *more = row
    asked, started, ended, rest, *reports = more
    return Trial(
        number=number,
        state=State(state),
        group=group,
        attempt=attempt,
        owner=_loads(owner),
        config=_loads(config),
        budget=_loads(budget),
        values=jsontext.loads(values),
        cause=None if cause is None else Cause(cause),
        given=given,
        asked_at=asked,
        started_at=started,
        ended_at=ended,
        curve=_NO_CURVE if reports[0] is None else curve_of(*reports),
        **jsontext.loads(rest),
    )


def curve_of(width: int, packed: bytes) -> Curve:
    """Return the curve in a row of the table ``curve``.

    Raises:
        ValueError: the row is not what whet wrote.
    """
    if width < 1 or len(packed) % (8 * width):
        raise ValueError(f"{len(packed)} bytes are no reports of {width} numbers each")
    return Curve(width, packed)


def trial_rows(study: int, batch: Batch, problem: Problem) -> list[dict[str, Any]]:
    """Return rows of the table ``trial`` for the trials that *batch* changes."""
    return [_trial_row(study, after, batch.ended.get(number), problem) for number, after in batch.after.items()]


def _trial_row(study: int, after: Trial, ended_seq: int | None, problem: Problem) -> dict[str, Any]:
    rest = {name: value for name, default in _REST.items() if (value := getattr(after, name)) != default}
    return {
        "study": study,
        "number": after.number,
        "state": after.state.value,
        "group": after.group,
        "attempt": after.attempt,
        "owner": _dumps(after.owner),
        "config": _dumps(after.config),
        "budget": _dumps(after.budget),
        "values": jsontext.dumps(after.values) if after.values else "{}",
        "cause": after.cause and after.cause.value,
        "given": after.given,
        "asked_at": after.asked_at,
        "started_at": after.started_at,
        "ended_at": after.ended_at,
        "rest": jsontext.dumps(rest) if rest else "{}",
        "value": value_to_rank(after, problem),
        "ended_seq": ended_seq,
    }


def curve_rows(study: int, batch: Batch) -> list[dict[str, Any]]:
    """Return rows of the table ``curve`` for the trials whose reports *batch* changes."""
    rows = []
    for number, after in batch.after.items():
        before = batch.before[number]
        if after.curve != (_NO_CURVE if before is None else before.curve):
            row = {"study": study, "number": number, "width": after.curve.width, "packed": after.curve.packed}
            rows.append(row)
    return rows


def finished_of(row: Sequence[Any], metrics: Sequence[str], curves: Mapping[int, Curve]) -> Finished:
    """Return the finished trial in a row of `Statements.finished`; its config stays JSON text.

    Raises:
        ValueError: the row is not what whet wrote.
    """
    _, number, state, group, config, values, budget, cause, given, rest = row
    seen = jsontext.loads(values)
    more = jsontext.loads(rest) if '"bracket"' in rest or '"n_earlier"' in rest else {}  # most have neither
    return Finished(
        number,
        State(state),
        group,
        config,
        tuple([float(seen.get(name, math.nan)) for name in metrics]),
        _loads(budget),
        None if cause is None else Cause(cause),
        curves.get(number, _NO_CURVE),
        given,
        more.get("bracket"),
        more.get("n_earlier", 0),
    )


class Written(NamedTuple):
    """What an append writes of a study, as rows of the tables."""

    study: int
    progress: dict[str, Any]
    event: list[dict[str, Any]]
    trial: list[dict[str, Any]]
    curve: list[dict[str, Any]]
    n_new: int  # rows of `trial`, at its beginning, that are certainly new


def written(study: int, batch: Batch, problem: Problem) -> Written:
    """Return the rows for *batch*."""
    trials = trial_rows(study, batch, problem)
    trials.sort(key=lambda row: batch.before[row["number"]] is not None)
    return Written(
        study,
        progress_row(batch.progress),
        [event_row(study, event, text) for event, text in zip(batch.events, batch.texts, strict=True)],
        trials,
        curve_rows(study, batch),
        sum(before is None for before in batch.before.values()),
    )


def event_row(study: int, event: Event, text: str) -> dict[str, Any]:
    """Return the row of the table ``event`` for *event*, whose payload is *text* as JSON."""
    return {
        "study": study,
        "seq": event.seq,
        "trial": event.trial,
        "attempt": event.attempt,
        "kind": event.kind.value,
        "time": event.time,
        "payload": text,
    }


def event_of(row: Sequence[Any]) -> Event:
    """Return the event in a row of `Statements.events`.

    Raises:
        ValueError: the row is not what whet wrote.
    """
    seq, kind, number, attempt, time, payload = row
    return Event(seq, Kind(kind), number, attempt, time, jsontext.loads(payload))


def progress_row(progress: Progress) -> dict[str, Any]:
    """Return the columns of the table ``study`` that every append changes."""
    return {
        "last_seq": progress.seq,
        "last_event_at": progress.last_event_at,
        "n_numbers": progress.n_numbers,
        "counts": jsontext.dumps(progress.counts),
        "commands": jsontext.dumps(progress.commands) if progress.commands else "{}",
    }


def progress_of(row: Sequence[Any]) -> Progress:
    """Return what :func:`progress_row` gave, from its columns in that order."""
    last_seq, last_event_at, n_numbers, counts, commands = row
    return Progress(
        last_seq,
        n_numbers,
        last_event_at,
        dict.fromkeys(State, 0) | {State(state): n for state, n in jsontext.loads(counts).items()},
        {int(seq): payload for seq, payload in jsontext.loads(commands).items()},
    )


def _dumps(value: object) -> str | None:
    return None if value is None else jsontext.dumps(value)


def _loads(text: str | None) -> Any:
    return None if text is None else jsontext.loads(text)
