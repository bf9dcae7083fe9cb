"""Studies in a database. The statements are portable SQL; what is SQLite's own is in :mod:`whet.storage.sqlite`."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from sqlite3 import Cursor
from typing import Any, TypeVar

from whet.core import jsontext
from whet.core.events import Draft, Event, Kind
from whet.core.history import History, amended
from whet.core.problem import Problem
from whet.core.protocols import Appended, StudyRecord, Summary
from whet.core.trial import Curve, Trial
from whet.errors import StoreDamaged, StudyBusy, StudyNotFound
from whet.storage import rows
from whet.storage.batch import Batch, Progress, check_name, name_taken, unknown_name
from whet.storage.sqlite import SQL, WHAT_TO_DO, SqliteFile
from whet.storage.statements import NO_LIMIT

_T = TypeVar("_T")
_WAIT_S = 60.0

_FIRST = -1  # before every trial number
_LAST = 2**62


class SqlStore:
    """Studies in one SQLite file, shared by any number of processes of this host.

    Args:
        path: the file; it and its folder are made if they do not exist.
        must_exist: refuse a file that does not exist instead.
        wait_s: how long to wait for another process that is writing.

    Raises:
        StoreError: the file cannot be used; the kind of error says why.
        StudyNotFound: *must_exist*, and there is no file.
    """

    def __init__(self, path: Path | str, *, must_exist: bool = False, wait_s: float = _WAIT_S) -> None:
        self._file = SqliteFile(Path(path), must_exist=must_exist, wait_s=wait_s)
        self.url = self._file.url
        self.path = self._file.path
        self._problems: dict[int, Problem] = {}
        self._known: dict[int, tuple[int, dict[int, Trial]]] = {}  # study to (seq, unfinished trials at that seq)
        self._finalizer = weakref.finalize(self, self._file.close)

    # ------------------------------------------------------------------------------------------------ studies
    def create(self, name: str, settings: Mapping[str, Any], *, created_at: float | None = None) -> StudyRecord:
        """See `Store.create`; *created_at* is given for a study that is copied."""
        check_name(name)
        text = jsontext.dumps(settings)
        now = time.time() if created_at is None else created_at
        progress = rows.progress_row(Progress(seq=1, last_event_at=now))
        with self._file.writing() as cursor:
            if cursor.execute(SQL.study_named, {"name": name}).fetchone() is not None:
                raise name_taken(name, str(self._file.path))
            row = {"name": name, "created_at": now, "settings": text, **progress}
            (study,) = cursor.execute(SQL.add_study, row).fetchone()
            created = Event(1, Kind.CREATED, None, 0, now, {})
            cursor.execute(SQL.add_event, rows.event_row(study, created, text))
        return StudyRecord(study, name, now, jsontext.loads(text))

    def studies(self, name: str | None = None) -> list[StudyRecord]:
        """See `Store.studies`."""
        with self._file.reading() as cursor:
            if name is None:
                found = cursor.execute(SQL.studies).fetchall()
            else:
                found = cursor.execute(SQL.study_named, {"name": name}).fetchall()
                if not found:
                    names = [row[1] for row in cursor.execute(SQL.studies)]
                    raise unknown_name(name, names, str(self._file.path))
        return [
            StudyRecord(study, known, at, self._decoded(jsontext.loads, text), self._file.holder(study))
            for study, known, at, text in found
        ]

    def delete(self, study: int) -> None:
        """See `Store.delete`."""
        with self.hold(study):
            with self._file.writing() as cursor:
                cursor.execute(SQL.drop_study, {"study_id": study})
            self._file.forget(study)

    @contextmanager
    def hold(self, study: int, *, shared: bool = False) -> Iterator[None]:
        """See `Store.hold`."""
        with self._file.reading() as cursor:
            name = self._one(cursor, SQL.study_name, study)[0]
        with self._file.hold(study, shared=shared) as is_ours:
            if not is_ours:
                holder = self._file.holder(study) or "another process"
                raise StudyBusy(f"study {name!r} is being run by {holder}; wait for it to end, or stop it")
            yield

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
        with self._file.writing(durable=durable) as cursor:
            progress = rows.progress_of(self._one(cursor, SQL.progress, study))
            after = progress.seq if after is None else after
            if after > progress.seq:
                raise StoreDamaged(
                    f"{self._file.path} has only {progress.seq} of the {after} events of study {study} that this "
                    "process has seen: an older copy was put in its place. Start this process again"
                )
            foreign = self._events(cursor, study, after) if after < progress.seq else []
            if check is not None:
                check(foreign)
            seq, known = self._known.get(study, (0, {}))
            unfinished = dict(known) if seq == progress.seq else {}
            n_numbers = progress.n_numbers

            def find(number: int) -> Trial | None:
                if number in unfinished or number >= n_numbers:
                    return unfinished.get(number)
                return self._trial(cursor, study, number)

            batch = Batch(progress, find)
            batch.add_all(drafts, fresh)
            numbers = self._reserve(cursor, study, batch, reserve, owner, below) if reserve else []
            self._write(cursor, study, batch)
        for number, trial in batch.after.items():
            if trial.state.is_final:
                unfinished.pop(number, None)
            else:
                unfinished[number] = trial
        self._known[study] = (progress.seq, unfinished)
        return Appended([*foreign, *batch.events], batch.refused, numbers)

    def _reserve(self, cursor: Cursor, study: int, batch: Batch, n: int, owner: str, below: int | None) -> list[int]:
        found = cursor.execute(SQL.free, {"study_id": study, "limit": n + len(batch.after)})
        return batch.reserve(n, [number for (number,) in found], owner, below)

    def _write(self, cursor: Cursor, study: int, batch: Batch) -> None:
        if not batch.events:
            return
        events = zip(batch.events, batch.texts, strict=True)
        cursor.executemany(SQL.add_event, [rows.event_row(study, event, text) for event, text in events])
        trials = rows.trial_rows(study, batch, self._problem(cursor, study))
        cursor.executemany(SQL.add_trial, [row for row in trials if batch.before[row["number"]] is None])
        cursor.executemany(SQL.put_trial, [row for row in trials if batch.before[row["number"]] is not None])
        cursor.executemany(SQL.put_curve, rows.curve_rows(study, batch))
        cursor.execute(SQL.set_progress, {"study_id": study, **rows.progress_row(batch.progress)})
        if batch.amendments:
            settings: Mapping[str, Any] = self._settings(cursor, study)
            for event in batch.amendments:
                settings = amended(settings, event)
            cursor.execute(SQL.set_settings, {"study_id": study, "new_settings": jsontext.dumps(settings)})

    def events(self, study: int, after: int = 0, limit: int | None = None) -> list[Event]:
        """See `Store.events`. With nothing new this is one look-up, as cheap as asking whether the file has changed."""
        with self._file.reading() as cursor:
            last_seq = self._one(cursor, SQL.progress, study)[0]
            return self._events(cursor, study, after, limit) if last_seq > after else []

    def _events(self, cursor: Cursor, study: int, after: int, limit: int | None = None) -> list[Event]:
        parameters = {"after": after, "limit": NO_LIMIT if limit is None else limit}
        return self._all(cursor, SQL.events, rows.event_of, study, parameters)

    # ------------------------------------------------------------------------------------------------ what is known
    def load(self, study: int) -> History:
        """See `Store.load`."""
        with self._file.reading() as cursor:
            progress = rows.progress_of(self._one(cursor, SQL.progress, study))
            settings = self._settings(cursor, study)
            metrics = self._problem(cursor, study).metrics
            unfinished = self._all(cursor, SQL.unfinished, rows.trial_of, study)
            curves = dict(self._all(cursor, SQL.curves, lambda row: (row[0], Curve(*row[1:])), study))
            finished = self._all(
                cursor, SQL.finished, lambda row: (row[0], rows.finished_of(row, metrics, curves)), study
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
        return self._decoded(restore, settings)

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
        with self._file.reading() as cursor:
            self._one(cursor, SQL.progress, study)
            if numbers is None:
                start = (_LAST if newest_first else _FIRST) if after is None else after
                parameters = {"after": start, "limit": NO_LIMIT if limit is None else limit}
                page = SQL.page_newest_first if newest_first else SQL.page
                return self._all(cursor, page, rows.trial_of, study, parameters)
            found = []
            for number in sorted(set(numbers), reverse=newest_first):
                trial = None
                if after is None or (number < after if newest_first else number > after):
                    trial = self._trial(cursor, study, number)
                if trial is not None and not trial.is_reserved:
                    found.append(trial)
            return found[:limit]

    def summary(self, study: int) -> Summary:
        """See `Store.summary`."""
        with self._file.reading() as cursor:
            progress = rows.progress_of(self._one(cursor, SQL.progress, study))
            objectives = self._problem(cursor, study).objectives
            best: list[Trial] = []
            if objectives:
                top = SQL.lowest if objectives[0].sign == 1 else SQL.highest
                best = self._all(cursor, top, rows.trial_of, study, {"limit": 1})
        return Summary(progress.counts, best[0] if best else None, progress.last_event_at)

    def close(self) -> None:
        """See `Store.close`."""
        self._finalizer()

    # ------------------------------------------------------------------------------------------------ helpers
    def _trial(self, cursor: Cursor, study: int, number: int) -> Trial | None:
        found = self._all(cursor, SQL.trial, rows.trial_of, study, {"number": number})
        return found[0] if found else None

    def _settings(self, cursor: Cursor, study: int) -> dict[str, Any]:
        settings: dict[str, Any] = self._decoded(jsontext.loads, self._one(cursor, SQL.settings, study)[0])
        return settings

    def _problem(self, cursor: Cursor, study: int) -> Problem:
        """Return the study's problem, which never changes."""
        if study not in self._problems:
            settings = self._settings(cursor, study)
            self._problems[study] = self._decoded(lambda: Problem.from_json(settings["problem"]))
        return self._problems[study]

    def _one(self, cursor: Cursor, query: str, study: int) -> Sequence[Any]:
        """Return the one row that *query* finds of *study*."""
        row: Sequence[Any] | None = cursor.execute(query, {"study_id": study}).fetchone()
        if row is None:
            raise StudyNotFound(f"study {study} is not in {self._file.path} (any more): it has been deleted")
        return row

    def _all(
        self,
        cursor: Cursor,
        query: str,
        decode: Callable[[Sequence[Any]], _T],
        study: int,
        parameters: Mapping[str, Any] | None = None,
    ) -> list[_T]:
        """Return the rows that *query* finds of *study*, decoded."""
        found = cursor.execute(query, {"study_id": study, **(parameters or {})})
        return self._decoded(lambda: [decode(row) for row in found])

    def _decoded(self, decode: Callable[..., _T], *given: Any) -> _T:
        try:
            return decode(*given)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreDamaged(
                f"{self._file.path} holds something that whet did not write ({error}). {WHAT_TO_DO}"
            ) from error
