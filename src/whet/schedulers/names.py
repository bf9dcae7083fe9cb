"""Schedulers by the names that users type, and whether one can spend the budget of a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.core.problem import Problem
from whet.core.protocols import Scheduler
from whet.core.registry import BOHB, Registry, called
from whet.errors import UsageError
from whet.schedulers.asha import ASHA
from whet.schedulers.fifo import Fifo
from whet.schedulers.freeze_thaw import FreezeThaw
from whet.schedulers.hyperband import Hyperband
from whet.schedulers.ladder import Ladder
from whet.schedulers.median import Median, Percentile
from whet.schedulers.racing import Racing
from whet.schedulers.stopper import Stopper
from whet.schedulers.stops import Divergence, Patience, Threshold
from whet.schedulers.successive_halving import SuccessiveHalving
from whet.schedulers.together import Together, parts_of
from whet.space.plain import shortened

SCHEDULERS: dict[str, type[Scheduler]] = {
    "none": Fifo,
    "asha": ASHA,
    "successive_halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "median": Median,
    "percentile": Percentile,
    "patience": Patience,
    "threshold": Threshold,
    "divergence": Divergence,
    "racing": Racing,
    "freeze_thaw": FreezeThaw,
}
_ALIASES = {
    "fifo": "none",
    "sha": "successive_halving",
    "median_stopping": "median",
    "plateau": "patience",
    "wilcoxon": "racing",
}
_REGISTRY: Registry[Scheduler] = Registry("scheduler", SCHEDULERS, _ALIASES, "asha(eta=4)", BOHB)

# Those that say how far a trial may go, and so need to know how far there is.
_SPENDING = (ASHA, SuccessiveHalving, Hyperband, FreezeThaw)
_PAUSING = ("successive_halving", "hyperband", "freeze_thaw")  # always; `asha` only of type "promotion"
_ALONE = (Threshold, Divergence, Patience)  # these compare a trial with no other
_OF_ONE_OBJECTIVE = ("median", "percentile", "threshold", "divergence", "patience", "racing", "freeze_thaw")

plain_name = _REGISTRY.plain_name


def scheduler_named(text: str) -> Scheduler:
    """Return a new one, from its name, ``name(option=value, …)``, or several of these with ``+`` between them.

    Raises:
        UsageError: nobody has that name, or it has no such option; the message lists those that exist.
    """
    parts = _parts_of(text)
    for i, part in enumerate(parts):
        if len(parts) > 1 and not part.strip():
            where = (
                "before the first plus" if not i else "behind the last plus" if i == len(parts) - 1 else "between two"
            )
            raise UsageError(
                f"{shortened(repr(text))}: the name of a scheduler is missing {where}, as in 'asha + patience'"
            )
    named = [_REGISTRY.named(part) for part in parts]
    return named[0] if len(named) == 1 else Together(named)


def described(scheduler: Scheduler) -> str:
    """Return the text from which :func:`scheduler_named` makes one like *scheduler*: ``asha(eta=4) + patience``."""
    if isinstance(scheduler, Together):
        return " + ".join(_REGISTRY.described(part) for part in scheduler.parts)
    return _REGISTRY.described(scheduler)


def _parts_of(text: str) -> list[str]:
    """Return what stands between the plus signs that are in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def scheduler_from(given: object) -> Scheduler:
    """Return the scheduler that *given* is or names; for ``None`` the one that lets every trial run to its end.

    Several in a list work together, as do ``"asha + patience"``.

    Raises:
        UsageError: it is none, and names none.
    """
    if given is None:
        return Fifo()
    if isinstance(given, str):
        return scheduler_named(given)
    if isinstance(given, list | tuple) and given:
        parts = [scheduler_from(part) for part in given]
        return parts[0] if len(parts) == 1 else Together(parts)
    if isinstance(given, type) or not hasattr(given, "assign") or not hasattr(given, "decide"):
        raise UsageError(
            f"a scheduler is a name ({', '.join(SCHEDULERS)}), an object with `assign` and `decide`, or a list of them "
            f"to work together, got {given!r}"
        )
    scheduler: Scheduler = given
    return scheduler


