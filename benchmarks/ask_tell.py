"""Ask and tell of a random trial: in memory, and on SQLite beside Optuna in the same run.

python benchmarks/ask_tell.py [--trials 500] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import optuna
from measuring import empty_folder, in_turn, show

import whet

NAMES = [f"x{i}" for i in range(5)]


def whet_s(n: int, store: str | None) -> float:
    """Return the seconds that *n* random trials of five parameters take, ask to tell."""
    study = whet.Study(dict.fromkeys(NAMES, (0.0, 1.0)), sampler="random", seed=0, store=store, name="bench")
    began = time.perf_counter()
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, sum(trial.config.values()))
    return time.perf_counter() - began


def optuna_s(n: int, path: Path) -> float:
    """Return the same for Optuna's SQLite storage and random sampler."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{path}", sampler=optuna.samplers.RandomSampler(seed=0))
    began = time.perf_counter()
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, sum(trial.suggest_float(name, 0.0, 1.0) for name in NAMES))
    return time.perf_counter() - began


def on_disk(n: int, measure: str) -> float:
    with empty_folder() as folder:
        path = folder / "study.db"
        return whet_s(n, str(path)) if measure == "whet" else optuna_s(n, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    n = options.trials
    memory, sqlite, peer = in_turn(
        options.rounds, lambda: whet_s(n, None), lambda: on_disk(n, "whet"), lambda: on_disk(n, "optuna")
    )
    rows: dict[str, object] = {
        "whet in memory, ms a trial (target <= 0.2)": 1e3 * memory / n,
        "whet on SQLite, trials a second": n / sqlite,
        f"Optuna {optuna.__version__} on SQLite, trials a second": n / peer,
        "ratio on SQLite (target >= 5)": peer / sqlite,
    }
    show("ask and tell", rows)


if __name__ == "__main__":
    main()
