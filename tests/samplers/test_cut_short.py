"""Samplers that rank, in studies whose trials are stopped, paused and resumed: a function of what became of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import whet
from whet.core.history import History
from whet.core.problem import BARE, Fidelity, Objective, Problem
from whet.core.protocols import Sampler
from whet.core.trial import State
from whet.errors import NotReady, SearchExhausted
from whet.samplers.cmaes import CMAES, ranked
from whet.samplers.tpe import TPE
from whet.space.domain import Categorical, Float
from whet.space.space import Space
from whet.testing.sampler_histories import ask, asked, ended, history_of, reloaded, reported, resumed, told

SPACE = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0), "c": Categorical(["u", "v"])})
PROBLEM = Problem(SPACE, (Objective(BARE),), (), Fidelity("epochs", 1, 9))

every = pytest.mark.parametrize("make", [TPE, CMAES])
Make = Callable[[], Sampler]


def loss(config: object, epochs: float) -> float:
    a, b = config["a"], config["b"]  # type: ignore[index]
    return float((a - 0.3) ** 2 + (b - 0.6) ** 2 + 0.3 / epochs)


def gone_on(history: History, number: int, rng: np.random.Generator) -> History:
    """Return the history after something has happened to an unfinished trial."""
    trial = history.unfinished[number]
    if trial.state is State.PAUSED:
        return resumed(history, number, 9) if rng.random() < 0.7 else ended_by_stop(history, number)
    last = trial.curve.last_step() or 0.0
    deed = rng.choice(["report", "report", "pause", "stop", "fail", "cancel", "end"])
    if deed == "report" and last < 9:
        return reported(history, number, {last + 1: loss(trial.config, last + 1)})
    ends = {"pause": State.PAUSED, "stop": State.STOPPED, "fail": State.FAILED, "cancel": State.CANCELLED}
    return ended(history, number, ends.get(deed, loss(trial.config, 9)))


def ended_by_stop(history: History, number: int) -> History:
    return ended(resumed(history, number, 9), number, State.STOPPED)


@every
def test_a_fresh_sampler_answers_as_one_that_saw_all_of_it(make: Make) -> None:
    rng, history, live = np.random.default_rng(3), history_of(PROBLEM, seed=5), make()
    before = [history]
    while history.n_numbers < 36:
        numbers = range(history.n_numbers, history.n_numbers + int(rng.integers(1, 4)))
        suggestions = ask(live, history, numbers)
        assert suggestions == ask(make(), reloaded(history), numbers), f"numbers {numbers}"
        for number, suggestion in zip(numbers, suggestions, strict=True):
            history = asked(history, number, suggestion)
        for _ in range(6):
            history = gone_on(history, int(rng.choice([*history.unfinished])), rng) if history.unfinished else history
        before.append(history)
    for snapshot in before[::5]:  # older ones, once more
        assert ask(live, snapshot, [90]) == ask(make(), snapshot, [90])


@every
def test_the_order_in_which_things_happen_does_not_matter(make: Make) -> None:
    found = []
    for seed in range(3):
        rng, history = np.random.default_rng(seed), history_of(PROBLEM, seed=7)
        configs = [suggestion.config for suggestion in ask(TPE(n_start=40), history, range(24))]
        for number, suggestion in enumerate(ask(TPE(n_start=40), history, range(24))):
            history = asked(history, number, suggestion)
        for number in rng.permutation(24).tolist():
            history = reported(history, number, {1: loss(configs[number], 1)})
        for number in rng.permutation(20).tolist():
            history = reported(history, number, {3: loss(configs[number], 3)}) if number % 3 else history
        for number in rng.permutation(18).tolist():
            outcome = (State.STOPPED, State.PAUSED, loss(configs[number], 9))[number % 3]
            history = ended(history, number, outcome)
        found.append(ask(make(), history, range(24, 28)))
    assert found[1:] == found[:-1]


@every
def test_a_batch_is_one_after_another(make: Make) -> None:
    history = history_of(PROBLEM, seed=2)
    for number, suggestion in enumerate(ask(make(), history, range(20))):
        history = reported(asked(history, number, suggestion), number, {1: loss(suggestion.config, 1)})
        history = ended(history, number, (State.STOPPED, State.PAUSED, State.RUNNING)[number % 3])
    batch = ask(make(), history, range(20, 24))
    for number, expected in enumerate(batch, 20):
        (found,) = ask(make(), history, [number])
        assert found.config == expected.config
        history = told(history, [(number, found, State.RUNNING)])


def played(sampler: str, scheduler: str, seed: int, n_workers: int) -> list[whet.Trial]:
    """Return the trials of a study after 40 configs, as many at a time as there are workers."""
    study = whet.Study(SPACE, sampler=sampler, scheduler=scheduler, fidelity={"epochs": (1, 9)}, seed=seed)
    running: list[whet.Trial] = []
    while True:
        try:
            while len(running) < n_workers and len(study.trials) < 40:
                running.append(study.ask())
        except (NotReady, SearchExhausted):
            pass
        if not running:
            return list(study.trials)
        trial = running.pop(0)
        for epoch in range(int(trial.curve.last_step() or 0) + 1, int(trial.budget or 9) + 1):
            if study.report(trial, loss(trial.config, epoch), step=epoch) != "continue":
                break
        else:
            study.tell(trial, loss(trial.config, int(trial.budget or 9)))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("scheduler", ["hyperband", "asha", "asha(type=promotion)"])
@pytest.mark.parametrize("n_workers", [1, 4])
def test_a_scheduler_goes_with_it(sampler: str, scheduler: str, n_workers: int) -> None:
    """The last ten of forty configs are mostly nearer to the best there is than random ones, which come to 0.17."""
    found = [played(sampler, scheduler, seed, n_workers) for seed in range(3)]
    for trials in found:
        assert len({str(trial.config) for trial in trials}) == len(trials) == 40
    assert np.median([loss(t.config, 9) - 0.3 / 9 for trials in found for t in trials[30:]]) < 0.1


# ---- populations
def test_who_came_further_is_better() -> None:
    y, behind = np.array([3.0, 1.0, np.nan, 0.0, 2.0]), np.array([0.0, 1.0, 0.0, 2.0, 1.0])
    assert ranked(y, np.empty((5, 0)), behind).tolist() == [0.0, 1.0, 4.0, 3.0, 2.0]


def test_a_running_trial_is_in_no_population() -> None:
    history = history_of(PROBLEM, seed=2)
    for number, suggestion in enumerate(ask(CMAES(), history, range(12))):
        history = reported(asked(history, number, suggestion), number, {1: loss(suggestion.config, 1)})
        history = ended(history, number, State.RUNNING if number == 11 else State.STOPPED)
    (before,) = ask(CMAES(), history, [12])
    (after,) = ask(CMAES(), reported(history, 11, {2: -9.0}), [12])
    assert before == after