def lookers(scheduler: Scheduler) -> list[str]:
    """Return the names of the parts of *scheduler*, if all that they do is to end trials on the way by their reports.

    None where one of them gives trials a small budget first, or is a user's own.
    """
    busy = [part for part in parts_of(scheduler) if not isinstance(part, Fifo)]
    return [_REGISTRY.name_of(part) for part in busy] if all(map(_only_looks, busy)) else []


def _only_looks(part: Scheduler) -> bool:
    return _REGISTRY.has(part) and (isinstance(part, Stopper) or getattr(part, "type", "") == "stopping")


def compares(scheduler: Scheduler) -> bool:
    """Tell whether *scheduler*, or one of its parts, ends trials that do worse than others at the same point."""
    return any(bool(lookers(part)) and not isinstance(part, _ALONE) for part in parts_of(scheduler))


def check_scheduler(scheduler: Scheduler, problem: Problem, lookahead: int | None) -> None:
    """See that *scheduler* can do with what *problem* has; one of a user's own may do anything.

    Raises:
        UsageError: it cannot; the message says what is missing.
    """
    for place, part in enumerate(parts_of(scheduler)):
        if not _REGISTRY.has(part):
            continue
        name = _REGISTRY.name_of(part)
        if place and isinstance(part, _SPENDING):
            raise UsageError(f"{name} says how far trials go, so it comes first of several: '{name} + …'")
        _check_problem(name, part, problem)
        pauses = name in _PAUSING or getattr(part, "type", "") == "promotion"
        if lookahead is not None and pauses:
            raise UsageError(
                f"{_REGISTRY.described(part)} pauses trials, and which of them go on depends on who is faster, which a "
                "deterministic study rules out: take one that only stops trials, as asha(type=stopping) or median, or "
                "leave out deterministic=True or --deterministic"
            )


def _check_problem(name: str, scheduler: Scheduler, problem: Problem) -> None:
    n = len(problem.objectives)
    if name in _OF_ONE_OBJECTIVE and n != 1:
        raise UsageError(
            f"{name} needs exactly one objective, as in objective='minimize' or --objective val_loss:min, got {n}"
            + ("; asha takes any number" if n else "")
        )
    if isinstance(scheduler, _SPENDING):
        Ladder(name, scheduler.eta).levels(problem)


def scheduler_settings(scheduler: Scheduler) -> dict[str, Any]:
    """Return what a study keeps of its scheduler in its settings, as JSON; see :func:`scheduler_of`."""
    if isinstance(scheduler, Together):
        return {"scheduler": described(scheduler), "scheduler_options": {}}
    return {"scheduler": _REGISTRY.name_of(scheduler), "scheduler_options": _REGISTRY.options_of(scheduler)}


def scheduler_of(settings: Mapping[str, Any]) -> Scheduler:
    """Return the scheduler that a study was made with, from its settings.

    Raises:
        UsageError: it was one of the user's own, or is none of this version's.
    """
    text = settings.get("scheduler", "none")
    names = [_REGISTRY.split(part)[0] for part in _parts_of(text)]
    unknown = [name for name in names if name.strip() not in SCHEDULERS]
    if unknown:
        example = f"{unknown[0].strip()}()" if len(names) == 1 else "[…, …]"
        raise UsageError(
            f"the study was made with the scheduler {text!r}, which is none of whet's ({', '.join(SCHEDULERS)}): "
            f"give it again, as in whet.load(…, scheduler={example})"
        )
    if len(names) > 1:
        return scheduler_named(text)
    return _REGISTRY.made(text, settings.get("scheduler_options", {}))


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the scheduler of a study as `described`, from its settings."""
    return called(str(settings.get("scheduler", "none")), settings.get("scheduler_options", {}))
