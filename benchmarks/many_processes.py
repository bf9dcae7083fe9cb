"""Eight processes on one study with a trivial objective: errors, duplicates, budget, waits, trials a second.

    python benchmarks/many_processes.py [--processes 8] [--trials 2000] [--optuna-trials 240] [--rounds 3]
                                        [--postgres | --store URL]

Through `whet.load(…).run(objective, executor="inline")`, which tells a result and claims the next trial in one commit,
and through ask and tell. The interpreters have started, and the study is loaded, before the clock runs. A process is
without work from the end of one call of the objective to the next call, the first one counted from the start; a claim
is that in a run, and `ask()` itself in ask and tell. Optuna gets fewer trials (look at its trials a second), dealt to
its processes beforehand, which costs it less than to agree on a common budget.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from measuring import ENVIRONMENT, show
from stores import add_store_options, place

SPACE_END = 1.0
WAYS = ("run", "ask and tell")
Call = tuple[int, float, float, float]  # number, when the process was out of work, when it claimed, when it had work


@dataclass(frozen=True)
class Round:
    """What one run of all processes came to."""

    errors: int
    duplicates: int
    off_budget: int
    unfinished: int
    trials_per_s: float
    p99_claim_s: float
    longest_wait_s: float
    fewest: int
    most: int


# ---- in a process
def run_whet(store: str, name: str, n: int) -> list[Call]:
    """Run the shared study; *n* is the study's limit."""
    import whet

    study = whet.load(name, store)
    calls: list[Call] = []

    def objective(config, trial):
        calls.append((trial.number, free_at[0], free_at[0], time.monotonic()))
        value = config["x"] ** 2
        free_at[0] = time.monotonic()
        return value

    free_at = [start_together()]
    study.run(objective, n_trials=n, executor="inline", progress=False)
    return calls


def ask_whet(store: str, name: str, n: int) -> list[Call]:
    """Ask and tell until the limit of the study, which it was made with, is reached."""
    import whet

    study = whet.load(name, store)
    calls: list[Call] = []
    free_at = start_together()
    while True:
        asked_at = time.monotonic()
        try:
            trial = study.ask()
        except whet.errors.SearchExhausted:
            return calls
        calls.append((trial.number, free_at, asked_at, time.monotonic()))
        value = trial.config["x"] ** 2
        free_at = time.monotonic()
        study.tell(trial, value)


