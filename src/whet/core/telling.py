"""What the one who runs a trial says of it: reports, its value, its failure. What a study does with that."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

from whet.core.annotating import trial_number
from whet.core.ending import decided, end_drafts, kind_of
from whet.core.events import Draft, Kind
from whet.core.ledger import Ledger
from whet.core.protocols import Decision, Scheduler
from whet.core.trial import Cause, State, Trial
from whet.core.values import Told, metrics_of, number_of, verdict_on
from whet.errors import LateReportWarning, StaleAttempt, StateError, UsageError


def report(ledger: Ledger, scheduler: Scheduler, trial: Trial | int, values: Told, step: float) -> Decision:
    """Note what *trial* reports at *step*; return what it is to do, and end it where that is to stop.

    Raises:
        UsageError: a value or the step is no number, or the step is not finite.
        StaleAttempt: the attempt has ended before; see `_say` on one whose trial was taken over.
        StateError: the trial is not running.
    """
    metrics = metrics_of(values)
    running = _running(ledger, trial)
    at = number_of("the step", step)
    if not math.isfinite(at):
        raise UsageError(f"the step must be a finite number, such as the epochs done so far, got {step!r}")
    row = [at, *(metrics.get(name) for name in ledger.history.problem.metrics)]
    rows = [] if all(value is None for value in row[1:]) else [row]  # what says nothing is not to be taken for NaN
    if (
        _say(ledger, running, Draft(Kind.REPORTED, running.number, {"rows": rows}, running.token)).token
        != running.token
    ):
        return Decision.STOP
    decision, reason = decided(ledger.history, scheduler, running.number)
    if decision is not Decision.CONTINUE:
        payload: dict[str, Any] = {"values": metrics, "duration_s": ledger.took_s(running)}
        payload |= {"reason": reason} if reason else {}
        _say(ledger, running, Draft(kind_of(decision), running.number, payload, running.token))
    return decision


def tell(ledger: Ledger, scheduler: Scheduler, trial: Trial | int, values: Told) -> Trial:
    """Note the final *values* of *trial*; return it as it ended.

    Raises:
        UsageError: a value is no number, or not what the objective is.
        StaleAttempt: the attempt has ended before; see `_say` on one whose trial was taken over.
        StateError: the trial is not running.
    """
    verdict = verdict_on(values, ledger.history)
    running = _running(ledger, trial)
    payload: dict[str, Any] = {"values": verdict.values, "duration_s": ledger.took_s(running)}
    if verdict.cause is not None:
        payload |= {"cause": verdict.cause.value, "message": verdict.message}
        return _say(ledger, running, Draft(Kind.FAILED, running.number, payload, running.token))
    if ledger.history.problem.fidelity is not None:  # then it matters what it has reported so far
        ledger.catch_up()
        known = ledger.history.unfinished.get(running.number)
        if known is None or known.token != running.token:  # the store says so, and who it is that speaks
            return _say(ledger, running, Draft(Kind.COMPLETED, running.number, payload, running.token))
        running = known
    return _say(ledger, running, *end_drafts(ledger.history, scheduler, running, payload, time.time()))


def fail(ledger: Ledger, trial: Trial | int, cause: str, message: str) -> Trial:
    """Note that *trial* has failed; return it as it ended.

    Raises:
        UsageError: nobody knows that cause.
        StaleAttempt: the attempt has ended before; see `_say` on one whose trial was taken over.
        StateError: the trial is not running.
    """
    if cause not in set(Cause):
        raise UsageError(f"unknown cause {cause!r} (known: {', '.join(Cause)})")
    running = _running(ledger, trial)
    payload = {"cause": cause, "message": message, "duration_s": ledger.took_s(running)}
    return _say(ledger, running, Draft(Kind.FAILED, running.number, payload, running.token))


def _running(ledger: Ledger, trial: Trial | int) -> Trial:
    """Return the trial as it is known now; a `Trial` given speaks for its own attempt."""
    if isinstance(trial, Trial) and trial.token is not None:
        return trial
    ledger.catch_up()
    number = trial_number(trial)
    known = None if isinstance(trial, Trial) else ledger.history.unfinished.get(number)
    if known is None or known.token is None:
        state = "does not exist"
        if 0 <= number < ledger.history.n_numbers:
            now = ledger.trial(number).state
            state = "is not running" if now is State.RUNNING else f"is not running, but {now.value}"
        raise StateError(f"trial {number} of study {ledger.name!r} {state}; only a trial that ask() gave can report")
    return known


def _say(ledger: Ledger, speaker: Trial, *drafts: Draft) -> Trial:
    """Write *drafts*, which the attempt of *speaker* says, and return its trial.

    Where the trial was taken over or cancelled meanwhile they are refused with a warning, so that the worker lives on.

    Raises:
        StaleAttempt: the attempt has ended before.
    """
    is_written = not ledger.commit(drafts).refused
    now = ledger.trial(speaker.number)
    if is_written:
        return now
    what = (
        f"trial {speaker.number} of study {ledger.name!r}: this attempt is no longer the current one, so its "
        f"{drafts[-1].kind.value!r} was refused: {_why_stale(speaker, now)}"
    )
    if now.attempt == speaker.attempt and now.state not in (State.WAITING, State.CANCELLED):
        raise StaleAttempt(what)
    warnings.warn(what, LateReportWarning, stacklevel=4)
    return now


def _why_stale(speaker: Trial, now: Trial) -> str:
    """Return why the attempt of *speaker* has nothing more to say of its trial, which is *now* something else."""
    if now.attempt != speaker.attempt:
        return f"the trial was begun again (attempt {now.attempt}), as another process took it over, or it was resumed"
    match now.state:
        case State.STOPPED | State.PAUSED:
            reason = f" ({now.message})" if now.message else ""
            return (
                f"the scheduler has {now.state.value} it at what was said last{reason}; heed what report() returns, "
                "and go on, to tell() in the end, only where that is 'continue'"
            )
        case State.COMPLETED:
            return "it was told already"
        case State.FAILED:
            return "it has failed already"
        case State.CANCELLED:
            return "it was cancelled"
    return "the trial was taken from it, and waits to be run again"
