"""The run loop: what it asks, what it makes of the ends of attempts, and what ends it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from whet import run as run_module
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.protocols import Decision, Ended, Happening, Launch, Reported
from whet.core.trial import State, Trial
from whet.errors import ExecutorError, StoreFull
from whet.executors.inline import InlineExecutor
from whet.executors.live import LiveTrial
from whet.run import run
from whet.space.domain import Categorical, Float
from whet.space.space import Space
from whet.stopping import Limits
from whet.study import Study, load

GRID = Space({"a": Categorical([1, 2]), "b": Categorical([10, 20, 30])})
LINE = Space({"x": Float(0, 1)})
_LIMITS = {"n_trials": None, "timeout_s": None, "target": None, "max_failures": None}


class Noted:
    """An observer that remembers."""

    def __init__(self, when_ended: Callable[[Trial], None] = lambda trial: None) -> None:
        self.started_numbers: list[int] = []
        self.requeued_trials: list[Trial] = []
        self.ended_trials: list[Trial] = []
        self.notices: list[str] = []
        self._when_ended = when_ended

    def started(self, trial: Trial, history: History) -> None:
        self.started_numbers.append(trial.number)

    def requeued(self, trial: Trial, history: History) -> None:
        self.requeued_trials.append(trial)

    def ended(self, trial: Trial, history: History) -> None:
        self.ended_trials.append(trial)
        self._when_ended(trial)

    def tick(self, history: History) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)


class Ends:
    """An executor whose attempts end as *ending* says; those it answers ``None`` for run until they are stopped."""

    is_blocking = False

    def __init__(self, ending: Callable[[Launch], Ended | None], slots: int = 1) -> None:
        self.slots = slots
        self.stopped: list[tuple[int, str]] = []
        self._ending = ending
        self._running: dict[str, Launch] = {}
        self._over: list[Happening] = []

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        assert len(self._running) < self.slots
        ended = self._ending(launch)
        self._running[launch.token] = launch
        if ended is not None:
            self._over.append(ended)

    def decided(self, token: str, decision: Decision) -> None:
        if decision is not Decision.CONTINUE:
            self.stop(token, "terminate")

    def stop(self, token: str, how: str) -> None:
        launch = self._running.get(token)
        if launch is not None:
            self.stopped.append((launch.number, how))
            self._over.append(_ended(launch, cause="signal", exit_code=-15))

    def poll(self, timeout_s: float) -> list[Happening]:
        if not self._over:
            time.sleep(min(timeout_s, 0.01))
        over, self._over = self._over, []
        first = {happening.token: happening for happening in reversed(over)}
        for token in first:
            self._running.pop(token, None)
        return list(reversed(first.values()))

    def close(self) -> None: ...


def _ended(launch: Launch, cause: Any = None, exit_code: int | None = 0, message: str = "", **metrics: float) -> Ended:
    return Ended(launch.token, cause, exit_code, metrics, message, 0.01)


def _study(space: Space = GRID, *, limits: Mapping[str, Any] | None = None, rules: Any = None, **options: Any) -> Study:
    settings = {"limits": {**_LIMITS, **(limits or {})}, "rules": rules or {}}
    options = {"objective": "minimize", "sampler": "grid", "seed": 7, **options}
    return Study(space, options.pop("objective"), settings=settings, **options)


def _value(trial: LiveTrial) -> float:
    return float(sum(trial.config.values()))


# ---- what is asked
@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_a_grid_is_run_once_in_order(slots: int) -> None:
    study, noted = _study(), Noted()
    outcome = run(study, InlineExecutor(_value, slots=slots), noted)
    assert outcome.reason == "done"
    assert noted.started_numbers == list(range(6))
    assert [(t.config["a"], t.config["b"]) for t in study.trials] == [(a, b) for a in (1, 2) for b in (10, 20, 30)]
    assert {t.state for t in study.trials} == {State.COMPLETED}
    assert study.best.config == {"a": 1, "b": 10}
    assert all(trial.is_reserved and trial.owner is None for trial in study.ledger.history.unfinished.values())


def test_random_search_ends_at_its_count_and_its_sequence_is_the_seeds() -> None:
    def configs(seed: int, slots: int) -> list[Any]:
        study = _study(LINE, limits={"n_trials": 9}, sampler="random", seed=seed)
        assert run(study, InlineExecutor(_value, slots=slots), Noted()).reason == "done"
        return [trial.config for trial in study.trials]

    assert configs(3, 1) == configs(3, 4)
    assert configs(3, 1) != configs(4, 1)
    assert len(configs(3, 4)) == 9


def test_fewer_points_than_trials_end_the_run_and_leave_no_holes() -> None:
    study = _study(limits={"n_trials": 50}, sampler="random")
    assert run(study, InlineExecutor(_value, slots=4), Noted()).reason == "done"
    assert len(study.trials) == 6
    assert len({(t.config["a"], t.config["b"]) for t in study.trials}) == 6
    waiting = study.ledger.history.unfinished.values()
    assert all(trial.is_reserved and trial.owner is None for trial in waiting)


@pytest.mark.parametrize("slots", [1, 3])
def test_repeats_share_a_config_but_not_a_seed(slots: int) -> None:
    seeds: dict[int, list[int]] = {}

    def fn(launch: LiveTrial) -> float:
        seeds.setdefault(launch.config["b"] + launch.config["a"], []).append(launch.seed)
        return launch.config["b"] + launch.seed % 2

    study = _study(limits={"n_trials": 4}, repeats=3)
    run(study, InlineExecutor(fn, slots=slots), Noted())
    assert len(study.trials) == 12
    assert Counter(trial.group for trial in study.trials) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert len({tuple(sorted(group)) for group in seeds.values()}) == 1
    assert all(len(set(group)) == 3 for group in seeds.values())


def test_a_run_goes_on_where_the_one_before_has_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    study = _study(LINE, limits={"n_trials": 4}, sampler="random", store=path, name="s")
    run(study, InlineExecutor(_value), Noted())
    study.ledger.commit([Draft(Kind.AMENDED, None, {"settings": {"limits": {**_LIMITS, "n_trials": 7}}})])
    again = load("s", path)
    noted = Noted()
    assert run(again, InlineExecutor(_value), noted).reason == "done"
    assert noted.started_numbers == [4, 5, 6]
    whole = _study(LINE, limits={"n_trials": 7}, sampler="random")
    run(whole, InlineExecutor(_value), Noted())
    assert [t.config for t in again.trials] == [t.config for t in whole.trials]


# ---- what the end of an attempt means
@pytest.mark.parametrize(("cause", "allowed"), [("timeout", 2), ("memory", 0), ("exit_code", 1), ("signal", 3)])
def test_retries_are_counted_for_each_cause(cause: str, allowed: int) -> None:
    attempts: Counter[int] = Counter()

    def ending(launch: Launch) -> Ended:
        attempts[launch.number] += 1
        if launch.number == 1:
            return _ended(launch, cause=cause, exit_code=1, message="boom")
        return _ended(launch, value=1.0)

    study = _study(rules={"retries": {"timeout": 2, "memory": 0, "exit_code": 1, "signal": 3}})
    noted = Noted()
    assert run(study, Ends(ending), noted).reason == "done"
    failed = study.trials[1]
    assert (failed.state, failed.cause, failed.message) == (State.FAILED, cause, "boom")
    assert attempts[1] == failed.attempt == 1 + allowed
    assert len(noted.requeued_trials) == allowed
    assert sum(trial.state is State.COMPLETED for trial in study.trials) == 5


def test_a_retry_that_works_leaves_no_failure() -> None:
    def ending(launch: Launch) -> Ended:
        return _ended(launch, cause="timeout") if launch.attempt == 1 else _ended(launch, value=2.0)

    study = _study(rules={"retries": {"timeout": 1}})
    run(study, Ends(ending, slots=3), Noted())
    assert {(t.state, t.attempt, t.cause) for t in study.trials} == {(State.COMPLETED, 2, None)}


def test_a_lost_attempt_is_no_failure_of_the_trial_until_it_happens_again_and_again() -> None:
    def ending(launch: Launch) -> Ended:
        if launch.number == 0:
            return _ended(launch, cause="lost", exit_code=None)
        if launch.number == 1 and launch.attempt == 1:
            return _ended(launch, cause="lost", exit_code=None)
        return _ended(launch, value=1.0)

    study = _study()
    run(study, Ends(ending), Noted())
    first, second = study.trials[:2]
    assert (first.state, first.cause, first.attempt) == (State.FAILED, "signal", 3)
    assert (second.state, second.attempt, second.retries) == (State.COMPLETED, 2, {})


@pytest.mark.parametrize(
    ("metrics", "rules", "state", "cause"),
    [
        ({}, {}, State.FAILED, "no_metric"),
        ({"other": 1.0}, {}, State.FAILED, "no_metric"),
        ({"value": float("nan")}, {}, State.FAILED, "bad_value"),
        ({"value": float("inf")}, {}, State.FAILED, "bad_value"),
        ({"value": float("-inf")}, {"infinite": "worst"}, State.COMPLETED, None),
        ({"value": float("nan")}, {"infinite": "worst"}, State.COMPLETED, None),
    ],
)
def test_an_objective_that_is_missing_or_not_finite(metrics: Any, rules: Any, state: State, cause: Any) -> None:
    study = _study(limits={"max_failures": 100}, rules=rules)
    run(study, Ends(lambda launch: _ended(launch, **metrics)), Noted())
    assert {(trial.state, trial.cause) for trial in study.trials} == {(state, cause)}
    if state is State.COMPLETED:
        assert {trial.values["value"] for trial in study.trials} == {float("inf")}
    elif metrics:
        assert "other" in study.trials[0].message or "--inf worst" in study.trials[0].message


@pytest.mark.parametrize(("take", "value"), [("last", 3.0), ("best", 1.0), ("mean:2", 2.5)])
def test_reports_become_a_value_as_the_rules_say(take: str, value: float) -> None:
    def fn(launch: LiveTrial) -> None:
        for step, reported in enumerate([4.0, 1.0, 2.0, 3.0]):
            launch.report({"value": reported, "other": 9.0}, step)

    study = _study(rules={"take": take})
    run(study, InlineExecutor(fn), Noted())
    assert {trial.values["value"] for trial in study.trials} == {value}
    assert study.trials[0].values["other"] == 9.0
    assert [row[1] for row in study.trials[0].curve] == [4.0, 1.0, 2.0, 3.0]


# ---- what ends a run
def test_three_failures_at_the_start_end_the_run() -> None:
    study = _study()
    outcome = run(study, Ends(lambda launch: _ended(launch, cause="exit_code", exit_code=1)), Noted())
    assert outcome.reason == "failures"
    assert study.ledger.history.counts()[State.FAILED] == 3


def test_failures_after_a_success_do_not() -> None:
    def ending(launch: Launch) -> Ended:
        return _ended(launch, value=1.0) if launch.number == 2 else _ended(launch, cause="exit_code", exit_code=1)

    study = _study()
    assert run(study, Ends(ending), Noted()).reason == "done"
    assert study.ledger.history.counts()[State.FAILED] == 5


def test_max_failures() -> None:
    def ending(launch: Launch) -> Ended:
        return _ended(launch, value=1.0) if launch.number == 0 else _ended(launch, cause="exit_code", exit_code=1)

    study = _study(limits={"max_failures": 2})
    assert run(study, Ends(ending), Noted()).reason == "failures"
    assert study.ledger.history.counts()[State.FAILED] == 2


def test_a_target_ends_the_run_and_what_runs_waits_to_be_resumed() -> None:
    def ending(launch: Launch) -> Ended | None:
        return _ended(launch, value=float(launch.config["b"])) if launch.number != 1 else None

    study = _study(limits={"target": 10.0})
    executor = Ends(ending, slots=2)
    assert run(study, executor, Noted()).reason == "target"
    counts = study.ledger.history.counts()
    assert counts[State.COMPLETED] == 1
    assert counts[State.RUNNING] == 0
    assert executor.stopped == [(1, "terminate")]
    assert study.ledger.history.unfinished[1].state is State.WAITING


def test_a_timeout_ends_the_run() -> None:
    study = _study(limits={"timeout_s": 0.2})
    executor = Ends(lambda launch: None, slots=2)
    assert run(study, executor, Noted()).reason == "timeout"
    assert executor.stopped == [(0, "terminate"), (1, "terminate")]
    assert study.ledger.history.counts()[State.WAITING] == 2


def test_an_executor_that_breaks_ends_the_run_and_loses_nothing() -> None:
    class Broken(Ends):
        def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
            if launch.number == 2:
                raise ExecutorError("no processes left")
            super().start(launch, attend)

    study = _study()
    outcome = run(study, Broken(lambda launch: _ended(launch, value=1.0)), Noted())
    assert (outcome.reason, outcome.message) == ("broken", "no processes left")
    assert study.ledger.history.unfinished[2].state is State.WAITING
    assert run(study, InlineExecutor(_value), Noted()).reason == "done"
    assert study.ledger.history.counts()[State.COMPLETED] == 6


# ---- what others ask for while it runs
def _say(path: str, command: Mapping[str, Any]) -> None:
    study = load("s", path)
    study.ledger.commit([Draft(Kind.COMMAND, None, command)])
    study.ledger.store.close()


def _outcomes(study: Study) -> list[str]:
    events = study.ledger.store.events(study.ledger.study)
    return [event.payload["outcome"] for event in events if "outcome" in event.payload]


def test_stop_from_another_process(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    study = _study(store=path, name="s")
    executor = Ends(lambda launch: None)
    threading.Timer(0.3, _say, (path, {"command": "stop"})).start()
    assert run(study, executor, Noted()).reason == "stopped"
    assert executor.stopped == [(0, "terminate")]
    assert study.ledger.history.counts()[State.WAITING] == 1
    assert _outcomes(study) == ["done"]


def test_one_trial_is_cancelled_from_another_process(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    study = _study(store=path, name="s")
    executor = Ends(lambda launch: None if launch.number == 0 else _ended(launch, value=1.0), slots=2)
    threading.Timer(0.3, _say, (path, {"command": "cancel", "trial": 0})).start()
    assert run(study, executor, Noted()).reason == "done"
    assert study.trials[0].state is State.CANCELLED
    assert study.ledger.history.counts()[State.COMPLETED] == 5


def test_more_trials_from_another_process(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    study = _study(LINE, limits={"n_trials": 2}, sampler="random", store=path, name="s")

    def add(trial: Trial) -> None:
        if trial.number == 0:
            _say(path, {"command": "amend", "settings": {"limits": {**_LIMITS, "n_trials": 5}}})

    def fn(launch: LiveTrial) -> float:
        time.sleep(0.6 if launch.number == 1 else 0)
        return 1.0

    assert run(study, InlineExecutor(fn), Noted(add)).reason == "done"
    assert len(study.trials) == 5
    assert Limits(**study.ledger.history.settings["limits"]).n_trials == 5


def test_a_stop_that_nobody_heard_does_not_end_the_next_run(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    study = _study(store=path, name="s")
    _say(path, {"command": "stop"})
    assert run(load("s", path), InlineExecutor(_value), Noted()).reason == "done"
    study.ledger.catch_up()
    assert study.ledger.history.counts()[State.COMPLETED] == 6
    assert _outcomes(study) == ["nobody was running the study"]


# ---- what is left over from others
def test_what_a_process_that_is_gone_ran_runs_again(tmp_path: Path) -> None:
    study = _study(store=str(tmp_path / "x.db"))
    appended = study.ledger.commit([], reserve=2)
    number, reserved = appended.numbers
    other = {"token": "t", "owner": "some-other-host:1:abc"}
    drafts = [
        Draft(Kind.ASKED, number, {"config": {"a": 1, "b": 10}, "why": {}, "group": 0, "replicate": 0}),
        Draft(Kind.STARTED, number, other),
    ]
    study.ledger.commit(drafts)
    del reserved
    noted = Noted()
    outcome = run(study, InlineExecutor(_value), noted, is_only_runner=True)
    assert outcome.reason == "done"
    assert Counter(noted.started_numbers) == Counter(range(6))
    assert study.trials[0].attempt == 2
    assert study.trials[0].config == {"a": 1, "b": 10}


def test_what_a_process_elsewhere_may_still_run_is_left_to_it(tmp_path: Path) -> None:
    study = _study(store=str(tmp_path / "x.db"))
    (number,) = study.ledger.commit([], reserve=1).numbers
    drafts = [
        Draft(Kind.ASKED, number, {"config": {"a": 1, "b": 10}, "why": {}, "group": 0, "replicate": 0}),
        Draft(Kind.STARTED, number, {"token": "t", "owner": "some-other-host:1:abc"}),
    ]
    study.ledger.commit(drafts)
    noted = Noted()
    run(study, InlineExecutor(_value), noted)
    assert noted.started_numbers == [1, 2, 3, 4, 5]
    assert study.ledger.history.unfinished[0].token == "t"


# ---- a store in trouble
def test_a_store_that_is_full_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    study, noted = _study(), Noted()
    commit, n_refused = study.ledger.commit, [0]

    def full_for_a_while(*args: Any, **options: Any) -> Any:
        if len(noted.ended_trials) == 2 and n_refused[0] < 2:
            n_refused[0] += 1
            raise StoreFull("no space left")
        return commit(*args, **options)

    monkeypatch.setattr(study.ledger, "commit", full_for_a_while)
    assert run(study, InlineExecutor(_value), noted).reason == "done"
    assert study.ledger.history.counts()[State.COMPLETED] == 6
    assert len([notice for notice in noted.notices if "no space left" in notice]) == 1


def test_a_store_that_stays_full_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study()
    monkeypatch.setattr(run_module, "_STORE_PATIENCE_S", 0.3)

    def full(*args: Any, **options: Any) -> Any:
        raise StoreFull("no space left")

    monkeypatch.setattr(study.ledger, "commit", full)
    with pytest.raises(StoreFull, match="no space left"):
        run(study, InlineExecutor(_value), Noted())


def test_reports_are_told_in_order_and_thinned_beyond_a_thousand() -> None:
    class Chatty(Ends):
        def poll(self, timeout_s: float) -> list[Happening]:
            over = super().poll(timeout_s)
            rows = [(float(step), {"value": float(-step)}) for step in range(5000)]
            return [
                happening
                for ended in over
                for happening in (Reported(ended.token, rows[:2500]), Reported(ended.token, rows[2500:]), ended)
            ]

    study = _study(limits={"n_trials": 1})
    run(study, Chatty(lambda launch: _ended(launch, value=-4999.0)), Noted())
    trial = study.trials[0]
    steps = [row[0] for row in trial.curve]
    assert trial.values["value"] == -4999.0
    assert steps == sorted(steps)
    assert steps[:1000] == [float(step) for step in range(1000)]
    assert len(steps) < 3000
