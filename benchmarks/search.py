"""Compare searches: strategies of whet and peers side by side on a suite of tasks.

python benchmarks/search.py --suite A1 --data FOLDER [--strategies gp,tpe,auto] [--peers optuna-tpe,optuna-gp@1,…]

Prints regret at 1/3, 2/3 and all of the budget (0: the best known, 1: the median of random configs), ranks, CPU time
and paired intervals, and draws regret over trials. What peers came to is read from `benchmarks/peers/` where it is
there for their installed version, and run and added otherwise; whet is run every time.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from searching.jobs import add_options, count, rows_of, seeds_by_method
from searching.methods import WHET, listed, version_of
from searching.record import GIVEN, HERE, Record, given_rows
from searching.running import Row, run
from searching.scores import Scored, scored
from searching.showing import intervals, plot, table
from searching.tasks import Suite, suite_named

from whet.errors import UsageError

# With as many seeds as the record has: costly peers have few. `group` matters to conditional spaces alone.
PEERS = {
    "A1": "random,optuna-tpe,optuna-tpe-group,optuna-cmaes,hyperopt@3,given-gp,given-smac",
    "A2": "random@3,optuna-tpe@3,optuna-cmaes@3,hyperopt@3,optuna-gp@1",
    "A3": "random@3,optuna-tpe@3,optuna-cmaes@3,hyperopt@3,optuna-gp@1",
}


@dataclass(frozen=True)
class Job:
    """One search to be run; also what a worker process is sent."""

    suite: str
    data: Path | None
    method: str
    task: str
    seed: int
    n_trials: int
    workers: int

    @property
    def key(self) -> tuple[object, ...]:
        return (self.method, version_of(self.method), self.task, self.seed, self.n_trials, self.workers)

    def run(self) -> Row:
        task = suite_named(self.suite, self.data).load(self.task)
        return run(self.method, task, self.seed, self.n_trials, self.workers)


def methods_of(options: argparse.Namespace) -> dict[str, int]:
    """Return the methods asked for and how many seeds each has; ``NAME@3`` asks for three."""
    texts = [WHET + name for name in listed(options.strategies)]
    texts += listed(PEERS[options.suite] if options.peers is None else options.peers)
    found = seeds_by_method(texts, options.seeds)
    if not found:
        raise SystemExit("nothing to compare: give --strategies or --peers")
    return found


def compared(suite: Suite, tasks: list[str], options: argparse.Namespace) -> dict[str, Scored]:
    """Return the scores by label: the method's name, with ``/W`` for W running trials."""
    record, found = Record(suite.name, options.cache), {}
    for method, n_seeds in methods_of(options).items():
        for workers in options.workers:
            if method.startswith(GIVEN):
                rows = given_rows(options.data, method, tasks) if workers == 1 and options.trials == 60 else []
            else:
                jobs = [
                    Job(suite.name, options.data, method, task, seed, options.trials, workers)
                    for task in tasks
                    for seed in range(n_seeds)
                ]
                rows = rows_of(jobs, record, options.jobs, options.keep)
            if rows:
                label = method if workers == 1 else f"{method}/{workers}"
                found[label] = scored(rows, tasks, options.trials, suite.floor)
    return found


def losses_of_parallelism(methods: dict[str, Scored]) -> list[str]:
    lines = []
    for label, score in methods.items():
        name, _, workers = label.partition("/")
        if workers and name in methods:
            ratio = score.regret[:, -1].mean() / methods[name].regret[:, -1].mean()
            lines.append(f"{name} with {workers} running trials: {ratio:.2f} times the final regret of one by one")
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=tuple(PEERS), required=True)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with refs_dev.json and yahpo/, for A1")
    parser.add_argument("--strategies", default="", help="of whet, as its users write them: gp,gp(acquisition=ucb)")
    parser.add_argument("--peers", help=f"NAME or NAME@SEEDS; by default {PEERS}")
    parser.add_argument("--seeds", type=count, default=12)
    parser.add_argument("--trials", type=count, help="the budget; by default the suite's")
    parser.add_argument("--tasks", default="*", metavar="PATTERN", help="only these, as in 'lcbench/*'")
    parser.add_argument("--workers", default="1", help="trials running at once, several with commas: 1,16")
    add_options(parser)
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep the record here")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="by default benchmarks/.cache/SUITE.png")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    suite = suite_named(options.suite, options.data)
    tasks = [task for task in suite.tasks if fnmatch(task, options.tasks)]
    options.trials = options.trials or suite.n_trials
    try:
        options.workers = [count(text) for text in options.workers.split(",")]
    except argparse.ArgumentTypeError as error:
        raise SystemExit(f"--workers: {error}") from None
    if not tasks:
        raise SystemExit(f"no task of {suite.name} is called {options.tasks!r} (tasks: {', '.join(suite.tasks)})")
    if options.trials < 6:
        raise SystemExit(f"--trials: expected at least 6, got {options.trials}")
    try:
        methods = compared(suite, tasks, options)
    except UsageError as error:
        raise SystemExit(str(error)) from None
    against = options.against or next(iter(methods))
    if against not in methods:
        raise SystemExit(f"--against: no row is called {against!r} (rows: {', '.join(methods)})")
    title = f"{suite.name}: {len(tasks)} tasks, {options.trials} trials"
    parts = [table(methods), intervals(methods, against), losses_of_parallelism(methods)]
    print(f"\n{title}", *("\n".join(["", *part]) for part in parts if part), "", sep="\n")
    path = options.plot or HERE / ".cache" / f"{suite.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    plot(methods, title, path)
    figures = {name: [round(v, 5) for v in score.at_thirds().mean(axis=0)] for name, score in methods.items()}
    print(f"drawn to {path}")
    print(json.dumps({"benchmark": title, "mean regret at thirds": figures}), flush=True)


if __name__ == "__main__":
    main()
