"""What schedulers that only stop trials have in common: who starts, what a trial has reported, what options may be."""

from __future__ import annotations

import math
import sys
from numbers import Real

import numpy as np

from whet.algorithms.cube import Floats
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.protocols import Assignment, Decision
from whet.core.trial import Trial
from whet.core.values import Take
from whet.errors import UsageError
from whet.points.rungs import reports_of, take_of
from whet.schedulers.fifo import Fifo


class Stopper:
    """Gives every trial the whole budget and stops those on which :meth:`verdict` has something to say."""

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return new trials, with the whole budget where there is a fidelity; see `Scheduler`."""
        return Fifo().assign(history, n, n_new)

    def decide(self, history: History, number: int) -> Decision:
        """Stop trial *number* or let it go on; see `Scheduler`."""
        return Decision.STOP if self.verdict(history, history.unfinished[number]) else Decision.CONTINUE

    def reason(self, history: History, number: int) -> str:
        """Return why trial *number* stops; see `Reasons`."""
        return self.verdict(history, history.unfinished[number])

    def verdict(self, history: History, trial: Trial) -> str:
        """Return why *trial*, which has just reported, is to stop; nothing where it goes on."""
        raise NotImplementedError("a scheduler that stops trials says which")


def reported(history: History, trial: Trial | Finished, take: Take | None = None) -> tuple[Floats, Floats]:
    """Return how far *trial* was at each of its reports, (k,), and the objective there, (k,), to be minimised.

    What a trial that began again has repeated counts once. Steps never fall: a report that comes late counts where the
    trial has got to. What is no number is infinite. *take* is that of the study, which need not be read for each of
    many trials.
    """
    if not trial.curve:
        return np.empty(0), np.empty(0)
    objective = history.problem.objectives[0]
    curve = trial.curve.once(trial.n_earlier)
    _, steps, values = reports_of(curve, history.problem, take_of(history) if take is None else take)
    signed = objective.sign * values[:, 0]
    reached = np.fmax.accumulate(steps)
    return np.where(np.isnan(reached), -math.inf, reached), np.where(np.isnan(signed), math.inf, signed)


def is_in_grace(grace: float | None, history: History, steps: Floats) -> bool:
    """Tell whether a trial that is at the last of *steps* is too young to be stopped."""
    if grace is None:
        grace = 0.0 if history.problem.fidelity is None else history.problem.fidelity.low
    return not len(steps) or bool(steps[-1] < grace)


def shown(value: float, history: History) -> str:
    """Return a value to be minimised as a person knows it."""
    return f"{history.problem.objectives[0].sign * value:.6g}"


def check_count(who: str, name: str, n: object) -> None:
    """See that the option *name* is a positive whole number.

    Raises:
        UsageError: it is not.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"{who}: {name} is a whole number from 1 on, got {n!r}")


def check_number(
    who: str, name: str, value: object, low: float = -sys.float_info.max, expected: str = "a number"
) -> None:
    """See that the option *name* is a finite number that is at least *low*.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) < math.inf:
        raise UsageError(f"{who}: {name} is {expected}, got {value!r}")


def check_grace(who: str, grace: object) -> None:
    """See that *grace* is a step.

    Raises:
        UsageError: it is not.
    """
    check_number(who, "grace", grace, 0.0, "a step from 0 on, before which nothing stops")
