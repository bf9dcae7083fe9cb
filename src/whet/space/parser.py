"""Reading a condition's text into a tree: a tokenizer and a recursive-descent parser of bounded depth.

::

    either     = both {"or" both}
    both       = negated {"and" negated}
    negated    = "not" negated | comparison
    comparison = sum {("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") sum}
    sum        = product {("+" | "-") product}
    product    = signed {("*" | "/" | "//" | "%") signed}
    signed     = "-" signed | power
    power      = atom ["**" signed]
    atom       = name | number | string | "True" | "False" | "None" | "(" either ")" | list | tuple
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whet.errors import SpaceError
from whet.space.expressions import (
    NAME,
    WORDS,
    Arithmetic,
    Comparison,
    Joined,
    Literal,
    Name,
    Negative,
    Node,
    Not,
    write,
)
from whet.space.plain import shortened

_MAX_LENGTH = 10_000
_MAX_DEPTH = 40
_MAX_DIGITS = 100
_TOKEN = re.compile(
    rf"""
    (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))
    | (?P<name>{NAME.pattern})
    | `(?P<quoted>(?:[^`]|``)+)`
    | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<sign>\*\*|//|==|!=|<=|>=|[<>+\-*/%()\[\],])
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANKS = re.compile(r"\s*")
# Every escape that repr() writes; any other backslash stays one, as in Python.
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})|([nrt\\'\"]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS = {"True": True, "False": False, "None": None}
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in")
_HINTS = {
    "=": "write == to compare",
    "is": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not, or != to compare",
    "'": "this string is never closed",
    '"': "this string is never closed",
    "`": "this name is never closed by another `",
}


@dataclass(frozen=True, slots=True)
class _Token:
    """What kind of token, its value, and where it begins; a sign's or a word's kind is the sign or word itself."""

    kind: str
    value: Any
    start: int


def parse(text: str) -> Node:
    """Return the tree of the condition *text*.

    Raises:
        SpaceError: it does not parse, or is no condition; the message has the column.
    """
    if len(text) > _MAX_LENGTH:
        raise SpaceError(f"a condition may have {_MAX_LENGTH:,} characters, this one has {len(text):,}")
    return _Parser(text).whole()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = _end_of_blanks(text, 0)
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            hint = _HINTS.get(text[position], "expected a name, a number, a 'string' or an operator")
            raise _error(text, position, f"{text[position]!r}: {hint}")
        found.append(_token(text, match))
        position = _end_of_blanks(text, match.end())
    return [*found, _Token("end", "", len(text))]


def _end_of_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position


def _token(text: str, match: re.Match[str]) -> _Token:
    value, start = match[0], match.start()
    if match["number"]:
        if len(value) > _MAX_DIGITS:
            raise _error(text, start, f"expected a number of at most {_MAX_DIGITS} characters")
        number = int(value) if value.isdigit() else float(value)
        if not math.isfinite(number):
            raise _error(text, start, f"{value} is larger than any float")
        return _Token("literal", number, start)
    if match["string"]:
        return _Token("literal", _ESCAPE.sub(_unescaped, value[1:-1]), start)
    if match["quoted"]:
        return _Token("name", match["quoted"].replace("``", "`"), start)
    if value in _CONSTANTS:
        return _Token("literal", _CONSTANTS[value], start)
    return _Token(value if match["sign"] or value in WORDS else "name", value, start)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    return chr(int(code, 16)) if code else _ESCAPED.get(match[4], match[4])


def _error(text: str, position: int, problem: str) -> SpaceError:
    return SpaceError(f"condition {shortened(text)}: {problem} (column {position + 1})")


