"""Freeze-thaw: at each free slot, is a new config worth more, or to go on with a paused trial?

Source: Swersky, Snoek & Adams, Freeze-Thaw Bayesian Optimization, arXiv:1406.3896; here with expected improvement at
the highest fidelity, for each unit of what is left to train, in the place of entropy search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from whet.algorithms.cube import Floats
from whet.algorithms.gp.propose import Belief, Data, Proposer
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, UsageError
from whet.points.codec import Codec
from whet.points.fidelities import KnownAtLevels
from whet.points.known import Known
from whet.points.modelled import data_of, numbers_of, with_finite_values
from whet.points.rungs import Place, level_of
from whet.points.startup import FEWEST_VALUES
from whet.schedulers.ladder import Ladder, checked_eta, is_busy, standing_of
from whet.space.plain import is_number

_FINISH = 1.4  # full trainings that are left of a budget, when it is time to finish
_STREAM = 2  # what the generators are for: a part of their key, beside those of the study


class FreezeThaw:
    """Trains many configs a little and few to the end, as a model of configs and fidelities expects to gain.

    A trial begins at the lowest level and pauses there. Where a slot is free, a Gaussian process over configs and
    fidelities, made from all reports, tells how much the best new config, and each paused trial, may improve on the
    best at the highest fidelity; what promises most for what is left to train runs to its next level. The sampler
    chooses the first configs only.

    At the end one goes on only with what is expected to be best, so that it is trained to the end: when *budget* is
    nearly spent, or when no new configs may begin. If that one fails or is stopped, the next best follows; if no paused
    one is left, a new config, trained to the end at once. A search that ends by a time limit does not know when its end
    comes.

    Args:
        eta: from one level to the next.
        levels: how many there are at most, the highest ones. What is below says little of who will be ahead.
        n_start: configs that the sampler chooses.
        budget: units of the fidelity that all trials together may train, at least one full training; ``None``: as many
            as come about. Trials that were added with what came of them cost nothing; those that ended early cost as
            much as they reported, or, where they have failed without a report, what they were on their way to.

    Raises:
        UsageError: an option is out of range.
    """

    def __init__(self, *, eta: float = 3, levels: int = 3, n_start: int = 5, budget: float | None = None) -> None:
        for name, value, least in (("levels", levels, 2), ("n_start", n_start, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"freeze_thaw: {name} must be a whole number of at least {least}, got {value!r}")
        if budget is not None and not (is_number(budget) and 0 < budget < math.inf):
            raise UsageError(f"freeze_thaw: budget must be a number above 0, or None, got {budget!r}")
        self.eta, self.levels, self.n_start, self.budget = checked_eta(eta), levels, n_start, budget
        self._ladder = Ladder("freeze_thaw", eta, given_in=0, n_levels=levels)
        self._known_of = KnownAtLevels(self._ladder.levels)
        self._searched: tuple[Codec, int, Proposer] | None = None

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return what promises most, slot after slot, each knowing those before it; see `Scheduler`."""
        rungs = self._ladder.climbed(history)
        high = rungs.levels[-1]
        if self.budget is not None and self.budget < high:
            raise UsageError(f"freeze_thaw: budget must be at least one full training, {high:g}, got {self.budget:g}")
        codec, proposer = self._search(history)
        known = with_finite_values(self._known_of(history, codec))
        table = _Table(history, codec, known, rungs.levels, n_new, self._left(history))
        assigned: list[Assignment] = []
        while len(assigned) < n:
            # How many trials there are, and how often one went on, make each draw another.
            key = (history.seed, _STREAM, len(rungs.places) + len(assigned), table.n_values)
            one = table.next(proposer, self.n_start, np.random.default_rng(key))
            if one is None:
                break
            assigned.append(one)
        if not assigned and not is_busy(history):
            raise SearchExhausted
        return assigned

    def assigner(self) -> FreezeThaw:
        """Return another one with the same options, which assigns in a thread; see `AssignsSlowly`."""
        return FreezeThaw(eta=self.eta, levels=self.levels, n_start=self.n_start, budget=self.budget)

    def decide(self, history: History, number: int) -> Decision:
        """Return that a trial pauses where it has reached its budget; see `Scheduler`."""
        return self._ladder.decide_at_budget(history, number)

    def reason(self, history: History, number: int) -> str:
        """Return the rank of the trial where it pauses; see `Reasons`."""
        rungs = self._ladder.climbed(history)
        return standing_of(history.problem, rungs, number, level_of(rungs.levels, rungs.places[number].budget))

    def _search(self, history: History) -> tuple[Codec, Proposer]:
        space, seed = history.problem.space, history.seed
        if self._searched is None or self._searched[0].space is not space or self._searched[1] != seed:
            codec = Codec(space)
            self._searched = codec, seed, Proposer(codec.cube, seed, "logei")
        return self._searched[0], self._searched[2]

    def _left(self, history: History) -> float:
        """Return what is left of the budget once what is running has come to its end."""
        if self.budget is None:
            return math.inf
        rungs = self._ladder.climbed(history)
        trials: list[Trial | Finished] = [*history.finished, *history.unfinished.values()]
        run = (trial for trial in trials if trial.config is not None and trial.given != "added")
        return self.budget - math.fsum(_cost(trial, rungs.places[trial.number], rungs.levels[-1]) for trial in run)


