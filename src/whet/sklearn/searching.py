"""`Searching.fit`: what every search does, with scikit-learn's own rules for all that is not about running fits.

It stands between scikit-learn's classes and their base. Which candidates there are, when, and with how much of the
data, they say themselves, through ``_run_search``; how results are laid out, checked and chosen from is inherited.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from inspect import signature
from numbers import Real
from typing import TYPE_CHECKING, Any

from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._search_successive_halving import BaseSuccessiveHalving
from sklearn.model_selection._split import check_cv
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_method_params, indexable

from whet.sklearn.choosing import chosen_by, metric_of, scored
from whet.sklearn.evaluation import Evaluation, TimeUp
from whet.sklearn.freezing import Frozen, frozen, thawed
from whet.sklearn.kept import opened
from whet.sklearn.noeffect import warn_of
from whet.sklearn.optimism import warn_of_selection_bias
from whet.sklearn.racing import unnamed_metric
from whet.sklearn.recording import record_of
from whet.sklearn.showing import Showing, shown
from whet.sklearn.tasks import Work, pool_of

if TYPE_CHECKING:
    from whet.study import Study

_SECONDS = [Interval(Real, 0, None, closed="neither"), None]
OPTIONS: dict[str, Any] = {  # what our own parameters may be, as scikit-learn checks it
    "cache": [str, os.PathLike, None],
    "store": [str, os.PathLike, None],
    "name": [str, None],
    "resume": ["boolean"],
    "timeout": _SECONDS,
    "fit_timeout": _SECONDS,
    "progress": ["boolean"],
    "complexity": [str, list, tuple, callable, None],
}
RACING: dict[str, Any] = {"racing": ["boolean"]}  # of searches that do not halve


class Searching(BaseSearchCV):
    """A search whose fits whet runs. Besides what scikit-learn's have, it has these parameters and an attribute.

    Args:
        cache: where pipelines that begin alike keep what their first steps come to, so that these are fitted once for
            each fold: ``"memory"`` for as long as the search runs, or the path of a folder, for later searches over
            the same data too. None keeps nothing.
        racing: whether a candidate stops whose finished folds make it very unlikely to win; not for searches that
            halve. Scores of folds that were left out are masked; ``n_splits_run`` and ``stopped`` say of whom.
        store: a path or URL where the search is kept, each fit as it ends; with a *name* alone ``./.whet/whet.db``.
        name: by which it is found again; with a *store* alone the name of the class.
        resume: whether to go on where an earlier run of the same search was ended, with only the missing fits.
        timeout: seconds after which no more fits begin; ``cv_results_`` has the candidates that are done by then, those
            that still race on the splits that all of them have. As after Ctrl-C, the best one of halving is that of the
            last iteration that is complete.
        fit_timeout: seconds that one fit may take; then it has failed.
        progress: whether to show how it goes, and what came of it, on standard error.
        complexity: for ``refit="one_standard_error"``, which chooses the simplest candidate within one standard error
            of the best: a parameter of which more is more complex, ``"-name"`` where it is less; a list of such; or a
            function of the parameters that gives a number.

    Attributes:
        study_: the `whet.Study` of the last fit: a trial for every candidate, told as soon as its folds were done.
    """

    _study: Study | Frozen | None = None
    # As they are where a class of somebody's own does not have them.
    cache: str | os.PathLike[str] | None = None
    racing: bool = False
    store: Any = None
    name: str | None = None
    resume: bool = False
    timeout: float | None = None
    fit_timeout: float | None = None
    progress: bool = False
    complexity: Any = None
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
        with shown(self) as showing:
            self._fit(X, y, params, showing)
        return self

    def _fit(self, X: Any, y: Any, params: Mapping[str, Any], showing: Showing | None) -> None:
        """Do what `fit` says, and tell *showing* how it goes."""
        rule = chosen_by(self.refit, self.complexity, self.scoring)
        scorers, refit_metric = self._get_scorers()
        if self.racing and not isinstance(refit_metric, str):
            raise unnamed_metric(scorers._scorers)
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        told = _Told(self, X, y, params.get("sample_weight"))
        root = told.begin(self._init_callback_context(max_subtasks=1 + (self.refit is not False)))
        self._checked_cv_orig = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        split_params = routed.splitter.split
        self._check_input_parameters(X=X, y=y, split_params=split_params)
        self.n_splits_ = self._checked_cv_orig.get_n_splits(X, y, **split_params)
        work = Work(clone(self.estimator), self._fit_options(scorers, routed), fit_timeout=self.fit_timeout)

        with pool_of(self.n_jobs, self.pre_dispatch) as pool, opened(self.cache, X, y, pool) as cache:
            evaluation = Evaluation(self, work, X, y, split_params, pool, cache, rule)
            evaluation.showing = showing
            with record_of(self, scorers, X, y, params, lambda: evaluation.splits) as evaluation.record:
                interrupt = self._search(evaluation, root)
        first_scores = evaluation.first_scores
        self.multimetric_ = isinstance(first_scores, dict)
        if callable(self.scoring) and self.multimetric_:  # only now is it known what the function scores
            self._check_refit_for_multimetric(first_scores)
            refit_metric = metric_of(self.refit)

        self._choose(refit_metric, evaluation.results if callable(self.refit) else evaluation.comparable)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = evaluation.results
        self._study = evaluation.record.study
        if showing is not None:
            showing.chosen()
        if interrupt is not None:
            for name in ("best_estimator_", "refit_time_", "feature_names_in_"):  # they would be of an earlier fit
                self.__dict__.pop(name, None)
            raise interrupt
        if self.refit:
            self._refit(work.estimator, told, root, routed.estimator.fit)
        told.end(root)
        self._warn(evaluation, refit_metric)

    def score(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Score the best candidate, fitted to all the data, as scikit-learn's searches do; see there.

        Of several metrics that is by the one which *refit* names, also within ``"one_standard_error(…)"``.
        """
        metric = metric_of(self.refit)
        if metric is self.refit:
            return super().score(X, y, **params)
        plain = object.__new__(type(self))  # as it would be if refit was the metric, which is what theirs looks up
        plain.__dict__ = {**self.__dict__, "refit": metric, "complexity": None}
        return super(Searching, plain).score(X, y, **params)

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

    def _get_scorers(self) -> tuple[Any, Any]:
        """Return the scorers, and the metric that the choice looks at, also where our rule names it."""
        scorers, metric = super()._get_scorers()
        return scorers, metric_of(metric)

    def _search(self, evaluation: Evaluation, root: Any) -> KeyboardInterrupt | None:
        """Let the search say its candidates, and evaluate them; return what interrupted it after some were done.

        Raises:
            TimeoutError: none was done in time.
            KeyboardInterrupt: none was done before.
        """
        # A search of somebody's own may have been written before there were callbacks.
        knows_callbacks = "callback_ctx" in signature(self._run_search).parameters
        interrupt = None
        try:
            self._run_search(evaluation, **({"callback_ctx": root} if knows_callbacks else {}))
        except TimeUp:
            if not evaluation.cut_short("time was up"):
                raise TimeoutError(
                    f"No candidate was done within timeout={self.timeout} s. Give the search more time, or each "
                    "candidate less to do: fewer splits, less data."
                ) from None
            evaluation.conclude()
            if evaluation.showing is not None:
                evaluation.showing.time_is_up()
        except KeyboardInterrupt as error:
            if not evaluation.cut_short("interrupted"):
                raise
            try:
                evaluation.conclude()
            except ValueError as all_failed:
                raise error from all_failed
            interrupt = error
        else:
            return None
        if isinstance(self, BaseSuccessiveHalving):  # which notes this at its end
            self.n_iterations_, self.n_remaining_candidates_ = len(self.n_resources_), self.n_candidates_[-1]
        return interrupt

    def _check_refit_for_multimetric(self, scores: Mapping[str, Any]) -> None:
        """Refuse a refit that names none of *scores*."""
        if (rule := chosen_by(self.refit, self.complexity, scores)) is not None:
            rule.check_metric(scores)
            return
        try:
            super()._check_refit_for_multimetric(scores)
        except ValueError as error:
            raise ValueError(f"{error} (metrics: {', '.join(map(str, scores))})") from None

    def _choose(self, refit_metric: Any, results: Mapping[str, Any]) -> None:
        """Set which candidate is the best one, where one metric or *refit* says so."""
        if not self.refit and self.multimetric_:
            return
        rule = chosen_by(self.refit, self.complexity, self.scoring)
        if rule is not None and not scored(results, refit_metric)[0].size:
            rule = None  # it compares what is scored on all splits, which nothing is in a race that was cut short
        if rule is None:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        else:
            self.best_index_ = rule.index(results, refit_metric)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _warn(self, evaluation: Evaluation, metric: Any) -> None:
        """Warn, once all else is done, of parameters that change nothing, and of a best score that is too good."""
        warn_of(evaluation.without_effect())
        is_by_score = self.refit or not self.multimetric_
        if is_by_score and not callable(self.refit) and chosen_by(self.refit, self.complexity, self.scoring) is None:
            warn_of_selection_bias(evaluation.comparable, metric)

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
