"""Values that users give: made plain, compared by type and value, copied, stored as JSON."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from whet.errors import SpaceError

_LONGEST_SHOWN = 120
_TUPLE = "$tuple"
_SCALARS = ((np.bool_, bool), (np.integer, int), (np.floating, float), (np.str_, str))


def is_number(value: object) -> bool:
    """Tell whether *value* is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Return *value* with numpy scalars, also inside lists, tuples and dicts, turned into Python's own."""
    if isinstance(value, np.generic):
        for numpy_type, python_type in _SCALARS:
            if isinstance(value, numpy_type):
                return python_type(value)
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def value_key(value: Any) -> Hashable:
    """Return a key that is equal exactly for values of the same type that are equal.

    A list and a tuple with the same items count as the same value, because a store gives back lists.
    """
    if isinstance(value, list | tuple):
        return (list, tuple(map(value_key, value)))
    if isinstance(value, dict):
        return (dict, frozenset((value_key(key), value_key(item)) for key, item in value.items()))
    if isinstance(value, float) and math.isnan(value):
        return (float, "nan")
    try:
        hash(value)
    except TypeError:
        return (id, id(value))
    return (type(value), value)


def own_copy(value: Any) -> Any:
    """Return *value*, copied where it is a list or a dict, so that whoever gets it may change it."""
    if type(value) in (list, tuple):
        return type(value)(map(own_copy, value))
    if type(value) is dict:
        return {key: own_copy(item) for key, item in value.items()}
    return value


def value_to_json(value: Any) -> Any:
    """Return *value* as JSON can hold it; a tuple becomes a tagged list.

    Raises:
        SpaceError: there is something in it that JSON cannot hold.
    """
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is list:
        return [value_to_json(item) for item in value]
    if type(value) is tuple:
        return {_TUPLE: [value_to_json(item) for item in value]}
    if type(value) is dict and all(type(key) is str and key != _TUPLE for key in value):
        return {key: value_to_json(item) for key, item in value.items()}
    raise SpaceError(
        f"the value {shortened(repr(value))} ({type(value).__name__}) cannot be stored: expected None, a bool, "
        "a finite number, a string, or lists, tuples and dicts (with string keys) of these; "
        "give a name instead and look the object up in your own code"
    )


def value_from_json(data: Any) -> Any:
    """Return the value that :func:`value_to_json` was given."""
    if isinstance(data, list):
        return [value_from_json(item) for item in data]
    if isinstance(data, Mapping):
        if data.keys() == {_TUPLE} and isinstance(data[_TUPLE], list):
            return tuple(map(value_from_json, data[_TUPLE]))
        return {key: value_from_json(item) for key, item in data.items()}
    return data


def shortened(text: str) -> str:
    """Return *text* for a message, its middle left out when it is long."""
    half = _LONGEST_SHOWN // 2
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:half]} … {text[-half:]}"
