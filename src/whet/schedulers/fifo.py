"""First in, first out: every trial runs to its end."""

from __future__ import annotations

from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New
from whet.errors import SearchExhausted


class Fifo:
    """Starts a new trial wherever there is a free slot."""

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
