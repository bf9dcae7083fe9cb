"""What ``_run_search`` is given to call: it evaluates the candidates that a search says, batch after batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures

from whet.sklearn.choosing import OneStandardError
from whet.sklearn.kept import Cache, n_workers_of
from whet.sklearn.names import check_candidates
from whet.sklearn.noeffect import Reads, Tried, without_effect
from whet.sklearn.outcomes import Outcome
from whet.sklearn.plans import plan
from whet.sklearn.racing import Race, masked, raced
from whet.sklearn.recording import Record
from whet.sklearn.tasks import Task, Work, outcomes_of

if TYPE_CHECKING:
    from whet.core.trial import Trial
    from whet.sklearn.showing import Showing


class TimeUp(Exception):
    """The search has taken as long as it may, and not all is done."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit that is wanted.

    Attributes:
        row: the number of the candidate in the search, which is that of its trial.
        parameters: of the candidate.
        split: the number of the split.
        train, test: indices of samples.
        key: what its outcome is kept by with the trial.
    """

    row: int
    parameters: Mapping[str, Any]
    split: int
    train: Any
    test: Any
    key: str


@dataclass(slots=True)
class Row:
    """A candidate, and what is known of it.

    Attributes:
        parameters: of the candidate.
        outcomes: of its fits, by split; None where there was none (yet).
        more: its values in further columns of ``cv_results_``.
        why: it ended before all splits were done; empty if it did not.
        is_done: whether there is no more to come, so that it is in ``cv_results_``.
    """

    parameters: Mapping[str, Any]
    outcomes: list[Outcome | None]
    more: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    is_done: bool = False

    @property
    def ran(self) -> list[Outcome]:
        """What there is of `outcomes`."""
        return [outcome for outcome in self.outcomes if outcome is not None]


class Evaluation:
    """Evaluates the candidates of a search.

    Attributes:
        rows: the candidates so far, in their order.
        results: ``cv_results_`` so far.
        record: the study that goes with them.
        n_workers: how many fits run at a time.
        y: the targets, if there are any.
    """

    record: Record
    showing: Showing | None = None

    def __init__(
        self,
        search: Any,
        work: Work,
        X: Any,
        y: Any,
        split_params: Mapping[str, Any],
        pool: Any,
        cache: Cache | None,
        rule: OneStandardError | None = None,
    ) -> None:
        self.rows: list[Row] = []
        self.results: dict[str, Any] = {}
        self.n_workers = n_workers_of(pool)
        self._search, self._work, self._X, self.y, self._pool = search, work, X, y, pool
        self._rule = rule
        self._split_params, self._cache = split_params, cache
        self._ends_at = None if search.timeout is None else time.monotonic() + search.timeout
        self._race = Race(search.n_splits_) if search.racing else None
        self._dead: dict[int, str] = {}  # why candidates ended their workers, by the id of their parameters
        self._reads = Reads(work.estimator, is_shared=cache is not None)
        self._n_warned = 0  # rows whose failures were warned of
        self._context: tuple[Any, int] = (None, 0)  # the last one of scikit-learn's callbacks, and its parts so far

    @cached_property
    def splits(self) -> list[tuple[Any, Any]]:
        """Those of the search itself, drawn once, so that all candidates are compared on the same."""
        return self._drawn(self._search._checked_cv_orig)

    def __call__(
        self,
        candidate_params: Iterable[Mapping[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, Sequence[Any]] | None = None,
        callback_ctx: Any = None,
    ) -> dict[str, Any]:
        """Fit every candidate on every split, and return the results of all candidates so far."""
        self.evaluate(list(candidate_params), cv, more_results, callback_ctx)
        return self.conclude()

    def evaluate(
        self,
        candidates: Sequence[Mapping[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, Sequence[Any]] | None = None,
        callback_ctx: Any = None,
        trials: Sequence[Trial] | None = None,
    ) -> None:
        """Fit every candidate on every split, or on as many as a race takes.

        *trials* are those that the candidates are of, where the study of the record asked for them.

        Raises:
            TimeUp: not all could be done.
        """
        splits = self._drawn(cv) if cv else self.splits
        n_fits = len(candidates) * len(splits)
        if self._search.verbose > 0:
            most = "" if self._race is None else "at most "
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling {most}{n_fits} fits"
            )
        if not n_fits:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        if trials is None:
            check_candidates(self._work.estimator, candidates)
        n_before = len(self.rows)
        self.begin(candidates, more_results, trials)
        if self._race is None:
            rows = range(n_before, len(self.rows))
            wanted = [self.fit(row, split, splits) for row in rows for split in range(len(splits))]
            self.run(wanted, callback_ctx, self._note, more_follow=trials is not None)
        else:
            self._run_race(n_before, splits, callback_ctx)

    def begin(
        self,
        candidates: Sequence[Mapping[str, Any]],
        more_results: Mapping[str, Sequence[Any]] | None = None,
        trials: Sequence[Trial] | None = None,
    ) -> None:
        """Add *candidates* to the rows."""
        n_splits = self._search.n_splits_
        if self._rule is not None:
            self._rule.check(candidates, n_splits)
        for number, parameters in enumerate(candidates):
            more = {name: values[number] for name, values in (more_results or {}).items()}
            self.rows.append(Row(parameters, [None] * n_splits, more))
        self.record.begin(candidates, more_results, trials)
        if self.showing is not None:
            self.showing.expect(len(candidates))

    def fit(self, row: int, split: int, splits: Sequence[tuple[Any, Any]]) -> Fit:
        """Return the fit of a row on one of *splits*."""
        return Fit(row, self.rows[row].parameters, split, *splits[split], f"split {split}")

    def run(
        self,
        fits: Sequence[Fit],
        callback_ctx: Any,
        note: Callable[[Fit, Outcome], None],
        *,
        more_follow: bool = True,
    ) -> None:
        """Do *fits*, and *note* each as it ends; what an earlier run of the search has kept is not done again.

        Raises:
            TimeUp: some were not begun.
        """
        missing = []
        for wanted in fits:
            outcome = self.record.kept(wanted.row, wanted.key)
            if outcome is None:
                missing.append(wanted)
            else:
                if self.showing is not None:
                    self.showing.kept(wanted.parameters, outcome)
                note(wanted, outcome)
        tasks = self._tasks(missing, callback_ctx, more_follow=more_follow)
        timely = self._in_time(tasks, missing)
        n_left = len(missing)
        # An interrupt that is kept would keep the fits going.
        with closing(outcomes_of(self._pool, self._work, self._X, self.y, timely, dead=self._dead)) as outcomes:
            for index, outcome in outcomes:
                done = missing[index]
                self._reads.note(done.row, outcome.pop("unread", None))
                self.record.keep(done.row, done.key, outcome)
                if self.showing is not None:
                    self.showing.done(done.parameters, outcome)
                note(done, outcome)
                n_left -= 1
        if n_left:
            raise TimeUp

    def cut_short(self, why: str) -> bool:
        """Make do with what there is, as the search ends here and now, and tell whether any candidate is done.

        Of those that race, only the splits count that all of them were fitted on: that is what they can be compared by.
        """
        if self._race is not None:
            self._note_stopped()
            for number, is_common in self._race.cut_short():
                row = self.rows[number]
                if not row.is_done:
                    row.outcomes = [one if is_in else None for one, is_in in zip(row.outcomes, is_common, strict=True)]
                    row.is_done = True
        for row in self.rows:
            n_ran = len(row.ran)
            if row.is_done and not row.why and n_ran < len(row.outcomes):
                row.why = f"{why} after {n_ran} of {len(row.outcomes)} splits"
        self._n_warned = 0  # that all of a part of a batch failed does not end the search, that all did does
        return any(row.is_done for row in self.rows)

    @property
    def comparable(self) -> dict[str, Any]:
        """`results`, to choose from: where an iteration was cut short, the last complete one counts as the last."""
        missing = [row.more["iter"] for row in self.rows if not row.is_done and "iter" in row.more]
        is_whole = ~np.isin(self.results.get("iter", ()), missing)
        if not missing or not is_whole.any():
            return self.results
        return self.results | {"iter": np.where(is_whole, self.results["iter"], -1)}

    def conclude(self) -> dict[str, Any]:
        """Warn of what failed, and return the results of all candidates that are done.

        Raises:
            ValueError: all of them failed.
        """
        search = self._search
        done = [row for row in self.rows if row.is_done]
        new = [outcome for row in done[self._n_warned :] for outcome in row.ran]
        if new:
            _warn_or_raise_about_fit_failures(new, search.error_score)
            if callable(search.scoring):
                _insert_error_scores(new, search.error_score)
        self._n_warned = len(done)
        self.results = self._formatted(done)
        return self.results

    def _formatted(self, done: Sequence[Row]) -> dict[str, Any]:
        ran = np.array([[outcome is not None for outcome in row.outcomes] for row in done])
        unknown = _unknown(done[0].ran[0])
        outcomes = [outcome or unknown for row in done for outcome in row.outcomes]
        names = {name: None for row in done for name in row.more}
        more = {name: [row.more[name] for row in done] for name in names}

        def formatted() -> dict[str, Any]:
            search = self._search
            results = search._format_results([row.parameters for row in done], search.n_splits_, outcomes, more)
            return dict(results)

        if self._race is None and ran.all():
            return formatted()
        times = {name: np.reshape([o[name] for o in outcomes], ran.shape) for name in ("fit_time", "score_time")}
        return masked(formatted, ran, times, {number: row.why for number, row in enumerate(done) if row.why})

    def without_effect(self) -> list[tuple[str, str]]:
        """Return the parameters that changed nothing, and what tells."""
        done = ((number, row) for number, row in enumerate(self.rows) if row.is_done)
        tried = {number: Tried(row.parameters, row.ran, repr(sorted(row.more.items()))) for number, row in done}
        return without_effect(self._reads, tried, self._search.n_splits_)

    @property
    def first_scores(self) -> Any:
        """What the first fit was scored with: a number, or a dict where there are several metrics."""
        return next(outcome["test_scores"] for row in self.rows if row.is_done for outcome in row.ran)

    def _note(self, fit: Fit, outcome: Outcome) -> None:
        row = self.rows[fit.row]
        row.outcomes[fit.split] = outcome
        if self._race is not None:
            self._race.note(fit.row, fit.split, raced(outcome, self.record.objectives[0]))
        ran = row.ran
        if len(ran) == len(row.outcomes):
            row.is_done = True
            self.record.tell(fit.row, ran)
            if self.showing is not None:
                self.showing.candidate(row.parameters, ran)

    def _run_race(self, n_before: int, splits: Sequence[Any], callback_ctx: Any) -> None:
        """Let the rows from *n_before* on race against each other and all those before."""
        assert self._race is not None
        self._race.add(len(self.rows) - n_before)
        is_on = True
        while is_on:
            pairs = self._race.next()
            self._note_stopped()
            self.run([self.fit(row, split, splits) for row, split in pairs], callback_ctx, self._note)
            is_on = bool(pairs)

    def _note_stopped(self) -> None:
        assert self._race is not None
        for number, why in self._race.stopped.items():
            row = self.rows[number]
            if not row.is_done:
                row.is_done, row.why = True, why
                self.record.stop(number, row.ran, why)
                if self.showing is not None:
                    self.showing.stopped(len(row.outcomes) - len(row.ran))

    def _drawn(self, cv: Any) -> list[tuple[Any, Any]]:
        splits = list(cv.split(self._X, self.y, **self._split_params))
        if len(splits) != self._search.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. "
                f"Expected {self._search.n_splits_} splits, got {len(splits)}"
            )
        return splits

    def _tasks(self, fits: Sequence[Fit], callback_ctx: Any, *, more_follow: bool) -> list[Task]:
        """Return *fits* as tasks, in an order that makes use of what candidates have in common."""
        parameters_of = {fit.row: fit.parameters for fit in fits}
        rows = {row: number for number, row in enumerate(parameters_of)}
        keys = {key: number for number, key in enumerate(dict.fromkeys(fit.key for fit in fits))}
        at = {(rows[fit.row], keys[fit.key]): index for index, fit in enumerate(fits)}
        parameters = list(parameters_of.values())
        planned = plan(self._work.estimator, parameters, len(keys), self._cache, more_follow=more_follow)
        # Made before the first fit: they hang on the search, which may not change while it is sent to workers.
        contexts = self._contexts(callback_ctx, len(fits))
        n_splits = self._search.n_splits_
        return [
            Task(
                index := at[candidate, key],
                fits[index].parameters,
                fits[index].train,
                fits[index].test,
                (candidate, len(rows)),
                (fits[index].split, n_splits),
                contexts[index],
                planned.caches[candidate],
            )
            for candidate, key in planned.order
            if (candidate, key) in at
        ]

    def _contexts(self, callback_ctx: Any, n: int) -> list[Any]:
        """Return *n* parts of *callback_ctx*, numbered from where the last ones ended."""
        if not callback_ctx:
            return [None] * n
        known, first = self._context
        first = first if known is callback_ctx else 0
        self._context = callback_ctx, first + n
        return [
            callback_ctx.subcontext(task_name="candidate-split-evaluation", task_id=first + number)
            for number in range(n)
        ]

    def _in_time(self, tasks: Iterable[Task], fits: Sequence[Fit]) -> Iterator[Task]:
        """Yield *tasks*, those of *fits*, as long as there is time."""
        for task in tasks:
            if self._ends_at is not None and time.monotonic() >= self._ends_at:
                return
            watched = self._reads.names(fits[task.index].row, task.parameters)
            yield replace(task, watched=watched) if watched else task


def _unknown(outcome: Outcome) -> Outcome:
    """Return an *outcome* of a fit that was not done: nothing in it is a number."""

    def no_number(value: Any) -> Any:
        return dict.fromkeys(value, np.nan) if isinstance(value, dict) else np.nan

    return {name: None if name == "fit_error" else no_number(value) for name, value in outcome.items()}
