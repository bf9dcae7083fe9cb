"""A study's log and what is known from it, kept in step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from threading import RLock
from typing import Any

from whet.core.events import Draft, Event, Kind
from whet.core.history import History
from whet.core.owner import this_process
from whet.core.protocols import Appended, Store, StudyRecord
from whet.core.trial import Trial
from whet.errors import StateError
from whet.space.plain import value_key


class Ledger:
    """Writes events to a store and folds them, and those of other processes, into ``history``.

    Several threads may use one: each write is folded before the next one is made.

    Attributes:
        history: what is known.
        unheard: for a run that listens, events that were folded and the trials that ended in them, whichever thread
            folded them; it takes them out. ``None``: nobody listens.
    """

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self.store = store
        self.study = record.id
        self.name = record.name
        self.history: History = store.load(record.id)
        self.unheard: deque[tuple[Sequence[Event], Sequence[Trial]]] | None = None
        self._lock = RLock()

    def commit(
        self,
        drafts: Sequence[Draft],
        *,
        reserve: int = 0,
        below: int | None = None,
        fresh: Callable[[int], Sequence[Draft]] | None = None,
        known: History | None = None,
        durable: bool = True,
    ) -> Appended:
        """Write *drafts* and reserve numbers in one transaction, and fold all that is new; see `Store.append`.

        With *known*, what configs in *drafts* were chosen from, nobody else may have been given one of these since.

        Raises:
            StateError: a draft that its trial's state does not allow, or a config that somebody else was given;
                nothing is written. See :meth:`salvaged`.
            StoreError: the store cannot be written; nothing is.
        """

        def check(foreign: Sequence[Event]) -> None:
            now = self.history.extended(foreign) if foreign else self.history
            if known is not None and taken_numbers(drafts, known, now):
                raise StateError("a config that somebody else has been given meanwhile")

        is_checked = known is not None and any(draft.kind is Kind.ASKED for draft in drafts)
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
        return appended

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
        found = next(ended, None) or history.unfinished.get(number)
        return found or self.store.trials(self.study, numbers=[number])[0]

    def _fold(self, events: Sequence[Event]) -> None:
        self.history = self.history.extended(events)
        if self.unheard is not None and events:
            self.unheard.append((events, self.history.just_ended))

    def preview(self, drafts: Sequence[Draft], known: History | None = None) -> History:
        """Return *known* (by default the history) as it will be with *drafts* written, if nobody writes before.

        Drafts that the store will refuse, as their attempt is no longer the current one, are left out.
        """
        return previewed(drafts, self.history if known is None else known)

    def salvaged(
        self, drafts: Sequence[Draft], known: History | None, refusal: StateError | None
    ) -> tuple[list[Draft], set[int]]:
        """Return what can still be written of *drafts*, and the numbers that need another config, which is left out.

        Args:
            drafts: that :meth:`commit` refused, before what others had written was folded.
            known: what their configs were chosen from.
            refusal: its error, where there was nothing to be folded.

        Raises:
            StateError: the *refusal*, as all of *drafts* seem to be possible.
        """
        taken = set[int]() if known is None else taken_numbers(drafts, known, self.history)
        possible = self.possible([draft for draft in drafts if draft.trial not in taken])
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


def taken_numbers(drafts: Sequence[Draft], known: History, now: History) -> set[int]:
    """Return which of *drafts* ask for a config that another one was given since it was chosen, in a finite space.

    Args:
        drafts: whatever is to be written.
        known: what their configs were chosen from.
        now: what is known now.
    """
    asked = {d.trial: d.payload for d in drafts if d.kind is Kind.ASKED and d.trial is not None}
    if not asked or not now.problem.space.is_finite:
        return set()
    unknown_then = [number for number, trial in known.unfinished.items() if trial.is_reserved]
    others = [n for n in (*unknown_then, *range(known.n_numbers, now.n_numbers)) if n not in asked]
    given: dict[Hashable, int] = {}
    for number in others:
        config = _config_of(number, now)
        if config is not None:
            given[value_key(config)] = number // now.repeats
    groups = {number: given.get(value_key(payload["config"])) for number, payload in asked.items()}
    return {number for number, group in groups.items() if group not in (None, number // now.repeats)}


def _config_of(number: int, history: History) -> Mapping[str, Any] | None:
    trial = history.unfinished.get(number)
    return history.finished_config(range(number, number + 1)) if trial is None else trial.config


def _is_stale(draft: Draft, history: History) -> bool:
    trial = None if draft.trial is None else history.unfinished.get(draft.trial)
    return draft.token is not None and (trial is None or trial.token != draft.token)


def _events(drafts: Sequence[Draft], history: History) -> list[Event]:
    return [
        Event(seq, draft.kind, draft.trial, 0, draft.time or 0.0, draft.payload)
        for seq, draft in enumerate(drafts, start=history.seq + 1)
    ]
