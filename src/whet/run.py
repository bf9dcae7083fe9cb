"""The run loop: one thread, one place, one tick.

A tick takes what the executor says and what other processes ask for, decides, commits everything in one transaction and
only then acts. It holds no state that the log does not hold, apart from handles on the attempts it has started itself.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

from whet.attempts import Attempts
from whet.core.asking import answer_draft, cancel_drafts, left_drafts, waiting_numbers
from whet.core.events import Draft, Event, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.observer import Observer
from whet.core.owner import Watch, is_gone, this_process
from whet.core.protocols import Decision, Ended, Executor, Happening, Launch, Reported, Sampler, Scheduler
from whet.core.randomness import replicate_seed
from whet.core.trial import State
from whet.errors import PASSING, ExecutorError, StateError, StudyBusy, UsageError, WhetError
from whet.filling import Filling
from whet.interrupts import BY_SIGNAL, How, Interrupts, SignalReason, first_words
from whet.schedulers.fifo import Fifo
from whet.stopping import Limits, limits_of, reason_to_end

Reason = Literal["done", "timeout", "target", "failures", "stopped", "broken"] | SignalReason

_POLL_S = 0.1
_POLL_WHILE_SUGGESTING_S = 0.01
_COMMANDS_EVERY_S = 0.5
_STORE_PATIENCE_S = 60.0
_LEFT_AFTER_S = 30.0  # since a process was found to be gone: its trials had their grace period, and do not run any more
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a run ended; in the case of ``"broken"``, ``message`` says what went wrong, and ``error`` is that."""

    reason: Reason
    message: str = ""
    error: WhetError | None = field(default=None, compare=False)


class Runnable(Protocol):
    """What is run: a log and who decides. A `whet.study.Study` is one."""

    ledger: Ledger
    sampler: Sampler
    scheduler: Scheduler


def run(
    study: Runnable,
    executor: Executor,
    observer: Observer,
    *,
    is_only_runner: bool = False,
    limits: Limits | None = None,
    since: int | None = None,
) -> Outcome:
    """Run trials of *study* on *executor* until its limits are reached, nothing is left to ask, or someone ends it.

    Other processes may run the study as well. Where the scheduler waits for a trial that one of them runs, so does this
    run, as there may be something to do then. What a process leaves that is lost meanwhile is run here.

    What the study is to do (limits, rules) is in its settings. The caller holds the study (`Store.hold`) and closes
    the executor.

    Args:
        study: to run.
        executor: starts the attempts.
        observer: is told what happens.
        is_only_runner: nobody but who holds the study starts attempts of it, so that all that are in progress are left
            over from one who is gone. Otherwise only those are whose process certainly is.
        limits: bounds of this run; by default those in the settings, which have the number of trials in any case.
        since: the last event before this run: an older command to stop was not meant for it. By default, the last one.

    Raises:
        StoreError: the store cannot be written, and could not for a minute.
        StudyNotFound: somebody has deleted the study.
    """
    with Interrupts() as interrupts:
        study.ledger.unheard = deque()
        try:
            loop = _Loop(study, executor, observer, interrupts, limits, is_only_runner=is_only_runner)
            return loop.run(since=study.ledger.history.seq if since is None else since)
        finally:
            study.ledger.unheard = None


