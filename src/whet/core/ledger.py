"""A study's log and what is known from it, kept in step."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from threading import RLock

from whet.core.columns import Finished, as_config
from whet.core.events import Draft, Event, Kind
from whet.core.history import History
from whet.core.leases import Lease, lease_s_in
from whet.core.owner import this_process
from whet.core.protocols import Appended, Store, StudyRecord
from whet.core.trial import Trial
from whet.errors import StateError
from whet.space.plain import value_key

_BEGUN = (Kind.RESUMED, Kind.STOPPED)  # kinds of drafts about trials that others may have gone on with


class Ledger:
    """Writes events to a store and folds them, and those of other processes, into ``history``.

    Several threads may use one: each write is folded before the next one is made.

    Attributes:
        history: what is known.
        unheard: for a run that listens, events that were folded and the trials that ended or paused in them, whichever
            thread folded them; it takes them out. ``None``: nobody listens.
        lease: that this process holds from the first number it reserves, or the first attempt it begins.
    """

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self.store = store
        self.study = record.id
        self.name = record.name
        self.history: History = store.load(record.id)
        self.lease = Lease(store, record.id, lease_s_in(self.history.settings))
        self.unheard: deque[tuple[Sequence[Event], Sequence[Trial]]] | None = None
        # Trials whose current attempt was begun here, to its token and when that was, in monotonic seconds.
        self._began: dict[int, tuple[str, float]] = {}
        self._lock = RLock()

    def commit(
        self,
        drafts: Sequence[Draft],
        *,
        reserve: int = 0,
        below: int | None = None,
        fresh: Callable[[int], Sequence[Draft]] | None = None,
        known: History | None = None,
        room: Mapping[int, int] | None = None,
        durable: bool = True,
    ) -> Appended:
        """Write *drafts* and reserve numbers in one transaction, and fold all that is new; see `Store.append`.

        With *known*, what *drafts* that ask for trials and resume them were made from, nobody else may have been given
        one of the configs since, have filled the *room* of one of the brackets, or have resumed one of the trials.

        Raises:
            StateError: a draft that its trial's state does not allow, or that somebody else was faster with; nothing
                is written. See :meth:`salvaged`.
            StoreError: the store cannot be written; nothing is.
        """

        def check(foreign: Sequence[Event]) -> None:
            now = self.history.extended(foreign) if foreign else self.history
            if known is not None and (refused(drafts, known, now, room) or resumed_since(drafts, known, now)):
                raise StateError("a config, a place in a bracket or a trial that somebody else has got meanwhile")

        is_checked = known is not None and self._may_be_late(drafts, room)
        if reserve or any(draft.kind is Kind.STARTED for draft in drafts):
            self.lease.keep()  # before anybody can see what it is for
        with self._lock:
            appended = self.store.append(
                self.study,
                drafts,
                after=self.history.seq,
                reserve=reserve,
                below=below,
                fresh=fresh,
                check=check if is_checked else None,
                owner=this_process(),
                durable=durable,
            )
            self._fold(appended.events)
            for draft in drafts:
                if draft.kind is Kind.STARTED and draft.trial is not None:
                    ago_s = 0.0 if draft.time is None else max(0.0, time.time() - draft.time)  # it may be said later
                    self._began[draft.trial] = draft.payload["token"], time.monotonic() - ago_s
                    self.lease.begun(draft.payload["token"])
        return appended

    def took_s(self, attempt: Trial) -> float | None:
        """Return the seconds since that *attempt* was begun, if it was begun here and nobody has ended it."""
        token, began = self._began.get(attempt.number, (None, 0.0))
        return None if token is None or token != attempt.token else time.monotonic() - began

    def bury(self, lost: frozenset[str]) -> None:
        """Forget whose leases have run out, but for those who have begun more than was known when that was found.

        Raises:
            StoreError: the store cannot be read.
        """
        if lost:
            self.catch_up()
            self.lease.bury(lost.difference(trial.owner for trial in self.history.active.values()))

    def holder(self) -> str | None:
        """Return who runs the study now, as `StudyRecord` has it."""
        return self.store.studies(self.name)[0].holder

    def _may_be_late(self, drafts: Sequence[Draft], room: Mapping[int, int] | None) -> bool:
        """Tell whether others may be faster with any of *drafts*: to fold what they wrote takes time, and all wait."""
        kinds = {draft.kind for draft in drafts if draft.token is None}
        is_limited = bool(room) or self.history.problem.space.is_finite
        return not kinds.isdisjoint(_BEGUN) or (Kind.ASKED in kinds and is_limited)

    def catch_up(self) -> list[Event]:
        """Fold what other processes have written; return their events."""
        with self._lock:
            events = self.store.events(self.study, after=self.history.seq)
            if events:
                self._fold(events)
        return events

    def trial(self, number: int) -> Trial:
        """Return trial *number* as it is now: other threads may have written since it was in ``history``."""
        history = self.history
        ended = (trial for trial in history.just_ended if trial.number == number)
        found = history.unfinished.get(number) or next(ended, None)
        return found or self.store.trials(self.study, numbers=[number])[0]

    def _fold(self, events: Sequence[Event]) -> None:
        self.history = self.history.extended(events)
        for number in self._began.keys() & {event.trial for event in events}:
            trial, token = self.history.unfinished.get(number), self._began[number][0]
            if trial is None or trial.token != token:  # whoever has ended that attempt
                del self._began[number]
                self.lease.ended(token)
        if self.unheard is not None and events:
            self.unheard.append((events, self.history.just_ended))

    def preview(self, drafts: Sequence[Draft], known: History | None = None) -> History:
        """Return *known* (by default the history) as it will be with *drafts* written, if nobody writes before.

        Drafts that the store will refuse, as their attempt is no longer the current one, are left out.
        """
        return previewed(drafts, self.history if known is None else known)

    def salvaged(
        self,
        drafts: Sequence[Draft],
        known: History | None,
        refusal: StateError | None,
        room: Mapping[int, int] | None = None,
    ) -> tuple[list[Draft], set[int]]:
        """Return what can still be written of *drafts*, and the numbers that are to be asked anew, which are left out.

        Args:
            drafts: that :meth:`commit` refused, before what others had written was folded.
            known: what they were made from.
            refusal: its error, where there was nothing to be folded.
            room: that the brackets had then.

        Raises:
            StateError: the *refusal*, as all of *drafts* seem to be possible.
        """
        taken, late = set[int](), set[int]()
        if known is not None:
            taken, late = refused(drafts, known, self.history, room), resumed_since(drafts, known, self.history)
        # What an attempt itself says, with its token, is written whatever has become of plans for its trial.
        possible = self.possible(
            [d for d in drafts if d.trial not in taken and not (d.trial in late and d.token is None)]
        )
        if refusal is not None and len(possible) == len(drafts):
            raise refusal
        return possible, taken

    def possible(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return those of *drafts* that the history allows, one after the other: others may have been faster."""
        history = self.history
        kept: list[Draft] = []
        for draft in drafts:
            try:
                history = self.preview([draft], history)
            except StateError:
                continue
            kept.append(draft)
        return kept


