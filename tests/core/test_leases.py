"""This process's lease on a study, as others see it in a real store."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.core import leases
from whet.core.events import Draft, Kind
from whet.core.leases import Lease, lease_s_in
from whet.core.owner import pid_space, this_process
from whet.core.protocols import Store
from whet.errors import StoreError, StoreFull, UsageError
from whet.storage.open import open_store
from whet.storage.sqlite import SqliteFile
from whet.testing.store_writer import settings_of

LEASE_S = 1.2  # of which a busy machine may take two thirds before a beat comes
SHORT_S = 0.3  # where it does not matter whether a beat comes in time
HELD = "SELECT count(*) FROM lease"


@pytest.fixture
def store(tmp_path: Path):
    with closing(open_store(tmp_path / "whet.db")) as opened:
        yield opened


@pytest.fixture
def study(store: Store) -> int:
    return store.create("study", settings_of()).id


def beating() -> int:
    return sum(thread.name == "whet-lease" for thread in threading.enumerate())


def until(holds: Callable[[], bool], patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_it_is_renewed_for_as_long_as_it_is_kept(store: Store, study: int):
    lease = Lease(store, study, LEASE_S)
    lease.keep()
    began = time.monotonic()
    while time.monotonic() - began < 1.5 * LEASE_S:
        assert store.lease(study) == frozenset()
        time.sleep(0.02)


def test_it_is_given_back_when_the_last_object_that_uses_it_is_gone(store: Store, study: int, tmp_path: Path):
    n_before = beating()
    listened = Listened(store)
    first, second = Lease(listened, study, SHORT_S), Lease(listened, study, SHORT_S)
    first.keep()
    second.keep()
    second.keep()
    assert beating() == n_before + 1  # one thread for all of them
    del first
    gc.collect()
    n_said = len(listened.said)
    assert until(lambda: len(listened.said) >= n_said + 3)  # it is renewed all the same
    assert beating() == n_before + 1
    del second
    gc.collect()
    assert until(lambda: beating() == n_before)
    with closing(sqlite3.connect(tmp_path / "whet.db")) as file:
        assert file.execute(HELD).fetchone() == (0,)  # given back, and so nobody will be lost


def test_attempts_that_run_need_it_even_when_their_study_is_gone(store: Store, study: int):
    n_before = beating()
    listened = Listened(store)
    lease, other = Lease(listened, study, SHORT_S), Lease(listened, study, SHORT_S)
    lease.keep()
    lease.begun("a")
    del lease
    gc.collect()
    n_said = len(listened.said)
    assert until(lambda: len(listened.said) >= n_said + 3)
    assert set(listened.said) == {SHORT_S}  # renewed, and never given back
    assert beating() == n_before + 1
    other.keep()
    other.ended("a")
    del other
    gc.collect()
    assert until(lambda: beating() == n_before)


def test_it_can_be_kept_again_after_it_was_given_back(store: Store, study: int):
    n_before = beating()
    for _ in range(3):
        lease = Lease(store, study, SHORT_S)
        lease.keep()
        assert beating() >= n_before + 1
        del lease
        gc.collect()
        assert until(lambda: beating() == n_before)


def test_who_releases_it_has_given_it_back_before_going_on(tmp_path: Path):
    n_before = beating()
    with closing(open_store(tmp_path / "whet.db")) as store:
        study = store.create("study", settings_of()).id
        lease, other = Lease(store, study, LEASE_S), Lease(store, study, LEASE_S)
        lease.release()  # what was never kept
        lease.keep()
        other.keep()
        lease.release()
        with closing(sqlite3.connect(tmp_path / "whet.db")) as file:
            assert file.execute(HELD).fetchone() == (1,)  # the other one needs it
            other.release()
            assert until(lambda: file.execute(HELD).fetchone() == (0,))  # at once, if the disk is not busy
            lease.keep()
            assert file.execute(HELD).fetchone() == (1,)
        lease.release()
        lease.release()
    assert until(lambda: beating() == n_before)


def test_it_ends_with_its_store_and_its_study(store: Store, study: int, tmp_path: Path):
    n_before = beating()
    other = open_store(tmp_path / "other.db")
    ours, theirs = Lease(store, study, SHORT_S), Lease(other, other.create("study", settings_of()).id, SHORT_S)
    ours.keep()
    theirs.keep()
    other.close()
    store.delete(study)
    assert until(lambda: beating() == n_before)
    with pytest.raises(StoreError, match="closed"):
        theirs.keep()


class Listened:
    """A store whose leases are written down, and which may be slow or fail at them."""

    def __init__(self, store: Store, on_lease: Callable[[float], object] = lambda for_s: None) -> None:
        self.said: list[float] = []
        self._store, self._on_lease = store, on_lease

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def lease(self, study: int, owner: str = "", *, for_s: float | None = None) -> frozenset[str]:
        if for_s is not None:
            self._on_lease(for_s)
        found = self._store.lease(study, owner, for_s=for_s)
        if for_s is not None:
            self.said.append(for_s)
        return found


def test_to_give_it_back_does_not_undo_that_it_was_taken_anew(store: Store, study: int, monkeypatch):
    is_begun, may_go_on = threading.Event(), threading.Event()

    def dawdle(*_: object) -> None:
        is_begun.set()
        may_go_on.wait(60)

    monkeypatch.setattr(leases.atexit, "unregister", dawdle)
    slow = Listened(store, lambda for_s: for_s or dawdle())
    first, second = Lease(slow, study, 60.0), Lease(slow, study, 60.0)
    first.keep()
    del first
    gc.collect()
    assert is_begun.wait(60)
    threading.Timer(0.3, may_go_on.set).start()
    second.keep()
    assert until(lambda: len(slow.said) == 3)
    assert slow.said == [60.0, 0, 60.0]


def test_nothing_is_renewed_once_the_process_gives_it_back_as_it_ends(store: Store, study: int):
    listened = Listened(store)
    lease = Lease(listened, study, SHORT_S)
    lease.keep()
    leases._beats[listened.url, study].leave()
    n_said = len(listened.said)
    time.sleep(1.5 * SHORT_S)
    assert listened.said[-1] == 0
    assert len(listened.said) == n_said


def test_an_error_that_does_not_last_as_long_as_a_lease_does_not_end_it(store: Store, study: int):
    failures = iter([None, StoreError("no memory")])  # the second time

    def fail(for_s: float) -> None:
        if (error := next(failures, None)) is not None:
            raise error

    listened = Listened(store, fail)
    lease = Lease(listened, study, 6.0)
    lease.keep()
    assert until(lambda: len(listened.said) == 2)
    assert listened.said == [6.0, 6.0]
    assert next(failures, "it has failed once") == "it has failed once"


def test_who_cannot_begin_to_keep_it_leaves_no_thread_behind(store: Store, study: int):
    n_before = beating()

    def fail(for_s: float) -> None:
        raise StoreFull("no room")

    lease = Lease(Listened(store, fail), study, LEASE_S)
    with pytest.raises(StoreFull):
        lease.keep()
    assert until(lambda: beating() == n_before)


def test_a_forked_child_can_have_leases_of_its_own_whatever_its_parent_was_at(tmp_path: Path):
    code = """if True:
        import os, sys, threading, time, whet
        from whet.core import leases
        study = whet.Study({"x": (0.0, 1.0)}, store=sys.argv[1], lease_s=1.0)
        study.ask()
        with leases._mutex:  # as a thread may
            child = os.fork()
            if child == 0:
                os._exit(whet.load("study", sys.argv[1]).ask().number)
        for _ in range(600):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                os._exit(os.waitstatus_to_exitcode(status))
            time.sleep(0.1)
        os.kill(child, 9)
        os._exit(99)
        """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, tmp_path / "whet.db"], check=False)
    assert done.returncode == 1


def test_no_beat_is_in_the_middle_of_a_write_while_the_process_is_forked(store: Store, study: int):
    """What a library has locked then would stay locked in the child."""
    at_the_store, has_been = threading.Event(), threading.Event()

    def linger(_: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            at_the_store.set()
            has_been.set()
            time.sleep(0.05)
            at_the_store.clear()

    lease = Lease(Listened(store, linger), study, SHORT_S)
    lease.keep()
    codes = []
    for _ in range(5):
        has_been.clear()
        assert has_been.wait(20)
        pid = os.fork()
        if pid == 0:
            os._exit(1 if at_the_store.is_set() else 0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert codes == [0] * 5
    assert until(has_been.is_set)  # they go on


def test_nor_is_a_store_being_closed_that_only_a_beat_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begun, is_closing = threading.Event(), threading.Event()
    close = SqliteFile.close

    def dawdle(file: SqliteFile) -> None:
        if threading.current_thread() is not threading.main_thread():
            is_closing.set()
            begun.set()
            time.sleep(0.2)
            is_closing.clear()
        close(file)

    monkeypatch.setattr(SqliteFile, "close", dawdle)
    store = open_store(tmp_path / "whet.db")
    lease = Lease(store, store.create("study", settings_of()).id, LEASE_S)
    lease.keep()
    del store, lease
    gc.collect()
    assert begun.wait(20)
    pid = os.fork()
    if pid == 0:
        os._exit(1 if is_closing.is_set() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_error_at_a_prompt_is_not_the_end_of_the_process(tmp_path: Path):
    path = tmp_path / "whet.db"
    study = whet.Study({"x": (0.0, 1.0)}, store=path, lease_s=1.0, n_trials=1)
    typed = f"import whet\ntrial = whet.load('study', {str(path)!r}).ask()\n1 / 0\nprint(trial.number)\n"
    done = subprocess.run([sys.executable, "-i", "-q"], input=typed, text=True, capture_output=True, check=False)
    assert "ZeroDivisionError" in done.stderr
    assert done.stdout.strip() == "0"
    time.sleep(1.1)  # its lease would have run out
    with pytest.raises(whet.errors.SearchExhausted):
        study.ask()  # it waits to be told
    assert study.tell(0, 1.0).state == "completed"


@pytest.mark.parametrize("kind", [Kind.CANCELLED, Kind.REQUEUED])
def test_an_attempt_that_others_have_ended_does_not_need_it_any_more(tmp_path: Path, kind: Kind):
    n_before = beating()
    study = whet.Study({"x": (0.0, 1.0)}, store=tmp_path / "whet.db", lease_s=60.0)
    trial = study.ask()
    with closing(open_store(tmp_path / "whet.db")) as elsewhere:
        elsewhere.append(1, [Draft(kind, trial.number, {"counts": False})])
    assert beating() == n_before + 1
    if kind is Kind.REQUEUED:
        with pytest.warns(whet.errors.LateReportWarning):
            study.report(trial, 1.0, step=1)
    else:
        study.ledger.catch_up()
    assert study.ledger.took_s(trial) is None
    del study
    gc.collect()
    assert until(lambda: beating() == n_before)


def test_one_that_was_held_up_is_renewed_before_anything_is_begun(store: Store, study: int, monkeypatch):
    monkeypatch.setattr(leases._Beat, "_is_needed", lambda self, wait_s: time.sleep(60) or True)  # it is suspended
    lease = Lease(store, study, LEASE_S)
    lease.keep()
    assert until(lambda: store.lease(study) == {this_process()})
    lease.keep()
    assert store.lease(study) == frozenset()


def test_who_looks_sees_the_others_and_not_itself_once_a_second(store: Store, study: int):
    lease = Lease(store, study, 60.0)
    store.lease(study, this_process(), for_s=0.01)
    store.lease(study, "elsewhere:1:a", for_s=0.01)
    time.sleep(0.05)
    assert lease.lost() == {"elsewhere:1:a"}
    assert lease.lost() == frozenset()  # it has just looked
    assert lease.lost(at_once=True) == {"elsewhere:1:a"}
    lease.bury(["elsewhere:1:a"])
    assert lease.lost(at_once=True) == frozenset()


def test_in_memory_there_is_nothing_to_keep():
    n_before = beating()
    study = whet.Study({"x": (0.0, 1.0)}, lease_s=1.0)
    study.tell(study.ask(), 1.0)
    assert beating() == n_before


def test_the_trials_and_numbers_of_one_who_is_lost_are_taken_over_with_what_is_known(tmp_path: Path):
    """Of another host: nothing is known of that process but its lease."""
    path = tmp_path / "whet.db"
    study = whet.Study({"x": (0.0, 1.0)}, sampler="random", store=path, lease_s=1.0, seed=3)
    with closing(open_store(path)) as elsewhere:
        elsewhere.lease(1, "elsewhere:7:abc", for_s=60)
        elsewhere.append(1, [], reserve=2, owner="elsewhere:7:abc")
        asked = Draft(Kind.ASKED, 0, {"config": {"x": 0.5}})
        started = Draft(Kind.STARTED, 0, {"token": "t", "owner": "elsewhere:7:abc"})
        reported = Draft(Kind.REPORTED, 0, {"rows": [[1, 0.25]]}, "t")
        elsewhere.append(1, [asked, started, reported])
        assert study.ask().number == 2
        elsewhere.lease(1, "elsewhere:7:abc", for_s=0.01)
        time.sleep(1.1)  # who looks does so once a second
        trials = study.ask(2)
        assert [(t.number, t.attempt, len(t.curve)) for t in trials] == [(0, 2, 1), (1, 1, 0)]
        late = elsewhere.append(1, [Draft(Kind.COMPLETED, 0, {"values": {"value": 1.0}}, "t")])
        assert late.refused
        assert elsewhere.lease(1) == frozenset()  # forgotten, as nothing of it is left


def test_who_is_lost_is_not_forgotten_while_more_of_theirs_is_found(tmp_path: Path):
    """What they began after this process had read the log, and before it looked whose lease has run out."""
    path = tmp_path / "whet.db"
    study = whet.Study({"x": (0.0, 1.0)}, sampler="random", store=path, lease_s=1.0, n_trials=1)
    with closing(open_store(path)) as elsewhere:
        look = study.ledger.lease.lost

        def slow_look(*, at_once: bool = False) -> frozenset[str]:
            study.ledger.lease.lost = look
            elsewhere.lease(1, "elsewhere:7:abc", for_s=0.01)
            elsewhere.append(1, [], reserve=1, owner="elsewhere:7:abc")
            asked = Draft(Kind.ASKED, 0, {"config": {"x": 0.5}})
            started = Draft(Kind.STARTED, 0, {"token": "t", "owner": "elsewhere:7:abc"})
            elsewhere.append(1, [asked, started])
            time.sleep(0.05)
            return look(at_once=at_once)

        study.ledger.lease.lost = slow_look
        trial = study.ask()
        assert (trial.number, trial.attempt) == (0, 2)
        assert elsewhere.lease(1) == frozenset()


def test_two_find_the_number_of_a_dead_process_and_both_get_one(tmp_path: Path):
    path = tmp_path / "whet.db"
    study = whet.Study({"x": (0.0, 1.0)}, sampler="random", store=path)
    other = whet.load("study", path)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True)
    owner = f"{pid_space()}:{int(dead.stdout)}:abc"
    study.ledger.store.append(1, [], reserve=1, owner=owner)
    assign = study.scheduler.assign
    study.scheduler.assign = lambda *asked: [assign(*asked), other.ask()][0]  # between the look and the reserve
    assert study.ask().number == 1
    assert [trial.number for trial in study.trials] == [0, 1]


def test_a_process_that_is_killed_while_it_chooses_gives_its_number_to_the_next(tmp_path: Path):
    path = tmp_path / "whet.db"
    study = whet.Study({"x": (0.0, 1.0)}, sampler="random", store=path, lease_s=1.0, n_trials=1)
    code = (
        "import os, signal, sys, whet\n"
        "study = whet.load('study', sys.argv[1])\n"
        "study.sampler.suggest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "study.ask()"
    )
    subprocess.run([sys.executable, "-c", code, path], check=False)
    began = time.monotonic()
    while True:
        try:
            assert study.ask().number == 0
            break
        except whet.errors.SearchExhausted:
            assert time.monotonic() - began < 30
            time.sleep(0.1)


def test_one_that_lasts_for_ages_is_kept_as_well(store: Store, study: int):
    n_before = beating()
    lease = Lease(store, study, 1e12)
    lease.keep()
    time.sleep(0.2)
    assert beating() == n_before + 1
    assert store.lease(study) == frozenset()


@pytest.mark.parametrize("lease_s", [0, float("nan"), -1.0, 10**400, "soon", None, [30]])
def test_what_is_no_time_in_a_store_is_not_heeded(lease_s: object):
    assert lease_s_in({"lease_s": lease_s}) == leases.LEASE_S
    assert lease_s_in({"lease_s": 5}) == 5.0


@pytest.mark.parametrize("lease_s", [0, -1, 0.5, float("nan"), float("inf"), "30", True, [30]])
def test_a_lease_is_a_sensible_number_of_seconds(lease_s: object):
    with pytest.raises(UsageError, match="lease_s must be a number of seconds of at least 1"):
        whet.Study({"x": (0.0, 1.0)}, lease_s=lease_s)
