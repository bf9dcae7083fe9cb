"""From what a user types after ``--store``, or gives as ``store=``, to a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from whet.errors import UsageError

if TYPE_CHECKING:
    from whet.core.protocols import Store

DEFAULT_STORE = str(Path(".whet", "whet.db"))  # below the working directory
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_IN_MEMORY = ("", "/", "/:memory:")  # of sqlite://


def open_store(store: str | Path | Store | None, *, must_exist: bool = False) -> Store:
    """Return the store that *store* names: a path, ``sqlite:///path``, or ``:memory:`` or ``None`` for memory.

    A `Store` is returned as it is. With *must_exist* a file that is not there is not made.

    Raises:
        UsageError: *store* names no place that studies can be kept in.
        StudyNotFound: *must_exist* is set, and there is no such file.
        StoreError: the file cannot be used; the kind of error says why. It is left as it was.
    """
    if store is None:
        return _in_memory()
    if not isinstance(store, (str, Path)):
        if not hasattr(store, "append"):
            raise UsageError(f"a store is a path, a URL or a Store, got {store!r}")
        return store
    path = file_of(store)
    if path is None:
        return _in_memory()
    from whet.storage.sql import SqlStore

    return SqlStore(path, must_exist=must_exist)


def file_of(store: str | Path) -> Path | None:
    """Return the file that *store* names, ``None`` for memory; nothing is looked at or made.

    Raises:
        UsageError: *store* names no place that studies can be kept in.
    """
    if store == ":memory:":
        return None
    text = str(store)
    match = _SCHEME.fullmatch(text) if isinstance(store, str) else None
    if match is not None:
        if _kind(match["scheme"]) == "sqlite" and match["rest"] in _IN_MEMORY:
            return None
        text = _path_of_url(match["scheme"], match["rest"], text)
    if not text.strip() or "\0" in text:
        raise UsageError(f"a store is a file, as in --store {DEFAULT_STORE}; got {text!r}")
    return Path(text).expanduser()


def _in_memory() -> Store:
    from whet.storage.memory import MemoryStore

    return MemoryStore()


def _kind(scheme: str) -> str:
    return scheme.lower().partition("+")[0]


def _path_of_url(scheme: str, rest: str, text: str) -> str:
    kind = _kind(scheme)
    if kind in ("postgresql", "postgres"):
        raise UsageError(
            "this version of whet keeps studies in SQLite files only (PostgreSQL is to come): give a path, "
            f"as in --store {DEFAULT_STORE}"
        )
    if kind != "sqlite":
        raise UsageError(f"{scheme}:// is no store that whet knows; give a path, or sqlite:///PATH, got {text!r}")
    if not rest.startswith("/"):
        raise UsageError(f"a URL of an SQLite file has three slashes, as in sqlite:///{rest}; got {text!r}")
    if "?" in rest:
        raise UsageError(f"no options can be given after '?' in {text!r}; if the file's name has one, give the path")
    return rest[1:]
