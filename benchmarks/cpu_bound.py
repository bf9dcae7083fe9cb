"""Do two workers do twice as much? A pure-Python function of 0.3 s under whet, beside Optuna's threads.

    python benchmarks/cpu_bound.py [--trials 20] [--rounds 3] [--seconds 0.3]

Two processes that share nothing are beside them: what the machine itself gives for two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable

import optuna
from measuring import in_turn, show

import whet


def spin(n: int) -> float:
    """Work for *n* rounds without letting go of the interpreter."""
    total = 0.0
    for i in range(n):
        total += (i * i) % 7
    return total


def rounds_of(seconds: float) -> int:
    """Return how many rounds of `spin` take *seconds*, by the fastest of twenty tries."""
    n = 200_000
    fastest = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        spin(n)
        fastest = min(fastest, time.perf_counter() - began)
    return int(n * seconds / fastest)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def whet_s(n_trials: int, n: int, workers: int) -> float:
    def objective(config: dict[str, float]) -> float:
        return spin(n) * config["x"]

    def search() -> None:
        space = {"x": (0.0, 1.0)}
        study = whet.tune(objective, space, n_trials=n_trials, workers=workers, sampler="random", progress=False)
        states = {trial.state.value for trial in study.trials}
        if states != {"completed"}:
            raise SystemExit(f"trials are {states}")

    return timed(search)


def optuna_s(n_trials: int, n: int, jobs: int) -> float:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return timed(
        lambda: study.optimize(lambda t: spin(n) * t.suggest_float("x", 0.0, 1.0), n_trials=n_trials, n_jobs=jobs)
    )


def plain_s(n_trials: int, n: int, processes: int) -> float:
    """Return the seconds of *n_trials* calls dealt to bare forked processes."""

    def deal() -> None:
        fork = multiprocessing.get_context("fork")
        shares = [n_trials // processes + (i < n_trials % processes) for i in range(processes)]
        workers = [fork.Process(target=lambda share=share: [spin(n) for _ in range(share)]) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return timed(deal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3)
    options = parser.parse_args()
    n_trials, n = options.trials, rounds_of(options.seconds)
    measures = [
        lambda measure=measure, width=width: measure(n_trials, n, width)
        for measure in (whet_s, plain_s, optuna_s)
        for width in (1, 2)
    ]
    whet_1, whet_2, plain_1, plain_2, optuna_1, optuna_2 = in_turn(options.rounds, *measures)
    rows: dict[str, object] = {
        f"whet, {n_trials} trials, workers=1, s": whet_1,
        f"whet, {n_trials} trials, workers=2, s": whet_2,
        "whet, speed-up (target >= 1.9)": whet_1 / whet_2,
        "two bare processes, speed-up": plain_1 / plain_2,
        "bare work of one process, s": plain_1,
        f"Optuna {optuna.__version__} n_jobs=1, s": optuna_1,
        f"Optuna {optuna.__version__} n_jobs=2, s": optuna_2,
        "Optuna, speed-up of its threads": optuna_1 / optuna_2,
    }
    show("a CPU-bound function on two cores", rows)


if __name__ == "__main__":
    main()
