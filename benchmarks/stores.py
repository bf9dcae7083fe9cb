"""Where benchmarks keep their studies: a fresh SQLite file, or a PostgreSQL that is given or started for them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import empty_folder


@dataclass(frozen=True)
class Place:
    """A folder to work in, and the store: a path in it, or a URL.

    ``server`` and ``database`` are those of tests/servers where this started one.
    """

    folder: Path
    store: str
    server: Any = None
    database: Any = None

    @property
    def is_file(self) -> bool:
        """Tell whether the store is a file."""
        return "://" not in self.store

    @property
    def kind(self) -> str:
        """The name of the database for a title."""
        return "SQLite" if self.is_file else "PostgreSQL"


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--store`` and ``--postgres``."""
    parser.add_argument("--store", help="postgresql://…, instead of a fresh SQLite file")
    parser.add_argument("--postgres", action="store_true", help="start a PostgreSQL of this machine's, and use that")


@contextmanager
def place(options: argparse.Namespace, **settings: object) -> Iterator[Place]:
    """Give a place as *options* say; *settings* go into the postgresql.conf of a server that is started here."""
    with empty_folder() as folder:
        if not options.postgres:
            yield Place(folder, options.store or str(folder / ".whet" / "whet.db"))
            return
        sys.path.append(str(Path(__file__).resolve().parents[1]))
        from tests.servers.postgres import Server

        with Server(**settings) as server:
            database = server.database()
            yield Place(folder, database.url, server, database)
