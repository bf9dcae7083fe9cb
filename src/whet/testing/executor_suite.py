"""What every `whet.core.protocols.Executor` must keep, as a test class to inherit from.

::

    class TestMyExecutor(ExecutorContract, ConcurrencyContract):
        @pytest.fixture
        def make_executor(self, tmp_path):
            return lambda slots: MyExecutor(bind(behave_as_function, has_fidelity=False), slots=slots)

The executor runs `whet.testing.behaviours.behave` for the config of each launch: as the function
``behave_as_function``, or as the program ``python -m whet.testing.behaviours JSON``. An executor that streams chosen
metrics only streams ``loss`` and ``acc``.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

from whet.core.protocols import Decision, Ended, Executor, Happening, Launch, Reported
from whet.errors import ExecutorError

MakeExecutor = Callable[[int], Executor]
_PATIENCE_S = 60.0


def launch_of(config: dict[str, Any], number: int = 0, attempt: int = 1, **more: Any) -> Launch:
    """Return a launch with a token of its own; *more* are further fields of it."""
    return Launch("suite", number, attempt, uuid.uuid4().hex, config, **{"seed": 0, **more})


def poll_until(executor: Executor, is_enough: Callable[[Sequence[Happening]], bool]) -> list[Happening]:
    """Poll until what has happened is enough, for a minute at most; return all of it."""
    happened: list[Happening] = []
    deadline = time.monotonic() + _PATIENCE_S
    while not is_enough(happened):
        assert time.monotonic() < deadline, f"not enough has happened within {_PATIENCE_S} s: {happened}"
        happened += executor.poll(0.5)
    return happened


def ends_of(executor: Executor, n: int = 1) -> list[Ended]:
    """Poll until *n* attempts have ended; return their ends in order."""
    happened = poll_until(executor, lambda happened: sum(isinstance(h, Ended) for h in happened) >= n)
    return [h for h in happened if isinstance(h, Ended)]


class ExecutorContract:
    """Inherit, and define the fixture ``make_executor``: from a number of slots to an executor."""

    def test_an_attempt_reports_in_order_and_then_ends_once(self, make_executor: MakeExecutor) -> None:
        """Rows come in order and before the one end, which holds the last value of every metric."""
        rows = [(1, {"loss": 0.5}), (2, {"loss": 0.4, "acc": 0.8}), (3, {"loss": 0.3})]
        launch = launch_of({"rows": rows, "metrics": {"other": 7.0}})
        with closing(make_executor(1)) as executor:
            executor.start(launch)
            happened = poll_until(executor, lambda happened: any(isinstance(h, Ended) for h in happened))
            happened += executor.poll(0.1)
        assert {h.token for h in happened} == {launch.token}
        *reports, end = happened
        assert isinstance(end, Ended)
        assert all(isinstance(h, Reported) for h in reports)
        assert [row for h in reports if isinstance(h, Reported) for row in h.rows] == rows
        assert end.cause is None
        assert end.exit_code in (0, None)
        assert dict(end.metrics) == {"loss": 0.3, "acc": 0.8, "other": 7.0}
        assert end.duration_s >= 0

    def test_values_that_are_not_finite_arrive(self, make_executor: MakeExecutor) -> None:
        """NaN and infinities are values like others: the study decides what they mean."""
        with closing(make_executor(1)) as executor:
            executor.start(launch_of({"rows": [(1, {"loss": math.nan, "acc": -math.inf})]}))
            (end,) = ends_of(executor)
        assert math.isnan(end.metrics["loss"])
        assert end.metrics["acc"] == -math.inf

    def test_a_failure_says_what_went_wrong(self, make_executor: MakeExecutor) -> None:
        """The message holds the last lines of output or the traceback, and nothing that moves a cursor."""
        with closing(make_executor(1)) as executor:
            executor.start(launch_of({"rows": [(1, {"loss": 0.5})], "fail": "no \x1b[31mgood\x07"}))
            (end,) = ends_of(executor)
        assert end.cause in ("error", "exit_code")
        assert "RuntimeError: no good" in end.message
        assert "\x1b" not in end.message
        assert dict(end.metrics) == {"loss": 0.5}

    def test_slots_are_used_again(self, make_executor: MakeExecutor) -> None:
        """A slot is free once its attempt's end has been polled, and not before, whether it ended well or not."""
        with closing(make_executor(2)) as executor:
            assert executor.slots == 2
            ended: list[str] = []
            started: list[str] = []
            while len(ended) < 10:
                while len(started) < 10 and len(started) - len(ended) < 2:
                    launch = launch_of({"fail": "odd"} if len(started) % 2 else {}, number=len(started))
                    executor.start(launch)
                    started.append(launch.token)
                ended += [end.token for end in ends_of(executor)]
        assert sorted(ended) == sorted(started)

    def test_a_taken_slot_is_refused(self, make_executor: MakeExecutor) -> None:
        """More attempts than slots are an error of the caller, not a queue."""
        with closing(make_executor(1)) as executor:
            executor.start(launch_of({}))
            with pytest.raises(ExecutorError, match="slot"):
                executor.start(launch_of({}))

    def test_nothing_happens_by_itself(self, make_executor: MakeExecutor) -> None:
        """An empty poll is an empty list, and unknown tokens are ignored."""
        with closing(make_executor(1)) as executor:
            assert executor.poll(0.0) == []
            executor.stop("unknown", "kill")
            assert executor.poll(0.05) == []

    def test_closing_is_final_and_may_be_repeated(self, make_executor: MakeExecutor) -> None:
        """A closed executor starts nothing."""
        executor = make_executor(2)
        executor.close()
        executor.close()
        with pytest.raises(ExecutorError, match="closed"):
            executor.start(launch_of({}))


