"""A thousand simulated workers on one study, while faults of every kind happen: does everything still add up?

    python benchmarks/soak.py [--workers 1000] [--trials 100000] [--trial-ms 100] [--faults 0.01]
                              [--postgres | --store URL]

Four processes share the study: two run it, two ask and tell; each simulates its part of the workers. One attempt in a
hundred raises, exits, runs into its time limit, returns NaN, is lost, or speaks once more after its end. Meanwhile
processes are killed and replaced (the one that runs it with 200 workers as well), suspended for longer than their lease
so that what they say is late, and the store is kept busy (SQLite) or its connections are ended and the server crashed
(PostgreSQL). One process is left alone, to see what it takes up. At the end the whole log is compared with what was
acknowledged; see invariants.py. Exit code 1: something that must not happen did.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from invariants import (
    MARK,
    Ack,
    Death,
    lives_of,
    n_doctor_findings,
    n_taken_from_the_living,
    recoveries,
    survivors,
    violations,
)
from measuring import ENVIRONMENT, show
from soak_clients import p99_s, value_of
from stores import Place, add_store_options, place

_CLIENTS = str(Path(__file__).with_name("soak_clients.py"))
_LOOK_EVERY_S = 0.25
_LATE_S = (0.3, 2.5)  # after the lease has run out
_START_S = 20.0  # until a process is at work
_STUCK_S = 120.0  # without any trial that ends
_HEIGHT = 1000
_STEADY = "steady"
_SHARES = {_STEADY: ("run", 0.7), "coordinator": ("run", 0.2), "asker": ("ask", 0.05), "sleeper": ("ask", 0.05)}


@dataclass
class Soak:
    """A study, the processes that work on it, and what was done to them."""

    options: argparse.Namespace
    here: Place
    name: str
    draw: random.Random
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    live: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    deck: list[str] = field(default_factory=list)
    sleepers: Iterator[str] = field(default_factory=lambda: cycle(["sleeper", "coordinator"]))
    errors: int = 0

    # ---- processes
    def start(self, label: str) -> None:
        kind, share = _SHARES[label]
        n_workers = max(1, round(self.options.workers * share))
        argv = [sys.executable, _CLIENTS, kind, self.here.store, self.name, str(self.here.folder), label]
        argv += [str(n_workers), str(self.options.trial_ms), str(self.options.faults)]
        with (self.here.folder / f"{label}.said").open("ab") as said:
            self.live[label] = subprocess.Popen(argv, env={**ENVIRONMENT, MARK: self.mark}, stderr=said)

    def look(self, *, again: bool) -> None:
        """Count who ended badly; with *again*, start whoever has ended once more."""
        for label, process in list(self.live.items()):
            if process.poll() is not None:
                del self.live[label]
                if process.returncode:
                    self.errors += 1
                    print(f"{label} ended with {process.returncode}", file=sys.stderr)
                    print((self.here.folder / f"{label}.said").read_text()[-3000:], file=sys.stderr)
                if again or process.returncode:
                    self.start(label)

    def is_at_work(self, label: str) -> bool:
        """Tell whether the process of *label* has begun a trial: before, nothing of it could be taken over."""
        path, pid = self.here.folder / f"{label}.stats", self.live[label].pid
        rows = map(json.loads, whole_lines(path)) if path.exists() else ()
        return any(row["pid"] == pid and any(row["claims"]) for row in rows)

    # ---- faults
    def kill(self, label: str) -> None:
        process = self.live[label]
        process.kill()
        self.deaths.append(Death(process.pid, time.time()))
        process.wait()
        self.start(label)

    def suspend(self, label: str) -> None:
        """Let a process sleep for longer than its lease: others take its trials over, and what it says then is late."""
        process = self.live[label]
        deadline = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < deadline and not self.is_at_work(label):
            time.sleep(0.05)
        # The first time it is surely taken over by then; later, who comes first is left to chance.
        late_s = self.draw.uniform(*_LATE_S) if self.deaths else max(_LATE_S)
        process.send_signal(signal.SIGSTOP)
        self.deaths.append(Death(process.pid, time.time()))
        time.sleep(self.options.lease + late_s)
        process.send_signal(signal.SIGCONT)

    def keep_busy(self) -> None:
        """Keep the file locked, as one who is suspended while writing, or as another program."""
        seconds = self.draw.uniform(0.2, 1.5)
        if self.draw.random() < 0.5:
            with Path(self.here.store + ".lock").open("rb+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                time.sleep(seconds)
            return
        with closing(sqlite3.connect(self.here.store, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            other.execute("ROLLBACK")

    def terminate(self) -> None:
        """End every connection to the server, or crash it and start it again."""
        if self.draw.random() < 0.1:
            self.here.server.restart()
        else:
            self.here.server.terminate(self.here.database)

    def one_fault(self) -> None:
        """Do one of the faults: each once, and then as often as it is in the deck."""
        done: dict[str, tuple[int, Callable[[], None]]] = {
            "processes suspended": (2, lambda: self.suspend(next(self.sleepers))),
            "processes that ask, killed": (4, lambda: self.kill("asker")),
            "processes that run, killed": (2, lambda: self.kill("coordinator")),
        }
        if self.here.is_file:
            done["times the store was kept busy"] = (2, self.keep_busy)
        elif self.here.server is not None:
            done["times connections were ended, or the server crashed"] = (2, self.terminate)
        if not self.deck:
            self.deck = [what for what, (weight, _) in done.items() for _ in range(weight)]
            self.draw.shuffle(self.deck)
        what = next((what for what in done if not self.faults[what]), None) or self.deck.pop()
        done[what][1]()
        self.faults[what] += 1


def worked(soak: Soak, study: Any) -> float:
    """Work until every trial has ended; return how long it took."""
    store, record = study.ledger.store, study.ledger.study
    for label in _SHARES:
        soak.start(label)
    began = moved_at = time.monotonic()
    fault_at = began + soak.options.first_fault
    n_before = 0
    while (n := n_ended(store, record)) < soak.options.trials:
        now = time.monotonic()
        if n > n_before:
            n_before, moved_at = n, now
        if now - moved_at > _STUCK_S:
            print(f"nothing has ended for {_STUCK_S:.0f} s", file=sys.stderr)
            break
        is_near_the_end = n > 0.97 * soak.options.trials
        soak.look(again=is_near_the_end)
        if now >= fault_at and not is_near_the_end:
            if len(soak.live) == len(_SHARES):
                soak.one_fault()
            fault_at = time.monotonic() + soak.draw.expovariate(1 / soak.options.fault_every)
        time.sleep(_LOOK_EVERY_S)
    took = time.monotonic() - began
    deadline = time.monotonic() + 30
    while soak.live and time.monotonic() < deadline:
        soak.look(again=False)
        time.sleep(0.1)
    for process in soak.live.values():
        process.kill()
        process.wait()
    return took


def n_ended(store: Any, record: int) -> int:
    return sum(n for state, n in store.summary(record).counts.items() if state.is_final)


# ---- what came of it
def rows_of(soak: Soak, study: Any, took_s: float, planned: dict[int, str]) -> tuple[dict[str, object], int]:
    """Return what is printed, and how often something happened that must not."""
    n_trials = soak.options.trials
    lives = lives_of(study)
    acks = [ack for path in soak.here.folder.glob("*.acks") for ack in acks_of(path)]
    problems = violations(lives, acks, n_trials, planned)
    problems["results that are not those of their config"] = sum(
        state == "completed" and value != value_of(json.loads(life.asked[0]))
        for life in lives.values()
        for state, _, value in life.ends
    )
    problems["processes left"] = len(survivors(soak.mark, 20))
    problems["stores in which `whet doctor` finds something"] = n_doctor_findings(soak.here.folder, soak.here.store)
    problems["processes that ended with an error"] = soak.errors
    waits = sorted(recoveries(lives, soak.deaths)) or [0.0]
    between = f"{waits[len(waits) // 2]:.1f} – {waits[-1]:.1f}"
    stats = {path.stem: list(map(json.loads, whole_lines(path))) for path in soak.here.folder.glob("*.stats")}
    n_late = sum(last_of(stats[label], "late") for label in _SHARES)
    steady = [row for row in stats[_STEADY] if row["pid"] == stats[_STEADY][0]["pid"]]
    states = Counter(state for life in lives.values() for state, _, _ in life.ends)
    argv = [sys.executable, _CLIENTS, "load", soak.here.store, soak.name, ".", ".", "1", "1", "0"]
    history = json.loads(subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=True).stdout)
    rows: dict[str, object] = {
        "trials, of": f"{len(lives)}, {n_trials}",
        "minutes": took_s / 60,
        "trials a second": n_trials / took_s,
        "attempts": sum(len(life.attempts) for life in lives.values()),
        "states": ", ".join(f"{n} {state}" for state, n in states.most_common()),
        **soak.faults,
        "attempts taken over": sum(len(life.requeued) for life in lives.values()),
        "of them from a process that had not been harmed": n_taken_from_the_living(lives, soak.deaths),
        f"until taken over, median and longest, s, lease {soak.options.lease:g}": between,
        "late reports refused, attempts ended as their trial was taken over": n_late,
        "results acknowledged": len(acks),
        **{f"{what} (target 0)": n for what, n in problems.items()},
        **{f"p99 of a claim, ms, {label}": 1e3 * p99_s(claims_of(stats[label])) for label in _SHARES},
        "longest without work, s, steady": max(row["longest_s"] for row in steady),
        **slopes(steady, history),
    }
    return rows, sum(problems.values())


def acks_of(path: Path) -> list[Ack]:
    return [Ack(*json.loads(line)) for line in whole_lines(path)]


def whole_lines(path: Path) -> list[str]:
    """Return the lines of *path*; the last one of a process that was killed may be torn."""
    return [line for line in path.read_text().splitlines() if line.endswith(("]", "}"))]


def last_of(stats: Sequence[dict[str, Any]], what: str) -> int:
    """Return the sum of what all processes that *stats* are of said last."""
    return sum({row["pid"]: row[what] for row in stats}.values())


def claims_of(stats: Sequence[dict[str, Any]]) -> list[int]:
    """Return the histogram of the claims of all processes that *stats* are of."""
    last = {row["pid"]: row["claims"] for row in stats}
    return [sum(column) for column in zip(*last.values(), strict=True)]


def slopes(stats: Sequence[dict[str, float]], history: dict[str, float]) -> dict[str, object]:
    """Return how memory and descriptors of the process that was left alone grew, beyond its start."""
    later = [row for row in stats if row["n"] >= 0.2 * stats[-1]["n"]]
    n = [row["n"] / 10_000 for row in later]
    found: dict[str, object] = {}
    if len(set(n)) > 2:
        of = {what: statistics.linear_regression(n, [row[what] for row in later]).slope for what in ("rss_mib", "fds")}
        found = {
            "memory at a fifth and at the end, MiB": f"{later[0]['rss_mib']:.0f}, {later[-1]['rss_mib']:.0f}",
            "growth per 10,000 trials, MiB": of["rss_mib"],
            "of it the history of the study": history["mib"] / history["n"] * 10_000,
            "descriptors at a fifth and at the end": f"{later[0]['fds']}, {later[-1]['fds']}",
            "growth of descriptors per 10,000 trials": of["fds"],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--trial-ms", type=float, default=100.0)
    parser.add_argument("--faults", type=float, default=0.01, help="share of attempts that something goes wrong with")
    parser.add_argument("--fault-every", type=float, default=4.0, help="seconds between faults of processes and store")
    parser.add_argument("--first-fault", type=float, default=4.0, help="seconds until the first of these")
    parser.add_argument("--lease", type=float, default=5.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    add_store_options(parser)
    options = parser.parse_args()
    import whet
    from whet.core.randomness import config_rng

    with place(options) as here:
        name = f"soak-{uuid.uuid4().hex[:8]}"
        space = {"x": list(range(2 + options.trials // _HEIGHT)), "y": list(range(_HEIGHT))}
        of_it: dict[str, Any] = {"sampler": "random", "seed": options.seed}
        study = whet.Study(space, store=here.store, name=name, lease_s=options.lease, n_trials=options.trials, **of_it)
        took_s = worked(job := Soak(options, here, name, random.Random(options.seed)), study)
        twin = whet.Study(space, **of_it)
        numbers, rng_of = range(options.trials), partial(config_rng, options.seed)
        suggestions = twin.sampler.suggest(twin.ledger.history, numbers, rng_of)
        planned = {number: json.dumps(one.config, sort_keys=True) for number, one in enumerate(suggestions)}
        rows, n_bad = rows_of(job, study, took_s, planned)
        show(f"{options.workers} workers, {here.kind}", rows)
    raise SystemExit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
