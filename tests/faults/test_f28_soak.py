"""Hundreds of simulated workers while processes are killed and suspended and the store is busy (F28, in short)."""

from __future__ import annotations

import pytest

from tests.conftest import Whet
from tests.faults.benchmark import figures
from tests.servers.postgres import Server

_SHORT = ("--trials", 4000, "--workers", 300, "--trial-ms", 600, "--lease", 2)
_FAULTS = ("--first-fault", 0.5, "--fault-every", 0.5)


@pytest.mark.slow
def test_some_thousand_trials(whet: Whet) -> None:
    found = figures(whet, "soak", *_SHORT, *_FAULTS)
    assert found["trials, of"] == "4000, 4000"
    assert found["attempts taken over"] > 0
    assert found["late reports refused, attempts ended as their trial was taken over"] > 0
    assert found["times the store was kept busy"] > 0
    assert "failed" in found["states"]


@pytest.mark.slow
def test_some_thousand_trials_on_postgresql(whet: Whet, own_postgres: Server) -> None:
    url = own_postgres.database().url
    found = figures(whet, "soak", *_SHORT, *_FAULTS, "--store", url)
    assert found["trials, of"] == "4000, 4000"
    assert found["attempts taken over"] > 0
