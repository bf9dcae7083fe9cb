"""What a store holds that whet has not written, looked for where something made no sense.

Commands take what a store holds as whet writes it. Where that fails, this says which study, and which trial.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from whet.cli.script import ScriptRun
from whet.core.jsontext import MISREAD
from whet.core.problem import Problem
from whet.core.protocols import Store, StudyRecord
from whet.core.trial import State, Trial
from whet.core.values import Rules
from whet.errors import WhetError
from whet.samplers.names import sampler_of
from whet.schedulers.names import scheduler_of
from whet.stopping import Limits
from whet.text import one_line

_PAGE = 250
_SETTINGS = {
    "seed": int,
    "repeats": int,
    "lookahead": int | None,
    "n_trials": int,
    "lease_s": float,
    "first": Sequence[Mapping[str, Any]],
}


def oddity(store: Store) -> str:
    """Return the first thing in *store* that whet has not written, in words; empty if nothing is found."""
    try:
        studies = store.studies()
    except (*MISREAD, WhetError) as error:
        return _words(error)
    return next((f"study {study.name!r}: {found}" for study in studies if (found := _of_study(store, study))), "")


def _of_study(store: Store, study: StudyRecord) -> str:
    try:
        return next(_oddities(store, study), "")
    except (*MISREAD, WhetError) as error:
        return _words(error)


def _oddities(store: Store, study: StudyRecord) -> Iterator[str]:
    settings = study.settings
    problem = Problem.from_json(settings["problem"])
    for metric in (*problem.objectives, *problem.constraints):
        yield from _misfits(metric, "an objective or constraint")
    for name, hint in _SETTINGS.items():
        if name in settings and not fits(settings[name], hint):
            yield f"its {name} is {_shown(settings[name])}"
    if settings["seed"] < 0 or settings.get("repeats", 1) < 1:
        yield "its seed or its repeats are negative"
    yield from _misfits(Limits(**settings.get("limits", {})), "a limit")
    yield from _misfits(Rules.from_json(settings.get("rules", {})), "a rule")
    sampler_of(settings)
    scheduler_of(settings)
    if settings.get("run") is not None:
        run = ScriptRun.from_settings(settings)
        yield from _misfits(run, "the program's")
        yield from _misfits(run.program, "the program's")
        yield from _misfits(run.surroundings, "the program's")
    yield from (found for trial in _trials(store, study) for found in _of_trial(trial, problem))
    best = store.summary(study.id).best
    if best is not None and best.config is None:
        yield f"trial {best.number} is the best and has no config"
    store.load(study.id)


def _trials(store: Store, study: StudyRecord) -> Iterator[Trial]:
    after = -1
    while page := store.trials(study.id, after=after, limit=_PAGE):
        yield from page
        after = page[-1].number


def _of_trial(trial: Trial, problem: Problem) -> Iterator[str]:
    yield from _misfits(trial, f"trial {trial.number}'s")
    yield from _misfits(trial.curve, f"trial {trial.number}'s")
    width = trial.curve.width
    if width < 0 or (width == 0) != (not trial.curve.packed) or len(trial.curve.packed) % (8 * width or 1):
        yield f"trial {trial.number}'s reports are no rows of {width} numbers"
    if trial.config is not None and not trial.config.keys() <= set(problem.space):
        yield f"trial {trial.number}'s config has other names than the space: {_shown(trial.config)}"
    if trial.state is State.COMPLETED and (
        not trial.config or any(objective.name not in trial.values for objective in problem.objectives)
    ):
        yield f"trial {trial.number} is completed, and has no config or no value"


def _misfits(one: Any, what: str) -> Iterator[str]:
    for name, hint in get_type_hints(type(one)).items():
        if hasattr(one, name) and not fits(getattr(one, name), hint):
            yield f"{what} {name} is {_shown(getattr(one, name))}"


def fits(value: object, hint: Any) -> bool:
    """Tell whether *value* is of the type that an annotation says, its items included."""
    kind, inside = get_origin(hint), get_args(hint)
    if hint is Any or kind is Literal:
        return hint is Any or value in inside
    if kind in (Union, types.UnionType):
        return any(fits(value, one) for one in inside)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is None:
        return not isinstance(hint, type) or isinstance(value, hint)
    if not isinstance(value, kind) or isinstance(value, str):
        return False
    if isinstance(value, Mapping):
        return not inside or all(fits(key, inside[0]) and fits(item, inside[1]) for key, item in value.items())
    if not isinstance(value, Sequence) or not inside:
        return True
    if kind is tuple and inside[-1] is not Ellipsis:
        return len(value) == len(inside) and all(map(fits, value, inside))
    return all(fits(item, inside[0]) for item in value)


def _words(error: Exception) -> str:
    text = str(error) if isinstance(error, WhetError) else f"it cannot be understood ({type(error).__name__}: {error})"
    return one_line(text)


def _shown(value: object) -> str:
    try:
        return one_line(repr(value), 60)
    except (RecursionError, ValueError):  # an int of too many digits
        return "too large to be shown"
