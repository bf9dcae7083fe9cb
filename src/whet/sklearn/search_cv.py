"""`SearchCV`: candidates that a sampler of whet chooses, learning from how the ones before it did."""

# ruff: noqa: PLR0913 - as scikit-learn's signatures

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from math import ceil
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from whet.core.problem import Fidelity
from whet.errors import SearchExhausted, UsageError
from whet.sklearn.callers import caller
from whet.sklearn.evaluation import Evaluation
from whet.sklearn.names import check_name, check_space
from whet.sklearn.searching import OPTIONS, RACING, Searching
from whet.sklearn.spaces import Searched, searched

if TYPE_CHECKING:
    from whet.core.protocols import Scheduler
    from whet.core.trial import Trial
    from whet.sklearn.recording import Record
    from whet.sklearn.spending import Spending
    from whet.study import Study


class SearchCV(Searching):
    """Cross-validated search whose candidates are chosen by any of whet's samplers.

    All attributes are those of ``sklearn.model_selection.RandomizedSearchCV``; ``study_`` is the `whet.Study` that
    chose the candidates, its trials in the order of ``cv_results_``.

    As many candidates are chosen at a time as keep the workers busy: one where there are no more workers than splits,
    and one for each worker where they race.
    The same *random_state* gives the same candidates on the same data where as many are chosen at a time; with the
    strategies that do not learn, ``"grid"``, ``"random"`` and ``"quasi_random"``, always. All candidates are compared
    on the same splits: those of a splitter that draws others at each call are drawn once.

    A candidate whose score is no finite number has failed, and the search goes on; it raises only where all have.

    Args:
        estimator: what is tuned.
        space: name of a parameter, as ``step__param``, to what it may be: a list of values, of any kind; ``(low,
            high)`` or ``(low, high, "log")``, whole numbers where both bounds are; a domain such as
            ``whet.Float(1e-4, 1, log=True)``; a frozen distribution of scipy. Or a `whet.Space`. A parameter that is
            not active (``when=``) is left as the estimator has it. In conditions, an object such as an estimator is
            meant by its ``repr``.
        strategy: which candidate next: ``"auto"``, ``"gp"``, ``"tpe"``, ``"cmaes"``, ``"quasi_random"``,
            ``"random"``, ``"grid"``, with options as in ``"tpe(n_start=10)"``, or a `Sampler`.
        n_trials: how many candidates; fewer where the space has no more.
        scoring: as for scikit-learn's searches; scores are maximized. Of several metrics the one that *refit* names
            is the objective. Where it names none, all are if strategy and scheduler can take several, which ``"gp"``,
            ``"tpe"`` and ``"cmaes"`` cannot: then the first one is, as also where a function scores.
        n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score: as for scikit-learn's searches.
        random_state: a whole number is the seed of the study; a generator, or for None numpy's global one, draws it.
        cache: as for `whet.sklearn.GridSearchCV`.
        scheduler: lets most candidates have only little of what *fidelity* says: ``"asha"``,
            ``"asha(type=promotion)"``, ``"successive_halving"``, ``"hyperband"``, ``"median"``, ``"percentile"``,
            ``"patience"``, ``"threshold(lower=0.5)"``, ``"racing"``, ``"freeze_thaw"``, several as in
            ``"asha + patience"``, or a `Scheduler`. Candidates advance in rounds, all that run by one step.
        fidelity: ``"samples"`` to train on, of the largest training part, nested and the same for all; or ``"folds"``;
            or a parameter of the estimator with its bounds, as ``{"n_estimators": (10, 300)}``. Bounds may be given for
            samples too. By default samples, for racing folds. ``cv_results_`` has what each candidate came to at its
            ``n_resources``; those at ``max_resources_`` rank first.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - as scikit-learn has it
        **BaseSearchCV._parameter_constraints,
        "space": [Mapping],
        "strategy": [str, HasMethods("suggest")],
        "n_trials": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "scheduler": [str, list, tuple, HasMethods(["assign", "decide"]), None],
        "fidelity": [str, Mapping, Fidelity, None],
        **OPTIONS,
        **RACING,
    }
    _doc_link_module = ""  # scikit-learn has no page on it

    def __init__(
        self,
        estimator: Any,
        space: Any,
        *,
        strategy: Any = "auto",
        n_trials: Any = 40,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: Any = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: Any = False,
        cache: str | os.PathLike[str] | None = None,
        racing: bool = False,
        store: Any = None,
        name: str | None = None,
        resume: bool = False,
        timeout: float | None = None,
        fit_timeout: float | None = None,
        progress: bool = False,
        complexity: Any = None,
        scheduler: Any = None,
        fidelity: Any = None,
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.strategy = strategy
        self.n_trials = n_trials
        self.random_state = random_state
        self.cache = cache
        self.racing = racing
        self.store = store
        self.name = name
        self.resume = resume
        self.timeout = timeout
        self.fit_timeout = fit_timeout
        self.progress = progress
        self.complexity = complexity
        self.scheduler = scheduler
        self.fidelity = fidelity

    def _run_search(self, evaluate_candidates: Evaluation, *, callback_ctx: Any = None) -> None:
        """Ask the study for candidates, evaluate them, and let it know, until there were enough."""
        within = searched(self.space)
        check_space(self.estimator, within)
        spending = self._spending(evaluate_candidates, within)
        n_fits = None if spending else self.n_trials * self.n_splits_
        search = callback_ctx.subcontext(task_name="search", max_subtasks=n_fits, sequential_subtasks=False)
        search.call_on_fit_task_begin(estimator=self)
        if spending:
            spending.run(search)
        else:
            self._run_trials(evaluate_candidates, within, search)
        evaluate_candidates.conclude()
        search.call_on_fit_task_end(estimator=self)

    def _run_trials(self, evaluation: Evaluation, within: Searched, callback_ctx: Any) -> None:
        """Evaluate candidates on all splits, some at a time; first those of earlier runs of the search."""
        study = self._begun(evaluation.record, within)
        # One that races has few fits at a time.
        n_at_a_time = evaluation.n_workers if self.racing else ceil(evaluation.n_workers / max(1, self.n_splits_))
        if evaluation.showing is not None:
            evaluation.showing.foresee(min(int(self.n_trials), within.space.size or int(self.n_trials)))
        for trials in _asked(study, int(self.n_trials), n_at_a_time, evaluation.record.trials()):
            candidates = [within.parameters(trial.config or {}) for trial in trials]
            evaluation.evaluate(candidates, callback_ctx=callback_ctx, trials=trials)

    def _spending(self, evaluation: Evaluation, within: Searched) -> Spending | None:
        """Return what evaluates candidates as a scheduler says, where there is one.

        Raises:
            ValueError: it cannot be done as it is asked for.
        """
        if self.scheduler is None:
            if self.fidelity is not None:
                raise ValueError(f"fidelity={self.fidelity!r} is for a scheduler, and there is none: give scheduler=")
            return None
        if self.racing:
            raise ValueError("racing=True and a scheduler both end candidates early; give one of them")
        from whet.schedulers.names import scheduler_from
        from whet.sklearn.fidelities import FOLDS, SAMPLES, axis_of, compares_folds, fidelity_of
        from whet.sklearn.spending import Spending

        if not evaluation.splits:
            raise ValueError("No fits were performed. Was the CV iterator empty?")
        scheduler = scheduler_from(clone(self.scheduler, safe=False))
        known = self.estimator, evaluation.splits, evaluation.y
        fidelity = fidelity_of(self.fidelity, scheduler, *known)
        if fidelity.name not in (SAMPLES, FOLDS):
            self._check_resource(fidelity, within)
        is_by_fold = compares_folds(scheduler)
        # What a trial comes to is the mean over its folds, if each is reported by itself.
        rules = {"rules": {"take": f"mean:{self.n_splits_}"}} if is_by_fold else None
        study = self._begun(evaluation.record, within, scheduler, fidelity, rules)
        self.min_resources_, self.max_resources_ = fidelity.low, fidelity.high
        axis = axis_of(fidelity, scheduler, *known, study.ledger.history.seed)
        if self.verbose > 0:
            print(f"Up to {self.n_trials} candidates, each with {fidelity.low} to {fidelity.high} {fidelity.name}")
        return Spending(evaluation, study, axis, within, int(self.n_trials), is_by_fold)

    def _check_resource(self, fidelity: Fidelity, within: Searched) -> None:
        """See that the fidelity is a parameter of the estimator that nothing else sets."""
        if fidelity.name in within.space:
            raise ValueError(
                f"{fidelity.name!r} is in the space and the fidelity as well: the scheduler says what it is, so leave "
                "it out of the space"
            )
        if fidelity.name not in self.estimator.get_params():
            check_name(self.estimator, fidelity.name, fidelity.low, within)

    def _choose(self, refit_metric: Any, results: Mapping[str, Any]) -> None:
        """Set which candidate is the best one: where there is a scheduler, of those that have come the furthest."""
        if self.scheduler is None:
            super()._choose(refit_metric, results)
            return
        from whet.sklearn.spending import rank_by_budget

        furthest = rank_by_budget(results)
        super()._choose(refit_metric, results)
        if furthest < self.max_resources_:
            warnings.warn(
                f"No candidate has come to n_resources={self.max_resources_}: the best one is the best of those at "
                f"{furthest}. All others have failed, were stopped before, or there was no time for more.",
                stacklevel=caller(),
            )

    def _begun(
        self,
        record: Record,
        within: Searched,
        scheduler: Scheduler | None = None,
        fidelity: Fidelity | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Study:
        """Return the study that chooses the candidates, as *record* has it."""
        from whet.core.problem import problem_of
        from whet.samplers.names import check_sampler, sampler_from
        from whet.schedulers.names import check_scheduler, scheduler_from  # workers need none of these

        try:
            sampler = sampler_from(clone(self.strategy, safe=False))  # what it remembers is no parameter of ours
        except UsageError as error:
            raise UsageError(f"strategy: {error}") from None
        directions = dict.fromkeys(record.objectives, "maximize")
        try:
            problem = problem_of(within.space, directions, (), fidelity)
            check_sampler(sampler, problem)
            check_scheduler(scheduler_from(scheduler), problem, None)
        except UsageError:  # if not of how many objectives there are, of something that the study says again
            directions = dict.fromkeys([next(iter(directions))], "maximize")
        if isinstance(self.random_state, Integral):
            seed = int(self.random_state)
        else:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return record.open(
            within.space,
            directions,
            sampler=sampler,
            scheduler=scheduler,
            fidelity=fidelity,
            seed=seed,
            objects=within.objects,
            settings=settings,
        )


def _asked(study: Study, n_trials: int, n_at_a_time: int, known: list[Trial]) -> Iterator[list[Trial]]:
    """Yield those that are *known*, then so many trials at a time, until there are *n_trials* or the space has no more.

    Raises:
        ValueError: the space has no config at all.
    """
    for start in range(0, len(known), n_at_a_time):
        yield known[start : start + n_at_a_time]  # as they were asked for, which a race between them depends on
    n_asked = len(known)
    while n_asked < n_trials:
        try:
            trials = study.ask(min(n_at_a_time, n_trials - n_asked))
        except SearchExhausted:
            if n_asked:
                return
            raise ValueError("No fits were performed. Every config of the space is forbidden.") from None
        n_asked += len(trials)
        yield trials
