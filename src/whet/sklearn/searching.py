"""`Searching.fit`: what every search does, with scikit-learn's own rules for all that is not about running fits.

It stands between scikit-learn's classes and their base. Which candidates there are, when, and with how much of the
data, they say themselves, through ``_run_search``; how results are laid out, checked and chosen from is inherited.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._split import check_cv
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils.validation import _check_method_params, indexable

from whet.sklearn.kept import Cache, n_workers_of, opened
from whet.sklearn.plans import plan
from whet.sklearn.recording import Frozen, Record, frozen, thawed
from whet.sklearn.tasks import Outcome, Work, outcomes_of, pool_of, tasks_of

if TYPE_CHECKING:
    from whet.core.trial import Trial
    from whet.study import Study


CACHE = [str, os.PathLike, None]  # what the parameter may be, as scikit-learn checks it


class Searching(BaseSearchCV):
    """A search whose fits whet runs."""

    _study: Study | Frozen | None = None
    cache: str | os.PathLike[str] | None = None
    _doc_link_module = "whet"  # of the link that notebooks show; it leads to the class of scikit-learn

    @_fit_context(prefer_skip_nested_validation=False)  # the estimator's own parameters are not checked yet
    def fit(self, X: Any, y: Any = None, **params: Any) -> Searching:
        """Cross-validate every candidate, choose the best one, and fit it to all the data.

        Args:
            X: the samples, of shape (n_samples, n_features), or (n_samples, n_samples) where kernels are precomputed.
            y: the targets, of shape (n_samples,) or (n_samples, n_outputs).
            **params: for the estimator, the scorer and the splitter. What is as long as *X* is split as *X* is;
                ``groups`` go to the splitter.

        Raises:
            ValueError, TypeError: as scikit-learn does.
            PicklingError: something cannot be sent to the workers; the message says what.
        """
        self._study = None  # nor may the last one travel to the workers
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        told = _Told(self, X, y, params.get("sample_weight"))
        root = told.begin(self._init_callback_context(max_subtasks=1 + (self.refit is not False)))
        self._checked_cv_orig = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        split_params = routed.splitter.split
        self._check_input_parameters(X=X, y=y, split_params=split_params)
        self.n_splits_ = self._checked_cv_orig.get_n_splits(X, y, **split_params)
        work = Work(clone(self.estimator), self._fit_options(scorers, routed))

        with pool_of(self.n_jobs, self.pre_dispatch) as pool, opened(self.cache, X, y, pool) as cache:
            evaluation = Evaluation(self, work, X, y, split_params, pool, cache)
            self._search(evaluation, root)
        first_scores = evaluation.outcomes[0]["test_scores"]
        self.multimetric_ = isinstance(first_scores, dict)
        if callable(self.scoring) and self.multimetric_:  # only now is it known what the function scores
            self._check_refit_for_multimetric(first_scores)
            refit_metric = self.refit

        self._choose(refit_metric, evaluation.results)
        if self.refit:
            self._refit(work.estimator, told, root, routed.estimator.fit)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = evaluation.results
        self._study = evaluation.record.study
        told.end(root)
        return self

    @property
    def study_(self) -> Study:
        """The study of the last fit: a trial for every candidate, in the order of ``cv_results_``."""
        if self._study is None:
            raise AttributeError(f"{type(self).__name__} has no study_ before it was fitted")
        if isinstance(self._study, Frozen):
            self._study = thawed(self._study)
        return self._study

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        theirs = next(kind for kind in type(self).__mro__ if kind.__module__.startswith("sklearn."))
        return {"estimator_module": "sklearn.model_selection", "estimator_name": theirs.__name__}

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all but the live parts of the study, which `study_` makes again."""
        state = dict(super().__getstate__())
        study = state.get("_study")
        return state if study is None or isinstance(study, Frozen) else state | {"_study": frozen(study)}

    def _fit_options(self, scorers: Any, routed: Any) -> dict[str, Any]:
        """Return the arguments of scikit-learn's ``_fit_and_score`` that are the same for all fits."""
        return {
            "scorer": scorers,
            "fit_params": routed.estimator.fit,
            "score_params": routed.scorer.score,
            "return_train_score": self.return_train_score,
            "return_n_test_samples": True,
            "return_times": True,
            "return_parameters": False,
            "error_score": self.error_score,
            "verbose": self.verbose,
            "caller": self,
        }

    def _search(self, evaluation: Evaluation, root: Any) -> None:
        """Let the search say its candidates, and evaluate them."""
        # A search of somebody's own may have been written before there were callbacks.
        knows_callbacks = "callback_ctx" in signature(self._run_search).parameters
        self._run_search(evaluation, **({"callback_ctx": root} if knows_callbacks else {}))
        evaluation.record.finish()

    def _check_refit_for_multimetric(self, scores: Mapping[str, Any]) -> None:
        """Refuse a refit that names none of *scores*."""
        try:
            super()._check_refit_for_multimetric(scores)
        except ValueError as error:
            raise ValueError(f"{error} (metrics: {', '.join(map(str, scores))})") from None

    def _choose(self, refit_metric: Any, results: Mapping[str, Any]) -> None:
        """Set which candidate is the best one, where one metric or *refit* says so."""
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _refit(self, estimator: Any, told: _Told, root: Any, fit_params: Mapping[str, Any]) -> None:
        """Fit *estimator* to all the data with the best parameters; those are cloned, as they may be estimators."""
        self.best_estimator_ = clone(estimator).set_params(**clone(self.best_params_, safe=False))
        context = root.subcontext(task_name="refit-with-best-params")
        with context.propagate_callback_context(self.best_estimator_):
            told.begin(context)
            began = time.time()
            targets = () if told.y is None else (told.y,)
            self.best_estimator_.fit(told.X, *targets, **fit_params)
            self.refit_time_ = time.time() - began
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_
        told.end(context)