class ConcurrencyContract:
    """Inherit as well where attempts run beside the caller, several at a time."""

    @pytest.mark.parametrize("how", ["interrupt", "terminate", "kill"])
    def test_a_stopped_attempt_ends(
        self, make_executor: MakeExecutor, tmp_path: Path, how: Literal["interrupt", "terminate", "kill"]
    ) -> None:
        """Once its end is told, no process of it is left; what it reported before is not lost."""
        launch, pid_file = _endless(tmp_path)
        with closing(make_executor(1)) as executor:
            executor.start(launch)
            poll_until(executor, lambda happened: any(isinstance(h, Reported) for h in happened))
            executor.stop(launch.token, how)
            (end,) = ends_of(executor)
            assert not is_alive(int(pid_file.read_text()))
            assert end.token == launch.token
            assert dict(end.metrics) == {"loss": 0.5}
            executor.start(launch_of({}))
            assert ends_of(executor)[0].cause is None

    def test_closing_ends_what_runs(self, make_executor: MakeExecutor, tmp_path: Path) -> None:
        """Nothing outlives the executor."""
        launch, pid_file = _endless(tmp_path)
        with closing(make_executor(2)) as executor:
            executor.start(launch)
            poll_until(executor, lambda happened: any(isinstance(h, Reported) for h in happened))
        assert not is_alive(int(pid_file.read_text()))

    def test_as_many_attempts_as_slots_run_at_a_time(self, make_executor: MakeExecutor, tmp_path: Path) -> None:
        """Attempts that wait for each other end."""
        with closing(make_executor(3)) as executor:
            for number in range(3):
                executor.start(launch_of({"meet": [str(tmp_path), 3]}, number))
            assert [end.cause for end in ends_of(executor, 3)] == [None, None, None]


class DecisionContract:
    """Inherit as well where attempts are functions, which can wait for what is decided on their reports."""

    ROWS = ((1.0, {"loss": 0.5}), (2.0, {"loss": 0.4}), (3.0, {"loss": 0.3}))

    def test_a_waiting_attempt_hears_what_is_decided_on_each_report(self, make_executor: MakeExecutor) -> None:
        """One report is there at a time; the next one comes once the one before was decided on."""
        with closing(make_executor(1)) as executor:
            happened = driven(executor, {"rows": self.ROWS}, lambda report: Decision.CONTINUE)
        *reports, end = happened
        assert [h.rows for h in reports if isinstance(h, Reported)] == [[row] for row in self.ROWS]
        assert isinstance(end, Ended)
        assert (end.cause, dict(end.metrics)) == (None, {"loss": 0.3})

    @pytest.mark.parametrize("decision", [Decision.STOP, Decision.PAUSE])
    def test_one_that_is_not_to_go_on_ends(self, make_executor: MakeExecutor, decision: Decision) -> None:
        """The report raises `TrialStopped`; what was reported counts."""
        with closing(make_executor(1)) as executor:
            happened = driven(
                executor,
                {"rows": self.ROWS, "sleep_s": 60.0},
                lambda report: decision if report.rows[-1][0] >= 2 else Decision.CONTINUE,
            )
        end = happened[-1]
        assert isinstance(end, Ended)
        assert (end.cause, end.message, dict(end.metrics)) == ("stopped", "", {"loss": 0.4})
        assert sum(isinstance(h, Reported) for h in happened) == 2

    def test_one_that_does_not_listen_is_told_the_same_again(self, make_executor: MakeExecutor) -> None:
        """After a stop, reports do not wait any more, whatever is said about them."""
        decisions = iter([Decision.STOP])
        with closing(make_executor(1)) as executor:
            config = {"rows": self.ROWS, "deaf": True, "metrics": {"n": 1.0}}
            happened = driven(executor, config, lambda report: next(decisions, Decision.CONTINUE))
        end = happened[-1]
        assert isinstance(end, Ended)
        assert (end.cause, dict(end.metrics)) == (None, {"loss": 0.3, "n": 1.0})

    def test_one_that_does_not_wait_is_not_held_up(self, make_executor: MakeExecutor) -> None:
        """Nobody needs to decide."""
        with closing(make_executor(1)) as executor:
            executor.start(launch_of({"rows": self.ROWS}))
            (end,) = ends_of(executor)
            executor.decided("unknown", Decision.STOP)
            executor.decided(end.token, Decision.STOP)
        assert (end.cause, dict(end.metrics)) == (None, {"loss": 0.3})


def driven(executor: Executor, config: dict[str, Any], decide: Callable[[Reported], Decision]) -> list[Happening]:
    """Run an attempt whose reports wait for what *decide* says; return all that has happened."""
    happened: list[Happening] = []

    def attend() -> None:
        for happening in executor.poll(0.1):
            happened.append(happening)
            if isinstance(happening, Reported):
                executor.decided(happening.token, decide(happening))

    executor.start(launch_of(config, waits=True), attend)
    deadline = time.monotonic() + _PATIENCE_S
    while not any(isinstance(h, Ended) for h in happened):
        assert time.monotonic() < deadline, f"the attempt has not ended within {_PATIENCE_S} s: {happened}"
        attend()
    return happened


def _endless(tmp_path: Path) -> tuple[Launch, Path]:
    """Return an attempt that reports and then hangs, and the file that holds its process id."""
    pid_file = tmp_path / "pid"
    return launch_of({"pid_file": str(pid_file), "rows": [(1, {"loss": 0.5})], "sleep_s": 600.0}), pid_file


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine still runs; one that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    return status.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
