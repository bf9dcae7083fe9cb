"""kill -9 of a worker beside others: its trial comes back when its lease has run out, and has one result (F1)."""

from __future__ import annotations

import pytest

from tests.conftest import Whet
from tests.faults.benchmark import figures
from tests.servers.postgres import Database

LEASE_S = 2.0


def _check(whet: Whet, n_kills: int, *where: str) -> None:
    found = figures(whet, "kill", "--coordinator-kills", 0, "--stops", 0, "--worker-kills", n_kills, *where)
    assert found["kills"] >= found["of them with a trial in progress"] >= n_kills
    assert found["trials that came back"] >= n_kills
    _, longest = found["until a trial came back, median and longest, s"].split(" – ")
    assert float(longest) <= LEASE_S + 2


@pytest.mark.slow
def test_a_killed_workers_trial_comes_back_on_postgresql(whet: Whet, postgres: Database) -> None:
    _check(whet, 5, "--store", postgres.url)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_thirty_killed_workers_no_trial_is_lost_or_doubled(whet: Whet) -> None:
    _check(whet, 30)
