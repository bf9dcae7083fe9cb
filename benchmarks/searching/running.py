"""One search on one task: the incumbent's regret after each finished trial, and what suggesting cost."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from searching.methods import start, version_of
from searching.tasks import Task

N_TIMED = 10  # suggestions at the end of each third whose mean is kept: SMAC fits its forest at every eighth only


@dataclass(frozen=True)
class Row:
    """The record of one search.

    *curve* has a pair for every improvement: the number of trials finished by then and the normalised regret, not
    clipped. *cpu_ms* is what a suggestion took, ask and tell, at the end of each third; empty where nobody measured.
    *date* is that of the run.
    """

    method: str
    version: str
    task: str
    seed: int
    n_trials: int
    workers: int
    curve: list[list[float]]
    cpu_ms: list[float]
    date: str

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.method, self.version, self.task, self.seed, self.n_trials, self.workers)


def run(method: str, task: Task, seed: int, n_trials: int, workers: int) -> Row:
    """Search *task* with *workers* trials always running.

    The clock is simulated: a trial takes a time drawn from a lognormal distribution by *seed* alone, so tells come in
    another order than asks and every method meets the same order.
    """
    search = start(method, task.parameters, seed, n_trials)
    durations = np.random.default_rng(seed).lognormal(0.0, 0.5, n_trials)
    running: list[tuple[float, int, Any, float]] = []
    ask_s, tell_s = [0.0] * n_trials, [0.0] * n_trials
    curve: list[list[float]] = []
    now, n_asked = 0.0, 0
    for n_done in range(1, n_trials + 1):
        while n_asked < n_trials and len(running) < workers:
            (handle, config), ask_s[n_asked] = _timed(search.ask)
            ends = now + float(durations[n_asked])
            heapq.heappush(running, (ends, n_asked, handle, task.loss(config)))
            n_asked += 1
        now, _, handle, loss = heapq.heappop(running)
        _, tell_s[n_done - 1] = _timed(lambda handle=handle, loss=loss: search.tell(handle, loss))
        regret = float(f"{task.regret(loss):.4g}")
        if not curve or regret < curve[-1][1]:
            curve.append([n_done, regret])
    spent = [1e3 * (ask + tell) for ask, tell in zip(ask_s, tell_s, strict=True)]
    cpu_ms = [float(f"{statistics.fmean(spent[max(end - N_TIMED, 0) : end]):.3g}") for end in thirds(n_trials)]
    return Row(method, version_of(method), task.name, seed, n_trials, workers, curve, cpu_ms, str(date.today()))


def thirds(n: int) -> tuple[int, int, int]:
    return (n // 3, 2 * n // 3, n)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = call()
    return result, time.process_time() - began
