"""Laws of deterministic studies: how many workers there are, who is faster and who is killed changes nothing."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.simulated import Arithmetic, Watcher, events_of, run_and_die, run_study
from whet.core import jsontext
from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.protocols import Ended, Executor, Happening, Launch, RngOf, Suggestion
from whet.core.trial import State
from whet.errors import SearchExhausted
from whet.executors.commands import Command, CommandExecutor
from whet.study import Study, load

N_TRIALS = 30
LOOKAHEAD = 8
Results = Mapping[int, tuple[Mapping[str, Any] | None, State, float | None]]


class Heeding:
    """A sampler whose configs depend on all that it is told; it has none beyond a number."""

    def __init__(self, n_configs: int = 10_000) -> None:
        self._n_configs = n_configs

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        if numbers[0] >= self._n_configs:
            raise SearchExhausted
        all_of_them = history.observations("all")
        known = [
            [array.tolist() for array in (all_of_them.numbers, all_of_them.x, all_of_them.values)],
            [[row.number, row.state, list(row.curve)] for row in history.finished],
            [[trial.number, trial.state, dict(trial.config or {})] for trial in history.unfinished.values()],
            [history.counts(), history.leader(), history.n_asked, history.n_numbers, history.seq],
        ]
        x = zlib.crc32(jsontext.dumps(known).encode()) / 2**32
        drawn = [float(rng_of(number).random()) for number in numbers]
        return [Suggestion({"x": x, "y": y}, {"knew": len(history.finished)}) for y in drawn]


class Troubled(Arithmetic):
    """Attempts fail where their config says so; some are lost at their first attempt, as chance will have it."""

    def __init__(self, slots: int, seed: int = 0) -> None:
        super().__init__(slots, seed)
        self._launches: dict[str, Launch] = {}
        self._chance = random.Random(seed)

    def start(self, launch: Launch, *args: Any) -> None:
        self._launches[launch.token] = launch
        super().start(launch, *args)

    def poll(self, timeout_s: float) -> list[Happening]:
        return [self._troubled(h) if isinstance(h, Ended) else h for h in super().poll(timeout_s)]

    def _troubled(self, ended: Ended) -> Ended:
        launch = self._launches.pop(ended.token)
        if launch.attempt == 1 and self._chance.random() < 0.2:
            return replace(ended, cause="lost")
        fails = zlib.crc32(repr(launch.config["x"]).encode()) % 4 == 0
        return replace(ended, cause="error", exit_code=1, message="boom") if fails else ended


def make_study(
    store: Path | None = None,
    *,
    lookahead: int | None = LOOKAHEAD,
    repeats: int = 1,
    n_configs: int = 10_000,
    n_trials: int | None = N_TRIALS,
) -> Study:
    return Study(
        {"x": (0.0, 1.0), "y": (0.0, 1.0)},
        sampler=Heeding(n_configs),
        seed=4,
        repeats=repeats,
        lookahead=lookahead,
        store=store,
        name="law",
        settings={"limits": {"n_trials": n_trials, "max_failures": 10_000}},
    )


def results(study: Study) -> Results:
    return {trial.number: (trial.config, trial.state, trial.values.get("value")) for trial in study.trials}


def done(executor: Executor, **options: Any) -> Results:
    study = make_study(**options)
    assert run_study(study, executor).reason == "done"
    return results(study)


@cache
def undisturbed() -> Results:
    """Return what one worker finds."""
    return done(Arithmetic(1))


@cache
def troubled() -> Results:
    """Return what one worker finds with attempts that fail."""
    return done(Troubled(1))


def test_without_a_lookahead_the_sampler_of_these_tests_feels_how_many_workers_there_are() -> None:
    one, four = done(Arithmetic(1), lookahead=None), done(Arithmetic(4), lookahead=None)
    assert len(one) == len(four) == N_TRIALS
    assert sum(one[number] != four[number] for number in one) > N_TRIALS / 2


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4, 8]))
def test_neither_workers_nor_durations_change_anything(seed: int, slots: int) -> None:
    assert done(Arithmetic(slots, seed)) == undisturbed()


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4, 8]))
def test_nor_do_attempts_that_fail_or_are_lost(seed: int, slots: int) -> None:
    expected = troubled()
    assert {State.COMPLETED, State.FAILED} == {state for _, state, _ in expected.values()}
    assert done(Troubled(slots, seed)) == expected


@pytest.mark.parametrize("repeats", [2, 3, 11])
@pytest.mark.parametrize("slots", [2, 4, 8])
def test_nor_with_repeats(slots: int, repeats: int) -> None:
    n_trials = 8
    expected = done(Troubled(1), repeats=repeats, n_trials=n_trials)
    assert len(expected) == n_trials * repeats
    assert len({config["x"] for config, _, _ in expected.values() if config}) == n_trials
    assert done(Troubled(slots, slots), repeats=repeats, n_trials=n_trials) == expected


@pytest.mark.parametrize("lookahead", [1, 2, 3, 100])
def test_each_lookahead_has_a_sequence_of_its_own(lookahead: int) -> None:
    expected = done(Arithmetic(1), lookahead=lookahead)
    assert expected != done(Arithmetic(1))
    for slots in (2, 3, 9):
        if slots <= lookahead:
            assert done(Arithmetic(slots, slots), lookahead=lookahead) == expected


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_a_space_that_ends_is_searched_to_its_end(slots: int) -> None:
    for n_trials in (N_TRIALS, None):
        ended = done(Arithmetic(slots, slots), n_configs=11, n_trials=n_trials)
        assert list(ended) == list(range(11))


def test_it_is_chosen_from_what_is_old_enough() -> None:
    study = make_study(lookahead=3)
    run_study(study, Arithmetic(3, seed=1))
    assert [trial.why["knew"] for trial in study.trials] == [max(0, number - 2) for number in range(N_TRIALS)]


def test_no_more_run_at_a_time_than_are_looked_ahead() -> None:
    study = make_study(lookahead=4)
    run_study(study, Arithmetic(4, seed=3))
    ended: set[int] = set()
    for event in events_of(study):
        if event.kind is Kind.ASKED:
            assert event.trial is not None
            assert ended.issuperset(range(event.trial - 3))
        elif event.kind is Kind.COMPLETED and event.trial is not None:
            ended.add(event.trial)
    asked = [event.trial for event in events_of(study) if event.kind is Kind.ASKED]
    assert asked == list(range(N_TRIALS))


def test_more_trials_go_on_with_the_sequence() -> None:
    study = make_study(n_trials=11)
    run_study(study, Arithmetic(8, seed=5))
    more = {"limits": {"n_trials": N_TRIALS, "max_failures": 10_000}}
    study.ledger.commit([Draft(Kind.AMENDED, None, {"settings": more})])
    run_study(study, Arithmetic(3, seed=6))
    assert results(study) == undisturbed()


# ---- killed and resumed


def _is_over(study: Study) -> bool:
    return study.ledger.store.load(study.ledger.study).n_finished == N_TRIALS


def _check_resumed(store: Path, study: Study) -> None:
    resumed = load("law", store, sampler=Heeding())
    assert run_study(resumed, Arithmetic(2)).reason == "done"
    assert results(resumed) == undisturbed()
    asked = [event.trial for event in events_of(resumed) if event.kind is Kind.ASKED]
    assert asked == list(range(N_TRIALS))
    study.ledger.store.close()
    resumed.ledger.store.close()


def test_killed_again_and_again_and_resumed_with_other_workers(tmp_path: Path) -> None:
    store = tmp_path / "law.db"
    study = make_study(store)
    n_killed = 0
    while not _is_over(study):
        slots = (8, 1, 3, 5)[n_killed % 4]
        was_killed, _ = run_and_die(store, "law", slots, n_killed, last_call=2 + n_killed * 2, sampler=Heeding())
        n_killed += was_killed
    assert n_killed > 5
    _check_resumed(store, study)


@pytest.mark.slow
@pytest.mark.parametrize("last_call", range(1, 60, 3))
def test_killed_once_and_resumed(last_call: int, tmp_path: Path) -> None:
    store = tmp_path / "law.db"
    study = make_study(store)
    assert run_and_die(store, "law", 8, last_call, last_call=last_call, sampler=Heeding())[0]
    _check_resumed(store, study)


# ---- with processes that take their time


def _slept(slots: int, tmp_path: Path) -> Results:
    """Return what comes of trials whose durations, and who of them fail, depend on their configs."""

    def render(launch: Launch) -> Command:
        x = launch.config["x"]
        script = f"sleep {0.15 * (x * 7 % 1):.3f}; echo value: {x}; exit {int(x * 11 % 1 < 0.2)}"
        return Command(("/bin/sh", "-c", script), tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / str(launch.number))

    study = make_study(n_trials=20)
    executor = CommandExecutor(render, slots=slots, watch=("value",))
    try:
        assert run_study(study, executor, Watcher()).reason == "done"
    finally:
        executor.close()
    return results(study)


def test_processes_of_uneven_durations_give_the_same_on_any_number_of_slots(tmp_path: Path) -> None:
    expected = _slept(1, tmp_path / "1")
    assert {State.COMPLETED, State.FAILED} == {state for _, state, _ in expected.values()}
    for slots in (2, 4, 8):
        assert _slept(slots, tmp_path / str(slots)) == expected
