"""kill -9 of a writer at a random moment: the store opens, and all that was acknowledged is there, once (F2)."""

from __future__ import annotations

import random
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage import worker
from whet.storage.doctor import check
from whet.storage.sql import SqlStore
from whet.testing.store_writer import settings_of


@pytest.mark.parametrize("n_kills", [8, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path, n_kills: int) -> None:
    """Each writer starts where the one before it was killed; a second one writes all the while."""
    path = tmp_path / "whet.db"
    rng = random.Random(n_kills)
    with closing(SqlStore(path)) as store:
        study = store.create("a", settings_of()).id
    acknowledged: list[str] = []
    with worker.start("write", path, study, 10**9) as other:
        listener = threading.Thread(target=_listen, args=(other, acknowledged))
        listener.start()
        for _ in range(n_kills):
            with worker.start("write", path, study, 10**9) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                killer = threading.Timer(rng.uniform(0.0, 0.1), process.send_signal, (signal.SIGKILL,))
                killer.start()
                acknowledged += process.stdout.read().split()  # whole lines: each was one write
                killer.join()
                assert process.wait() == -signal.SIGKILL
        other.kill()
        listener.join()
    with closing(SqlStore(path)) as store:
        events = [f"{event.seq}:{event.kind}:{event.trial}" for event in store.events(study)]
        numbers = store.append(study, [], after=len(events), reserve=1).numbers
        assert numbers == [sum(":claimed:" in event for event in events)]
    assert len(acknowledged) > 20
    assert len(set(acknowledged)) == len(acknowledged)
    assert set(acknowledged) <= set(events)
    # Of each that was killed, at most the one write that it did not live to speak of: 3 events.
    assert len(events) - 1 - len(acknowledged) <= 3 * (n_kills + 1)
    assert check(path) == []


def _listen(process: object, acknowledged: list[str]) -> None:
    stdout = process.stdout  # type: ignore[attr-defined]
    stdout.readline()
    acknowledged += stdout.read().split()


def test_a_writer_that_is_killed_while_it_makes_the_file(tmp_path: Path) -> None:
    rng = random.Random(0)
    for i in range(6):
        path = tmp_path / str(i) / "whet.db"
        with worker.start("create", path, "first") as process:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            process.stdin.write("go\n")
            process.stdin.flush()
            threading.Event().wait(rng.uniform(0.0, 0.03))
            process.kill()
        with closing(SqlStore(path)) as store:
            assert [record.name for record in store.studies()] in ([], ["first"])
            store.create("second", settings_of())
        assert check(path) == []
