"""The attempts that a run has in progress: what they report, and what their ends mean."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from whet.core.ending import decided, end_drafts, kind_of
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.lookahead import lookahead_of
from whet.core.protocols import Decision, Ended, Executor, Reported, Scheduler
from whet.core.trial import Cause
from whet.core.values import Rules, Tally, judge

_MAX_LOST = 3  # attempts in one run whose process beside them died, after which the trial is blamed
_GIVE_UP_S = 10.0  # that attempts which are killed may take to end


@dataclass(slots=True)
class Live:
    """An attempt in progress.

    Attributes:
        number: of its trial.
        tally: what it has reported so far.
        intent: what its end means if we asked for it: requeued, cancelled, stopped or paused.
        reason: for a person, why it was asked to end.
        was_stopped: it was told to end because it went on beyond its budget.
        began: when, in seconds of the monotonic clock.
        is_current: whether it still is its trial's current attempt; what another one says is not listened to.
    """

    number: int
    tally: Tally
    intent: Kind | None = None
    reason: str = ""
    is_current: bool = True
    was_stopped: bool = False
    began: float = field(default_factory=time.monotonic)


class Attempts:
    """Turns what an executor says of attempts into drafts for the log.

    Attributes:
        live: the attempts in progress, by token; each takes up a slot of the executor until it has ended.
    """

    def __init__(self, ledger: Ledger, scheduler: Scheduler) -> None:
        self._ledger, self._scheduler = ledger, scheduler
        self._rules = Rules.from_json(ledger.history.settings.get("rules", {}))
        self._n_lost: Counter[int] = Counter()
        self.live: dict[str, Live] = {}

    def begin(self, number: int, token: str) -> None:
        """Keep the books of a new attempt of trial *number*."""
        known = self._ledger.history
        self.live[token] = Live(number, Tally(known.problem, self._rules.take, known.unfinished.get(number)))

    def given_up(self, executor: Executor) -> list[Draft]:
        """End all attempts, for a run that breaks off, and return drafts that make their trials wait again."""
        deadline = time.monotonic() + _GIVE_UP_S
        left = set(self.live)
        with suppress(Exception):  # it may be what the run has broken at
            for token in left:
                executor.stop(token, "kill")
            while left and not executor.is_blocking and time.monotonic() < deadline:
                left -= {happening.token for happening in executor.poll(0.1) if isinstance(happening, Ended)}
        payload = {"reason": "the run broke off", "counts": False}
        return [Draft(Kind.REQUEUED, live.number, payload, token, time.time()) for token, live in self.live.items()]

    def disowned(self) -> dict[str, Live]:
        """Return the attempts whose trial has gone on without them, each once: another process saw to that."""
        unfinished = self._ledger.history.unfinished
        found = {}
        for token, live in self.live.items():
            trial = unfinished.get(live.number)
            if live.is_current and (trial is None or trial.token != token):
                live.is_current = False
                found[token] = live
        return found

    def reports(self, happenings: Sequence[Reported]) -> tuple[list[Draft], History, dict[str, Decision]]:
        """Return drafts of what was reported, one for each attempt, what is known with them, and what was decided.

        The scheduler decides after each draft; every attempt that reported finds a decision, by its token.
        """
        rows: dict[str, list[list[float | None]]] = {}
        decisions = {happening.token: Decision.CONTINUE for happening in happenings}
        for happening in happenings:
            live = self.live.get(happening.token)
            if live is not None and live.is_current:
                at = self._clock(live)
                kept = [
                    row
                    for step, metrics in happening.rows
                    if (row := live.tally.add(step if at is None else at, metrics)) is not None
                ]
                rows.setdefault(happening.token, []).extend(kept)
        drafts: list[Draft] = []
        known = self._ledger.history
        for token, reported in rows.items():
            live = self.live[token]
            for block in self._blocks(reported, live):
                payload = {"rows": block} if live.intent is None else {"rows": block, "late": True}
                drafts.append(Draft(Kind.REPORTED, live.number, payload, token, time.time()))
                known = self._ledger.preview(drafts[-1:], known)
                if live.intent is None:
                    decisions[token] = self._decision(live, known)
            if live.intent is not None and decisions[token] is Decision.CONTINUE:
                decisions[token] = _answer(live, known)
                live.was_stopped |= decisions[token] is Decision.STOP
        return drafts, known, decisions

    def _blocks(self, reported: list[list[float | None]], live: Live) -> Iterator[list[list[float | None]]]:
        """Yield the rows *reported* as they are written and decided on: together, as far as that makes no difference.

        In a deterministic study it must not matter which of them happen to arrive together: each is decided on by
        itself, and none counts that came before the trial had heard that it is to end.
        """
        if lookahead_of(self._ledger.history) is None:
            if reported:
                yield reported
            return
        for row in reported:
            if live.intent in (Kind.STOPPED, Kind.PAUSED):
                return
            yield [row]

    def _clock(self, live: Live) -> float | None:
        """Return the seconds since the attempt began, where these are the fidelity; else reports have steps."""
        fidelity = self._ledger.history.problem.fidelity
        return time.monotonic() - live.began if fidelity is not None and fidelity.is_time else None

    def _decision(self, live: Live, known: History) -> Decision:
        """Ask the scheduler what becomes of the trial that reported last; note what its end will mean."""
        decision, reason = decided(known, self._scheduler, live.number)
        if decision is not Decision.CONTINUE:
            live.intent, live.reason = kind_of(decision), reason
        return decision

    def endings(self, happenings: Sequence[Ended], known: History) -> tuple[list[Draft], History]:
        """Return drafts of what the ends of attempts mean for their trials, and what is *known* with them."""
        drafts: list[Draft] = []
        for ended in happenings:
            live = self.live.pop(ended.token, None)
            if live is None or not live.is_current:
                continue
            for draft in self._ending(live, ended, known):
                drafts.append(draft)
                known = self._ledger.preview([draft], known)
        return drafts, known

    def _ending(self, live: Live, ended: Ended, known: History) -> list[Draft]:
        """Return the drafts that end an attempt."""
        payload: dict[str, Any] = {"values": live.tally.values(ended.metrics), "exit_code": ended.exit_code}
        payload["duration_s"] = time.monotonic() - live.began  # by the clock that its reports are timed by
        if live.intent is Kind.PAUSED and ended.cause == "exit_code" and not live.was_stopped:
            # A program that has reached its budget is left to end by itself: that it crashed is its own doing.
            kind = self._failed(live, payload, Cause(ended.cause), ended.message)
        elif live.intent is not None:
            # Whatever its exit code: an attempt that was asked to end is not complete.
            kind = live.intent
            if live.reason:
                payload["reason"] = live.reason
            if kind is Kind.REQUEUED:
                payload["counts"] = False
        elif ended.cause == "lost":
            kind = self._lost(live, payload)
        elif ended.cause == "interrupted":
            kind = Kind.REQUEUED
            payload |= {"reason": "interrupted", "counts": False}
        elif ended.cause == "stopped":  # it raised TrialStopped by itself
            kind = Kind.STOPPED
        elif ended.cause is not None:
            kind = self._failed(live, payload, Cause(ended.cause), ended.message)
        else:
            return self._well(live, ended, payload, known)
        return [Draft(kind, live.number, payload, ended.token, time.time())]

    def _well(self, live: Live, ended: Ended, payload: dict[str, Any], known: History) -> list[Draft]:
        """Return the drafts for an attempt that ended by itself and well, if its values are what they should be."""
        verdict = judge(known.problem, self._rules, payload["values"])
        payload["values"] = dict(verdict.values)
        now = time.time()
        if verdict.cause is not None:
            message = "\n".join(filter(None, (verdict.message, ended.message)))  # what could not be read, if any
            kind = self._failed(live, payload, verdict.cause, message)
            return [Draft(kind, live.number, payload, ended.token, now)]
        trial = known.unfinished.get(live.number)
        if trial is None or trial.token != ended.token:  # others have ended it: the store will refuse this
            return [Draft(Kind.COMPLETED, live.number, payload, ended.token, now)]
        return end_drafts(known, self._scheduler, trial, payload, now)

    def _lost(self, live: Live, payload: dict[str, Any]) -> Kind:
        """Complete *payload* for an attempt that is nobody's fault, unless it happens again and again."""
        self._n_lost[live.number] += 1
        if self._n_lost[live.number] >= _MAX_LOST:
            payload |= {"cause": Cause.SIGNAL.value, "message": f"the process beside it was lost {_MAX_LOST} times"}
            return Kind.FAILED
        payload |= {"reason": "the process beside it was lost", "counts": False}
        return Kind.REQUEUED

    def _failed(self, live: Live, payload: dict[str, Any], cause: Cause, message: str) -> Kind:
        """Complete *payload* for a failure; return whether the trial failed for good or is to be retried."""
        payload |= {"cause": cause.value, "message": message}
        used = self._ledger.history.unfinished[live.number].retries.get(cause, 0)
        if used < self._rules.retries.get(cause, 0):
            payload["counts"] = True
            return Kind.REQUEUED
        return Kind.FAILED


def _answer(live: Live, known: History) -> Decision:
    """Return what an attempt hears about a report that decides nothing."""
    trial = known.unfinished.get(live.number)
    if live.intent is Kind.PAUSED and trial is not None and trial.budget is not None:
        # One that was told its budget ends by itself, and may have something to save; one that goes on was not.
        step = trial.curve.last_step()
        return Decision.STOP if step is not None and step > trial.budget else Decision.CONTINUE
    return Decision.CONTINUE if live.intent is None else Decision.STOP
