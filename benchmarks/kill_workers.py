"""Workers of one study, killed at random moments beside others that go on: its trials come back, and run once.

A worker asks and tells, or runs a function, in this process or in others. Half of them are of another host as far as
whet can see (a UTS namespace with another name; needs root): only its lease tells that such a one is gone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from invariants import (
    MARK,
    Ack,
    Death,
    known_value,
    lives_of,
    n_doctor_findings,
    n_taken_from_the_living,
    recoveries,
    survivors,
    violations,
)
from measuring import ENVIRONMENT
from stores import Place

LEASE_S = 2.0
KINDS = ("ask", "inline", "processes")
_CLONE_NEWUTS = 0x04000000
_CONFIGS_PER_KILL = 14
_N_SPARE = 300  # that are left when the last one is killed: others ask all the while
_LONGEST_S = 0.25
_PATIENCE_S = 20.0  # without any trial that ends


# ---- one worker
def work(kind: str, store: str, name: str, log: str, seed: int) -> None:
    """Work on the study until nothing is left; note each result that was acknowledged in *log*."""
    import whet

    draw = random.Random(seed)
    if seed % 2 and os.geteuid() == 0 and ctypes.CDLL(None).unshare(_CLONE_NEWUTS) == 0:
        socket.sethostname(f"elsewhere{seed}")
    faulthandler.register(signal.SIGUSR1)
    warnings.simplefilter("error", whet.errors.LateReportWarning)
    study = whet.load(name, store)
    with Path(log).open("a", buffering=1) as file:

        def note(trial: Any) -> None:
            value = known_value(trial.values.get("value"))
            file.write(json.dumps([trial.number, trial.attempt, str(trial.state), value]) + "\n")

        if kind == "ask":
            ask_and_tell(study, draw, note, file)
        else:
            longest = _LONGEST_S

            def objective(config, trial):
                time.sleep(trial.number * 0.37 % 1 * longest)
                trial.report(config["x"], 1)
                return config["x"] + config["y"] / 1000

            one = {"executor": "inline"} if kind == "inline" else {"workers": 2}
            study.run(objective, progress=False, on_trial_end=lambda _, trial: note(trial), **one)


def asked(study: Any, pause_s: float) -> Iterator[Any]:
    """Give trials until nothing is left to ask, with a pause wherever others have to end theirs first."""
    import whet

    while True:
        try:
            yield study.ask()
        except whet.errors.SearchExhausted:
            return
        except whet.errors.NotReady:
            time.sleep(pause_s)


def ask_and_tell(study: Any, draw: random.Random, note: Any, file: Any) -> None:
    import whet

    for trial in asked(study, 0.05):
        try:
            time.sleep(draw.uniform(0, _LONGEST_S))
            study.report(trial, trial.config["x"], step=1)
            note(study.tell(trial, trial.config["x"] + trial.config["y"] / 1000))
        except whet.errors.LateReportWarning:
            file.write('"refused"\n')


# ---- all of them
@dataclass
class Totals:
    """What all studies came to."""

    kills: int = 0
    with_a_trial: int = 0
    waits_s: list[float] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)

    def add(self, problems: dict[str, int]) -> None:
        self.problems |= {what: self.problems.get(what, 0) + n for what, n in problems.items()}


class Crew:
    """The workers of one study; whoever is killed is replaced by another one of its kind."""

    def __init__(self, place: Place, name: str, draw: random.Random) -> None:
        self._place, self._name, self._draw = place, name, draw
        self._seeds = count(draw.randrange(1000) * 2)
        self.mark = uuid.uuid4().hex
        self.acks = place.folder / f"{name}.acks"
        self.acks.touch()
        self.errors = 0
        self._live: dict[subprocess.Popen[bytes], str] = {}

    def hire(self, kind: str) -> None:
        argv = [sys.executable, __file__, kind, self._place.store, self._name, str(self.acks), str(next(self._seeds))]
        worker = subprocess.Popen(
            argv, env={**ENVIRONMENT, MARK: self.mark}, stderr=subprocess.PIPE, cwd=self._place.folder
        )
        self._live[worker] = kind

    def look(self) -> list[subprocess.Popen[bytes]]:
        """Return who works; count those who ended badly."""
        for worker in [worker for worker in self._live if worker.poll() is not None]:
            del self._live[worker]
            said = worker.stderr.read().decode() if worker.stderr else ""
            if worker.returncode:
                self.errors += 1
                print(said, file=sys.stderr)
        return list(self._live)

    def kill(self, worker: subprocess.Popen[bytes]) -> Death:
        kind = self._live.pop(worker)
        worker.kill()
        at = time.time()
        worker.wait()
        if worker.stderr:
            worker.stderr.close()
        self.hire(kind)
        return Death(worker.pid, at)

    def acknowledged(self) -> list[Ack]:
        lines = [json.loads(line) for line in self.acks.read_text().splitlines() if line.endswith(("]", '"'))]
        return [Ack(*line) for line in lines if line != "refused"]


def kill_workers(place: Place, n_kills: int, draw: random.Random, totals: Totals, n_workers: int = 6) -> None:
    """Kill workers of one study until *n_kills* had a trial in progress, or all its configs were tried."""
    import whet

    name = f"workers-{uuid.uuid4().hex[:8]}"
    n_trials = _CONFIGS_PER_KILL * n_kills + _N_SPARE
    width = 1 + n_trials // 40
    space = {"x": list(range(40)), "y": list(range(width))}
    study = whet.Study(space, sampler="random", seed=5, store=place.store, name=name, lease_s=LEASE_S)
    twin = whet.Study(space, sampler="random", seed=5)
    planned = {n: json.dumps(twin.ask().config, sort_keys=True) for n in range(40 * width)}
    crew = Crew(place, name, draw)
    for index in range(n_workers):
        crew.hire(KINDS[index % len(KINDS)])
    deaths: list[Death] = []
    n_hit = 0
    while n_hit < n_kills and n_done(study) < 40 * width - _N_SPARE // 2:
        time.sleep(draw.uniform(0.1, 0.5))
        owners = {trial.owner.split(":")[1] for trial in study.ledger.history.running if trial.owner}
        ready = [worker for worker in crew.look() if str(worker.pid) in owners]
        if ready:
            deaths.append(crew.kill(draw.choice(ready)))
            study.ledger.catch_up()
            owners = {trial.owner.split(":")[1] for trial in study.ledger.history.running if trial.owner}
            n_hit += str(deaths[-1].pid) in owners
    finish(crew, study, 40 * width)
    lives = lives_of(study)
    for number, life in lives.items():
        if life.asked and not life.ends:
            print(f"trial {number} has not ended: {life}", file=sys.stderr)
    totals.add(violations(lives, crew.acknowledged(), 40 * width, planned))
    totals.add({"attempts taken from a worker that lived": n_taken_from_the_living(lives, deaths)})
    totals.add({"workers that ended with an error": crew.errors})
    totals.add({"processes left": len(survivors(crew.mark, 30))})
    totals.add({"stores in which `whet doctor` finds something": n_doctor_findings(place.folder, place.store)})
    totals.waits_s += recoveries(lives, deaths)
    totals.kills += len(deaths)
    totals.with_a_trial += n_hit


def n_done(study: Any) -> int:
    study.ledger.catch_up()
    return len(study.ledger.history.finished)


def finish(crew: Crew, study: Any, n_trials: int) -> None:
    """Let the workers do what is left; those who find nothing leave, and another one looks again."""
    moved_at, n = time.monotonic(), 0
    while n < n_trials and time.monotonic() - moved_at < _PATIENCE_S:
        if n_done(study) > n:
            moved_at, n = time.monotonic(), n_done(study)
        if not crew.look():
            crew.hire("ask")
        time.sleep(0.1)
    deadline = time.monotonic() + _PATIENCE_S * (n == n_trials)
    while crew.look() and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in crew.look():
        worker.send_signal(signal.SIGUSR1)  # says where it is
        time.sleep(1)
        worker.kill()
        print(worker.args, worker.communicate()[1].decode(), file=sys.stderr)


if __name__ == "__main__":
    work(*sys.argv[1:5], int(sys.argv[5]))
