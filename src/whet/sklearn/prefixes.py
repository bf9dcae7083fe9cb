"""Fits of a pipeline that share the fitted steps they agree on, with the results of fits that share nothing.

The leading steps of a pipeline are its prefix. Candidates with the same prefix, on the same split, need it fitted
once: what the training part becomes, the fitted steps and what the test part becomes are kept, and later fits begin
behind it. For that the steps are replaced by stand-ins that hand out what is kept; all else is scikit-learn's own
`_fit_and_score`. Whatever might make a difference is not shared: steps that draw from the global random state or
change their input, metadata for a prefix, callbacks, subclasses of Pipeline. A scorer that looks into the pipeline
finds the real steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.model_selection._validation import _fit_and_score
from sklearn.utils.metadata_routing import _routing_enabled

from whet.sklearn import likeness, packing
from whet.sklearn.flows import ROLES, Flow, name_of, passed_over
from whet.sklearn.kept import Cache, Prefix
from whet.sklearn.setting import after_set_params

# Scorers that ask the whole pipeline for predictions and do nothing else with it.
_ASK_ONLY = (_Scorer, _PassthroughScorer)


def fit_and_score(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    scorer: Any,
    train: Any,
    test: Any,
    parameters: dict[str, Any] | None,
    fit_params: dict[str, Any] | None,
    score_params: dict[str, Any] | None,
    cache: Cache | None = None,
    callback_ctx: Any = None,
    **settings: Any,
) -> dict[str, Any]:
    """scikit-learn's `_fit_and_score`, beginning behind the longest prefix in `cache`.

    Args:
        estimator: A clone of its own for this call.
        X: The data, shape (n_samples, n_features).
        y: The targets or None.
        scorer: As for `_fit_and_score`.
        train: The numbers of the training samples.
        test: The numbers of the test samples.
        parameters: The candidate.
        fit_params: As for `_fit_and_score`.
        score_params: As for `_fit_and_score`.
        cache: The candidate's cache, from `whet.sklearn.plans.plan`.
        callback_ctx: As for `_fit_and_score`.
        settings: Every other argument of `_fit_and_score`.
    """
    fixed = {"train": train, "test": test, "parameters": parameters, "callback_ctx": callback_ctx, **settings}
    fixed |= {"fit_params": fit_params, "score_params": score_params}
    if cache is None or not _may_share(estimator, fit_params, score_params, callback_ctx):
        return _fit_and_score(estimator, X, y, scorer=scorer, **fixed)  # type: ignore[no-any-return]
    prefixes = cache.worth(passed_over)
    if not prefixes:
        return _fit_and_score(estimator, X, y, scorer=scorer, **fixed)  # type: ignore[no-any-return]
    fit = _Fit(cache, prefixes, likeness.digest(np.asarray(train), np.asarray(test)))
    if parameters is None:
        fit.stand_in(estimator)
    else:
        after_set_params(estimator, fit.stand_in)
    try:
        result: dict[str, Any] = _fit_and_score(estimator, X, y, scorer=_with_real_steps(scorer, fit), **fixed)
        if "estimator" in result:
            fit.restore(result["estimator"])
    finally:
        fit.done()
    return result


def _may_share(estimator: Any, fit_params: Any, score_params: Any, callback_ctx: Any) -> bool:
    if getattr(callback_ctx, "_callbacks", None) or (_routing_enabled() and (fit_params or score_params)):
        return False
    last = estimator.steps[-1][0]
    return all(name.partition("__")[0] == last for name in fit_params or ())


class _Fit:
    """One fit of a pipeline whose first steps are shared, and the scoring after it."""

    def __init__(self, cache: Cache, prefixes: tuple[Prefix, ...], split: str) -> None:
        self._cache = cache
        self._prefixes = prefixes
        self._split = split
        self._steps: list[tuple[str, Any]] = []
        self._first = 0
        self._part: tuple[Any, Any] = (None, None)
        self._fitting: Flow | None = None
        self._flow: Flow | None = None

    def stand_in(self, estimator: Any) -> None:
        """Put stand-ins in place of the steps that are shared."""
        self._steps = list(estimator.steps)
        shared = [i for i in range(self._prefixes[-1].length) if not _is_passthrough(self._steps[i][1])]
        self._first = shared[0]
        estimator.steps = [
            (name, _StandIn(self, i, step) if i in shared else step) for i, (name, step) in enumerate(self._steps)
        ]

    def restore(self, estimator: Any) -> None:
        """Put the real steps back, fitted."""
        estimator.steps = [(name, self.step(i)) for i, (name, _) in enumerate(estimator.steps)]

    def done(self) -> None:
        """Say that this fit needs what is kept no longer, and let go of its data."""
        self._part, self._steps, self._flow, self._fitting = (None, None), [], None, None  # they hold one another
        for prefix in self._cache.prefixes:
            if prefix.n_uses is not None:
                names = tuple(name_of(prefix, self._split, role) for role in ROLES)
                self._cache.store.used(names, prefix.n_uses)

    def step(self, i: int) -> Any:
        """Step `i`, fitted as far as the fit has come."""
        fitting = self._fitting
        if fitting is not None and i < fitting.n_found and fitting.kept_steps is not None:
            kept, fitting.kept_steps = fitting.kept_steps, None
            for k, step in enumerate(self._loaded(kept, fitting.n_found)):
                self._steps[k] = (self._steps[k][0], step)
        return self._steps[i][1]

    def _loaded(self, kept: packing.Packed, n_steps: int) -> list[Any]:
        try:
            return list(kept.value())
        except Exception:  # what cannot be read back is fitted after all
            X, y = self._part
            steps = [step for _, step in self._steps[:n_steps]]
            for step in steps:
                X = X if _is_passthrough(step) else _fit_transform(step, X, y)
            return steps

    def fit_transform(self, i: int, X: Any, y: Any) -> Any:
        """What step `i` makes of the training part."""
        if i == self._first:
            self._part = (X, y)
            self._flow = self._fitting = self._new_flow("fit", self._prefixes)
        assert self._flow is not None
        return self._flow.through(i, X, lambda: _fit_transform(self.step(i), X, y))

    def transform(self, i: int, X: Any) -> Any:
        """What the fitted step `i` makes of the test part, or of the training part once more."""
        assert self._fitting is not None
        if i == self._first:
            certain = tuple(prefix for prefix in self._prefixes if prefix.length <= self._fitting.n_certain)
            self._flow = self._new_flow("train" if X is self._part[0] else "test", certain, X)
        assert self._flow is not None
        return self._flow.through(i, X, lambda: self.step(i).transform(X))

    def _new_flow(self, role: str, prefixes: tuple[Prefix, ...], *inputs: Any) -> Flow:
        return Flow(self._cache.store, self._split, prefixes, role, inputs or self._part, self.step)


def _is_passthrough(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _fit_transform(step: Any, X: Any, y: Any) -> Any:
    return step.fit_transform(X, y) if hasattr(step, "fit_transform") else step.fit(X, y).transform(X)


class _StandIn:
    """Takes the place of one step of a pipeline: what is kept comes from the fit, all else from the step."""

    def __init__(self, fit: _Fit, i: int, step: Any) -> None:
        self._fit = fit
        self._i = i
        self._step = step

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """As the step's."""
        assert not params
        return self._fit.fit_transform(self._i, X, y)

    def transform(self, X: Any, **params: Any) -> Any:
        """As the step's."""
        assert not params
        return self._fit.transform(self._i, X)

    def __sklearn_tags__(self) -> Any:
        return self._step.__sklearn_tags__()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(self._step, name):  # what is there before fitting: no need to load
            return getattr(self._step, name)
        return getattr(self._fit.step(self._i), name)


