"""Handing out trials: what a study does when it is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from whet.core.asking import ask_drafts, assigned_drafts, heeded, release_drafts, start_draft, waiting_numbers
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

    At most *n_new* are new ones; ``None``: any number.

    Raises:
        SearchExhausted: there is nothing left to ask.
        NotReady: nothing can be asked until a running trial ends.
    """
    ledger.catch_up()
    for _ in range(_MOST_TRIES):  # others may be faster each time
        known = ledger.history
        drafts, room = _drafts(ledger, sampler, scheduler, n, n if n_new is None else n_new)
        drafts = _write(ledger, drafts, known, room)
        numbers = [d.trial for d in drafts if d.kind is Kind.STARTED and d.trial is not None]
        if numbers:
            return [ledger.trial(number) for number in numbers]
        if any(d.kind is Kind.RELEASED for d in drafts):
            n_new = 0  # the space has nothing more; the scheduler may still have
    raise NotReady


def room_of(assigned: Sequence[Assignment]) -> dict[int, int]:
    """Return how many more trials the brackets of what was *assigned* may have, where that is limited."""
    new = (one for one in assigned if isinstance(one, New))
    return {one.bracket: one.room for one in new if one.bracket is not None and one.room is not None}


def _drafts(
    ledger: Ledger, sampler: Sampler, scheduler: Scheduler, n: int, n_new: int
) -> tuple[list[Draft], dict[int, int]]:
    """Return drafts that start up to *n* trials, and what room their brackets have."""
    numbers = waiting_numbers(ledger.history)[:n]
    drafts: list[Draft] = []
    room: dict[int, int] = {}
    if len(numbers) < n:
        try:
            drafts, room = _ask(ledger, sampler, scheduler, n - len(numbers), n_new)
        except SearchExhausted:
            if not numbers:
                what = "every config of the space was asked" if n_new == 0 else "its scheduler is done"
                raise SearchExhausted(f"study {ledger.name!r} has nothing left to ask: {what}") from None
        if not drafts and not numbers:
            raise NotReady
        numbers += [d.trial for d in drafts if d.trial is not None and d.kind in (Kind.ASKED, Kind.RESUMED)]
    return drafts + [start_draft(number, now=time.time) for number in numbers], room


def _ask(
    ledger: Ledger, sampler: Sampler, scheduler: Scheduler, n: int, n_new: int
) -> tuple[list[Draft], dict[int, int]]:
    """Reserve numbers for what the scheduler assigns; return drafts that give each a config or release it, and room."""
    assigned = heeded(scheduler.assign(ledger.history, n, n_new), n, n_new)
    new = [a for a in assigned if isinstance(a, New)]
    drafts = assigned_drafts(assigned, now=time.time)
    if new:
        left = release_drafts(ledger.history, is_gone, now=time.time)
        numbers = ledger.commit(left, reserve=len(new), durable=False).numbers
        try:
            drafts += _ask_for(ledger, sampler, numbers, new)
        except BaseException:
            _write(ledger, [Draft(Kind.RELEASED, number) for number in numbers])
            raise
    return drafts, room_of(assigned)


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
