"""Giving configs: checked, under numbers that nobody had, whole groups with repeats, beside the limit if added."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from whet.core import giving
from whet.core.asking import ask_drafts, waiting_numbers
from whet.core.events import Draft, Kind
from whet.core.giving import Added, checked_config
from whet.core.ledger import Ledger
from whet.core.problem import Objective, Problem
from whet.core.protocols import New, Store
from whet.core.trial import Cause, State
from whet.core.values import Rules, judge
from whet.errors import ConfigError
from whet.samplers import Grid
from whet.space.domain import Categorical, Distribution, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.space import Space
from whet.storage.doctor import check, differences
from whet.storage.memory import MemoryStore
from whet.storage.sql import SqlStore

enqueue = partial(giving.enqueue, now=time.time)
add = partial(giving.add, now=time.time)

SPACE = Space({"x": Float(0.0, 1.0), "n": Int(1, 3)})


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else SqlStore(tmp_path / "x.db")
    with closing(opened):
        yield opened


def ledger_of(store: Store, repeats: int = 1, space: Space = SPACE) -> Ledger:
    problem = Problem(space, (Objective("value"),))
    return Ledger(store, store.create("a", {"problem": problem.to_json(), "seed": 1, "repeats": repeats}))


def row(ledger: Ledger, config, rows=(), **metrics: float) -> Added:
    return Added(config, judge(ledger.history.problem, Rules(), metrics), rows)


def ask(ledger: Ledger, n: int, below: int | None = None) -> list[int]:
    numbers = ledger.commit([], reserve=n, below=below).numbers
    ledger.commit(ask_drafts(ledger.history, Grid(), numbers, [New()] * len(numbers), now=time.time))
    return numbers


def is_loaded(ledger: Ledger) -> bool:
    return differences(ledger.history, ledger.store.load(ledger.study)) == []


# ---- configs
def test_a_config_becomes_what_the_space_would_give() -> None:
    from scipy import stats

    space = Space(
        {
            "x": Float(0, 2),
            "step": Float(0, 1, step=0.1),
            "n": Int(1, 9),
            "c": Categorical(["u", (1, 2)]),
            "o": Ordinal([8, 16]),
            "normal": Normal(0, 1),
            "gamma": Distribution(stats.gamma(2)),
            "poisson": Distribution(stats.poisson(2)),
            "any": NumpyDistribution("gamma", (2.0,)),
        }
    )
    given = {"n": np.int64(2), "x": 1, "step": 0.1 + 0.2, "c": [1, 2], "o": np.int32(8), "normal": np.float32(2)}
    config = checked_config(space, {**given, "gamma": 3, "poisson": np.int64(3), "any": np.float64(1.5)})
    assert list(config) == list(space)
    assert config == {
        **{"x": 1.0, "step": 0.3, "n": 2, "c": (1, 2), "o": 8, "normal": 2.0, "gamma": 3.0, "poisson": 3, "any": 1.5}
    }
    assert {name: type(value) for name, value in config.items()} == {
        **{"x": float, "step": float, "n": int, "c": tuple, "o": int, "normal": float, "gamma": float},
        **{"poisson": int, "any": float},
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"x": 0.5, "n": 4}, "n: expected"),
        ({"x": "0.5", "n": 1}, "x: expected"),
        ({"x": math.nan, "n": 1}, "x: expected"),
        ({"x": 0.5, "n": True}, "n: expected"),
        ({}, r"none for x \(uniform\(0.0, 1.0\)\), n \("),
        ({"x": 0.5}, r"\{'x': 0.5\} has none for n \("),
        ({"x": 0.5, "m": 1}, "unexpected parameter 'm'"),
        ({"x": 0.5, "n": 1, 3: 1}, "unexpected parameter 3"),
        (None, "expected a config"),
        ([("x", 1.0), ("n", 1)], "expected a config"),
    ],
)
def test_a_config_that_is_not_in_the_space_is_refused_by_name(store: Store, config, message: str) -> None:
    ledger = ledger_of(store)
    with pytest.raises(ConfigError, match=message):
        enqueue(ledger, config)
    good = row(ledger, {"x": 1, "n": 1}, value=1.0)
    with pytest.raises(ConfigError, match=f"row 1: .*{message}"):
        add(ledger, [good, row(ledger, config, value=1.0)])
    assert ledger.history.n_numbers == store.load(ledger.study).n_numbers == 0


def test_a_parameter_that_is_not_active_is_left_out_or_refused() -> None:
    space = Space({"opt": Categorical(["adam", "sgd"]), "momentum": Float(0, 1, when={"opt": "sgd"})})
    assert checked_config(space, {"opt": "adam"}) == {"opt": "adam"}
    assert checked_config(space, {"momentum": 1, "opt": "sgd"}) == {"opt": "sgd", "momentum": 1.0}
    with pytest.raises(ConfigError, match="'momentum' = 1: it is there only when"):
        checked_config(space, {"opt": "adam", "momentum": 1})
    with pytest.raises(ConfigError, match="momentum is missing"):
        checked_config(space, {"opt": "sgd"})


# ---- enqueued
def test_what_is_enqueued_waits_under_a_number_that_nobody_had(store: Store) -> None:
    ledger = ledger_of(store)
    ledger.commit([], reserve=2)
    ledger.commit([Draft(Kind.RELEASED, 0)])
    assert enqueue(ledger, {"n": 2, "x": 1}) == [2]
    assert enqueue(ledger, {"n": 2, "x": 1}) == [3]
    assert waiting_numbers(ledger.history) == [2, 3]
    assert ledger.history.unfinished[2].config == {"x": 1.0, "n": 2}
    assert ledger.commit([], reserve=2).numbers == [0, 4]
    assert is_loaded(ledger)


@pytest.mark.parametrize("n_before", range(4))
def test_all_repeats_of_a_config_are_given_and_those_of_others_passed_on(store: Store, n_before: int) -> None:
    ledger = ledger_of(store, repeats=3, space=Space({"n": Int(1, 9)}))
    asked = ask(ledger, n_before)
    first = 0 if n_before == 0 else 3
    assert enqueue(ledger, {"n": 7}) == [first, first + 1, first + 2]
    asked += ask(ledger, 9 - 3 - n_before)
    assert asked == [number for number in range(9) if not first <= number < first + 3]
    trials = store.trials(ledger.study)
    assert [(trial.group, trial.replicate) for trial in trials] == [divmod(number, 3) for number in range(9)]
    for group in range(3):
        assert len({trial.config["n"] for trial in trials if trial.config and trial.group == group}) == 1
    assert [config.number for config in ledger.history.given.configs] == [first // 3]
    assert len({trial.config["n"] for trial in trials if trial.config}) == 3
    assert is_loaded(ledger)


# ---- added
def test_what_is_added_has_ended_and_counts_for_the_best(store: Store) -> None:
    ledger = ledger_of(store)
    rows = [
        row(ledger, {"x": 0.5, "n": 1}, value=2.0, other=9.0),
        row(ledger, {"x": 0.5, "n": 2}, [[1, 3.0], [2, 1.0]], value=1.0),
        row(ledger, {"x": 0.5, "n": 3}, value=math.nan),
        row(ledger, {"x": 0.25, "n": 3}, other=1.0),
    ]
    assert add(ledger, rows) == [0, 1, 2, 3]
    trials = store.trials(ledger.study)
    assert [(trial.state, trial.cause) for trial in trials] == [
        (State.COMPLETED, None),
        (State.COMPLETED, None),
        (State.FAILED, Cause.BAD_VALUE),
        (State.FAILED, Cause.NO_METRIC),
    ]
    assert [trial.number for trial in ledger.history.just_ended] == [0, 1, 2, 3]
    assert (ledger.history.best(), list(trials[1].curve)) == (1, [(1.0, 3.0), (2.0, 1.0)])
    assert trials[0].values == {"value": 2.0, "other": 9.0}
    assert {trial.duration_s for trial in trials} == {None}
    assert list(ledger.history.observations().numbers) == [0, 1, 2, 3]
    assert ledger.history.n_added == 4
    assert is_loaded(ledger)
    assert add(ledger, []) == []


def test_what_is_added_is_no_part_of_a_limit(store: Store) -> None:
    ledger = ledger_of(store, space=Space({"n": Int(1, 99)}))
    asked = []
    for _ in range(5):
        asked += ask(ledger, 2, below=ledger.history.first_beyond(7))
        add(ledger, [row(ledger, {"n": 50}, value=1.0)] * 3)
    assert len(asked) == 7
    assert ask(ledger, 2, below=ledger.history.first_beyond(7)) == []
    assert ask(ledger, 9, below=ledger.history.first_beyond(8)) == [ledger.history.n_numbers - 1]
    enqueue(ledger, {"n": 3})
    assert ask(ledger, 9, below=ledger.history.first_beyond(9)) == []
    assert len(ask(ledger, 9, below=ledger.history.first_beyond(10))) == 1


def test_rows_of_one_config_are_its_repeats_and_those_that_are_not_there_are_cancelled(store: Store) -> None:
    ledger = ledger_of(store, repeats=2)
    configs = [{"x": 0.5, "n": 1}, {"x": 0.5, "n": 1}, {"x": 0.5, "n": 1}, {"x": 0.25, "n": 1}]
    values = [1.0, 3.0, 2.5, 9.0]
    ledger.commit([], reserve=1)
    rows = [row(ledger, config, value=value) for config, value in zip(configs, values, strict=True)]
    assert add(ledger, rows) == [2, 3, 4, 6]
    states = {trial.number: trial.state for trial in store.trials(ledger.study)}
    assert [number for number, state in states.items() if state is State.CANCELLED] == [5, 7]
    assert ledger.history.means() == [(2, 2.0), (4, 2.5), (6, 9.0)]
    assert ledger.history.n_added == 6
    assert ledger.history.first_beyond(2) == 10
    assert ledger.commit([], reserve=3).numbers == [1, 8, 9]
    assert is_loaded(ledger)


def test_many_are_added_in_several_transactions(tmp_path: Path) -> None:
    with closing(SqlStore(tmp_path / "x.db")) as store:
        ledger = ledger_of(store)
        rows = [row(ledger, {"x": i / 3000, "n": 1}, value=float(i)) for i in range(2500)]
        assert add(ledger, rows) == list(range(2500))
        assert is_loaded(ledger)
        assert (ledger.history.best(), ledger.history.n_finished) == (0, 2500)
    assert check(tmp_path / "x.db") == []


def test_many_configs_at_once_wait_in_their_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "_AT_ONCE", 2)
    ledger = ledger_of(store, repeats=2)
    configs = [{"x": 0.1 * n, "n": 1} for n in range(5)]
    numbers = giving.enqueue_all(ledger, configs, now=time.time)
    assert [list(of) for of in numbers] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [ledger.trial(of[0]).config for of in numbers] == configs
    assert waiting_numbers(ledger.history) == list(range(10))
    assert is_loaded(ledger)
    with pytest.raises(ConfigError, match="x"):
        giving.enqueue_all(ledger, [{"x": 0.5, "n": 1}, {"x": 7.0, "n": 1}], now=time.time)
    assert ledger.history.n_numbers == 10
