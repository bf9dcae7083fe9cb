"""What a user may write for a domain: a list, a pair of bounds, a typed dict, a frozen scipy distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.errors import SpaceError
from whet.space.domain import Categorical, Constant, Distribution, Domain, Float, Int, domain_from_json
from whet.space.plain import plain, shortened

_FORMS = (
    "a domain such as whet.Float(1e-5, 1e-1, log=True), a list of values, (low, high), (low, high, 'log'), "
    "{'type': 'float', 'low': 0, 'high': 1}, or a frozen scipy.stats distribution; for one fixed value Constant(value)"
)


def domain_from(name: str, given: Any) -> Domain:
    """Return the domain that *given* stands for, for the parameter *name*.

    Raises:
        SpaceError: it is none of the accepted forms, or makes no domain; the message begins with the name.
    """
    try:
        return _domain_from(given)
    except SpaceError as error:
        raise SpaceError(f"{name}: {error}") from None


def _domain_from(given: Any) -> Domain:
    if isinstance(given, Domain):
        return given
    if isinstance(given, list):
        return Categorical(given)
    if isinstance(given, tuple):
        return _from_bounds(tuple(map(plain, given)))
    if isinstance(given, Mapping):
        return domain_from_json(given)
    if all(hasattr(given, attribute) for attribute in ("dist", "args", "kwds")):
        return _from_scipy(given)
    came = f"the class {given.__name__}: call it" if isinstance(given, type) else shortened(repr(given))
    raise SpaceError(f"expected {_FORMS}; came {came}")


def _from_bounds(given: tuple[Any, ...]) -> Domain:
    are_numbers = all(isinstance(bound, int | float) for bound in given[:2])
    if not 2 <= len(given) <= 3 or not are_numbers or given[2:] not in ((), ("log",)):
        hint = "; for a choice among these values write a list" if len(given) else ""
        raise SpaceError(f"expected (low, high) or (low, high, 'log'), came {shortened(repr(given))}{hint}")
    low, high = given[:2]
    is_log = len(given) == 3
    return Int(low, high, is_log) if type(low) is type(high) is int else Float(low, high, is_log)


def _from_scipy(rv: Any) -> Domain:
    """Return Int and Float for the distributions of scipy.stats that are the same thing."""
    domain = Distribution(rv)  # checks the parameters
    name, args, kwds = domain.rv.name, domain.rv.args, domain.rv.kwds
    if name == "randint":
        low, high, loc = _bound(("low", "high", "loc"), args, {"loc": 0, **kwds})
        first, last = int(low + loc), int(high + loc) - 1
        return Constant(first) if first == last else Int(first, last)
    if name == "uniform":
        loc, scale = _bound(("loc", "scale"), args, {"loc": 0.0, "scale": 1.0, **kwds})
        return Float(loc, loc + scale)
    if name in ("loguniform", "reciprocal"):
        a, b, loc, scale = _bound(("a", "b", "loc", "scale"), args, {"loc": 0.0, "scale": 1.0, **kwds})
        if loc == 0:
            return Float(a * scale, b * scale, log=True)
    return domain


def _bound(names: tuple[str, ...], args: tuple[float, ...], kwds: Mapping[str, float]) -> list[float]:
    given = {**kwds, **dict(zip(names, args, strict=False))}
    return [given[name] for name in names]
