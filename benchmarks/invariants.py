"""What must hold of a study after faults: read from its log, and from the processes that are left.

The names I1 to I7 are those of the reliability page: I1 nothing acknowledged is lost, I2 a trial has one result at
most and it names its attempt, I3 nothing runs without an owner that lives, I4 no process is left, I5 the store opens
and `whet doctor` finds nothing, I6 whoever ends says why, I7 every trial is there, with the config of its number.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import ENVIRONMENT, WHET

MARK = "BENCHMARK_PROCESSES_OF"  # in the environment of all that a benchmark starts, and so of whatever that starts
_ENDS = {"completed", "failed", "stopped", "cancelled"}
_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Ack:
    """What a process noted once the store had acknowledged a result; a value of NaN is ``None``, to be compared."""

    number: int
    attempt: int
    state: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Death:
    """A process that was ended from outside, or the moment at which one was stopped for longer than its lease."""

    pid: int
    at: float  # seconds since the epoch


@dataclass(slots=True)
class Life:
    """What the log says of one trial.

    Attributes:
        asked: its configs, as JSON; there is one.
        attempts: of each attempt its owner's process id, and when it began.
        requeued: of each attempt but the last, when the trial was taken from it, and why.
        ends: its results: state, attempt, value of the first objective.
        strange: events that name another attempt than the current one.
    """

    asked: list[str] = field(default_factory=list)
    attempts: list[tuple[int, float]] = field(default_factory=list)
    requeued: dict[int, tuple[float, str]] = field(default_factory=dict)
    ends: list[tuple[str, int, float | None]] = field(default_factory=list)
    strange: int = 0


def lives_of(study: Any) -> dict[int, Life]:
    """Read the whole log of *study*, a `whet.Study`."""
    ledger = study.ledger
    (objective,) = ledger.history.problem.objectives
    lives: dict[int, Life] = {}
    seq = 0
    while page := ledger.store.events(ledger.study, after=seq, limit=_PAGE):
        for event in page:
            if event.trial is not None:
                _take_in(lives.setdefault(event.trial, Life()), event, objective.name)
        seq = page[-1].seq
    return lives


def _take_in(life: Life, event: Any, objective: str) -> None:
    kind = str(event.kind)
    if kind == "asked":
        life.asked.append(json.dumps(event.payload["config"], sort_keys=True))
    elif kind == "started":
        life.attempts.append((int(event.payload["owner"].split(":")[1]), event.time))
    elif kind == "requeued":
        life.requeued[event.attempt] = (event.time, event.payload.get("reason", ""))
    elif kind in _ENDS:
        life.ends.append((kind, event.attempt, known_value(event.payload.get("values", {}).get(objective))))
    if kind in _ENDS or kind in ("reported", "requeued"):
        is_over = event.attempt in life.requeued and kind != "requeued"
        life.strange += event.attempt != len(life.attempts) or is_over or len(life.ends) > (kind in _ENDS)


def known_value(value: float | None) -> float | None:
    """Return *value*, ``None`` for NaN."""
    return None if value is None or math.isnan(value) else value


def violations(
    lives: Mapping[int, Life], acks: Iterable[Ack], n_trials: int, planned: Mapping[int, str] | None = None
) -> dict[str, int]:
    """Count what must not be. *planned*: the configs by number, where they do not depend on results, as JSON."""
    acked = set(acks)
    configs = Counter(config for life in lives.values() for config in life.asked)
    ended = {
        Ack(number, attempt, state, value) for number, life in lives.items() for state, attempt, value in life.ends
    }
    asked = {number: life.asked[0] for number, life in lives.items() if life.asked}
    return {
        "acknowledged results that are lost": len(acked - ended),
        "trials with two results": sum(len(life.ends) > 1 for life in lives.values()),
        "results or reports of an attempt that is over": sum(life.strange for life in lives.values()),
        "configs asked twice": sum(n - 1 for n in configs.values())
        + sum(len(life.asked) - 1 for life in lives.values() if len(life.asked) > 1),
        "trials missing, or too many": abs(len(asked) - n_trials),
        "trials with other parameters": sum(asked.get(n) != config for n, config in (planned or {}).items()),
        "trials that are stuck": sum(not life.ends for life in lives.values() if life.asked),
    }


def recoveries(lives: Mapping[int, Life], deaths: Iterable[Death]) -> list[float]:
    """Return the seconds from each death to when each trial that its process ran was taken over."""
    by_pid: dict[int, list[float]] = {}
    for death in deaths:
        by_pid.setdefault(death.pid, []).append(death.at)
    found = []
    for life in lives.values():
        for index, (pid, began) in enumerate(life.attempts, start=1):
            taken_at = life.requeued.get(index, (None, ""))[0]
            died_at = min((at for at in by_pid.get(pid, ()) if at >= began), default=None)
            if taken_at is not None and died_at is not None and taken_at >= died_at:
                found.append(taken_at - died_at)
    return found


def n_taken_from_the_living(lives: Mapping[int, Life], deaths: Iterable[Death]) -> int:
    """Count attempts that were taken over although their process had not died."""
    pids = {death.pid for death in deaths}
    return sum(
        "gone" in life.requeued[index][1] or "lease" in life.requeued[index][1]
        for life in lives.values()
        for index, (pid, _) in enumerate(life.attempts, start=1)
        if index in life.requeued and pid not in pids
    )


# ---- processes and files
def survivors(mark: str, patience_s: float = 0.0) -> list[int]:
    """Return the processes that carry *mark*, after waiting up to *patience_s* for their end."""
    deadline = time.monotonic() + patience_s
    while (alive := list(_marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (path / "environ").read_bytes().split(b"\0") and int(path.name) != os.getpid():
                yield int(path.name)
        except OSError:
            continue  # it is gone, a zombie, or somebody else's


def n_doctor_findings(folder: Path, store: str) -> int:
    """Run `whet doctor`; 0: all is well."""
    done = subprocess.run([*WHET, "doctor", "--store", store], cwd=folder, env=ENVIRONMENT, capture_output=True)
    if done.returncode:
        print(done.stdout.decode() + done.stderr.decode())
    return done.returncode
