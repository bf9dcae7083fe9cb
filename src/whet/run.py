"""The run loop: one thread, one place, one tick.

A tick takes what the executor says and what other processes ask for, decides, commits everything in one transaction and
only then acts. It holds no state that the log does not hold, apart from handles on the attempts it has started itself.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotDoneYet
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from whet.attempts import Attempts
from whet.core.asking import ask_drafts, start_draft, waiting_numbers
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.owner import is_gone, this_process
from whet.core.protocols import Appended, Ended, Executor, Launch, New, Reported, Resume
from whet.core.randomness import replicate_seed
from whet.core.trial import State, Trial
from whet.errors import ExecutorError, SearchExhausted, StoreBusy, StoreFull
from whet.interrupts import Interrupts
from whet.stopping import Limits, reason_to_end
from whet.study import Study

How = Literal["interrupt", "terminate", "kill"]
Reason = Literal["done", "timeout", "target", "failures", "stopped", "interrupted", "terminated", "hangup", "broken"]

_POLL_S = 0.1
_POLL_WHILE_SUGGESTING_S = 0.01
_SUGGESTION_PATIENCE_S = 0.05  # a suggestion that is there by then goes into the same transaction
_COMMANDS_EVERY_S = 0.5
_STORE_PATIENCE_S = 60.0
_BY_SIGNAL: Mapping[int, tuple[Reason, How]] = {
    signal.SIGINT: ("interrupted", "interrupt"),
    signal.SIGTERM: ("terminated", "terminate"),
    signal.SIGHUP: ("hangup", "terminate"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a run ended; in the case of ``"broken"``, ``message`` says what went wrong."""

    reason: Reason
    message: str = ""


class Observer(Protocol):
    """Is told what happens, and shows it."""

    def started(self, trial: Trial, history: History) -> None:
        """An attempt of *trial* begins."""

    def requeued(self, trial: Trial, history: History) -> None:
        """An attempt of *trial* has ended and the trial will run again; its ``message`` says why."""

    def ended(self, trial: Trial, history: History) -> None:
        """*trial* is in a final state."""

    def tick(self, history: History) -> None:
        """Up to a tenth of a second has passed."""

    def notice(self, text: str) -> None:
        """Something that a person should know."""


def run(study: Study, executor: Executor, observer: Observer, *, is_only_runner: bool = False) -> Outcome:
    """Run trials of *study* on *executor* until its limits are reached, nothing is left to ask, or someone ends it.

    What the study is to do (limits, rules) is in its settings. The caller holds the study (`Store.hold`) and closes
    the executor.

    Args:
        study: to run.
        executor: starts the attempts.
        observer: is told what happens.
        is_only_runner: nobody but who holds the study starts attempts of it, so that all that are in progress are left
            over from one who is gone. Otherwise only those are whose process certainly is.

    Raises:
        StoreError: the store cannot be written, and could not for a minute.
        StudyNotFound: somebody has deleted the study.
    """
    with Interrupts() as interrupts, ThreadPoolExecutor(1, "whet-suggest") as helper:
        return _Loop(study, executor, observer, interrupts, helper).run(is_only_runner=is_only_runner)


