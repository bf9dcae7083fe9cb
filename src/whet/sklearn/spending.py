"""A search whose candidates get little at first, as its scheduler says: round after round, all that run by one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.core.handing import hand_out
from whet.core.protocols import Decision
from whet.core.trial import State
from whet.errors import NotReady, SearchExhausted
from whet.sklearn.evaluation import Evaluation, Fit
from whet.sklearn.fidelities import Axis, Folds, next_step
from whet.sklearn.outcomes import Outcome
from whet.sklearn.racing import ranks_of

if TYPE_CHECKING:
    from whet.core.trial import Trial
    from whet.sklearn.spaces import Searched
    from whet.study import Study

RESOURCES = "n_resources"  # the column that says how far a candidate has come, as scikit-learn's halving calls it


@dataclass(slots=True)
class Spending:
    """Drives a study that has a scheduler; its trials are the rows of the search.

    A round depends on those before and on how many trials run at a time, never on which fit is done first.

    Args:
        evaluation: does the fits, and keeps the rows.
        study: chooses candidates, and says who goes on.
        axis: what is spent.
        within: makes candidates of configs.
        n_trials: how many candidates there are to be.
        is_by_fold: a report is what its fold came to, and not the mean so far.
    """

    evaluation: Evaluation
    study: Study
    axis: Axis
    within: Searched
    n_trials: int
    is_by_fold: bool = False
    _running: dict[int, Trial] = field(default_factory=dict)
    _reached: dict[int, int] = field(default_factory=dict)  # by every trial that there is

    def run(self, callback_ctx: Any) -> None:
        """Do round after round, until there is nothing left to do.

        Raises:
            ValueError: the space has no config at all.
            TimeUp: there was no time for all.
        """
        if self.evaluation.showing is not None:
            self.evaluation.showing.foresee(self.n_trials, is_even=False)
        self._restore()
        n_at_a_time = self.evaluation.n_workers
        if not isinstance(self.axis, Folds):
            n_at_a_time = ceil(n_at_a_time / len(self.evaluation.splits))
        while self._fill(n_at_a_time):
            self._round(callback_ctx)
        if not self._reached:
            raise ValueError("No fits were performed. Every config of the space is forbidden.")

    def _restore(self) -> None:
        """Take in what an earlier run of the search has come to."""
        trials = self.evaluation.record.trials()
        self._begin(trials)
        self._running = {trial.number: trial for trial in trials if trial.state is State.RUNNING}
        for trial in trials:
            reached = round(trial.curve.last_step() or 0)
            if trial.state is State.FAILED and reached < self._budget(trial):
                reached = next_step(self.axis, reached, self._budget(trial))  # it has failed without a report
            fits = self._fits(trial.number, reached) if reached else []
            kept = [(fit, self.evaluation.record.kept(trial.number, fit.key)) for fit in fits]
            known = [(fit, outcome) for fit, outcome in kept if outcome is not None]
            if known and len(known) == len(fits):
                self._put(trial.number, reached, known)
                self._say_why(trial)

    def _fill(self, n_at_a_time: int) -> bool:
        """Let so many trials run as may, and tell whether any does."""
        study, n_free = self.study, n_at_a_time - len(self._running)
        if n_free:
            n_new = max(0, min(n_free, self.n_trials - len(self._reached)))
            try:
                trials = hand_out(study.ledger, study.sampler, study.scheduler, n_free, n_new)
            except (NotReady, SearchExhausted):
                trials = []
            self._begin([trial for trial in trials if trial.number not in self._reached])
            for trial in trials:
                self._running[trial.number] = trial
                self.evaluation.rows[trial.number].why = ""  # it may have been paused
        return bool(self._running)

    def _begin(self, trials: Sequence[Trial]) -> None:
        """Make rows for *trials*."""
        if trials:
            candidates = [self.within.parameters(trial.config or {}) for trial in trials]
            self.evaluation.begin(candidates, trials=trials)
            self._reached |= dict.fromkeys((trial.number for trial in trials), 0)

    def _round(self, callback_ctx: Any) -> None:
        """Bring every trial that runs to its next step, and then, in their order, heed what is decided on each."""
        wanted: list[Fit] = []
        steps: dict[int, int] = {}
        done: dict[int, list[tuple[Fit, Outcome]]] = {}
        for number, trial in sorted(self._running.items()):
            done[number] = []
            if self._reached[number] < self._budget(trial):
                steps[number] = next_step(self.axis, self._reached[number], self._budget(trial))
                wanted += self._fits(number, steps[number])

        def note(fit: Fit, outcome: Outcome) -> None:
            done[fit.row].append((fit, outcome))

        self.evaluation.run(wanted, callback_ctx, note)
        for number, trial in sorted(self._running.items()):
            if number in steps:
                self._put(number, steps[number], done[number])
            if not self._goes_on(trial, is_new=number in steps):
                del self._running[number]
                self._say_why(self.study.ledger.trial(number))

    def _budget(self, trial: Trial) -> float:
        return self.axis.fidelity.high if trial.budget is None else trial.budget

    def _fits(self, number: int, step: int) -> list[Fit]:
        """Return the fits that bring a candidate from where it is to *step*."""
        parameters = self.evaluation.rows[number].parameters
        return self.axis.fits(number, parameters, self._reached[number], step, self.evaluation.splits)

    def _put(self, number: int, step: int, done: Sequence[tuple[Fit, Outcome]]) -> None:
        """Note that a candidate has reached *step*, and what the fits for that have come to."""
        row = self.evaluation.rows[number]
        for fit, outcome in done:
            row.parameters, row.outcomes[fit.split] = fit.parameters, outcome
        row.more[RESOURCES] = self._reached[number] = step
        row.is_done = True  # whatever follows, this is what it has come to so far

    def _say_why(self, trial: Trial) -> None:
        """Note why *trial*, which has ended or paused, did not come to its end."""
        is_at_end = trial.state in (State.COMPLETED, State.RUNNING)
        row, showing = self.evaluation.rows[trial.number], self.evaluation.showing
        row.why = "" if is_at_end else trial.message or trial.state.value
        if showing is not None and trial.state is State.COMPLETED:
            showing.candidate(row.parameters, row.ran)
        elif showing is not None and trial.state in (State.STOPPED, State.FAILED):
            showing.stopped()

    def _goes_on(self, trial: Trial, *, is_new: bool) -> bool:
        """Report where *trial* has got to, if that *is_new*, end it if it is at its end, and tell whether it is not."""
        row, step = self.evaluation.rows[trial.number], self._reached[trial.number]
        values = self.evaluation.record.values(row.ran)
        if not all(isfinite(values[name]) for name in self.evaluation.record.objectives):
            error: str | None = next((outcome["fit_error"] for outcome in row.ran if outcome["fit_error"]), None)
            if error is None:
                self.study.tell(trial, values)  # which says what is wrong with them
            else:
                self.study.fail(trial, message=error.strip().splitlines()[-1])
            return False
        if is_new:
            last = row.outcomes[step - 1] if self.is_by_fold else None
            reported = values if last is None else self.evaluation.record.values([last])
            decision = self.study.report(trial, reported, step=step)
            if decision is not Decision.CONTINUE:
                return False
        if step < self._budget(trial):
            return True
        self.study.tell(trial, values)
        return False


def rank_by_budget(results: Mapping[str, Any]) -> int:
    """Rank the candidates of *results* anew: first those that have come the furthest, and of these the better ones.

    The last are those without a finite score, wherever they failed. Returns how far the others have come at most.
    """
    reached = np.asarray(results[RESOURCES])
    furthest = 0
    for column in [name for name in results if name.startswith("rank_test_")]:
        means = np.ma.filled(results[column.replace("rank_", "mean_", 1)], np.nan)
        is_known = np.isfinite(means)
        keys = list(zip(~is_known, np.where(is_known, -reached, 0), np.where(is_known, -means, 0.0), strict=True))
        furthest = max(furthest, *reached[is_known].tolist(), 0)
        results[column][:] = ranks_of(keys)
    return furthest or int(reached.max())
