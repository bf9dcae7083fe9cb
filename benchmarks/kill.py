"""Does a study survive? kill -9 of who runs it, of workers beside others, and stops of trials with runaway children.

    python benchmarks/kill.py [--coordinator-kills 200] [--worker-kills 100] [--stops 20] [--postgres | --store URL]

Coordinators (`whet run`, `whet resume`) are killed at random moments and resumed each time. Workers of one study
(ask and tell, or a function) are killed beside others; their trials come back when their lease of 2 s has run out.
After each kill, and at the end of each study, the log is compared with what was acknowledged; see invariants.py. Exit
code 1: something that must not happen did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from invariants import MARK, Ack, lives_of, n_doctor_findings, survivors, violations
from kill_workers import LEASE_S, Totals, kill_workers
from measuring import ENVIRONMENT, WHET, empty_folder, show
from stores import Place, add_store_options, place

N_TRIALS = 12
_KILLS_OF_ONE_STUDY = 8
_WORKER_KILLS_OF_ONE_STUDY = 30
_PATIENCE_S = 30.0  # for the trials of a killed coordinator: they have ten seconds to end
# Now and then with a grandchild in a session of its own, which would outlive it.
SLEEPER = """
import subprocess, sys, time
x = float(sys.argv[2])
if int(x * 1000) % 3 == 0:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(0.03)
print("loss:", x)
"""
SPACES = {"grid": "uniform(0, 1, 12)", "random": "uniform(0, 1)", "quasi_random": "loguniform(0.001, 1)"}
# A grandchild that leaves the session and ignores SIGTERM, and one that is forked twice.
RUNAWAY = """
import os, signal, sys, time
marker = sys.argv[1]
for twice in (False, True):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if twice and os.fork():
            os._exit(0)
        os.execvp("sleep", ["sleep", marker])
