"""A digest by value of an estimator that is not fitted yet: two with the same digest fit alike on the same data.

Numbers, text, containers and arrays count by their contents, estimators by their class and parameters, importable
classes and functions by their names and the version of what they come from, and every other object by its pickle:
what is rebuilt from the same bytes is the same. Whatever cannot be told from something else with certainty, such as
a generator of random numbers that moves on while it is used, raises `Unsure`.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from sklearn.base import BaseEstimator

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis))
# What clone() carries over beside the parameters.
_KEPT_BY_CLONE = ("_sklearn_output_config", "_metadata_request")

# What these draw, they draw as their parameter random_state says.
_WELL_KNOWN = ("numpy", "pandas", "scipy", "sklearn")


class Unsure(Exception):
    """Nobody can say that this value is like another one."""


def digest(*values: object) -> str:
    """Hexadecimal digest of `values`.

    Raises:
        Unsure: One of them cannot be compared by value.
    """
    written = hashlib.blake2b(digest_size=16)
    for value in values:
        _write(value, written)
    return written.hexdigest()


def may_draw(value: Any) -> bool:
    """Whether an estimator or function may draw from a global random state, for all one can tell from outside."""
    if isinstance(value, types.FunctionType):
        return value.__module__.partition(".")[0] not in _WELL_KNOWN
    if isinstance(value, type) or not hasattr(value, "get_params"):
        return False
    parameters = value.get_params().items()  # those of the estimators in it as well
    return type(value).__module__.partition(".")[0] not in _WELL_KNOWN or any(
        (part is None and name.rpartition("__")[2] == "random_state") or may_draw(part) for name, part in parameters
    )


def _write(value: Any, written: Any) -> None:
    kind = type(value)
    if kind in _PLAIN:
        _text(written, kind.__name__, repr(value))
    elif isinstance(value, np.random.RandomState | np.random.Generator | np.random.BitGenerator):
        raise Unsure("A generator of random numbers gives others whenever it is used.")
    elif isinstance(value, np.generic) and not value.dtype.hasobject:
        _text(written, "scalar", str(value.dtype))
        written.update(value.tobytes())
    elif kind is np.ndarray:
        _write_array(value, written)
    elif kind in (list, tuple):
        _text(written, kind.__name__, str(len(value)))
        for part in value:
            _write(part, written)
    elif kind is dict:
        _text(written, "dict", str(len(value)))
        for name, part in value.items():
            _write(name, written)
            _write(part, written)
    elif kind in (set, frozenset):
        _text(written, kind.__name__, *sorted(digest(part) for part in value))
    elif isinstance(value, type | types.FunctionType):
        _write_named(value, written)
    elif _is_described_by_parameters(value):
        _write_estimator(value, written)
    else:
        _text(written, "pickle")
        written.update(_pickled(value))


def _text(written: Any, *parts: str) -> None:
    """Each part with its length before it, so that no two sequences of parts read alike."""
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        written.update(len(data).to_bytes(8, "little"))
        written.update(data)


def _write_array(array: np.ndarray[Any, Any], written: Any) -> None:
    # The order in memory counts: sums over the same numbers in another order end in other digits.
    _text(written, "array", repr(array.dtype), str(array.shape), str(array.strides))
    if array.dtype.hasobject:
        _write(array.ravel().tolist(), written)
    else:
        written.update(array.tobytes())


def _is_described_by_parameters(value: object) -> bool:
    """Whether clone() makes it anew from its parameters alone (a frozen estimator, say, keeps what it has learned)."""
    return isinstance(value, BaseEstimator) and type(value).__sklearn_clone__ is BaseEstimator.__sklearn_clone__


def _write_estimator(estimator: BaseEstimator, written: Any) -> None:
    if vars(estimator).get("_skl_callbacks"):
        raise Unsure("Callbacks want to see every fit.")
    _text(written, "estimator")
    _write(type(estimator), written)
    for name, value in sorted(estimator.get_params(deep=False).items()):
        _text(written, name)
        _write(value, written)
    for name in _KEPT_BY_CLONE:
        if (value := vars(estimator).get(name)) is not None:
            _text(written, name)
            _write(value, written)


def _write_named(value: type | types.FunctionType, written: Any) -> None:
    """A class or function: by name where an import finds it, else (scripts, notebooks, lambdas) all of it."""
    module, name = value.__module__, value.__qualname__
    found: Any = sys.modules.get(module) if module != "__main__" else None
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is value:
        _text(written, "named", module, name, _origin(module))
    else:
        _text(written, "by value")
        written.update(_pickled(value))


@functools.cache
def _origin(module: str) -> str:
    """The version of the package that a module belongs to, or else a digest of its source."""
    version = getattr(sys.modules.get(module.partition(".")[0]), "__version__", None)
    if isinstance(version, str):
        return version
    path = getattr(sys.modules[module], "__file__", None)
    try:
        return hashlib.blake2b(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""


def _pickled(value: object) -> bytes:
    try:
        data = cloudpickle.dumps(value, protocol=5)
    except Exception as error:
        raise Unsure(f"{type(value).__name__} objects cannot be pickled.") from error
    assert isinstance(data, bytes)
    return data
