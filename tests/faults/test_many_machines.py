"""The recipe of docs/how-to/several-machines.md, word for word: an array job of workers, one of which is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import whet as whet_package
from tests.architecture.source import ROOT
from tests.conftest import Whet
from tests.servers.postgres import Database
from whet.core.events import Kind
from whet.core.trial import State

N_TRIALS = 40
PAGE = (ROOT / "docs/how-to/several-machines.md").read_text(encoding="utf-8")
# Stands in for SLURM: runs each task of an array as a process, on a node of its own name, and says the job's number.
SBATCH = """\
#!/usr/bin/env python3
import os, re, subprocess, sys
script = sys.argv[1]
first, last = map(int, re.search(r"#SBATCH --array=(\\d+)-(\\d+)", open(script).read()).groups())
for task in range(first, last + 1):
    env = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "HOST_OF_WORKER": f"node{task}"}
    with open(f"worker-{task}.log", "ab") as log:
        subprocess.Popen(["bash", script], env=env, stdout=log, stderr=log, start_new_session=True)
print("Submitted batch job 1")
"""
TRAIN = """\
import math, os, socket, time
socket.gethostname = lambda: os.environ["HOST_OF_WORKER"]
def train(config):
    with open("ran", "a") as file:
        file.write(f"{os.getpid()} {config['lr']}\\n")
    while len({line.split()[0] for line in open("ran")}) < 8:  # each node gets a trial, however slowly it starts
        time.sleep(0.05)
    time.sleep(60 if os.path.exists("hang-" + os.environ["SLURM_ARRAY_TASK_ID"]) else 0.1)
    return (math.log10(config["lr"]) + 3) ** 2 + config["layers"]
"""


def _block(mark: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found, mark
    return found[1]


@pytest.fixture
def cluster(tmp_path: Path, whet: Whet, postgres: Database) -> Path:
    """Lay out what the page tells to write; only the size of the study and the lease are smaller, for the test."""
    worker, workers = _block("file: worker.py"), _block("file: workers.sh")
    assert "n_trials=200," in worker
    (tmp_path / "worker.py").write_text(worker.replace("n_trials=200,", f"n_trials={N_TRIALS}, lease_s=2,"))
    url = "postgresql://sweeps@db.example/sweeps"
    assert url in workers
    (tmp_path / "workers.sh").write_text(workers.replace(url, f"'{postgres.url}'"))
    (tmp_path / "mine.py").write_text(TRAIN)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH)
    (programs / "sbatch").chmod(0o755)
    whet.env["PATH"] = os.pathsep.join((str(programs), str(Path(sys.executable).parent), whet.env["PATH"]))
    return tmp_path


def _submit(cluster: Path, whet: Whet) -> None:
    done = subprocess.run(
        ["bash", "-ec", _block("commands: slurm")],
        cwd=cluster,
        env=whet.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Submitted batch job 1\n"), done.stderr


def _ran(cluster: Path) -> list[tuple[int, str]]:
    path = cluster / "ran"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), x) for pid, x in (line.split() for line in lines)]


def _wait(whet: Whet, cluster: Path, n: int) -> None:
    deadline = time.monotonic() + 90
    while len(_ran(cluster)) < n:
        assert time.monotonic() < deadline, _logs(cluster)
        time.sleep(0.05)


def _logs(cluster: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(cluster.glob("worker-*.log")))


@pytest.mark.slow
def test_the_array_job_of_the_docs(cluster: Path, whet: Whet, postgres: Database) -> None:
    (cluster / "hang-3").touch()  # this node is going to be lost in the middle of a trial
    _submit(cluster, whet)
    _wait(whet, cluster, 12)
    hanging = next(p for p in whet.survivors() if p.environ().get("SLURM_ARRAY_TASK_ID") == "3")
    while hanging.pid not in {pid for pid, _ in _ran(cluster)}:
        time.sleep(0.05)
    hanging.send_signal(signal.SIGKILL)
    assert whet.survivors(90) == [], _logs(cluster)
    for path in cluster.glob("hang-*"):
        path.unlink()
    study = whet_package.load("sweep", postgres.url)
    if study.ledger.history.running:  # the last ones had ended before the lease had: the page says what to do
        time.sleep(2)
        _submit(cluster, whet)
        assert whet.survivors(90) == [], _logs(cluster)
    trials = study.trials
    assert [trial.state for trial in trials] == [State.COMPLETED] * N_TRIALS, _logs(cluster)
    ran = _ran(cluster)
    (lost,) = (x for pid, x in ran if pid == hanging.pid)
    others = [x for pid, x in ran if pid != hanging.pid]
    assert sorted(others) == sorted(str(trial.config["lr"]) for trial in trials)  # each once, that of the lost one too
    assert lost in others
    assert len({pid for pid, _ in ran}) == 8
    events = study.ledger.store.events(study.ledger.study)
    assert sum(event.kind is Kind.REQUEUED for event in events) == 1
    assert sum(event.kind is Kind.ASKED for event in events) == N_TRIALS
    owners = {event.payload["owner"].split("/")[0] for event in events if event.kind is Kind.STARTED}
    assert owners == {f"node{task}" for task in range(1, 9)}


def test_a_worker_that_comes_when_all_is_done_ends_at_once(cluster: Path, whet: Whet, postgres: Database) -> None:
    study = whet_package.Study({"lr": (1e-5, 1e-1)}, store=postgres.url, name="sweep", n_trials=1)
    study.tell(study.ask(), 1.0)
    _submit(cluster, whet)
    assert whet.survivors(90) == []
    assert _ran(cluster) == []
    assert not any(path.read_text() for path in cluster.glob("worker-*.log")), _logs(cluster)
