"""Expressions over parameter names as trees: evaluated, renamed and written out again, never by Python's eval.

A name that the config does not have makes the comparison it stands in false. Numbers are bounded, so no expression
can take long or much memory.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from whet.errors import ConfigError
from whet.space.plain import shortened

WORDS = frozenset({"and", "or", "not", "in", "True", "False", "None"})
NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_MAX_BITS = 4096


@dataclass(frozen=True, slots=True)
class Literal:
    """None, a bool, a number, a string, or a list or tuple of these."""

    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    """The value of a parameter."""

    text: str


@dataclass(frozen=True, slots=True)
class Negative:
    """A number with its sign turned."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``first op operand op operand …`` with operators of one precedence, applied from the left."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``first op operand op operand …``, true when every neighbouring pair compares as said."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True when the operand is false."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Joined:
    """Conditions joined by one *word*, ``and`` or ``or``."""

    word: str
    items: tuple[Node, ...]


Node = Literal | Name | Negative | Arithmetic | Comparison | Not | Joined

_ABSENT = object()
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _NEGATIVE, _POWER, _ATOM = range(9)
_LEVELS = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "//": _PRODUCT, "%": _PRODUCT, "**": _POWER}


def is_true(node: Node, config: Mapping[str, Any]) -> bool:
    """Tell whether the condition *node* holds in *config*.

    Raises:
        ConfigError: values that cannot be compared or computed with.
    """
    match node:
        case Joined("and", items):
            return all(is_true(item, config) for item in items)
        case Joined(_, items):
            return any(is_true(item, config) for item in items)
        case Not(operand):
            return not is_true(operand, config)
        case Comparison(first, rest):
            return _compares(value_of(first, config), rest, config)
    value = value_of(node, config)
    if value is _ABSENT:
        return False
    if value is None or isinstance(value, int | float):
        return bool(value)
    raise ConfigError(f"{write(node)} is {shortened(repr(value))}, which is neither true nor false; compare it")


def value_of(node: Node, config: Mapping[str, Any]) -> Any:
    """Return what *node* comes to in *config*; a sentinel where it needs a name that the config does not have.

    Raises:
        ConfigError: values that cannot be compared or computed with.
    """
    match node:
        case Literal(value):
            return value
        case Name(text):
            return config.get(text, _ABSENT)
        case Negative(operand):
            return _computed("*", -1, value_of(operand, config))
        case Arithmetic(first, rest):
            value = value_of(first, config)
            for sign, operand in rest:
                value = _computed(sign, value, value_of(operand, config))
            return value
    return is_true(node, config)


def names_in(node: Node) -> Iterator[str]:
    """Yield the names in *node* from left to right, as often as they are there."""
    if isinstance(node, Name):
        yield node.text
    for child in _children(node):
        yield from names_in(child)


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """Return *node* with each name replaced by what *names* has for it."""
    match node:
        case Name(text):
            return Name(names[text])
        case Negative(operand):
            return Negative(renamed(operand, names))
        case Not(operand):
            return Not(renamed(operand, names))
        case Arithmetic(first, rest) | Comparison(first, rest):
            return type(node)(renamed(first, names), tuple((sign, renamed(item, names)) for sign, item in rest))
        case Joined(word, items):
            return Joined(word, tuple(renamed(item, names) for item in items))
    return node


def write(node: Node, level: int = _OR) -> str:
    """Return the text of *node*, in brackets where it binds more weakly than *level*."""
    text, own = _written(node)
    return f"({text})" if own < level else text


def write_name(name: str) -> str:
    """Return *name* as an expression has it: in backquotes where it is no plain word."""
    is_plain = NAME.fullmatch(name) and name not in WORDS
    return name if is_plain else f"`{name.replace('`', '``')}`"


def _written(node: Node) -> tuple[str, int]:
    match node:
        case Literal(value):
            is_negative = isinstance(value, int | float) and math.copysign(1, value) < 0
            return repr(value), _NEGATIVE if is_negative else _ATOM
        case Name(text):
            return write_name(text), _ATOM
        case Negative(operand):
            return f"-{write(operand, _NEGATIVE)}", _NEGATIVE
        case Not(operand):
            return f"not {write(operand, _NOT)}", _NOT
        case Comparison(first, rest):
            return _chained(first, rest, _SUM, _SUM), _COMPARISON
        case Arithmetic(first, (("**", exponent),)):
            return f"{write(first, _ATOM)} ** {write(exponent, _NEGATIVE)}", _POWER
        case Arithmetic(first, rest):
            level = _LEVELS[rest[0][0]]
            return _chained(first, rest, level + 1, level + 1), level
        case Joined(word, items):
            level = _OR if word == "or" else _AND
            return f" {word} ".join(write(item, level + 1) for item in items), level


def _chained(first: Node, rest: tuple[tuple[str, Node], ...], level: int, level_rest: int) -> str:
    return " ".join([write(first, level), *(f"{sign} {write(item, level_rest)}" for sign, item in rest)])


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Negative(operand) | Not(operand):
            return (operand,)
        case Arithmetic(first, rest) | Comparison(first, rest):
            return (first, *(item for _, item in rest))
        case Joined(_, items):
            return items
    return ()


def _compares(left: Any, rest: tuple[tuple[str, Node], ...], config: Mapping[str, Any]) -> bool:
    for sign, operand in rest:
        right = value_of(operand, config)
        if left is _ABSENT or right is _ABSENT or not _compare(sign, left, right):
            return False
        left = right
    return True


def _compare(sign: str, left: Any, right: Any) -> bool:
    if sign in ("==", "!="):
        return _same(left, right) == (sign == "==")
    if sign in ("in", "not in"):
        if not isinstance(right, list | tuple):
            raise ConfigError(f"expected a list behind {sign!r}, came {shortened(repr(right))}")
        return any(_same(left, item) for item in right) == (sign == "in")
    if (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return _ORDER[sign](left, right)
    raise ConfigError(f"{shortened(repr(left))} {sign} {shortened(repr(right))}: these two have no order")


def _same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal; True is not 1, a list is equal to a tuple with the same items."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _computed(sign: str, left: Any, right: Any) -> Any:
    if left is _ABSENT or right is _ABSENT:
        return _ABSENT
    shown = f"{shortened(repr(left))} {sign} {shortened(repr(right))}"
    if not _is_number(left) or not _is_number(right):
        raise ConfigError(f"{shown}: only numbers can be computed with")
    if right == 0 and sign in ("/", "//", "%"):
        raise ConfigError(f"{shown}: division by zero")
    if sign == "**" and isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MAX_BITS:
        raise ConfigError(f"{shown} is too large")
    try:
        result = _ARITHMETIC[sign](left, right)
    except ArithmeticError:
        raise ConfigError(f"{shown} is too large, or not defined") from None
    if isinstance(result, complex) or (isinstance(result, float) and not math.isfinite(result)):
        raise ConfigError(f"{shown} is no finite number")
    if isinstance(result, int) and result.bit_length() > _MAX_BITS:
        raise ConfigError(f"{shown} is too large")
    return result