def run_optuna(store: str, name: str, n: int) -> list[Call]:
    """Do the same with Optuna; *n* is the share of this process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=name, storage=for_optuna(store), sampler=optuna.samplers.RandomSampler())
    calls: list[Call] = []

    def objective(trial):
        x = trial.suggest_float("x", -SPACE_END, SPACE_END)
        calls.append((trial.number, free_at[0], free_at[0], time.monotonic()))
        free_at[0] = time.monotonic()
        return x**2

    free_at = [start_together()]
    study.optimize(objective, n_trials=n)
    return calls


def start_together() -> float:
    """Wait for the word to start, and return when it came."""
    print("ready", flush=True)
    sys.stdin.readline()
    return time.monotonic()


WORKERS = {"whet, run": run_whet, "whet, ask and tell": ask_whet, "Optuna": run_optuna}


# ---- all of them
def for_optuna(store: str) -> str:
    """Return the URL of *store* as SQLAlchemy takes it, with a database of its own where that is a file."""
    if "://" in store:
        return store.replace("postgresql://", "postgresql+psycopg://", 1)
    return f"sqlite:///{store}.optuna"


def create(which: str, store: str, name: str, n: int) -> None:
    if which.startswith("whet"):
        import whet

        space = {"x": (-SPACE_END, SPACE_END)}
        whet.Study(space, sampler="random", store=store, name=name, n_trials=n)
    else:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(study_name=name, storage=for_optuna(store))


def finished(which: str, store: str, name: str) -> tuple[int, int]:
    """Return how many trials the study has, and how many of them completed."""
    if which.startswith("whet"):
        import whet

        trials = whet.load(name, store).trials
        return len(trials), sum(trial.state.value == "completed" for trial in trials)
    import optuna

    trials = optuna.load_study(study_name=name, storage=for_optuna(store)).trials
    return len(trials), sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)


def measured(which: str, store: str, n_processes: int, n_trials: int) -> Round:
    """Let *n_processes* run one study of *n_trials*."""
    name = f"shared-{uuid.uuid4().hex[:8]}"
    create(which, store, name, n_trials)
    share = n_trials if which.startswith("whet") else n_trials // n_processes
    argv = [sys.executable, __file__, "--worker", which, store, name, str(share)]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)
        for _ in range(n_processes)
    ]
    for worker in workers:
        worker.stdout.readline()
    began = time.monotonic()
    for worker in workers:
        try:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        except OSError:
            continue  # it is dead already; counted as an error below
    said = [worker.communicate() for worker in workers]
    complaints = [complaint[-2000:] for (_, complaint), worker in zip(said, workers, strict=True) if worker.returncode]
    print(*complaints[:1], sep="\n", end="", file=sys.stderr)
    if len(complaints) == n_processes:
        raise SystemExit(f"all {n_processes} processes of {which} failed")
    calls = [json.loads(out) for (out, _), worker in zip(said, workers, strict=True) if not worker.returncode]
    n_there, n_completed = finished(which, store, name)
    numbers = [number for own in calls for number, *_ in own]
    return Round(
        errors=sum(worker.returncode != 0 for worker in workers),
        duplicates=len(numbers) - len(set(numbers)),
        off_budget=abs(n_there - n_trials),
        unfinished=n_there - n_completed,
        trials_per_s=n_completed / (max(at for own in calls for *_, at in own) - began),
        p99_claim_s=p99([at - claimed_at for own in calls for _, _, claimed_at, at in own]),
        longest_wait_s=max(at - free_at for own in calls for _, free_at, _, at in own),
        fewest=min(map(len, calls)),
        most=max(map(len, calls)),
    )


def p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return sorted(values)[int(len(values) * 0.99)]


def rows_of(which: str, rounds: Sequence[Round], target_per_s: str) -> dict[str, object]:
    """Return what is printed of *which*."""
    is_ours = which.startswith("whet")
    rows: dict[str, object] = {f"{which}: trials a second{target_per_s}": median_speed(rounds)}
    if is_ours:
        rows |= {
            f"{which}: processes that failed (target 0)": sum(one.errors for one in rounds),
            f"{which}: trials run twice (target 0)": sum(one.duplicates for one in rounds),
            f"{which}: trials off the budget (target 0)": max(one.off_budget for one in rounds),
            f"{which}: trials that did not complete (target 0)": sum(one.unfinished for one in rounds),
        }
    shares = f"{min(one.fewest for one in rounds)} – {max(one.most for one in rounds)}"
    return rows | {
        f"{which}: p99 of a claim, ms{' (target <= 250)' * is_ours}": 1e3 * max(one.p99_claim_s for one in rounds),
        f"{which}: longest without work, s{' (target <= 2)' * is_ours}": max(one.longest_wait_s for one in rounds),
        f"{which}: fewest and most trials of a process": shares,
    }


def median_speed(rounds: Sequence[Round]) -> float:
    return statistics.median(one.trials_per_s for one in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--optuna-trials", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    add_store_options(parser)
    options = parser.parse_args()
    if options.worker:
        which, store, name, n = options.worker
        print(json.dumps(WORKERS[which](store, name, int(n))))
        return
    n_of = dict.fromkeys(WORKERS, options.trials)
    n_of["Optuna"] = options.optuna_trials // options.processes * options.processes
    rounds: dict[str, list[Round]] = {which: [] for which in WORKERS if n_of[which]}
    with place(options) as here:
        for _ in range(options.rounds):
            for which, of_it in rounds.items():
                of_it.append(measured(which, here.store, options.processes, n_of[which]))
    rows: dict[str, object] = {f"rounds of {options.processes} processes, in turn": options.rounds}
    for which, of_it in rounds.items():
        is_bounded = not here.is_file and which == "whet, run"
        rows |= rows_of(which, of_it, " (target >= 500)" if is_bounded else "")
    for which in ("whet, run", "whet, ask and tell") if n_of["Optuna"] else ():
        target = " (target >= 5)" if here.is_file and which == "whet, run" else ""
        rows[f"{which}: times Optuna's trials a second{target}"] = median_speed(rounds[which]) / median_speed(
            rounds["Optuna"]
        )
    show(f"many processes on one study, {here.kind}", rows)


if __name__ == "__main__":
    main()
