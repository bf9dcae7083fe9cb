"""Trials as a table: a DataFrame where there is pandas, else columns."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from whet.core.problem import Problem
from whet.core.trial import Trial
from whet.describe import trial_record

Record = Mapping[str, Any]  # see `whet.describe.trial_record`

_BEFORE = ("number", "state", "cause")
_AFTER = ("attempts", "started_at", "duration_s")
_MOST_INT = 2**63 - 1  # that a column of whole numbers holds


class Columns:
    """The columns: one for each parameter, metric and fixed field.

    A name that is there twice gets ``config.`` or ``values.`` in front.

    Args:
        config, values: the parameters and the metrics.
        more: fixed fields of records beyond those of `trial_record`.

    Attributes:
        keys: where each column's cells come from: ``"config"``, ``"values"`` or neither, and the name there.
        names: of the columns, each once.
    """

    def __init__(self, config: Sequence[str], values: Sequence[str], more: Sequence[str] = ()) -> None:
        self.keys: list[tuple[Literal["config", "values"] | None, str]] = [
            *((None, name) for name in _BEFORE),
            *(("config", name) for name in config),
            *(("values", name) for name in values),
            *((None, name) for name in (*_AFTER, *more)),
        ]
        counts = Counter(name for _, name in self.keys)
        taken = set(counts)
        self.names: list[str] = []
        for kind, name in self.keys:
            label = name
            while kind is not None and counts[name] > 1 and label in taken:
                label = f"{kind}.{label}"
            taken.add(label)
            self.names.append(label)

    def row(self, record: Record) -> list[Any]:
        """Return the cells of one trial, ``None`` where it has no value."""
        return [record[name] if kind is None else record[kind].get(name) for kind, name in self.keys]


def frame_of(trials: Iterable[Trial], problem: Problem) -> Any:
    """Return *trials* as a ``pandas.DataFrame``, or without pandas as a dict of columns, each a list.

    The columns have the names that ``whet export --format csv`` gives them: number, state, cause, one for each
    parameter, one for each metric, attempts, started_at (UTC) and duration_s (seconds, of the last attempt); names that
    would be there twice get ``config.`` or ``values.`` in front. Whole numbers stay whole (``Int64`` where some trials
    lack them, as they do an inactive parameter), metrics are doubles with NaN where unknown, everything else is an
    object, with ``None`` where a trial has none. In a dict of columns what is missing is ``None``, also among the
    metrics.
    """
    records = [trial_record(trial) for trial in trials]
    config = dict.fromkeys(problem.space)
    values = dict.fromkeys(problem.metrics)
    for record in records:
        if not config.keys() >= record["config"].keys():
            config |= dict.fromkeys(record["config"])
        if not values.keys() >= record["values"].keys():
            values |= dict.fromkeys(record["values"])
    columns = Columns(list(config), list(values))
    rows = [columns.row(record) for record in records]
    cells: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns.names]
    cells = [
        _in_utc(column) if key == (None, "started_at") else column
        for key, column in zip(columns.keys, cells, strict=True)
    ]
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return dict(zip(columns.names, cells, strict=True))
    typed = [
        pandas.Series(column, dtype=_dtype(kind, name, column), copy=False)
        for (kind, name), column in zip(columns.keys, cells, strict=True)
    ]
    return pandas.DataFrame(dict(zip(columns.names, typed, strict=True)), copy=False)


def _in_utc(times: Iterable[float | None]) -> list[datetime | None]:
    return [None if at is None else _as_datetime(at) for at in times]


def _as_datetime(at: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # no date that the calendar has


def _dtype(kind: Literal["config", "values"] | None, name: str, column: Sequence[Any]) -> str:
    """Return the pandas dtype of a column."""
    if kind is None:
        fixed = {"number": "int64", "attempts": "int64", "duration_s": "float64", "started_at": "datetime64[us, UTC]"}
        return fixed.get(name, "object")
    if kind == "values":
        return "float64"
    types = {type(value) for value in column}
    has_all = type(None) not in types
    types.discard(type(None))
    if types == {bool}:
        return "bool" if has_all else "boolean"
    if not types or not types <= {int, float}:
        return "object"
    if not all(-_MOST_INT <= value <= _MOST_INT for value in column if type(value) is int):
        return "object"
    if float in types:
        return "float64"
    return "int64" if has_all else "Int64"
