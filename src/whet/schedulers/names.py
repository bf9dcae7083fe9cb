"""Schedulers by the names that users type, and whether one can spend the budget of a problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.core.problem import Problem
from whet.core.protocols import Scheduler
from whet.core.registry import Registry, called
from whet.errors import UsageError
from whet.schedulers.fifo import Fifo

SCHEDULERS: dict[str, type[Scheduler]] = {
    "none": Fifo,
}
_ALIASES = {
    "fifo": "none",
    "sha": "successive_halving",
    "median_stopping": "median",
}
_REGISTRY: Registry[Scheduler] = Registry("scheduler", SCHEDULERS, _ALIASES, "asha(eta=4)")

# From what users type or give to a scheduler, and back; see `Registry`.
plain_name = _REGISTRY.plain_name
scheduler_named = _REGISTRY.named
described = _REGISTRY.described


def scheduler_from(given: object) -> Scheduler:
    """Return the scheduler that *given* is or names; for ``None`` the one that lets every trial run to its end.

    Raises:
        UsageError: it is none, and names none.
    """
    if given is None:
        return Fifo()
    if isinstance(given, str):
        return scheduler_named(given)
    if isinstance(given, type) or not hasattr(given, "assign") or not hasattr(given, "decide"):
        raise UsageError(
            f"a scheduler is a name ({', '.join(SCHEDULERS)}) or an object with `assign` and `decide`, got {given!r}"
        )
    scheduler: Scheduler = given
    return scheduler


def check_scheduler(scheduler: Scheduler, problem: Problem, lookahead: int | None) -> None:
    """See that *scheduler* can do with what *problem* has; one of a user's own may do anything.

    Raises:
        UsageError: it cannot; the message says what is missing.
    """
    del scheduler, problem, lookahead


def scheduler_settings(scheduler: Scheduler) -> dict[str, Any]:
    """Return what a study keeps of its scheduler in its settings, as JSON; see :func:`scheduler_of`."""
    return {"scheduler": _REGISTRY.name_of(scheduler), "scheduler_options": _REGISTRY.options_of(scheduler)}


def scheduler_of(settings: Mapping[str, Any]) -> Scheduler:
    """Return the scheduler that a study was made with, from its settings.

    Raises:
        UsageError: it was one of the user's own, or is none of this version's.
    """
    name = settings.get("scheduler", "none")
    if name not in SCHEDULERS:
        raise UsageError(
            f"the study was made with the scheduler {name!r}, which is none of whet's ({', '.join(SCHEDULERS)}): "
            f"give it again, as in whet.load(…, scheduler={name}())"
        )
    return _REGISTRY.made(name, settings.get("scheduler_options", {}))


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return the scheduler of a study as `described`, from its settings."""
    return called(str(settings.get("scheduler", "none")), settings.get("scheduler_options", {}))
