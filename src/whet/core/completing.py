"""Configs that leave something out: what is missing comes from defaults, else from the middle of its domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.core.giving import checked_config
from whet.errors import ConfigError
from whet.space.domain import Categorical, Domain
from whet.space.plain import is_number, shortened
from whet.space.space import Space


def completed(
    space: Space, config: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, *, fills_middle: bool = True
) -> dict[str, Any]:
    """Return *config* with a value for every parameter, as the space itself would give it.

    What *config* leaves out comes from *defaults*, else it is the middle of its domain: of numbers and of what has an
    order the middle one, of any other list the first. Zipped parameters follow the first of them that is known. A
    parameter whose condition does not hold stays out.

    Args:
        space: that it is to be in.
        config: name to value.
        defaults: values that are known otherwise; those of other names are ignored.
        fills_middle: without it, what neither of them has is an error.

    Raises:
        ConfigError: a value is not in its domain, or the whole is not in the space; the message names the parameter.
    """
    if not isinstance(config, Mapping) or not all(name in space for name in config):
        space.check(config)
    known = {name: value for name, value in (defaults or {}).items() if name in space} | dict(config)
    for name, value in known.items():
        if not space[name].contains(value):
            raise ConfigError(f"{name}: {space[name].misfit(value)}")
    values: dict[str, Any] = {}
    for axis in space.axes:
        leader = next((name for names in (config, known) for name in axis if name in names), None)
        if leader is not None:
            values |= _along(space, axis, leader, known[leader])
        elif fills_middle:
            values |= _along(space, axis, axis[0], _middle(axis[0], space[axis[0]]))
    values |= config
    active = space.active(values)
    # One that was given and is not there under its condition is for the check to refuse.
    return checked_config(space, {name: values[name] for name in space if name in active or name in config})


def _along(space: Space, axis: tuple[str, ...], leader: str, value: Any) -> dict[str, Any]:
    """Return the values of all of an *axis*, whose parameters are zipped if there are several."""
    if len(axis) == 1:
        return {leader: value}
    index = space[leader].index_of(value)
    return {name: space[name].value_at(index) for name in axis}


def _middle(name: str, domain: Domain) -> Any:
    if isinstance(domain, Categorical) and not all(map(is_number, domain.values)):
        return domain.value_at(0)
    if not domain.is_encodable:
        raise ConfigError(f"{name}: {shortened(str(domain))} can only be sampled and has no middle; give a value")
    return domain.decode(0.5)