time.sleep(600)
"""


def start(folder: Path, *arguments: str, env: Mapping[str, str] = ENVIRONMENT) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*WHET, *arguments], cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)


# ---- coordinators
def killed_study(here: Place, draw: random.Random, n_kills: int, totals: Totals) -> None:
    """Kill who runs a study up to *n_kills* times, resume it each time, and check what came of it."""
    import whet

    name, mark = f"victim-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    strategy = draw.choice(list(SPACES))
    (here.folder / "train.py").write_text(SLEEPER)
    run = ["run", "--strategy", strategy, "--trials", str(N_TRIALS), "--seed", "7", "--objective", "loss:min", "--json"]
    script = ["train.py", "--x", SPACES[strategy]]
    planned = planned_by(here.folder, *run, *script)
    first = [*run, "--store", here.store, "--name", name, "--workers", "2", *script]
    again = ["resume", name, "--store", here.store, "--json"]
    acks: list[Ack] = []
    arguments, is_done, n = first, False, 0
    while not is_done:
        process = start(here.folder, *arguments, env={**ENVIRONMENT, MARK: mark})
        is_done, said = watched(process, draw.uniform(0.2, 1.8) if n < n_kills else None)
        n += not is_done
        finished = [record for record in said if record["event"] == "trial_finished"]
        told = {ack.number for ack in acks}
        totals.add({"trials that ran again after they were acknowledged": sum(r["number"] in told for r in finished)})
        acks += [Ack(r["number"], r["attempts"], r["state"], r["values"].get("loss")) for r in finished]
        totals.add({"processes left": len(survivors(mark, _PATIENCE_S))})
        if exists(name, here.store):
            arguments = again
            findings = {"stores in which `whet doctor` finds something": n_doctor_findings(here.folder, here.store)}
            lives = lives_of(whet.load(name, here.store))
            passing = ("trials missing, or too many", "trials that are stuck", "trials with other parameters")
            found = violations(lives, acks, N_TRIALS)
            totals.add(findings | {what: k for what, k in found.items() if is_done or what not in passing})
    totals.add({"runs that ended with an error": process.returncode != 0})
    totals.add(violations(lives_of(whet.load(name, here.store)), acks, N_TRIALS, planned))
    totals.kills += n


@cache
def planned_by(folder: Path, *arguments: str) -> dict[int, str]:
    """Return the configs by number, as JSON."""
    argv = [*WHET, arguments[0], "--dry-run", *arguments[1:]]
    done = subprocess.run(argv, cwd=folder, env=ENVIRONMENT, capture_output=True)
    plan = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(plan) == N_TRIALS, done.stderr.decode()
    return {record["number"]: json.dumps(record["config"], sort_keys=True) for record in plan}


def watched(process: subprocess.Popen[str], kill_after_s: float | None) -> tuple[bool, list[dict]]:
    """Wait for *process*, or kill it; return whether it ended by itself, and the records that it wrote."""
    is_done = True
    try:
        out, complaint = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        is_done = False
        process.kill()
        out, complaint = process.communicate()
    if is_done and process.returncode:
        print(complaint)
    return is_done, [json.loads(line) for line in out.splitlines() if line.endswith("}")]


def exists(name: str, store: str) -> bool:
    import whet

    try:
        whet.load(name, store)
    except whet.errors.StudyNotFound:
        return False
    return True


# ---- stops
def survivors_of_stop(seconds: str) -> int:
    """Start a trial with runaway grandchildren, stop the study, and count what is left of them."""
    with empty_folder() as folder:
        (folder / "train.py").write_text(RUNAWAY)
        process = start(folder, "run", "--grace", "1", "--name", "victim", "train.py", seconds)
        deadline = time.monotonic() + 20
        while count(seconds) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert count(seconds) == 2, "the grandchildren did not start"
        subprocess.run([*WHET, "stop", "victim"], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        process.communicate()
        return count(seconds)


def count(seconds: str) -> int:
    """Count the processes ``sleep <seconds>``."""
    wanted = f"sleep\0{seconds}\0".encode()
    n = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            n += path.read_bytes() == wanted
        except OSError:
            continue
    return n


# ---- all
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coordinator-kills", type=int, default=200)
    parser.add_argument("--worker-kills", type=int, default=100)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    add_store_options(parser)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    bad = 0
    with place(options) as here:
        coordinators, workers = Totals(), Totals()
        while coordinators.kills < options.coordinator_kills:
            n_kills = min(_KILLS_OF_ONE_STUDY, options.coordinator_kills - coordinators.kills)
            killed_study(here, draw, n_kills, coordinators)
            print(f"{coordinators.kills} coordinators killed", file=sys.stderr)
        while workers.with_a_trial < options.worker_kills:
            n_kills = min(_WORKER_KILLS_OF_ONE_STUDY, options.worker_kills - workers.with_a_trial)
            kill_workers(here, n_kills, draw, workers)
            print(f"{workers.kills} workers killed", file=sys.stderr)
        if options.coordinator_kills:
            bad += told(f"kill -9 of who runs a study, {here.kind}", coordinators, {})
        if options.worker_kills:
            waits = sorted(workers.waits_s)
            late = sum(wait > LEASE_S + 2 for wait in waits)
            workers.add({f"trials that came back later than {LEASE_S + 2:g} s": late})
            more = {
                "of them with a trial in progress": workers.with_a_trial,
                "trials that came back": len(waits),
                "until a trial came back, median and longest, s": f"{waits[len(waits) // 2]:.2f} – {waits[-1]:.2f}",
            }
            bad += told(f"kill -9 of workers beside others, {here.kind}", workers, more)
    if options.stops:
        left = sum(survivors_of_stop(f"{600 + i}.{os.getpid()}") for i in range(options.stops))
        rows = {"stops of trials with runaway grandchildren": options.stops, "survivors (target 0)": left}
        show("stops", rows)
        bad += left
    raise SystemExit(1 if bad else 0)


def told(title: str, totals: Totals, more: dict[str, object]) -> int:
    """Print *totals*; return how often something happened that must not."""
    problems = {f"{what} (target 0)": n for what, n in totals.problems.items()}
    show(title, {"kills": totals.kills, **more, **problems})
    return sum(totals.problems.values())


if __name__ == "__main__":
    main()
