"""Fingerprints of what a search depends on: the same in every process for the same data and the same estimator.

Data count by their values, with type and shape; estimators by their class and parameters; functions by their names,
and those of a script or a notebook, which nobody can import, by their code too. Of objects that show themselves
otherwise each time, in the order of a set or with an address, only what stays the same counts: it is better to miss a
change than to refuse what has not changed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse

from whet.space.plain import plain

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis)})
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")
_WORD = re.compile(r"[\w.+-]+")
_AT_ONCE = 1 << 22  # bytes of an array that are copied at a time
_N_AT_ONCE = 1 << 14  # items of a list, likewise
_NO_MATTER = ("n_jobs", "verbose", "memory", "pre_dispatch")  # parameters that change nothing of the results
# Those of a search that are compared otherwise, or may be others when it goes on.
_APART = {
    *("estimator", "cv", "param_grid", "param_distributions", "space", "n_iter", "n_trials", "random_state"),
    *("strategy", "scheduler", "fidelity", "refit", "complexity", "timeout", "fit_timeout", "progress"),
    *("cache", "store", "name", "resume"),
}


def fingerprint(
    search: Any, X: Any, y: Any, params: Mapping[str, Any], splits: Sequence[tuple[Any, Any]]
) -> dict[str, str]:
    """Return what the fits of *search* depend on, each part by the words that a message has for it.

    Args:
        search: its estimator, and its own parameters that results depend on.
        X: the samples.
        y: the targets.
        params: what else was given to ``fit``.
        splits: indices of the samples to train on and to test on.
    """
    seed = search.random_state if isinstance(getattr(search, "random_state", None), Integral) else None
    parts = {"X": X, "y": y, **{f"{name} (given to fit)": value for name, value in params.items()}, "splits": splits}
    parts |= {name: value for name, value in _parameters(search, deep=False) if name not in _APART}
    parts |= {"random_state": seed, "estimator": _kind(search.estimator), "kind of search": type(search).__qualname__}
    for name, value in _parameters(search.estimator, deep=True):
        # What is in an estimator has names of its own.
        parts[f"{name} of the estimator"] = _kind(value) if _has_parameters(value) else value
    return {name: digest(value) for name, value in parts.items()}


def digest(value: Any) -> str:
    """Return a short text that is the same for the same value, in every process."""
    try:
        text = _mark(value)
    except RecursionError:  # it holds itself
        text = _kind(value)
    return _hashed([text])[:24]


def _parameters(estimator: Any, *, deep: bool) -> list[tuple[str, Any]]:
    known = estimator.get_params(deep=deep).items()
    return sorted((name, value) for name, value in known if name.rpartition("__")[2] not in _NO_MATTER)


def _has_parameters(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _hashed(parts: Iterable[str]) -> str:
    """Return a digest of *parts*; each has its length before it, so that no two sequences of parts read alike."""
    written = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        written.update(f"{len(data)} ".encode())
        written.update(data)
    return written.hexdigest()


def _mark(value: Any) -> str:
    """Return a text that tells *value* from others."""
    value = plain(value) if isinstance(value, np.generic) else value
    kind = type(value)
    if kind in _PLAIN:
        return f"{kind.__name__} {value!r}"
    for matches, mark in _MARKS:
        if matches(value):
            return mark(value)
    return _of_object(value)


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


# ---- data
def _of_array(array: np.ndarray[Any, Any]) -> str:
    head = f"array {array.dtype.descr if array.dtype.names else array.dtype.str} {array.shape}"
    if isinstance(array, np.ma.MaskedArray):
        return _hashed([f"masked {head}", _of_array(np.ma.getmaskarray(array)), _of_array(array.filled())])
    if array.dtype.hasobject:
        return _hashed([head, _of_items(array.ravel().tolist())])
    written = hashlib.sha256(head.encode())
    for chunk in _contiguous(np.asarray(array)):
        written.update(chunk)
    return written.hexdigest()


def _contiguous(array: np.ndarray[Any, Any]) -> Iterable[Any]:
    """Yield the bytes of *array*, in the order of its indices, however it lies in memory."""
    if not array.nbytes:
        return
    if array.flags.c_contiguous:
        yield array.reshape(-1).view(np.uint8)
        return
    n = max(1, _AT_ONCE * len(array) // array.nbytes)
    for start in range(0, len(array), n):
        yield np.ascontiguousarray(array[start : start + n]).reshape(-1).view(np.uint8)


def _of_sparse(matrix: Any) -> str:
    kept = matrix if matrix.format in ("csr", "csc", "bsr") else matrix.tocoo()
    names = ("row", "col") if kept.format == "coo" and kept.ndim == 2 else ("indices", "indptr")
    parts = kept.coords if kept.format == "coo" and kept.ndim != 2 else [getattr(kept, name) for name in names]
    return _hashed([f"sparse {matrix.format} {matrix.shape}", _of_array(kept.data), *map(_of_array, parts)])


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy")


def _of_pandas(value: Any) -> str:
    if value.ndim == 2:
        columns = [_of_column(value.iloc[:, number]) for number in range(value.shape[1])]
        return _hashed(["frame", _mark(list(value.columns)), _of_column(value.index), *columns])
    is_series = hasattr(value, "iloc")
    return _hashed(["column", _of_column(value), *([_of_column(value.index)] if is_series else [])])


def _of_column(column: Any) -> str:
    if isinstance(column.dtype, np.dtype):
        return _of_array(column.to_numpy())
    pandas: Any = importlib.import_module("pandas")  # it is there, as the column is
    # A dtype of pandas's own, such as categories, or times with a zone.
    hashes = pandas.util.hash_pandas_object(pandas.Series(column), index=False)
    categories = _mark([list(getattr(column.dtype, "categories", ())), getattr(column.dtype, "ordered", None)])
    return _hashed([str(column.dtype), categories, _of_array(hashes.to_numpy())])


def _of_other_array(value: Any) -> str:
    """Return the mark of what can be made an array of, such as frames of polars and tensors."""
    try:
        array = np.asarray(value)
    except Exception:  # a library's own code; a tensor may be on a device, say
        return _of_object(value)
    return _hashed([_kind(value), _mark(list(getattr(value, "columns", ()))), _of_array(array)])


# ---- containers
def _of_items(values: Sequence[Any]) -> str:
    """Return the mark of *values* in their order; what is plain goes in large pieces."""
    texts = []
    for start in range(0, len(values), _N_AT_ONCE):
        some = values[start : start + _N_AT_ONCE]
        kinds = set(map(type, some))
        if kinds <= _PLAIN:
            texts.append(repr(list(some)))
        elif kinds == {list}:  # rows of a table, say
            texts += ["lists", repr(list(map(len, some))), _of_items(list(chain.from_iterable(some)))]
        else:
            texts.append(_hashed(map(_mark, some)))
    return _hashed([str(len(values)), *texts])


def _of_sequence(values: Sequence[Any]) -> str:
    return _hashed([type(values).__name__, _of_items(values)])


def _of_set(values: Iterable[Any]) -> str:
    return _hashed([type(values).__name__, *sorted(map(_mark, values))])


def _of_mapping(values: Mapping[Any, Any]) -> str:
    return _hashed([_kind(values), *sorted(_hashed([_mark(key), _mark(value)]) for key, value in values.items())])


# ---- estimators, functions and other objects
def _of_estimator(value: Any) -> str:
    try:
        parameters = _parameters(value, deep=False)
    except Exception:  # it is no estimator after all
        return _of_object(value)
    return _hashed([_kind(value), *(part for name, of in parameters for part in (name, _mark(of)))])


def _of_named(value: Any) -> str:
    return f"named {getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"


def _of_function(function: types.FunctionType) -> str:
    """Return the mark of *function*: its name, and where no import finds it, what it does."""
    name = _of_named(function)
    found: Any = sys.modules.get(function.__module__) if function.__module__ != "__main__" else None
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is function:
        return name
    held = [_mark(_held(cell)) for cell in function.__closure__ or ()]
    return _hashed([name, _of_code(function.__code__), _mark(function.__defaults__), *held])


def _held(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


def _of_code(code: types.CodeType) -> str:
    parts = (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    constants = [_of_code(one) if isinstance(one, types.CodeType) else _mark(one) for one in code.co_consts]
    return _hashed([*map(_mark, parts), *constants])


def _of_method(method: Any) -> str:
    return _hashed([method.__func__.__qualname__, _mark(method.__self__)])


def _of_partial(value: functools.partial[Any]) -> str:
    return _hashed(["partial", _mark(value.func), _mark(value.args), _mark(value.keywords)])


def _of_object(value: Any) -> str:
    """Return the mark of any object: its type, and the words by which it shows itself, in no order."""
    kind: Any = type(value)
    if kind.__repr__ is object.__repr__:
        return _kind(value)
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:  # an object's own code
        return _kind(value)
    return _hashed([_kind(value), *sorted(_WORD.findall(text))])


_Marks = tuple[tuple[Callable[[Any], bool], Callable[[Any], str]], ...]


def _is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


_MARKS: _Marks = (
    (_is_a(np.ndarray), _of_array),
    (sparse.issparse, _of_sparse),
    (_is_pandas, _of_pandas),
    (_is_a(list, tuple), _of_sequence),
    (_is_a(set, frozenset), _of_set),
    (_is_a(Mapping), _of_mapping),
    (_is_a(types.FunctionType), _of_function),
    (_is_a(types.MethodType), _of_method),
    (_is_a(type, types.BuiltinFunctionType, np.ufunc), _of_named),
    (_is_a(functools.partial), _of_partial),
    (_is_a(np.random.RandomState), lambda value: _mark(value.get_state(legacy=False))),
    (_is_a(np.random.Generator), lambda value: _mark(value.bit_generator.state)),
    (_has_parameters, _of_estimator),
    (lambda value: hasattr(value, "__array__"), _of_other_array),
)
