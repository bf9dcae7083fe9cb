"""The domains by the names that users import them by, and reading them back from JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from whet.errors import SpaceError
from whet.space.base import Domain
from whet.space.choices import Categorical, Constant, Ordinal
from whet.space.distributions import Distribution, NumpyDistribution, ScipyRv
from whet.space.normal import Normal
from whet.space.numeric import Float, Int
from whet.space.plain import shortened, value_from_json

__all__ = [
    "Categorical",
    "Constant",
    "Distribution",
    "Domain",
    "Float",
    "Int",
    "Normal",
    "NumpyDistribution",
    "Ordinal",
    "domain_from_json",
]

_KINDS: dict[str, type[Domain]] = {
    domain.kind: domain
    for domain in (Float, Int, Normal, Categorical, Ordinal, Constant, Distribution, NumpyDistribution)
}


def domain_from_json(data: Mapping[str, Any]) -> Domain:
    """Return the domain that ``to_json`` described; people may write this form by hand, with ``choices`` as values.

    Raises:
        SpaceError: an unknown type or key, a missing one, or arguments that make no domain.
    """
    given = {str(key): value for key, value in data.items()}
    kind = given.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SpaceError(f"expected a 'type' of {', '.join(_KINDS)}, came {shortened(repr(dict(data)))}")
    when = given.pop("when", None)
    if "choices" in given and kind in ("categorical", "ordinal") and "values" not in given:
        given["values"] = given.pop("choices")
    if kind == "ordinal" and "range" in given:
        given["values"] = _range_from(given.pop("range"))
    cls: Any = ScipyRv if kind == "scipy" else _KINDS[kind]
    if kind == "scipy" and "kwargs" in given:
        given["kwds"] = given.pop("kwargs")
    known = {f.name: f for f in dataclasses.fields(cls) if f.init and f.name != "when"}
    _check_keys(kind, given, known)
    arguments: dict[str, Any] = {
        key: value if isinstance(value, range) else value_from_json(value) for key, value in given.items()
    }
    if cls is ScipyRv:
        return Distribution(ScipyRv(**arguments), when=when)
    domain = cls(**arguments, when=when)
    assert isinstance(domain, Domain)
    return domain


def _check_keys(kind: str, given: Mapping[str, Any], known: Mapping[str, dataclasses.Field[Any]]) -> None:
    for key in given:
        if key not in known:
            raise SpaceError(f"{kind}: unknown key {key!r} (known: {', '.join(known)}, when)")
    for key, f in known.items():
        is_needed = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if is_needed and key not in given:
            raise SpaceError(f"{kind}: the key {key!r} is missing from {shortened(repr(dict(given)))}")


def _range_from(data: Any) -> range:
    if not isinstance(data, list | tuple) or not 1 <= len(data) <= 3 or any(type(item) is not int for item in data):
        raise SpaceError(f"ordinal: expected a range as [start, stop, step], came {shortened(repr(data))}")
    try:
        return range(*data)
    except ValueError as error:
        raise SpaceError(f"ordinal: {error}: range{tuple(data)}") from None
