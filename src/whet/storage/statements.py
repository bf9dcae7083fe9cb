"""Every statement that the store runs, written once in SQLAlchemy and compiled once for the database at hand.

The driver runs them: an append is a handful of look-ups and writes, and what SQLAlchemy adds to each at run time would
be most of its cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    Column,
    Double,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from whet.storage.schema import curve, event, lease, study, trial

NO_LIMIT = 2**62
_STUDY: BindParameter[int] = bindparam("study_id")
_LIMIT: BindParameter[int] = bindparam("limit")
_PROGRESS = (study.c.last_seq, study.c.last_event_at, study.c.n_numbers, study.c.counts, study.c.commands)


class Statements:
    """The statements as text, with named parameters; rows go in as dicts of a table's columns.

    Args:
        compiled: turns a statement into text for the database at hand.
        insert: the database's own insert, which can write over rows with the same key.
        now: the clock of leases, in seconds.
        started: when that clock's server was started: until then nobody could renew a lease.
    """

    def __init__(
        self,
        compiled: Callable[[ClauseElement], str],
        insert: Callable[[Table], Any],
        now: ColumnElement[float],
        started: ColumnElement[float],
    ) -> None:
        of_study = study.c.id == _STUDY
        # studies
        listed = select(study.c.id, study.c.name, study.c.created_at, study.c.settings).order_by(study.c.id)
        self.studies = compiled(listed)
        self.study_named = compiled(listed.where(study.c.name == bindparam("name")))
        self.study_name = compiled(select(study.c.name).where(of_study))
        self.settings = compiled(select(study.c.settings).where(of_study))
        self.progress = compiled(select(*_PROGRESS).where(of_study))
        self.add_study = compiled(insert(study).values(_parameters(study.c, but="id")).returning(study.c.id))
        self.set_progress = compiled(update(study).where(of_study).values(_parameters(_PROGRESS)))
        self.set_settings = compiled(update(study).where(of_study).values(settings=bindparam("new_settings")))
        self.drop_study = compiled(delete(study).where(of_study))
        # events
        self.add_event = compiled(insert(event))
        self.events = compiled(_limited(_events().where(event.c.seq > bindparam("after"))))
        # trials
        self.add_trial = compiled(insert(trial))
        self.put_trial = compiled(_upsert(insert(trial), trial, trial.c.ended_seq))
        self.put_curve = compiled(_upsert(insert(curve), curve))
        self.trial = compiled(_trials().where(trial.c.number == bindparam("number")))
        self.unfinished = compiled(_trials().where(trial.c.ended_seq.is_(None)))
        self.finished = compiled(_finished())
        self.curves = compiled(select(curve.c.number, curve.c.width, curve.c.packed).where(curve.c.study == _STUDY))
        self.free = compiled(_free())
        self.page = compiled(_page(newest_first=False))
        self.page_newest_first = compiled(_page(newest_first=True))
        # leases
        rows: dict[str, Any] = {column.name: bindparam(column.name) for column in lease.columns}
        until = now + bindparam("for_s", type_=Double)
        self.put_lease = compiled(_upsert(insert(lease).values({**rows, "ends_at": until}), lease))
        self.drop_lease = compiled(delete(lease).where(lease.c.study == _STUDY, lease.c.digest == bindparam("digest")))
        self.run_out = compiled(_run_out(now, started))
        # what is wrong, and what can be read of what is damaged
        self.ranks = compiled(select(trial.c.number, trial.c.value).where(trial.c.study == _STUDY))
        self.study_range = compiled(listed.where(_between(study.c.id)))
        self.begun_range = compiled(
            select(event.c.study, event.c.payload).where(_between(event.c.study), event.c.seq == literal_column("1"))
        )
        self.event_range = compiled(_events().where(_between(event.c.seq)))
        self.trial_range = compiled(_trials().where(_between(trial.c.number)))
        # best
        self.lowest = compiled(_best("min"))
        self.highest = compiled(_best("max"))


def _parameters(columns: Any, but: str = "") -> dict[str, BindParameter[Any]]:
    return {column.name: bindparam(column.name) for column in columns if column.name != but}


def _upsert(statement: Any, table: Table, *lasting: Column[Any]) -> ClauseElement:
    """Return *statement*, which inserts rows of *table*, so that it writes over those with the same key.

    What the columns *lasting* hold once, they keep.
    """
    key = list(table.primary_key)
    written: ClauseElement = statement.on_conflict_do_update(
        index_elements=key,
        set_={
            column.name: func.coalesce(column, new) if column in lasting else new
            for column, new in zip(table.columns, statement.excluded, strict=True)
            if column not in key
        },
    )
    return written


def _run_out(now: ColumnElement[float], started: ColumnElement[float]) -> Select[Any]:
    held = lease.c
    has_ended = and_(held.ends_at <= now, started + held.for_s <= now)
    return select(held.owner).where(held.study == _STUDY, or_(held.boot != bindparam("boot"), has_ended))


def _limited(query: Select[Any]) -> Select[Any]:
    return query.limit(_LIMIT).offset(literal_column("0"))


def _between(column: ColumnElement[int]) -> ColumnElement[bool]:
    return column.between(bindparam("low"), bindparam("high"))


def _events() -> Select[Any]:
    e = event.c
    columns = (e.seq, e.kind, e.trial, e.attempt, e.time, e.payload)
    return select(*columns).where(e.study == _STUDY).order_by(e.seq)


def _trials() -> Select[Any]:
    t = trial.c
    columns = (t.number, t.state, t.group, t.attempt, t.owner, t.config, t.budget, t["values"], t.cause, t.given)
    times = (t.asked_at, t.started_at, t.ended_at)
    with_curve = trial.outerjoin(curve, and_(curve.c.study == t.study, curve.c.number == t.number))
    query = select(*columns, *times, t.rest, curve.c.width, curve.c.packed)
    return query.select_from(with_curve).where(t.study == _STUDY)


def _finished() -> Select[Any]:
    t = trial.c
    columns = (t.ended_seq, t.number, t.state, t.group, t.config, t["values"], t.budget, t.cause, t.given, t.rest)
    return select(*columns).where(t.study == _STUDY, t.ended_seq.is_not(None))


def _free() -> Select[Any]:
    t = trial.c
    free = (t.study == _STUDY, t.config.is_(None), t.owner.is_(None))
    return _limited(select(t.number).where(*free).order_by(t.number))


def _page(*, newest_first: bool) -> Select[Any]:
    number = trial.c.number
    after: BindParameter[int] = bindparam("after")
    beyond = number < after if newest_first else number > after
    order = number.desc() if newest_first else number.asc()
    return _limited(_trials().where(trial.c.config.is_not(None), beyond).order_by(order))


def _best(pick: Literal["min", "max"]) -> Select[Any]:
    t = trial.c
    top = select(getattr(func, pick)(t.value)).where(t.study == _STUDY, t.value.is_not(None)).scalar_subquery()
    return _limited(_trials().where(t.value == top).order_by(t.number))