def previewed(drafts: Sequence[Draft], history: History) -> History:
    """Return *history* with *drafts* written; those whose attempt is no longer the current one are left out."""
    current = [draft for draft in drafts if not _is_stale(draft, history)]
    return history.extended(_events(current, history)) if current else history


def refused(drafts: Sequence[Draft], known: History, now: History, room: Mapping[int, int] | None = None) -> set[int]:
    """Return which trials that *drafts* ask for cannot be, as others have begun some since.

    In a finite space no two configs may be the same, and no bracket may have more trials than it had *room* for.

    Args:
        drafts: whatever is to be written.
        known: what they were made from.
        now: what is known now.
        room: how many more trials a bracket might have, where that is limited.
    """
    asked = {d.trial: d.payload for d in drafts if d.kind is Kind.ASKED and d.trial is not None}
    if not asked or not (room or now.problem.space.is_finite):
        return set()
    others = _begun_since(known, now, asked.keys())
    found = set[int]()
    if now.problem.space.is_finite:
        given: dict[Hashable, int] = {
            value_key(as_config(other.config)): other.number // now.repeats for other in others
        }
        groups = {number: given.get(value_key(payload["config"])) for number, payload in asked.items()}
        found |= {number for number, group in groups.items() if group not in (None, number // now.repeats)}
    n_begun = Counter(other.bracket for other in others)
    for number, payload in asked.items():
        bracket = payload.get("bracket")
        limit = (room or {}).get(bracket) if bracket is not None else None
        if limit is not None and number not in found:
            n_begun[bracket] += 1
            if n_begun[bracket] > limit:
                found.add(number)
    return found


def resumed_since(drafts: Sequence[Draft], known: History, now: History) -> set[int]:
    """Return which trials that were paused in *known*, and that *drafts* resume or end, have made an attempt since."""
    numbers = {d.trial for d in drafts if d.kind in (Kind.RESUMED, Kind.STOPPED) and d.token is None}
    pairs = [(known.unfinished.get(number), now.unfinished.get(number)) for number in numbers if number is not None]
    return {
        after.number
        for before, after in pairs
        if before is not None and after is not None and before.attempt != after.attempt
    }


def _begun_since(known: History, now: History, ours: Collection[int]) -> list[Trial | Finished]:
    """Return the trials, *ours* apart, that have got a config since *known*."""
    reserved = (number for number, trial in known.active.items() if trial.is_reserved)
    numbers = {*reserved, *range(known.n_numbers, now.n_numbers)}.difference(ours)
    unfinished = [trial for number in numbers if (trial := now.unfinished.get(number)) is not None]
    begun: list[Trial | Finished] = [trial for trial in unfinished if trial.config is not None]
    ended = numbers.difference(trial.number for trial in unfinished)
    for row in reversed(now.finished if ended else ()):  # they have ended lately
        if row.number in ended:
            begun.append(row)
            ended.remove(row.number)
            if not ended:
                break
    return begun


def _is_stale(draft: Draft, history: History) -> bool:
    trial = None if draft.trial is None else history.unfinished.get(draft.trial)
    return draft.token is not None and (trial is None or trial.token != draft.token)


def _events(drafts: Sequence[Draft], history: History) -> list[Event]:
    return [
        Event(seq, draft.kind, draft.trial, 0, draft.time or 0.0, draft.payload)
        for seq, draft in enumerate(drafts, start=history.seq + 1)
    ]
