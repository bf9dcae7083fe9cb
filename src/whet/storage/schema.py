"""The tables. The events are the truth; trials and curves are their projection, written in the same transaction."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
SCHEMA_VERSION = 3
# What brings a file of each older version to the next one.
MIGRATIONS = {
    1: ("ALTER TABLE trial ADD COLUMN given TEXT",),
    2: (
        "CREATE TABLE lease (study INTEGER NOT NULL, digest TEXT NOT NULL, owner TEXT NOT NULL, boot TEXT NOT NULL, "
        "for_s DOUBLE NOT NULL, ends_at DOUBLE NOT NULL, PRIMARY KEY (study, digest), "
        "FOREIGN KEY(study) REFERENCES study (id) ON DELETE CASCADE) WITHOUT ROWID",
    ),
}
SERVER_MIGRATIONS: dict[int, tuple[str, ...]] = {}  # likewise of a server's; the first one there was is version 3

metadata = MetaData()
server = MetaData()  # what only a server has: it knows no files, no locks on them, and answers may be lost on their way
_INTEGER = Integer().with_variant(BigInteger(), "postgresql")

study = Table(
    "study",
    metadata,
    Column("id", _INTEGER, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("last_seq", _INTEGER, nullable=False),
    Column("last_event_at", Double, nullable=False),
    Column("n_numbers", _INTEGER, nullable=False),
    Column("counts", Text, nullable=False),  # JSON: state to number of trials
    Column("commands", Text, nullable=False),  # JSON: seq to payload of what nobody has carried out
    Column("settings", Text, nullable=False),  # JSON, amendments folded in
    sqlite_autoincrement=True,  # an id is never used twice, so a process cannot mistake one study for another
)

event = Table(
    "event",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", _INTEGER, primary_key=True),
    Column("trial", _INTEGER),
    Column("attempt", _INTEGER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)

trial = Table(
    "trial",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("number", _INTEGER, primary_key=True),
    Column("state", Text, nullable=False),
    Column("group", _INTEGER, nullable=False),
    Column("attempt", _INTEGER, nullable=False),
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
    Column("ended_seq", _INTEGER),  # the event that ended it; NULL while it is unfinished
    Column("given", Text),  # how a person gave the config; NULL: the sampler chose it. Since version 2
)

# One row for each trial with reports, apart from `trial` so that listing trials does not read past them.
curve = Table(
    "curve",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("number", _INTEGER, primary_key=True),
    Column("width", _INTEGER, nullable=False),
    Column("packed", LargeBinary, nullable=False),  # little-endian doubles, `width` in a row
)


Index("trial_best", trial.c.study, trial.c.value, trial.c.number, sqlite_where=trial.c.value.is_not(None))
Index(
    "trial_free",
    trial.c.study,
    trial.c.number,
    sqlite_where=trial.c.config.is_(None) & trial.c.owner.is_(None),
)

# Until when which process is believed to be alive that has trials or numbers of a study. Since version 3
lease = Table(
    "lease",
    metadata,
    Column("study", ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Text, primary_key=True),  # of the owner, which may be longer than an index can have it
    Column("owner", Text, nullable=False),  # JSON
    Column("boot", Text, nullable=False),  # which run of the host's kernel, whose clock this is; "" for a server's
    Column("for_s", Double, nullable=False),
    Column("ends_at", Double, nullable=False),  # by that clock
    sqlite_with_rowid=False,
)

# In the order in which they are made. It stays: by it, the tables of a file whose first page is lost are found.
TABLES = (study, curve, event, trial, lease)

format_ = Table("format", server, Column("version", _INTEGER, primary_key=True))

# Who runs which study.
holding = Table(
    "holding",
    server,
    Column("id", Text, primary_key=True),
    Column("study", ForeignKey(study.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("owner", Text, nullable=False),  # JSON, of `whet.core.owner`
    Column("who", Text, nullable=False),  # JSON, for people
    Column("shared", Boolean, nullable=False),
    Column("since", Double, nullable=False),  # by the server's clock, in seconds since the epoch, as `ends_at`
    Column("ends_at", Double, nullable=False),
)

# The last commit of each session, so that it can tell whether one has happened whose answer was lost.
receipt = Table(
    "receipt",
    server,
    Column("session", Text, primary_key=True),
    Column("last", _INTEGER, nullable=False),
    Column("at", Double, nullable=False),
)
