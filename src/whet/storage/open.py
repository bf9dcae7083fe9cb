"""From what a user types after ``--store``, or gives as ``store=``, to a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from whet.errors import StoreUnsafe, UsageError
from whet.private import foreign_link

if TYPE_CHECKING:
    from whet.core.protocols import Store

DEFAULT_STORE = str(Path(".whet", "whet.db"))  # below the working directory
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_SERVERS = ("postgresql", "postgres")
_IN_MEMORY = ("", "/", "/:memory:")  # of sqlite://


def open_store(store: str | Path | Store | None, *, must_exist: bool = False) -> Store:
    """Return the store that *store* names: a path, ``sqlite:///path``, ``postgresql://…``, or ``:memory:`` or ``None``.

    The last two are memory. A `Store` is returned as it is. With *must_exist* a file, or tables in a database, that are
    not there are not made.

    Raises:
        UsageError: *store* names no place that studies can be kept in.
        StudyNotFound: *must_exist* is set, and there is nothing.
        StoreError: the file or the database cannot be used; the kind of error says why. It is left as it was.
    """
    if store is None:
        return _in_memory()
    if not isinstance(store, (str, Path)):
        if not hasattr(store, "append"):
            raise UsageError(f"a store is a path, a URL or a Store, got {store!r}")
        return store
    if isinstance(store, str) and is_server(store):
        return _on_server(store, must_exist)
    path = file_of(store)
    if path is None:
        return _in_memory()
    foreign = foreign_link(path)
    if foreign is not None:
        raise StoreUnsafe(f"{path} is reached by {foreign}, a link that another user has made; give the path behind it")
    from whet.storage.sql import SqlStore

    return SqlStore(path, must_exist=must_exist)


def is_server(store: str | Path) -> bool:
    """Tell whether *store* is the URL of a PostgreSQL database."""
    match = _SCHEME.fullmatch(str(store)) if isinstance(store, str) else None
    return match is not None and _kind(match["scheme"]) in _SERVERS


def file_of(store: str | Path) -> Path | None:
    """Return the file that *store* names, ``None`` for memory and for a server; nothing is looked at or made.

    Raises:
        UsageError: *store* names no place that studies can be kept in.
    """
    if store == ":memory:":
        return None
    text = str(store)
    match = _SCHEME.fullmatch(text) if isinstance(store, str) else None
    if match is not None:
        kind = _kind(match["scheme"])
        if kind in _SERVERS or (kind == "sqlite" and match["rest"] in _IN_MEMORY):
            return None
        text = _path_of_url(match["scheme"], match["rest"], text)
    if not text.strip() or "\0" in text:
        raise UsageError(f"a store is a file, as in --store {DEFAULT_STORE}; got {text!r}")
    return Path(text).expanduser()


def _on_server(url: str, must_exist: bool) -> Store:
    need_driver()
    from whet.storage.postgres import PostgresDatabase
    from whet.storage.sql import SqlStore

    return SqlStore(PostgresDatabase(url, must_exist=must_exist))


def need_driver() -> None:
    """See that PostgreSQL can be spoken to.

    Raises:
        UsageError: its driver is not installed.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"studies in PostgreSQL need psycopg, which cannot be imported ({error}): pip install 'whet[postgres]'"
        ) from error


def _in_memory() -> Store:
    from whet.storage.memory import MemoryStore

    return MemoryStore()


def _kind(scheme: str) -> str:
    return scheme.lower().partition("+")[0]


def _path_of_url(scheme: str, rest: str, text: str) -> str:
    kind = _kind(scheme)
    if kind != "sqlite":
        raise UsageError(
            f"{scheme}:// is no store that whet knows; give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        )
    if not rest.startswith("/"):
        raise UsageError(f"a URL of an SQLite file has three slashes, as in sqlite:///{rest}; got {text!r}")
    if "?" in rest:
        raise UsageError(f"no options can be given after '?' in {text!r}; if the file's name has one, give the path")
    return rest[1:]
