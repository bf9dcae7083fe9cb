"""Eight processes on one SQLite study with a trivial objective: errors, duplicates, budget, waits, trials a second.

    python benchmarks/many_processes.py [--processes 8] [--trials 2000] [--optuna-trials 240] [--rounds 3]

The interpreters have started, and the study is loaded, before the clock runs. A wait is the time from one call of the
objective to the next in the same process, the first one counted from the start. Optuna gets fewer trials (look at its
trials a second), dealt to its processes beforehand, which costs it less than to agree on a common budget.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from measuring import ENVIRONMENT, empty_folder, show

NAME = "shared"


@dataclass(frozen=True)
class Round:
    """What one run of all processes came to."""

    errors: int
    duplicates: int
    off_budget: int
    unfinished: int
    trials_per_s: float
    longest_wait_s: float
    fewest: int
    most: int


def whet_worker(path: str, n: int) -> list[tuple[int, float]]:
    """Run the shared study; return number and time of each call of the objective."""
    import whet

    study = whet.load(NAME, path)
    calls: list[tuple[int, float]] = []

    def objective(config, trial):
        calls.append((trial.number, time.monotonic()))
        return config["x"] ** 2

    start_together(calls)
    study.run(objective, n_trials=n, executor="inline", progress=False)
    return calls


def optuna_worker(path: str, n: int) -> list[tuple[int, float]]:
    """Do the same with Optuna; *n* is the share of this process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{path}", sampler=optuna.samplers.RandomSampler())
    calls: list[tuple[int, float]] = []

    def objective(trial):
        calls.append((trial.number, time.monotonic()))
        return trial.suggest_float("x", -1.0, 1.0) ** 2

    start_together(calls)
    study.optimize(objective, n_trials=n)
    return calls


def start_together(calls: list[tuple[int, float]]) -> None:
    """Wait for the word to start, and note when it came (under the number -1)."""
    print("ready", flush=True)
    sys.stdin.readline()
    calls.append((-1, time.monotonic()))


def create(which: str, path: Path) -> None:
    if which == "whet":
        import whet

        whet.Study({"x": (-1.0, 1.0)}, sampler="random", store=str(path), name=NAME)
    else:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(study_name=NAME, storage=f"sqlite:///{path}")


def finished(which: str, path: Path) -> tuple[int, int]:
    """Return how many trials the study has, and how many of them completed."""
    if which == "whet":
        import whet

        trials = whet.load(NAME, str(path)).trials
        return len(trials), sum(trial.state.value == "completed" for trial in trials)
    import optuna

    trials = optuna.load_study(study_name=NAME, storage=f"sqlite:///{path}").trials
    return len(trials), sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)


def measured(which: str, n_processes: int, n_trials: int) -> Round:
    """Let *n_processes* run one study of *n_trials*."""
    with empty_folder() as folder:
        path = folder / "study.db"
        create(which, path)
        share = n_trials if which == "whet" else n_trials // n_processes
        argv = [sys.executable, __file__, "--worker", which, str(path), str(share)]
        pipe = subprocess.PIPE
        workers = [
            subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)
            for _ in range(n_processes)
        ]
        for worker in workers:
            worker.stdout.readline()
        for worker in workers:
            try:
                worker.stdin.write("go\n")
                worker.stdin.flush()
            except OSError:
                continue  # it is dead already; counted as an error below
        said = [worker.communicate() for worker in workers]
        complaints = [
            complaint[-2000:] for (_, complaint), worker in zip(said, workers, strict=True) if worker.returncode
        ]
        print(*complaints[:1], sep="\n", end="", file=sys.stderr)
        if len(complaints) == n_processes:
            raise SystemExit(f"all {n_processes} processes of {which} failed")
        calls = [json.loads(out) for (out, _), worker in zip(said, workers, strict=True) if not worker.returncode]
        n_there, n_completed = finished(which, path)
    numbers = [number for own in calls for number, _ in own if number >= 0]
    waits = [after - before for own in calls for (_, before), (_, after) in pairwise(own)]
    began = min(own[0][1] for own in calls)
    ended = max(own[-1][1] for own in calls)
    return Round(
        errors=sum(worker.returncode != 0 for worker in workers),
        duplicates=len(numbers) - len(set(numbers)),
        off_budget=abs(n_there - n_trials),
        unfinished=n_there - n_completed,
        trials_per_s=n_completed / (ended - began),
        longest_wait_s=max(waits),
        fewest=min(len(own) - 1 for own in calls),
        most=max(len(own) - 1 for own in calls),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--optuna-trials", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        which, path, n = options.worker
        print(json.dumps((whet_worker if which == "whet" else optuna_worker)(path, int(n))))
        return
    n_peer = options.optuna_trials // options.processes * options.processes
    ours, peers = [], []
    for _ in range(options.rounds):
        ours.append(measured("whet", options.processes, options.trials))
        peers.append(measured("optuna", options.processes, n_peer))
    speed = statistics.median(one.trials_per_s for one in ours)
    peer_speed = statistics.median(one.trials_per_s for one in peers)
    rows: dict[str, object] = {
        f"rounds of {options.processes} processes": options.rounds,
        f"whet, processes that failed, of {options.rounds * options.processes} (target 0)": sum(r.errors for r in ours),
        "whet, trials run twice (target 0)": sum(one.duplicates for one in ours),
        f"whet, trials more or less than {options.trials} (target 0)": max(one.off_budget for one in ours),
        "whet, trials that did not complete (target 0)": sum(one.unfinished for one in ours),
        "whet, longest wait of all rounds, s (target <= 0.5)": max(one.longest_wait_s for one in ours),
        "whet, fewest and most trials of a process": f"{min(r.fewest for r in ours)} – {max(r.most for r in ours)}",
        "whet, trials a second": speed,
        "Optuna, processes that failed": sum(one.errors for one in peers),
        "Optuna, longest wait, s": max(one.longest_wait_s for one in peers),
        f"Optuna, {n_peer} trials, trials a second": peer_speed,
        "ratio (target >= 5)": speed / peer_speed,
    }
    show("many processes on one study", rows)


if __name__ == "__main__":
    main()
