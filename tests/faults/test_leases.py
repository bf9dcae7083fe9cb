"""A worker that is lost or held up: its trial comes back in time, what it says late is refused, and it lives on.

F1 (kill -9), F10 (clock jumps), F11 (two coordinators), F12 (SIGSTOP for longer than the lease).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import whet
from tests.faults.workers import Worker
from whet.core.events import Kind
from whet.core.trial import State
from whet.errors import NotReady
from whet.storage.open import open_store

LEASE_S = 2.0
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
NEXT_PID = Path("/proc/sys/kernel/ns_last_pid")

Start = Callable[..., Worker]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "whet.db")


@pytest.fixture
def start(store: str) -> Iterator[Start]:
    workers: list[Worker] = []

    def begin(*arguments: object, **options: object) -> Worker:
        workers.append(Worker(store, "study", *arguments, **options))  # type: ignore[arg-type]
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close()


def study_of(store: str, n_trials: int, lease_s: float = LEASE_S) -> whet.Study:
    return whet.Study(
        {"x": (0.0, 1.0)}, sampler="random", seed=1, store=store, name="study", n_trials=n_trials, lease_s=lease_s
    )


def asked_again(study: whet.Study) -> tuple[whet.Trial, float]:
    """Ask until something is there; return it and how long that took."""
    began = time.monotonic()
    while True:
        try:
            return study.ask(), time.monotonic() - began
        except (NotReady, whet.errors.SearchExhausted):
            assert time.monotonic() - began < 60, "nothing was handed out again"
            time.sleep(0.05)


def kinds_of(store: str, number: int) -> list[Kind]:
    with closing(open_store(store)) as opened:
        record = opened.studies("study")[0]
        return [event.kind for event in opened.events(record.id) if event.trial == number]


def test_f1_the_trial_of_a_killed_worker_is_handed_out_again_when_its_lease_has_run_out(store: str, start: Start):
    study = study_of(store, n_trials=1)
    worker = start(600)
    asked = worker.next("asked")
    worker.send(signal.SIGKILL)
    with pytest.raises(whet.errors.SearchExhausted):
        study.ask()  # its lease still holds
    trial, waited_s = asked_again(study)
    assert (trial.number, trial.attempt, dict(trial.config)) == (asked["number"], 2, asked["config"])
    assert waited_s <= LEASE_S + 2
    study.tell(trial, 0.5)
    assert [t.state for t in study.trials] == [State.COMPLETED]
    assert study.trials[0].retries == {}  # it was nobody's fault


def test_f1_a_run_takes_over_what_a_killed_worker_leaves(store: str, start: Start):
    study = study_of(store, n_trials=3)
    worker = start(600)
    number = worker.next("asked")["number"]
    worker.send(signal.SIGKILL)
    worker.process.wait()
    began = time.monotonic()
    # It has work until then: the trials that it finds itself take a moment.
    study.run(lambda config: time.sleep(1.5) or config["x"], executor="inline", progress=False)
    while study.ledger.history.running:
        assert time.monotonic() - began < 30
        study.run(lambda config: config["x"], executor="inline", progress=False)
    assert {t.number: t.state for t in study.trials} == dict.fromkeys(range(3), State.COMPLETED)
    assert Kind.REQUEUED in kinds_of(store, number)


def test_a_worker_that_is_busy_for_longer_than_its_lease_keeps_its_trial(store: str, start: Start):
    study = study_of(store, n_trials=1)
    worker = start(2 * LEASE_S)
    worker.next("asked")
    began = time.monotonic()
    while study.ledger.history.n_finished == 0 and time.monotonic() - began < 30:
        with pytest.raises(whet.errors.SearchExhausted):
            study.ask()
        time.sleep(0.1)
    assert worker.next("told")["state"] == "completed"
    assert Kind.REQUEUED not in kinds_of(store, 0)


def test_a_worker_that_ends_well_leaves_its_trial_to_be_told_by_others(store: str):
    study = study_of(store, n_trials=1, lease_s=1.0)
    code = "import sys, whet; print(whet.load('study', sys.argv[1]).ask().number)"
    subprocess.run([sys.executable, "-c", code, store], check=True, capture_output=True)
    time.sleep(1.5)
    with pytest.raises(whet.errors.SearchExhausted):
        study.ask()
    assert study.tell(0, 0.25).state is State.COMPLETED


def test_a_worker_that_dies_of_an_exception_does_not(store: str):
    study = study_of(store, n_trials=1, lease_s=1.0)
    code = "import sys, whet; whet.load('study', sys.argv[1]).ask(); raise ValueError('its own mistake')"
    done = subprocess.run([sys.executable, "-c", code, store], check=False, capture_output=True, text=True)
    assert "ValueError: its own mistake" in done.stderr
    trial, waited_s = asked_again(study)
    assert (trial.number, trial.attempt) == (0, 2)
    assert waited_s <= 3


def test_f12_what_a_suspended_worker_says_late_is_refused_and_it_goes_on(store: str, start: Start):
    study = study_of(store, n_trials=3)
    worker = start(0.3)
    number = worker.next("asked")["number"]
    worker.send(signal.SIGSTOP)
    trial, waited_s = asked_again(study)
    while trial.number != number:
        study.tell(trial, 0.5)
        trial, waited_s = asked_again(study)
    assert trial.attempt == 2
    assert waited_s <= LEASE_S + 2
    study.tell(trial, 0.125)
    worker.send(signal.SIGCONT)
    told = worker.next("told")
    assert told["number"] == number
    assert "begun again (attempt 2)" in told["late"][0]
    assert worker.rest()[-1] == {"did": "done"}  # it lives on, and ends as it should
    by_number = {t.number: t for t in study.trials}
    assert by_number[number].values == {"value": 0.125}  # what was accepted first
    assert kinds_of(store, number).count(Kind.COMPLETED) == 1


@pytest.mark.skipif(LIBFAKETIME is None, reason="needs Debian's package faketime")
@pytest.mark.parametrize("jump_s", [pytest.param(3600, marks=pytest.mark.slow), -3600])
def test_f10_no_lease_runs_out_by_a_jump_of_the_clock(store: str, start: Start, tmp_path: Path, jump_s: int):
    study = study_of(store, n_trials=1)
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    # Only the wall clock: no jump of a real one is seen on the monotonic one.
    env = {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    worker = start(3 * LEASE_S, env={**env, "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    worker.next("asked")
    clock.write_text(f"{jump_s:+d}\n")
    began = time.monotonic()
    while time.monotonic() - began < 2 * LEASE_S:
        with pytest.raises(whet.errors.SearchExhausted):
            study.ask()
        time.sleep(0.2)
    told = worker.next("told")
    assert (told["state"], told["late"]) == ("completed", [])
    (trial,) = study.trials
    assert abs(trial.ended_at - trial.started_at) > 3000  # the clock did jump
    assert 3 * LEASE_S <= trial.duration_s < 60  # and what it took was measured by another one


def test_f11_two_workers_on_one_study_are_two_owners(store: str, start: Start):
    study = study_of(store, n_trials=2)
    first, second = start(1.0), start(1.0)
    numbers = {first.next("asked")["number"], second.next("asked")["number"]}
    assert numbers == {0, 1}
    study.ledger.catch_up()
    owners = {trial.owner for trial in study.ledger.history.running}
    assert len(owners) == 2
    assert all(f":{worker.process.pid}:" in " ".join(owners) for worker in (first, second))
    assert os.getpid() not in {worker.process.pid for worker in (first, second)}


@pytest.mark.root
@pytest.mark.skipif(not NEXT_PID.exists(), reason="needs root: and a kernel in which it may choose process ids")
def test_f11_a_worker_in_a_container_beside_is_not_held_dead(store: str, start: Start, monkeypatch: pytest.MonkeyPatch):
    """It has the host's name and counts its processes on its own: no such process is found here."""
    monkeypatch.setattr("whet.run._LEFT_AFTER_S", 0.5)
    study = study_of(store, n_trials=2, lease_s=60.0)
    unused = subprocess.Popen(["true"])
    unused.wait()
    renumber = f'echo {unused.pid - 1} > {NEXT_PID}; "$@" & wait'
    beside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    worker = start(8.0, inside=[*beside, "sh", "-c", renumber, "-"])
    asked = worker.next("asked")
    study.ledger.catch_up()
    assert [trial.owner.split(":")[1] for trial in study.ledger.history.running] == [str(unused.pid)]
    study.run(lambda config: config["x"], executor="inline", progress=False)
    told = next(line for line in worker.rest() if line["did"] == "told" and line["number"] == asked["number"])
    assert (told["attempt"], told["late"]) == (1, [])
    assert [trial.attempt for trial in study.trials] == [1, 1]
