"""Finished trials, as a study's histories keep them: in columns that they share, each seeing its own length of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.core import jsontext
from whet.core.trial import Cause, Curve, Giver, State, Trial
from whet.space.space import Space

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
    given: Giver | None = None

    @classmethod
    def of(cls, trial: Trial, metrics: Sequence[str]) -> Finished:
        """Keep of *trial* what a history keeps."""
        given = (float(trial.values.get(name, _NAN)) for name in metrics)
        values = tuple(_NAN if math.isnan(value) else value for value in given)  # one NaN, so that equal rows are equal
        whole = (trial.config, values, trial.budget, trial.cause, trial.curve, trial.given)
        return cls(trial.number, trial.state, trial.group, *whole)


class Columns:
    """Finished trials in the order in which they ended; only ever appended to.

    Attributes:
        rows: the trials.
        prefix: what `History.as_known` has found of them last.
    """

    def __init__(self, rows: list[Finished]) -> None:
        self.rows = rows
        self.prefix: Any = None
        self._by_number: dict[int, Finished] = {}
        self._encoded: NDArray[np.float64] = np.empty((0, 0))  # rows beyond `_n_encoded` are room to grow
        self._n_encoded = 0
        self._mutex = Lock()  # a suggestion may be computed in another thread, from a snapshot
        self._growth = Lock()  # and a preview made in one while another writes

    def encoded(self, n: int, space: Space) -> NDArray[np.float64]:
        """Return the first *n* configs encoded, (n, d), to be read only; what was encoded once is kept."""
        with self._mutex:
            if self._n_encoded < n:
                configs = [as_config(row.config) for row in self.rows[self._n_encoded : n]]
                if len(self._encoded) < n:
                    grown = np.empty((max(n, 2 * len(self._encoded)), len(space)))
                    if self._n_encoded:
                        grown[: self._n_encoded] = self._encoded[: self._n_encoded]
                    self._encoded = grown
                self._encoded[self._n_encoded : n] = space.encode_many(configs)
                self._n_encoded = n
            return self._encoded[:n]

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

    def _branched(self, n: int) -> Columns:
        branch = Columns(self.rows[:n])
        with self._mutex:
            branch._n_encoded = min(n, self._n_encoded)
            branch._encoded = self._encoded[: branch._n_encoded].copy()
        return branch


def as_config(config: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    """Return *config*, parsed if it still is text."""
    if isinstance(config, str):
        parsed: Mapping[str, Any] = jsontext.loads(config)
        return parsed
    return config or {}
