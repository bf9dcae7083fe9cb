"""Many processes on one file: nothing is lost, doubled or refused, and nobody waits for ever (F11)."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.storage import worker
from whet.core.events import Kind
from whet.core.history import History
from whet.core.trial import State
from whet.storage.doctor import check
from whet.storage.sql import SqlStore
from whet.testing.store_writer import Writer, settings_of

_N_PROCESSES = 8


def _told(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Let the processes end; return what each has said, line by line."""
    said = []
    for process in processes:
        said.append(process.communicate()[0].splitlines())
        assert process.returncode == 0
    return said


@pytest.mark.parametrize("n_trials", [15, pytest.param(60, marks=pytest.mark.slow)])
def test_processes_share_a_study(tmp_path: Path, n_trials: int) -> None:
    path = tmp_path / "whet.db"
    with closing(SqlStore(path)) as store, ExitStack() as stack:
        study = store.create("a", settings_of()).id
        processes = [stack.enter_context(worker.start("write", path, study, n_trials)) for _ in range(_N_PROCESSES)]
        while any(process.poll() is None for process in processes):  # read all the while: nobody locks anybody out
            time.sleep(0.02)
            history = store.load(study)
            assert sum(store.summary(study).counts.values()) >= history.n_asked
        acknowledged = [word for lines in _told(processes) for line in lines[1:] for word in line.split()]
        events = store.events(study)
        trials = store.trials(study)
        best = store.summary(study).best
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(events) == 1 + 5 * n_trials * _N_PROCESSES
    assert sorted(acknowledged) == sorted(f"{event.seq}:{event.kind}:{event.trial}" for event in events[1:])
    assert [trial.number for trial in trials] == list(range(n_trials * _N_PROCESSES))
    assert {trial.state for trial in trials} == {State.COMPLETED}
    assert set(Counter((trial.config or {})["by"] for trial in trials).values()) == {n_trials}
    assert best is not None
    assert best.number == len(trials) - 1
    assert check(path) == []


def _go(processes: list[subprocess.Popen[str]]) -> None:
    """Let the processes begin at the same moment."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def test_processes_that_keep_a_limit_reach_it_exactly(tmp_path: Path) -> None:
    path, n_trials = tmp_path / "whet.db", 101
    with closing(SqlStore(path)) as store, ExitStack() as stack:
        study = store.create("a", settings_of()).id
        writer = Writer(store, study)
        writer.ask()  # the one that all annotate
        processes = [stack.enter_context(worker.start("share", path, study, n_trials)) for _ in range(_N_PROCESSES)]
        _go(processes)
        said: dict[str, list[str]] = {"asked": ["0"], "enqueued": [], "added": [], "annotated": []}
        for lines in _told(processes):
            for word, *rest in map(str.split, lines):
                said[word] += rest
        history, trials = store.load(study), store.trials(study)
        events = store.events(study)
    numbers = {word: sorted(map(int, said[word])) for word in ("asked", "enqueued", "added")}
    assert sorted(number for some in numbers.values() for number in some) == list(range(len(trials)))
    # Those asked and enqueued are as many as the limit, but for what was enqueued when it had been reached.
    counted = sorted(numbers["asked"] + numbers["enqueued"])
    assert max(numbers["asked"]) in counted[:n_trials]
    assert len(counted) >= n_trials
    assert history.n_added == len(numbers["added"])
    for giver in ("enqueued", "added"):
        assert [trial.number for trial in trials if trial.given == giver] == numbers[giver]
    # A given number is known to be one as soon as it is known at all.
    known = History.begin(events[0].payload)
    for event in events:
        known = known.extended([event])
        given = {config.number for config in known.given.configs}
        assert given == {number for number in numbers["enqueued"] + numbers["added"] if number < known.n_numbers}
    for attributes in (history.settings["attributes"], trials[0].attributes):
        assert sorted(attributes) == sorted(said["annotated"])
    assert check(path) == []


def test_processes_make_the_same_file_at_the_same_moment(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "whet.db"
    with ExitStack() as stack:
        names = [f"study {i}" for i in range(_N_PROCESSES)]
        processes = [stack.enter_context(worker.start("create", path, name)) for name in names]
        _go(processes)
        ids = [int(lines[0]) for lines in _told(processes)]
    assert sorted(ids) == list(range(1, _N_PROCESSES + 1))
    with closing(SqlStore(path)) as store:
        assert {record.id: record.name for record in store.studies()} == dict(zip(ids, names, strict=True))
        assert [event.kind for study in ids for event in store.events(study)] == [Kind.CREATED] * _N_PROCESSES
    assert check(path) == []


def test_a_study_that_is_deleted_under_its_writers_ends_them_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "whet.db"
    with closing(SqlStore(path)) as store:
        study, other = (store.create(name, settings_of()).id for name in "ab")
        with worker.start("write", path, study, 100_000) as process:
            assert process.stdout is not None
            for _ in range(5):
                process.stdout.readline()
            store.delete(study)
            process.stdout.read()
            assert process.wait() == 1
        assert [record.id for record in store.studies()] == [other]
    assert check(path) == []
