"""First in, first out: every trial runs to its end."""

from __future__ import annotations

from typing import ClassVar

from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New
from whet.errors import SearchExhausted


class Fifo:
    """Starts a new trial wherever there is a free slot.

    Attributes:
        keeps_lost: a trial that reports NaN goes on, too.
    """

    keeps_lost: ClassVar[bool] = True

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return new trials, with the whole budget where there is a fidelity; see `Scheduler`."""
        if not n_new:
            raise SearchExhausted
        fidelity = history.problem.fidelity
        return [New(None if fidelity is None else fidelity.high)] * min(n, n_new)

    def decide(self, history: History, number: int) -> Decision:
        """Let every trial go on; see `Scheduler`."""
        del history, number
        return Decision.CONTINUE
