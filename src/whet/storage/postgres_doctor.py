"""Is a store in PostgreSQL sound? What `whet doctor` looks at there: the server, our rights, and the studies."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg

from whet.errors import StoreAway, StoreError
from whet.storage import schema
from whet.storage.doctor import check_studies
from whet.storage.postgres import PostgresDatabase
from whet.storage.postgres_link import away, connected, first_error, options_of, store_error
from whet.storage.postgres_tables import NOW, SCHEMA, STARTED
from whet.storage.urls import without_password

_WAIT_S = 5.0
_SERVER = """
SELECT current_setting('server_version'), pg_database_size(current_database()), EXISTS (
    SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(format)s
  ),
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  current_setting('max_connections')::int, current_setting('fsync'), current_setting('full_page_writes'),
  pg_is_in_recovery(), current_user::text, has_database_privilege(current_database(), 'CREATE')
"""
_LEASES = (
    f"SELECT count(*), count(*) FILTER (WHERE greatest(ends_at, {STARTED} + for_s) > {NOW}) "  # noqa: S608
    f"FROM {SCHEMA}.lease"
)
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class ServerState:
    """A database on a server, as it is found.

    Attributes:
        version: the server's.
        size_bytes: of the database, whatever else is in it.
        format: the version of our tables; ``None``: there are none yet.
        n_connections, max_connections: to the server, by anybody.
        n_leases, n_held: of processes that work on studies, and how many of them have not run out.
        findings: what is wrong, a sentence each.
    """

    version: str
    size_bytes: int
    format: int | None
    n_connections: int
    max_connections: int
    n_leases: int
    n_held: int
    findings: tuple[str, ...]


def look(url: str) -> ServerState:
    """Connect to the database at *url*, and check it; some 15 s for 100,000 trials. Safe while it is in use.

    Raises:
        UsageError: the server knows no such database, or lets nobody in by that name and password.
        StoreAway: it cannot be reached.
        StoreError: it cannot be asked.
    """
    place = without_password(url)
    options = options_of(url)
    try:
        connection = connected(options, _WAIT_S)
    except psycopg.Error as error:
        raise first_error(error, place) or away(error, place) from error
    with closing(connection):
        try:
            found: Any = connection.execute(_SERVER, {"schema": SCHEMA, "format": schema.format_.name}).fetchone()
            version, size_bytes, is_there, n_connections, most, fsync, pages, is_standby, user, may_create = found
            findings = _unsafe(place, {"fsync": fsync, "full_page_writes": pages})
            if is_standby:
                findings.append(
                    f"{place} is on a standby server, which takes no writes: give the address of the primary"
                )
            elif not is_there and not may_create:
                findings.append(
                    f"{user} may not make tables in {place}; its owner: GRANT CREATE ON DATABASE … TO {user}"
                )
            format_, n_leases, n_held = None, 0, 0
            if is_there and not (missing := _missing_rights(connection, place)):
                (format_,) = _row(connection, f"SELECT max(version) FROM {SCHEMA}.format")  # noqa: S608
                n_leases, n_held = _row(connection, _LEASES)
            elif is_there:
                findings.append(missing)
        except psycopg.Error as error:
            raise store_error(error, place) from error
    if format_ is not None:
        findings += _check(url)
    return ServerState(version, size_bytes, format_, n_connections, most, n_leases, n_held, tuple(findings))


def _unsafe(place: str, settings: Mapping[str, str]) -> list[str]:
    return [
        f"the server of {place} has {name} = {value}, so a power cut may destroy it: turn it on in postgresql.conf"
        for name, value in settings.items()
        if value != "on"
    ]


def _missing_rights(connection: psycopg.Connection, place: str) -> str:
    """Return what this user may not do with our tables, as a finding; empty if all may be done."""
    if not _row(connection, "SELECT has_schema_privilege(%(schema)s, 'USAGE')", schema=SCHEMA)[0]:
        return (
            f"{place}: this user may not use the schema {SCHEMA!r}; as its owner: GRANT USAGE ON SCHEMA {SCHEMA} TO …"
        )
    tables = (*schema.TABLES, *schema.server.sorted_tables)
    missing = sorted(
        {
            right
            for table in tables
            for right in _RIGHTS
            if not _row(
                connection,
                "SELECT has_table_privilege(%(table)s, %(right)s)",
                table=f'{SCHEMA}."{table.name}"',
                right=right,
            )[0]
        },
        key=_RIGHTS.index,
    )
    if not missing:
        return ""
    rights = ", ".join(missing)
    return f"{place}: this user lacks rights; as the owner: GRANT {rights} ON ALL TABLES IN SCHEMA {SCHEMA} TO …"


def _check(url: str) -> list[str]:
    try:
        return check_studies(PostgresDatabase(url, must_exist=True, wait_s=_WAIT_S))
    except StoreAway:
        raise
    except StoreError as error:
        return [str(error)]


def _row(connection: psycopg.Connection, query: str, **parameters: str) -> Any:
    return connection.execute(query.encode(), parameters or None).fetchone()
