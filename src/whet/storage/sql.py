"""Studies in a database.

What is a database's own is in :mod:`whet.storage.sqlite` and :mod:`whet.storage.postgres`.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from whet.core import jsontext
from whet.core.events import Draft, Event, Kind
from whet.core.history import History, amended
from whet.core.problem import Problem
from whet.core.protocols import Appended, StudyRecord, Summary
from whet.core.trial import Trial
from whet.errors import StoreDamaged, StudyNotFound
from whet.storage import rows
from whet.storage.batch import Batch, Progress, check_name, is_text, name_taken, study_busy, unknown_name
from whet.storage.database import Database, Found, Session, T
from whet.storage.sqlite import SqliteFile
from whet.storage.statements import NO_LIMIT

WAIT_S = 60.0

_FIRST = -1  # before every trial number
_LAST = 2**62


class _Standing(NamedTuple):
    """How a study stands when an append begins."""

    progress: Progress
    foreign: list[Any]  # rows of others' events that the caller does not know, to be decoded when nobody waits for us
    free: list[int]  # numbers that were released, as many as may be needed
    known: dict[int, Trial]  # unfinished trials as they are now; there may be others
    find: Callable[[int], Trial | None]


class SqlStore:
    """Studies in a database, shared by any number of processes.

    Args:
        database: an open one, or the path of an SQLite file; it and its folder are made if they do not exist.
        must_exist: refuse a file that does not exist instead.
        wait_s: how long to wait for another process that is writing to the file.

    Raises:
        StoreError: the file cannot be used; the kind of error says why.
        StudyNotFound: *must_exist*, and there is no file.
    """

    def __init__(self, database: Database | Path | str, *, must_exist: bool = False, wait_s: float = WAIT_S) -> None:
        if isinstance(database, (Path, str)):
            database = SqliteFile(Path(database), must_exist=must_exist, wait_s=wait_s)
        self._database = database
        self._sql = database.sql
        self.url = database.url
        self._problems: dict[int, Problem] = {}
        # Study to seq, and trials as they are at that seq: unfinished ones, of which others may be there.
        self._known: dict[int, tuple[int, dict[int, Trial]]] = {}
        self._finalizer = weakref.finalize(self, database.close)

    # ------------------------------------------------------------------------------------------------ studies
    def create(self, name: str, settings: Mapping[str, Any], *, created_at: float | None = None) -> StudyRecord:
        """See `Store.create`; *created_at* is given for a study that is copied."""
        check_name(name)
        text = jsontext.dumps(settings)
        now = time.time() if created_at is None else created_at
        row = {"name": name, "created_at": now, "settings": text}
        row |= rows.progress_row(Progress(seq=1, last_event_at=now))

        def work(session: Session) -> int:
            if session.execute(self._sql.study_named, {"name": name}).fetchone() is not None:
                raise name_taken(name, self._database.place)
            study: int = session.execute(self._sql.add_study, row).fetchone()[0]
            created = Event(1, Kind.CREATED, None, 0, now, {})
            session.execute(self._sql.add_event, rows.event_row(study, created, text))
            return study

        return StudyRecord(self._database.write(work), name, now, jsontext.loads(text))

    def studies(self, name: str | None = None) -> list[StudyRecord]:
        """See `Store.studies`."""

        def work(session: Session) -> list[Any]:
            if name is None:
                return session.execute(self._sql.studies).fetchall()
            # What databases refuse as a text is no study's name.
            found = session.execute(self._sql.study_named, {"name": name}).fetchall() if is_text(name) else []
            if not found:
                names = [row[1] for row in session.execute(self._sql.studies).fetchall()]
                raise unknown_name(name, names, self._database.place)
            return found

        found = self._database.read(work)
        holders = self._database.holders([row[0] for row in found])
        return [
            StudyRecord(study, known, at, self._decoded(jsontext.loads, text), *holders.get(study, ()))
            for study, known, at, text in found
        ]

    def delete(self, study: int) -> None:
        """See `Store.delete`."""
        with self.hold(study):
            self._database.write(lambda session: session.execute(self._sql.drop_study, {"study_id": study}))
            self._database.forget(study)

    @contextmanager
    def hold(self, study: int, *, shared: bool = False) -> Iterator[None]:
        """See `Store.hold`."""
        name = self._database.read(lambda session: self._one(session, self._sql.study_name, study)[0])
        with self._database.hold(study, shared=shared) as is_ours:
            if not is_ours:
                holder = self._database.holders([study]).get(study, "another process")
                raise study_busy(name, holder)
            yield

    def lease(self, study: int, owner: str = "", *, for_s: float | None = None) -> frozenset[str]:
        """See `Store.lease`."""
        moment = self._database.moment()
        text = jsontext.dumps(owner)
        of_owner = {"study_id": study, "digest": hashlib.sha256(text.encode()).hexdigest()}

        def work(session: Session) -> list[str]:
            self._one(session, self._sql.study_name, study)
            if for_s:
                row = {"study": study, "digest": of_owner["digest"], "owner": text, "for_s": for_s, **moment}
                session.execute(self._sql.put_lease, row)
            elif for_s is not None:
                session.execute(self._sql.drop_lease, of_owner)
            return self._all(session, self._sql.run_out, lambda row: jsontext.loads(row[0]), study, moment)

        if for_s is None:
            return frozenset(self._database.read(work))
        return frozenset(self._database.write(work, durable=False))  # who loses power lives no more

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
        """See `Store.append`."""

        def work(session: Session) -> tuple[Batch, _Standing, list[int]]:
            standing = self._standing(session, study, drafts, after, reserve)
            if check is not None:
                check(self._events_of(standing.foreign))
            batch = Batch(standing.progress, standing.find)
            batch.add_all(drafts, fresh)
            numbers = batch.reserve(reserve, standing.free, owner, below) if reserve else []
            self._write(session, study, batch)
            return batch, standing, numbers

        batch, standing, numbers = self._database.write(work, study=study, durable=durable)
        known = standing.known
        for number, trial in batch.after.items():
            if trial.state.is_final:
                known.pop(number, None)
            else:
                known[number] = trial
        self._known[study] = (batch.progress.seq, known)
        return Appended([*self._events_of(standing.foreign), *batch.events], batch.refused, numbers)

    def _standing(
        self, session: Session, study: int, drafts: Sequence[Draft], after: int | None, reserve: int
    ) -> _Standing:
        """Return what an append has to know, while nobody else can write to the study.

        All is asked for at once: on the way to a server, answers take longer than questions.
        """
        sql, of_study = self._sql, {"study_id": study, "limit": NO_LIMIT}
        seq, known = self._known.get(study, (0, {}))
        numbers = {draft.trial for draft in drafts if draft.trial is not None}
        progress_row = session.execute(sql.progress, of_study)
        event_rows = None if after is None else session.execute(sql.events, {**of_study, "after": after})
        trial_rows = {n: session.execute(sql.trial, {**of_study, "number": n}) for n in numbers - known.keys()}
        # As many as this batch may change, and those that it asks for: see `Batch.reserve`.
        free_rows = session.execute(sql.free, {**of_study, "limit": reserve + len(numbers)}) if reserve else ()
        progress = rows.progress_of(self._row(progress_row, study))
        if after is not None and after > progress.seq:
            raise StoreDamaged(
                f"{self._database.place} has only {progress.seq} of the {after} events of study {study} that this "
                "process has seen: an older copy was put in its place. Start this process again"
            )
        foreign = [] if event_rows is None else event_rows.fetchall()
        if after is not None and after <= seq:
            known = _untouched(known, seq, foreign)
        elif seq != progress.seq:
            known = {}
        n_numbers = progress.n_numbers  # of which the batch makes more

        def find(number: int) -> Trial | None:
            if number in known or number >= n_numbers:
                return known.get(number)
            found = trial_rows.pop(number, None) or session.execute(sql.trial, {**of_study, "number": number})
            row = found.fetchone()
            return None if row is None else self._decoded(rows.trial_of, row)

        return _Standing(progress, foreign, [number for (number,) in free_rows], dict(known), find)

    def _write(self, session: Session, study: int, batch: Batch) -> None:
        if not batch.events:
            return
        sql = self._sql
        self._database.put(session, rows.written(study, batch, self._problem(session, study)))
        if batch.amendments:
            settings: Mapping[str, Any] = self._settings(session, study)
            for event in batch.amendments:
                settings = amended(settings, event)
            session.execute(sql.set_settings, {"study_id": study, "new_settings": jsontext.dumps(settings)})

    def events(self, study: int, after: int = 0, limit: int | None = None) -> list[Event]:
        """See `Store.events`. With nothing new this is as cheap as asking whether the file has changed."""
        parameters = {"study_id": study, "after": after, "limit": NO_LIMIT if limit is None else limit}

        def work(session: Session) -> list[Any]:
            progress = session.execute(self._sql.progress, parameters)
            found = session.execute(self._sql.events, parameters)
            self._row(progress, study)
            return found.fetchall()

        found = self._database.read(work)
        events = self._events_of(found)
        seq, known = self._known.get(study, (0, {}))
        if events and after <= seq < events[-1].seq:
            self._known[study] = events[-1].seq, _untouched(known, seq, found)
        return events

    def _events_of(self, found: Sequence[Any]) -> list[Event]:
        return self._decoded(lambda: [rows.event_of(row) for row in found])

    # ------------------------------------------------------------------------------------------------ what is known
    def load(self, study: int) -> History:
        """See `Store.load`."""
        sql = self._sql

        def work(session: Session) -> tuple[Callable[..., History], dict[str, Any]]:
            progress = rows.progress_of(self._one(session, sql.progress, study))
            settings = self._settings(session, study)
            metrics = self._problem(session, study).metrics
            unfinished = self._all(session, sql.unfinished, rows.trial_of, study)
            curves = dict(self._all(session, sql.curves, lambda row: (row[0], rows.curve_of(*row[1:])), study))
            finished = self._all(
                session, sql.finished, lambda row: (row[0], rows.finished_of(row, metrics, curves)), study
            )
            finished.sort(key=itemgetter(0))
            restore = partial(
                History.restore,
                seq=progress.seq,
                n_numbers=progress.n_numbers,
                unfinished={trial.number: trial for trial in unfinished},
                finished=[row for _, row in finished],
                pending_commands=progress.commands,
            )
            return restore, settings

        return self._decoded(*self._database.read(work))

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
        sql = self._sql
        start = (_LAST if newest_first else _FIRST) if after is None else after
        if numbers is None:
            queries = [(sql.page_newest_first if newest_first else sql.page, start)]
        else:
            wanted = sorted(set(numbers), reverse=newest_first)
            queries = [(sql.trial, n) for n in wanted if (n < start if newest_first else n > start)]
        parameters = {"study_id": study, "limit": NO_LIMIT if limit is None else limit}

        def work(session: Session) -> list[Any]:
            progress = session.execute(sql.progress, parameters)
            found = [session.execute(query, {**parameters, "after": n, "number": n}) for query, n in queries]
            self._row(progress, study)
            return [row for some in found for row in some.fetchall()]

        found = self._database.read(work)
        trials = self._decoded(lambda: [rows.trial_of(row) for row in found])
        return [trial for trial in trials if not trial.is_reserved][:limit]

    def summary(self, study: int) -> Summary:
        """See `Store.summary`."""

        def work(session: Session) -> Summary:
            progress = rows.progress_of(self._one(session, self._sql.progress, study))
            objectives = self._problem(session, study).objectives
            best: list[Trial] = []
            if objectives:
                top = self._sql.lowest if objectives[0].sign == 1 else self._sql.highest
                best = self._all(session, top, rows.trial_of, study, {"limit": 1})
            return Summary(progress.counts, best[0] if best else None, progress.last_event_at)

        return self._database.read(work)

    def close(self) -> None:
        """See `Store.close`."""
        self._finalizer()

    # ------------------------------------------------------------------------------------------------ helpers
    def _settings(self, session: Session, study: int) -> dict[str, Any]:
        settings: dict[str, Any] = self._decoded(jsontext.loads, self._one(session, self._sql.settings, study)[0])
        return settings

    def _problem(self, session: Session, study: int) -> Problem:
        """Return the study's problem, which never changes."""
        if study not in self._problems:
            settings = self._settings(session, study)
            self._problems[study] = self._decoded(lambda: Problem.from_json(settings["problem"]))
        return self._problems[study]

    def _one(self, session: Session, query: str, study: int) -> Sequence[Any]:
        """Return the one row that *query* finds of *study*."""
        return self._row(session.execute(query, {"study_id": study}), study)

    def _row(self, found: Found, study: int) -> Sequence[Any]:
        row: Sequence[Any] | None = found.fetchone()
        if row is None:
            raise StudyNotFound(f"study {study} is not in {self._database.place} (any more): it has been deleted")
        return row

    def _all(
        self,
        session: Session,
        query: str,
        decode: Callable[[Sequence[Any]], T],
        study: int,
        parameters: Mapping[str, Any] | None = None,
    ) -> list[T]:
        """Return the rows that *query* finds of *study*, decoded."""
        found = session.execute(query, {"study_id": study, **(parameters or {})})
        return self._decoded(lambda: [decode(row) for row in found])

    def _decoded(self, decode: Callable[..., T], *given: Any) -> T:
        try:
            return decode(*given)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise StoreDamaged(
                f"{self._database.place} holds something that whet did not write ({error}). {self._database.remedy}"
            ) from error


def _untouched(known: Mapping[int, Trial], seq: int, events: Sequence[Any]) -> dict[int, Trial]:
    """Return those of the trials *known* as they were at *seq* that no event since then is about, of rows *events*."""
    touched = {number for at, _, number, *_ in events if at > seq}
    return {number: trial for number, trial in known.items() if number not in touched}
