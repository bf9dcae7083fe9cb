"""``name=value`` pairs that users type, with commas between them: options of a strategy, configs to begin with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from whet.errors import GrammarError, UsageError
from whet.space.literals import literal_or_text
from whet.space.tokens import Source, read_bracket, read_elements, shown

_NAME = re.compile(r"([^\s=,'\"\[\](){}]+)[ \t\r\n]*=(?!=)[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Assigned:
    """A value as it was typed.

    Attributes:
        value: what it spells: a number, True, False, None, a text, or a list, tuple or dict of these.
        text: the text of it; without its quotes where it is a string.
        is_quoted: whether it is a string in quotes.
    """

    value: Any
    text: str
    is_quoted: bool


def read_assignments(text: str, example: str) -> dict[str, Assigned]:
    """Return what ``lr=1e-3, layers=[64, 64]`` assigns; nothing for an empty text.

    Args:
        text: as typed.
        example: what such a text looks like, for the message.

    Raises:
        UsageError: it is something else, a name has no value, or comes twice.
    """
    source = Source(f"({text})")
    assigned: dict[str, Assigned] = {}
    try:
        bracket = read_bracket(source, 0)
        if bracket.end != len(source.text):
            raise source.error(bracket.end, "expected no bracket that nothing opens")
        for begin, end in bracket.spans:
            named = _NAME.match(source.text, begin, end)
            if named is None:
                raise source.error(begin, "expected a name, an equals sign and a value")
            if named.end() == end:
                raise UsageError(f"{shown(text)}: {named[1]} has no value behind its equals sign, as in {example}")
            if named[1] in assigned:
                raise UsageError(f"{shown(text)}: {named[1]} is given twice")
            assigned[named[1]] = _read(source, named.end(), end)
    except GrammarError:
        raise UsageError(
            f"{shown(text)}: expected NAME=VALUE with commas between them, as in {example}; "
            "quote a value that holds a comma or a bracket"
        ) from None
    return assigned


def _read(source: Source, begin: int, end: int) -> Assigned:
    elements = read_elements(source, (begin, end))
    if len(elements) != 1:
        raise source.error(elements[1].index, "expected ',' after the string")
    (element,) = elements
    value = literal_or_text(source, begin, end) if element.kind == "nested" else element.value
    return Assigned(value, element.text, element.kind == "quoted")
