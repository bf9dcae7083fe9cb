"""A study of 100,000 trials in SQLite: best, a page of trials, loading for resume, memory; with 0 and with 50 reports.

    python benchmarks/big_study.py [--trials 100000] [--reports 0 50]

Each question is asked in a fresh process, as a user's command would.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from measuring import ENVIRONMENT, empty_folder, peak_mib, show

from whet.core.events import Draft, Kind
from whet.core.problem import Objective
from whet.space.domain import Categorical, Float
from whet.storage.open import open_store
from whet.study import Study

BATCH = 500


def fill(path: Path, n_trials: int, n_reports: int) -> None:
    """Make a study of finished trials through the store's own front door."""
    space = {f"x{i}": Float(1e-5, 1.0, log=True) for i in range(8)}
    space |= {"layers": Categorical([1, 2, 3, 4]), "optimizer": Categorical(["sgd", "adam", "lion"])}
    study = Study(space, [Objective("val_loss")], sampler="random", seed=0, store=str(path), name="big")
    draw = random.Random(0)
    n_done = 0
    while n_done < n_trials:
        n = min(BATCH, n_trials - n_done)
        trials = study.ask(n)
        drafts = []
        for trial in trials:
            rows = [[float(step), draw.random()] for step in range(1, n_reports + 1)]
            if rows:
                drafts.append(Draft(Kind.REPORTED, trial.number, {"rows": rows}, trial.token))
            values = {"val_loss": draw.random(), "val_acc": draw.random()}
            drafts.append(Draft(Kind.COMPLETED, trial.number, {"values": values}, trial.token))
        study.ledger.commit(drafts)
        n_done += n


def ask(path: Path) -> dict[str, float]:
    """Answer the questions in this process."""
    before_mib = peak_mib()
    began = time.perf_counter()
    store = open_store(str(path), must_exist=True)
    record = store.studies("big")[0]
    opened = time.perf_counter()
    store.summary(record.id)
    summed = time.perf_counter()
    first_page = store.trials(record.id, limit=50)
    paged = time.perf_counter()
    store.trials(record.id, after=first_page[-1].number + 50_000, limit=50)
    deep = time.perf_counter()
    history = store.load(record.id)
    loaded = time.perf_counter()
    best = history.best()
    ranked = time.perf_counter()
    store.trials(record.id, numbers=[best or 0])
    fetched = time.perf_counter()
    return {
        "open, ms": 1e3 * (opened - began),
        "summary (counts and best) without loading, ms": 1e3 * (summed - opened),
        "page of 50, ms (target <= 50)": 1e3 * (paged - summed),
        "page of 50 deep inside, ms (target <= 50)": 1e3 * (deep - paged),
        "load for resume, s": loaded - deep,
        "best inside the process, ms (target <= 10)": 1e3 * (fetched - loaded),
        "best without fetching the trial, ms": 1e3 * (ranked - loaded),
        "memory of the process, MiB": peak_mib(),
        "of which before opening, MiB": before_mib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--reports", type=int, nargs="+", default=[0, 50])
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(ask(options.ask)))
        return
    for n_reports in options.reports:
        with empty_folder() as folder:
            path = folder / "big.db"
            began = time.perf_counter()
            fill(path, options.trials, n_reports)
            rows: dict[str, object] = {
                "filling, s": time.perf_counter() - began,
                "file, MiB": path.stat().st_size / 2**20,
            }
            answers = [
                json.loads(
                    subprocess.run(
                        [sys.executable, __file__, "--ask", str(path)],
                        check=True,
                        capture_output=True,
                        env=ENVIRONMENT,
                    ).stdout
                )
                for _ in range(3)
            ]
            rows |= {name: sorted(answer[name] for answer in answers)[1] for name in answers[0]}
            limits = "3 s, 300 MiB" if n_reports == 0 else "15 s, 600 MiB"
            show(f"{options.trials} trials, {n_reports} reports each (targets: load {limits})", rows)


if __name__ == "__main__":
    main()
