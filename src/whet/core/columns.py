"""Finished trials, as a study's histories keep them: in columns that they share, each seeing its own length of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.core import jsontext
from whet.core.trial import Cause, Curve, Giver, State, Trial
from whet.space.space import Space

STATES = tuple(State)

KeysOf = Callable[[NDArray[np.float64]], list[bytes]]

_NAN = float("nan")
_N_PREFIXES = 32  # trials of a deterministic study that run at a time, each of which is to know something else


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
    given: Giver | None = None
    bracket: int | None = None
    n_earlier: int = 0

    @classmethod
    def of(cls, trial: Trial, metrics: Sequence[str]) -> Finished:
        """Keep of *trial* what a history keeps."""
        given = (float(trial.values.get(name, _NAN)) for name in metrics)
        values = tuple(_NAN if math.isnan(value) else value for value in given)  # one NaN, so that equal rows are equal
        whole = (trial.config, values, trial.budget, trial.cause, trial.curve, trial.given, trial.bracket)
        return cls(trial.number, trial.state, trial.group, *whole, trial.n_earlier)


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


class _Growing:
    """An array to which rows are appended; views of its first rows stay as they are."""

    def __init__(self) -> None:
        self.n = 0
        self._room: NDArray[np.float64] | None = None  # rows beyond `n` are room to grow

    def extend(self, block: NDArray[np.float64]) -> None:
        """Append the rows of *block*."""
        n = self.n + len(block)
        if self._room is None or len(self._room) < n:
            grown = np.empty((max(n, 2 * self.n), *block.shape[1:]))
            if self._room is not None:
                grown[: self.n] = self._room[: self.n]
            self._room = grown
        self._room[self.n : n] = block
        self.n = n

    def first(self, n: int) -> NDArray[np.float64]:
        """Return the first *n* rows, to be read only."""
        assert self._room is not None and n <= self.n, f"only {self.n} rows are there, not {n}"
        view = self._room[:n]
        view.flags.writeable = False
        return view

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever appended, so that not even the shape is known."""
        return self._room is None

    def copy(self, n: int) -> _Growing:
        """Return an array of at most the first *n* rows."""
        copy = _Growing()
        if not self.is_empty:
            copy.extend(self.first(min(n, self.n)))
        return copy


class Columns:
    """Finished trials in the order in which they ended; only ever appended to.

    Attributes:
        rows: the trials.
        prefixes: what `History.as_known` has found of them lately.
    """

    def __init__(self, rows: list[Finished]) -> None:
        self.rows = rows
        self.prefixes: deque[Any] = deque(maxlen=_N_PREFIXES)
        self._by_number: dict[int, Finished] = {}
        self._encoded, self._facts = _Growing(), _Growing()
        self._first_rows: dict[bytes, int] = {}
        self._n_keyed = 0
        self._mutex = Lock()  # a suggestion may be computed in another thread, from a snapshot
        self._growth = Lock()  # and a preview made in one while another writes

    def encoded(self, n: int, space: Space) -> NDArray[np.float64]:
        """Return the first *n* configs encoded, (n, d), to be read only; what was encoded once is kept."""
        with self._mutex:
            return self._encoded_to(n, space)

    def facts(self, n: int, n_metrics: int) -> NDArray[np.float64]:
        """Return of the first *n* trials number, place of the state in `STATES`, budget and values, (n, 3 + n_metrics).

        To be read only. NaN stands for a budget or value that is unknown.
        """
        with self._mutex:
            if self._facts.n < n or self._facts.is_empty:
                rows = self.rows[self._facts.n : n]
                budgets = [_NAN if row.budget is None else row.budget for row in rows]
                facts = [
                    (row.number, STATES.index(row.state), budget, *row.values)
                    for row, budget in zip(rows, budgets, strict=True)
                ]
                self._facts.extend(np.array(facts, dtype=np.float64).reshape(len(rows), 3 + n_metrics))
            return self._facts.first(n)

    def first_rows(self, n: int, space: Space, keys_of: KeysOf) -> Mapping[bytes, int]:
        """Return the first row with each key, for at least the first *n* trials; those of other snapshots may follow.

        *keys_of*, from (k, d) encoded configs to a key each, has to be the same function of *space* at each call:
        a key that was computed once is kept. A trial that was never given a config has none.
        """
        with self._mutex:
            if self._n_keyed < n:
                start = self._n_keyed
                for row, key in enumerate(keys_of(self._encoded_to(n, space)[start:]), start):
                    if self.rows[row].config is not None:
                        self._first_rows.setdefault(key, row)
                self._n_keyed = n
            return self._first_rows

    def by_number(self, n: int) -> Mapping[int, Finished]:
        """Return at least the first *n* trials by number; those of other snapshots may be among them."""
        with self._mutex:
            self._by_number.update((row.number, row) for row in self.rows[len(self._by_number) : n])
            return self._by_number

    def extended(self, n: int, rows: Sequence[Finished]) -> Columns:
        """Return columns with *rows* after the first *n*: these, or a copy where another snapshot has gone another way.

        A snapshot that goes the same way once more, as what is written does after its preview, shares all there is.
        """
        with self._growth:
            n_there = min(len(self.rows) - n, len(rows))
            columns = self if self.rows[n : n + n_there] == rows[:n_there] else self._branched(n)
            columns.rows.extend(rows[len(columns.rows) - n :])
        return columns

    def _encoded_to(self, n: int, space: Space) -> NDArray[np.float64]:
        if self._encoded.n < n or self._encoded.is_empty:
            self._encoded.extend(space.encode_many([as_config(row.config) for row in self.rows[self._encoded.n : n]]))
        return self._encoded.first(n)

    def _branched(self, n: int) -> Columns:
        branch = Columns(self.rows[:n])
        with self._mutex:
            branch._encoded, branch._facts = self._encoded.copy(n), self._facts.copy(n)
            branch._n_keyed = min(n, self._n_keyed)
            branch._first_rows = {key: row for key, row in self._first_rows.items() if row < n}
        return branch


def as_config(config: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    """Return *config*, parsed if it still is text."""
    if isinstance(config, str):
        parsed: Mapping[str, Any] = jsontext.loads(config)
        return parsed
    return config or {}