class _Loop:
    def __init__(
        self,
        study: Study,
        executor: Executor,
        observer: Observer,
        interrupts: Interrupts,
        helper: ThreadPoolExecutor,
    ) -> None:
        self._study, self._ledger = study, study.ledger
        self._executor, self._observer = executor, observer
        self._interrupts, self._helper = interrupts, helper
        self._attempts = Attempts(self._ledger, study.scheduler)
        self._live = self._attempts.live
        self._numbers: list[int] = []  # reserved and not asked yet
        self._suggesting: Future[list[Draft]] | None = None
        self._is_exhausted = False
        self._is_settled = False  # the last tick changed nothing
        self._ending: Outcome | None = None
        self._stops: list[tuple[str, How]] = []  # to be carried out after the commit
        self._began = time.monotonic()
        self._looked_at_commands = self._began
        self._n_before = self._ledger.history.n_finished

    def run(self, *, is_only_runner: bool) -> Outcome:
        self._commit(self._adopt(is_only_runner=is_only_runner))
        try:
            while self._is_busy():
                self._tick()
        finally:
            if self._suggesting is not None:
                self._suggesting.cancel()
        self._commit([Draft(Kind.RELEASED, number, time=time.time()) for number in self._numbers])
        return self._ending or Outcome("done")

    def _is_busy(self) -> bool:
        if self._live:
            return True
        return self._ending is None and (bool(waiting_numbers(self._ledger.history)) or self._may_ask())

    def _tick(self) -> None:
        happenings = self._executor.poll(self._poll_s())
        self._heed_signals()
        drafts = self._obey_commands()
        reports, unwanted = self._attempts.reports([h for h in happenings if isinstance(h, Reported)])
        self._stops += [(token, "terminate") for token in unwanted]
        drafts += reports
        drafts += self._attempts.endings([h for h in happenings if isinstance(h, Ended)])
        known = self._ledger.preview(drafts)
        self._heed_limits(known)
        if self._ending is None:
            drafts += self._fill(known)
        reserve = self._n_to_reserve() if self._ending is None else 0
        self._is_settled = not drafts and not reserve
        if not self._is_settled:
            appended = self._commit(drafts, reserve)
            self._numbers = sorted({*self._numbers, *appended.numbers})
            self._act(appended)
        for token, how in self._stops:
            self._executor.stop(token, how)
        self._stops.clear()
        self._observer.tick(self._ledger.history)

    def _poll_s(self) -> float:
        if self._suggesting is not None:
            return _POLL_WHILE_SUGGESTING_S
        has_work = self._ending is None and len(self._live) < self._executor.slots
        return 0.0 if has_work and not self._is_settled else _POLL_S

    # ---- before the first tick
    def _adopt(self, *, is_only_runner: bool) -> list[Draft]:
        """Return drafts that tidy up after processes that are gone: their claims, their attempts, their commands."""
        drafts = []
        history = self._ledger.history
        now = time.time()
        for trial in history.unfinished.values():
            # A process id may be another process's by now, and a container's host name another one's.
            if trial.owner is None or not (is_only_runner or is_gone(trial.owner)):
                continue
            if trial.is_reserved:
                drafts.append(Draft(Kind.RELEASED, trial.number, time=now))
            elif trial.state is State.RUNNING:
                reason = "the process that ran it is gone"
                drafts.append(Draft(Kind.REQUEUED, trial.number, {"reason": reason, "counts": False}, time=now))
        for seq, payload in history.pending_commands.items():
            if payload.get("command") == "stop":
                drafts.append(_outcome(seq, "nobody was running the study"))
        return drafts

    # ---- what ends the run
    def _heed_signals(self) -> None:
        for signum in self._interrupts.take():
            reason, how = _BY_SIGNAL[signum]
            if self._ending is None:
                self._end_run(Outcome(reason), how, "interrupted")
                self._observer.notice(_first_words(reason, len(self._live)))
            elif self._live and signum == signal.SIGINT:
                # Only a person is impatient: a closing terminal and a service manager may send a signal twice.
                self._observer.notice(f"ending {len(self._live)} running now")
                self._stops += [(token, "kill") for token in self._live]

    def _heed_limits(self, known: History) -> None:
        if self._ending is not None:
            return
        limits = Limits(**known.settings.get("limits", {}))
        reason = reason_to_end(limits, known, time.monotonic() - self._began, self._n_before)
        if reason is not None:
            self._end_run(Outcome(reason), "terminate", f"the run ended: {reason}")

    def _end_run(self, outcome: Outcome, how: How, reason: str) -> None:
        """Ask nothing more, and end what runs; those trials wait to be resumed."""
        self._ending = outcome
        for token, live in self._live.items():
            if live.intent is None:
                live.intent, live.reason = Kind.REQUEUED, reason
            self._stops.append((token, how))

    # ---- what others ask for
    def _obey_commands(self) -> list[Draft]:
        now = time.monotonic()
        if now - self._looked_at_commands >= _COMMANDS_EVERY_S:
            self._looked_at_commands = now
            self._ledger.catch_up()
        drafts: list[Draft] = []
        for seq, payload in self._ledger.history.pending_commands.items():
            drafts += self._obey(payload)
            drafts.append(_outcome(seq, "done"))
        return drafts

    def _obey(self, payload: Mapping[str, Any]) -> list[Draft]:
        match payload.get("command"):
            case "stop":
                if self._ending is None:
                    self._end_run(Outcome("stopped"), "terminate", "stopped")
            case "cancel":
                return self._cancel(payload["trial"])
            case "amend":
                self._is_exhausted = False
                return [Draft(Kind.AMENDED, None, {"settings": payload["settings"]})]
        return []

    def _cancel(self, number: int) -> list[Draft]:
        for token, live in self._live.items():
            if live.number == number:
                live.intent = Kind.CANCELLED
                self._stops.append((token, "terminate"))
        return cancel_drafts(self._ledger.history, number)

    # ---- filling free slots
    def _fill(self, known: History) -> list[Draft]:
        """Return drafts that ask for and start as many trials as there are free slots."""
        n_free = self._executor.slots - len(self._live)
        numbers = waiting_numbers(known)[:n_free] if n_free else []
        drafts: list[Draft] = []
        if len(numbers) < n_free:
            drafts = self._ask(known, n_free - len(numbers))
            asked = [draft.trial for draft in drafts if draft.kind is Kind.ASKED and draft.trial is not None]
            numbers += asked[: n_free - len(numbers)]
        return drafts + [start_draft(number, now=time.time) for number in numbers]

    def _ask(self, known: History, n: int) -> list[Draft]:
        """Return drafts for up to *n* new or resumed trials, as far as they are decided in time."""
        drafts: list[Draft] = []
        if self._suggesting is None:
            if not self._numbers:
                return []
            try:
                assigned = self._study.scheduler.assign(known, min(n, len(self._numbers)))
            except SearchExhausted:
                self._is_exhausted = True
                return []
            drafts = [
                Draft(Kind.RESUMED, a.number, {"budget": a.budget}, time=time.time())
                for a in assigned
                if isinstance(a, Resume)
            ]
            new = [a for a in assigned if isinstance(a, New)]
            if not new:
                return drafts
            self._suggesting = self._helper.submit(
                ask_drafts, known, self._study.sampler, self._numbers[: len(new)], new, now=time.time
            )
        try:
            asked = self._suggesting.result(_SUGGESTION_PATIENCE_S)
        except NotDoneYet:
            return drafts
        self._suggesting = None
        done = {draft.trial for draft in asked}
        self._numbers = [number for number in self._numbers if number not in done]
        self._is_exhausted |= any(draft.kind is Kind.RELEASED for draft in asked)
        return drafts + asked

    def _may_ask(self) -> bool:
        return not self._is_exhausted and (bool(self._numbers) or self._n_to_reserve() > 0)

    def _n_to_reserve(self) -> int:
        """Return how many numbers to reserve, so that there is one for each slot as long as the limit allows."""
        if self._is_exhausted:
            return 0
        history = self._ledger.history
        n_wanted = self._executor.slots - len(self._numbers)
        n_trials = Limits(**history.settings.get("limits", {})).n_trials
        if n_trials is None:
            return max(0, n_wanted)
        n_released = sum(trial.is_reserved and trial.owner is None for trial in history.unfinished.values())
        return max(0, min(n_wanted, n_trials * history.repeats - history.n_numbers + n_released))

    # ---- writing and acting
    def _commit(self, drafts: Sequence[Draft], reserve: int = 0) -> Appended:
        """Write *drafts*; wait for a store that is full or busy, so that a person can make room.

        Raises:
            StoreError: the store could not be written for a minute, or someone asked to end the run meanwhile.
        """
        deadline = time.monotonic() + _STORE_PATIENCE_S
        was_told = False
        while True:
            try:
                return self._ledger.commit(drafts, reserve=reserve)
            except (StoreFull, StoreBusy) as error:
                if time.monotonic() > deadline or self._interrupts.take():
                    raise
                if not was_told:
                    self._observer.notice(f"{error}; trying again for {_STORE_PATIENCE_S:.0f} s")
                    was_told = True
                time.sleep(_COMMANDS_EVERY_S)

    def _act(self, appended: Appended) -> None:
        """Start what the log says has started, and tell the observer what has happened."""
        history = self._ledger.history
        for draft in appended.refused:
            if draft.token is not None and self._live.pop(draft.token, None) is not None:
                self._stops.append((draft.token, "kill"))
                self._observer.notice(f"trial {draft.trial} was taken over by another process; its attempt here ends")
        for event in appended.events:
            trial = history.unfinished.get(event.trial) if event.trial is not None else None
            if trial is None:
                continue
            if event.kind is Kind.REQUEUED:
                self._observer.requeued(trial, history)
            elif event.kind is Kind.STARTED and trial.owner == this_process() and trial.token is not None:
                self._start(trial, trial.token)
        for trial in history.just_ended:
            self._observer.ended(trial, history)

    def _start(self, trial: Trial, token: str) -> None:
        history = self._ledger.history
        self._attempts.begin(trial, token)
        self._observer.started(trial, history)
        seed = replicate_seed(history.seed, trial.replicate)
        launch = Launch(self._study.name, trial.number, trial.attempt, token, trial.config or {}, seed, trial.budget)
        try:
            self._executor.start(launch)
        except ExecutorError as error:
            del self._live[token]
            payload = {"reason": str(error), "counts": False}
            self._commit([Draft(Kind.REQUEUED, trial.number, payload, token, time.time())])
            self._end_run(Outcome("broken", str(error)), "terminate", "the executor failed")


def cancel_drafts(history: History, number: int) -> list[Draft]:
    """Return the draft that cancels trial *number* if it only waits; a running one is its executor's to end."""
    trial = history.unfinished.get(number)
    if trial is None or trial.state not in (State.WAITING, State.PAUSED):
        return []
    return [Draft(Kind.CANCELLED, number, time=time.time())]


def _outcome(seq: int, outcome: str) -> Draft:
    return Draft(Kind.COMMAND, None, {"of": seq, "outcome": outcome}, time=time.time())


def _first_words(reason: str, n_running: int) -> str:
    said = {"interrupted": "Ctrl-C", "terminated": "SIGTERM", "hangup": "SIGHUP"}[reason]
    if not n_running:
        return f"{said}: ending"
    return f"{said}: no new trials; {n_running} running are being ended (Ctrl-C again: at once)"
