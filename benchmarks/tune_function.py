"""What a trial of a Python function costs beside its own work: `lambda c: c["x"] ** 2` under whet, Optuna and Ray Tune.

    python benchmarks/tune_function.py [--trials 1000] [--rounds 5] [--ray-trials 40]

Whole calls, their start-up included; for processes also the cost of one more trial, the slope between a short and a
long run. Ray Tune is measured where it is installed, last and once: its first trials are a warm-up, and it gets fewer
trials than the others, so look at its cost of one trial.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time

import optuna
from measuring import in_turn, show

import whet

SPACE = {"x": (-1.0, 1.0)}


def whet_s(n: int, executor: str, workers: int = 1, sampler: str = "random") -> float:
    """Return the seconds of one call of `whet.tune` in memory."""
    began = time.perf_counter()
    study = whet.tune(
        lambda c: c["x"] ** 2,
        SPACE,
        n_trials=n,
        executor=executor,
        workers=workers,
        sampler=sampler,
        seed=0,
        progress=False,
    )
    seconds = time.perf_counter() - began
    n_done = sum(trial.state.value == "completed" for trial in study.trials)
    if n_done != n:
        raise SystemExit(f"{n_done} of {n} trials completed")
    return seconds


def optuna_s(n: int) -> float:
    """Return the same for Optuna, one job, in memory, with its random sampler."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    began = time.perf_counter()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", -1.0, 1.0) ** 2, n_trials=n, n_jobs=1)
    return time.perf_counter() - began


def ray_s(n: int) -> float:
    """Return the seconds that Ray Tune, up and warm on two CPUs, takes for *n* trials."""
    from ray import tune

    began = time.perf_counter()
    tuner = tune.Tuner(
        lambda c: {"value": c["x"] ** 2},
        param_space={"x": tune.uniform(-1.0, 1.0)},
        tune_config=tune.TuneConfig(num_samples=n, metric="value", mode="min", max_concurrent_trials=2),
        run_config=tune.RunConfig(verbose=0),
    )
    results = tuner.fit()
    seconds = time.perf_counter() - began
    if results.num_errors or len(results) != n:
        raise SystemExit(f"Ray Tune: {len(results)} of {n} trials, {results.num_errors} failed")
    return seconds


def ray_rows(n: int) -> dict[str, object]:
    """Measure Ray Tune, if it is installed."""
    if n == 0 or importlib.util.find_spec("ray") is None:
        return {"Ray Tune": "left out" if n == 0 else "not installed"}
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        ray_s(2)
        seconds = ray_s(n)
    finally:
        ray.shutdown()
    return {f"Ray Tune {ray.__version__}, 2 CPUs, {n} trials, ms a trial": 1e3 * seconds / n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray-trials", type=int, default=40, help="0 leaves Ray Tune out")
    options = parser.parse_args()
    n = options.trials
    short = max(1, n // 10)
    inline, quasi_random, few, many, peer = in_turn(
        options.rounds,
        lambda: whet_s(n, "inline"),
        lambda: whet_s(n, "inline", sampler="quasi_random"),
        lambda: whet_s(short, "processes", workers=2),
        lambda: whet_s(n, "processes", workers=2),
        lambda: optuna_s(n),
    )
    rows: dict[str, object] = {
        "trials": n,
        "whet inline in memory, s (target <= 0.3 for 1,000)": inline,
        "the same with quasi-random search, s": quasi_random,
        f"Optuna {optuna.__version__} n_jobs=1 in memory, s": peer,
        "ratio inline, Optuna / whet": peer / inline,
        "whet in processes, 2 workers, ms a trial (target <= 5)": 1e3 * many / n,
        "the same, one more trial, ms": 1e3 * (many - few) / (n - short),
    }
    show("trials of a trivial function", rows | ray_rows(options.ray_trials))


if __name__ == "__main__":
    main()
