"""Filling free slots: with trials that wait, then with new ones, whose numbers are reserved ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TypeVar

from whet.core.asking import (
    ask_drafts,
    assigned_drafts,
    heeded,
    is_released,
    n_left,
    start_draft,
    waiting_numbers,
)
from whet.core.events import Draft, Kind
from whet.core.handing import room_of
from whet.core.history import History
from whet.core.lookahead import askable
from whet.core.owner import this_process
from whet.core.protocols import Assignment, AssignsSlowly, New, Sampler, Scheduler
from whet.core.trial import State
from whet.errors import SearchExhausted, UsageError
from whet.stopping import limits_of

_PATIENCE_S = 0.05  # a suggestion that is there by then goes into the same transaction

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Question:
    """What a scheduler is asked: what *n* slots do, at most *n_new* of them new trials, by what is *known*."""

    known: History
    n: int
    n_new: int

    def is_same(self, other: _Question | None) -> bool:
        """Tell whether *other* is this one: of the very same history, to compare which costs nothing."""
        return other is not None and other.known is self.known and (other.n, other.n_new) == (self.n, self.n_new)


class Filling:
    """Chooses what free slots do next.

    In the background configs are suggested, and a scheduler assigns that takes long for it (`AssignsSlowly`): another
    one than that which decides on reports meanwhile, as two threads cannot share its memos, and with a lock the
    decisions would wait after all. Others assign at once, which takes less time than to hand it to a thread.

    Args:
        sampler: fills the configs.
        scheduler: says what the slots are for.
        slots: how many there are; as many numbers are reserved ahead.
        in_background: there is a thread for what takes long, as the caller has something else to do meanwhile.

    Attributes:
        is_exhausted: nothing new is left to ask, until someone changes the limits.
        known: what the last assignments were made from.
        room: that the brackets of these had; see `New`.
    """

    def __init__(self, sampler: Sampler, scheduler: Scheduler, slots: int, *, in_background: bool = True) -> None:
        self._sampler, self._slots = sampler, slots
        self._in_background = in_background
        slow = scheduler.assigner() if in_background and isinstance(scheduler, AssignsSlowly) else None
        self._scheduler, self._is_slow = (scheduler, False) if slow is None else (slow, True)
        self._numbers: list[int] = []  # reserved and not asked yet
        self._question: _Question | None = None  # the last one
        self._is_answered_by_nothing = False
        self._assigning: Future[list[Assignment] | None] | None = None
        self._suggesting: Future[list[Draft]] | None = None
        self._is_waiting = False  # the scheduler, when it was last asked, for trials that run
        self.is_exhausted = False
        self.known: History | None = None
        self.room: Mapping[int, int] = {}

    @property
    def is_suggesting(self) -> bool:
        """Tell whether an assignment or a suggestion is on its way."""
        return self._suggesting is not None or self._assigning is not None

    def add(self, numbers: Iterable[int]) -> None:
        """Take in numbers that were reserved."""
        self._numbers = sorted({*self._numbers, *numbers})

    def may_ask(self, history: History) -> bool:
        """Tell whether there may be something to ask: a new trial, or a paused one that is to go on.

        Of paused ones that is known once :meth:`drafts` has been called with that very history.
        """
        if self.is_suggesting or self._n_new(history):
            return True
        return bool(history.n_paused or _n_beside(history)) and not self._has_nothing(
            _Question(history, self._slots, 0)
        )

    def n_awaited(self, history: History) -> int:
        """Return how many trials run in other processes, if that is what the scheduler waits for.

        Those of this process are for the caller to know.
        """
        return _n_beside(history) if self._is_waiting else 0

    def _has_nothing(self, question: _Question) -> bool:
        """Tell whether nothing came of that question when it was last asked."""
        return self._is_answered_by_nothing and question.is_same(self._question)

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
        return n_left(history, below)

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
            assigned = self._assigned(known, n)
            if assigned is None:
                return drafts
            numbers = [] if self.is_exhausted else askable(known, self._usable(known)[:n])
            new = [one for one in assigned if isinstance(one, New)][: len(numbers)]
            drafts = assigned_drafts(assigned, now=time.time)
            self._is_answered_by_nothing = not (drafts or new)
            if not new:
                return drafts
            choose = partial(ask_drafts, known, self._sampler, numbers[: len(new)], new, now=time.time)
            self._suggesting = _begun(choose, in_background=self._in_background)
        if not _is_done(self._suggesting):
            return drafts
        suggesting, self._suggesting = self._suggesting, None
        return drafts + self._asked(suggesting.result())

    def _assigned(self, known: History, n: int) -> list[Assignment] | None:
        """Return what the scheduler has to do for *n* free slots; ``None``: it is not known yet, or known already.

        Raises:
            UsageError: it waits for trials, and none is running: it would wait for ever.
        """
        if self._assigning is None:
            question = _Question(known, n, self._n_new(known))
            if self._has_nothing(question):
                return None
            self._question, self._is_answered_by_nothing = question, False
            assign = partial(_answer, self._scheduler, question, frozenset(self._numbers))
            self._assigning = _begun(assign, in_background=self._is_slow)
        if not _is_done(self._assigning):
            return None
        assert self._question is not None, "it was asked"
        assigning, self._assigning = self._assigning, None
        assigned = assigning.result()
        self._is_waiting = assigned == []
        self.is_exhausted |= assigned is None and self._question.n_new > 0
        self.known, self.room = self._question.known, room_of(assigned or ())
        return assigned or []

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
    return [trial.number for trial in history.active.values() if is_released(trial)]


def _n_beside(history: History) -> int:
    """Return how many trials run in other processes."""
    return sum(trial.state is State.RUNNING and trial.owner != this_process() for trial in history.active.values())


def _answer(scheduler: Scheduler, question: _Question, ours: Collection[int]) -> list[Assignment] | None:
    """Return what *scheduler* answers; ``None``: it has nothing to do and never will. *ours* are numbers to ask.

    Raises:
        UsageError: it waits for trials, and none is running: it would wait for ever.
    """
    try:
        assigned = heeded(scheduler.assign(question.known, question.n, question.n_new), question.n, question.n_new)
    except SearchExhausted:
        return None
    others = (trial for number, trial in question.known.active.items() if number not in ours)
    if not assigned and question.n_new and all(map(is_released, others)):
        raise UsageError(
            f"the scheduler {type(scheduler).__name__} waits for trials, and none is running or waiting to "
            "be; where it has nothing more to do, `assign` raises SearchExhausted"
        )
    return assigned


def _begun(work: Callable[[], _T], *, in_background: bool) -> Future[_T]:
    """Do *work*, or begin it in a thread that nobody waits for: a search can be ended while a config is chosen."""
    future: Future[_T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    if in_background:
        Thread(target=do, name="whet-suggest", daemon=True).start()
    else:
        future.set_result(work())
    return future


def _is_done(future: Future[_T]) -> bool:
    """Tell whether *future* is there, or is very soon."""
    return future.done() or bool(wait([future], _PATIENCE_S).done)
