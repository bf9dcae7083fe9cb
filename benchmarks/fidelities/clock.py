"""The frame in which every search is played: workers on a virtual clock whose unit is the fidelity.

A step costs the fidelity that it adds, whatever the config; checkpoints are kept, so a trial that goes on pays only the
rest. Cost is summed over the workers while they are busy, and the search is cut where it reaches the budget: attempts
in progress then keep the steps that they have completed.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from searching.parameters import Config

from fidelities.tasks import CurveTask

SLACK = 1e-9  # relative; sums of thirds are not exact


class Exhausted(Exception):
    """The search has nothing more to do for this worker."""


@dataclass(frozen=True)
class Attempt:
    """A trial on its way to *budget*; *key* tells the trial, *handle* is what the player knows it by."""

    key: Hashable
    config: Config
    budget: float
    handle: Any


class Player(Protocol):
    """A search under way."""

    def next(self) -> Attempt | None:
        """Return what a free worker does; None: nothing until some running trial has reported or ended.

        Raises:
            Exhausted: nothing ever again.
        """

    def report(self, attempt: Attempt, step: float, loss: float) -> bool:
        """Return whether *attempt*, which has got to *step*, goes on; at its budget it does not."""


@dataclass(frozen=True)
class Point:
    """A trial got to *step* when *spent* had been spent in all."""

    spent: float
    key: Hashable
    step: float
    loss: float


@dataclass(frozen=True)
class Game:
    """All that a search did: its points in order, its trials' losses at full fidelity, what the player took."""

    points: list[Point]
    full: dict[Hashable, float]
    n_attempts: int
    cpu_s: float


class _Trial:
    """One config's losses, worked out ahead where the steps are known, and how far it has got."""

    def __init__(self, task: CurveTask, config: Config) -> None:
        self._task, self._config = task, config
        self._known = dict(zip(task.axis.steps, task.losses(config, task.axis.steps), strict=True))
        self.reached = 0.0

    def loss(self, step: float) -> float:
        if step not in self._known:
            (self._known[step],) = self._task.losses(self._config, [step])
        return self._known[step]


def play(task: CurveTask, player: Player, n_workers: int, budget: float) -> Game:
    """Let *player* search *task* until *budget*, in units of fidelity over all workers, is spent."""
    trials: dict[Hashable, _Trial] = {}
    running: list[tuple[float, int, float, Attempt]] = []  # (time of the next report, order, its step, attempt)
    points: list[Point] = []
    idle, n_attempts, n_events, now, spent, cpu_s = n_workers, 0, 0, 0.0, 0.0, 0.0

    def onward(attempt: Attempt) -> None:
        nonlocal n_events
        reached = trials[attempt.key].reached
        step = task.axis.after(reached, attempt.budget)
        heapq.heappush(running, (now + step - reached, n_events, step, attempt))
        n_events += 1

    while spent < budget * (1 - SLACK):
        began = time.process_time()
        started, n_done = _started(player, idle)
        cpu_s += time.process_time() - began
        idle -= len(started) + n_done
        n_attempts += len(started)
        for attempt in started:
            trials.setdefault(attempt.key, _Trial(task, attempt.config))
            onward(attempt)
        if not running:
            if idle:
                raise RuntimeError(f"{type(player).__name__} waits for running trials, and none is running")
            break
        then, _, step, attempt = heapq.heappop(running)
        spent += (len(running) + 1) * (then - now)
        now = then
        if spent > budget * (1 + SLACK):
            break
        loss = trials[attempt.key].loss(step)
        trials[attempt.key].reached = step
        points.append(Point(spent, attempt.key, step, loss))
        began = time.process_time()
        goes_on = player.report(attempt, step, loss)
        cpu_s += time.process_time() - began
        if goes_on:
            onward(attempt)
        else:
            idle += 1
    return Game(points, {key: trial.loss(task.axis.high) for key, trial in trials.items()}, n_attempts, cpu_s)


def _started(player: Player, idle: int) -> tuple[list[Attempt], int]:
    """Return attempts for up to *idle* workers, and how many of the workers are done for good."""
    started: list[Attempt] = []
    for worker in range(idle):
        try:
            attempt = player.next()
        except Exhausted:
            return started, idle - worker
        if attempt is None:
            break
        started.append(attempt)
    return started, 0
