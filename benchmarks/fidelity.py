"""Compare searches that cut trials short: compositions of whet and peers in one frame, on a simulated clock.

python benchmarks/fidelity.py --data FOLDER [--family lcbench] [--methods gp+asha,tpe+hyperband,random+none]
                              [--peers optuna-tpe+hyperband,optuna-gp@2,syne-asha,…] [--workers 1,8] [--seeds 12]

Prints the normalised regret (0: the best known, 1: the median of random configs) at 25, 50 and 100 % of a budget of 20
full trainings: H, of the config that is best at the highest level reached so far, trained to the end; F, of the best
trial that was. What peers came to is read from `benchmarks/peers/` where it is there for their installed version, and
run and added otherwise; whet is run every time.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from fidelities.clock import play
from fidelities.methods import start, version_of
from fidelities.rows import N_FULL, Row, row_of
from fidelities.scores import Scored, scored
from fidelities.showing import by_task, intervals, table
from fidelities.tasks import AXES, load, task_names
from searching.jobs import add_options, count, rows_of, seeds_by_method
from searching.methods import WHET, listed
from searching.record import Record

from whet.errors import UsageError

PEERS = {
    "lcbench": "optuna-random,optuna-tpe,optuna-tpe+median-from-2,optuna-tpe+sha-from-2,optuna-tpe+hyperband-from-2,"
    "optuna-random+sha-from-2,optuna-random+hyperband-from-2,optuna-gp@2,syne-asha-from-2,syne-bohb-from-2",
    "rbv2_xgboost": "optuna-random,optuna-tpe,optuna-tpe+median,optuna-tpe+sha,optuna-tpe+hyperband,"
    "optuna-random+sha,optuna-random+hyperband,optuna-gp@2,syne-asha,syne-bohb",
}


@dataclass(frozen=True)
class Job:
    """One search to be run; also what a worker process is sent."""

    data: Path
    method: str
    version: str
    task: str
    seed: int
    workers: int

    @property
    def key(self) -> tuple[object, ...]:
        return (self.method, self.version, self.task, self.seed, self.workers)

    def run(self) -> Row:
        task = load(self.data, self.task)
        player = start(self.method, task, self.seed, self.workers)
        game = play(task, player, self.workers, N_FULL * task.axis.high)
        return row_of(game, task, self.method, self.version, self.seed, self.workers)


def compared(tasks: list[str], options: argparse.Namespace) -> dict[str, Scored]:
    """Return the scores by label: the method's name, with ``/W`` for W workers."""
    record, found = Record(f"fidelity-{options.family}", options.cache, Row), {}
    texts = [WHET + name for name in listed(options.methods)] + listed(
        PEERS[options.family] if options.peers is None else options.peers
    )
    methods = seeds_by_method(texts, options.seeds)
    if not methods:
        raise SystemExit("nothing to compare: give --methods or --peers")
    for workers in options.workers:
        for method, n_seeds in methods.items():
            version = version_of(method, record.versions(method))
            jobs = [
                Job(options.data, method, version, task, seed, workers) for seed in range(n_seeds) for task in tasks
            ]
            rows = rows_of(jobs, record, options.jobs, options.keep)
            found[method if workers == 1 else f"{method}/{workers}"] = scored(rows, tasks, n_seeds)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", required=True, help="with refs_dev.json and yahpo/")
    parser.add_argument("--family", choices=tuple(AXES), default="lcbench")
    parser.add_argument("--methods", default="", help="of whet, SAMPLER+SCHEDULER: gp+asha,tpe+hyperband,random+none")
    parser.add_argument("--peers", help=f"NAME or NAME@SEEDS; by default {PEERS}")
    parser.add_argument("--workers", default="1,8", help="simulated, several with commas; by default 1,8")
    parser.add_argument("--seeds", type=count, default=12)
    parser.add_argument("--tasks", default="*", metavar="PATTERN", help="only these, as in '*/3945/*'")
    add_options(parser)
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep the record here, that of peers as well")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not (options.data / "refs_dev.json").is_file() or not (options.data / "yahpo").is_dir():
        raise SystemExit(f"--data: expected a folder with refs_dev.json and yahpo/, got {options.data}")
    tasks = [task for task in task_names(options.data, options.family) if fnmatch(task, options.tasks)]
    if not tasks:
        raise SystemExit(f"--tasks: no task of {options.family} is called {options.tasks!r}")
    try:
        options.workers = [count(text) for text in options.workers.split(",")]
    except argparse.ArgumentTypeError as error:
        raise SystemExit(f"--workers: {error}") from None
    try:
        methods = compared(tasks, options)
    except UsageError as error:
        raise SystemExit(str(error)) from None
    against = options.against or next(iter(methods))
    if against not in methods:
        raise SystemExit(f"--against: no row is called {against!r} (rows: {', '.join(methods)})")
    title = f"{options.family}: {len(tasks)} tasks, {N_FULL} full trainings"
    print(f"\n{title}")
    for workers in options.workers:
        group = {name: one for name, one in methods.items() if _workers(name) == workers}
        reference = against if against in group else next(iter(group))
        plural = "worker" if workers == 1 else "workers"
        parts = [table(group), by_task(group, tasks), intervals(group, reference)]
        print(f"\n{workers} {plural}", *("\n".join(["", *part]) for part in parts if part), sep="\n")
    figures = {
        name: {
            what: [round(float(v), 5) for v in array.mean(axis=(0, 1))] for what, array in (("H", one.h), ("F", one.f))
        }
        for name, one in methods.items()
    }
    print(json.dumps({"benchmark": title, "mean regret at 25, 50, 100 %": figures}), flush=True)


def _workers(label: str) -> int:
    return int(label.rpartition("/")[2]) if "/" in label else 1


if __name__ == "__main__":
    main()
