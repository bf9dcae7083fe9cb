"""kill -9 of who runs a study that is kept by a server: nothing is lost, doubled, stuck or left over (F2)."""

from __future__ import annotations

import pytest

from tests.conftest import Whet
from tests.faults.benchmark import figures
from tests.servers.postgres import Database


@pytest.mark.slow
def test_killed_and_resumed_on_postgresql(whet: Whet, postgres: Database) -> None:
    found = figures(whet, "kill", "--coordinator-kills", 6, "--worker-kills", 0, "--stops", 0, "--store", postgres.url)
    assert found["kills"] >= 6
    assert found["trials that are stuck (target 0)"] == 0
