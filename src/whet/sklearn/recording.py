"""The study of a search: a trial for every candidate, told when its folds are done.

Where the search is kept, so is the outcome of each fit, with its trial and as soon as it is there: the same search,
begun again by another process, runs only what is missing.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search_successive_halving import BaseSuccessiveHalving

from whet.errors import ConfigError
from whet.sklearn.callers import caller
from whet.sklearn.choosing import metric_of
from whet.sklearn.keeping import Chooser, Place, opened_study, place_of
from whet.sklearn.outcomes import SINGLE, Outcome, from_json, has_more_time, metric_name, score_of, scores_of, to_json
from whet.sklearn.spaces import Described, described
from whet.sklearn.trials import ended, enqueued, started
from whet.space.numeric import Int
from whet.space.plain import is_number, plain, shortened, value_key

if TYPE_CHECKING:
    from whet.core.events import Draft
    from whet.core.trial import Trial
    from whet.space.domain import Domain
    from whet.space.space import Space
    from whet.study import Study


@dataclass(slots=True)
class _Row:
    """A candidate: its parameters, what else is known of it, and once it has ended, what its fits came to.

    Attributes:
        why: it ended before all of them were done; empty if it did not.
    """

    parameters: Mapping[str, Any]
    extra: dict[str, float]
    trial: Trial | None = None
    outcomes: Sequence[Outcome] | None = None
    why: str = ""


def record_of(
    search: Any,
    scorers: Any,
    X: Any,
    y: Any,
    params: Mapping[str, Any],
    splits: Callable[[], Sequence[tuple[Any, Any]]],
) -> Record:
    """Return the record of a *search* that begins, or goes on.

    Args:
        search: that is fitted.
        scorers: as scikit-learn makes them of its ``scoring``.
        X: the samples.
        y: the targets.
        params: what else was given to ``fit``.
        splits: gives the search's own; only asked for if it is kept.

    Raises:
        ValueError: it is to be kept, and could never be resumed; the message says why.
    """
    place = place_of(search, X, y, params, splits)
    name = type(search).__name__ if search.name is None else search.name
    n_trials = getattr(search, "n_trials", None)
    n_trials = None if n_trials is None else int(n_trials)
    resources = partial(_resources_of, search)
    return Record(name, objectives_of(search, scorers), place, resources, n_trials, search.fit_timeout)


def objectives_of(search: Any, scorers: Any) -> tuple[str, ...]:
    """Return what there is to maximize: the metric that the parameter *refit* of *search* names, or all of them."""
    is_several = isinstance(scorers, _MultimetricScorer)
    metric = metric_of(search.refit)
    if isinstance(metric, str) and (is_several or callable(search.scoring)):
        return (metric_name(metric),)
    return tuple(map(metric_name, scorers._scorers)) if is_several else (SINGLE,)


def _resources_of(search: Any) -> dict[str, Domain]:
    """Return the parameter that a search which halves gives more and more of to the candidates that are left."""
    if not isinstance(search, BaseSuccessiveHalving) or search.resource == "n_samples":
        return {}
    low, high = search.min_resources_, search.max_resources_
    return {search.resource: Int(low, high)} if low < high else {}


@dataclass(slots=True)
class Record:
    """Keeps the study of a search in step with its candidates. Left as a context, it lets others run the study.

    Either scikit-learn says what the candidates are, batch by batch, and each is given to the study; or the study
    chooses them. One that does is told of them in their order, whichever is done first: what it knows, and chooses
    from that, is the same every time.

    Attributes:
        name: of the study.
        objectives: of the study, which it maximizes; of metrics that have other names the first one counts.
        place: where the search is kept; None: nowhere.
        wider: gives, when the first candidates are there, the domains of parameters that those after them may have
            other values of.
        n_trials: how many the study chooses, where it does.
        fit_timeout: how many seconds a fit may take.
        study: a trial for every candidate, in the order of ``cv_results_``.
    """

    name: str
    objectives: tuple[str, ...]
    place: Place | None = None
    wider: Callable[[], Mapping[str, Domain]] = dict
    n_trials: int | None = None
    fit_timeout: float | None = None
    study: Study | None = None
    _rows: list[_Row] = field(default_factory=list)
    _described: Described | None = None
    _found: Sequence[Trial] = ()  # of earlier runs
    _is_asked: bool = False  # for the candidates
    _n_told: int = 0  # rows that it was told of, where it is
    _has_warned: bool = False
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.finish()

    # ---- candidates
    def open(
        self,
        space: Space,
        directions: Mapping[str, str],
        *,
        sampler: Any,
        scheduler: Any = None,
        fidelity: Any = None,
        seed: int | None = None,
        objects: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Study:
        """Return the study that chooses the candidates, with the trials of earlier runs of the search, if any.

        Args:
            space: of its configs.
            directions: the objectives.
            sampler: see `Study`.
            scheduler: likewise.
            fidelity: likewise.
            seed: likewise; one that is drawn stays the same when the search goes on.
            objects: what the labels in configs stand for, by the name of the parameter.
            settings: more to keep with the study.

        Raises:
            ValueError: there is a study of that name, and it is another search, or none is to be resumed.
            StudyBusy: another process runs it.
        """
        by = Chooser(sampler, scheduler, fidelity, seed, objects=objects, settings=settings)
        study = self._open(space, directions, by)
        if self.n_trials is not None:
            self._plan(self.n_trials)
        return study

    def trials(self) -> list[Trial]:
        """Return the trials of earlier runs, in their order; those that have not ended, and may, are run again."""
        if self.study is None or not self._found:
            return []
        n_waiting = sum(trial.state == "waiting" for trial in self._found)
        again = {trial.number: trial for trial in self.study.ask(n_waiting)} if n_waiting else {}
        return [again.get(trial.number, trial) for trial in self._found]

    def begin(
        self,
        candidates: Sequence[Mapping[str, Any]],
        more: Mapping[str, Sequence[Any]] | None,
        trials: Sequence[Trial] | None = None,
    ) -> None:
        """Note that *candidates* are fitted next; *more* is known of each of them, where it is a number.

        *trials* are theirs, where the study asked for them.

        Raises:
            ValueError: the search goes on, and these are not the candidates that it had.
        """
        first = len(self._rows)
        columns = {name: [plain(value) for value in values] for name, values in (more or {}).items()}
        for number, parameters in enumerate(candidates):
            extra = {name: values[number] for name, values in columns.items() if is_number(values[number])}
            self._rows.append(_Row(parameters, extra, trials[number] if trials else None))
        if trials:
            self._is_asked = True
        else:
            self._give(first)

    # ---- fits
    def kept(self, number: int, key: str) -> Outcome | None:
        """Return what an earlier run of the search has kept of a fit of candidate *number*, if there is such a one."""
        trial = self._rows[number].trial
        if trial is None or trial.number >= len(self._found):
            return None
        outcome = from_json(self._found[trial.number].attributes.get(key))
        if outcome is not None and has_more_time(outcome, self.fit_timeout):
            self._warn_of_late()
        return outcome

    def keep(self, number: int, key: str, outcome: Outcome) -> None:
        """Note what a fit of candidate *number* came to."""
        trial = self._rows[number].trial
        if self.place is None or self.study is None or trial is None:
            return
        from whet.core.annotating import annotation_draft

        draft = annotation_draft(trial.number, {key: to_json(outcome)}, now=time.time)
        if trial.state == "waiting":
            self._start(self._rows[number], [outcome], draft)
        else:
            # The death of this process cannot harm it; that of the machine may cost the fits since the last candidate.
            self.study.ledger.commit([draft], durable=False)

    def tell(self, number: int, outcomes: Sequence[Outcome]) -> None:
        """Note that the folds of candidate *number* of the search are done, and what each came to."""
        self.stop(number, outcomes, "")

    def stop(self, number: int, outcomes: Sequence[Outcome], why: str) -> None:
        """Note that candidate *number* ends with these *outcomes*, and *why* before all its folds are done."""
        self._rows[number].outcomes, self._rows[number].why = outcomes, why
        if not self._is_asked:
            self._end(self._rows[number])
            return
        while self._n_told < len(self._rows) and self._rows[self._n_told].outcomes is not None:
            self._end(self._rows[self._n_told])
            self._n_told += 1

    def finish(self) -> None:
        """Note that there will be no more: what has not ended waits, and other processes may run the study."""
        from whet.core.events import Draft, Kind

        payload = {"reason": "the search has ended before", "counts": False}
        try:
            if self.study is not None and (running := self.study.ledger.history.running):
                drafts = [Draft(Kind.REQUEUED, trial.number, payload, trial.token, time.time()) for trial in running]
                self.study.ledger.commit(drafts)
        finally:
            self._stack.close()

    def values(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Return the means over *outcomes* that ``cv_results_`` has, of the test scores and the times."""
        names = {name: None for outcome in outcomes for name in scores_of(outcome)} | dict.fromkeys(self.objectives)
        folds = {name: [score_of(outcome, name) for outcome in outcomes] for name in names}
        times = {name: [outcome[name] for outcome in outcomes] for name in ("fit_time", "score_time")}
        return {name: float(np.mean(values)) for name, values in (times | folds).items()}

    # ---- the study
    def _warn_of_late(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Fits of the study {self.name!r} that took longer than fit_timeout= said before have failed, and are "
                "not run again now that they may take longer. To run them, give this search another name=.",
                stacklevel=caller(),
            )

    def _plan(self, n: int) -> None:
        """Note with a study that is kept how many trials it is to have, so that others see when it is done."""
        from whet.core.events import Draft, Kind

        assert self.study is not None
        if self.place is not None and self.study.ledger.history.settings.get("limits") != {"n_trials": n}:
            self.study.ledger.commit([Draft(Kind.AMENDED, None, {"settings": {"limits": {"n_trials": n}}})])

    def _open(self, space: Space, directions: Mapping[str, str], by: Chooser) -> Study:
        self.objectives = tuple(directions)
        self.study = opened_study(self.place, self.name, space, directions, by, self._stack)
        self._found = self.study.trials
        return self.study

    def _give(self, first: int) -> None:
        """Give the candidates from row *first* on to the study, but for those that it has from an earlier run."""
        if self._described is None:
            self._open_given()
        assert self._described is not None and self.study is not None
        rows = self._rows[first:]
        try:
            configs = [self._described.config(row.parameters) for row in rows]
        except ConfigError as error:
            if self.place is not None:
                raise ValueError(
                    "A search that is kept (store=, name=) has to have all values of its candidates in the first batch "
                    f"of them: {error}. Leave out store= and name="
                ) from None
            self._give_anew()
            return
        found = self._found[first : first + len(rows)]
        for number, (config, trial) in enumerate(zip(configs, found, strict=False), first):
            if value_key(config) != value_key(trial.config):
                raise ValueError(
                    f"The study {self.name!r} is another search: candidate {number} was "
                    f"{shortened(repr(trial.config))} and is {shortened(repr(config))}. Give what the candidates are "
                    "made of, and random_state, as they were, or give this search another name=."
                )
        trials = [*found, *enqueued(self.study.ledger, configs[len(found) :])]
        self._plan(max(len(self._rows), len(self._found)))
        if self.place is None:
            trials = self.study.ask(len(trials))  # all of them at once, as nobody looks on
        for row, trial in zip(rows, trials, strict=True):
            row.trial = trial

    def _open_given(self) -> None:
        """Open the study of candidates that scikit-learn says; all so far show what they may be."""
        self._described = described([row.parameters for row in self._rows], self.wider())
        directions = dict.fromkeys(self.objectives, "maximize")
        by = Chooser(n_candidates=len(self._rows), objects=self._described.objects)
        self._open(self._described.space, directions, by)

    def _give_anew(self) -> None:
        """Make another study, as candidates have values that none before had."""
        self._open_given()
        self._give(0)
        for row in self._rows:
            if row.outcomes is not None:
                self._end(row)

    def _start(self, row: _Row, outcomes: Sequence[Outcome], *drafts: Draft) -> None:
        """Let the trial of *row*, which waits, run since the fits that came to *outcomes* began; write *drafts*."""
        assert row.trial is not None and self.study is not None
        times = [outcome[name] for outcome in outcomes for name in ("fit_time", "score_time")]
        row.trial = started(self.study.ledger, row.trial, sum(filter(math.isfinite, times)), *drafts)

    def _end(self, row: _Row) -> None:
        """End the trial of *row*, unless an earlier run of the search did."""
        assert self.study is not None and row.trial is not None and row.outcomes is not None
        if row.trial.state.is_final:
            return
        if row.trial.state == "waiting":
            self._start(row, row.outcomes)
        values = row.extra | self.values(row.outcomes)
        error: str | None = next((outcome["fit_error"] for outcome in row.outcomes if outcome["fit_error"]), None)
        is_usable = all(np.isfinite(values[name]) for name in self.objectives)
        message = None if error is None or is_usable else error.strip().splitlines()[-1]
        row.trial = ended(self.study, row.trial, values, message, row.why)
