"""What was given and said is recovered too, from the log and, where that is lost, from the trials."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from whet.core.annotating import annotation_draft
from whet.core.events import Draft, Kind
from whet.core.giving import Added, add, enqueue
from whet.core.ledger import Ledger
from whet.core.values import Verdict
from whet.storage.doctor import check, differences
from whet.storage.recovery import recover
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of


@pytest.mark.parametrize("lost", ["", "trial IS NOT NULL", "trial % 2 = 1", "trial = 0 AND kind = 'enqueued'"])
def test_given_configs_and_annotations_are_recovered(path: Path, tmp_path: Path, lost: str) -> None:
    with closing(SqlStore(path)) as store:
        ledger = Ledger(store, store.create("a", settings_of()))
        enqueue(ledger, {"lr": 1}, now=time.time)
        enqueue(ledger, {"lr": 0}, now=time.time)
        rows = [
            Added({"lr": 0.5}, Verdict(None, "", {"loss": 0.5}), [[1, 0.7], [2, 0.5]]),
            Added({"lr": 0.5}, Verdict(None, "", {"loss": 0.25})),
        ]
        add(ledger, rows, now=time.time)
        Writer(store, ledger.study).complete(loss=1.0)
        said = [annotation_draft(n, {"n": n}, f"note {n}", now=time.time) for n in (None, 0, 2, 3, 4)]
        ledger.commit([*said, Draft(Kind.STARTED, 0, {"token": "t", "owner": "me"})])
        trials, history = store.trials(ledger.study), store.load(ledger.study)
        settings = store.studies()[0].settings
    assert check(path) == []
    if lost:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"DELETE FROM event WHERE {lost}")
            connection.commit()
    recover(path, tmp_path / "saved.db")
    assert check(tmp_path / "saved.db") == []
    with closing(SqlStore(tmp_path / "saved.db")) as store:
        assert store.studies()[0].settings == settings
        assert repr(store.trials(1)) == repr(trials)
        recovered = store.load(1)
    assert (recovered.given, recovered.n_added, recovered.best()) == (history.given, 2, 3)
    if not lost:
        assert differences(recovered, history) == []


def test_a_config_given_that_the_log_does_not_know_is_found(path: Path) -> None:
    with closing(SqlStore(path)) as store:
        ledger = Ledger(store, store.create("a", settings_of()))
        enqueue(ledger, {"lr": 1}, now=time.time)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE trial SET given = NULL")
        connection.commit()
    assert [finding for finding in check(path) if "the config given" in finding]
