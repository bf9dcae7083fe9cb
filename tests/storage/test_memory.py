"""What is the memory store's own; the rest is in its contract."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest

from whet.errors import StudyBusy, StudyNotFound
from whet.storage.memory import MemoryStore
from whet.storage.open import open_store
from whet.testing.store_writer import Writer, settings_of


def test_each_store_has_its_own_memory() -> None:
    one, other = open_store(None), open_store(":memory:")
    one.create("a", settings_of())
    with pytest.raises(StudyNotFound, match="memory holds no study yet"):
        other.studies("a")


def test_closing_keeps_what_there_is() -> None:
    with closing(MemoryStore()) as store:
        study = Writer(store, store.create("a", settings_of()).id)
        study.complete(loss=1.0)
    assert store.load(study.study).best() == 0


def test_one_thread_at_a_time_runs_a_study() -> None:
    store = MemoryStore()
    study = store.create("a", settings_of()).id
    refused: list[str] = []

    def work() -> None:
        try:
            with store.hold(study):
                pass
        except StudyBusy as error:
            refused.append(str(error))

    with store.hold(study):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert f"pid {os.getpid()} on " in refused[0]


def test_what_was_loaded_does_not_change() -> None:
    store = MemoryStore()
    writer = Writer(store, store.create("a", settings_of()).id)
    writer.complete(loss=1.0)
    before, events = store.load(writer.study), store.events(writer.study)
    summary = store.summary(writer.study)
    writer.complete(loss=0.5)
    writer.start()
    assert (before.n_finished, before.n_numbers, len(before.unfinished), before.best()) == (1, 1, 0, 0)
    assert len(events) == 5
    assert sum(summary.counts.values()) == 1
