"""A study's log and what is known from it, kept in step."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.events import Draft, Event
from whet.core.history import History
from whet.core.owner import this_process
from whet.core.protocols import Appended, Store, StudyRecord


class Ledger:
    """Writes events to a store and folds them, and those of other processes, into ``history``."""

    def __init__(self, store: Store, record: StudyRecord) -> None:
        self.store = store
        self.study = record.id
        self.name = record.name
        self.history: History = store.load(record.id)

    def commit(self, drafts: Sequence[Draft], *, reserve: int = 0, durable: bool = True) -> Appended:
        """Write *drafts* and reserve numbers in one transaction, and fold all that is new.

        Raises:
            StateError: a draft that its trial's state does not allow; nothing is written.
            StoreError: the store cannot be written; nothing is.
        """
        appended = self.store.append(
            self.study,
            drafts,
            after=self.history.seq,
            reserve=reserve,
            owner=this_process(),
            durable=durable,
        )
        self.history = self.history.extended(appended.events)
        return appended

    def catch_up(self) -> list[Event]:
        """Fold what other processes have written; return their events."""
        events = self.store.events(self.study, after=self.history.seq)
        if events:
            self.history = self.history.extended(events)
        return events

    def preview(self, drafts: Sequence[Draft]) -> History:
        """Return the history as it will be once *drafts* are written, if nobody else writes before."""
        if not drafts:
            return self.history
        seq = self.history.seq
        return self.history.extended(
            Event(seq + i, draft.kind, draft.trial, 0, draft.time or 0.0, draft.payload)
            for i, draft in enumerate(drafts, start=1)
        )
