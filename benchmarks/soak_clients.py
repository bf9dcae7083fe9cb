"""One process of the soak: some hundred simulated workers on a real study, through a run or through ask and tell.

    python benchmarks/soak_clients.py run|ask|load STORE NAME FOLDER LABEL WORKERS TRIAL_MS FAULTS

Each worker holds an attempt for about TRIAL_MS, reports in the middle, and ends. FAULTS is the share of attempts that
something goes wrong with. What the store has acknowledged goes to FOLDER/LABEL.acks, and every second what this process
takes up and how long claims took to FOLDER/LABEL.stats. `load` prints what the history of the study takes up.
"""

from __future__ import annotations

import gc
import heapq
import json
import math
import os
import random
import sys
import time
import tracemalloc
import warnings
from collections import deque
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from invariants import known_value

from whet.core.protocols import Decision, Ended, Happening, Launch, Reported
from whet.errors import LateReportWarning, NotReady, SearchExhausted, StaleAttempt, StoreAway, StoreBusy
from whet.study import Study, load

FATES = ("error", "exit_code", "timeout", "nan", "lost", "twice")
_BUCKETS_PER_DOUBLING = 8
_SHORTEST_S = 1e-5
_N_BUCKETS = 200
_STATS_EVERY_S = 1.0
_STORE_WAIT_S = 0.5  # of those who ask: so a store that is busy is an error now and then


def value_of(config: Any) -> float:
    """Return what a config comes to: whoever looks at a result knows what it has to be."""
    return config["x"] + config["y"] / 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """How an attempt goes: a fault or none, and for how long."""

    fate: str
    seconds: float


class Plans:
    """Draws how attempts go."""

    def __init__(self, trial_s: float, faults: float) -> None:
        self._draw, self._trial_s, self._faults = random.Random(os.getpid()), trial_s, faults

    def next(self) -> Plan:
        fate = self._draw.choice(FATES) if self._draw.random() < self._faults else ""
        return Plan(fate, self._trial_s * self._draw.uniform(0.5, 1.5))


class Notes:
    """What this process writes down for who checks: acknowledgements at once, counts every second.

    Attributes:
        longest_s: how long a worker was without work at most.
        n_late: reports that were refused, and attempts that were ended as their trial had been taken over.
    """

    def __init__(self, folder: Path, label: str, study: Study) -> None:
        self._acks = (folder / f"{label}.acks").open("a", buffering=1)
        self._stats = (folder / f"{label}.stats").open("a", buffering=1)
        self._study, self._said_at = study, -math.inf
        self._claims = [0] * _N_BUCKETS
        self.longest_s, self.n_late = 0.0, 0

    def acknowledged(self, trial: Any) -> None:
        value = known_value(trial.values.get("value"))
        self._acks.write(json.dumps([trial.number, trial.attempt, str(trial.state), value]) + "\n")

    def waited(self, seconds: float, *, for_claim_s: float | None = None) -> None:
        """Note how long a worker had no work, and what of that was the claim itself."""
        self.longest_s = max(self.longest_s, seconds)
        doublings = math.log2(max((seconds if for_claim_s is None else for_claim_s) / _SHORTEST_S, 1.0))
        self._claims[min(int(doublings * _BUCKETS_PER_DOUBLING), _N_BUCKETS - 1)] += 1

    def late(self) -> None:
        """Count a report that came too late; at once, as this process may be killed before the next second."""
        self.n_late += 1
        self.tick(at_once=True)

    def tick(self, *, at_once: bool = False) -> None:
        """Write down the state of this process, if it is time."""
        now = time.monotonic()
        if at_once or now - self._said_at >= _STATS_EVERY_S:
            self._said_at = now
            n = len(self._study.ledger.history.finished)
            row = {"pid": os.getpid(), "n": n, "rss_mib": rss_mib(), "fds": n_descriptors(), "late": self.n_late}
            self._stats.write(json.dumps({**row, "longest_s": self.longest_s, "claims": self._claims}) + "\n")


def p99_s(claims: list[int]) -> float:
    """Return the upper end of the bucket in which the 99th of a hundred claims lies."""
    n = 0
    for index, k in enumerate(claims):
        n += k
        if n >= 0.99 * sum(claims):
            return _SHORTEST_S * 2 ** ((index + 1) / _BUCKETS_PER_DOUBLING)
    return math.nan


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def n_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no objects wanted