def _cost(trial: Trial | Finished, place: Place, high: float) -> float:
    """Return what *trial*, which is at *place*, has trained, or will have at its budget, as far as is known."""
    budget = high if trial.budget is None else trial.budget
    if trial.state not in (State.STOPPED, State.FAILED, State.CANCELLED):
        return budget
    # Of the whole curve: it may have come far beyond the last level.
    known = min(budget, max((row[0] for row in trial.curve), default=0.0))
    if trial.state is State.FAILED and known <= (place.steps[-2] if len(place.steps) > 1 else 0.0):
        return budget  # nothing since it began, or went on
    return max(0.0, known)


@dataclass(frozen=True, slots=True)
class _Paused:
    """A paused trial: its number, how far it has come, and the row of its config in what is known."""

    number: int
    budget: float
    row: int


class _Table:
    """What may be done next, while slots are filled one by one.

    Args:
        history, codec, known: what is known.
        levels: of the fidelity.
        n_new: how many new trials may begin.
        left: units of the fidelity that may be spent.

    Attributes:
        n_values: how many values are known at all levels.
    """

    def __init__(
        self, history: History, codec: Codec, known: Known, levels: tuple[float, ...], n_new: int, left: float
    ) -> None:
        self._history, self._codec, self._known, self._levels = history, codec, known, levels
        self._n_new, self._left, self._n_unknown = n_new, left, 0
        self._is_waited_for = is_busy(history)  # something runs, or is about to
        partial = known.partial
        self._is_busy = np.zeros(len(known.x), dtype=bool) if partial is None else partial.is_under_way.copy()
        self.n_values = int((~np.isnan(known.y)).sum() if partial is None else (~np.isnan(partial.values)).sum())
        self._paused = (
            []
            if partial is None
            else [one for row, group in enumerate(partial.numbers.tolist()) for one in self._of(row, group)]
        )

    def _of(self, row: int, group: int) -> list[_Paused]:
        """Return the paused trials of a config."""
        repeats, unfinished = self._history.repeats, self._history.unfinished
        trials = [unfinished.get(number) for number in range(group * repeats, (group + 1) * repeats)]
        return [
            _Paused(trial.number, trial.budget or 0.0, row)
            for trial in trials
            if trial is not None and trial.state is State.PAUSED and (trial.budget or math.inf) < self._levels[-1]
        ]

    def next(self, proposer: Proposer, n_start: int, rng: np.random.Generator) -> Assignment | None:
        """Return what the next slot is for, ``None`` where there is nothing for it."""
        n_begun = self._known.n_configs + self._n_unknown
        is_ending = not self._n_new or self._left <= _FINISH * self._levels[-1]
        if n_begun < n_start or self.n_values < FEWEST_VALUES or not (~np.isnan(self._known.y)).any():
            if self._n_new and self._left >= self._levels[-1]:
                return self._begun(New(self._levels[0] if not is_ending else self._levels[-1], 0))
            return self._furthest()
        view = proposer.view(self._data(), rng)
        if not is_ending:
            return self._compared(*view.proposed(rng), view.score(self._known.x))
        candidates = self._candidates(view.means(self._known.x))
        if candidates:
            return self._finished(candidates)
        if self._is_waited_for or not self._n_new or self._left < self._levels[-1]:
            return None
        return self._proposed(*view.proposed(rng), self._levels[-1])

    def _data(self) -> Data:
        data = data_of(self._known)
        busy = self._known.x[self._is_busy]
        return replace(data, pending=np.vstack([busy, self._known.pending])) if data.curves is not None else data

    def _compared(self, x: Floats, belief: Belief, scores: Floats) -> Assignment | None:
        """Return the best new config, at *x*, or the paused trial that promises more for each unit it takes.

        *scores* are (n,) those of the known configs.
        """
        high = self._levels[-1]
        gains = [scores[paused.row] - math.log(high - paused.budget) for paused in self._paused]
        best = int(np.argmax(gains)) if gains else None
        if best is not None and gains[best] >= belief.score - math.log(high):
            paused = self._paused[best]
            return self._resumed(paused, next(level for level in self._levels if level > paused.budget))
        return self._proposed(x, belief, self._levels[0])

    def _proposed(self, x: Floats, belief: Belief, budget: float) -> New | None:
        """Return a new trial of the best new config, at *x*."""
        config = self._codec.config(x)
        if not math.isfinite(belief.score) or not self._codec.space.contains(config):
            # What is left of a finite space, if anything, is for the sampler to say.
            return self._begun(New(budget, 0))
        sign = self._history.problem.objectives[0].sign
        why = {"source": "freeze_thaw", **numbers_of(belief, sign)}
        return self._begun(New(budget, 0, config, why), x)

    def _candidates(self, means: Floats) -> list[int]:
        """Return the rows of what may be the best at the highest level, what is expected to be first.

        Those are the ones that have been trained to the end, are on their way, or paused, and not those that have ended
        early. *means* are (n,) what is expected of the known configs.
        """
        partial = self._known.partial
        may_be = self._is_busy | ~np.isnan(self._known.y if partial is None else partial.values[:, -1])
        may_be[[paused.row for paused in self._paused]] = True
        order = np.lexsort((means, ~self._known.is_feasible))
        found: list[int] = order[may_be[order]].tolist()
        return found

    def _finished(self, candidates: list[int]) -> Assignment | None:
        """Return the promotion to the highest level of the first of the *candidates* for which it is affordable.

        Without a budget one trial is trained to the end; with one, as many as it allows.
        """
        for rank, row in enumerate(candidates):
            if self._is_busy[row]:
                if rank == 0:
                    return None  # what comes of it decides
                continue
            paused = next((one for one in self._paused if one.row == row), None)
            if paused is not None and self._levels[-1] - paused.budget <= self._left:
                return self._resumed(paused, self._levels[-1])
            if self._left == math.inf:
                return None
        return None

    def _furthest(self) -> Assignment | None:
        """Return the promotion of the trial that has come furthest, where there is no model to ask."""
        usable = [one for one in self._paused if self._levels[-1] - one.budget <= self._left]
        if not usable or (self._left == math.inf and self._is_busy.any()):
            return None
        return self._resumed(max(usable, key=lambda one: (one.budget, -one.number)), self._levels[-1])

    def _resumed(self, paused: _Paused, budget: float) -> Resume:
        self._paused = [one for one in self._paused if one is not paused]
        self._is_busy[paused.row] = self._is_waited_for = True
        self._left -= budget - paused.budget
        return Resume(paused.number, budget)

    def _begun(self, new: New, x: Floats | None = None) -> New | None:
        if not self._n_new:
            return None
        self._n_new, self._is_waited_for = self._n_new - 1, True
        self._left -= new.budget or 0.0
        if x is None:
            self._n_unknown += 1
        else:
            self._known = self._known.with_pending(x)
        return new
