"""A study's own curves, to be searched once more: what would another scheduler have made of them?

The configs are those that were trained to the end, each of them once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.core.columns import as_config
from whet.core.history import History
from whet.core.problem import Fidelity, Problem
from whet.core.protocols import Assignment, Decision, New, RngOf, Sampler, Scheduler, Suggestion
from whet.core.trial import State, Trial
from whet.core.values import Take
from whet.errors import SearchExhausted, UsageError
from whet.points.rungs import reports_of
from whet.samplers.names import check_sampler
from whet.samplers.random import Random
from whet.schedulers.names import check_scheduler
from whet.space.grid import permuted
from whet.space.plain import value_key
from whet.testing.courses import Course
from whet.testing.simulated import Simulated
from whet.testing.simulating import simulate

FEWEST = 5  # trials, below which nothing is learnt from a comparison


@dataclass(frozen=True)
class Recording:
    """The trials of a study that were trained to the end.

    Attributes:
        problem: with the axis that the curves are on.
        trials: number of the trial in the study, its config and its course, by number.
        left_out: why trials are not among them, and how many.
    """

    problem: Problem
    trials: Sequence[tuple[int, Mapping[str, Any], Course]]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _courses(self) -> dict[Hashable, Course]:
        return {value_key(dict(config)): course for _, config, course in self.trials}

    def course(self, config: Mapping[str, Any]) -> Course:
        """Return the course of *config*, one of those recorded."""
        return self._courses[value_key(dict(config))]

    @property
    def values(self) -> list[float]:
        """The objective of each trial in the end."""
        name = self.problem.objectives[0].name
        return [_metrics(course)[name] for _, _, course in self.trials]

    @property
    def best(self) -> int | None:
        """The place of the best trial among ``trials``; ``None`` where all break a constraint."""
        sign, values = self.problem.objectives[0].sign, self.values
        feasible = [i for i, (_, _, c) in enumerate(self.trials) if self.problem.is_feasible(_metrics(c))]
        return min(feasible, key=lambda i: (sign * values[i], i), default=None)

    @property
    def total_s(self) -> float:
        """Seconds that training all of them to the end takes."""
        return math.fsum(course.elapsed()[-1] for _, _, course in self.trials)


def _metrics(course: Course) -> Mapping[str, float]:
    last = course.values[-1]
    assert isinstance(last, Mapping), "as it was recorded"
    return last


# ---- from trials to courses
def recording_of(
    name: str, problem: Problem, trials: Iterable[Trial], take: Take, *, checkpoints: bool = True
) -> Recording:
    """Return what the *trials* of study *name* come to.

    Steps are those that the trials reported. Where they count from 0, nothing is compared there, as in a search: the
    lowest fidelity is above it.

    Args:
        name: for error messages.
        problem: of the study.
        trials: of the study.
        take: how reports become values.
        checkpoints: whether attempts that reported nothing on the way went on from where the one before had ended.

    Raises:
        UsageError: it has not exactly one objective, or too few trials with whole curves.
    """
    if len(problem.objectives) != 1:
        raise UsageError(f"study {name!r} has {len(problem.objectives)} objectives; a comparison needs exactly one")
    left_out: Counter[str] = Counter()
    kept: dict[Hashable, tuple[Trial, list[float], list[dict[str, float]]]] = {}
    for trial in trials:
        steps, values = _curve(trial, problem, take)
        key = value_key(dict(trial.config or {}))
        if trial.state is not State.COMPLETED:
            left_out[trial.state.value] += 1
        elif len(steps) < 2:
            left_out["without a curve"] += 1
        elif key in kept:
            left_out["with the config of another"] += 1
        else:
            kept[key] = (trial, steps, values)
    if len(kept) < FEWEST:
        why = f" (others: {reasons(left_out)})" if left_out else ""
        raise UsageError(
            f"study {name!r} has {len(kept)} completed trials with a curve{why}, and a comparison needs at least "
            f"{FEWEST}: trials that reported {problem.objectives[0].name!r} at two steps or more, and ran to the end"
        )
    recorded = [
        (trial.number, trial.config or {}, _course(trial, steps, values, checkpoints))
        for trial, steps, values in kept.values()
    ]
    axis = _axis(problem.fidelity, [course.steps for _, _, course in recorded])
    return Recording(replace(problem, fidelity=axis), recorded, dict(left_out))


def reasons(left_out: Mapping[str, int]) -> str:
    """Return ``3 failed, 1 without a curve``."""
    return ", ".join(f"{n:,} {why}" for why, n in left_out.items())


def _curve(trial: Trial, problem: Problem, take: Take) -> tuple[list[float], list[dict[str, float]]]:
    """Return the steps that *trial* got to, ascending, and its metrics there; what it was at in the end comes last."""
    if not trial.curve:
        return [], []
    _, at, values = reports_of(trial.curve.once(trial.n_earlier), problem, take)
    steps: list[float] = []
    metrics: list[dict[str, float]] = []
    for step, row in zip(at.tolist(), values.tolist(), strict=True):
        known = {name: value for name, value in zip(problem.metrics, row, strict=True) if not math.isnan(value)}
        if known and step > 0 and (not steps or step > steps[-1]):
            steps.append(step)
            metrics.append(known)
    if steps:
        metrics[-1] = {**metrics[-1], **{n: trial.values[n] for n in problem.metrics if n in trial.values}}
    return steps, metrics


def _course(trial: Trial, steps: Sequence[float], values: Sequence[Mapping[str, float]], checkpoints: bool) -> Course:
    """Return the course of *trial*: its last attempt took as long for each unit of the fidelity.

    It began at 0, or one step below it if it counts from there; or where the one before had ended.
    """
    rows = [row[0] for row in trial.curve]
    following = next((step for step in rows if step > rows[0]), rows[0])
    begin = 0.0 if rows[0] > 0 else 2 * rows[0] - following
    earlier, own = rows[: trial.n_earlier], rows[trial.n_earlier :]
    has_gone_on = checkpoints and bool(own) and bool(earlier) and own[0] > max(earlier)
    before = max(earlier) if has_gone_on else begin
    unit_s = (trial.duration_s or 0.0) / (steps[-1] - before) if steps[-1] > before else 0.0
    whole = [int(step) if step.is_integer() else step for step in steps]
    seconds = [unit_s * (b - a) for a, b in zip([begin, *steps[:-1]], steps, strict=True)]
    return Course(values, seconds, whole)


def _axis(fidelity: Fidelity | None, steps: Sequence[Sequence[float]]) -> Fidelity:
    """Return the axis of the curves: every one has begun at its lowest, and none goes beyond its highest."""
    low, high = max(one[0] for one in steps), max(one[-1] for one in steps)
    if fidelity is not None:
        low, high = max(low, fidelity.low), max(high, fidelity.high)
    return Fidelity("steps" if fidelity is None or fidelity.is_time else fidelity.name, low, high)


# ---- searching among them
def replay(
    recording: Recording,
    scheduler: Scheduler,
    sampler: Sampler,
    *,
    n_workers: int,
    seed: int,
    checkpoints: bool = True,
) -> Simulated:
    """Return what a search among the recorded configs comes to, each of which it may try once.

    A random sampler draws them in an order that *seed* makes; of any other, the closest one that is left stands for
    each config that it chooses, and likewise for those that a scheduler brings.

    Raises:
        UsageError: the sampler or the scheduler cannot do with the problem.
    """
    problem = recording.problem
    check_sampler(sampler, problem)
    check_scheduler(scheduler, problem, None)
    among = _Among(recording)
    return simulate(
        recording.course,
        problem.space,
        problem.objectives,
        constraints=problem.constraints,
        fidelity=problem.fidelity,
        sampler=_Drawn(among) if isinstance(sampler, Random) else _Closest(among, sampler),
        scheduler=_Bringing(among, scheduler),
        n_workers=n_workers,
        n_trials=len(recording.trials),
        seed=seed,
        checkpoints=checkpoints,
    )


class _Among:
    """Finds recorded configs that are close to others."""

    def __init__(self, recording: Recording) -> None:
        self.configs = [config for _, config, _ in recording.trials]
        self._space = recording.problem.space
        self._places = {value_key(dict(config)): i for i, config in enumerate(self.configs)}

    @cached_property
    def _encoded(self) -> NDArray[np.float64]:
        return self._space.encode_many(self.configs)

    def closest(self, history: History, wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return for each of *wanted* the closest config that nobody has yet, as far as they last."""
        known = [row.config for row in history.finished] + [trial.config for trial in history.unfinished.values()]
        taken = {self._places[value_key(dict(as_config(config)))] for config in known if config is not None}
        left = [i for i in range(len(self.configs)) if i not in taken]
        found = []
        for config in wanted[: len(left)]:
            here, there = self._encoded[left], self._space.encode_many([config])
            # What only one of two has sets them as far apart as can be.
            gaps = np.where(np.isnan(here - there), np.isnan(here) != np.isnan(there), here - there)
            found.append(self.configs[left.pop(int(np.argmin(np.square(gaps).sum(axis=1))))])
        return found


