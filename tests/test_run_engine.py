"""The run loop beside others: who else asks, tells, cancels, amends, interrupts or breaks meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.protocols import Decision, Ended, Happening, Launch, Reported
from whet.core.trial import State, Trial
from whet.errors import ExecutorError, LateReportWarning, SpaceError
from whet.executors.inline import InlineExecutor
from whet.run import Outcome, run
from whet.samplers import Grid, Random
from whet.space.domain import Categorical
from whet.space.space import Space
from whet.study import Study, load

GRID = {"n": list(range(8))}
_LIMITS = {"n_trials": None, "timeout_s": None, "target": None, "max_failures": None}


class Noted:
    """An observer that remembers what it is told."""

    def __init__(self) -> None:
        self.started_numbers: list[int] = []
        self.ended_numbers: list[int] = []
        self.notices: list[str] = []
        self.n_ticks = 0

    def started(self, trial: Trial, history: History) -> None:
        self.started_numbers.append(trial.number)

    def requeued(self, trial: Trial, history: History) -> None: ...
    def paused(self, trial: Trial, history: History) -> None: ...

    def ended(self, trial: Trial, history: History) -> None:
        self.ended_numbers.append(trial.number)

    def tick(self, history: History) -> None:
        self.n_ticks += 1

    def notice(self, text: str) -> None:
        self.notices.append(text)


class Scripted:
    """An executor whose attempts end as *ending* says; those it answers ``None`` run until they are stopped.

    A stopped one takes two more polls to end. *before_poll* is called before each poll, with its number.
    """

    is_blocking = False

    def __init__(
        self,
        ending: Callable[[Launch], Ended | None],
        slots: int = 1,
        before_poll: Callable[[int], None] = lambda n: None,
    ) -> None:
        self.slots = slots
        self.launches: list[Launch] = []
        self.stopped: list[tuple[int, str]] = []
        self.running: dict[str, Launch] = {}
        self._ending, self._before_poll = ending, before_poll
        self._over: list[tuple[int, Happening]] = []
        self._n_polls = 0

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        if len(self.running) >= self.slots:
            raise ExecutorError("all slots are taken")
        self.launches.append(launch)
        self.running[launch.token] = launch
        ended = self._ending(launch)
        if ended is not None:
            self._over.append((self._n_polls, ended))

    def decided(self, token: str, decision: Decision) -> None:
        if decision is not Decision.CONTINUE:
            self.stop(token, "terminate")

    def stop(self, token: str, how: str) -> None:
        launch = self.running.get(token)
        if launch is not None:
            self.stopped.append((launch.number, how))
            self._over.append((self._n_polls + 2, ended(launch, cause="signal", exit_code=-15)))

    def poll(self, timeout_s: float) -> list[Happening]:
        self._n_polls += 1
        assert self._n_polls < 2_000, "the run never ends"
        self._before_poll(self._n_polls)
        due = [happening for at, happening in self._over if at < self._n_polls]
        self._over = [(at, happening) for at, happening in self._over if at >= self._n_polls]
        if not due:
            time.sleep(min(timeout_s, 0.01))
        return [happening for happening in due if self.running.pop(happening.token, None) is not None]

    def close(self) -> None: ...


def ended(launch: Launch, cause: Any = None, exit_code: int | None = 0, **metrics: float) -> Ended:
    return Ended(launch.token, cause, exit_code, metrics or {"value": 1.0}, "", 0.01)


def make(space: Any = None, *, limits: Any = None, rules: Any = None, **options: Any) -> Study:
    settings = {"limits": {**_LIMITS, **(limits or {})}, "rules": rules or {}}
    options = {"sampler": "grid", "seed": 7, "name": "s", **options}
    return Study(GRID if space is None else space, settings=settings, **options)


def beside(study: Study) -> Study:
    """Return the same study as another process sees it."""
    return load(study.name, study.ledger.store)


def command(study: Study, **payload: Any) -> None:
    beside(study).ledger.commit([Draft(Kind.COMMAND, None, payload)])


def outcomes(study: Study) -> list[str]:
    return [event.payload["outcome"] for event in events(study) if "outcome" in event.payload]


def events(study: Study) -> list[Any]:
    return study.ledger.store.events(study.ledger.study)


def requeue(study: Study, trial: Trial) -> None:
    study.ledger.commit([Draft(Kind.REQUEUED, trial.number, {"reason": "", "counts": False}, trial.token)])


def states(study: Study) -> dict[int, State]:
    return {trial.number: trial.state for trial in study.trials}


# ---- others who ask and tell
@pytest.mark.parametrize("does_it_report", [False, True])
def test_a_trial_that_another_process_has_told_is_its_and_the_attempt_here_ends(does_it_report: bool) -> None:
    study, noted = make(limits={"n_trials": 3}), Noted()

    def tell(n: int) -> None:
        if n == 4:
            beside(study).tell(0, 9.0)

    class Reporting(Scripted):
        def poll(self, timeout_s: float) -> list[Happening]:
            happened = super().poll(timeout_s)
            rows = [(float(self._n_polls), {"value": 5.0})]
            return [*(Reported(token, rows) for token in self.running if does_it_report), *happened]

    executor = Reporting(lambda launch: None if launch.number == 0 else ended(launch), 1, tell)
    assert run(study, executor, noted) == Outcome("done")
    assert executor.stopped == [(0, "kill")]
    assert study.trials[0].values == {"value": 9.0}
    assert states(study) == dict.fromkeys(range(3), State.COMPLETED)
    assert sorted(noted.ended_numbers) == [0, 1, 2]
    assert [notice for notice in noted.notices if "trial 0 goes on elsewhere" in notice] == noted.notices


def test_an_attempt_that_is_not_current_any_more_takes_up_its_slot_until_it_has_ended() -> None:
    study = make(limits={"n_trials": 4})

    def take_over(n: int) -> None:
        if n == 4:
            other = beside(study)
            requeue(other, other.ledger.history.unfinished[0])
            other.tell(other.ask(), 9.0)

    executor = Scripted(lambda launch: None if launch.number == 0 else ended(launch), 1, take_over)
    assert run(study, executor, Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(4), State.COMPLETED)
    assert (study.trials[0].values["value"], study.trials[0].attempt) == (9.0, 2)


def test_what_waits_may_be_taken_by_another_process_at_the_last_moment() -> None:
    study = make(limits={"n_trials": 3})
    requeue(study, study.ask())
    asked: list[Trial] = []

    def ask(n: int) -> None:
        if n == 1:
            asked.append(beside(study).ask())

    executor = Scripted(ended, 2, ask)
    assert run(study, executor, Noted()).reason == "done"
    assert [trial.number for trial in asked] == [0]
    assert sorted(launch.number for launch in executor.launches) == [1, 2]
    assert states(study)[0] is State.RUNNING
    beside(study).tell(asked[0], 2.0)
    assert states(study) == dict.fromkeys(range(3), State.COMPLETED)


def test_what_another_one_in_this_process_asks_for_is_not_started_here() -> None:
    study = make(limits={"n_trials": 6})
    asked: list[Trial] = []

    def ask(n: int) -> None:
        if n in (2, 4):
            asked.append(beside(study).ask())

    executor = Scripted(ended, 2, ask)
    assert run(study, executor, Noted()).reason == "done"
    theirs = {trial.number for trial in asked}
    assert len(theirs) == 2
    launched = [launch.number for launch in executor.launches]
    assert sorted([*launched, *theirs]) == list(range(len(launched) + 2))
    assert len(launched) >= 4
    for trial in asked:
        beside(study).tell(trial, 1.0)
    assert [trial.config["n"] for trial in study.trials] == list(range(len(launched) + 2))


def test_a_target_that_another_process_reaches_ends_the_run() -> None:
    study, noted = make(limits={"target": 0.5}), Noted()

    def tell(n: int) -> None:
        if n == 3:
            other = beside(study)
            other.tell(other.ask(), 0.1)

    executor = Scripted(lambda launch: None, 2, tell)
    assert run(study, executor, noted).reason == "target"
    assert len(noted.ended_numbers) == 1
    assert set(states(study).values()) == {State.COMPLETED, State.WAITING}


def test_two_runs_share_a_study_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    study = make({"n": list(range(60))}, store=path, rules={"retries": {"exit_code": 2}})
    problems: list[BaseException] = []
    launches: list[tuple[int, int]] = []

    def ending(launch: Launch) -> Ended:
        launches.append((launch.number, launch.attempt))
        if launch.number % 3 == 0 and launch.attempt == 1:
            return ended(launch, cause="exit_code", exit_code=1)
        return ended(launch, value=float(launch.number))

    def work() -> None:
        try:
            assert run(load("s", path), Scripted(ending, 3), Noted()).reason == "done"
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(launches) == len(set(launches)) == 80
    assert [(t.config["n"], t.state, t.values) for t in study.trials] == [
        (n, State.COMPLETED, {"value": float(n)}) for n in range(60)
    ]


# ---- commands
def test_a_number_that_has_no_config_yet_cannot_be_cancelled_and_nothing_breaks() -> None:
    goes_on = threading.Event()

    class Slow(Grid):
        def suggest(self, history, numbers, rng_of):
            goes_on.wait(20)
            return super().suggest(history, numbers, rng_of)

    study = make(limits={"n_trials": 2}, sampler=Slow())

    def cancel(n: int) -> None:
        if n == 3:
            store = study.ledger.store
            command_drafts = [Draft(Kind.COMMAND, None, {"command": "cancel", "trial": number}) for number in (0, 99)]
            store.append(study.ledger.study, command_drafts, after=study.ledger.history.seq)
        if len(outcomes(study)) == 2 or n > 500:
            goes_on.set()

    assert run(study, Scripted(ended, 1, cancel), Noted()).reason == "done"
    assert outcomes(study) == ["done", "done"]
    assert states(study) == dict.fromkeys(range(2), State.COMPLETED)


def test_a_trial_that_runs_elsewhere_can_be_cancelled() -> None:
    study = make(limits={"n_trials": 3})
    trial = study.ask()
    command(study, command="cancel", trial=trial.number)
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert states(study) == {0: State.CANCELLED, 1: State.COMPLETED, 2: State.COMPLETED}
    with pytest.warns(LateReportWarning, match="it was cancelled"):
        assert beside(study).tell(trial, 1.0).state is State.CANCELLED


def test_a_trial_that_waits_is_cancelled_instead_of_started() -> None:
    study = make(limits={"n_trials": 2})
    requeue(study, study.ask())
    command(study, command="cancel", trial=0)
    command(study, command="cancel", trial=0)
    executor = Scripted(ended)
    assert run(study, executor, Noted()).reason == "done"
    assert [launch.number for launch in executor.launches] == [1]
    assert states(study) == {0: State.CANCELLED, 1: State.COMPLETED}


@pytest.mark.parametrize(
    "payload",
    [
        {"command": "amend", "settings": {"limits": {"n_trials": -1}}},
        {"command": "amend", "settings": {"limits": {"n_trails": 5}}},
        {"command": "amend", "settings": {"limits": {"n_trials": "many"}}},
        {"command": "amend", "settings": {"seed": 5}},
        {"command": "amend", "settings": {"limits": {"n_trials": 5}, "rules": {}}},
        {"command": "amend", "settings": 5},
        {"command": "amend"},
        {"command": "cancel"},
        {"command": "cancel", "trial": "0"},
        {"command": "dance"},
        {},
    ],
)
def test_a_command_that_makes_no_sense_is_refused_once_and_the_run_goes_on(payload: Mapping[str, Any]) -> None:
    study = make(limits={"n_trials": 3})
    command(study, **payload)
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert len(outcomes(study)) == 1
    assert outcomes(study)[0].startswith("refused: ")
    assert states(study) == dict.fromkeys(range(3), State.COMPLETED)
    assert study.ledger.history.seed == beside(study).ledger.history.seed == 7


def test_more_trials_are_run_even_if_asked_for_when_nothing_was_left() -> None:
    study = make(limits={"n_trials": 2})
    run(study, Scripted(ended), Noted())
    command(study, command="amend", settings={"limits": {**_LIMITS, "n_trials": 5}})
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(5), State.COMPLETED)


def test_what_is_asked_for_while_the_last_trial_ends_is_heard() -> None:
    study = make(limits={"n_trials": 2})

    class Adding(Noted):
        def ended(self, trial: Trial, history: History) -> None:
            super().ended(trial, history)
            if trial.number == 1:
                command(study, command="amend", settings={"limits": {**_LIMITS, "n_trials": 3}})

    assert run(study, Scripted(ended), Adding()).reason == "done"
    assert states(study) == dict.fromkeys(range(3), State.COMPLETED)


def test_numbers_reserved_ahead_are_not_asked_once_the_limit_is_lowered() -> None:
    study = make(limits={"n_trials": 8})

    def lower(n: int) -> None:
        if n == 3:
            command(study, command="amend", settings={"limits": {**_LIMITS, "n_trials": 3}})

    executor = Scripted(lambda launch: ended(launch) if launch.number > 2 else None, 3, lower)

    def end_all(n: int) -> None:
        lower(n)
        if n == 80:
            executor._over += [(n - 1, ended(launch)) for launch in executor.running.values()]

    executor._before_poll = end_all
    assert run(study, executor, Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(3), State.COMPLETED)
    assert all(trial.owner is None for trial in study.ledger.history.unfinished.values())
    amended = {"settings": {"limits": {**_LIMITS, "n_trials": 5}}}
    study.ledger.commit([Draft(Kind.AMENDED, None, amended)])
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(5), State.COMPLETED)


# ---- signals, and what ends by itself meanwhile
def _interrupt(*signums: int) -> None:
    for signum in signums:
        signal.raise_signal(signum)


def test_what_has_ended_by_itself_before_the_signal_is_heard_counts() -> None:
    study = make()
    executor = Scripted(ended, 2, lambda n: _interrupt(signal.SIGINT) if n == 4 else None)
    assert run(study, executor, Noted()).reason == "interrupted"
    assert executor.stopped == []
    assert State.WAITING not in states(study).values()


def test_interrupted_twice() -> None:
    study, noted = make(), Noted()
    executor = Scripted(lambda launch: None, 2, lambda n: _interrupt(signal.SIGINT, signal.SIGINT) if n == 4 else None)
    assert run(study, executor, noted).reason == "interrupted"
    assert executor.stopped == [(0, "interrupt"), (1, "interrupt"), (0, "kill"), (1, "kill")]
    assert states(study) == {0: State.WAITING, 1: State.WAITING}
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(8), State.COMPLETED)


def test_an_interrupt_does_not_wait_for_a_config_that_is_being_chosen() -> None:
    goes_on = threading.Event()

    class Slow(Random):
        def suggest(self, history, numbers, rng_of):
            goes_on.wait(20)
            return super().suggest(history, numbers, rng_of)

    study = make({"x": (0.0, 1.0)}, sampler=Slow(), limits={"n_trials": 2})
    try:
        outcome = run(study, Scripted(ended, 1, lambda n: _interrupt(signal.SIGTERM) if n == 4 else None), Noted())
        assert not goes_on.is_set()
    finally:
        goes_on.set()
    assert outcome.reason == "terminated"
    assert study.trials == []
    assert all(trial.owner is None for trial in study.ledger.history.unfinished.values())
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(2), State.COMPLETED)


def test_handlers_of_signals_are_given_back() -> None:
    def handlers() -> list[Any]:
        return [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    before = handlers()
    run(make(), Scripted(ended), Noted())
    assert handlers() == before


# ---- what breaks
def test_nothing_more_is_started_once_the_executor_has_failed() -> None:
    class Broken(Scripted):
        def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
            if launch.number == 1:
                raise ExecutorError("no processes left")
            super().start(launch, attend)

    study, noted = make(), Noted()
    executor = Broken(lambda launch: None, 4)
    assert run(study, executor, noted) == Outcome("broken", "no processes left")
    assert [launch.number for launch in executor.launches] == [0]
    assert executor.stopped == [(0, "terminate")]
    assert states(study) == dict.fromkeys(range(4), State.WAITING)
    assert "no processes left" in study.trials[1].message
    assert not study.ledger.history.running
    assert run(study, Scripted(ended), Noted()).reason == "done"
    assert states(study) == dict.fromkeys(range(8), State.COMPLETED)


def test_a_sampler_that_cannot_go_on_ends_the_run_and_loses_nothing() -> None:
    class Lost(Grid):
        def suggest(self, history, numbers, rng_of):
            if numbers[-1] >= 3:
                raise SpaceError("nearly everything is forbidden")
            return super().suggest(history, numbers, rng_of)

    study = make(sampler=Lost())
    executor = Scripted(lambda launch: None if launch.number == 1 else ended(launch), 2)
    assert run(study, executor, Noted()) == Outcome("broken", "nearly everything is forbidden")
    assert executor.stopped == [(1, "terminate")]
    assert states(study) == {0: State.COMPLETED, 1: State.WAITING, 2: State.COMPLETED}
    assert all(trial.owner is None for trial in study.ledger.history.unfinished.values())


def test_attempts_that_were_interrupted_are_not_counted_as_lost() -> None:
    study = make(limits={"n_trials": 1})
    for _ in range(4):
        executor = Scripted(lambda launch: None, 1, lambda n: _interrupt(signal.SIGINT) if n == 4 else None)
        assert run(study, executor, Noted()).reason == "interrupted"

    def ending(launch: Launch) -> Ended:
        return ended(launch, cause="lost", exit_code=None) if launch.attempt <= 6 else ended(launch)

    assert run(study, Scripted(ending), Noted()).reason == "done"
    assert (study.trials[0].state, study.trials[0].attempt) == (State.COMPLETED, 7)


def test_three_failures_at_the_start_end_the_run_though_a_trial_was_cancelled_among_them() -> None:
    study = make()
    requeue(study, study.ask())
    command(study, command="cancel", trial=0)
    assert run(study, Scripted(lambda launch: ended(launch, cause="exit_code")), Noted()).reason == "failures"
    assert list(states(study).values()).count(State.FAILED) == 3


def test_max_failures_can_be_lowered_and_a_resumed_run_ends_at_its_first_failure() -> None:
    study = make(limits={"max_failures": 2})
    fails = Scripted(lambda launch: ended(launch, cause="exit_code") if launch.number % 2 else ended(launch))
    assert run(study, fails, Noted()).reason == "failures"
    assert len(states(study)) == 4
    assert run(study, Scripted(lambda launch: ended(launch, cause="exit_code")), Noted()).reason == "failures"
    assert len(states(study)) == 5


# ---- economy
def test_reports_of_one_tick_are_one_event() -> None:
    class Chatty(Scripted):
        def poll(self, timeout_s: float) -> list[Happening]:
            over = super().poll(timeout_s)
            rows = [Reported(done.token, [(float(step), {"value": float(step)})]) for done in over for step in range(9)]
            return [*rows, *over]

    study = make(limits={"n_trials": 2})
    run(study, Chatty(ended), Noted())
    assert [event.kind for event in events(study)].count(Kind.REPORTED) == 2
    assert [row[0] for row in study.trials[0].curve] == [float(step) for step in range(9)]


def test_a_run_with_nothing_to_do_writes_nothing_and_waits() -> None:
    study, noted = make(limits={"n_trials": 2, "timeout_s": 0.5}), Noted()
    study.ask()

    class Patient(Scripted):
        def poll(self, timeout_s: float) -> list[Happening]:
            time.sleep(timeout_s)
            return super().poll(0)

    assert run(study, Patient(lambda launch: None, 3), noted).reason == "timeout"
    assert noted.n_ticks < 25
    kinds = [event.kind for event in events(study)]
    assert kinds.count(Kind.STARTED) == 2
    assert len(kinds) < 12


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("slots", [1, 2, 7])
@pytest.mark.parametrize("sampler", ["grid", "random", "quasi_random", "auto"])
def test_a_space_with_forbidden_and_equal_points_is_run_once_each(sampler: str, slots: int, repeats: int) -> None:
    space = {
        "opt": ["adam", "sgd"],
        "momentum": Categorical([0.0, 0.5, 0.9], when={"opt": "sgd"}),
        "n": [1, 2, 3],
    }
    study = make(Space(space, forbid=["n == 2 and opt == 'adam'"]), sampler=sampler, repeats=repeats)
    assert run(study, InlineExecutor(lambda trial: 1.0, slots=slots), Noted()).reason == "done"
    assert [trial.number for trial in study.trials] == list(range(11 * repeats))
    configs = {tuple(trial.config.items()) for trial in study.trials}
    assert len(configs) == 11
    assert all(trial.group == trial.number // repeats for trial in study.trials)
    assert run(study, InlineExecutor(lambda trial: 1.0, slots=slots), Noted()).reason == "done"
    assert len(study.trials) == 11 * repeats


def test_a_run_leaves_no_thread_behind() -> None:
    for _ in range(3):
        run(make(), Scripted(ended, 2), Noted())
    deadline = time.monotonic() + 5
    while (left := [t.name for t in threading.enumerate() if t.name == "whet-suggest"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
