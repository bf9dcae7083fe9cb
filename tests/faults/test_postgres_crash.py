"""PostgreSQL crashes, or ends its sessions, in the middle of a stream of commits (F8).

Nothing that was acknowledged is lost, nothing is doubled, and everybody goes on once the server is back.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import whet
from tests.conftest import Whet
from tests.faults.accounts import check_accounts
from tests.faults.workers import Worker
from tests.servers.postgres import Database, Server
from whet.core.trial import State
from whet.storage.open import open_store

Start = Callable[..., Worker]
SEVERAL = pytest.mark.parametrize(
    ("n_faults", "n_trials"),
    [(4, 80), pytest.param(20, 500, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],  # two commits a trial
)


@pytest.fixture
def database(own_postgres: Server) -> Database:
    return own_postgres.database()


@pytest.fixture
def start(database: Database) -> Iterator[Start]:
    workers: list[Worker] = []

    def begin(*arguments: object, host: str = "") -> Worker:
        workers.append(Worker(database.url, "study", *arguments, env={"HOST_OF_WORKER": host}))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close()


def _study(database: Database, n_trials: int) -> whet.Study:
    return whet.Study({"x": (0.0, 1.0)}, sampler="random", seed=1, store=database.url, name="study", n_trials=n_trials)


def _faults(server: Server, database: Database) -> list[Callable[[], object]]:
    return [
        server.restart,
        lambda: server.terminate(database),
        lambda: (server.crash("kill"), server.start()),
        lambda: (server.stop(), time.sleep(0.5), server.start()),
    ]


@SEVERAL
def test_workers_on_several_hosts_lose_and_double_nothing(
    own_postgres: Server, database: Database, start: Start, n_faults: int, n_trials: int
) -> None:
    study = _study(database, n_trials)
    workers = [start(0, 10**9, 2, host=f"node{i}") for i in range(3)]
    for worker in workers:
        worker.next("asked")
    faults, rng = _faults(own_postgres, database), random.Random(n_faults)
    for i in range(n_faults):
        n_told = (i + 1) * n_trials // (n_faults + 1)
        _wait_until(lambda n_told=n_told: sum(_n_told(worker) for worker in workers) >= n_told)
        time.sleep(rng.uniform(0, 0.02))
        faults[i % len(faults)]()
    check_accounts(study, [line for worker in workers for line in worker.rest()], n_trials, n_reports=2)


def test_the_process_that_asked_before_the_crash_asks_on(own_postgres: Server, database: Database) -> None:
    """Also one that was idle meanwhile, and finds out only later that its connection is gone."""
    study, idle = _study(database, 10), None
    said = []
    for i in range(10):
        if i % 3 == 1:
            own_postgres.restart()
        trial = study.ask()
        said.append({"did": "asked", "number": trial.number, "config": dict(trial.config)})
        if i % 3 == 2:
            own_postgres.restart()
        idle = idle or whet.load("study", database.url)
        study.tell(trial, trial.config["x"])
        said.append({"did": "told", "number": trial.number})
    check_accounts(idle, said, 10)
    with pytest.raises(whet.errors.SearchExhausted):
        idle.ask()


def test_whet_run_goes_on_and_runs_each_trial_once(
    own_postgres: Server, database: Database, whet: Whet, tmp_path: Path
) -> None:
    (tmp_path / "fit.py").write_text(
        "import sys, time\n"
        "open('ran', 'a').write(sys.argv[2] + '\\n')\n"
        "for step in range(4):\n"
        "    print(f'step={step} loss={float(sys.argv[2]) + 3 - step}', flush=True)\n"
        "    time.sleep(0.05)\n"
    )
    options = ["--store", database.url, "--name", "s", "--minimize", "loss", "--workers", 2, "--trials", 24]
    process = whet.start("run", *options, "--strategy", "random", "fit.py", "--x", "uniform(0, 1)")
    for fault in _faults(own_postgres, database):
        n_ran = len(_lines(tmp_path / "ran"))
        _wait_until(lambda n_ran=n_ran: len(_lines(tmp_path / "ran")) > n_ran + 1 or process.poll() is not None)
        fault()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    ran = _lines(tmp_path / "ran")
    with closing(open_store(database.url)) as store:
        study = store.studies("s")[0]
        trials = store.trials(study.id)
    assert [trial.state for trial in trials] == [State.COMPLETED] * 24
    assert sorted(ran) == sorted(str(trial.config["x"]) for trial in trials)  # none twice
    assert all(trial.values["loss"] == pytest.approx(trial.config["x"]) for trial in trials)
    assert all([step for step, _ in trial.curve] == [0, 1, 2, 3] for trial in trials)
    assert study.holder is None
    assert database.server.password not in out + err


@pytest.mark.slow
def test_several_runs_of_a_function_go_on(own_postgres: Server, database: Database, whet: Whet, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "import sys, time, whet, socket\n"
        "def train(config):\n"
        "    time.sleep(0.05)\n"
        "    with open('ran', 'a') as file:\n"
        "        file.write(f\"{config['x']}\\n\")\n"
        "    return config['x']\n"
        "host = sys.argv[2]\n"
        "socket.gethostname = lambda: host\n"
        "whet.load('study', sys.argv[1]).run(train, n_trials=60, executor='inline', progress=False)\n"
    )
    study = _study(database, 60)
    processes = [
        subprocess.Popen(
            [sys.executable, "work.py", database.url, f"node{i}"],
            cwd=tmp_path,
            env=whet.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    for fault in _faults(own_postgres, database):
        n_ran = len(_lines(tmp_path / "ran"))
        _wait_until(lambda n_ran=n_ran: len(_lines(tmp_path / "ran")) > n_ran + 3)
        fault()
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
    trials = study.trials
    assert [trial.state for trial in trials] == [State.COMPLETED] * 60
    assert sorted(_lines(tmp_path / "ran")) == sorted(str(trial.config["x"]) for trial in trials)


def _n_told(worker: Worker) -> int:
    return sum(line["did"] == "told" for line in worker.so_far())


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
