"""What a scheduler's decisions cost with 1,000 simulated workers and 100,000 trials, and whether that grows.

    python benchmarks/scheduler_scale.py [--scheduler asha …] [--trials 100000 …] [--workers 1000]

Through a history and the scheduler only, without a store: synthetic curves reported at 1, 3, 9, 27 and 81 on a virtual
clock, every trial at its own speed; each report is folded, decided on, and whoever is free is assigned something. An
assignment and a decision count one each. Folding is the history's work and is timed apart, and so is what a scheduler
takes that is new to the whole history. Each scheduler has a process of its own for each number of trials.
"""

from __future__ import annotations

import argparse
import heapq
import random
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

from measuring import peak_mib, show

from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import previewed
from whet.core.problem import problem_of
from whet.core.protocols import Decision, New, Resume, Scheduler
from whet.errors import SearchExhausted
from whet.schedulers.names import scheduler_from
from whet.space.domain import Float

LEVELS = (1, 3, 9, 27, 81)
ENDS = {Decision.STOP: Kind.STOPPED, Decision.PAUSE: Kind.PAUSED}
N_PARTS = 10


@dataclass
class Part:
    """A tenth of the trials: decisions in it, seconds of the scheduler's, seconds of the history's."""

    n: int = 0
    scheduler_s: float = 0.0
    history_s: float = 0.0

    @property
    def per_second(self) -> float:
        return self.n / self.scheduler_s

    @property
    def folded_per_second(self) -> float:
        return self.n / (self.scheduler_s + self.history_s)


