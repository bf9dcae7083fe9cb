"""Simulated searches: the same as real ones, on any machine, however often they are interrupted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whet
from whet.core.events import Kind
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume
from whet.core.trial import State
from whet.errors import UsageError
from whet.schedulers.names import scheduler_from
from whet.study import Study
from whet.testing import Course, Simulated, simulate
from whet.testing.simulated import EVENT
from whet.testing.simulation import Bounds, ClockLedger, Simulation

SPACE = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
EPOCHS = {"epochs": (1, 27)}
KNOWN = [
    None,
    "asha",
    "asha(type=promotion)",
    "asha(type=promotion, brackets=2)",
    "median",
    "successive_halving",
    "hyperband",
]


def curve(config: Mapping[str, Any], n: int = 27) -> Course:
    """A curve that falls to its end at a speed of its own; some fail."""
    draw = random.Random(repr(sorted(config.items())))
    end, slope, speed = draw.random(), draw.expovariate(2), draw.lognormvariate(0, 0.5)
    values = [end + slope * step**-0.7 + draw.gauss(0, 0.02) for step in range(1, n + 1)]
    fails_at = draw.randint(1, n) if draw.random() < 0.1 else None
    return Course(values, speed, fails_at=fails_at)


def flat(config: Mapping[str, Any]) -> Course:
    return Course([config["x"]] * 27)


def told(trial: whet.core.trial.Trial) -> tuple[Any, ...]:
    """What is to be the same of a trial, whoever runs it and when."""
    values = {} if trial.state is State.FAILED else dict(trial.values)  # a run notes those of before, too
    return (trial.number, trial.config, trial.state, trial.budget, trial.bracket, list(trial.curve), values)


def search(**more: Any) -> Simulated:
    return simulate(curve, SPACE, **{"fidelity": EPOCHS, "n_trials": 25, "seed": 3, "n_workers": 4, **more})


class Scripted:
    """A scheduler that does what a test says."""

    def __init__(
        self,
        assign: Callable[[History, int, int], list[Assignment]],
        decide: Callable[[History, int], Decision] = lambda history, number: Decision.CONTINUE,
    ) -> None:
        self.assign, self.decide = assign, decide


# ---- a search
def test_without_a_scheduler_every_trial_is_trained_to_the_end() -> None:
    found = simulate(flat, SPACE, fidelity=EPOCHS, n_trials=10, n_workers=3)
    assert [trial.state for trial in found.trials] == [State.COMPLETED] * 10
    assert found.reason == "exhausted"
    assert found.spent == found.busy_s == 270
    assert found.end_s == 27 * 4  # three workers, so four rounds
    assert len(found.events) == 270
    assert found.events.dtype == EVENT
    assert (np.diff(found.events["time_s"]) >= 0).all()


def test_the_clock_is_virtual_and_in_the_trials() -> None:
    first, second = simulate(lambda c: Course([1.0, 2.0], [3600, 7200]), SPACE, n_trials=2).trials
    assert (first.asked_at, first.started_at, first.ended_at) == (0, 0, 10_800)
    assert (second.started_at, second.duration_s) == (10_800, 10_800)


def test_a_fast_worker_gets_more_trials() -> None:
    found = simulate(
        lambda config: Course([1.0], 10 if config["x"] == 0 else 1), {"x": [0, 1, 2, 3]}, sampler="grid", n_workers=2
    )
    assert [trial.started_at for trial in found.trials] == [0, 0, 1, 2]
    assert found.end_s == 10


def test_ties_go_by_number() -> None:
    found = simulate(flat, SPACE, fidelity=EPOCHS, n_trials=5, n_workers=5)
    assert found.events["number"].tolist() == [0, 1, 2, 3, 4] * 27


def test_steps_that_take_no_time() -> None:
    found = simulate(lambda config: Course([1.0] * 9, 0), SPACE, n_trials=20, n_workers=3, fidelity={"e": (1, 9)})
    assert found.end_s == found.busy_s == 0
    assert found.spent == 180


@pytest.mark.parametrize("scheduler", KNOWN)
def test_the_same_seed_gives_the_same_search(scheduler: str | None) -> None:
    one, two, other = (search(scheduler=scheduler, seed=seed) for seed in (5, 5, 6))
    assert (one.events == two.events).all()
    assert [*map(told, one.trials)] == [*map(told, two.trials)]
    assert (one.spent, one.busy_s, one.incumbents, one.leaders) == (two.spent, two.busy_s, two.incumbents, two.leaders)
    assert [*map(told, one.trials)] != [*map(told, other.trials)]


@pytest.mark.parametrize("n_workers", [1, 7, 1000])
@pytest.mark.parametrize("scheduler", KNOWN)
def test_a_search_ends_with_nothing_running_and_all_paid(scheduler: str | None, n_workers: int) -> None:
    found = search(scheduler=scheduler, n_workers=n_workers)
    assert len(found.trials) == 25
    assert not [trial for trial in found.trials if trial.state in (State.RUNNING, State.WAITING)]
    assert any(trial.state is State.COMPLETED and trial.budget == 27 for trial in found.trials)
    furthest: dict[int, float] = {}
    for event in found.events:
        assert event["step"] > furthest.get(event["number"], 0)  # checkpoints: nothing twice
        furthest[event["number"]] = event["step"]
    failing = {n: curve(found.trials[n].config or {}).fails_at for n in range(25)}
    lost = sum(failing[t.number] - furthest.get(t.number, 0) for t in found.trials if t.state is State.FAILED)
    assert found.spent == sum(furthest.values()) + lost


# ---- the same as a real one
@pytest.mark.parametrize("scheduler", KNOWN)
def test_simulated_is_as_run_for_real(scheduler: str | None) -> None:
    """The run loop, the inline executor and a function with checkpoints come to the same events."""
    reached: dict[int, int] = {}

    def train(config: Mapping[str, Any], trial: Any) -> float:
        course = curve(config)
        for step in range(reached.get(trial.number, 0) + 1, int(trial.budget) + 1):
            if step == course.fails_at:
                raise RuntimeError("as foreseen")
            reached[trial.number] = step
            trial.report(course.values[step - 1], step)
        return course.values[int(trial.budget) - 1]  # type: ignore[return-value]

    simulated = search(scheduler=scheduler, n_workers=1)
    real = Study(SPACE, sampler="random", scheduler=scheduler, fidelity=EPOCHS, seed=3)
    real.run(train, n_trials=25, executor="inline", progress=False, max_failures=40)
    assert [*map(told, simulated.trials)] == [*map(told, real.trials)]
    assert simulated.study.ledger.history.best() == real.ledger.history.best()


def simulation(study: Study, n_workers: int = 3, **bounds: Any) -> Simulation:
    study.ledger = ClockLedger(study.ledger.store, study.ledger.store.studies(study.name)[0])
    return Simulation(study, curve, n_workers, Bounds(**{"n_trials": 12, **bounds}))


@pytest.mark.parametrize("scheduler", KNOWN)
def test_killed_and_resumed_after_every_event_is_as_never_killed(scheduler: str | None, tmp_path: Path) -> None:
    """The workers live on; all else is made anew from the database after each event."""
    path = tmp_path / "studies.db"
    n_trials = 4 if scheduler in (None, "median") else 12  # where each is trained far
    study = Study(SPACE, sampler="random", scheduler=scheduler, fidelity=EPOCHS, seed=3, store=path)
    resumed = simulation(study, n_trials=n_trials)
    while resumed.tick():
        now = resumed.study.ledger.now  # type: ignore[attr-defined]
        resumed.study.ledger.store.close()
        resumed.study = whet.load("study", path)
        resumed.study.ledger = ClockLedger(resumed.study.ledger.store, resumed.study.ledger.store.studies("study")[0])
        resumed.study.ledger.now = now
    live = search(scheduler=scheduler, n_workers=3, n_trials=n_trials)
    assert [*map(told, resumed.study.trials)] == [*map(told, live.trials)]
    assert (resumed.run().events == live.events).all()


@pytest.mark.parametrize("scheduler", KNOWN)
def test_a_fresh_scheduler_at_every_call_does_as_a_live_one(scheduler: str | None) -> None:
    fresh = Scripted(
        lambda *known: scheduler_from(scheduler).assign(*known), lambda *known: scheduler_from(scheduler).decide(*known)
    )
    one, two = (search(scheduler=either, n_trials=15) for either in (fresh, scheduler))
    assert [*map(told, one.trials)] == [*map(told, two.trials)]


# ---- what it costs
def test_without_checkpoints_who_goes_on_starts_from_zero() -> None:
    def assign(history: History, n: int, n_new: int) -> list[Assignment]:
        if n_new:
            return [New(9)]
        paused = [trial for trial in history.unfinished.values() if trial.state is State.PAUSED]
        return [Resume(trial.number, 27) for trial in paused[:n]]

    def decide(history: History, number: int) -> Decision:
        trial = history.unfinished[number]
        return Decision.PAUSE if trial.budget == 9 and trial.curve.last_step() == 9 else Decision.CONTINUE

    kept, lost = (
        simulate(flat, SPACE, fidelity=EPOCHS, n_trials=2, scheduler=Scripted(assign, decide), checkpoints=checkpoints)
        for checkpoints in (True, False)
    )
    assert (kept.spent, kept.busy_s) == (54, 54)
    assert (lost.spent, lost.busy_s) == (72, 72)
    assert [trial.state for trial in lost.trials] == [State.COMPLETED] * 2
    assert [step for step, _ in lost.trials[0].curve] == [*range(1, 10), *range(1, 28)]


def test_what_hyperband_spends_is_as_its_arithmetic_says() -> None:
    """Table 1 of the paper, with checkpoints: whoever goes on pays for the difference only."""
    table = {4: (81, 27, 9, 3, 1), 3: (34, 11, 3, 1), 2: (15, 5, 1), 1: (8, 2), 0: (5,)}
    units = (1, 3, 9, 27, 81)
    expected = 0
    for s, rungs in table.items():
        budgets = (0, *units[4 - s :])
        expected += sum(n * (budgets[i + 1] - budgets[i]) for i, n in enumerate(rungs))
    n_trials = sum(rungs[0] for rungs in table.values())
    for n_workers in (1, 8):
        found = simulate(
            lambda config: Course([config["x"]] * 81),
            SPACE,
            fidelity={"epochs": (1, 81)},
            scheduler="hyperband",
            n_trials=n_trials,
            n_workers=n_workers,
        )
        assert found.spent == expected


def test_the_budget_is_never_exceeded_and_what_runs_is_cut() -> None:
    found = search(n_trials=None, budget=100)
    assert found.reason == "budget"
    assert 99 < found.spent <= 100
    assert len([trial for trial in found.trials if trial.state is State.RUNNING]) in (3, 4)
    exact = simulate(flat, SPACE, fidelity=EPOCHS, budget=54)
    assert exact.spent == 54
    assert [trial.state for trial in exact.trials] == [State.COMPLETED] * 2


def test_virtual_time_runs_out() -> None:
    found = simulate(flat, SPACE, fidelity=EPOCHS, timeout_s=40.5, n_workers=2)
    assert (found.reason, found.end_s, found.spent, found.busy_s) == ("timeout", 40.5, 80, 81)


def test_reporting_at_some_steps_only() -> None:
    found = search(scheduler="asha", report_at=(1, 3, 9, 27))
    assert set(found.events["step"]) <= {1, 3, 9, 27}
    every = search(scheduler="asha")
    assert [trial.state for trial in found.trials[:4]] == [trial.state for trial in every.trials[:4]]
    assert simulate(flat, SPACE, fidelity=EPOCHS, n_trials=3, report_at=()).spent == 81


# ---- who was best when
def test_incumbents_and_leaders() -> None:
    ends = {0: 5.0, 1: 3.0, 2: 4.0, 3: 1.0}
    found = simulate(lambda c: Course([ends[c["x"]]] * 9), {"x": [0, 1, 2, 3]}, sampler="grid", fidelity={"e": (1, 9)})
    assert [(one.time_s, one.number, one.value) for one in found.incumbents] == [(9, 0, 5), (18, 1, 3), (36, 3, 1)]
    assert [(one.time_s, one.number, one.step) for one in found.leaders] == [
        (1, 0, 1), (3, 0, 3), (9, 0, 9), (18, 1, 9), (36, 3, 9),
    ]  # fmt: skip


def test_what_is_maximised_and_bound() -> None:
    found = simulate(
        lambda c: Course([{"acc": c["x"], "ms": c["x"]}] * 3),
        {"x": [0.1, 0.9, 0.5]},
        {"acc": "maximize"},
        constraints=["ms <= 0.6"],
        fidelity={"e": (1, 3)},
        sampler="grid",
    )
    assert [one.value for one in found.incumbents] == [0.1, 0.5]
    assert [one.value for one in found.leaders if one.step == 3] == [0.1, 0.5]


def test_several_objectives_have_no_incumbent() -> None:
    both = {"a": "minimize", "b": "minimize"}
    found = simulate(lambda c: Course([{"a": c["x"], "b": -c["x"]}]), SPACE, both, n_trials=4)
    assert (found.incumbents, found.leaders) == ((), ())
    assert found.events["value"].tolist() == [trial.values["a"] for trial in found.trials]


# ---- what goes wrong in a trial
def test_failures_cost_their_time() -> None:
    found = simulate(lambda c: Course([1.0] * 5, 2, fails_at=3), SPACE, n_trials=2)
    assert [trial.state for trial in found.trials] == [State.FAILED] * 2
    assert found.end_s == 12
    assert len(found.events) == 4
    assert found.incumbents == ()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("scheduler", KNOWN)
def test_values_that_are_no_numbers(bad: float, scheduler: str | None) -> None:
    found = simulate(
        lambda c: Course([bad if c["x"] < 0.5 and step > 4 else c["x"] for step in range(27)]),
        SPACE,
        fidelity=EPOCHS,
        n_trials=20,
        n_workers=3,
        scheduler=scheduler,
    )
    for trial in found.trials:
        if trial.state is State.COMPLETED:
            assert (trial.config or {})["x"] >= 0.5
        assert trial.state not in (State.RUNNING, State.WAITING)
    assert all(math.isfinite(one.value) for one in (*found.incumbents, *found.leaders))


def test_a_finite_space_ends() -> None:
    found = simulate(lambda c: Course([1.0, 2.0]), {"x": [1, 2, 3]}, n_workers=8)
    assert sorted(trial.config["x"] for trial in found.trials) == [1, 2, 3]  # type: ignore[index]
    assert simulate(lambda c: Course([1.0]), {"x": [1, 2, 3]}, n_trials=9).reason == "exhausted"


def test_seconds_as_the_fidelity_are_those_of_the_clock() -> None:
    found = simulate(lambda c: Course([3.0, 2.0, 1.0], [2, 3, 4]), SPACE, fidelity={"seconds": (2, 5)}, n_trials=1)
    assert found.events["step"].tolist() == [2, 5]
    assert (found.spent, found.end_s) == (5, 5)


def test_fractions_as_the_fidelity() -> None:
    found = simulate(
        lambda c: Course([c["x"]] * 3, [1, 2, 6], (1 / 9, 1 / 3, 1.0)),
        SPACE,
        fidelity={"subset": (1 / 9, 1.0)},
        n_trials=3,
    )
    assert found.spent == pytest.approx(3)
    assert found.end_s == 27


# ---- what cannot be
@pytest.mark.parametrize(
    ("course", "what"),
    [
        ({"values": []}, "at least one step"),
        ({"values": [1.0], "steps": [1, 2]}, "a step for each value"),
        ({"values": [1.0, 1.0], "steps": [2, 2]}, "ascend"),
        ({"values": [1.0], "steps": [0]}, "above 0"),
        ({"values": [1.0], "steps": [math.nan]}, "ascend"),
        ({"values": [1.0], "steps": [math.inf]}, "ascend"),
        ({"values": [1.0], "seconds": -1}, "0 or more"),
        ({"values": [1.0], "seconds": math.nan}, "finite number"),
        ({"values": [1.0], "seconds": [1, 2]}, "seconds of each of its 1 steps"),
        ({"values": [1.0], "fails_at": 2}, "one of the steps"),
    ],
)
def test_courses_that_make_no_sense(course: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Course(**course)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"n_trials": None}, "say where the search ends"),
        ({"n_trials": 0}, "n_trials must be"),
        ({"n_workers": 0}, "n_workers must be"),
        ({"budget": -1}, "budget must be"),
        ({"timeout_s": math.nan}, "timeout_s must be"),
        ({"fidelity": None, "budget": 3}, "in units of the fidelity"),
        ({"scheduler": "nonsense"}, "nonsense"),
    ],
)
def test_searches_that_make_no_sense(more: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        search(**more)


def test_curves_that_return_something_else() -> None:
    with pytest.raises(UsageError, match="a Course for each config"):
        simulate(lambda c: [1.0], SPACE, n_trials=1)  # type: ignore[arg-type,return-value]


def test_a_curve_that_begins_beyond_the_budget() -> None:
    scheduler = Scripted(lambda history, n, n_new: [New(1)])
    with pytest.raises(UsageError, match="begins at 5"):
        simulate(lambda c: Course([1.0], steps=[5]), SPACE, fidelity=EPOCHS, n_trials=1, scheduler=scheduler)


def test_a_scheduler_that_waits_for_ever() -> None:
    with pytest.raises(UsageError, match="Scripted waits for trials, and none is running"):
        search(scheduler=Scripted(lambda history, n, n_new: []))


def test_a_scheduler_that_takes_more_than_there_is() -> None:
    found = search(scheduler=Scripted(lambda history, n, n_new: [New(1)] * (n + 1)))
    assert [trial.number for trial in found.trials] == list(range(len(found.trials)))


def test_a_scheduler_that_goes_round_in_circles() -> None:
    def assign(history: History, n: int, n_new: int) -> list[Assignment]:
        return [Resume(0, 1)] if history.unfinished else [New(1)]

    with pytest.raises(UsageError, match="might do so for ever"):
        search(scheduler=Scripted(assign, lambda history, number: Decision.PAUSE), n_workers=1)


# ---- any search at all
@settings(max_examples=15, deadline=None)
@given(
    scheduler=st.sampled_from(KNOWN),
    n_workers=st.integers(1, 12),
    n_trials=st.integers(1, 15),
    seed=st.integers(0, 99),
    high=st.integers(3, 27),
    checkpoints=st.booleans(),
    budget=st.none() | st.integers(1, 400),
)
def test_any_search_ends(
    scheduler: str | None,
    n_workers: int,
    n_trials: int,
    seed: int,
    high: int,
    checkpoints: bool,
    budget: int | None,
) -> None:
    found = simulate(
        lambda config: curve(config, high),
        SPACE,
        fidelity={"epochs": (1, high)},
        scheduler=scheduler,
        n_workers=n_workers,
        n_trials=n_trials,
        seed=seed,
        checkpoints=checkpoints,
        budget=budget,
    )
    assert len(found.trials) <= n_trials
    assert found.spent <= (budget or math.inf)
    assert found.busy_s <= found.end_s * n_workers * (1 + 1e-9)
    busy = sum(trial.state is State.RUNNING for trial in found.trials)
    assert busy <= n_workers
    assert busy == 0 or found.reason == "budget"


def test_the_log_of_a_simulation_is_that_of_a_study(tmp_path: Path) -> None:
    study = Study(SPACE, sampler="random", scheduler="asha", fidelity=EPOCHS, seed=3, store=tmp_path / "studies.db")
    found = simulation(study).run()
    events = study.ledger.store.events(study.ledger.study)
    reported = [event for event in events if event.kind is Kind.REPORTED]
    assert [(event.time, event.trial) for event in reported] == [(e["time_s"], e["number"]) for e in found.events]
