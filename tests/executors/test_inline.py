"""Functions on the executor without processes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from whet.core.problem import Objective, Problem
from whet.core.protocols import Ended, Launch, Reported
from whet.core.values import Take, Tally
from whet.errors import UsageError
from whet.executors.inline import Function, InlineExecutor, Report
from whet.space.space import Space
from whet.testing.executor_suite import launch_of


def end_of(fn: Function) -> Ended:
    executor = InlineExecutor(fn)
    executor.start(launch_of({"x": 2}))
    *_, end = executor.poll(0.0)
    assert isinstance(end, Ended)
    return end


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (None, {}),
        (3, {"value": 3.0}),
        (0.5, {"value": 0.5}),
        (True, {"value": 1.0}),
        ({"a": 1, "b": 2.5}, {"a": 1.0, "b": 2.5}),
    ],
)
def test_what_a_function_may_return(returned: Mapping[str, float] | float | None, metrics: dict[str, float]) -> None:
    end = end_of(lambda launch, report: returned)
    assert (end.cause, end.message, dict(end.metrics)) == (None, "", metrics)


@pytest.mark.parametrize("returned", ["0.5", [1, 2], {"a": "b"}, {"a": None}, 1j, object()])
def test_what_it_may_not(returned: object) -> None:
    end = end_of(lambda launch, report: returned)  # type: ignore[arg-type, return-value]
    assert end.cause == "error"
    assert "Error" in end.message


def test_reports_come_before_the_end_and_count_for_it() -> None:
    def fn(launch: Launch, report: Report) -> float:
        report(1, {"loss": launch.config["x"]})
        report(2.5, {"loss": 1, "acc": 0.5})
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
    assert executor.poll(10.0) == []


@pytest.mark.parametrize("take", ["last", "mean:1"])
def test_what_is_returned_of_a_metric_counts_as_reported_last(take: str) -> None:
    def fn(launch: Launch, report: Report) -> dict[str, float]:
        report(3, {"loss": 0.5, "acc": 0.1})
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
    def fn(launch: Launch, report: Report) -> None:
        report(1, {"loss": 0.5})
        raise error

    end = end_of(fn)
    assert (end.cause, end.exit_code, dict(end.metrics)) == ("error", None, {"loss": 0.5})
    assert type(error).__name__ in end.message
    assert "in fn" in end.message
    assert "\x1b" not in end.message
    end.message.encode()


def test_an_interrupt_is_the_callers() -> None:
    def fn(launch: Launch, report: Report) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InlineExecutor(fn).start(launch_of({}))


def test_no_slots_make_no_sense() -> None:
    with pytest.raises(UsageError, match="at least one slot, got 0"):
        InlineExecutor(lambda launch, report: None, slots=0)
