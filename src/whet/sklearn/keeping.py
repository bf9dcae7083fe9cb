"""Where a search is kept, and whether what is found there by its name is the same search.

A search that goes on takes the results of fits that were made before. So all that those depend on has to be the same:
each part of it is kept as a digest with the study, and compared.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import sklearn
from sklearn.model_selection import RandomizedSearchCV
from sklearn.model_selection._search_successive_halving import BaseSuccessiveHalving, HalvingRandomSearchCV
from sklearn.model_selection._split import _yields_constant_splits

from whet.errors import StudyExists
from whet.sklearn.callers import caller
from whet.sklearn.fingerprints import digest, fingerprint
from whet.space.plain import shortened
from whet.storage.open import DEFAULT_STORE
from whet.storage.urls import without_password

if TYPE_CHECKING:
    from whet.core.problem import Problem
    from whet.core.protocols import Scheduler
    from whet.space.space import Space
    from whet.study import Study

_ANOTHER = "or give this search another name=, and all of its fits are run"
_KEPT = "search"  # among the settings of a study


@dataclass(frozen=True, slots=True)
class Place:
    """Where a search is kept.

    Attributes:
        store: a path or URL.
        name: of the study.
        resume: whether to go on with the study of that name, if there is one.
        parts: digests of what its fits depend on, by the words for each.
    """

    store: str
    name: str
    resume: bool
    parts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chooser:
    """Who chooses the configs of a study, and all that goes with that; see `Study`.

    Attributes:
        n_candidates: how many there are in the first batch, where the search says them.
        objects: that stand in configs by labels, by the name of the parameter.
        settings: more to keep with the study.
    """

    sampler: Any = "random"
    scheduler: Any = None
    fidelity: Any = None
    seed: int | None = 0
    n_candidates: int | None = None
    objects: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None

    def kept(self) -> dict[str, Any]:
        """Return what is kept of the candidates, to tell whether they are the same ones."""
        return {"n_candidates": self.n_candidates, "objects": {k: digest(of) for k, of in (self.objects or {}).items()}}


def place_of(
    search: Any, X: Any, y: Any, params: Mapping[str, Any], splits: Callable[[], Sequence[tuple[Any, Any]]]
) -> Place | None:
    """Return where *search* is kept, ``None`` where it is not.

    Raises:
        ValueError: it could never be resumed; the message says why.
    """
    if search.store is None and search.name is None:
        if search.resume:
            raise ValueError(
                "resume=True needs a search that is kept: give it a name=, by which it is found again in "
                f"{DEFAULT_STORE}, or a store= of its own"
            )
        return None
    _check_repeatable(search)
    store = DEFAULT_STORE if search.store is None else os.fspath(search.store)
    name = type(search).__name__ if search.name is None else search.name
    return Place(store, name, search.resume, fingerprint(search, X, y, params, splits()))


def _check_repeatable(search: Any) -> None:
    """See that *search*, begun again, has the same candidates and splits."""
    draws = isinstance(search, RandomizedSearchCV | HalvingRandomSearchCV)
    samples = isinstance(search, BaseSuccessiveHalving) and search.resource == "n_samples"
    if (draws or samples) and not isinstance(search.random_state, Integral):
        what = "candidates" if draws else "subsets of the samples"
        raise ValueError(
            f"A search that is kept (store=, name=) has to be the same when it goes on, and with random_state="
            f"{shortened(repr(search.random_state))} the {what} would be others each time. Set random_state to a "
            "whole number."
        )
    if not _yields_constant_splits(search._checked_cv_orig):
        raise ValueError(
            f"A search that is kept (store=, name=) has to be the same when it goes on, and cv="
            f"{shortened(repr(search._checked_cv_orig))} splits the data otherwise each time. Set its random_state to "
            "a whole number."
        )


# ---- the study
def opened_study(
    place: Place | None, name: str, space: Space, directions: Mapping[str, str], by: Chooser, stack: ExitStack
) -> Study:
    """Return the study of a search, in memory where there is no *place*; else nobody else runs it until *stack* ends.

    Trials that an earlier run of the search has begun and not ended wait.

    Raises:
        ValueError: there is a study of that name, and it is another search, or `Place.resume` is not set.
        StudyBusy: another process runs it.
    """
    from whet.study import Study, load  # heavy, and workers, which import this package, need none

    parts: dict[str, Any] = {"sampler": by.sampler, "scheduler": by.scheduler}
    new = {"fidelity": by.fidelity, "seed": by.seed, **parts}
    if place is None:
        return Study(space, directions, name=name, settings=by.settings, **new)
    kept = {"parts": dict(place.parts), "scikit-learn": sklearn.__version__, **by.kept()}
    try:
        made = Study(
            space, directions, store=place.store, name=place.name, settings={**(by.settings or {}), _KEPT: kept}, **new
        )
    except StudyExists:
        if not place.resume:
            raise StudyExists(
                f"There is a study {place.name!r} in {without_password(place.store)} already. Set resume=True to go on "
                f"with it where it is the same search, {_ANOTHER}"
            ) from None
    else:
        stack.enter_context(made.ledger.store.hold(made.ledger.study))
        return made
    study = load(place.name, place.store, **parts)
    stack.enter_context(study.ledger.store.hold(study.ledger.study))
    study.ledger.catch_up()
    _check_same(f"The study {place.name!r} in {without_password(place.store)}", study, kept, space, directions, by)
    _take_over(study)
    return study


def _take_over(study: Study) -> None:
    """Let the trials wait that were run by somebody who is gone, as this process is the one that runs the study."""
    import time

    from whet.core.asking import release_drafts, requeue_drafts

    history = study.ledger.history
    drafts = [
        *requeue_drafts(history, lambda owner: True, now=time.time),
        *release_drafts(history, lambda owner: True, now=time.time),
    ]
    if drafts:
        study.ledger.commit(drafts)


def _check_same(
    where: str, study: Study, kept: Mapping[str, Any], space: Space, directions: Mapping[str, str], by: Chooser
) -> None:
    """See that *study*, which was found *where* a message says, is the search that goes on.

    Raises:
        ValueError: it is another one; the message says what differs.
    """
    there = study.ledger.history.settings.get(_KEPT)
    if there is None:
        raise ValueError(f"{where} is none of a search of whet.sklearn. Give this search another name=")
    was, now = there["parts"], kept["parts"]
    lines = [f"{part}: {_missing(part, was, now)}" for part in {**was, **now} if was.get(part) != now.get(part)]
    lines += _changed_choice(study, there, kept, space, directions, by)
    if lines:
        text = "\n  ".join(lines)
        raise ValueError(f"{where} is another search:\n  {text}\nUndo the difference to go on with it, {_ANOTHER}.")
    if there["scikit-learn"] != kept["scikit-learn"]:
        warnings.warn(
            f"{where} was begun with scikit-learn {there['scikit-learn']} and goes on with {kept['scikit-learn']}, "
            "which may fit otherwise.",
            stacklevel=caller(),
        )


def _missing(part: str, was: Mapping[str, str], now: Mapping[str, str]) -> str:
    if part in was and part in now:
        return "is not what it was"
    return "was not there" if part in now else "is not there any more"


def _names(problem: Problem) -> str:
    return ", ".join(objective.name for objective in problem.objectives)  # all of them are maximized


def _changed_choice(
    study: Study,
    there: Mapping[str, Any],
    kept: Mapping[str, Any],
    space: Space,
    directions: Mapping[str, str],
    by: Chooser,
) -> list[str]:
    """Return in a line each what is chosen otherwise, and from what."""
    from whet.core.problem import problem_of
    from whet.samplers.names import sampler_from, sampler_settings
    from whet.schedulers.names import scheduler_from, scheduler_settings

    history = study.ledger.history
    problem = problem_of(space, directions, (), by.fidelity)
    lines = [f"candidates: {line}" for line in history.problem.space.difference(space)]
    n_were, n_are = there["n_candidates"], kept["n_candidates"]
    if n_were != n_are:
        lines.append(f"candidates: there were {n_were}, and are {n_are}")
    objects = {**there["objects"], **kept["objects"]}
    changed = [name for name in objects if there["objects"].get(name) != kept["objects"].get(name)]
    lines += [f"values of {name}: are not what they were" for name in changed]
    before, after = _names(history.problem), _names(problem)
    if before != after:
        lines.append(f"objectives: {before} before, {after} now")
    if history.problem.fidelity != problem.fidelity:
        lines.append(f"fidelity: {history.problem.fidelity} before, {problem.fidelity} now")
    spender: Scheduler = scheduler_from(by.scheduler)
    asked = {"scheduler": None, **sampler_settings(sampler_from(by.sampler)), **scheduler_settings(spender)}
    for what, after in asked.items():
        if history.settings.get(what) != after:
            lines.append(f"{what}: {history.settings.get(what)} before, {after} now")
    return lines
