"""Fitting step by step: by epochs of ``partial_fit``, or by ``warm_start`` and a number that grows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

_GROW = ("n_estimators", "max_iter")
_N_EPOCHS = 100  # where the estimator does not say
_N_PARTS = 20  # each costs a look at the data, and of most ensembles a prediction


def growing(estimator: Any, grow: str | None) -> str | None:
    """Return the parameter of *estimator* that grows, or None where its ``partial_fit`` is called.

    Args:
        estimator: what is fitted step by step.
        grow: the parameter if a person named it.

    Raises:
        TypeError: *estimator* cannot be fitted step by step.
        ValueError: *grow* is none of its parameters, or it is not clear which one grows.
    """
    if grow is None and hasattr(estimator, "partial_fit"):
        return None
    parameters = estimator.get_params(deep=False)
    if "warm_start" not in parameters:
        raise TypeError(_refusal(estimator, parameters))
    if grow is not None:
        if grow not in parameters:
            raise ValueError(f"grow={grow!r} is no parameter of {estimator}; it has {', '.join(sorted(parameters))}")
        return grow
    found = [name for name in _GROW if name in parameters]
    if len(found) != 1:
        raise ValueError(
            f"which parameter of {estimator} grows from step to step is not clear: it has "
            f"{' and '.join(found) or 'neither n_estimators nor max_iter'}; name one, grow="
            f'"{found[0] if found else "..."}"'
        )
    return found[0]


def _refusal(estimator: Any, parameters: dict[str, Any]) -> str:
    """Say what EarlyStopping expects and what to do with *estimator*, which is not that."""
    name = type(estimator).__name__
    expected = (
        "EarlyStopping expects an estimator that has partial_fit, or warm_start and a whole number that grows "
        f"(n_estimators, max_iter, or the one that grow names), and {name} has neither"
    )
    if "steps" in parameters:
        return f"{expected}. Put EarlyStopping inside: make_pipeline(..., EarlyStopping(last_step))"
    if "estimator" in parameters or "regressor" in parameters:
        return f"{expected}. Put EarlyStopping inside: {name}(EarlyStopping(...))"
    return expected


def epochs(model: Any, n_steps: int | None, epoch: Callable[[], tuple[Any, Any, dict[str, Any]]]) -> Iterator[None]:
    """Train *model* by an epoch of ``partial_fit`` a step.

    Args:
        model: an estimator that has ``partial_fit``.
        n_steps: how many at most; None for its own ``max_iter``, or 100.
        epoch: gives X, y and what else there is to pass, in the order of the next epoch.
    """
    if n_steps is None:
        n_steps = _whole(model, "max_iter") if "max_iter" in model.get_params(deep=False) else _N_EPOCHS
    for _ in range(n_steps):
        X, y, params = epoch()
        model.partial_fit(X, y, **params)
        yield


def growth(model: Any, grow: str, n_steps: int | None, X: Any, y: Any, params: dict[str, Any]) -> Iterator[None]:
    """Train *model* by ``warm_start`` up to the value that its parameter *grow* has, until it ends by itself.

    Most estimators count what they have already in *grow*; what iterates (``max_iter``) goes on for as many again.

    Args:
        model: an estimator that has ``warm_start``, which is set, and *grow*, which is changed.
        grow: name of the parameter.
        n_steps: in so many equal parts; None for 20.
        X: what it is fitted to.
        y: its targets, or None.
        params: what else there is to pass.
    """
    most = _whole(model, grow)
    size = ceil(most / (n_steps or _N_PARTS))
    for before in range(0, most, size):
        upto = min(before + size, most)
        n = upto - before if before and goes_on(model, grow) else upto
        model.set_params(**{"warm_start": True, grow: n})
        with warnings.catch_warnings():
            if upto < most:
                warnings.simplefilter("ignore", ConvergenceWarning)  # it has had no chance to
            warnings.filterwarnings(
                "ignore", "class_weight presets"
            )  # not for warm_start with other data: it is the same
            model.fit(X, y, **params)
        yield
        if _ended(model, grow, n):
            return


def goes_on(model: Any, grow: str) -> bool:
    """Return whether the fitted *model* goes on for *grow* more, rather than up to *grow* in all."""
    return grow == "max_iter" and not hasattr(model, "n_trees_per_iteration_")  # histogram gradient boosting


def state_of(model: Any, grow: str | None) -> Any:
    """Return a copy of *model* that further steps do not change.

    The members of an ensemble are shared: ``warm_start`` adds to them and changes none.
    """
    members = () if grow is None or goes_on(model, grow) else np.ravel(getattr(model, "estimators_", ()))
    return deepcopy(model, {id(member): member for member in members})


def _whole(model: Any, name: str) -> int:
    """Return the parameter *name*, the most that there will be.

    Raises:
        ValueError: it is no whole number from 1 on.
    """
    value = model.get_params(deep=False)[name]
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} of {model} has to be a whole number from 1 on, the most there will be, not {value!r}")
    return int(value)


def _ended(model: Any, grow: str, n: int) -> bool:
    """Return whether *model* used fewer than the *n* it was allowed, as it converged or stopped by itself."""
    used = getattr(model, "n_iter_" if grow == "max_iter" else f"{grow}_", None)
    return used is not None and bool(np.max(used) < n)
