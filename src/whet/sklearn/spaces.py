"""Candidates of scikit-learn as a space of whet and its configs.

A config holds what JSON can hold, so that it can be stored, shown and compared. A candidate may hold anything:
estimators, functions, arrays. Such a value stands in the config by a label, unique among the values of its parameter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from whet.space.choices import Categorical, Ordinal
from whet.space.domain import Domain
from whet.space.plain import is_number, plain, shortened, value_key, value_to_json
from whet.space.space import Space

_UNSET = "(as it is)"  # of a parameter that other candidates set, and this one does not
_MAY_BE_JSON = (type(None), bool, int, float, str, list, tuple, dict, np.generic)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(candidates: Sequence[Mapping[str, Any]]) -> tuple[Space, list[dict[str, Any]]]:
    """Return the space that the *candidates* are from, as far as they show it, and each of them as a config."""
    objects: dict[str, dict[Hashable, Any]] = {}
    for candidate in candidates:
        for name, value in candidate.items():
            objects.setdefault(name, {}).setdefault(_key(value), value)
    for name, known in objects.items():
        if any(name not in candidate for candidate in candidates):
            known[_UNSET] = _Unset()
    values = {name: _config_values(known) for name, known in objects.items()}
    space = Space({name: _domain(list(known.values())) for name, known in values.items()})
    return space, [
        {name: known[_key(candidate[name]) if name in candidate else _UNSET] for name, known in values.items()}
        for candidate in candidates
    ]


class _Unset:
    """The value of a parameter that a candidate does not set."""

    def __repr__(self) -> str:
        return _UNSET


def _domain(values: list[Any]) -> Domain:
    return Ordinal(sorted(values)) if all(map(is_number, values)) else Categorical(values)


def _as_json(value: Any) -> tuple[bool, Any]:
    """Tell whether JSON can hold *value*, and return it as JSON does, with Python's own numbers."""
    if not isinstance(value, _MAY_BE_JSON):
        return False, value
    try:
        own = plain(value)
        value_to_json(own)
    except Exception:  # a SpaceError, or whatever objects inside raise when the error shows them
        return False, value
    return True, own


def _key(value: Any) -> Hashable:
    """Return what tells *value* from others: what it is where JSON can hold it, else which object it is."""
    is_json, own = _as_json(value)
    return ("json", value_key(own)) if is_json else ("object", id(value))


def _config_values(known: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Return, by the keys of *known*, what stands in a config for each of its values."""
    read = {key: _as_json(value) for key, value in known.items()}
    settled = {key: own for key, (is_json, own) in read.items() if is_json}
    taken = {own for own in settled.values() if isinstance(own, str)}
    for key in [key for key in known if key not in settled]:
        settled[key] = _free(_text_of(known[key]), taken)
        taken.add(settled[key])
    return {key: settled[key] for key in known}


def _free(text: str, taken: Collection[str]) -> str:
    """Return *text*, numbered where it is *taken*."""
    number, free = 1, text
    while free in taken:
        number += 1
        free = f"{text} #{number}"
    return free


def _text_of(value: Any) -> str:
    """Return *value* in a few words, the same in every process."""
    try:
        text = value.__qualname__ if hasattr(value, "__qualname__") else repr(value)
    except Exception:  # an object's own code, which nobody asked for
        text = type(value).__qualname__
    return shortened(" ".join(_ADDRESS.sub("", str(text)).split()))