class _Told:
    """What scikit-learn's callbacks are told when a part of the search begins and ends."""

    def __init__(self, search: Searching, X: Any, y: Any, sample_weight: Any) -> None:
        self.X = X
        self.y = y
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": search, "X": X, "y": y, "metadata": metadata}

    def begin(self, context: Any) -> Any:
        return context.call_on_fit_task_begin(**self._arguments)

    def end(self, context: Any) -> None:
        context.call_on_fit_task_end(**self._arguments)


class Evaluation:
    """Evaluates the candidates that a search says, batch after batch; it is what ``_run_search`` is given to call.

    Attributes:
        outcomes: of all fits so far, candidate after candidate, each on all splits.
        results: ``cv_results_`` so far.
        record: the study that goes with them.
        n_workers: how many fits run at a time.
    """

    def __init__(
        self,
        search: Searching,
        work: Work,
        X: Any,
        y: Any,
        split_params: Mapping[str, Any],
        pool: Any,
        cache: Cache | None,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.results: dict[str, Any] = {}
        self.record = Record(type(search).__name__, search.refit)
        self._search, self._work, self._X, self._y, self._pool = search, work, X, y, pool
        self._split_params, self._cache = split_params, cache
        self.n_workers = n_workers_of(pool)
        self._own_splits: list[tuple[Any, Any]] = []
        self._candidates: list[Mapping[str, Any]] = []
        self._more: dict[str, list[Any]] = defaultdict(list)

    def __call__(
        self,
        candidate_params: Iterable[Mapping[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, Sequence[Any]] | None = None,
        callback_ctx: Any = None,
    ) -> dict[str, Any]:
        """Fit every candidate on every split, and return the results of all candidates so far."""
        return self.conclude(self.evaluate(list(candidate_params), cv, more_results, callback_ctx))

    def evaluate(
        self,
        candidates: Sequence[Mapping[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, Sequence[Any]] | None = None,
        callback_ctx: Any = None,
        trials: Sequence[Trial] | None = None,
    ) -> list[Outcome]:
        """Fit every candidate on every split, and return what each fit came to.

        *trials* are those that the candidates are of, where the study of the record asked for them.
        """
        search = self._search
        # Those of the search itself are drawn once, so that all candidates are compared on the same.
        splits = self._splits(cv) if cv else self._own_splits or self._splits(search._checked_cv_orig)
        self._own_splits = self._own_splits if cv else splits
        n_fits = len(candidates) * len(splits)
        if search.verbose > 0:
            print(f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling {n_fits} fits")
        if not n_fits:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        self.record.begin(candidates, more_results, trials)
        outcomes = self._run(candidates, splits, callback_ctx, more_follow=trials is not None)
        self._candidates += candidates
        self.outcomes += outcomes
        for name, values in (more_results or {}).items():
            self._more[name] += values
        return outcomes

    def conclude(self, outcomes: list[Outcome]) -> dict[str, Any]:
        """Warn of what failed among *outcomes*, and return the results of all candidates so far.

        Raises:
            ValueError: all of them failed.
        """
        search = self._search
        _warn_or_raise_about_fit_failures(outcomes, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(outcomes, search.error_score)
        self.results = search._format_results(self._candidates, search.n_splits_, self.outcomes, self._more)
        return self.results

    def _splits(self, cv: Any) -> list[tuple[Any, Any]]:
        splits = list(cv.split(self._X, self._y, **self._split_params))
        if len(splits) != self._search.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. "
                f"Expected {self._search.n_splits_} splits, got {len(splits)}"
            )
        return splits

    def _run(
        self, candidates: Sequence[Any], splits: Sequence[Any], callback_ctx: Any, *, more_follow: bool
    ) -> list[Outcome]:
        """Run the fits, tell the record of each candidate that is done, and return the outcomes in order."""
        n_fits = len(candidates) * len(splits)
        n_before = len(self.outcomes) if more_follow else 0  # under the same context
        # Made before the first fit: they hang on the search, which may not change while it is sent to workers.
        contexts = [
            callback_ctx and callback_ctx.subcontext(task_name="candidate-split-evaluation", task_id=n_before + number)
            for number in range(n_fits)
        ]
        outcomes: list[Outcome] = [{}] * n_fits
        n_left = [len(splits)] * len(candidates)
        planned = plan(self._work.estimator, candidates, len(splits), self._cache, more_follow=more_follow)
        tasks = tasks_of(candidates, splits, contexts, planned)
        for index, outcome in outcomes_of(self._pool, self._work, self._X, self._y, tasks):
            outcomes[index] = outcome
            number = index // len(splits)
            n_left[number] -= 1
            if not n_left[number]:
                first = number * len(splits)
                self.record.tell(len(self._candidates) + number, outcomes[first : first + len(splits)])
        return outcomes