@dataclass
class Scene:
    """The workers, the clock and all that is known."""

    scheduler: Scheduler
    history: History
    n_trials: int
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    running: list[tuple[float, int, int]] = field(default_factory=list)  # (time of the next report, trial, its level)
    made: list[tuple[float, float, float]] = field(default_factory=list)  # by trial: end, slope, seconds an epoch
    parts: list[Part] = field(default_factory=lambda: [Part() for _ in range(N_PARTS)])

    @property
    def part(self) -> Part:
        return self.parts[min(len(self.made) * N_PARTS // self.n_trials, N_PARTS - 1)]

    def fold(self, *drafts: Draft) -> None:
        began = time.thread_time()
        self.history = previewed(drafts, self.history)
        self.part.history_s += time.thread_time() - began

    def assign(self, n: int, now: float) -> int:
        """Give up to *n* free workers something to do; return how many got it."""
        began = time.thread_time()
        try:
            assigned = self.scheduler.assign(self.history, n, self.n_trials - len(self.made))
        except SearchExhausted:
            assigned = []
        self.part.scheduler_s += time.thread_time() - began
        self.part.n += max(1, len(assigned))
        n_started = 0
        for one in assigned:
            if isinstance(one, New):
                self._begin(one, now)
            elif isinstance(one, Resume):
                self._resume(one, now)
            else:
                self.fold(Draft(Kind.STOPPED, one.number))
                continue
            n_started += 1
        return n_started

    def _begin(self, new: New, now: float) -> None:
        number, draw = len(self.made), self.draw
        self.made.append((draw.gauss(0, 1), draw.expovariate(1), draw.lognormvariate(0, 0.5)))
        asked = {"config": {"x": draw.random()}, "budget": new.budget, "bracket": new.bracket}
        self.fold(Draft(Kind.CLAIMED, number), Draft(Kind.ASKED, number, asked), _started(number))
        heapq.heappush(self.running, (now + self.made[number][2] * LEVELS[0], number, 0))

    def _resume(self, resume: Resume, now: float) -> None:
        number, last = resume.number, self.history.unfinished[resume.number].budget
        level = next(i for i, budget in enumerate(LEVELS) if last is None or budget > last)
        self.fold(Draft(Kind.RESUMED, number, {"budget": resume.budget}), _started(number))
        heapq.heappush(self.running, (now + self.made[number][2] * (LEVELS[level] - LEVELS[level - 1]), number, level))

    def report(self) -> tuple[bool, float]:
        """Let the next report come; return whether its trial has left its worker, and when that was."""
        now, number, level = heapq.heappop(self.running)
        end, slope, epoch_s = self.made[number]
        loss = end + slope * LEVELS[level] ** -0.5 + self.draw.gauss(0, 0.1)
        self.fold(Draft(Kind.REPORTED, number, {"rows": [[LEVELS[level], loss]]}))
        began = time.thread_time()
        decision = self.scheduler.decide(self.history, number)
        self.part.scheduler_s += time.thread_time() - began
        self.part.n += 1
        budget = self.history.unfinished[number].budget
        if decision is Decision.CONTINUE and (budget is None or LEVELS[level] < budget):
            later = now + epoch_s * (LEVELS[level + 1] - LEVELS[level])
            heapq.heappush(self.running, (later, number, level + 1))
            return False, now
        self.fold(Draft(ENDS.get(decision, Kind.COMPLETED), number, {"values": {"value": loss}}))
        return True, now


def _started(number: int) -> Draft:
    return Draft(Kind.STARTED, number, {"token": "0", "owner": "0"})


def run(scheduler: str, n_trials: int, n_workers: int) -> None:
    problem = problem_of({"x": Float(0.0, 1.0)}, "minimize", (), {"epochs": (LEVELS[0], LEVELS[-1])})
    history = History.begin({"problem": problem.to_json(), "seed": 0}, problem)
    scene = Scene(scheduler_from(scheduler), history, n_trials)
    before_mib, now, n_free = peak_mib(), 0.0, n_workers
    while True:
        n_free -= scene.assign(n_free, now) if n_free else 0
        if not scene.running:
            break
        has_left, now = scene.report()
        n_free += has_left
    peak = peak_mib()
    states = [row.state.value for row in scene.history.finished]
    states += [trial.state.value for trial in scene.history.unfinished.values()]
    named = {"first": scene.parts[0], "middle": scene.parts[N_PARTS // 2], "last": scene.parts[-1]}
    show(
        f"{scheduler}, {n_workers:,} workers, {n_trials:,} trials",
        {
            "trials": len(scene.made),
            **{state: states.count(state) for state in sorted(set(states))},
            "decisions": sum(part.n for part in scene.parts),
            **{f"decisions a second, {name} tenth of the trials": part.per_second for name, part in named.items()},
            **{f"the same with folding, {name} tenth": part.folded_per_second for name, part in named.items()},
            "peak memory, MiB": peak,
            "of it before the first trial, MiB": before_mib,
            "seconds that a new scheduler takes to see it all": _to_see(scheduler_from(scheduler), scene.history),
        },
    )


def _to_see(scheduler: Scheduler, history: History) -> float:
    """Return the seconds that *scheduler* takes for its first answers, one trial more having reported."""
    number = history.n_numbers
    asked = {"config": {"x": 0.5}, "budget": LEVELS[-1], "bracket": 0}
    reported = Draft(Kind.REPORTED, number, {"rows": [[LEVELS[0], 0.0]]})
    drafts = (Draft(Kind.CLAIMED, number), Draft(Kind.ASKED, number, asked), _started(number), reported)
    history = previewed(drafts, history)
    began = time.thread_time()
    scheduler.decide(history, number)
    with suppress(SearchExhausted):
        scheduler.assign(history, 1, 0)
    return time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scheduler",
        nargs="+",
        default=["asha", "asha(type=promotion)"],
        help="as users write it, with options in brackets",
    )
    parser.add_argument("--trials", nargs="+", type=int, default=[20_000, 100_000])
    parser.add_argument("--workers", type=int, default=1_000)
    options = parser.parse_args()
    asked = [(scheduler, n) for scheduler in options.scheduler for n in options.trials]
    if len(asked) == 1:
        run(*asked[0], options.workers)
    else:
        for scheduler, n in asked:  # memory is counted by process
            one = ["--scheduler", scheduler, "--trials", str(n), "--workers", str(options.workers)]
            subprocess.run([sys.executable, __file__, *one], check=True)


if __name__ == "__main__":
    main()
