"""This process's lease on a study, as others see it in a real store."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import whet
from whet.core import leases
from whet.core.events import Draft, Kind
from whet.core.leases import Lease
from whet.core.owner import this_process
from whet.core.protocols import Store
from whet.errors import StoreError, UsageError
from whet.storage.open import open_store
from whet.testing.store_writer import settings_of

LEASE_S = 0.6


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
    while time.monotonic() - began < 3 * LEASE_S:
        assert store.lease(study) == frozenset()
        time.sleep(0.02)


def test_it_is_given_back_when_the_last_object_that_uses_it_is_gone(store: Store, study: int):
    n_before = beating()
    first, second = Lease(store, study, LEASE_S), Lease(store, study, LEASE_S)
    first.keep()
    second.keep()
    second.keep()
    assert beating() == n_before + 1  # one thread for all of them
    del first
    gc.collect()
    time.sleep(LEASE_S)
    assert beating() == n_before + 1
    del second
    gc.collect()
    assert until(lambda: beating() == n_before)
    time.sleep(LEASE_S)
    assert store.lease(study) == frozenset()  # given back: nobody is lost


def test_attempts_that_run_need_it_even_when_their_study_is_gone(store: Store, study: int):
    n_before = beating()
    lease, other = Lease(store, study, LEASE_S), Lease(store, study, LEASE_S)
    lease.keep()
    lease.begun("a")
    del lease
    gc.collect()
    time.sleep(2 * LEASE_S)
    assert beating() == n_before + 1
    assert store.lease(study) == frozenset()
    other.keep()
    other.ended("a")
    del other
    gc.collect()
    assert until(lambda: beating() == n_before)


def test_it_can_be_kept_again_after_it_was_given_back(store: Store, study: int):
    n_before = beating()
    for _ in range(3):
        lease = Lease(store, study, LEASE_S)
        lease.keep()
        assert beating() >= n_before + 1
        del lease
        gc.collect()
        assert until(lambda: beating() == n_before)


def test_it_ends_with_its_store_and_its_study(store: Store, study: int, tmp_path: Path):
    n_before = beating()
    other = open_store(tmp_path / "other.db")
    ours, theirs = Lease(store, study, LEASE_S), Lease(other, other.create("study", settings_of()).id, LEASE_S)
    ours.keep()
    theirs.keep()
    other.close()
    store.delete(study)
    assert until(lambda: beating() == n_before)
    with pytest.raises(StoreError, match="closed"):
        theirs.keep()


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
        elsewhere.lease(1, "elsewhere:7:abc", for_s=0.3)
        elsewhere.append(1, [], reserve=2, owner="elsewhere:7:abc")
        asked = Draft(Kind.ASKED, 0, {"config": {"x": 0.5}})
        started = Draft(Kind.STARTED, 0, {"token": "t", "owner": "elsewhere:7:abc"})
        reported = Draft(Kind.REPORTED, 0, {"rows": [[1, 0.25]]}, "t")
        elsewhere.append(1, [asked, started, reported])
        assert study.ask().number == 2
        time.sleep(1.1)
        trials = study.ask(2)
        assert [(t.number, t.attempt, len(t.curve)) for t in trials] == [(0, 2, 1), (1, 1, 0)]
        late = elsewhere.append(1, [Draft(Kind.COMPLETED, 0, {"values": {"value": 1.0}}, "t")])
        assert late.refused
        assert elsewhere.lease(1) == frozenset()  # forgotten, as nothing of it is left


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


@pytest.mark.parametrize("lease_s", [0, -1, 0.5, float("nan"), float("inf"), "30", True, [30]])
def test_a_lease_is_a_sensible_number_of_seconds(lease_s: object):
    with pytest.raises(UsageError, match="lease_s must be a number of seconds of at least 1"):
        whet.Study({"x": (0.0, 1.0)}, lease_s=lease_s)


class TestLimit:
    """A study that is made for so many trials."""

    def test_who_asks_gets_as_many_and_no_more(self, tmp_path: Path):
        study = whet.Study({"x": (0.0, 1.0)}, store=tmp_path / "whet.db", n_trials=3)
        others = whet.load("study", tmp_path / "whet.db")
        study.add_trials([({"x": 0.5}, 1.0)])  # does not count
        trials = [study.ask(), *others.ask(5)]
        assert len(trials) == 3
        for one in (study, others):
            with pytest.raises(whet.errors.SearchExhausted, match="made for n_trials=3, and all are asked"):
                one.ask()

    def test_others_may_be_faster_with_the_last_number(self, tmp_path: Path):
        study = whet.Study({"x": (0.0, 1.0)}, store=tmp_path / "whet.db", n_trials=1, sampler="random")
        others = whet.load("study", tmp_path / "whet.db")
        assign = study.scheduler.assign
        study.scheduler.assign = lambda *asked: [others.ask(), assign(*asked)][1]  # between the look and the reserve
        with pytest.raises(whet.errors.SearchExhausted, match="all are asked"):
            study.ask()

    def test_repeats_of_a_config_do_not_count(self):
        study = whet.Study({"x": (0.0, 1.0)}, n_trials=2, repeats=3, sampler="random")
        trials = study.ask(10)
        assert len(trials) == 6
        assert len({t.config["x"] for t in trials}) == 2

    def test_a_run_takes_it_where_it_has_no_other(self):
        study = whet.Study({"x": (0.0, 1.0)}, n_trials=4, sampler="random")
        study.ask()
        study.run(lambda config: config["x"], executor="inline", progress=False)
        assert len(study.trials) == 4
        study.run(lambda config: config["x"], executor="inline", progress=False, n_trials=6)
        assert len(study.trials) == 6

    @pytest.mark.parametrize("n_trials", [0, -1, 2.5, "3", True])
    def test_it_is_a_whole_number(self, n_trials: object):
        with pytest.raises(UsageError, match="n_trials must be a whole number"):
            whet.Study({"x": (0.0, 1.0)}, n_trials=n_trials)
