"""Several schedulers at once: the first one spends the budget, and any of them may stop a trial."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.history import History
from whet.core.protocols import Assignment, AssignsSlowly, Decision, Reasons, Scheduler
from whet.errors import UsageError


class Together:
    """Lets the first of *parts* assign and pause, and stops a trial as soon as any of them says so.

    Args:
        parts: schedulers, two at least; what is together already counts as its parts.

    Raises:
        UsageError: there are fewer.
    """

    def __init__(self, parts: Sequence[Scheduler]) -> None:
        self.parts: tuple[Scheduler, ...] = tuple(part for given in parts for part in parts_of(given))
        if len(self.parts) < 2:
            raise UsageError(f"expected two schedulers or more to work together, got {len(self.parts)}")

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return what the first one assigns; see `Scheduler`."""
        return self.parts[0].assign(history, n, n_new)

    def assigner(self) -> Scheduler | None:
        """Return what assigns as the first one does, in a thread, if that is slow; see `AssignsSlowly`."""
        return self.parts[0].assigner() if isinstance(self.parts[0], AssignsSlowly) else None

    def decide(self, history: History, number: int) -> Decision:
        """Stop trial *number* if any of them does, else do what the first one says; see `Scheduler`."""
        return self._decided(history, number)[0]

    def reason(self, history: History, number: int) -> str:
        """Return what the one that stops or pauses trial *number* says of it; see `Reasons`."""
        part = self._decided(history, number)[1]
        return part.reason(history, number) if isinstance(part, Reasons) else ""

    def _decided(self, history: History, number: int) -> tuple[Decision, Scheduler]:
        """Return what trial *number* does, and who says so."""
        first = self.parts[0].decide(history, number)
        if first is not Decision.STOP:
            for part in self.parts[1:]:
                if part.decide(history, number) is Decision.STOP:
                    return Decision.STOP, part
        return first, self.parts[0]


def parts_of(scheduler: Scheduler) -> tuple[Scheduler, ...]:
    """Return the schedulers that *scheduler* puts together, or it alone."""
    return scheduler.parts if isinstance(scheduler, Together) else (scheduler,)
