"""Functions on the executor without processes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whet.core.problem import Objective, Problem
from whet.core.protocols import Decision, Ended, Reported
from whet.core.values import Take, Tally
from whet.errors import TrialStopped, UsageError
from whet.executors.calling import bind
from whet.executors.inline import InlineExecutor
from whet.executors.live import LiveTrial
from whet.interrupts import Interrupts
from whet.space.space import Space
from whet.testing.executor_suite import launch_of

Fn = Callable[[LiveTrial], object]


def end_of(fn: Fn, config: dict[str, Any] | None = None, **options: Any) -> Ended:
    executor = InlineExecutor(fn, **options)
    executor.start(launch_of(config or {"x": 2}))
    *_, end = executor.poll(0.0)
    assert isinstance(end, Ended)
    return end


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [(None, {}), (0.5, {"value": 0.5}), (True, {"value": 1.0}), ({"a": 1, "b": 2.5}, {"a": 1.0, "b": 2.5})],
)
def test_what_a_function_may_return(returned: object, metrics: dict[str, float]) -> None:
    end = end_of(bind(lambda config: returned, has_fidelity=False))
    assert (end.cause, end.message, dict(end.metrics)) == (None, "", metrics)


@pytest.mark.parametrize("returned", ["0.5", [1, 2], {"a": "b"}, {"a": None}, 1j, object()])
def test_what_it_may_not(returned: object) -> None:
    end = end_of(lambda trial: returned)
    assert end.cause == "bad_value"
    assert "expected a number" in end.message


def test_reports_come_before_the_end_and_count_for_it() -> None:
    def fn(trial: LiveTrial) -> float:
        trial.report({"loss": trial.config["x"]}, 1)
        trial.report({"loss": 1, "acc": 0.5}, 2.5)
        return 7.0

    executor = InlineExecutor(fn, slots=2)
    launch = launch_of({"x": 3})
    executor.start(launch)
    *reports, end = executor.poll(10.0)
    assert [report.rows for report in reports if isinstance(report, Reported)] == [
        [(1.0, {"loss": 3.0})],
        [(2.5, {"loss": 1.0, "acc": 0.5})],
    ]
    assert isinstance(end, Ended)
    assert dict(end.metrics) == {"loss": 1.0, "acc": 0.5, "value": 7.0}
    assert executor.poll(0.05) == []  # it waits that long for nothing


@pytest.mark.parametrize("take", ["last", "mean:1"])
def test_what_is_returned_of_a_metric_counts_as_reported_last(take: str) -> None:
    def fn(trial: LiveTrial) -> dict[str, float]:
        trial.report({"loss": 0.5, "acc": 0.1}, 3)
        return {"loss": 0.2, "acc": 0.1, "size": 7}

    executor = InlineExecutor(fn)
    executor.start(launch_of({}))
    *reports, end = executor.poll(0.0)
    tally = Tally(Problem(Space({"x": [1]}), (Objective("loss", "minimize"),)), Take.parse(take))
    for report in reports:
        assert isinstance(report, Reported)
        for step, metrics in report.rows:
            assert step == 3
            tally.add(step, metrics)
    assert isinstance(end, Ended)
    assert tally.values(end.metrics) == dict(end.metrics) == {"loss": 0.2, "acc": 0.1, "size": 7.0}
    assert len(reports) == 2  # what is as it was is not reported again


@pytest.mark.parametrize("error", [ValueError("no \x1b[31mred"), SystemExit(3), RecursionError("too \udcff deep")])
def test_an_exception_fails_the_attempt_with_its_traceback(error: BaseException) -> None:
    def fn(trial: LiveTrial) -> None:
        trial.report({"loss": 0.5}, 1)
        raise error

    end = end_of(fn)
    assert (end.cause, end.exit_code, dict(end.metrics)) == ("error", None, {"loss": 0.5})
    assert type(error).__name__ in end.message
    assert "in fn" in end.message
    assert "\x1b" not in end.message
    end.message.encode()


def test_a_stop_comes_with_the_next_report() -> None:
    def fn(trial: LiveTrial) -> None:
        trial.report(1.0)
        executor.stop(token, "terminate")
        trial.report(2.0)

    executor = InlineExecutor(fn)
    launch = launch_of({})
    token = launch.token
    executor.start(launch)
    *_, end = executor.poll(0.0)
    assert isinstance(end, Ended)
    assert (end.cause, dict(end.metrics)) == ("stopped", {"value": 2.0})


def test_a_stop_of_its_own() -> None:
    def fn(trial: LiveTrial) -> None:
        raise TrialStopped

    assert end_of(fn).cause == "stopped"


def test_a_caller_is_let_in_now_and_then() -> None:
    n_attended = 0

    def attend() -> None:
        nonlocal n_attended
        n_attended += 1

    def fn(trial: LiveTrial) -> None:
        for _ in range(1000):
            trial.report(1.0)
        time.sleep(0.15)
        trial.report(1.0)

    executor = InlineExecutor(fn)
    executor.start(launch_of({}), attend)
    assert 1 <= n_attended < 10


def test_reports_of_another_thread_do_not_enter_the_caller() -> None:
    threads: set[int] = set()

    def fn(trial: LiveTrial) -> None:
        thread = threading.Thread(target=trial.report, args=(1.0,))
        thread.start()
        thread.join()

    executor = InlineExecutor(fn)
    executor.start(launch_of({}, waits=True), lambda: threads.add(threading.get_ident()))
    assert threads == set()
    assert isinstance(executor.poll(0.0)[0], Reported)


def test_ctrl_c_ends_the_function_and_is_noted_by_the_run() -> None:
    def fn(trial: LiveTrial) -> None:
        trial.report(0.5)
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)

    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        during = signal.getsignal(signal.SIGINT)
        end = end_of(fn)
        assert signal.getsignal(signal.SIGINT) == during
        assert interrupts.take() == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before
    assert (end.cause, dict(end.metrics)) == ("interrupted", {"value": 0.5})


def test_ctrl_c_while_the_caller_is_let_in_is_the_callers() -> None:
    def attend() -> None:
        signal.raise_signal(signal.SIGINT)
        executor.poll(0.0)
        executor.decided(launch.token, Decision.CONTINUE)

    with Interrupts() as interrupts:
        executor = InlineExecutor(lambda trial: trial.report(0.5) and 1.0)
        launch = launch_of({}, waits=True)
        executor.start(launch, attend)
        assert interrupts.take() == [signal.SIGINT]
    end = executor.poll(0.0)[-1]
    assert isinstance(end, Ended)
    assert end.cause is None


def test_functions_have_folders(tmp_path: Path) -> None:
    def fn(trial: LiveTrial) -> None:
        (trial.dir / "x").touch()

    assert end_of(fn, folder=tmp_path).cause is None
    assert (tmp_path / "0" / "x").exists()
    assert "no folder" in end_of(fn).message


def test_no_slots_make_no_sense() -> None:
    with pytest.raises(UsageError, match="at least one slot, got 0"):
        InlineExecutor(lambda trial: None, slots=0)


def test_a_thread_that_outlives_its_trial_is_told_to_stop() -> None:
    go, said = threading.Event(), list[object]()

    def fn(trial: LiveTrial) -> float:
        def later() -> None:
            go.wait()
            try:
                trial.report(2.0, 1)
            except BaseException as error:
                said.append(type(error))

        threads.append(threading.Thread(target=later))
        threads[0].start()
        return 1.0

    threads: list[threading.Thread] = []
    executor = InlineExecutor(fn)
    executor.start(launch_of({"x": 1}))
    go.set()
    threads[0].join()
    assert said == [TrialStopped]
    assert [type(happening) for happening in executor.poll(0.0)] == [Ended]


def test_a_caller_with_nothing_to_do_does_not_spin() -> None:
    executor = InlineExecutor(lambda trial: 1.0)
    before = time.monotonic()
    assert executor.poll(0.05) == []
    assert time.monotonic() - before >= 0.05  # it waits, however slow the machine is