# ---- through a run
class Crowd:
    """An executor whose slots are simulated workers."""

    is_blocking = False

    def __init__(self, slots: int, plans: Plans, notes: Notes) -> None:
        self.slots, self._plans, self._notes = slots, plans, notes
        self._due: list[tuple[float, int, Happening]] = []
        self._order = count()
        self._free_since: deque[float] = deque([time.monotonic()] * slots)
        self.running: dict[str, int] = {}  # number of the trial by token
        self._late: set[str] = set()  # attempts that will speak once more after their end
        self.ended: set[int] = set()  # trials whose end is still to be acknowledged

    def start(self, launch: Launch, attend: Any = None) -> None:
        now = time.monotonic()
        self._notes.waited(now - self._free_since.popleft())
        plan = self._plans.next()
        self.running[launch.token] = launch.number
        value = value_of(launch.config)
        metrics = {"value": math.nan if plan.fate == "nan" else value}
        cause = plan.fate if plan.fate in ("error", "exit_code", "timeout", "lost") else None
        ended = Ended(launch.token, cause, 1 if cause else 0, metrics, cause or "", plan.seconds)
        self._push(now + plan.seconds / 2, Reported(launch.token, [(1.0, {"value": value})]))
        if plan.fate == "nan":
            self._push(now + plan.seconds, Reported(launch.token, [(2.0, metrics)]))
        self._push(now + plan.seconds, ended)
        if plan.fate == "twice":
            self._late.add(launch.token)

    def _push(self, at: float, happening: Happening) -> None:
        heapq.heappush(self._due, (at, next(self._order), happening))

    def decided(self, token: str, decision: Decision) -> None:
        pass

    def stop(self, token: str, how: str) -> None:
        self._notes.late()
        self._push(time.monotonic(), Ended(token, "signal", -15, {}, "stopped", 0.0))

    def poll(self, timeout_s: float) -> list[Happening]:
        self._notes.tick()
        wait_s = min(timeout_s, self._due[0][0] - time.monotonic()) if self._due else timeout_s
        if wait_s > 0:
            time.sleep(wait_s)
        now = time.monotonic()
        happened, late = [], []
        while self._due and self._due[0][0] <= now:
            happening = heapq.heappop(self._due)[2]
            if isinstance(happening, Ended) and (number := self.running.pop(happening.token, None)) is not None:
                self._free_since.append(now)
                self.ended.add(number)
                if happening.token in self._late:
                    self._late.remove(happening.token)
                    late.append(happening.token)
            happened.append(happening)
        for token in late:
            self._push(now, Reported(token, [(2.0, {"value": -1.0})]))
            self._push(now, Ended(token, None, 0, {"value": -1.0}, "", 0.0))
        return happened

    def close(self) -> None:
        self._due.clear()


def run(study: Study, notes: Notes, n_workers: int, plans: Plans) -> None:
    """Run the study with a crowd; note the ends of what it has run."""
    crowd = Crowd(n_workers, plans, notes)

    def note(_: Study, trial: Any) -> None:
        if trial.number in crowd.ended:
            crowd.ended.remove(trial.number)
            notes.acknowledged(trial)

    study.run(executor=crowd, progress=False, on_trial_end=note, max_failures=10**9, retries={"error": 1})


# ---- through ask and tell
def ask_and_tell(study: Study, notes: Notes, n_workers: int, plans: Plans) -> None:
    """Serve simulated workers one after the other until nothing is left to ask and all have ended."""
    due: list[tuple[float, int, Any, Plan, bool]] = []
    order = count()
    idle = deque([time.monotonic()] * n_workers)
    is_over = False
    while due or not is_over:
        notes.tick()
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, trial, plan, has_reported = heapq.heappop(due)
            if not has_reported:
                if said(study, "report", trial, value_of(trial.config)):
                    heapq.heappush(due, (now + plan.seconds / 2, next(order), trial, plan, True))
                else:
                    notes.late()
                    idle.append(now)
                continue
            idle.append(now)
            end(study, notes, trial, plan)
        if idle and not is_over:
            is_over = not claimed(study, notes, idle, plans, due, order)
        time.sleep(max(0.0, min(0.05, due[0][0] - time.monotonic())) if due else 0.05)


def claimed(study: Study, notes: Notes, idle: deque[float], plans: Plans, due: list, order: Any) -> bool:
    """Ask for up to as many trials as workers are idle; tell whether there may be more to ask."""
    asked_at = time.monotonic()
    try:
        trials = study.ask(min(len(idle), 16))
    except SearchExhausted:
        return False
    except (NotReady, StoreBusy, StoreAway):
        return True
    now = time.monotonic()
    for trial in trials:
        notes.waited(now - idle.popleft(), for_claim_s=now - asked_at)
        plan = plans.next()
        heapq.heappush(due, (now + plan.seconds / 2, next(order), trial, plan, False))
    return True


def said(study: Study, what: str, trial: Any, value: float) -> Any:
    """Report or tell, again and again while the store is busy; ``None``: it came too late."""
    while True:
        try:
            if what == "report":
                return study.report(trial, value, step=1)
            if what == "tell":
                return study.tell(trial, value)
            return study.fail(trial, message=what)
        except LateReportWarning:
            return None
        except (StoreBusy, StoreAway):
            time.sleep(0.1)


def end(study: Study, notes: Notes, trial: Any, plan: Plan) -> None:
    """Let an attempt end as it is planned."""
    value = math.nan if plan.fate == "nan" else value_of(trial.config)
    fails = plan.fate in ("error", "exit_code", "timeout", "lost")
    ended = said(study, "fail" if fails else "tell", trial, value)
    if ended is None:
        notes.late()
        return
    notes.acknowledged(ended)
    if plan.fate == "twice":
        try:
            said(study, "tell", trial, -1.0)
        except StaleAttempt:
            return
        raise SystemExit(f"trial {trial.number} took a second result")


# ---- all
def main() -> None:
    kind, store, name, folder, label, n_workers, trial_ms, faults = sys.argv[1:]
    warnings.simplefilter("error", LateReportWarning)
    if kind == "load":
        load(name, store)  # imports what it needs, which is no history
        gc.collect()
        tracemalloc.start()
        history = load(name, store).ledger.history
        gc.collect()
        print(json.dumps({"mib": tracemalloc.get_traced_memory()[0] / 2**20, "n": len(history.finished)}))
        return
    opened: Any = store
    if kind == "ask" and "://" not in store:
        from whet.storage.sql import SqlStore

        opened = SqlStore(store, wait_s=_STORE_WAIT_S)
    study = load(name, opened)
    notes = Notes(Path(folder), label, study)
    work = {"run": run, "ask": ask_and_tell}[kind]
    work(study, notes, int(n_workers), Plans(float(trial_ms) / 1000, float(faults)))
    notes.tick(at_once=True)


if __name__ == "__main__":
    main()
