"""The tables in a PostgreSQL database: made once, brought up to date, and refused where they are not ours."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

import psycopg
from sqlalchemy import Column, Double, Table, literal_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.elements import ClauseElement

from whet._version import __version__
from whet.errors import StoreDamaged, StoreTooNew, StudyNotFound, UsageError
from whet.storage import schema
from whet.storage.rows import Written
from whet.storage.statements import Statements

SCHEMA = "whet"
NOW = "extract(epoch FROM clock_timestamp())::float8"
STARTED = "extract(epoch FROM pg_postmaster_start_time())::float8"
_LOCK = schema.APPLICATION_ID  # of those who make or change the tables
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_ENCODINGS = ("UTF8", "SQL_ASCII")

# The schema does not say it: naming PostgreSQL there would import SQLAlchemy's part for it wherever a file is opened.
for _table in schema.TABLES:
    for _index in _table.indexes:
        _index.dialect_options["postgresql"]["where"] = _index.dialect_options["sqlite"]["where"]


def compiled(statement: ClauseElement) -> str:
    """Return *statement* as PostgreSQL's SQL, as psycopg takes it."""
    names: dict[str | None, str] = {None: SCHEMA}
    return str(statement.compile(dialect=_DIALECT, schema_translate_map=names, render_schema_translate=True))


SQL = Statements(compiled, postgresql.insert, literal_column(NOW, Double), literal_column(STARTED, Double))


def put_rows(rows: Written) -> str:
    """Return *rows* as the one parameter ``rows`` of `PUT`."""
    given: dict[str, Any] = {"event": rows.event}
    if rows.trial:
        given["trial"] = [{**row, "value": _number(row["value"])} for row in rows.trial]
    if rows.curve:
        given["curve"] = [{**row, "packed": f"\\x{row['packed'].hex()}"} for row in rows.curve]
    return json.dumps(given)


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)  # JSON knows no infinity


def _add(table: Table) -> str:
    """Return the statement that writes the rows of *table* in the JSON object ``given.rows``, where there are any."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    typed = ", ".join(f'"{column.name}" {_type(column)}' for column in table.columns)
    return (
        f"INSERT INTO {SCHEMA}.{table.name} ({names}) SELECT {names} "  # noqa: S608
        f"FROM given, json_to_recordset(given.rows->'{table.name}') AS row({typed})"
    )


def _put(table: Table, *lasting: Column[Any]) -> str:
    """Return one that also writes over rows with the same key, but for what the columns *lasting* hold once."""
    key = [column.name for column in table.primary_key]
    changed = ", ".join(f'"{c.name}" = {_new(table, c, lasting)}' for c in table.columns if c.name not in key)
    return f"{_add(table)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"


def _new(table: Table, column: Column[Any], lasting: Collection[Column[Any]]) -> str:
    new = f'excluded."{column.name}"'
    return f'coalesce({table.name}."{column.name}", {new})' if column in lasting else new


def _type(column: Column[Any]) -> str:
    return column.type.compile(dialect=_DIALECT)


# All rows of an append in one statement, which is faster for both sides than one for each row.
PUT = (
    "WITH given AS (SELECT %(rows)s::json AS rows), "
    f"events AS ({_add(schema.event)}), "
    f"trials AS ({_put(schema.trial, schema.trial.c.ended_seq)}), "
    f"curves AS ({_put(schema.curve)}) "
    f"{SQL.set_progress}"
)


def prepare(connection: psycopg.Connection, place: str, *, must_exist: bool) -> None:
    """See that the tables are there and ours, making them if need be. Whoever else does it at the moment is waited for.

    Raises:
        StudyNotFound: *must_exist*, and there are none.
        StoreDamaged, StoreTooNew, UsageError: the database cannot be used.
    """
    if not _are_there(connection, place):
        if must_exist:
            raise StudyNotFound(f"there are no studies yet in {place} (another place is named with --store)")
        _make(connection, place)
    version = _version(connection, place)
    if version > schema.SCHEMA_VERSION:
        raise StoreTooNew(
            f"{place} was written by a newer whet: it has format {version}, and whet {__version__} knows "
            f"formats up to {schema.SCHEMA_VERSION}; upgrade with `pip install -U whet`"
        )
    if version < schema.SCHEMA_VERSION:
        _migrate(connection, place)


def _are_there(connection: psycopg.Connection, place: str) -> bool:
    """Tell whether our tables are; the catalogue may be read by everybody."""
    query = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s ORDER BY 1"
    names = [name for (name,) in connection.execute(query, (SCHEMA,))]
    if names and schema.format_.name not in names:
        some = ", ".join(names[:5])
        raise StoreDamaged(
            f"the schema {SCHEMA!r} of {place} is not one of whet: it has {some}. It is left as it is; "
            "give another database"
        )
    return bool(names)


def _version(connection: psycopg.Connection, place: str) -> int:
    found: Any = connection.execute(f"SELECT max(version) FROM {SCHEMA}.format").fetchone()  # noqa: S608
    if found[0] is None:
        raise StoreDamaged(f"{place} does not say of which format it is: it is not one of whet; give another database")
    return int(found[0])


def _make(connection: psycopg.Connection, place: str) -> None:
    (encoding,) = connection.execute("SELECT current_setting('server_encoding')").fetchone() or ("",)
    if encoding not in _ENCODINGS:
        raise UsageError(
            f"{place} has the encoding {encoding}, which cannot hold every name; make one with "
            "`createdb --encoding UTF8 --template template0 NAME`"
        )
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if _are_there(connection, place):
            return  # another process was faster
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone():
            connection.execute(f"CREATE SCHEMA {SCHEMA}")
        for table in (*schema.TABLES, *schema.server.sorted_tables):
            connection.execute(compiled(CreateTable(table)).encode())
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(compiled(CreateIndex(index)).encode())
        connection.execute(f"INSERT INTO {SCHEMA}.format VALUES ({schema.SCHEMA_VERSION})".encode())  # noqa: S608


def _migrate(connection: psycopg.Connection, place: str) -> None:
    """Bring the tables of an older format up to date, in one transaction."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for older in range(_version(connection, place), schema.SCHEMA_VERSION):
            for statement in schema.SERVER_MIGRATIONS[older]:
                connection.execute(statement.encode())
        connection.execute(f"UPDATE {SCHEMA}.format SET version = {schema.SCHEMA_VERSION}".encode())  # noqa: S608
