"""`EarlyStopping`: any incremental estimator, trained for as long as it gets better on a part that is held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, _routing_enabled, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_method_params, _num_samples, check_is_fitted, column_or_1d, indexable

from whet.sklearn.held_out import held_out
from whet.sklearn.incremental import epochs, goes_on, growing, growth, state_of

_ROUTED = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score",
    "transform",
    "inverse_transform",
)


def _has(name: str) -> Callable[[Any], bool]:
    """Return what says whether the wrapped estimator has the method *name*."""

    def check(of: EarlyStopping) -> bool:
        getattr(getattr(of, "estimator_", of.estimator), name)  # its own AttributeError says why not
        return True

    return check


def _delegated(name: str) -> Any:
    """Return a method that calls the one of that name of ``estimator_``."""

    def method(self: EarlyStopping, X: Any, **params: Any) -> Any:
        return self._of_the_best(name, params)(X)

    method.__name__ = name
    method.__qualname__ = f"EarlyStopping.{name}"
    method.__doc__ = f"Return what ``{name}`` of the best state of the estimator makes of *X*."
    return available_if(_has(name))(method)


class EarlyStopping(MetaEstimatorMixin, BaseEstimator):
    """An estimator that is trained for as long as it gets better on samples that are held out.

    For all that have ``partial_fit``, or ``warm_start`` and a number that grows, such as ``n_estimators``. Around the
    estimator itself, so inside of a pipeline, and tuned like any other::

        GridSearchCV(EarlyStopping(SGDClassifier()), {"estimator__alpha": [1e-5, 1e-4, 1e-3]})

    A step is an epoch of ``partial_fit``, over the samples in another order each time; or a part of the growth of the
    parameter *grow* up to the value that the estimator has. The held-out samples are scored after each step. Training
    ends after *patience* steps without a better score, where the estimator itself has converged, or where the score
    is no finite number any more; the best state there was is the one that predicts. It has not seen the samples that
    are held out. Those are in proportion to the classes where there is one target, and some of each class is trained
    on always.

    Each step of a growing parameter is a call of ``fit``, which looks at all the data again. That is little beside
    training most ensembles, and much beside that of histogram gradient boosting, which has an ``early_stopping`` of
    its own.

    Args:
        estimator: what is trained.
        grow: the parameter that grows, with ``warm_start``; None for ``partial_fit`` where the estimator has that, or
            else its ``n_estimators`` or ``max_iter``.
        steps: at most so many. A parameter grows in so many equal parts, 20 if None; the epochs of ``partial_fit``
            are, if None, as many as ``max_iter`` of the estimator says, or 100.
        patience: so many steps without a better score are the last.
        min_delta: a better score is better by more than this. With 0, training goes on for gains however small; for
            the accuracy, R² or a log loss, 0.001 saves much of it.
        validation_fraction: about how much of the samples is held out.
        scoring: as for scikit-learn's searches, of one metric, greater is better; None for the estimator's ``score``.
            Scores that see small steps, such as ``"neg_log_loss"``, say more than the accuracy.
        random_state: draws what is held out and the order of epochs; the estimator has its own.

    Attributes:
        estimator_: the best state of the estimator.
        n_steps_: how many steps were taken.
        best_step_: the one that led to the best state, from 1.
        validation_scores_: shape (n_steps_,): the score of the held-out samples after each step.
        classes_, n_features_in_, feature_names_in_: those of ``estimator_``, if it has them.
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - as scikit-learn has it
        "estimator": [HasMethods("fit"), HasMethods("partial_fit")],
        "grow": [str, None],
        "steps": [Interval(Integral, 1, None, closed="left"), None],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "min_delta": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(RealNotInt, 0, 1, closed="neither")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "random_state": ["random_state"],
    }
    _doc_link_module = "whet"  # scikit-learn has no page on it
    __metadata_request__fit = {"groups": True}  # noqa: RUF012 - as scikit-learn's splitters by group have it

    def __init__(
        self,
        estimator: Any,
        *,
        grow: Any = None,
        steps: Any = None,
        patience: Any = 5,
        min_delta: Any = 0.0,
        validation_fraction: Any = 0.1,
        scoring: Any = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.grow = grow
        self.steps = steps
        self.patience = patience
        self.min_delta = min_delta
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **params: Any) -> EarlyStopping:
        """Train the estimator until it gets no better.

        Args:
            X: shape (n_samples, n_features).
            y: shape (n_samples,) or (n_samples, n_outputs), or None.
            groups: shape (n_samples,): samples of one group are held out together.
            params: passed to ``partial_fit`` or ``fit`` of the estimator, what is per sample for those it is trained
                on; with metadata routing, also to the scorer.

        Raises:
            TypeError: the estimator cannot be trained step by step.
            ValueError: there are too few samples, or the first score is no finite number.
        """
        grow = growing(self.estimator, self.grow)
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        if y is None and get_tags(self.estimator).target_tags.required:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None")
        X, y, groups = indexable(X, y, groups)
        params, score_params = self._routed(grow, params)
        rng = check_random_state(self.random_state)
        codes = _codes(y) if is_classifier(self.estimator) else None
        train, held = held_out(_num_samples(X), self.validation_fraction, rng, codes, groups)
        X_held, y_held, score_params = _part(X, y, held, score_params)

        def score(model: Any) -> float:
            return _number(scorer(model, X_held, *([] if y is None else [y_held]), **score_params), self.scoring)

        model = clone(self.estimator)
        if grow is None:
            classes = _classes(model, y)

            def epoch() -> tuple[Any, Any, dict[str, Any]]:
                X_epoch, y_epoch, epoch_params = _part(X, y, rng.permutation(train), params)
                return X_epoch, y_epoch, classes | epoch_params

            taken = epochs(model, self.steps, epoch)
        else:
            taken = growth(model, grow, self.steps, *_part(X, y, train, params))
        self._train(model, grow, taken, score)
        return self

    def _routed(self, grow: str | None, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what of *params* is for the estimator, and what for the scorer."""
        if not _routing_enabled():
            return params, {}
        routed = process_routing(self, "fit", **params)
        return routed.estimator[_called(grow)], routed.scorer.score

    def _train(self, model: Any, grow: str | None, taken: Iterator[None], score: Callable[[Any], float]) -> None:
        """Take steps until *model* gets no better, and become the best state of it.

        Raises:
            ValueError: the first score is no finite number.
        """
        scores: list[float] = []
        best_step = 0
        best: Any = None
        try:
            for _ in taken:
                scores.append(score(model))
                if not np.isfinite(scores[-1]):
                    break
                if not best_step or scores[-1] > scores[best_step - 1] + self.min_delta:
                    best_step, best = len(scores), state_of(model, grow)
                elif len(scores) - best_step >= self.patience:
                    break
        except Exception as error:
            error.add_note(f"(EarlyStopping: this was after {len(scores)} steps that were scored)")
            raise
        if not best_step:
            raise ValueError(
                f"the samples that are held out score {scores[0]} after the first step, where a finite number is "
                f"needed: scoring={self.scoring!r} may need more of them, or of each class (validation_fraction="
                f"{self.validation_fraction}), or training diverges at once"
            )
        if grow is not None:
            own = self.estimator.get_params(deep=False)
            best.set_params(warm_start=own["warm_start"], **({grow: own[grow]} if goes_on(best, grow) else {}))
        self.estimator_: Any = best
        self.n_steps_ = len(scores)
        self.best_step_ = best_step
        self.validation_scores_ = np.array(scores)

    predict = _delegated("predict")
    predict_proba = _delegated("predict_proba")
    predict_log_proba = _delegated("predict_log_proba")
    decision_function = _delegated("decision_function")
    score_samples = _delegated("score_samples")
    transform = _delegated("transform")
    inverse_transform = _delegated("inverse_transform")

    @available_if(_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Return what ``score`` of the best state of the estimator says of *X* and *y*."""
        return self._of_the_best("score", params)(X, y)

    def _of_the_best(self, name: str, params: dict[str, Any]) -> Callable[..., Any]:
        """Return the method *name* of the best state, with those of *params* that it asks for."""
        check_is_fitted(self)
        if params and _routing_enabled():
            params = process_routing(self, name, **params).estimator[name]
        return partial(getattr(self.estimator_, name), **params)

    @property
    def classes_(self) -> Any:
        """The classes of the best state of a classifier."""
        return self.estimator_.classes_

    @property
    def n_features_in_(self) -> int:
        """How many features there were."""
        n_features: int = self.estimator_.n_features_in_
        return n_features

    @property
    def feature_names_in_(self) -> Any:
        """The names of the features, where they had any."""
        return self.estimator_.feature_names_in_

    def get_metadata_routing(self) -> Any:
        """Return what metadata goes where: to the estimator, and to the scorer."""
        mapping = MethodMapping().add(caller="fit", callee=_called(growing(self.estimator, self.grow)))
        for name in _ROUTED:
            mapping.add(caller=name, callee=name)
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=mapping)
            .add(scorer=scorer, method_mapping=MethodMapping().add(caller="fit", callee="score"))
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = deepcopy(get_tags(self.estimator))
        tags.array_api_support = False  # samples are picked by number
        return tags


