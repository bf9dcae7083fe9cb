"""Handing out trials: what a study does when it is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from whet.core.asking import (
    ask_drafts,
    assigned_drafts,
    heeded,
    left_drafts,
    n_left,
    release_drafts,
    start_draft,
    waiting_numbers,
)
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.lookahead import askable
from whet.core.owner import is_gone
from whet.core.protocols import Assignment, New, Sampler, Scheduler
from whet.core.trial import Trial
from whet.errors import NotReady, SearchExhausted, StateError

_MOST_TRIES = 1000


def hand_out(ledger: Ledger, sampler: Sampler, scheduler: Scheduler, n: int, n_new: int | None = None) -> list[Trial]:
    """Start up to *n* trials, at least one, and return them: those that wait, then resumed and new ones.

    Trials of processes whose lease has run out wait, too. At most *n_new* are new ones; ``None``: any number that the
    study may have.

    Raises:
        SearchExhausted: there is nothing left to ask.
        NotReady: nothing can be asked until a running trial ends.
    """
    ledger.catch_up()
    take_over(ledger)
    for _ in range(_MOST_TRIES):  # others may be faster each time
        known = ledger.history
        try:
            drafts, room = _drafts(ledger, sampler, scheduler, n, n if n_new is None else n_new)
        except (SearchExhausted, NotReady):
            ledger.catch_up()
            if take_over(ledger, at_once=True):
                continue
            raise
        drafts = _write(ledger, drafts, known, room)
        numbers = [d.trial for d in drafts if d.kind is Kind.STARTED and d.trial is not None]
        if numbers:
            return [ledger.trial(number) for number in numbers]
        if any(d.kind is Kind.RELEASED for d in drafts):
            n_new = 0  # the space has nothing more; the scheduler may still have
    raise NotReady


def take_over(ledger: Ledger, *, at_once: bool = False) -> bool:
    """Let the trials and numbers of processes whose lease has run out wait for others; tell whether there were any.

    The caller has caught up with the log just now; see `Lease.lost`.
    """
    lost = ledger.lease.lost(at_once=at_once)
    drafts = left_drafts(ledger.history, lost.__contains__, now=time.time)
    if drafts:
        _write(ledger, drafts)
    ledger.bury(lost)
    return bool(drafts)


def room_of(assigned: Sequence[Assignment]) -> dict[int, int]:
    """Return how many more trials the brackets of what was *assigned* may have, where that is limited."""
    new = (one for one in assigned if isinstance(one, New))
    return {one.bracket: one.room for one in new if one.bracket is not None and one.room is not None}


def _drafts(
    ledger: Ledger, sampler: Sampler, scheduler: Scheduler, n: int, n_new: int
) -> tuple[list[Draft], dict[int, int]]:
    """Return drafts that start up to *n* trials, and what room their brackets have."""
    if (below := _below(ledger.history)) is not None:
        n_new = min(n_new, n_left(ledger.history, below))
    numbers = waiting_numbers(ledger.history)[:n]
    drafts: list[Draft] = []
    room: dict[int, int] = {}
    if len(numbers) < n:
        try:
            drafts, room = _ask(ledger, sampler, scheduler, n - len(numbers), n_new)
        except SearchExhausted:
            if not numbers:
                why = _why_exhausted(ledger.history, n_new)
                raise SearchExhausted(f"study {ledger.name!r} has nothing left to ask: {why}") from None
        if not drafts and not numbers:
            if n_new and below is not None and not n_left(ledger.history, below):
                return _drafts(ledger, sampler, scheduler, n, 0)  # others were faster with the last numbers
            raise NotReady
        numbers += [d.trial for d in drafts if d.trial is not None and d.kind in (Kind.ASKED, Kind.RESUMED)]
    return drafts + [start_draft(number, now=time.time) for number in numbers], room


def _below(history: History) -> int | None:
    """Return the first number beyond the trials that the study was made for, if their number was given."""
    n_trials = history.settings.get("n_trials")
    return None if n_trials is None else history.first_beyond(n_trials)


def _why_exhausted(history: History, n_new: int) -> str:
    if n_new:
        return "its scheduler is done"
    below = _below(history)
    if below is not None and not n_left(history, below):
        return f"it was made for n_trials={history.settings['n_trials']}, and all are asked"
    return "every config of the space was asked"


def _ask(
    ledger: Ledger, sampler: Sampler, scheduler: Scheduler, n: int, n_new: int
) -> tuple[list[Draft], dict[int, int]]:
    """Reserve numbers for what the scheduler assigns; return drafts that give each a config or release it, and room."""
    assigned = heeded(scheduler.assign(ledger.history, n, n_new), n, n_new)
    new = [a for a in assigned if isinstance(a, New)]
    drafts = assigned_drafts(assigned, now=time.time)
    if new:
        numbers = _reserved(ledger, len(new))
        try:
            drafts += _ask_for(ledger, sampler, numbers, new)
        except BaseException:
            _write(ledger, [Draft(Kind.RELEASED, number) for number in numbers])
            raise
    return drafts, room_of(assigned)


def _reserved(ledger: Ledger, n: int) -> Sequence[int]:
    """Reserve up to *n* numbers, those first that processes of this host have left which are there no more."""
    while True:
        left = release_drafts(ledger.history, is_gone, now=time.time)
        try:
            return ledger.commit(left, reserve=n, below=_below(ledger.history), durable=False).numbers
        except StateError:  # others were faster with what was left
            if not ledger.catch_up():
                raise


def _ask_for(ledger: Ledger, sampler: Sampler, numbers: Sequence[int], new: Sequence[New]) -> list[Draft]:
    """Return drafts that ask for *numbers*, as far as that can be now; the others are given back."""
    known = ledger.history
    drafts: list[Draft] = []
    left = list(numbers)
    while left and (possible := askable(known, left)):
        asked = ask_drafts(known, sampler, possible, new[len(drafts) :], now=time.time)
        known = ledger.preview(asked, known)
        drafts += asked
        left = left[len(asked) :]
    if left:
        _write(ledger, [Draft(Kind.RELEASED, number) for number in left])
    return drafts


def _write(
    ledger: Ledger, drafts: list[Draft], known: History | None = None, room: Mapping[int, int] | None = None
) -> list[Draft]:
    """Write *drafts* and return them, without those that other processes have made impossible meanwhile.

    With *known*, what they were made from, numbers whose config somebody else was given since are released, and those
    for whose bracket there is no *room* left.
    """
    while True:
        try:
            ledger.commit(drafts, known=known, room=room, durable=False)
            return drafts
        except StateError as refusal:
            news = ledger.catch_up()
            drafts, taken = ledger.salvaged(drafts, known, None if news else refusal, room)
            if taken:
                ledger.commit([Draft(Kind.RELEASED, number) for number in taken], durable=False)
