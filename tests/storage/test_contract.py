"""The contract of stores, over those that whet has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.postgres import Database
from whet.storage.memory import MemoryStore
from whet.storage.open import open_store
from whet.storage.sql import SqlStore
from whet.testing.store_suite import StoreContract
from whet.testing.store_writer import Connect


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def connect(self) -> Connect:
        store = MemoryStore()
        return lambda: store


class TestSqlStore(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        return lambda: SqlStore(tmp_path / "it's a folder?" / "whet.db")


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def connect(self, postgres: Database) -> Connect:
        return lambda: open_store(postgres.url)
