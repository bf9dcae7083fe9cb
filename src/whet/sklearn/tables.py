"""Results as tidy tables: a DataFrame where there is pandas, else columns."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError

from whet.space.plain import plain

_SCORE = re.compile(r"split(?P<split>\d+)_(?P<part>test|train)_(?P<metric>.*)", re.DOTALL)
_SUMMARY = re.compile(r"(mean|std|rank)_((test|train)_.*|fit_time|score_time)|params", re.DOTALL)


def table_of(columns: Mapping[str, NDArray[Any]]) -> Any:
    """Return *columns* as a ``pandas.DataFrame``, or without pandas as a dict of lists."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return {name: column.tolist() for name, column in columns.items()}
    # Said, or strings would become pandas' own, which have NaN for None.
    typed = {name: pandas.Series(column, dtype=column.dtype) for name, column in columns.items()}
    return pandas.DataFrame(typed)


def column_of(values: Sequence[Any]) -> NDArray[Any]:
    """Return *values* as an array: of numbers or of bools where all of them are, else of objects."""
    numbers = plain(list(values))
    kinds = {type(number) for number in numbers}
    if kinds and (kinds <= {int, float} or kinds == {bool}):
        return np.array(numbers)  # of objects, where an int is too large
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value  # one by one, as a value may be a sequence
    return array


def fold_scores(search: Any) -> Any:
    """Return the scores of a search, tidy: a row for each candidate, metric, part and split.

    The columns are ``candidate``, the number of the row in ``cv_results_``; those that a search adds there, such as
    ``iter`` and ``n_resources``; ``param_…``, with None where a candidate does not set it; ``metric`` (``"score"``
    where there is only one), ``part`` (``"test"`` or ``"train"``), ``split`` and ``score``. Splits that were skipped,
    as they are by racing, have no row; fits that failed have the score that the search gave them, NaN as a rule.

    Args:
        search: a fitted search, of whet, of scikit-learn, or like theirs.

    Returns:
        A ``pandas.DataFrame``, or without pandas a dict of columns, each a list.

    Raises:
        NotFittedError: it has no ``cv_results_``.
    """
    results = getattr(search, "cv_results_", None)
    if results is None:
        raise NotFittedError(f"{type(search).__name__} has no cv_results_: call fit before fold_scores")
    found = [(name, match) for name in results if (match := _SCORE.fullmatch(name))]
    scores = [np.ma.asarray(results[name], dtype=np.float64) for name, _ in found]
    labels = [(match["metric"], match["part"], int(match["split"])) for _, match in found]
    there = [
        (row, at) for row in range(len(results["params"])) for at, of in enumerate(scores) if not _is_masked(of, row)
    ]
    rows = np.array([row for row, _ in there], dtype=np.intp)
    columns = {"candidate": rows}
    for name, values in results.items():
        if not _SUMMARY.fullmatch(name) and not _SCORE.fullmatch(name):
            columns[name] = _unmasked(values)[rows]
    for number, name in enumerate(("metric", "part", "split")):
        columns[name] = column_of([labels[at][number] for _, at in there])
    columns["score"] = np.array([scores[at][row] for row, at in there], dtype=np.float64)
    return table_of(columns)


def _is_masked(values: Any, row: int) -> bool:
    return bool(np.ma.getmaskarray(values)[row])


def _unmasked(values: Any) -> NDArray[Any]:
    """Return *values* with None where they are masked."""
    mask = np.ma.getmaskarray(values)
    array = np.asarray(np.ma.getdata(values))
    if not mask.any():
        return array
    array = array.astype(object)
    array[mask] = None
    return array
