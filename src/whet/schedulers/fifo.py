"""First in, first out: every trial runs to its end."""

from __future__ import annotations

from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Scheduler
from whet.errors import UsageError


class Fifo:
    """Starts a new trial wherever there is a free slot."""

    def assign(self, history: History, n: int) -> list[Assignment]:
        """Return *n* new trials, with the whole budget where there is a fidelity; see `Scheduler`."""
        fidelity = history.problem.fidelity
        return [New(None if fidelity is None else fidelity.high)] * n

    def decide(self, history: History, number: int) -> Decision:
        """Let every trial go on; see `Scheduler`."""
        del history, number
        return Decision.CONTINUE


def scheduler_from(given: object) -> Scheduler:
    """Return the scheduler that *given* is; for ``None`` the one that lets every trial run to its end.

    Raises:
        UsageError: it is none.
    """
    if given is None:
        return Fifo()
    if isinstance(given, (str, type)) or not hasattr(given, "assign") or not hasattr(given, "decide"):
        raise UsageError(
            f"a scheduler is an object with `assign` and `decide`, got {given!r}; "
            "schedulers by name (median, hyperband, asha) are still to come"
        )
    scheduler: Scheduler = given
    return scheduler
