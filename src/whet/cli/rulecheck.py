"""What ``--when``, ``--forbid`` and ``--zip`` say that cannot be meant: fixed arguments, values never taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from whet.errors import UsageError
from whet.space.conditions import Condition, condition_from
from whet.space.domain import Categorical, Ordinal
from whet.space.expressions import Comparison, Joined, Literal, Name, Node, Not, is_true, write
from whet.space.plain import shortened
from whet.space.space import Space
from whet.space.tokens import typed
from whet.space.values import abridged


def check_varies(name: str, where: str, varied: Iterable[str], fixed: Mapping[str, str]) -> None:
    """See that *name* is not that of an argument with a single value.

    Args:
        name: as written.
        where: the option that it is written in.
        varied: names of the parameters.
        fixed: name to value of the arguments that are no parameters, but could be.

    Raises:
        UsageError: it is; the message says how to make a parameter of it.
    """
    wanted = name.replace("_", "-")
    if wanted in {other.replace("_", "-") for other in varied}:
        return
    for other, text in fixed.items():
        if other.replace("_", "-") == wanted:
            element = repr(text) if isinstance(typed(text), str) else text
            raise UsageError(
                f"{where}: {other} is given a single value, {shortened(text)}, so it is no parameter; "
                f'to make it one, write a list: "{shortened(f"[{element}]")}"'
            )


def never_taken(space: Space) -> Iterator[str]:
    """Yield a notice for each literal of a condition that the parameter compared with it never takes."""
    rules: list[tuple[str, Condition]] = [
        (f"--when {name}", condition_from(domain.when)) for name, domain in space.items() if domain.when is not None
    ]
    rules += [("--forbid", condition) for condition in space.forbid]
    for where, condition in rules:
        for name, value, text in _literals(condition.tree):
            domain = space[name]
            if isinstance(domain, Categorical | Ordinal) and not _is_among(value, domain.values):
                values = abridged([repr(other) for other in domain.values[:9]])
                yield f"{where}: {name} is never {shortened(repr(value))}, as in {shortened(text)} (values: {values})"


def _literals(node: Node) -> Iterator[tuple[str, Any, str]]:
    """Yield name, literal and text of the comparisons for equality and membership below *node*."""
    match node:
        case Joined(_, items):
            for item in items:
                yield from _literals(item)
        case Not(operand):
            yield from _literals(operand)
        case Comparison(Name(name), (("==" | "!=", Literal(value)),)) | Comparison(
            Literal(value), (("==" | "!=", Name(name)),)
        ):
            yield name, value, write(node)
        case Comparison(Name(name), (("in" | "not in", Literal(list() | tuple() as values)),)):
            for value in values:
                yield name, value, write(node)


def _is_among(value: Any, values: Sequence[Any]) -> bool:
    if isinstance(values, range):  # of any length; Python looks a whole number up at once, and all else one by one
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return is_whole and int(value) in values
    return any(is_true(Comparison(Literal(value), (("==", Literal(other)),)), {}) for other in values)
