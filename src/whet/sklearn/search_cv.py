"""`SearchCV`: candidates that a sampler of whet chooses, learning from how the ones before it did."""

# ruff: noqa: PLR0913 - as scikit-learn's signatures

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import product
from math import ceil
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from whet.errors import SearchExhausted, UsageError
from whet.sklearn.recording import SINGLE, Record, metric_name
from whet.sklearn.searching import CACHE, Evaluation, Searching
from whet.sklearn.spaces import Searched, searched

if TYPE_CHECKING:
    from whet.core.trial import Trial
    from whet.study import Study

_MOST_SWAPPED = 1000  # combinations of steps that a parameter's name is tried on


class SearchCV(Searching):
    """Cross-validated search whose candidates are chosen by any of whet's samplers.

    All attributes are those of ``sklearn.model_selection.RandomizedSearchCV``; ``study_`` is the `whet.Study` that
    chose the candidates, its trials in the order of ``cv_results_``.

    As many candidates are chosen at a time as keep the workers busy: one where there are no more workers than splits.
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
            is the objective. Where it names none, all are if the strategy can take several, which ``"gp"``,
            ``"tpe"`` and ``"cmaes"`` cannot: then the first one is, as also where a function scores.
        n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score: as for scikit-learn's searches.
        random_state: a whole number is the seed of the study; a generator, or for None numpy's global one, draws it.
        cache: as for `whet.sklearn.GridSearchCV`.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - as scikit-learn has it
        **BaseSearchCV._parameter_constraints,
        "space": [Mapping],
        "strategy": [str, HasMethods("suggest")],
        "n_trials": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "cache": CACHE,
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

    def _run_search(self, evaluate_candidates: Evaluation, *, callback_ctx: Any = None) -> None:
        """Ask the study for candidates, evaluate them, and let it know, until there were enough."""
        within = searched(self.space)
        _check_names(self.estimator, within)
        objectives, study = self._begun(within)
        evaluate_candidates.record = Record(study.name, self.refit, study, objectives)
        n_at_a_time = ceil(evaluate_candidates.n_workers / max(1, self.n_splits_))
        n_fits = self.n_trials * self.n_splits_
        search = callback_ctx.subcontext(task_name="search", max_subtasks=n_fits, sequential_subtasks=False)
        search.call_on_fit_task_begin(estimator=self)
        for trials in _asked(study, int(self.n_trials), n_at_a_time):
            candidates = [within.parameters(trial.config or {}) for trial in trials]
            evaluate_candidates.evaluate(candidates, callback_ctx=search, trials=trials)
        evaluate_candidates.conclude(evaluate_candidates.outcomes)
        search.call_on_fit_task_end(estimator=self)

    def _begun(self, within: Searched) -> tuple[tuple[str, ...], Study]:
        """Return the objectives, and a study of them that has no trials yet."""
        from whet.core.problem import problem_of
        from whet.samplers.names import check_sampler, sampler_from
        from whet.study import Study  # heavy, and workers, which import this package, need none of these

        sampler = sampler_from(clone(self.strategy, safe=False))  # what it remembers is no parameter of ours
        directions = dict.fromkeys(self._objectives(), "maximize")
        try:
            check_sampler(sampler, problem_of(within.space, directions, (), None))
        except UsageError:  # if not of how many objectives there are, of something that the study says again
            directions = dict.fromkeys([next(iter(directions))], "maximize")
        if isinstance(self.random_state, Integral):
            seed = int(self.random_state)
        else:
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return tuple(directions), Study(within.space, directions, sampler=sampler, seed=seed, name=type(self).__name__)

    def _objectives(self) -> list[str]:
        """Return what there is to maximize, the metric that *refit* names or all of them."""
        scorers, _ = self._get_scorers()
        is_several = isinstance(scorers, _MultimetricScorer)
        if isinstance(self.refit, str) and (is_several or callable(self.scoring)):
            return [metric_name(self.refit)]
        return [metric_name(name) for name in scorers._scorers] if is_several else [SINGLE]


def _asked(study: Study, n_trials: int, n_at_a_time: int) -> Iterator[list[Trial]]:
    """Yield so many trials at a time, until there are *n_trials* of them or the space has no more.

    Raises:
        ValueError: the space has no config at all.
    """
    n_asked = 0
    while n_asked < n_trials:
        try:
            trials = study.ask(min(n_at_a_time, n_trials - n_asked))
        except SearchExhausted:
            if n_asked:
                return
            raise ValueError("No fits were performed. Every config of the space is forbidden.") from None
        n_asked += len(trials)
        yield trials


def _check_names(estimator: Any, within: Searched) -> None:
    """See that *estimator* has every parameter of the space, be it with another step that the space has for it.

    Raises:
        ValueError: it has not; the message lists those that it has.
    """
    known = estimator.get_params()
    for name in within.space:
        if name not in known:
            _check_name(estimator, name, within)


def _check_name(estimator: Any, name: str, within: Searched) -> None:
    """See that *estimator* takes the parameter *name*, which it does not have as it is."""
    parts = name.split("__")
    above = [other for n in range(1, len(parts)) if (other := "__".join(parts[:n])) in within.objects]
    value = within.parameters({name: within.space[name].sample(np.random.default_rng(0))})[name]
    refusals = []
    for n_tried, values in enumerate(product(*(within.objects[other].values() for other in above))):
        if n_tried == _MOST_SWAPPED:
            return  # if it is wrong, the fits say so
        tried = {**dict(zip(above, values, strict=True)), name: value}
        try:
            clone(estimator).set_params(**clone(tried, safe=False))
        except Exception as error:  # whatever an estimator's own code raises
            refusals.append(error)
        else:
            return
    best = next((error for error in refusals if isinstance(error, ValueError)), refusals[0])
    raise ValueError(f"{name}: {best}") from best
