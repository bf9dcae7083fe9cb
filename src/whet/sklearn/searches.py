"""The searches of scikit-learn, with `Searching.fit` in the place of its own.

Their signatures, attributes and semantics are scikit-learn's, and so are their results. `Searching` says what is added.
"""

# ruff: noqa: PLR0913 - scikit-learn's signatures

from __future__ import annotations

import os
from inspect import getdoc
from typing import Any, TypeVar

import numpy as np
from sklearn.model_selection import GridSearchCV as _GridSearchCV
from sklearn.model_selection import RandomizedSearchCV as _RandomizedSearchCV
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV as _HalvingGridSearchCV
from sklearn.model_selection._search_successive_halving import HalvingRandomSearchCV as _HalvingRandomSearchCV

from whet.sklearn.searching import OPTIONS, RACING, Searching

_Kind = TypeVar("_Kind", bound=type)


def _documented(kind: _Kind) -> _Kind:
    """Let *kind* say of its parameters and attributes what scikit-learn's class says, and ours, also in notebooks."""
    kind.__doc__ = f"{getdoc(kind)}\n\n{getdoc(Searching)}\n\n{getdoc(kind.__base__)}"
    return kind


@_documented
class GridSearchCV(_GridSearchCV, Searching):
    """Every combination of listed values, cross-validated; see ``sklearn.model_selection.GridSearchCV``."""

    _parameter_constraints: dict[str, Any] = {**_GridSearchCV._parameter_constraints, **OPTIONS, **RACING}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: Any = 0,
        pre_dispatch: Any = "2*n_jobs",
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
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.cache = cache
        self.racing = racing
        self.store = store
        self.name = name
        self.resume = resume
        self.timeout = timeout
        self.fit_timeout = fit_timeout
        self.progress = progress
        self.complexity = complexity


@_documented
class RandomizedSearchCV(_RandomizedSearchCV, Searching):
    """A number of drawn candidates, cross-validated; see ``sklearn.model_selection.RandomizedSearchCV``."""

    _parameter_constraints: dict[str, Any] = {**_RandomizedSearchCV._parameter_constraints, **OPTIONS, **RACING}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: Any = 10,
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
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.cache = cache
        self.racing = racing
        self.store = store
        self.name = name
        self.resume = resume
        self.timeout = timeout
        self.fit_timeout = fit_timeout
        self.progress = progress
        self.complexity = complexity


@_documented
class HalvingGridSearchCV(_HalvingGridSearchCV, Searching):
    """Every combination on few resources, the better ones on more; see scikit-learn's ``HalvingGridSearchCV``."""

    _parameter_constraints: dict[str, Any] = {**_HalvingGridSearchCV._parameter_constraints, **OPTIONS}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        factor: Any = 3,
        resource: Any = "n_samples",
        max_resources: Any = "auto",
        min_resources: Any = "exhaust",
        aggressive_elimination: Any = False,
        cv: Any = 5,
        scoring: Any = None,
        refit: Any = True,
        error_score: Any = np.nan,
        return_train_score: Any = True,
        random_state: Any = None,
        n_jobs: Any = None,
        verbose: Any = 0,
        cache: str | os.PathLike[str] | None = None,
        store: Any = None,
        name: str | None = None,
        resume: bool = False,
        timeout: float | None = None,
        fit_timeout: float | None = None,
        progress: bool = False,
        complexity: Any = None,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            factor=factor,
            resource=resource,
            max_resources=max_resources,
            min_resources=min_resources,
            aggressive_elimination=aggressive_elimination,
            cv=cv,
            scoring=scoring,
            refit=refit,
            error_score=error_score,
            return_train_score=return_train_score,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.cache = cache
        self.store = store
        self.name = name
        self.resume = resume
        self.timeout = timeout
        self.fit_timeout = fit_timeout
        self.progress = progress
        self.complexity = complexity


@_documented
class HalvingRandomSearchCV(_HalvingRandomSearchCV, Searching):
    """Drawn candidates on few resources, the better ones on more; see scikit-learn's ``HalvingRandomSearchCV``."""

    _parameter_constraints: dict[str, Any] = {**_HalvingRandomSearchCV._parameter_constraints, **OPTIONS}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_candidates: Any = "exhaust",
        factor: Any = 3,
        resource: Any = "n_samples",
        max_resources: Any = "auto",
        min_resources: Any = "smallest",
        aggressive_elimination: Any = False,
        cv: Any = 5,
        scoring: Any = None,
        refit: Any = True,
        error_score: Any = np.nan,
        return_train_score: Any = True,
        random_state: Any = None,
        n_jobs: Any = None,
        verbose: Any = 0,
        cache: str | os.PathLike[str] | None = None,
        store: Any = None,
        name: str | None = None,
        resume: bool = False,
        timeout: float | None = None,
        fit_timeout: float | None = None,
        progress: bool = False,
        complexity: Any = None,
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_candidates=n_candidates,
            factor=factor,
            resource=resource,
            max_resources=max_resources,
            min_resources=min_resources,
            aggressive_elimination=aggressive_elimination,
            cv=cv,
            scoring=scoring,
            refit=refit,
            error_score=error_score,
            return_train_score=return_train_score,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.cache = cache
        self.store = store
        self.name = name
        self.resume = resume
        self.timeout = timeout
        self.fit_timeout = fit_timeout
        self.progress = progress
        self.complexity = complexity
