"""Functions that are cut short and go on: what they get, what they may do about it, and what is kept of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.protocols import Assignment, Decision, New, Resume
from whet.core.trial import Cause, State, Trial
from whet.errors import SearchExhausted, StaleAttempt

GRID = {"x": [0.1, 0.9, 0.2]}
EXECUTORS = ["inline", "processes"]


class Climb:
    """Takes each trial from level to level, but for those that are above a bar: these are stopped."""

    def __init__(self, *levels: float, bar: float = 0.5) -> None:
        self.levels, self.bar = levels, bar

    def assign(self, history: History, n: int, n_new: int) -> Sequence[Assignment]:
        trials = history.unfinished.values()
        paused = [trial for trial in trials if trial.state is State.PAUSED]
        found: list[Assignment] = [Resume(trial.number, self._next(trial.budget or 0)) for trial in paused]
        found += [New(self.levels[0]) for _ in range(n_new)]
        if not found and not any(trial.state is State.RUNNING for trial in trials):
            raise SearchExhausted
        return found[:n]

    def _next(self, budget: float) -> float:
        return next(level for level in self.levels if level > budget)

    def decide(self, history: History, number: int) -> Decision:
        trial = history.unfinished[number]
        *_, (step, value) = trial.curve
        if trial.budget is None or step < trial.budget:
            return Decision.CONTINUE
        if not value < self.bar:
            return Decision.STOP
        return Decision.PAUSE if trial.budget < self.levels[-1] else Decision.CONTINUE


class StopAt:
    """Gives each trial everything, and stops those above a bar at a step."""

    def __init__(self, step: float, bar: float = 0.5) -> None:
        self.step, self.bar = step, bar

    def assign(self, history: History, n: int, n_new: int) -> Sequence[Assignment]:
        if not n_new:
            raise SearchExhausted
        assert history.problem.fidelity is not None
        return [New(history.problem.fidelity.high)] * min(n, n_new)

    def decide(self, history: History, number: int) -> Decision:
        *_, (step, value) = history.unfinished[number].curve
        return Decision.STOP if step >= self.step and not value < self.bar else Decision.CONTINUE


def tune(fn: Callable[..., Any], scheduler: Any, space: Any = None, **options: Any) -> whet.Study:
    known = {"fidelity": {"epochs": (1, 9)}, "sampler": "grid", "seed": 0, "progress": False}
    return whet.tune(fn, GRID if space is None else space, scheduler=scheduler, **{**known, **options})


def by_x(study: whet.Study) -> dict[float, Trial]:
    return {(trial.config or {})["x"]: trial for trial in study.trials}


def steps(trial: Trial) -> list[float]:
    return [step for step, *_ in trial.curve]


# ---- the signatures
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("is_kept", [False, True], ids=["memory", "sqlite"])
def test_a_function_of_a_config_and_a_budget(executor: Any, is_kept: bool, tmp_path: Path) -> None:
    def objective(config: dict[str, Any], budget: int) -> float:
        for _ in range(budget):  # a whole number, or this raises
            pass
        return config["x"] + 1 / (10 * budget)

    kept = {"store": tmp_path / "a.db", "name": "a"} if is_kept else {}
    study = tune(objective, Climb(1, 3, 9), executor=executor, **kept)
    trials = by_x(study if not is_kept else whet.load("a", tmp_path / "a.db", scheduler=Climb(1, 3, 9)))
    for x in (0.1, 0.2):
        assert (trials[x].state, trials[x].attempt, trials[x].budget) == (State.COMPLETED, 3, 9)
        assert list(trials[x].curve) == [(budget, x + 1 / (10 * budget)) for budget in (1, 3, 9)]
        assert trials[x].values == {"value": x + 1 / 90}
    assert (trials[0.9].state, trials[0.9].attempt, trials[0.9].budget) == (State.STOPPED, 1, 1)
    assert list(trials[0.9].curve) == [(1, 1.0)]
    assert study.best_config == {"x": 0.1}
    assert study.best_value == 0.1 + 1 / 90


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_function_that_reports_is_told_to_stop_by_an_exception(executor: Any, tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        assert trial.budget == 9
        try:
            for epoch in range(1, 10):
                trial.report(config["x"] / epoch, epoch)
        except Exception:
            raise AssertionError("TrialStopped is none of these") from None
        except whet.TrialStopped:
            (tmp_path / f"stopped at {epoch}").touch()
            raise
        return config["x"]

    study = tune(train, StopAt(3, bar=0.25), executor=executor)
    trials = by_x(study)
    assert {x: (trial.state, steps(trial)[-1]) for x, trial in trials.items()} == {
        0.1: (State.COMPLETED, 9),
        0.2: (State.COMPLETED, 9),
        0.9: (State.STOPPED, 3),
    }
    assert steps(trials[0.9]) == [1, 2, 3]
    assert trials[0.9].values == {"value": pytest.approx(0.3)}  # it keeps what it reported
    assert [path.name for path in tmp_path.glob("stopped*")] == ["stopped at 3"]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    "fn",
    [
        lambda trial: [trial.report(trial.config["x"], epoch) for epoch in range(1, trial.budget + 1)] and None,
        lambda config, trial, budget: [trial.report(config["x"], epoch) for epoch in range(1, budget + 1)] and None,
        lambda config, trial: [trial.report({"value": config["x"]}) for _ in range(trial.budget)] and None,
    ],
    ids=["trial", "all", "counted"],
)
def test_other_signatures_and_steps_that_are_counted(fn: Callable[..., Any], executor: Any) -> None:
    study = tune(fn, Climb(1, 3, 9), executor=executor)
    assert {x: trial.state for x, trial in by_x(study).items()} == {
        0.1: State.COMPLETED,
        0.9: State.STOPPED,
        0.2: State.COMPLETED,
    }
    assert steps(by_x(study)[0.1]) == [*range(1, 2), *range(1, 4), *range(1, 10)]  # without checkpoints: from the start


# ---- checkpoints
def going_on(config: dict[str, Any], trial: Any, note: Path) -> None:
    saved = trial.load_checkpoint()
    done = int(saved.read_text()) if saved is not None else 0
    for epoch in range(done + 1, trial.budget + 1):
        with note.open("a") as file:
            file.write(f"{trial.number}:{epoch} ")
        state = trial.dir / "state"
        state.write_text(str(epoch))
        trial.save_checkpoint(state)  # before the report, which may be the last thing that is done
        trial.report(config["x"] + 1 / epoch / 10, epoch)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("is_kept", [False, True], ids=["memory", "sqlite"])
def test_a_promoted_trial_goes_on_from_its_checkpoint(executor: Any, is_kept: bool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    kept = {"store": tmp_path / "a.db", "name": "a"} if is_kept else {}
    study = tune(lambda config, trial: going_on(config, trial, note), Climb(1, 3, 9), executor=executor, **kept)
    for x in (0.1, 0.2):
        trial = by_x(study)[x]
        assert (trial.state, trial.attempt) == (State.COMPLETED, 3)
        assert steps(trial) == list(range(1, 10))
        assert note.read_text().count(f"{trial.number}:") == 9
    stopped = by_x(study)[0.9]
    assert (stopped.state, note.read_text().count(f"{stopped.number}:")) == (State.STOPPED, 1)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_promoted_attempt_that_fails_and_is_retried_keeps_what_was_before(executor: Any, tmp_path: Path) -> None:
    """The rung it was promoted from counts still; what the failed attempt reported does not."""

    def train(config: dict[str, Any], trial: Any) -> None:
        mark = tmp_path / str(trial.number)
        for epoch in range(1, trial.budget + 1):
            trial.report(config["x"] / epoch, epoch)
            if epoch == 2 and trial.budget == 9 and not mark.exists():
                mark.touch()
                raise ArithmeticError("once")

    study = tune(train, Climb(1, 9), {"x": [0.1]}, executor=executor, retries={"error": 1})
    (trial,) = study.trials
    assert (trial.state, trial.attempt, dict(trial.retries)) == (State.COMPLETED, 3, {"error": 1})
    assert steps(trial) == [1, *range(1, 10)]


def test_a_promoted_attempt_that_fails_for_good_is_failed(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], budget: int) -> float:
        if budget > 1:
            raise ArithmeticError("no further")
        return config["x"]

    study = tune(objective, Climb(1, 9), {"x": [0.1]}, executor="inline")
    (trial,) = study.trials
    assert (trial.state, trial.cause, steps(trial)) == (State.FAILED, Cause.ERROR, [1])


# ---- what functions do otherwise
@pytest.mark.parametrize("executor", EXECUTORS)
def test_reports_that_do_not_raise_say_what_was_decided(executor: Any) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        said = [trial.report(config["x"], epoch, raises=False) for epoch in (1, 2, 3, 4)]
        return {"value": config["x"], "n_stops": said.count("stop"), "n_on": said.count("continue")}

    study = tune(train, StopAt(3), executor=executor, objective={"value": "minimize"})
    told = {x: (t.state, t.values["n_on"], t.values["n_stops"]) for x, t in by_x(study).items()}
    assert told[0.9] == (State.STOPPED, 2, 2)  # it went on after its stop, and is stopped all the same
    assert told[0.1] == told[0.2] == (State.COMPLETED, 4, 0)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(3, 0.9), (1, 0.1), (9, 0.1)], (State.STOPPED, [3.0])),  # it is judged as it comes
        ([(1, 0.1), (1, 0.2), (1, 0.3), (9, 0.4)], (State.COMPLETED, [1, 1, 1, 9])),
        ([], (State.COMPLETED, [9])),  # what it returns is its value at its budget
        ([(5, 0.1)], (State.COMPLETED, [5, 9])),
        ([(20, 0.1)], (State.COMPLETED, [20])),  # beyond: that is its value at the budget
        ([(4, math.nan)], (State.STOPPED, [4])),  # by StopAt, for which it is not below the bar
        ([(0, 0.1), (-3, 0.1), (0.5, 0.1)], (State.COMPLETED, [0, -3, 0.5, 9])),
    ],
)
def test_reports_out_of_order_repeated_never_beyond_and_nan(executor: Any, rows: Any, expected: Any) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        for step, value in rows:
            trial.report(value, step)
        return rows[-1][1] if rows else 0.1

    (trial,) = tune(train, StopAt(3), {"x": [0.1]}, executor=executor).trials
    assert (trial.state, steps(trial)) == expected


@pytest.mark.parametrize("executor", EXECUTORS)
def test_who_neither_reports_nor_returns_has_no_metric(executor: Any) -> None:
    study = tune(lambda config, budget: None, Climb(1, 9), {"x": [0.1]}, executor=executor)
    assert [(trial.state, trial.cause) for trial in study.trials] == [(State.FAILED, Cause.NO_METRIC)]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_who_ends_before_its_budget_has_its_value_there(executor: Any) -> None:
    """As a training does that stops early by itself: its last value holds from there on."""

    def train(config: dict[str, Any], trial: Any) -> float:
        trial.report(0.4, 1)
        trial.report(0.3, 2)
        return 0.3

    (trial,) = tune(train, Climb(3, 9), {"x": [0.1]}, executor=executor).trials
    assert (trial.state, trial.attempt) == (State.COMPLETED, 2)
    assert list(trial.curve) == [(1, 0.4), (2, 0.3), (3, 0.3), (1, 0.4), (2, 0.3), (9, 0.3)]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_who_goes_on_beyond_its_budget_is_told_to_stop(executor: Any) -> None:
    def train(config: dict[str, Any], trial: Any) -> None:
        for epoch in range(1, 100):
            trial.report(config["x"], epoch, raises=epoch > 3)  # at its budget it does not listen

    (trial,) = tune(train, Climb(3, 9), {"x": [0.1]}, executor=executor).trials
    assert (trial.state, trial.attempt) == (State.COMPLETED, 2)
    # The report after its budget is answered with a stop. Nobody ends a trial that has everything but itself.
    assert steps(trial) == [1, 2, 3, 4, *range(1, 100)]


# ---- stops
def test_a_function_that_ignores_its_stop_is_ended_after_the_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.functions.GRACE_S", 0.3)

    def train(config: dict[str, Any], trial: Any) -> float:
        while config["x"] == 0.9:
            try:
                trial.report(0.9, 5, raises=False)
                time.sleep(0.02)
            except BaseException:
                pass
        return config["x"]

    study = tune(train, StopAt(3))
    assert {x: trial.state for x, trial in by_x(study).items()} == {
        0.1: State.COMPLETED,
        0.9: State.STOPPED,
        0.2: State.COMPLETED,
    }
    assert by_x(study)[0.9].values == {"value": 0.9}


def test_a_function_that_catches_everything_is_stopped_all_the_same(tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        value = config["x"]
        try:
            for epoch in range(1, 10):
                trial.report(value, epoch)
        except:  # noqa: E722
            (tmp_path / "caught").touch()
            value = 0.0  # better than all others, and not believed
        return value

    study = tune(train, StopAt(3))
    assert by_x(study)[0.9].state is State.STOPPED
    assert (tmp_path / "caught").exists()
    assert study.best_config == {"x": 0.1}


def test_a_stopped_trial_frees_its_slot_at_once(tmp_path: Path) -> None:
    """The first trial goes on until the others, which share the second slot, have been."""

    def train(config: dict[str, Any], trial: Any) -> float:
        (tmp_path / f"x{config['x']}").touch()
        if config["x"] == 0.1:
            deadline = time.monotonic() + 60
            while not (tmp_path / "x0.6").exists():
                assert time.monotonic() < deadline, "nobody else came"
                time.sleep(0.01)
            return 0.1
        for epoch in range(1, 10):
            trial.report(config["x"], epoch)
        raise AssertionError("this one is stopped")

    study = tune(train, StopAt(1), {"x": [0.1, 0.9, 0.8, 0.7, 0.6]}, workers=2)
    assert {x: trial.state for x, trial in by_x(study).items()} == {
        0.1: State.COMPLETED,
        **dict.fromkeys([0.9, 0.8, 0.7, 0.6], State.STOPPED),
    }


@pytest.mark.parametrize("executor", EXECUTORS)
def test_callbacks_hear_of_each_trial_once_when_it_has_ended(executor: Any) -> None:
    heard: list[tuple[float, State]] = []

    def told(study: whet.Study, trial: Trial) -> None:
        heard.append(((trial.config or {})["x"], trial.state))

    tune(lambda config, budget: config["x"], Climb(1, 3, 9), executor=executor, on_trial_end=told)
    assert sorted(heard) == [(0.1, State.COMPLETED), (0.2, State.COMPLETED), (0.9, State.STOPPED)]


# ---- ask and tell, as a user would write it
def test_ask_hands_a_promoted_trial_back_with_more() -> None:
    study = whet.Study({"x": [0.1]}, scheduler=Climb(1, 3, 9), fidelity={"epochs": (1, 9)})
    seen = []
    done: dict[int, int] = {}  # trial to epochs done, in the place of a checkpoint
    while True:
        try:
            trial = study.ask()
        except SearchExhausted:
            break
        seen.append((trial.number, done.get(trial.number, 0), trial.budget))
        for epoch in range(done.get(trial.number, 0) + 1, int(trial.budget or 0) + 1):
            decision = study.report(trial, trial.config["x"] / epoch, step=epoch)
            done[trial.number] = epoch
            if decision is not Decision.CONTINUE:
                break
        else:
            study.tell(trial, trial.config["x"] / 9)
    assert seen == [(0, 0, 1), (0, 1, 3), (0, 3, 9)]
    (trial,) = study.trials
    assert (trial.state, trial.attempt, steps(trial)) == (State.COMPLETED, 3, list(range(1, 10)))


def test_tell_without_reports_is_the_value_at_the_budget() -> None:
    study = whet.Study(GRID, sampler="grid", scheduler=Climb(1, 9), fidelity={"epochs": (1, 9)})
    told = []
    while True:
        try:
            trial = study.ask()
        except SearchExhausted:
            break
        told.append((trial.config["x"], trial.budget, study.tell(trial, trial.config["x"]).state))
    assert sorted(told) == [
        (0.1, 1, State.PAUSED),
        (0.1, 9, State.COMPLETED),
        (0.2, 1, State.PAUSED),
        (0.2, 9, State.COMPLETED),
        (0.9, 1, State.STOPPED),
    ]
    with pytest.raises(whet.errors.StaleAttempt):
        study.tell(trial, 0.0)


def test_a_failure_that_is_told_ends_a_promoted_trial() -> None:
    study = whet.Study({"x": [0.1]}, scheduler=Climb(1, 9), fidelity={"epochs": (1, 9)})
    study.tell(study.ask(), 0.1)
    study.fail(study.ask(), message="out of memory")
    (trial,) = study.trials
    assert (trial.state, trial.budget, steps(trial)) == (State.FAILED, 9, [1])
    with pytest.raises(SearchExhausted):
        study.ask()


# ---- telling of attempts that are over


def test_a_late_tell_does_not_speak_for_the_attempt_that_runs_now() -> None:
    study = whet.Study({"x": (0.0, 1.0)}, fidelity={"epochs": (1, 9)}, sampler="random", seed=1)
    first = study.ask()
    study.ledger.commit([Draft(Kind.REQUEUED, first.number, {"reason": "lost", "counts": False}, first.token)])
    second = study.ask()
    with pytest.warns(whet.errors.LateReportWarning):
        study.tell(first, 99.0)
    assert study.tell(second, 1.0).values["value"] == 1.0


def test_what_ended_below_the_highest_budget_cannot_be_told() -> None:
    study = whet.Study({"x": (0.0, 1.0)}, fidelity={"epochs": (1, 9)}, sampler="random", scheduler="hyperband", seed=1)
    trial = study.ask()
    assert study.report(trial, math.nan, step=1) == "stop"
    with pytest.raises(StaleAttempt):
        study.tell(trial, 1.0)


# ---- a scheduler that hears nothing
@pytest.mark.parametrize("scheduler", ["asha", "median", "patience(n=3)"])
def test_a_function_that_never_reports_is_noticed_once(scheduler: str, caplog: pytest.LogCaptureFixture) -> None:
    tune(lambda config: config["x"], scheduler, {"x": [0.1, 0.9, 0.2, 0.4, 0.5]}, executor="inline")
    (record,) = [record for record in caplog.records if "has reported its objective more than once" in record.message]
    assert record.name == "whet"
    assert record.message.startswith(f"{scheduler.partition('(')[0]} ends trials by what they report on the way")
    assert "call trial.report(loss, epoch) after each epoch" in record.message


@pytest.mark.parametrize("scheduler", ["hyperband", "asha(type=promotion)", None])
def test_nothing_is_missed_of_a_function_of_its_budget(scheduler: Any, caplog: pytest.LogCaptureFixture) -> None:
    space = {"x": [0.1, 0.9, 0.2, 0.4, 0.5]}
    tune(lambda config, budget: config["x"] + 1 / budget, scheduler, space, executor="inline")
    assert "more than once" not in caplog.text
