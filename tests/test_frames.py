"""Trials as a table, with pandas and without it."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.studies import begin, call, finish
from whet.core.problem import Objective, Problem
from whet.core.trial import Cause, State, Trial
from whet.frames import frame_of
from whet.space.space import Space

PROBLEM = Problem(Space({"lr": (0.1, 1.0), "n": (1, 9), "opt": ["sgd", "adam"]}), (Objective("loss"),))


def _trial(number: int, config: Mapping[str, Any], values: Mapping[str, float] | None = None, **more: Any) -> Trial:
    state = State.FAILED if values is None else State.COMPLETED
    return Trial(number, state, config, values=values or {}, attempt=1, **more)


def _frame(*configs: Mapping[str, Any], problem: Problem = PROBLEM) -> pd.DataFrame:
    return frame_of([_trial(i, config, {"loss": 1.0}) for i, config in enumerate(configs)], problem)


def test_the_columns_and_their_types() -> None:
    trials = [
        _trial(0, {"lr": 0.5, "n": 3, "opt": "sgd"}, {"loss": 2.0, "acc": 0.5}, started_at=1.5, ended_at=4.0),
        _trial(1, {"lr": 0.25, "n": 4, "opt": "adam"}, cause=Cause.TIMEOUT),
    ]
    frame = frame_of(trials, PROBLEM)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "number": "int64",
        "state": "object",
        "cause": "object",
        "lr": "float64",
        "n": "int64",
        "opt": "object",
        "loss": "float64",
        "acc": "float64",
        "attempts": "int64",
        "started_at": "datetime64[us, UTC]",
        "duration_s": "float64",
    }
    assert list(frame["state"]) == ["completed", "failed"]
    assert list(frame["cause"]) == [None, "timeout"]
    assert frame["started_at"][0] == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert pd.isna(frame["started_at"][1])
    assert frame["duration_s"][0] == 2.5
    assert math.isnan(frame["loss"][1])
    assert frame.nsmallest(1, "loss")["number"].tolist() == [0]


def test_the_columns_have_the_names_of_the_exported_csv(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = begin(space={"loss": [1, 2], "number": [3], "lr": [4]})
    finish(study, [0.5, {"loss": 0.25, "acc": 0.9}])
    frame = frame_of(study.trials, study.ledger.history.problem)
    exported = next(csv.reader(io.StringIO(call("export", "a", "--format", "csv").out)))
    assert list(frame.columns) == exported
    assert {"config.loss", "values.loss", "config.number", "lr"} <= set(exported)


def test_whole_numbers_stay_whole_where_some_are_missing() -> None:
    column = _frame({"n": 3}, {}, {"n": 2**62})["n"]
    assert str(column.dtype) == "Int64"
    assert column[2] == 2**62
    assert column[1] is pd.NA


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([True, False], "bool"),
        ([True, None], "boolean"),
        ([1, 0.5], "float64"),
        ([0.5, None], "float64"),
        ([10**400, 1], "object"),
        ([10**400, 0.5], "object"),
        ([True, 1], "object"),
        ([[1, 2], "a"], "object"),
        ([None, None], "object"),
        ([float("inf"), float("nan")], "float64"),
    ],
)
def test_the_type_of_a_parameter(values: list[Any], dtype: str) -> None:
    frame = _frame(*({} if value is None else {"p": value} for value in values), problem=Problem(Space({"p": [1]})))
    column = frame["p"]
    assert str(column.dtype) == dtype
    if dtype == "object":
        assert list(column) == values


def test_no_trials_have_all_columns() -> None:
    frame = frame_of([], PROBLEM)
    assert len(frame) == 0
    assert list(frame.columns)[3:7] == ["lr", "n", "opt", "loss"]
    assert str(frame["loss"].dtype) == "float64"


def test_times_that_no_calendar_has_are_missing() -> None:
    frame = frame_of([_trial(0, {}, {}, started_at=1e300, ended_at=1e300)], PROBLEM)
    assert pd.isna(frame["started_at"][0])


def test_without_pandas_there_are_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    columns = frame_of([_trial(0, {"lr": 0.5, "n": 1}, {"loss": 2.0}, started_at=0.0), _trial(1, {"n": 2})], PROBLEM)
    assert type(columns) is dict
    assert columns == {
        "number": [0, 1],
        "state": ["completed", "failed"],
        "cause": [None, None],
        "lr": [0.5, None],
        "n": [1, 2],
        "opt": [None, None],
        "loss": [2.0, None],
        "attempts": [1, 1],
        "started_at": [datetime(1970, 1, 1, tzinfo=UTC), None],
        "duration_s": [None, None],
    }
    assert list(frame_of([], PROBLEM)) == list(columns)


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())


@given(st.lists(st.dictionaries(st.text(max_size=2), _VALUES.filter(lambda value: value is not None), max_size=3)))
def test_any_config_has_its_place(configs: list[dict[str, Any]]) -> None:
    frame = _frame(*configs, problem=Problem(Space({"x": [1]}), (Objective("loss"),)))
    assert len(frame) == len(configs)
    assert len(set(frame.columns)) == len(frame.columns)
    assert len(frame.columns) == 6 + len({"x"}.union(*configs)) + 1
