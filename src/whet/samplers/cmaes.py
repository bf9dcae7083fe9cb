"""CMA-ES: a normal distribution that moves to where trials are good, and takes the shape of the objective there.

Cheap at any number of trials and at home in continuous spaces; see `whet.algorithms.evolution`. A population is the
next few configs that have ended, by number; those that a scheduler has stopped or paused are among them. So the state
is a function of the trials: in sequential use it is that of CMA-ES, with several trials running, or late ones, that of
an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Floats
from whet.algorithms.evolution import (
    Axes,
    Gaussian,
    State,
    advanced,
    begun,
    default_popsize,
    drawn,
    start_at,
)
from whet.algorithms.preselection import predicted
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import UsageError
from whet.points.fidelities import KnownAtLevels
from whet.points.known import Known, violation_ranks
from whet.points.startup import Proposal
from whet.samplers.modelled import CodecOf, suggest_in_turn
from whet.samplers.standing import learned_text

_N_CANDIDATES = 20  # new points among which a model of the points nearby chooses
_MOST_TRIES = 4  # sets of points drawn, for one that nobody has been given
_FEWEST_POPSIZE = 4  # with fewer the package's learning rates are undefined
_MOST_CATEGORIES = 32  # of an axis, that the model tells apart
_KEPT_STATES = 16  # the last ones: a late trial changes those that came after it


class CMAES:
    """Samples from a distribution that follows the better half of each population; a local model of ranks helps choose.

    Only the order of the objective's values counts. Failed trials are the worst, then come those that break outcome
    constraints. In a study with a fidelity whoever has come further is better, as a scheduler lets the better ones go
    on; values count among those that are equally far. The first config is the centre of the space. Configs that people
    gave before it began, such as those of ``--first`` or trials of another study, set the mean, and ten or more of them
    the width and shape as well.

    Args:
        sigma0: standard deviation at first, each axis being 1 wide.
        popsize: configs in a population; ``None`` for 4 + 1.5 ln d.
        restarts: whether the search, once it has converged, begins anew elsewhere with twice the population.

    Raises:
        UsageError: an option out of its range.
    """

    def __init__(self, *, sigma0: float = 1 / 6, popsize: int | None = None, restarts: bool = True) -> None:
        if isinstance(sigma0, bool) or not isinstance(sigma0, int | float) or not 0 < sigma0 <= 1:
            raise UsageError(f"cmaes: sigma0 is a part of the range of each parameter, from 0 to 1, got {sigma0!r}")
        if popsize is not None and (
            isinstance(popsize, bool) or not isinstance(popsize, int) or popsize < _FEWEST_POPSIZE
        ):
            raise UsageError(f"cmaes: popsize is a whole number from {_FEWEST_POPSIZE} on, got {popsize!r}")
        if not isinstance(restarts, bool):
            raise UsageError(f"cmaes: restarts is true or false, got {restarts!r}")
        self.sigma0, self.popsize, self.restarts = sigma0, popsize, restarts
        self._codec_of, self._known_of = CodecOf(), KnownAtLevels()
        self._memo: _Memo | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return points drawn from the distribution, config after config; see `Sampler`."""
        codec = self._codec_of(history.problem.space)
        axes = Axes(codec.cube)
        states: list[State] = []  # one, once it is needed: what is pending does not change it
        all_known = self._known_of(history, codec)
        rows = _Rows.of(history, all_known)

        def propose(known: Known, rng: np.random.Generator) -> Proposal:
            if not known.n_configs or not codec.cube.d:
                centre, may_be = codec.cube.settled(np.full((1, codec.cube.d), 0.5))
                if may_be[0] or not codec.cube.d:
                    return Proposal(centre[0], {"source": "start"})
            if not states:
                states.append(self._state(history, rows, axes, rng_of))
            return _proposal(axes, states[0], rows, known, rng)

        return suggest_in_turn(history, numbers, rng_of, codec, propose, all_known)

    def explain(self, history: History) -> str:
        """Say what it does and where it stands; see `Explains`."""
        what = "a normal distribution, which moves to the better half of each population of trials"
        return f"{what}\n{learned_text(history)}"

    def _state(self, history: History, rows: _Rows, axes: Axes, rng_of: RngOf) -> State:
        """Return the state after all whole populations, from the last one at hand that still holds."""
        memo = self._memo
        if memo is None or not memo.fits(axes, history.seed, rows):
            memo = _Memo(axes, history.seed, rows, [self._first(axes, rows)])
        states = memo.states[:1] + [s for s in memo.states[1:] if s.n_used <= rows.n_common(memo.rows)]
        state = states[-1]
        while state.n_used + state.popsize <= len(rows.numbers):
            chunk = slice(state.n_used, state.n_used + state.popsize)
            state = advanced(
                axes,
                state,
                rows.x[chunk],
                rows.ranked(chunk),
                rows.numbers[chunk].tolist(),
                rng_of,
                sigma0=self.sigma0,
                restarts=self.restarts,
            )
            states.append(state)
        self._memo = _Memo(axes, history.seed, rows, states[:1] + states[1:][-_KEPT_STATES:])
        return state

    def _first(self, axes: Axes, rows: _Rows) -> State:
        n = rows.n_given
        ranks = rows.ranked(slice(n))
        order = np.argsort(ranks, kind="stable")
        usable = order[~np.isnan(rows.values[order, 0])]
        start = start_at(axes, rows.x[:n], usable, self.sigma0)
        return begun(axes, start, self.popsize or default_popsize(axes.cube.d), n)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What the states are made from: known configs by number, those first that people gave before the search began."""

    numbers: NDArray[np.int64]
    x: Floats
    values: Floats  # the objective, how far behind, then the constraints
    n_given: int

    @classmethod
    def of(cls, history: History, known: Known) -> _Rows:
        x, values = known.x, np.column_stack([known.y, np.zeros(len(known.y)), known.excess])
        if known.partial is None:
            numbers = np.unique(history.observations().numbers // history.repeats)
        else:
            at_rest = ~known.partial.is_under_way
            values[:, 1] = known.partial.behind
            x, values, numbers = x[at_rest], values[at_rest], known.partial.numbers[at_rest]
        given = {config.number for config in history.given.configs}
        n_given = next((i for i, number in enumerate(numbers.tolist()) if number not in given), len(numbers))
        return cls(numbers, x, values, n_given)

    def ranked(self, rows: slice) -> Floats:
        """Return the ranks of some *rows* among each other."""
        y, behind, *excess = self.values[rows].T
        return ranked(y, np.reshape(excess, (len(excess), len(y))).T, behind)

    def n_common(self, other: _Rows) -> int:
        """Return how many rows from the first on are the same."""
        n = min(len(self.numbers), len(other.numbers))
        differs = self.numbers[:n] != other.numbers[:n]
        for mine, others in ((self.x[:n], other.x[:n]), (self.values[:n], other.values[:n])):
            differs |= ((mine != others) & ~(np.isnan(mine) & np.isnan(others))).any(axis=1)
        return int(np.argmax(differs)) if differs.any() else n


@dataclass(frozen=True, slots=True, eq=False)
class _Memo:
    """The first and the last few states of a study, and the rows they came from."""

    axes: Axes
    seed: int
    rows: _Rows
    states: list[State] = field(repr=False)

    def fits(self, axes: Axes, seed: int, rows: _Rows) -> bool:
        """Tell whether the first state is also that of a study with these."""
        n = rows.n_given
        return (
            self.axes.cube is axes.cube
            and self.seed == seed
            and self.rows.n_given == n
            and rows.n_common(self.rows) >= n
        )


def ranked(y: Floats, excess: Floats, behind: Floats | float = 0.0) -> Floats:
    """Return (n,) mean ranks from 0 on, the best lowest.

    First comes what is the least *behind*, there what is feasible, then by how little constraints are broken; last what
    failed.
    """
    is_failed = np.isnan(y)
    broken = violation_ranks(excess)
    columns = [np.where(is_failed, 0.0, column) for column in (y, broken, behind)]
    table = np.column_stack([*columns, is_failed])
    order = np.lexsort(table.T)
    is_next = np.ones(len(y), dtype=bool)
    is_next[1:] = (table[order[1:]] != table[order[:-1]]).any(axis=1)
    counts = np.diff(np.append(np.flatnonzero(is_next), len(y)))
    ranks = np.empty(len(y))
    ranks[order] = np.repeat(np.cumsum(counts) - (counts + 1) / 2, counts)
    return ranks


def _proposal(axes: Axes, state: State, rows: _Rows, known: Known, rng: np.random.Generator) -> Proposal:
    """Return the candidate that looks best."""
    for _ in range(_MOST_TRIES):
        x, may_be = axes.cube.settled(drawn(axes, state, rng))
        may_be &= known.is_new(x)
        if may_be.any():
            break
    candidates = x[may_be][:_N_CANDIDATES] if may_be.any() else x[:1]
    scores = _scores(axes, state, rows, candidates)
    best = 0 if scores is None else int(np.argmin(scores))
    why = {"source": "cmaes", "generation": state.generation, "restart": state.restart}
    if state.gaussian is not None:
        why["sigma"] = float(f"{Gaussian.of(state.gaussian).deviations.mean():.6g}")
    return Proposal(candidates[best], why)


def _scores(axes: Axes, state: State, rows: _Rows, candidates: Floats) -> Floats | None:
    """Return what the model expects of *candidates*, low where they look good; ``None``: it knows too little.

    It sees the trials since the search last began anew, or it would lead back to where that was.
    """
    seen = slice(state.since, None)
    n = len(rows.x[seen])
    if len(candidates) < 2 or not n:
        return None
    x = np.vstack([rows.x[seen], candidates])
    z = np.empty((len(x), 0))
    if state.gaussian is not None:
        z = Gaussian.of(state.gaussian).to_white(x[:, axes.ordered])
    columns = [np.empty((len(x), 0))]
    for axis in axes.categories:
        if (size := int(axes.cube.n_levels[axis])) <= _MOST_CATEGORIES:
            is_there = ~np.isnan(x[:, axis, None])
            columns.append((axes.cube.level(x[:, axis], axis)[:, None] == np.arange(size)) & is_there)
    c = np.hstack(columns).astype(float)
    return predicted(z[:n], c[:n], rows.ranked(seen), z[n:], c[n:])