class _Loop:
    def __init__(
        self,
        study: Runnable,
        executor: Executor,
        observer: Observer,
        interrupts: Interrupts,
        limits: Limits | None,
        *,
        is_only_runner: bool,
    ) -> None:
        self._ledger, self._limits, self._is_only_runner = study.ledger, limits, is_only_runner
        self._executor, self._observer, self._interrupts = executor, observer, interrupts
        self._attempts = Attempts(self._ledger, study.scheduler)
        self._live = self._attempts.live
        self._waits = not isinstance(study.scheduler, Fifo)  # which lets every trial go on: nothing to wait for
        self._filling = Filling(study.sampler, study.scheduler, executor.slots, in_background=not executor.is_blocking)
        self._is_settled = self._is_awaiting = False  # the last tick changed nothing; trials elsewhere are awaited
        self._ending: Outcome | None = None
        self._stops: list[tuple[str, How]] = []  # to be carried out after the commit
        self._decisions: dict[str, Decision] = {}  # likewise
        self._unwritten: Sequence[Draft] = ()  # what attempts have said in this tick
        self._not_started: list[Happening] = []  # the ends of attempts that could not be started
        self._before, self._holder = self._ledger.history, self._ledger.holder() if is_only_runner else None
        self._began = self._looked_at_commands = time.monotonic()
        self._watch = Watch(_LEFT_AFTER_S)
        self._lost: frozenset[str] = frozenset()  # processes whose lease has run out, as found in this tick

    def run(self, *, since: int) -> Outcome:
        try:
            self._commit(self._adopt(since))
            self._act()
            while self._is_busy():
                self._tick()
            self._commit(self._filling.release_drafts())
        except BaseException:
            self._break_off()
            raise
        return self._ending or Outcome("done")

    def _break_off(self) -> None:
        """Give back what this run holds, as far as that can be: nobody else would while this process lives."""
        with suppress(Exception):  # the error that is on its way says more
            drafts = [*self._unwritten, *self._attempts.given_up(self._executor), *self._filling.release_drafts()]
            self._ledger.catch_up()
            self._ledger.commit(self._ledger.possible(drafts))

    def _is_busy(self) -> bool:
        if self._live or self._ending is not None:
            return bool(self._live)
        if not self._has_work():
            self._catch_up()  # who asked for more at the last moment is heard
        return self._has_work()

    def _has_work(self) -> bool:
        history = self._ledger.history
        if history.pending_commands or waiting_numbers(history) or self._filling.may_ask(history):
            return True
        n = self._filling.n_awaited(history)
        if n and not self._is_awaiting:
            self._observer.notice(f"waiting for {n} running elsewhere: what comes of it may let paused trials go on")
        self._is_awaiting = n > 0
        return self._is_awaiting

    def _tick(self) -> None:
        happenings = self._executor.poll(self._poll_s())
        is_time = time.monotonic() - self._looked_at_commands >= _COMMANDS_EVERY_S
        if is_time:
            self._catch_up()
        drafts, known = self._hear([*self._not_started, *happenings])
        self._unwritten = drafts
        # Signals and commands come after what has ended by itself: that was not asked to.
        self._heed_signals()
        commands = self._obey_commands(known)
        others = self._take_over(known) if is_time else []
        drafts, known = drafts + others + commands, self._ledger.preview(others + commands, known)
        self._heed_limits(known)
        if self._ending is None:
            drafts += self._fill(known)
        reserve = self._filling.n_to_reserve(self._ledger.history) if self._ending is None else 0
        self._is_settled = not drafts and not reserve
        if not self._is_settled:
            self._commit(drafts, reserve)
        self._act()
        self._observer.tick(self._ledger.history)

    def _act(self) -> None:
        """Carry out what was decided, now that it is written."""
        lost, self._lost = self._lost, frozenset()
        self._patiently(partial(self._ledger.bury, lost))
        decisions, self._decisions = self._decisions, {}
        stops, self._stops = self._stops, []
        for token, decision in decisions.items():
            self._executor.decided(token, decision)
        for token, how in stops:
            self._executor.stop(token, how)

    def _poll_s(self) -> float:
        if self._filling.is_suggesting:
            return _POLL_WHILE_SUGGESTING_S
        has_work = self._ending is None and len(self._live) < self._executor.slots
        return 0.0 if has_work and not self._is_settled else _POLL_S

    def _hear(self, happenings: Sequence[Happening]) -> tuple[list[Draft], History]:
        """Return drafts of what attempts say, and what is known with them."""
        self._not_started = []
        for token, live in self._attempts.disowned().items():
            self._stops.append((token, "kill"))
            self._observer.notice(f"trial {live.number} goes on elsewhere or was ended; its attempt here ends")
        drafts, known, decisions = self._attempts.reports([h for h in happenings if isinstance(h, Reported)])
        self._decisions.update(decisions)
        endings, known = self._attempts.endings([h for h in happenings if isinstance(h, Ended)], known)
        return drafts + endings, known

    def _fill(self, known: History) -> list[Draft]:
        try:
            return self._filling.drafts(known, self._executor.slots - len(self._live))
        except WhetError as error:
            outcome = Outcome("broken", str(error), error)
            self._end_run(outcome, "terminate", "no config could be chosen for another trial")
            return []

    # ---- what processes leave that are gone
    def _adopt(self, since: int) -> list[Draft]:
        """Return drafts that tidy up before the first tick: claims, attempts and commands of who is gone."""
        self._lost = self._patiently(partial(self._ledger.lease.lost, at_once=True))

        def is_left(owner: str) -> bool:
            # A process id may be another process's by now, and of other places' nothing is certain.
            return self._is_only_runner or owner in self._lost or is_gone(owner)

        history = self._ledger.history
        stops = [seq for seq, command in history.pending_commands.items() if command.get("command") == "stop"]
        return left_drafts(history, is_left, now=time.time) + [
            answer_draft(seq, "nobody was running the study", now=time.time) for seq in stops if seq <= since
        ]

    def _take_over(self, known: History) -> list[Draft]:
        """Return drafts that take over what others leave who are lost, by their lease or as a process of this host."""
        self._lost = self._patiently(self._ledger.lease.lost)
        return left_drafts(known, lambda owner: owner in self._lost or self._watch.is_left(owner), now=time.time)

    # ---- what ends the run
    def _heed_signals(self) -> None:
        for signum in self._interrupts.take():
            reason, how = BY_SIGNAL[signum]
            if self._ending is None:
                self._end_run(Outcome(reason), how, "interrupted")
                self._observer.notice(first_words(reason, len(self._live)))
            elif self._live and signum == signal.SIGINT:
                # Only a person is impatient: a closing terminal and a service manager may send a signal twice.
                self._observer.notice(f"ending {len(self._live)} running now")
                self._stops += [(token, "kill") for token in self._live]

    def _heed_limits(self, known: History) -> None:
        if self._ending is not None:
            return
        reason = reason_to_end(self._limits or limits_of(known), known, time.monotonic() - self._began, self._before)
        if reason is not None:
            self._end_run(Outcome(reason), "terminate", f"the run ended: {reason}")

    def _end_run(self, outcome: Outcome, how: How, reason: str) -> None:
        """Ask nothing more, and end what runs; those trials wait to be resumed."""
        self._ending = outcome
        for token, live in self._live.items():
            if live.intent is None:
                live.intent, live.reason = Kind.REQUEUED, live.reason or reason
            self._stops.append((token, how))

    # ---- what others ask for
    def _catch_up(self) -> None:
        self._looked_at_commands = time.monotonic()
        self._patiently(self._ledger.catch_up)
        self._show()

    def _obey_commands(self, known: History) -> list[Draft]:
        drafts: list[Draft] = []
        for seq, command in known.pending_commands.items():
            obeyed, outcome = self._obey(command, self._ledger.preview(drafts, known))
            drafts += [*obeyed, answer_draft(seq, outcome, now=time.time)]
        return drafts

    def _obey(self, command: Mapping[str, Any], known: History) -> tuple[list[Draft], str]:
        """Return the drafts that carry out *command*, and what became of it."""
        match command:
            case {"command": "stop"}:
                self._end_by_command()
                return [], "done"
            case {"command": "cancel", "trial": int(number)}:
                return self._cancel(number, known), "done"
            case {"command": "amend", "settings": {"limits": dict(limits), **others}} if not others:
                try:
                    Limits(**limits)
                except (TypeError, UsageError) as error:
                    return [], f"refused: {error}"
                return [Draft(Kind.AMENDED, None, {"settings": {"limits": limits}}, time=time.time())], "done"
        return [], "refused: a running study can be stopped, its trials cancelled and its limits amended"

    def _end_by_command(self) -> None:
        if self._ending is None:
            self._end_run(Outcome("stopped"), "terminate", "stopped")

    def _give_way(self, owner: str) -> None:
        """End a run that was held up for so long that *owner* has taken the study over, and not one trial by hand."""
        if self._ending is None and self._patiently(self._ledger.holder) != self._holder:
            why = f"{owner} has taken over the study, as this process was held up for longer than its lease; it goes on"
            self._end_run(Outcome("broken", f"{why} there", StudyBusy(f"{why} there")), "kill", why)

    def _cancel(self, number: int, known: History) -> list[Draft]:
        for token, live in self._live.items():
            if live.number == number and live.is_current:
                live.intent = Kind.CANCELLED
                self._stops.append((token, "terminate"))
                return []
        return cancel_drafts(known, number, now=time.time)

    # ---- writing and acting
    def _commit(self, drafts: Sequence[Draft], reserve: int = 0) -> None:
        """Write *drafts*, then act on them; what other processes have made impossible meanwhile is left out."""
        while True:
            try:
                below = self._filling.below(self._ledger.history) if reserve else None
                commit = partial(self._ledger.commit, drafts, reserve=reserve, below=below)
                appended = self._patiently(partial(commit, known=self._filling.known, room=self._filling.room))
                break
            except StateError as refusal:
                news = self._patiently(self._ledger.catch_up)
                filling, unexplained = self._filling, None if news else refusal
                drafts, taken = self._ledger.salvaged(drafts, filling.known, unexplained, filling.room)
                self._filling.add(taken)
        self._unwritten = ()
        self._filling.add(appended.numbers)
        started = {draft.payload["token"]: draft.trial for draft in drafts if draft.kind is Kind.STARTED}
        for token, number in started.items():  # known before anybody is told or anything runs
            self._attempts.begin(number or 0, token)
        self._show()
        for token in started:
            self._start(token)

    def _patiently(self, work: Callable[[], _T]) -> _T:
        """Do *work* with the store; wait for one that is full or busy, so that a person can make room.

        Raises:
            StoreError: it was not possible for a minute, or someone asked to end the run meanwhile.
        """
        deadline = time.monotonic() + _STORE_PATIENCE_S
        was_told = False
        while True:
            try:
                return work()
            except PASSING as error:
                if time.monotonic() > deadline or self._interrupts.take():
                    raise
                if not was_told:
                    self._observer.notice(f"{error}; trying again for {_STORE_PATIENCE_S:.0f} s")
                    was_told = True
                time.sleep(_COMMANDS_EVERY_S)

    def _show(self) -> None:
        """Tell the observer what is new, whichever thread or process has written it."""
        unheard = self._ledger.unheard
        while unheard:
            events, ended = unheard.popleft()
            self._show_events(events)
            for trial in ended:
                is_paused = trial.state is State.PAUSED
                (self._observer.paused if is_paused else self._observer.ended)(trial, self._ledger.history)

    def _show_events(self, events: Sequence[Event]) -> None:
        history = self._ledger.history
        for event in events:
            trial = history.unfinished.get(event.trial) if event.trial is not None else None
            if trial is not None and event.kind is Kind.REQUEUED:
                self._observer.requeued(trial, history)
            elif event.kind is Kind.COMMAND and event.payload.get("command") == "stop":
                self._end_by_command()  # even if another run of the study has answered it meanwhile
            elif event.kind is Kind.AMENDED:
                self._filling.is_exhausted = False
            elif event.kind is Kind.STARTED and self._is_only_runner and event.payload.get("owner") != this_process():
                self._give_way(str(event.payload.get("owner")))

    def _start(self, token: str) -> None:
        """Start what the log says has started; where that cannot be, it ends at the next tick."""
        history, live = self._ledger.history, self._live[token]
        trial = history.unfinished.get(live.number)
        if trial is None or trial.token != token:  # a callback or another process has ended it already
            live.is_current = False
        elif self._ending is None and live.intent is None:
            self._observer.started(trial, history)
            config, seed = trial.config or {}, replicate_seed(history.seed, trial.replicate)
            launch = Launch(
                self._ledger.name, trial.number, trial.attempt, token, config, seed, trial.budget, self._waits
            )
            try:
                self._executor.start(launch, self._tick)
                return
            except ExecutorError as error:
                live.reason = str(error)
                self._end_run(Outcome("broken", str(error), error), "terminate", "the executor failed")
        live.intent = live.intent or Kind.REQUEUED
        self._not_started.append(Ended(token, None, None, {}, "", 0.0))
