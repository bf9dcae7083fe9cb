"""What is known of a study at one point of its log.

A `History` is a snapshot. Finished trials live in append-only columns that all snapshots of a study share, each
seeing its own length of them; unfinished ones in a small mapping. So a snapshot costs O(unfinished) and extending it
the delta.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whet.core import jsontext
from whet.core.events import Event, Kind
from whet.core.problem import Problem
from whet.core.trial import Cause, Curve, State, Trial, advance, evolved
from whet.space.space import Space

_STATES = list(State)
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Finished:
    """The little that a history keeps of a finished trial; the store has the rest.

    ``config`` may still be the JSON text it was stored as: most uses of a history never look at it.
    """

    number: int
    state: State
    group: int
    config: Mapping[str, Any] | str | None
    values: tuple[float, ...]  # of the problem's metrics, NaN where unknown
    budget: float | None = None
    cause: Cause | None = None
    curve: Curve = field(default_factory=Curve)

    @classmethod
    def of(cls, trial: Trial, metrics: Sequence[str]) -> Finished:
        """Keep of *trial* what a history keeps."""
        given = (float(trial.values.get(name, _NAN)) for name in metrics)
        values = tuple(_NAN if math.isnan(value) else value for value in given)  # one NaN, so that equal rows are equal
        config = trial.config
        return cls(trial.number, trial.state, trial.group, config, values, trial.budget, trial.cause, trial.curve)


class _Columns:
    """Finished trials in the order in which they ended; only ever appended to."""

    def __init__(self, rows: list[Finished]) -> None:
        self.rows = rows
        self._encoded: NDArray[np.float64] = np.empty((0, 0))  # rows beyond `_n_encoded` are room to grow
        self._n_encoded = 0
        self._mutex = Lock()  # a suggestion may be computed in another thread, from a snapshot

    def encoded(self, n: int, space: Space) -> NDArray[np.float64]:
        """Return the first *n* configs encoded, (n, d), to be read only; what was encoded once is kept."""
        with self._mutex:
            if self._n_encoded < n:
                configs = [_as_config(row.config) for row in self.rows[self._n_encoded : n]]
                if len(self._encoded) < n:
                    grown = np.empty((max(n, 2 * len(self._encoded)), len(space)))
                    if self._n_encoded:
                        grown[: self._n_encoded] = self._encoded[: self._n_encoded]
                    self._encoded = grown
                self._encoded[self._n_encoded : n] = space.encode_many(configs)
                self._n_encoded = n
            return self._encoded[:n]

    def extended(self, n: int, rows: Sequence[Finished]) -> _Columns:
        """Return columns with *rows* after the first *n*: these, or a copy where another snapshot has gone another way.

        A snapshot that goes the same way once more, as what is written does after its preview, shares all there is.
        """
        n_there = min(len(self.rows) - n, len(rows))
        columns = self if self.rows[n : n + n_there] == rows[:n_there] else self._branched(n)
        columns.rows.extend(rows[len(columns.rows) - n :])
        return columns

    def _branched(self, n: int) -> _Columns:
        branch = _Columns(self.rows[:n])
        with self._mutex:
            branch._n_encoded = min(n, self._n_encoded)
            branch._encoded = self._encoded[: branch._n_encoded].copy()
        return branch


def _as_config(config: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    if isinstance(config, str):
        parsed: Mapping[str, Any] = jsontext.loads(config)
        return parsed
    return config or {}


@dataclass(frozen=True, slots=True)
class Observations:
    """Finished trials as arrays, in the order in which they ended.

    Attributes:
        numbers: (n,) trial numbers.
        x: (n, d) encoded configs, NaN where a parameter is inactive.
        values: (n, m) the problem's metrics, in the user's sign, NaN where unknown.
        budgets: (n,) how far each went, NaN where the study has no fidelity.
        completed: (n,) whether the trial completed; the others stopped or failed.
    """

    numbers: NDArray[np.int64]
    x: NDArray[np.float64]
    values: NDArray[np.float64]
    budgets: NDArray[np.float64]
    completed: NDArray[np.bool_]


@dataclass(frozen=True)
class History:
    """What is known at ``seq``.

    Attributes:
        problem: what is optimised.
        seed: the study's seed.
        repeats: how many trials share a config.
        seq: the last event that is part of this snapshot.
        n_numbers: numbers handed out so far; the next new one.
        unfinished: number to trial, for every trial that is not in a final state.
        pending_commands: seq to payload of the commands that nobody has carried out.
        settings: the study's settings, amendments folded in.
        n_finished: how many trials are in a final state.
        just_ended: the trials that ended in the events which made this snapshot from the one before it.
    """

    problem: Problem
    seed: int
    repeats: int = 1
    seq: int = 0
    n_numbers: int = 0
    unfinished: Mapping[int, Trial] = field(default_factory=dict)
    pending_commands: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    n_finished: int = 0
    just_ended: Sequence[Trial] = field(default=(), compare=False)
    _n_ended: Mapping[State, int] = field(default_factory=dict)  # trials in each final state
    _best: tuple[float, int] | None = None  # (value to minimise, number) of the best trial, repeats apart
    _columns: _Columns = field(default_factory=lambda: _Columns([]), repr=False, compare=False)

    @classmethod
    def begin(cls, settings: Mapping[str, Any], problem: Problem | None = None) -> History:
        """Return the history of a study of which nothing is known but its *settings*."""
        problem = problem or Problem.from_json(settings["problem"])
        return cls(problem, seed=settings["seed"], repeats=settings.get("repeats", 1), settings=settings)

    @classmethod
    def restore(
        cls,
        settings: Mapping[str, Any],
        *,
        seq: int,
        n_numbers: int,
        unfinished: Mapping[int, Trial],
        finished: list[Finished],
        pending_commands: Mapping[int, Mapping[str, Any]],
    ) -> History:
        """Build a history from a store's projection; *finished* in the order in which they ended."""
        columns = _Columns(finished)
        begun = cls.begin(settings)
        return replace(
            begun,
            seq=seq,
            n_numbers=n_numbers,
            unfinished=dict(unfinished),
            pending_commands=dict(pending_commands),
            n_finished=len(finished),
            _n_ended=dict(Counter(row.state for row in finished)),
            _best=begun._better(finished),
            _columns=columns,
        )

    def extended(self, events: Iterable[Event]) -> History:
        """Return the history after *events*, which follow ``seq`` in order.

        Raises:
            StateError: an event that the state of its trial does not allow.
        """
        unfinished = dict(self.unfinished)
        commands = self.pending_commands
        settings = self.settings
        seq, n_numbers = self.seq, self.n_numbers
        ended: list[Trial] = []
        for event in events:
            assert event.seq > seq, f"event {event.seq} after {seq}"
            seq = event.seq
            if event.trial is not None:
                trial = advance(unfinished.get(event.trial), event)
                n_numbers = max(n_numbers, trial.number + 1)
                if trial.state.is_final:
                    del unfinished[trial.number]
                    ended.append(trial)
                else:
                    unfinished[trial.number] = trial
            elif event.kind is Kind.COMMAND:
                commands = _with_command(commands, event)
            elif event.kind is Kind.AMENDED:
                settings = {**settings, **event.payload["settings"]}
        changes: dict[str, Any] = {
            "seq": seq,
            "n_numbers": n_numbers,
            "unfinished": unfinished,
            "pending_commands": commands,
            "settings": settings,
            "just_ended": tuple(ended),
        }
        if ended:
            metrics = self.problem.metrics
            rows = [Finished.of(trial, metrics) for trial in ended]
            n_ended = dict(self._n_ended)
            for row in rows:
                n_ended[row.state] = n_ended.get(row.state, 0) + 1
            changes |= {
                "n_finished": self.n_finished + len(rows),
                "_n_ended": n_ended,
                "_best": self._better(rows),
                "_columns": self._columns.extended(self.n_finished, rows),
            }
        return evolved(self, **changes)

    @property
    def finished(self) -> Sequence[Finished]:
        """Finished trials in the order in which they ended: a copy, as other snapshots add to what is shared."""
        return self._columns.rows[: self.n_finished]

    def finished_config(self, numbers: range) -> Mapping[str, Any] | None:
        """Return the config of the finished trial among *numbers* that ended last, or ``None``."""
        if all(number >= self.n_numbers or number in self.unfinished for number in numbers):
            return None  # none of them has finished: no need to look at all that have
        rows = self._columns.rows
        found = (rows[i] for i in reversed(range(self.n_finished)) if rows[i].number in numbers)
        row = next(found, None)
        return None if row is None else _as_config(row.config)

    @property
    def running(self) -> list[Trial]:
        """Trials with an attempt in progress, by number."""
        return [trial for _, trial in sorted(self.unfinished.items()) if trial.state is State.RUNNING]

    def counts(self) -> dict[State, int]:
        """Return how many trials are in each state; reserved numbers without a config are left out."""
        counts = Counter(self._n_ended)
        counts.update(trial.state for trial in self.unfinished.values() if not trial.is_reserved)
        return {state: counts[state] for state in _STATES}

    @property
    def n_asked(self) -> int:
        """Number of trials that have been given a config."""
        return self.n_finished + sum(not trial.is_reserved for trial in self.unfinished.values())

    def observations(self, fidelity: Literal["highest", "all"] = "highest") -> Observations:
        """Return finished trials as arrays.

        ``"highest"`` keeps completed trials and failures; ``"all"`` adds those that a scheduler stopped.
        Cancelled trials say nothing about their config and are left out.
        """
        kept = {State.COMPLETED, State.FAILED} | ({State.STOPPED} if fidelity == "all" else set())
        rows = self.finished
        index = [i for i, row in enumerate(rows) if row.state in kept]
        encoded = self._columns.encoded(self.n_finished, self.problem.space)
        n_metrics = len(self.problem.metrics)
        nan = float("nan")
        return Observations(
            numbers=np.array([rows[i].number for i in index], dtype=np.int64),
            x=encoded[index] if index else np.empty((0, len(self.problem.space))),
            values=np.array([rows[i].values for i in index], dtype=np.float64).reshape(len(index), n_metrics),
            budgets=np.array([nan if (b := rows[i].budget) is None else b for i in index], dtype=np.float64),
            completed=np.array([rows[i].state is State.COMPLETED for i in index], dtype=np.bool_),
        )

    def best(self) -> int | None:
        """Return the number of the best trial, or ``None`` if there is none to name; see `leader`."""
        leader = self.leader()
        return None if leader is None else leader[0]

    def leader(self) -> tuple[int, float] | None:
        """Return the number and the value of the best trial, or ``None`` if there is none to name.

        Completed trials that meet the constraints count. With repeats a config counts by the mean of its completed
        trials, once all its repeats have ended, and the first of them stands for it. Ties go to the lower number.
        """
        if len(self.problem.objectives) != 1:
            return None
        if self.repeats == 1:
            return None if self._best is None else (self._best[1], self.problem.objectives[0].sign * self._best[0])
        means = self.means()
        return means[0] if means else None

    def reaches(self, target: float) -> bool:
        """Tell whether a completed trial that meets the constraints has a first objective as good as *target*."""
        return self._best is not None and self._best[0] <= self.problem.objectives[0].sign * target

    def means(self) -> list[tuple[int, float]]:
        """Return (number of its first repeat, mean value) of each config whose repeats have all ended, best first."""
        sign = self.problem.objectives[0].sign
        # By number, not by the trial's group: a number that is only reserved has none yet.
        open_groups = {number // self.repeats for number in self.unfinished}
        n_handed_out = self.n_numbers // self.repeats  # groups whose numbers have all been handed out
        groups: dict[int, list[Finished]] = {}
        for row in self.finished:
            if row.group < n_handed_out and row.group not in open_groups and self._counts(row):
                groups.setdefault(row.group, []).append(row)
        means = [
            # Divided first: the sum of what is finite may not be.
            (min(row.number for row in rows), math.fsum(row.values[0] / len(rows) for row in rows))
            for rows in groups.values()
        ]
        return sorted(means, key=lambda item: (sign * item[1], item[0]))

    def _better(self, rows: Sequence[Finished]) -> tuple[float, int] | None:
        """Return the best of what was best so far and of *rows*."""
        if not self.problem.objectives:
            return None
        sign = self.problem.objectives[0].sign
        best = self._best
        for row in rows:
            if self._counts(row) and (best is None or (sign * row.values[0], row.number) < best):
                best = (sign * row.values[0], row.number)
        return best

    def _counts(self, row: Finished) -> bool:
        """Tell whether *row* may be the best trial."""
        if row.state is not State.COMPLETED or row.values[0] != row.values[0]:
            return False
        metrics, constraints = self.problem.metrics, self.problem.constraints
        return not constraints or self.problem.is_feasible(dict(zip(metrics, row.values, strict=True)))


def _with_command(commands: Mapping[int, Mapping[str, Any]], event: Event) -> Mapping[int, Mapping[str, Any]]:
    """Return *commands* after a command was given or its outcome logged."""
    if "of" in event.payload:
        return {seq: payload for seq, payload in commands.items() if seq != event.payload["of"]}
    return {**commands, event.seq: event.payload}
