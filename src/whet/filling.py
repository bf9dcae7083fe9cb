"""Filling free slots: with trials that wait, then with new ones, whose numbers are reserved ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from functools import partial
from threading import Thread
from typing import TypeVar

from whet.core.asking import ask_drafts, assigned_drafts, heeded, start_draft, waiting_numbers
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.lookahead import askable
from whet.core.protocols import Assignment, New, Sampler, Scheduler
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, UsageError
from whet.stopping import limits_of

_PATIENCE_S = 0.05  # a suggestion that is there by then goes into the same transaction

_T = TypeVar("_T")


class Filling:
    """Chooses what free slots do next.

    Args:
        sampler: fills the configs.
        scheduler: says what the slots are for.
        slots: how many there are; as many numbers are reserved ahead.
        in_background: configs are chosen in a thread, for a caller that has something else to do meanwhile.

    Attributes:
        is_exhausted: nothing new is left to ask, until someone changes the limits.
        known: what the last suggestions were made from.
    """

    def __init__(self, sampler: Sampler, scheduler: Scheduler, slots: int, *, in_background: bool = True) -> None:
        self._sampler, self._scheduler, self._slots = sampler, scheduler, slots
        self._in_background = in_background
        self._numbers: list[int] = []  # reserved and not asked yet
        self._suggesting: Future[list[Draft]] | None = None
        self.is_exhausted = False
        self.known: History | None = None

    @property
    def is_suggesting(self) -> bool:
        """Tell whether a suggestion is on its way."""
        return self._suggesting is not None

    def add(self, numbers: Iterable[int]) -> None:
        """Take in numbers that were reserved."""
        self._numbers = sorted({*self._numbers, *numbers})

    def may_ask(self, history: History) -> bool:
        """Tell whether there may be something to ask: a new trial, or a paused one that is to go on."""
        if self._n_new(history):
            return True
        is_paused = any(trial.state is State.PAUSED for trial in history.unfinished.values())
        return is_paused and bool(self._assigned(history, self._slots, 0))

    def _n_new(self, history: History) -> int:
        """Return how many new trials may still be asked, those whose numbers are reserved here included."""
        return 0 if self.is_exhausted else len(self._usable(history)) + self._n_more(history)

    def below(self, history: History) -> int | None:
        """Return the first number that the limit does not allow, if there is a limit."""
        n_trials = limits_of(history).n_trials
        return None if n_trials is None else history.first_beyond(n_trials)

    def n_to_reserve(self, history: History) -> int:
        """Return how many numbers to reserve, so that there is one for each slot as long as the limit allows."""
        if self.is_exhausted:
            return 0
        # A number that was given back goes before ours; a deterministic study waits for it.
        n_before_ours = sum(number < self._numbers[0] for number in _released(history)) if self._numbers else 0
        return min(max(self._slots - len(self._numbers), n_before_ours), self._n_more(history))

    def _n_more(self, history: History) -> int:
        """Return how many more numbers the limit allows, beyond those reserved."""
        below = self.below(history)
        if below is None:
            return self._slots
        return max(0, below - history.n_numbers) + sum(number < below for number in _released(history))

    def _usable(self, history: History) -> list[int]:
        """Return those of the numbers reserved that the limit still allows to ask."""
        below = self.below(history)
        return [number for number in self._numbers if below is None or number < below]

    def drafts(self, known: History, n_free: int) -> list[Draft]:
        """Return drafts that ask for and start as many trials as there are free slots.

        Raises:
            WhetError: the sampler or the scheduler cannot go on.
        """
        numbers = waiting_numbers(known)[:n_free] if n_free else []
        drafts: list[Draft] = []
        if len(numbers) < n_free:
            drafts = self._ask(known, n_free - len(numbers))
            asked = [d.trial for d in drafts if d.kind in (Kind.ASKED, Kind.RESUMED) and d.trial is not None]
            numbers += asked[: n_free - len(numbers)]
        return drafts + [start_draft(number, now=time.time) for number in numbers]

    def _ask(self, known: History, n: int) -> list[Draft]:
        """Return drafts for up to *n* new or resumed trials, as far as they are decided in time."""
        drafts: list[Draft] = []
        if self._suggesting is None:
            numbers = [] if self.is_exhausted else askable(known, self._usable(known)[:n])
            assigned = self._assigned(known, n, self._n_new(known))
            drafts = assigned_drafts(assigned, now=time.time)
            new = [a for a in assigned if isinstance(a, New)][: len(numbers)]
            if not new:
                return drafts
            self.known = known
            choose = partial(ask_drafts, known, self._sampler, numbers[: len(new)], new, now=time.time)
            if not self._in_background:
                return drafts + self._asked(choose())
            self._suggesting = _in_background(choose)
        if not wait([self._suggesting], _PATIENCE_S).done:
            return drafts
        suggesting, self._suggesting = self._suggesting, None
        return drafts + self._asked(suggesting.result())

    def _assigned(self, known: History, n: int, n_new: int) -> list[Assignment]:
        """Return what the scheduler has to do for *n* free slots.

        Raises:
            UsageError: it waits for trials, and none is running: it would wait for ever.
        """
        try:
            assigned = heeded(self._scheduler.assign(known, n, n_new), n, n_new)
        except SearchExhausted:
            self.is_exhausted |= n_new > 0
            return []
        others = (trial for number, trial in known.unfinished.items() if number not in self._numbers)
        if not assigned and n_new and all(trial.state is State.PAUSED or _is_free(trial) for trial in others):
            raise UsageError(
                f"the scheduler {type(self._scheduler).__name__} waits for trials, and none is running or waiting to "
                "be; where it has nothing more to do, `assign` raises SearchExhausted"
            )
        return assigned

    def _asked(self, drafts: list[Draft]) -> list[Draft]:
        """Return *drafts*, which ask for trials or give their numbers back, and note what that means."""
        done = {draft.trial for draft in drafts}
        self._numbers = [number for number in self._numbers if number not in done]
        self.is_exhausted |= any(draft.kind is Kind.RELEASED for draft in drafts)
        return drafts

    def release_drafts(self) -> list[Draft]:
        """Return drafts that give back every number that was not used; a suggestion on its way is dropped."""
        numbers, self._numbers = self._numbers, []
        return [Draft(Kind.RELEASED, number, time=time.time()) for number in numbers]


def _released(history: History) -> list[int]:
    """Return the numbers that were given back."""
    return [trial.number for trial in history.unfinished.values() if _is_free(trial)]


def _is_free(trial: Trial) -> bool:
    return trial.is_reserved and trial.owner is None


def _in_background(work: Callable[[], _T]) -> Future[_T]:
    """Begin *work* in a thread that nobody waits for at the end: a search can be ended while a config is chosen."""
    future: Future[_T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=do, name="whet-suggest", daemon=True).start()
    return future