class _Parser:
    """The tokens of one text and how far they have been read. One method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *kinds: str) -> str | None:
        """Step over the next token if it is one of *kinds*, and return its kind."""
        kind = self._token.kind
        if kind not in kinds:
            return None
        self._at += 1
        return kind

    def _unexpected(self, expected: str) -> SpaceError:
        token = self._token
        came = "the end" if token.kind == "end" else shortened(repr(token.value))
        hint = f"; {_HINTS[token.value]}" if token.kind == "name" and token.value in _HINTS else ""
        return _error(self._text, token.start, f"expected {expected}, came {came}{hint}")

    def _nested(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _error(self._text, self._token.start, f"more than {_MAX_DEPTH} levels of brackets and signs")
        node = rule()
        self._depth -= 1
        return node

    def _checked(self, node: Node, start: int) -> Node:
        """Return *node*, which began at *start*, if it is something that is true or false."""
        if isinstance(node, Negative | Arithmetic) or (isinstance(node, Literal) and type(node.value) is not bool):
            hint = "as in name == 'a' or name in ('a', 'b')"
            raise _error(self._text, start, f"expected a comparison, {hint}, came the value {write(node)}")
        return node

    def whole(self) -> Node:
        """Read the whole text as one condition."""
        start = self._token.start
        node = self._checked(self._either(), start)
        if self._token.kind != "end":
            raise self._unexpected("an operator or the end")
        return node

    def _either(self) -> Node:
        return self._joined("or", self._both)

    def _both(self) -> Node:
        return self._joined("and", self._negated)

    def _joined(self, word: str, rule: Callable[[], Node]) -> Node:
        start = self._token.start
        first = rule()
        if self._token.kind != word:
            return first
        items = [self._checked(first, start)]
        while self._take(word):
            start = self._token.start
            items.append(self._checked(rule(), start))
        return Joined(word, tuple(items))

    def _negated(self) -> Node:
        if not self._take("not"):
            return self._comparison()
        start = self._token.start
        return Not(self._checked(self._nested(self._negated), start))

    def _comparison(self) -> Node:
        first = self._sum()
        rest: list[tuple[str, Node]] = []
        while sign := self._comparison_sign():
            start = self._token.start
            operand = self._sum()
            if sign.endswith("in") and isinstance(operand, Literal) and not isinstance(operand.value, list | tuple):
                raise _error(self._text, start, f"expected a list behind {sign!r}, as in ({write(operand)},)")
            rest.append((sign, operand))
        return Comparison(first, tuple(rest)) if rest else first

    def _comparison_sign(self) -> str | None:
        if self._token.kind == "not" and self._tokens[self._at + 1].kind == "in":
            self._at += 2
            return "not in"
        return self._take(*_COMPARISONS)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/", "//", "%"), self._signed)

    def _chain(self, signs: tuple[str, ...], rule: Callable[[], Node]) -> Node:
        first = rule()
        rest: list[tuple[str, Node]] = []
        while sign := self._take(*signs):
            rest.append((sign, rule()))
        return Arithmetic(first, tuple(rest)) if rest else first

    def _signed(self) -> Node:
        if not self._take("-"):
            return self._power()
        operand = self._nested(self._signed)
        if isinstance(operand, Literal) and type(operand.value) in (int, float):
            return Literal(-operand.value)
        return Negative(operand)

    def _power(self) -> Node:
        base = self._atom()
        return Arithmetic(base, (("**", self._nested(self._signed)),)) if self._take("**") else base

    def _atom(self) -> Node:
        value = self._token.value
        match self._take("name", "literal", "(", "["):
            case "name":
                return Name(value)
            case "literal":
                return Literal(value)
            case "(":
                return self._nested(self._bracket)
            case "[":
                return Literal(self._items([], "]"))
        raise self._unexpected("a name, a number, a 'string', a list or a bracket")

    def _bracket(self) -> Node:
        if self._take(")"):
            return Literal(())
        start = self._token.start
        first = self._either()
        if self._take(","):
            return Literal(tuple(self._items([self._literal(first, start)], ")")))
        if not self._take(")"):
            raise self._unexpected("')'")
        return first

    def _items(self, items: list[Any], closer: str) -> list[Any]:
        """Read what is left of a list of literals, its closing bracket included."""
        while not self._take(closer):
            start = self._token.start
            items.append(self._literal(self._nested(self._signed), start))
            if self._token.kind != closer and not self._take(","):
                raise self._unexpected(f"',' or {closer!r}")
        return items

    def _literal(self, node: Node, start: int) -> Any:
        if not isinstance(node, Literal):
            raise _error(self._text, start, f"expected plain values in a list, came {write(node)}")
        return node.value
