"""Where a study keeps its files: beside its database, under names that cannot lead anywhere else."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from whet.storage.urls import without_password

_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///")
_URL = re.compile(r"[a-z][a-z0-9+]*://")
RUNNER_LOCK = "runner.lock"  # in a study's directory: held while processes beside its trials live
_DEFAULT_FOLDER = ".whet"
_DEFAULT_DATABASE = "whet.db"
_SERVER = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_ON_SERVER = re.compile(r"[A-Za-z0-9_.%~-]*@[A-Za-z0-9_.%~-]*")
_KEPT = re.compile(rb"[A-Za-z0-9_.-]")
_LONGEST = 120  # bytes; file systems allow 255, and Python's and the trial's own names come on top
_HASH_LENGTH = 12


def store_folder(store_url: str, base: Path | None = None, on_server: str = "") -> Path:
    """Return the directory that holds the files of every study of a store, absolute.

    Beside the default database it is ``.whet``; beside another one, ``x.db``, it is ``x.db.whet``, so that studies of
    one name in two databases stay apart, and apart from what lies there already. For a database that is no file it is
    in *base*, the directory in which the study was started: ``.whet/DATABASE@HOST`` for one on a server, or what
    `place_on_server` gave when the study was made, and ``.whet`` for others.
    """
    base = Path.cwd() if base is None else base
    database = database_file(store_url)
    if database is None:
        apart = on_server if _ON_SERVER.fullmatch(on_server) else place_on_server(store_url)
        return base / _DEFAULT_FOLDER / apart
    database = base / database
    is_default = (database.parent.name, database.name) == (_DEFAULT_FOLDER, _DEFAULT_DATABASE)
    return database.parent if is_default else database.with_name(f"{database.name}{_DEFAULT_FOLDER}")


def study_dir(store_url: str, name: str, base: Path | None = None, on_server: str = "") -> Path:
    """Return the directory of study *name*, in which trial 7 has the directory ``7``; see `store_folder`."""
    database = database_file(store_url)
    folder = store_folder(store_url, base, on_server)
    return folder / encoded_name(name, reserved="" if database is None else database.name)


def place_on_server(store_url: str) -> str:
    """Return what tells a database on a server from others, as the name of a directory; empty: it is on none.

    To be kept with a study: a server has several names, and a trial that goes on looks for its files in one place.
    """
    if not _SERVER.match(store_url):
        return ""
    try:
        parts = urlsplit(without_password(store_url))
        options = parse_qs(parts.query)
        host = parts.netloc.rpartition("@")[2] or options.get("host", [""])[0]
        database = unquote(parts.path.lstrip("/")) or options.get("dbname", [""])[0]
    except ValueError:  # brackets that do not close
        return f"@{encoded_name(store_url)}"
    return f"{encoded_name(database)}@{encoded_name(unquote(host))}"


def encoded_name(name: str, reserved: str = "") -> str:
    """Return *name* as the name of one directory entry, different for every name, on any file system.

    What is not a letter, digit, ``_``, ``.`` or ``-`` of ASCII is percent-encoded, and so is a leading dot. A name
    that is long, empty, has capitals (some file systems do not tell them apart) or begins like *reserved* (the
    database beside which the directory lies) ends in ``~`` and a hash of the name.
    """
    raw = name.encode("utf-8", "surrogatepass")
    parts = [chr(byte) if _KEPT.fullmatch(bytes([byte])) else f"%{byte:02x}" for byte in raw]
    if parts[:1] == ["."]:
        parts[0] = "%2e"
    plain = "".join(parts)
    is_taken = bool(reserved) and plain.lower().startswith(reserved.lower())
    if plain and len(plain) <= _LONGEST and not is_taken and plain == plain.lower():
        return plain
    digest = hashlib.sha256(raw).hexdigest()[:_HASH_LENGTH]
    return f"{plain[:_LONGEST]}~{digest}"


def database_file(store_url: str) -> Path | None:
    """Return the path of the database, or ``None`` if it is no file."""
    sqlite = _SQLITE.match(store_url)
    path = store_url[sqlite.end() :] if sqlite else store_url
    if (not sqlite and _URL.match(store_url)) or path in ("", ":memory:"):
        return None
    return Path(path.partition("?")[0] if sqlite else path)
