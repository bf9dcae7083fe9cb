"""What samplers that rank know of a study with a fidelity: also of trials that were stopped, are paused or still run.

Made from arrays by trial number that are kept in step with the history, so a suggestion passes over arrays only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.brackets import levels
from whet.algorithms.cube import Bools, Floats, keys
from whet.core.columns import Finished, as_config
from whet.core.history import History
from whet.core.problem import Fidelity, Problem
from whet.core.trial import State, Trial
from whet.core.values import Take
from whet.points.codec import Codec
from whet.points.known import Known, Partial, Taken, excess_of, known_of, means_of, violation_ranks, worst_finite
from whet.points.rungs import reports_of, take_of

_ETA = 3  # of the levels: those of a scheduler with its default, and close enough to those of others
_LEAST_ROOM = 64

_Number = TypeVar("_Number", bound=np.generic)

# What is to be known of a trial's state. Numbers without a config, and cancelled trials, are nobody's.
_NOBODY, _STOPPED, _PAUSED, _UNDER_WAY, _ENDED = range(5)
_CODES = {
    State.STOPPED: _STOPPED,
    State.PAUSED: _PAUSED,
    State.WAITING: _UNDER_WAY,
    State.RUNNING: _UNDER_WAY,
    State.COMPLETED: _ENDED,
    State.FAILED: _ENDED,
    State.CANCELLED: _NOBODY,
}


class KnownAtLevels:
    """Returns what is known, and keeps what it needs for that of the study that it was last asked about.

    Args:
        levels: of a problem's fidelity, at which trials are known; by default those of `levels_of`.
    """

    def __init__(self, levels: Callable[[Problem], tuple[float, ...]] | None = None) -> None:
        self._levels = levels
        self._table: _Table | None = None

    def __call__(self, history: History, codec: Codec) -> Known:
        """Return what `known_of` does; where there are trials with part of a curve, with them.

        A config is known by the highest level of the fidelity that it has reached. Where repeats share a config, that
        is the mean of those that are known there.

        Raises:
            UsageError: the problem has more or less than one objective.
        """
        problem = history.problem
        if problem.fidelity is None or len(problem.objectives) != 1 or not _has_partial(history):
            return known_of(history, codec)
        if self._table is None or self._table.codec is not codec or self._table.problem is not problem:
            found = levels_of(problem.fidelity) if self._levels is None else self._levels(problem)
            self._table = _Table(codec, problem, found)
        self._table.follow(history)
        return self._table.known(history)


def levels_of(fidelity: Fidelity) -> tuple[float, ...]:
    """Return the levels at which trials are compared, ascending: R, R/3, R/9 …, and the lowest fidelity there is."""
    found = levels(fidelity.low, fidelity.high, _ETA, is_integer=fidelity.is_integer)
    return found if found[0] <= fidelity.low else (fidelity.low, *found)


def at_levels(trial: Trial | Finished, problem: Problem, found: Sequence[float], take: Take) -> Floats:
    """Return (L, m) the problem's metrics of *trial* at each level of *found*, in the user's sign; NaN where unknown.

    That is its first report from there on, if it comes before the next level. A trial that has completed is at the
    highest; one that failed or was cancelled is nowhere. Where the objective is no number, it is the worst.
    """
    at = np.full((len(found), len(problem.metrics)), math.nan)
    if trial.curve and trial.state not in (State.FAILED, State.CANCELLED):
        _, steps, values = reports_of(trial.curve, problem, take)
        reached = np.maximum.accumulate(steps)
        first = np.append(reached.searchsorted(found), len(steps))
        is_there = first[:-1] < first[1:]  # not only at the next level
        at[is_there] = values[first[:-1][is_there]]
        lost = is_there & np.isnan(at[:, 0])
        at[lost, 0] = problem.objectives[0].sign * math.inf
    if isinstance(trial, Finished) and trial.state is State.COMPLETED:
        at[-1] = trial.values
    return at


class _Table:
    """The trials of a study by number: points (n, d), metrics at the levels (n, L, m), states (n,)."""

    def __init__(self, codec: Codec, problem: Problem, found: Sequence[float]) -> None:
        self.codec, self.problem, self._levels = codec, problem, found
        self._since: History | None = None
        self._begin()

    def _begin(self) -> None:
        self._x = np.empty((0, self.codec.cube.d))
        self._at = np.empty((0, len(self._levels), len(self.problem.metrics)))
        self._state = np.empty(0, dtype=np.int8)
        self._open: dict[int, bytes] = {}  # the keys of what has not ended, which may be thousands of paused trials

    def follow(self, history: History) -> None:
        """Take in what is new; costs that much where *history* is what became of the one before."""
        changes = None if self._since is None else history.changes_since(self._since)
        if changes is None:
            self._begin()
            changes = [*history.finished, *history.unfinished.values()]
        self._make_room(history.n_numbers, history.repeats)
        take = take_of(history)
        told = [trial for trial in changes if trial.config is not None]
        numbers = [trial.number for trial in told]
        configs = [as_config(trial.config) for trial in told]
        x = self._x[numbers] = self.codec.points(self.codec.space.encode_many(configs))
        released = [trial.number for trial in changes if trial.config is None]  # or never more than reserved
        self._state[released], self._at[released] = _NOBODY, math.nan
        for number in released:
            self._open.pop(number, None)
        for trial, key in zip(told, keys(x), strict=True):
            self._state[trial.number] = _CODES[trial.state]
            self._at[trial.number] = at_levels(trial, self.problem, self._levels, take)
            if not trial.state.is_final:
                self._open[trial.number] = key
            else:
                self._open.pop(trial.number, None)
        self._since = history

    def _make_room(self, n: int, repeats: int) -> None:
        if n > len(self._state):
            n = repeats * -(-max(2 * n, _LEAST_ROOM) // repeats)  # whole configs
            self._x, self._at = _grown(self._x, n), _grown(self._at, n)
            self._state = _grown(self._state, n)

    def known(self, history: History) -> Known:
        """Return what is known of *history*, which was followed last."""
        n = -(-history.n_numbers // history.repeats)
        state = self._state[: n * history.repeats].reshape(n, history.repeats)
        at = self._means(n, history.repeats)
        is_known = ~np.isnan(at[:, :, 0])
        groups = np.flatnonzero(is_known.any(axis=1) | (state == _ENDED).any(axis=1))
        own = len(self._levels) - 1 - np.argmax(is_known[groups, ::-1], axis=1)  # the highest, where it failed
        is_valued = is_known[groups, own]
        y = worst_finite(self.problem.objectives[0].sign * at[groups, own, 0])
        x = self._x[:: history.repeats][:n]
        is_under_way = (state == _UNDER_WAY).any(axis=1)
        waiting = is_under_way | (state == _PAUSED).any(axis=1)
        waiting[groups] = False
        behind = np.where(is_valued, len(self._levels) - 1 - own, 0)
        values = worst_finite(self.problem.objectives[0].sign * at[groups, :, 0])
        ahead = self._ahead(at[groups], own)
        partial = Partial(groups, behind, ahead, is_under_way[groups], self._places(), values)
        first_rows = history.first_rows(lambda encoded: keys(self.codec.points(encoded)))
        taken = Taken(first_rows, history.n_finished, frozenset(self._open.values()))
        return Known(x[groups], y, excess_of(self.problem, at[groups, own]), x[waiting], taken, partial)

    def _places(self) -> Floats:
        fidelity = self.problem.fidelity
        assert fidelity is not None, "checked before"
        found: Floats = np.log(np.array(self._levels) / fidelity.low) / np.log(fidelity.high / fidelity.low)
        return found.clip(0.0, 1.0)

    def _means(self, n: int, repeats: int) -> Floats:
        """Return (n, L, m) the metrics of each config."""
        at = self._at[: n * repeats]
        if repeats == 1:
            return at
        sign, which = self.problem.objectives[0].sign, np.repeat(np.arange(n), repeats)
        at = at.copy()
        at[:, :, 0] = sign * worst_finite(sign * at[:, :, 0])  # of which there is a mean
        return means_of(at.reshape(len(at), -1), which, n).reshape(n, *at.shape[1:])

    def _ahead(self, at: Floats, own: NDArray[np.int64]) -> Floats:
        """Return the (n,) shares of the configs known at a config's highest level that are ahead of it there."""
        ahead = np.full(len(at), math.nan)
        sign = self.problem.objectives[0].sign
        for level in range(len(self._levels)):
            there = np.flatnonzero(~np.isnan(at[:, level, 0]))
            broken = violation_ranks(excess_of(self.problem, at[there, level]))
            order = np.lexsort((sign * at[there, level, 0], broken))
            share = np.empty(len(there))
            share[order] = (np.arange(len(there)) + 0.5) / max(len(there), 1)
            is_highest: Bools = own[there] == level
            ahead[there[is_highest]] = share[is_highest]
        return ahead


def _grown(array: NDArray[_Number], n: int) -> NDArray[_Number]:
    """Return *array* with *n* rows; the new ones are unknown, or nobody's."""
    grown = np.full((n, *array.shape[1:]), _NOBODY if array.dtype == np.int8 else math.nan, dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _has_partial(history: History) -> bool:
    """Tell whether there may be trials with part of a curve."""
    return bool(history.n_ended(State.STOPPED)) or any(trial.curve for trial in history.unfinished.values())
