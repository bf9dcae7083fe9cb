"""A store in a file of its own, and a writer on a study in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "whet.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(path)) as store:
        yield store


@pytest.fixture
def writer(store: SqlStore) -> Writer:
    return Writer(store, store.create("study", settings_of()).id)
