"""From the URL of a PostgreSQL database to a connection, and from errors on the way and later to ours."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from whet.errors import (
    StoreAway,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StudyNotFound,
    UsageError,
    WhetError,
)
from whet.storage.urls import without_password

REMEDY = "Keep your studies in another database, or have this one restored from a backup"

# What the URL, the environment and libpq's service file do not say. A peer that is lost without a word is noticed in
# half a minute, by us and, with the settings of the session, by the server, which then frees what we had locked.
_DEFAULTS = {
    "fallback_application_name": "whet",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# In the middle of a transaction, which takes milliseconds, or seconds where 100,000 trials are given at once; longer if
# the process is suspended, or its host is lost.
_IDLE_S = 30
_SESSION = {
    "search_path": "pg_catalog",  # nobody's functions stand in for the system's
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",  # who waited to make the tables sees those that were made
    "idle_in_transaction_session_timeout": f"{_IDLE_S}s",
    "statement_timeout": "0",
    "extra_float_digits": "1",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_PORTS = re.compile(r"[0-9,]*")
_UNKNOWN_DATABASE = re.compile(r'database "(.*)" does not exist')
_REFUSED = re.compile(
    r'role ".*" does not exist|authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects'
    r"|permission denied for database|not permitted to log in|not currently accepting connections"
)
_LATER = re.compile(
    r"starting up|shutting down|in recovery mode|not yet accepting connections|too many (clients|connections)"
    r"|remaining connection slots|server closed the connection unexpectedly|Connection reset by peer|SSL SYSCALL error"
)
# Lines of libpq that say nothing of what has happened.
_MANNERS = ("Is the server running", "Multiple connection attempts", "- ", "This probably means", "before or while")
# Serialization failure, deadlock, ended by an administrator, crashed, starting, ended as it was idle, no slot left.
_PASSING = {"40001", "40P01", "57P01", "57P02", "57P03", "57P05", "25P03", "53300"}


def options_of(url: str) -> dict[str, str]:
    """Return libpq's options for *url*.

    Raises:
        UsageError: it is no URL of a PostgreSQL database. A password in it is not told.
    """
    given: dict[str, Any] = {"port": "none"}
    with suppress(psycopg.ProgrammingError):
        given = conninfo_to_dict("postgresql" + url[url.index("://") :])
    host, database = (str(given.get(name, "")) for name in ("host", "dbname"))
    holds_secret = "@" in host[1:] or (
        "@" in database and "%40" not in url
    )  # the end of a password that is not encoded
    if holds_secret or not _PORTS.fullmatch(str(given.get("port", ""))):
        raise UsageError(
            f"{without_password(url)} cannot be read as the URL of a PostgreSQL database: expected "
            "postgresql://USER@HOST:PORT/DATABASE, with options of libpq behind '?'. Special characters are "
            "percent-encoded (%40 is @, %2F is /); the password may be in PGPASSWORD or ~/.pgpass instead"
        )
    options = {name: str(value) for name, value in given.items() if value is not None}
    if "PGCONNECT_TIMEOUT" not in os.environ:
        options.setdefault("connect_timeout", "10")
    return {**_DEFAULTS, **options, "client_encoding": "utf8"}


def connected(options: dict[str, str], wait_s: float) -> psycopg.Connection:
    """Return a connection by *options*, whose statements wait for locks no longer than *wait_s*.

    Raises:
        psycopg.Error: there is none.
    """
    connection = psycopg.connect(**options, autocommit=True, prepare_threshold=None)  # type: ignore[arg-type]
    try:
        settings = {**_SESSION, "lock_timeout": f"{max(1, round(1000 * wait_s))}ms"}
        names = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
        # A commit that is acknowledged is on the disk; on how many, the server's own setting may say.
        level = "current_setting('synchronous_commit')"
        lasting = f"set_config('synchronous_commit', CASE {level} WHEN 'off' THEN 'on' ELSE {level} END, false)"
        connection.execute(f"SELECT {names}, {lasting}".encode())
    except BaseException:
        connection.close()
        raise
    return connection


def is_broken(connection: psycopg.Connection | None) -> bool:
    """Tell whether nothing can be done with *connection* any more."""
    return connection is None or connection.closed or connection.broken


def is_passing(error: psycopg.Error) -> bool:
    """Tell whether what *error* says goes by: whoever tries again, on a new connection if need be, may succeed."""
    state = error.sqlstate or ""
    return state in _PASSING or state.startswith("08")


def first_error(error: psycopg.Error, place: str) -> WhetError | None:
    """Return what *error*, when a store is opened, means for its user; ``None``: wait, and it goes by.

    A server that cannot be reached is not waited for: its name may be wrong.
    """
    text = said(error)
    if _LATER.search(str(error)):
        return None
    unknown = _UNKNOWN_DATABASE.search(text)
    if unknown:
        return UsageError(
            f"{place}: the server has no database {unknown[1]!r}; make it (`createdb {unknown[1]}`), or name another "
            "one after the host in the URL"
        )
    if _REFUSED.search(text):
        return UsageError(
            f"{place}: the server lets nobody in by that name and password ({text}); give the user in the URL "
            "(postgresql://USER@HOST/DATABASE) and the password in PGPASSWORD or ~/.pgpass"
        )
    return away(error, place)


def away(error: psycopg.Error, place: str) -> StoreAway:
    """Return the error for a server that is not there."""
    return StoreAway(f"{place} cannot be reached ({said(error)}): does the server run, and is this its address?")


def store_error(error: psycopg.Error, place: str) -> WhetError:
    """Return what *error*, of a statement, means for the one who uses *place*."""
    state, text = error.sqlstate or "", said(error)
    if state in ("55P03", "57014"):
        return StoreBusy(f"{place} keeps this process waiting for too long ({text}): what else uses it?")
    if state in ("53100", "58030"):
        return StoreFull(f"the server of {place} cannot write ({text}): is its disk full? Nothing is damaged")
    if state == "42501":
        return StoreFull(
            f"{place}: {text}. To make the tables, a role needs CREATE on the database; to use them, all rights on the "
            "schema `whet` and on what is in it"
        )
    if state == "25006":
        return StoreFull(f"{place} cannot be written to ({text}): is it a standby server?")
    if state == "23503":
        return StudyNotFound(f"the study is not in {place} (any more): it has been deleted")
    if state.startswith("XX") or state in ("23505", "42P01", "42703", "3F000"):
        return StoreDamaged(f"{place} is not as whet made it ({text}). {REMEDY}")
    return StoreError(f"{place}: {text}")


def said(error: psycopg.Error) -> str:
    """Return the message of *error* in one line; of several hosts that were tried, the last one's."""
    text = error.diag.message_primary or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while len(lines) > 1 and lines[-1].startswith(_MANNERS):
        lines.pop()
    return lines[-1].removeprefix("connection failed: ") if lines else type(error).__name__