def _called(grow: str | None) -> str:
    """Return the method of the estimator that is called with the samples."""
    return "partial_fit" if grow is None else "fit"


def _part(X: Any, y: Any, numbers: Any, params: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return the samples of these numbers, and of *params* what is theirs."""
    y_part = None if y is None else _safe_indexing(y, numbers)
    return _safe_indexing(X, numbers), y_part, _check_method_params(X, params, indices=numbers)


def _codes(y: Any) -> Any:
    """Return the class of each sample as a number from 0, or None where there are several targets."""
    check_classification_targets(y)
    if type_of_target(y) not in ("binary", "multiclass"):
        return None
    return np.unique(column_or_1d(y), return_inverse=True)[1]


def _classes(model: Any, y: Any) -> dict[str, Any]:
    """Return the argument ``classes`` of ``partial_fit``, if *model* takes one: all there are, also those held out."""
    taken = signature(model.partial_fit).parameters
    if not is_classifier(model) or not ("classes" in taken or any(of.kind is of.VAR_KEYWORD for of in taken.values())):
        return {}
    if type_of_target(y) in ("binary", "multiclass"):
        return {"classes": np.unique(column_or_1d(y))}
    targets = (y.toarray() if issparse(y) else np.asarray(y)).T
    if get_tags(model).classifier_tags.multi_label:  # of itself, not by an estimator for each target
        return {"classes": np.arange(len(targets))}
    return {"classes": [np.unique(target) for target in targets]}


def _number(score: Any, scoring: Any) -> float:
    """Return *score* as a float.

    Raises:
        ValueError: it is no number.
    """
    if not isinstance(score, Real):
        raise ValueError(f"scoring has to give a number, and scoring={scoring!r} gave {score!r}")  # noqa: TRY004 - as theirs
    return float(score)
