"""What every scheduler keeps, as a test class to inherit from.

::

    class TestMyScheduler(SchedulerContract):
        def make(self) -> Scheduler:
            return MyScheduler()

It is tried on real studies in memory, by `whet.testing.scheduler_plays`. Written for pytest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest

from whet.algorithms.brackets import levels
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume, Scheduler
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, UsageError
from whet.schedulers.names import check_scheduler
from whet.study import load
from whet.testing.sampler_histories import history_of
from whet.testing.scheduler_plays import PROBLEMS, Play, Watched, check_assigned, one_by_one, study_of


class SchedulerContract:
    """What all schedulers promise; inherit and define :meth:`make`.

    Attributes:
        n_trials: of the searches that are tried.
        n_seeds: how many of them there are of a kind.
        every: which answers are compared with those of a fresh scheduler: each, every second, …
        promotes_by_rank: who goes on is among the best on its rung; not so where a model expects more of another.
    """

    n_trials: ClassVar[int] = 14
    n_seeds: ClassVar[int] = 2
    every: ClassVar[int] = 2
    promotes_by_rank: ClassVar[bool] = True

    def make(self) -> Scheduler:
        """Return a new scheduler."""
        raise NotImplementedError("define make(), returning a new scheduler")

    def supports(self, problem: str) -> bool:
        """Tell whether the scheduler can spend the budget of a problem; by default what `check_scheduler` says."""
        try:
            check_scheduler(self.make(), study_of(problem, Watched(self.make)).ledger.history.problem, None)
        except UsageError:
            return False
        return True

    def quota(self, bracket: int, budgets: Sequence[float]) -> Sequence[int] | None:
        """Return how many trials of a bracket may go as far as its first, second, … level; ``None``: any number."""
        planned: Callable[..., Any] | None = getattr(self.make(), "planned", None)
        return None if planned is None else [rung.n for rung in planned(bracket, tuple(budgets))]

    # ---- any interleaving
    @pytest.mark.parametrize("problem", PROBLEMS)
    def test_whatever_happens_it_answers_and_comes_to_an_end(self, problem: str) -> None:
        """Reports repeated, late, missing and no numbers; failures, attempts lost: see `Play` for what is checked."""
        for seed in range(self.n_seeds if self.supports(problem) else 0):
            self._play(problem, seed, n_workers=(5, 1, 2, 9)[seed % 4], n_given=1 + seed % 2).to_the_end()

    @pytest.mark.parametrize("problem", PROBLEMS)
    @pytest.mark.parametrize("n_workers", [1, 5])
    def test_a_search_ends_with_a_trial_that_was_trained_to_the_end(self, problem: str, n_workers: int) -> None:
        if not self.supports(problem):
            return
        play = self._play(problem, n_workers, n_workers=n_workers, is_hostile=False, every=5 * self.every)
        study = play.to_the_end()
        fidelity = play.history.problem.fidelity
        completed = [trial for trial in study.trials if trial.state is State.COMPLETED]
        assert completed, f"none has completed: {play.history.counts()}"
        assert fidelity is None or any(trial.budget == fidelity.high for trial in completed)

    def test_a_search_goes_on_where_all_trials_fail(self) -> None:
        for problem in filter(self.supports, PROBLEMS):
            study = study_of(problem, Watched(self.make, self.every))
            for _ in range(self.n_trials):
                study.fail(study.ask())

    def test_a_trial_that_reports_nan_stops_at_once(self) -> None:
        for problem in filter(self.supports, PROBLEMS):
            study = study_of(problem, Watched(self.make))
            names = study.ledger.history.problem.metrics
            decision = study.report(study.ask(), dict.fromkeys(names, math.nan), step=1)
            keeps = getattr(self.make(), "keeps_lost", False)
            assert decision is (Decision.CONTINUE if keeps else Decision.STOP)

    # ---- who goes on
    @pytest.mark.parametrize("problem", ["epochs", "levels that are no whole numbers", "a fraction"])
    def test_a_promoted_trial_was_among_the_best(self, problem: str) -> None:
        """One trial in eta goes on, of those that were known on its rung; when no new ones come, at least the best."""
        eta = getattr(self.make(), "eta", None)
        if eta is None or not self.promotes_by_rank or not self.supports(problem):
            return
        for seed in range(2 * self.n_seeds):
            play = self._play(problem, seed, n_workers=1 + 3 * seed, every=1000)
            play.watched.checks.append(lambda history, assigned: _check_promoted(history, assigned, eta))
            play.to_the_end()

    @pytest.mark.parametrize("problem", ["epochs", "a fraction"])
    @pytest.mark.parametrize("seed", range(2))
    def test_no_rung_is_above_its_quota(self, problem: str, seed: int) -> None:
        eta = getattr(self.make(), "eta", None)
        if eta is None or not self.supports(problem) or self.quota(0, _levels_of(problem, eta)) is None:
            return
        budgets = _levels_of(problem, eta)
        study = self._play(problem, seed, n_workers=1 + 3 * seed, every=1000).to_the_end()
        counts = Counter[tuple[int, float]]()
        for trial in study.trials:
            if trial.bracket is not None and trial.budget is not None:
                counts.update((trial.bracket, budget) for budget in budgets if budget <= trial.budget)
        for b in {bracket for bracket, _ in counts}:
            quota = self.quota(b, budgets) or ()
            for i, n in enumerate(reversed(quota)):
                budget = budgets[len(budgets) - 1 - i]
                assert counts[b, budget] <= n, f"{counts[b, budget]} trials of bracket {b} at {budget}, not {n}"

    # ---- a function of the history
    @pytest.mark.parametrize("goes_on", [True, False], ids=["from a checkpoint", "from zero"])
    @pytest.mark.parametrize("problem", ["epochs", "a constraint", "two objectives", "no fidelity"])
    def test_killed_and_resumed_is_as_never_killed(self, problem: str, goes_on: bool) -> None:
        if not self.supports(problem):
            return
        play = partial(one_by_one, self.make, problem, min(self.n_trials, 10), goes_on=goes_on)
        expected = play()
        for seed in range(self.n_seeds):
            killed = sorted(Random(seed).sample(range(1, 120), 8 * (seed + 1)))  # noqa: S311
            assert play(killed) == expected, f"killed before events {killed}"

    def test_found_again_in_a_store_it_goes_on(self, tmp_path: Path) -> None:
        """A process that opens the study later, with a scheduler of its own, does what the first one would do."""
        for problem in filter(self.supports, ("epochs", "a constraint", "no fidelity")):
            left = self._play(problem, 5, is_hostile=False, n_trials=8, every=1000)
            through = self._play(problem, 5, is_hostile=False, n_trials=8, store=str(tmp_path / f"{problem}.db"))
            left.to_the_end()
            n = 0
            while through.go_on():
                n += 1
                if n % 7 == 0:
                    watched = Watched(self.make, self.every)
                    through.study = load("play", through.study.ledger.store, scheduler=watched, sampler="random")
            assert through.started == left.started
            assert [t.state for t in through.study.trials] == [t.state for t in left.study.trials]
            through.study.ledger.store.close()

    def test_one_scheduler_may_serve_two_studies(self) -> None:
        for problem in filter(self.supports, ("epochs", "no fidelity")):
            alone = [self._play(problem, seed, is_hostile=False, n_trials=7, every=1000) for seed in (1, 2)]
            make = partial(_same, self.make())
            both = [self._play(problem, seed, is_hostile=False, n_trials=7, make=make) for seed in (1, 2)]
            for play in alone:
                play.to_the_end()
            n_events = 1
            while n_events:
                n_events = sum(play.go_on() for play in both)  # of all of them, in turn
            assert [play.started for play in both] == [play.started for play in alone]

    @pytest.mark.parametrize("problem", PROBLEMS)
    def test_it_begins_with_new_trials(self, problem: str) -> None:
        if not self.supports(problem):
            return
        history = history_of(study_of(problem, Watched(self.make)).ledger.history.problem)
        for n, n_new in ((1, 1), (5, 5), (5, 2), (2, 5)):
            assigned = self.make().assign(history, n, n_new)
            assert 0 < len(assigned) <= n and all(isinstance(one, New) for one in assigned)
            check_assigned(history, assigned)
        with suppress(SearchExhausted):
            assert self.make().assign(history, 3, 0) == []

    def _play(self, problem: str, seed: int, *, make: Callable[[], Scheduler] | None = None, **options: Any) -> Play:
        options = {"n_trials": self.n_trials, "every": self.every, **options}
        return Play(make or self.make, problem, Random(seed), seed=seed, **options)  # noqa: S311


def _same(scheduler: Scheduler) -> Scheduler:
    return scheduler


def _levels_of(problem: str, eta: float) -> tuple[float, ...]:
    ((low, high),) = PROBLEMS[problem]["fidelity"].values()
    return levels(low, high, eta, is_integer=isinstance(high, int))


def _check_promoted(history: History, assigned: Sequence[Assignment], eta: float) -> None:
    """See that each trial that goes on is among the best in eta of its rung, or the best of those that have not."""
    fidelity, objective = history.problem.fidelity, history.problem.objectives[0]
    assert fidelity is not None
    budgets = levels(fidelity.low, fidelity.high, eta, is_integer=fidelity.is_integer)
    for one in assigned:
        if not isinstance(one, Resume):
            continue
        trial = history.unfinished[one.number]
        assert trial.budget in budgets and one.budget in budgets, f"{one}: no level, {budgets}"
        level = budgets[budgets.index(one.budget) - 1]
        rung: dict[int, float] = {}
        left = set[int]()  # of those on the rung, the ones that have not gone on
        trials: list[Trial | Finished] = [*history.finished, *history.unfinished.values()]
        for other in trials:
            if other.config is None or other.bracket != trial.bracket:
                continue
            value = _value_at(other, level, objective.sign)
            if value is not None:
                rung[other.number] = value
                if other.state is State.PAUSED and (other.budget or 0) <= level:
                    left.add(other.number)
        rank = sum(value < rung[one.number] for value in rung.values())
        is_best_left = rung[one.number] == min(rung[number] for number in left)
        assert rank < max(1, len(rung) / eta) or is_best_left, f"{one}: {rank} of {len(rung)} are better at {level}"


def _value_at(trial: Trial | Finished, level: float, sign: int) -> float | None:
    """Return what *trial* came to at *level*, to be minimised; ``None``: it has not come there."""
    rows = np.array([row[:2] for row in trial.curve if not math.isnan(row[1])] or np.empty((0, 2)))
    if len(rows) and rows[:, 0].max() >= level:
        return float(sign * rows[np.flatnonzero(rows[:, 0] >= level)[0], 1])
    return math.inf if trial.state in (State.FAILED, State.CANCELLED) else None
