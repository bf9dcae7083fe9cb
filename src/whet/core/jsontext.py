"""JSON as whet stores it: compact, and with non-finite numbers tagged instead of written raw.

NaN and infinity are no JSON, and databases refuse or reinterpret them; ``{"$float": "nan"}`` survives all of them.
A dict that looks like a tag by itself is kept apart as ``{"$dict": [[key, value]]}``.
"""

from __future__ import annotations

import json
import math
from typing import Any

# What comes of a value of another kind than is expected.
MISREAD = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
_FLOAT = "$float"
_DICT = "$dict"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """Return *value* as compact JSON text, in ASCII.

    Raises:
        TypeError: *value* holds something that JSON cannot hold.
    """
    try:
        text = _encode(value)
    except ValueError:
        return _encode(_tagged(value))
    return _encode(_tagged(value)) if _has_tag(text) else text


def loads(text: str) -> Any:
    """Return what :func:`dumps` was given, tuples as lists.

    Raises:
        ValueError: *text* is not what :func:`dumps` wrote.
    """
    return json.loads(text, object_hook=_untagged) if _has_tag(text) else json.loads(text)


def _has_tag(text: str) -> bool:
    return _FLOAT in text or _DICT in text


def _tagged(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(float(value))}
    if isinstance(value, dict):
        items = {key: _tagged(item) for key, item in value.items()}
        looks_tagged = len(items) == 1 and not items.keys().isdisjoint((_FLOAT, _DICT))
        return {_DICT: [list(item) for item in items.items()]} if looks_tagged else items
    if isinstance(value, (list, tuple)):
        return [_tagged(item) for item in value]
    return value


def _untagged(item: dict[str, Any]) -> Any:
    if len(item) != 1:
        return item
    if _FLOAT in item:
        return float(item[_FLOAT])
    if _DICT in item:
        return dict(item[_DICT])
    return item
