"""Names of parameters that an estimator does not have, found before anything is fitted.

scikit-learn finds them when a fit sets them, which may be hours later: it raises where `check_candidates` does, with
the same error. A name is right or wrong with the steps that it is set together with, as searches may swap steps.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

if TYPE_CHECKING:
    from whet.sklearn.spaces import Searched

_MOST_TRIED = 1000  # combinations of steps that names are tried on; if one is wrong beyond that, the fits say so


def check_candidates(estimator: Any, candidates: Sequence[Mapping[str, Any]]) -> None:
    """See that *estimator* takes the parameters of every one of *candidates*, by their names.

    Raises:
        ValueError: it does not; scikit-learn's message, which lists those that there are, and what may be meant.
    """
    known = estimator.get_params()
    seen: set[Hashable] = set()
    doubtful: dict[tuple[str, ...], list[str]] = {}
    for candidate in candidates:
        names = tuple(candidate)
        if names not in doubtful:
            doubtful[names] = [name for name in names if name not in known or above(name, candidate)]
        if not doubtful[names]:
            continue
        swapped = {other for name in doubtful[names] for other in above(name, candidate)}
        key = names, tuple((other, id(candidate[other])) for other in sorted(swapped))
        if key in seen or len(seen) == _MOST_TRIED:
            continue
        seen.add(key)
        if not all(_is_taken(name, known, candidate) for name in doubtful[names]):
            _try(estimator, candidate, [name for name in doubtful[names] if name not in known], known)


def check_space(estimator: Any, within: Searched) -> None:
    """See that *estimator* has every parameter of the space, be it with another step that the space has for it.

    Raises:
        ValueError: it has not; the message lists those that it has.
    """
    known = estimator.get_params()
    for name in within.space:
        if name not in known:
            value = within.parameters({name: within.space[name].sample(np.random.default_rng(0))})[name]
            check_name(estimator, name, value, within)


def check_name(estimator: Any, name: str, value: Any, within: Searched) -> None:
    """See that *estimator* takes the parameter *name*, which it does not have as it is, be it with another step.

    Raises:
        ValueError: it does not.
    """
    swapped = above(name, within.objects)
    refusals = []
    for n_tried, values in enumerate(product(*(within.objects[other].values() for other in swapped))):
        if n_tried == _MOST_TRIED:
            return
        tried = {**dict(zip(swapped, values, strict=True)), name: value}
        try:
            clone(estimator).set_params(**clone(tried, safe=False))
        except Exception as error:  # whatever an estimator's own code raises
            refusals.append(error)
        else:
            return
    best = next((error for error in refusals if isinstance(error, ValueError)), refusals[0])
    raise ValueError(f"{name}: {best}{_meant([name], estimator.get_params())}") from best


def above(name: Any, names: Collection[str]) -> list[str]:
    """Return those of *names* that have, as ``step`` has ``step__param``, the part that has the parameter *name*."""
    parts = name.split("__") if isinstance(name, str) else []
    return [other for n in range(1, len(parts)) if (other := "__".join(parts[:n])) in names]


def _is_taken(name: str, known: Mapping[str, Any], candidate: Mapping[str, Any]) -> bool:
    """Tell whether *name* is certain to be right; asking costs less than setting it."""
    swapped = above(name, candidate)
    if not swapped:
        return name in known
    part = candidate[swapped[-1]]
    if isinstance(part, type) or not hasattr(part, "get_params"):
        return False
    return name.removeprefix(f"{swapped[-1]}__") in part.get_params()


def _try(estimator: Any, candidate: Mapping[str, Any], unknown: Sequence[str], known: Collection[str]) -> None:
    """Set the parameters of *candidate* on a copy, as a fit would."""
    try:
        clone(estimator).set_params(**clone(candidate, safe=False))
    except ValueError as error:
        if type(error) is not ValueError or not unknown:
            raise
        raise ValueError(f"{error}{_meant(unknown, known)}") from error


def _meant(unknown: Sequence[str], known: Collection[str]) -> str:
    """Say what may be meant by the *unknown* names of a search, as far as any comes close."""
    by_spelling = {name.lower(): name for name in known}
    close = {name: difflib.get_close_matches(name.lower(), by_spelling, n=1) for name in unknown}
    said = [f"{name!r}: did you mean {by_spelling[those[0]]!r}?" for name, those in close.items() if those]
    return f" In this search: {' '.join(said)}" if said else ""
