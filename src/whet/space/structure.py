"""How the parameters of a space hang together: conditions resolved and ordered, zips checked, axes."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet.errors import SpaceError
from whet.space.base import Domain
from whet.space.conditions import Condition, condition_from, match_name
from whet.space.plain import shortened


def resolved(name: str, domain: Domain, names: list[str]) -> Domain:
    """Return *domain*, of the parameter *name*, with the names in its condition as the space has them.

    Raises:
        SpaceError: the condition has an unknown name.
    """
    if domain.when is None:
        return domain
    try:
        return replace(domain, when=condition_from(domain.when).resolve(names))  # type: ignore[type-var]
    except SpaceError as error:
        raise SpaceError(f"{name}: {error}") from None


def by_dependency(names: Sequence[str], conditions: Mapping[str, Condition]) -> tuple[str, ...]:
    """Return *names* so that each comes after those that its condition asks for.

    Raises:
        SpaceError: conditions that need one another.
    """
    parents = {name: conditions[name].names if name in conditions else () for name in names}
    try:
        return tuple(graphlib.TopologicalSorter(parents).static_order())
    except graphlib.CycleError as error:
        cycle = list(reversed(error.args[1]))
        raise SpaceError(
            f"conditions go round in a circle: {' needs '.join(map(repr, cycle))}; "
            f"drop one of the conditions, for example that of {cycle[0]!r} ({conditions[cycle[0]]})"
        ) from None


def checked_zips(zips: Any, domains: Mapping[str, Domain]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that advance together, in the order of the space.

    Raises:
        SpaceError: a group that is none, an unknown name or one in two groups, domains that are not finite or
            differ in size.
    """
    names = list(domains)
    groups = []
    grouped: set[str] = set()
    for given in listed("zips", zips):
        found = [match_name(_text(name), names, "zip") for name in listed("zip", given)]
        if len(found) < 2 or len(set(found)) < len(found):
            raise SpaceError(f"zip: expected at least two different names, came {shortened(repr(list(found)))}")
        if twice := grouped & set(found):
            raise SpaceError(f"zip: {min(twice)!r} is in two zips; join them into one")
        grouped |= set(found)
        _check_sizes({name: domains[name] for name in found})
        groups.append(tuple(sorted(found, key=names.index)))
    return tuple(sorted(groups, key=lambda group: names.index(group[0])))


def axes_of(names: Sequence[str], zips: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of names that vary as one: each zip where its first name is, every other name alone."""
    followers = {name for group in zips for name in group[1:]}
    leaders = {group[0]: group for group in zips}
    return tuple(leaders.get(name, (name,)) for name in names if name not in followers)


def listed(what: str, given: Any) -> list[Any]:
    """Return *given* as a list.

    Raises:
        SpaceError: it is none; a text in place of a list of texts is the usual slip.
    """
    if not isinstance(given, list | tuple):
        raise SpaceError(f"{what}: expected a list, came {shortened(repr(given))}; put it in [ ]")
    return list(given)


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise SpaceError(f"zip: expected names of parameters, came {shortened(repr(name))}")
    return name


def _check_sizes(group: Mapping[str, Domain]) -> None:
    for name, domain in group.items():
        if domain.size is None:
            raise SpaceError(f"zip: {name} is {shortened(str(domain))}, which is no list of values; give it one")
    if len({domain.size for domain in group.values()}) > 1:
        sizes = ", ".join(f"{name} has {domain.size:,}" for name, domain in group.items())
        raise SpaceError(f"zip: expected lists of the same length: {sizes} values")
