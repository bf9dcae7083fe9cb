"""Candidates of scikit-learn as a space of whet and its configs, and the other way round.

A config holds what JSON can hold, so that it can be stored, shown and compared. A candidate may hold anything:
estimators, functions, arrays. Such a value stands in the config by a label, unique among the values of its parameter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whet.errors import ConfigError, SpaceError
from whet.space.choices import Categorical, Constant, Ordinal
from whet.space.domain import Domain
from whet.space.plain import is_number, own_copy, plain, shortened, value_key, value_to_json
from whet.space.space import Space

_UNSET = "(as it is)"  # of a parameter that other candidates set, and this one does not
_MAY_BE_JSON = (type(None), bool, int, float, str, list, tuple, dict, np.generic)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Described:
    """Candidates, and the space that they are from, as far as they show it.

    Attributes:
        space: of the configs.
        objects: name of a parameter to the objects among its values, which stand in configs by labels.
    """

    space: Space
    objects: Mapping[str, Sequence[Any]]
    _values: Mapping[str, Mapping[Hashable, Any]]  # what stands in a config for each value

    def config(self, candidate: Mapping[str, Any]) -> dict[str, Any]:
        """Return *candidate* as a config.

        Raises:
            ConfigError: it is not in the space.
        """
        config = {}
        for name, known in self._values.items():
            key = _key(candidate[name]) if name in candidate else _UNSET
            config[name] = known[key] if key in known else self._own_value(name, candidate.get(name, _Unset()))
        if not candidate.keys() <= config.keys():
            raise ConfigError(f"no candidate before had {', '.join(candidate.keys() - config.keys())}")
        return config

    def _own_value(self, name: str, value: Any) -> Any:
        is_json, own = _as_json(value)
        if not is_json or not self.space[name].contains(own):
            raise ConfigError(f"{name}: no candidate before had {shortened(_text_of(value))}")
        return own


def described(candidates: Sequence[Mapping[str, Any]], wider: Mapping[str, Domain] | None = None) -> Described:
    """Return the space that the *candidates* are from, as far as they show it.

    Where it is known what a parameter may be in others that follow, *wider* has its domain.
    """
    objects: dict[str, dict[Hashable, Any]] = {}
    for candidate in candidates:
        for name, value in candidate.items():
            objects.setdefault(name, {}).setdefault(_key(value), value)
    for name, known in objects.items():
        if any(name not in candidate for candidate in candidates):
            known[_UNSET] = _Unset()
    values = {name: _config_values(known) for name, known in objects.items()}
    domains = {name: _domain(list(known.values())) for name, known in values.items()} | dict(wider or {})
    labelled = {name: [value for value in known.values() if not _as_json(value)[0]] for name, known in objects.items()}
    return Described(Space(domains), {name: of for name, of in labelled.items() if of}, values)


@dataclass(frozen=True, slots=True)
class Searched:
    """A space that candidates are chosen from.

    Attributes:
        space: of the configs.
        objects: for parameters of listed values, what each value of a config stands for, by `value_key`.
    """

    space: Space
    objects: Mapping[str, Mapping[Hashable, Any]]

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that *config* sets."""
        return {name: own_copy(self._object(name, value)) for name, value in config.items()}

    def _object(self, name: str, value: Any) -> Any:
        return self.objects[name][value_key(value)] if name in self.objects else value


def searched(given: Mapping[str, Any]) -> Searched:
    """Return the space that *given* describes: a `Space`, or what one is made of, with any objects in its lists.

    Raises:
        SpaceError: a domain that makes no sense, or none at all; the message begins with the name of the parameter.
    """
    if not given:
        raise SpaceError(
            'expected a space with at least one parameter, as {"C": (1e-3, 1e3, "log")}, came an empty one'
        )
    objects: dict[str, dict[Hashable, Any]] = {}
    domains: dict[str, Any] = {}
    for name, domain in given.items():
        values = _values_of(domain)
        if values is None:
            domains[name] = domain
            continue
        known = {_key(value): value for value in values}
        settled = _config_values(known)
        objects[name] = {value_key(settled[key]): _as_json(known[key])[1] for key in known}
        try:
            domains[name] = _with(domain, list(settled.values()))
        except SpaceError as error:
            raise SpaceError(f"{name}: {error}") from None
    if isinstance(given, Space):
        return Searched(Space(domains, zips=given.zips, forbid=given.forbid), objects)
    return Searched(Space(domains), objects)


def _values_of(domain: Any) -> Sequence[Any] | None:
    """Return what *domain* lists, if it lists values and they may be objects."""
    if isinstance(domain, Constant):
        return [domain.value]
    if isinstance(domain, Categorical | Ordinal):
        return None if isinstance(domain.values, range) else domain.values
    if isinstance(domain, range):
        return list(domain)
    if isinstance(domain, list) or (isinstance(domain, np.ndarray) and domain.ndim == 1):
        return list(domain)
    return None


def _with(domain: Any, values: list[Any]) -> Domain:
    """Return *domain* with these *values* in the place of its own."""
    if isinstance(domain, Constant):
        return replace(domain, value=values[0])
    if isinstance(domain, Categorical | Ordinal):
        return replace(domain, values=values)
    return _domain(values)


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