class _WithRealSteps:
    """A scorer that is shown the pipeline with its real steps."""

    def __init__(self, scorer: Any, fit: _Fit) -> None:
        self._scorer = scorer
        self._fit = fit

    def __call__(self, estimator: Any, *args: Any, **kwargs: Any) -> Any:
        self._fit.restore(estimator)
        return self._scorer(estimator, *args, **kwargs)


class _MultimetricWithRealSteps(_MultimetricScorer):
    def __init__(self, scorer: Any, fit: _Fit) -> None:
        super().__init__(scorers=scorer._scorers, raise_exc=scorer._raise_exc)
        self._fit = fit

    def __call__(self, estimator: Any, *args: Any, **kwargs: Any) -> Any:
        self._fit.restore(estimator)
        return super().__call__(estimator, *args, **kwargs)


def _with_real_steps(scorer: Any, fit: _Fit) -> Any:
    """`scorer`, or where it may look at the steps of a pipeline one that puts them back first."""
    if type(scorer) in _ASK_ONLY:
        return scorer
    if type(scorer) is _MultimetricScorer:
        ask_only = all(type(one) in _ASK_ONLY for one in scorer._scorers.values())
        return scorer if ask_only else _MultimetricWithRealSteps(scorer, fit)
    return _WithRealSteps(scorer, fit)
