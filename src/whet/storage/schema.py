"""The tables. The events are the truth; trials and curves are their projection, written in the same transaction."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

APPLICATION_ID = 0x77686574  # "whet"
SCHEMA_VERSION = 2
# What brings a file of each older version to the next one.
MIGRATIONS = {1: ("ALTER TABLE trial ADD COLUMN given TEXT",)}

metadata = MetaData()

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("last_event_at", Double, nullable=False),
    Column("n_numbers", Integer, nullable=False),
    Column("counts", Text, nullable=False),  # JSON: state to number of trials
    Column("commands", Text, nullable=False),  # JSON: seq to payload of what nobody has carried out
    Column("settings", Text, nullable=False),  # JSON, amendments folded in
    sqlite_autoincrement=True,  # an id is never used twice, so a process cannot mistake one study for another
)

event = Table(
    "event",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("trial", Integer),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)

trial = Table(
    "trial",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("group", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("owner", Text),  # JSON, like every text that others wrote: it may hold what databases refuse
    Column("config", Text),  # JSON; NULL while the number is only reserved
    Column("budget", Text),  # JSON, because 27 and 27.0 are not the same argument to a script
    Column("values", Text, nullable=False),  # JSON
    Column("cause", Text),
    Column("asked_at", Double),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("rest", Text, nullable=False),  # JSON: the remaining fields of a Trial where they differ from the default
    Column("value", Double),  # the first objective's, if the trial may be the best
    Column("ended_seq", Integer),  # the event that ended it; NULL while it is unfinished
    Column("given", Text),  # how a person gave the config; NULL: the sampler chose it. Since version 2
)

# One row for each trial with reports, apart from `trial` so that listing trials does not read past them.
curve = Table(
    "curve",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("width", Integer, nullable=False),
    Column("packed", LargeBinary, nullable=False),  # little-endian doubles, `width` in a row
)


def _partial(name: str, *columns: Column[object], where: object) -> Index:
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial("trial_best", trial.c.study, trial.c.value, trial.c.number, where=trial.c.value.is_not(None))
_partial(
    "trial_free",
    trial.c.study,
    trial.c.number,
    where=trial.c.config.is_(None) & trial.c.owner.is_(None),
)
