"""PostgreSQL crashes in a stream of commits and is started again: is what it had acknowledged there, and there once?

    python benchmarks/postgres_crash.py [--crashes 20] [--commits 1000] [--writers 2]

In each round some processes ask and tell, without a pause, until that many commits are made; each trial takes three.
At a random moment the server is ended at once (`pg_ctl stop -m immediate`, or `kill -9` of it), and started again after
up to a second. The processes are to go on by themselves. Exit code 1: something that must not happen did.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

from invariants import Ack, known_value, lives_of, n_doctor_findings, violations
from kill_workers import Totals, asked
from measuring import ENVIRONMENT, show
from stores import Place, place

_COMMITS_PER_TRIAL = 3
_BACK_IN_S = 5.0
_WIDTH = 100


def write(store: str, name: str, acks: str) -> None:
    """Ask and tell until nothing is left; note each result that was acknowledged, and when."""
    import whet

    warnings.simplefilter("error", whet.errors.LateReportWarning)
    study = whet.load(name, store)
    with Path(acks).open("a", buffering=1) as file:
        for one in asked(study, 0.01):
            trial = study.tell(one, one.config["x"] / 7)
            row = [trial.number, trial.attempt, str(trial.state), known_value(trial.values.get("value"))]
            file.write(json.dumps([*row, time.time()]) + "\n")


def one_round(here: Place, draw: random.Random, options: argparse.Namespace, totals: Totals) -> None:
    """Let one study be written while the server crashes once; *totals.waits_s* gets the seconds until it went on."""
    import whet

    name, n_trials = f"crash-{uuid.uuid4().hex[:8]}", options.commits // _COMMITS_PER_TRIAL
    space = {"x": list(range(1 + n_trials // _WIDTH)), "y": list(range(_WIDTH))}
    study = whet.Study(space, sampler="random", store=here.store, name=name, n_trials=n_trials)
    acks = here.folder / f"{name}.acks"
    acks.touch()
    argv = [sys.executable, __file__, "--writer", here.store, name, str(acks)]
    writers = [subprocess.Popen(argv, env=ENVIRONMENT) for _ in range(options.writers)]
    when = draw.randrange(n_trials // 10, n_trials * 9 // 10)
    while len(lines_of(acks)) < when and any(writer.poll() is None for writer in writers):
        time.sleep(0.005)
    time.sleep(draw.uniform(0, 0.02))
    here.server.crash(draw.choice(["immediate", "kill"]))
    n_before = len(lines_of(acks))
    time.sleep(draw.uniform(0, 1))
    here.server.start()
    back_at = time.time()
    codes = [writer.wait(120) for writer in writers]
    rows = [json.loads(line) for line in lines_of(acks)]
    assert len(rows) > n_before, "the server crashed when all was done"
    went_on_s = min(row[-1] for row in rows[n_before:]) - back_at
    found = violations(lives_of(study), [Ack(*row[:-1]) for row in rows], n_trials)
    totals.add(found | {"writers that ended with an error": sum(code != 0 for code in codes)})
    totals.add({"stores in which `whet doctor` finds something": n_doctor_findings(here.folder, here.store)})
    totals.add({f"times it took more than {_BACK_IN_S:g} s to go on": went_on_s > _BACK_IN_S})
    totals.add({"acknowledged twice": len(rows) - len({row[0] for row in rows})})
    totals.kills += 1
    totals.waits_s.append(went_on_s)


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.endswith("]")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crashes", type=int, default=20)
    parser.add_argument("--commits", type=int, default=1000, help="of each round")
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--writer", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.writer:
        write(*options.writer)
        return
    draw, totals = random.Random(options.seed), Totals()
    with place(argparse.Namespace(postgres=True, store=None)) as here:
        for _ in range(options.crashes):
            one_round(here, draw, options, totals)
    waits = sorted(totals.waits_s)
    rows: dict[str, Any] = {
        "crashes, each in a stream of": f"{totals.kills}, {options.commits} commits",
        "from its restart to the next result, median and longest, s": f"{waits[len(waits) // 2]:.2f} – {waits[-1]:.2f}",
        **{f"{what} (target 0)": n for what, n in totals.problems.items()},
    }
    show("PostgreSQL crashes while it is written to", rows)
    raise SystemExit(1 if sum(totals.problems.values()) else 0)


if __name__ == "__main__":
    main()
