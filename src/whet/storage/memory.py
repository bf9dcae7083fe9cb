"""Studies in this process's memory: the trivial twin of the database, by the same rules."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from whet.core import jsontext
from whet.core.columns import Finished
from whet.core.events import Draft, Event, Kind
from whet.core.history import History, amended
from whet.core.problem import Problem
from whet.core.protocols import Appended, StudyRecord, Summary
from whet.core.trial import Trial
from whet.errors import StoreError, StudyNotFound
from whet.storage.batch import Batch, Progress, check_name, is_free, name_taken, study_busy, unknown_name, value_to_rank
from whet.storage.locks import Holder, this_holder


@dataclass(slots=True)
class _Kept:
    """A study with all that is known of it."""

    record: StudyRecord
    problem: Problem
    progress: Progress
    events: list[Event]  # since the last one forgotten
    n_forgotten: int = 0
    trials: dict[int, Trial] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)  # numbers, in the order in which they ended
    free: set[int] = field(default_factory=set)  # released numbers
    best: tuple[float, int] | None = None  # (value to minimise, number)
    leases: dict[str, float] = field(default_factory=dict)  # owner to when it runs out, in monotonic seconds

    def after(self, seq: int) -> list[Event]:
        """Return the events after *seq*.

        Raises:
            StoreError: they are not kept any more.
        """
        if seq < self.n_forgotten:
            raise StoreError(
                f"the events of study {self.record.name!r} up to {self.n_forgotten} are gone: its store keeps no log, "
                "so only one object can write to it, and what it was before cannot be told"
            )
        return self.events[seq - self.n_forgotten :]

    def forget(self) -> None:
        """Drop all events."""
        self.n_forgotten += len(self.events)
        self.events.clear()


class MemoryStore:
    """Studies that end with this process; safe to use from several threads.

    Args:
        keeps_log: keep all events. Without them, which are most of a study of very many trials, only one `Ledger` can
            write to a study, and :meth:`events` has but the newest: enough for a simulation.
    """

    url = ":memory:"

    def __init__(self, *, keeps_log: bool = True) -> None:
        self._keeps_log = keeps_log
        self._studies: dict[int, _Kept] = {}
        self._last_id = 0
        self._holders: dict[int, list[tuple[bool, float]]] = {}  # of each who holds a study: shared or not, since when
        self._mutex = threading.RLock()

    # ------------------------------------------------------------------------------------------------ studies
    def create(self, name: str, settings: Mapping[str, Any]) -> StudyRecord:
        """See `Store.create`."""
        check_name(name)
        kept = jsontext.loads(jsontext.dumps(settings))
        now = time.time()
        with self._mutex:
            if any(study.record.name == name for study in self._studies.values()):
                raise name_taken(name, "memory")
            self._last_id += 1
            record = StudyRecord(self._last_id, name, now, kept)
            self._studies[record.id] = _Kept(
                record,
                Problem.from_json(kept["problem"]),
                Progress(seq=1, last_event_at=now),
                [Event(1, Kind.CREATED, None, 0, now, kept)],
            )
        return record

    def studies(self, name: str | None = None) -> list[StudyRecord]:
        """See `Store.studies`."""
        with self._mutex:
            records = [study.record for study in self._studies.values()]
            for i, record in enumerate(records):
                if record.id in self._holders:
                    holder = self._holder(record.id)
                    records[i] = replace(record, holder=holder.who, held_since=holder.since)
        found = [record for record in records if name in (None, record.name)]
        if name is not None and not found:
            raise unknown_name(name, [record.name for record in records], "memory")
        return found

    def delete(self, study: int) -> None:
        """See `Store.delete`."""
        with self.hold(study), self._mutex:
            del self._studies[study]

    @contextmanager
    def hold(self, study: int, *, shared: bool = False) -> Iterator[None]:
        """See `Store.hold`."""
        with self._mutex:
            name = self._kept(study).record.name
            if study in self._holders and not (shared and all(shares for shares, _ in self._holders[study])):
                raise study_busy(name, self._holder(study))
            ours = (shared, time.time())
            self._holders.setdefault(study, []).append(ours)
        try:
            yield
        finally:
            with self._mutex:
                self._holders[study].remove(ours)
                if not self._holders[study]:
                    del self._holders[study]

    def lease(self, study: int, owner: str = "", *, for_s: float | None = None) -> frozenset[str]:
        """See `Store.lease`."""
        now = time.monotonic()
        with self._mutex:
            leases = self._kept(study).leases
            if for_s:
                leases[owner] = now + for_s
            elif for_s is not None:
                leases.pop(owner, None)
            return frozenset(name for name, ends_at in leases.items() if ends_at <= now)

    # ------------------------------------------------------------------------------------------------ events
    def append(
        self,
        study: int,
        drafts: Sequence[Draft],
        *,
        after: int | None = None,
        reserve: int = 0,
        below: int | None = None,
        fresh: Callable[[int], Sequence[Draft]] | None = None,
        check: Callable[[Sequence[Event]], None] | None = None,
        owner: str = "",
        durable: bool = True,
    ) -> Appended:
        """See `Store.append`; *durable* makes no difference here."""
        with self._mutex:
            kept = self._kept(study)
            progress = replace(kept.progress, counts=dict(kept.progress.counts), commands=dict(kept.progress.commands))
            after = progress.seq if after is None else after
            if check is not None:
                check(kept.after(after))
            batch = Batch(progress, kept.trials.get)
            batch.add_all(drafts, fresh)
            numbers = batch.reserve(reserve, sorted(kept.free), owner, below) if reserve else []
            self._commit(kept, batch)
            appended = Appended(kept.after(after), batch.refused, numbers)
            if not self._keeps_log:
                kept.forget()
            return appended

    def _commit(self, kept: _Kept, batch: Batch) -> None:
        kept.progress = batch.progress
        kept.events += batch.events
        kept.trials |= batch.after
        for number, trial in batch.after.items():
            (kept.free.add if is_free(trial) else kept.free.discard)(number)
        for number in batch.ended:
            kept.ended.append(number)
            value = value_to_rank(batch.after[number], kept.problem)
            if value is not None:
                rank = (kept.problem.objectives[0].sign * value, number)
                kept.best = rank if kept.best is None else min(kept.best, rank)
        for event in batch.amendments:
            kept.record = replace(kept.record, settings=amended(kept.record.settings, event))

    def events(self, study: int, after: int = 0, limit: int | None = None) -> list[Event]:
        """See `Store.events`."""
        with self._mutex:
            return self._kept(study).after(after)[:limit]

    # ------------------------------------------------------------------------------------------------ what is known
    def load(self, study: int) -> History:
        """See `Store.load`."""
        with self._mutex:
            kept = self._kept(study)
            metrics = kept.problem.metrics
            return History.restore(
                kept.record.settings,
                seq=kept.progress.seq,
                n_numbers=kept.progress.n_numbers,
                unfinished={n: trial for n, trial in kept.trials.items() if not trial.state.is_final},
                finished=[Finished.of(kept.trials[number], metrics) for number in kept.ended],
                pending_commands=kept.progress.commands,
            )

    def trials(
        self,
        study: int,
        *,
        numbers: Sequence[int] | None = None,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Trial]:
        """See `Store.trials`."""
        with self._mutex:
            trials = self._kept(study).trials
            wanted = sorted(trials if numbers is None else trials.keys() & set(numbers), reverse=newest_first)
            if after is not None:
                wanted = [number for number in wanted if (number < after if newest_first else number > after)]
            return [trials[number] for number in wanted if not trials[number].is_reserved][:limit]

    def summary(self, study: int) -> Summary:
        """See `Store.summary`."""
        with self._mutex:
            kept = self._kept(study)
            best = None if kept.best is None else kept.trials[kept.best[1]]
            return Summary(dict(kept.progress.counts), best, kept.progress.last_event_at)

    def close(self) -> None:
        """Do nothing: what is in memory stays as long as the store is in use."""

    def _kept(self, study: int) -> _Kept:
        if study not in self._studies:
            raise StudyNotFound(f"study {study} does not exist (any more): it has been deleted")
        return self._studies[study]

    def _holder(self, study: int) -> Holder:
        return Holder(this_holder(), min(since for _, since in self._holders[study]))