class _Drawn:
    """Draws from the recorded configs, without replacement."""

    def __init__(self, among: _Among) -> None:
        self._configs = among.configs

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """See `Sampler`."""
        n = len(self._configs)
        found = [Suggestion(self._configs[permuted(history.seed, n, k)]) for k in numbers if k < n]
        if not found:
            raise SearchExhausted
        return found


class _Closest:
    """Takes the closest recorded config that is left for each that a sampler chooses."""

    def __init__(self, among: _Among, sampler: Sampler) -> None:
        self._among, self._sampler = among, sampler

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """See `Sampler`."""
        chosen = self._sampler.suggest(history, numbers, rng_of)
        found = self._among.closest(history, [suggestion.config for suggestion in chosen])
        if not found:
            raise SearchExhausted
        return [Suggestion(config, suggestion.why) for config, suggestion in zip(found, chosen, strict=False)]


class _Bringing:
    """A scheduler, whose own configs, if it brings any, become the closest recorded ones."""

    def __init__(self, among: _Among, scheduler: Scheduler) -> None:
        self._among, self._scheduler = among, scheduler
        self.keeps_lost = bool(getattr(scheduler, "keeps_lost", False))

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """See `Scheduler`."""
        assigned = self._scheduler.assign(history, n, n_new)
        brought = [one.config for one in assigned if isinstance(one, New) and one.config is not None]
        found = iter(self._among.closest(history, brought) if brought else ())
        return [
            replace(one, config=next(found, None)) if isinstance(one, New) and one.config is not None else one
            for one in assigned
        ]

    def decide(self, history: History, number: int) -> Decision:
        """See `Scheduler`."""
        return self._scheduler.decide(history, number)
