"""Who is told what happens in a run."""

from __future__ import annotations

from typing import Protocol

from whet.core.history import History
from whet.core.trial import Trial


class Observer(Protocol):
    """Is told what happens, and shows it."""

    def started(self, trial: Trial, history: History) -> None:
        """An attempt of *trial* begins."""

    def requeued(self, trial: Trial, history: History) -> None:
        """An attempt of *trial* has ended and the trial will run again; its ``message`` says why."""

    def paused(self, trial: Trial, history: History) -> None:
        """*trial* has reached its budget, and may be given more."""

    def ended(self, trial: Trial, history: History) -> None:
        """*trial* is in a final state."""

    def tick(self, history: History) -> None:
        """Up to a tenth of a second has passed."""

    def notice(self, text: str) -> None:
        """Something that a person should know."""
