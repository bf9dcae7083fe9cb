"""Lists, tuples and dicts inside a value: read as Python values where they are literals, and else kept as text.

A config then holds ``[64, 64]`` rather than ``'[64, 64]'``, and a printed domain of lists reads back.
"""

from __future__ import annotations

import re
from typing import Any

from whet.space.tokens import Source, end_of_string, opens_string, typed, unescaped

_DEEPEST = 32
_BLANKS = re.compile(r"[ \t\r\n]*+")
_WORD = re.compile(r"[^ \t\r\n,:\[\](){}'\"]++")
_CLOSER = {"[": "]", "(": ")", "{": "}"}


def literal_or_text(source: Source, begin: int, end: int) -> Any:
    """Return the list, tuple or dict that the text from *begin* to *end* spells in Python, or else that text.

    Numbers, quoted strings, True, False and None are what it may hold.
    """
    try:
        value, position = _value(source, begin, 0)
    except ValueError:
        return source.text[begin:end]
    return value if position == end else source.text[begin:end]


def _value(source: Source, position: int, depth: int) -> tuple[Any, int]:
    text = source.text
    char = text[position : position + 1]
    if char and char in _CLOSER:
        if depth == _DEEPEST:
            raise ValueError("deeper than anybody nests")
        return _container(source, char, position + 1, depth + 1)
    if opens_string(text, position):
        closed = end_of_string(source, position)
        return unescaped(source, position + 1, closed - 1), closed
    word = _WORD.match(text, position)
    value = typed(word[0]) if word else ""
    if word is None or isinstance(value, str):
        raise ValueError("a bare word is no literal")
    return value, word.end()


def _container(source: Source, opener: str, position: int, depth: int) -> tuple[Any, int]:
    items: list[Any] = []
    has_comma = False
    position = _skipped(source.text, position)
    while source.text[position : position + 1] != _CLOSER[opener]:
        if items and not has_comma:
            raise ValueError("a comma is missing")
        item, position = _value(source, position, depth)
        position = _skipped(source.text, position)
        if opener == "{":
            if source.text[position : position + 1] != ":" or not isinstance(item, str):
                raise ValueError("no key of a dict")
            value, position = _value(source, _skipped(source.text, position + 1), depth)
            item, position = (item, value), _skipped(source.text, position)
        items.append(item)
        has_comma = source.text[position : position + 1] == ","
        position = _skipped(source.text, position + has_comma)
    if opener == "(" and len(items) == 1 and not has_comma:
        raise ValueError("(1) is no tuple")
    made = {"[": list, "(": tuple, "{": dict}[opener](items)
    return made, position + 1


def _skipped(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position
