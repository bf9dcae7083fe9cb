"""Brackets, quotes and typed elements of the command line's values: the lowest layer of the grammar.

Nothing here recurses or backtracks: a bracket is walked once with a stack of the closers still owed, so ten
thousand nested brackets cost what ten thousand characters cost. Columns count characters from 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from whet.errors import GrammarError
from whet.space.plain import is_number

SPACES = " \t\r\n"
_PAIRS = {"[": "]", "(": ")", "{": "}"}
_STOP = re.compile(r"""[\[\](){},'"]""")
_STRINGS = {
    "'": re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'", re.DOTALL),
    '"': re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL),
}
# What repr() writes, so that a printed domain reads back; any other backslash stays one, as in Python.
_ESCAPE = re.compile(r"\\(?:(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|([nrt\\'\"]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_UNICODE_END = 0x110000
_INT = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_CONSTANTS: dict[str, bool | None] = {"True": True, "False": False, "None": None}
# Python itself refuses to read integers of more than 4,300 digits; nobody sweeps over numbers this long.
_LONGEST_NUMBER = 400
_UNPASSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_SHOWN = 60

Scalar = int | float | bool | str | None


@dataclass(frozen=True, slots=True)
class Source:
    """The text being parsed and the flag it was given for; makes the errors."""

    text: str
    flag: str | None = None

    def error(self, index: int, problem: str) -> GrammarError:
        """Return the error for the character at *index* (0-based); *problem* says what was expected there."""
        where = f"{self.flag}: " if self.flag else ""
        message = (
            f"{where}{problem} (column {index + 1} of {shown(self.text)}); "
            "to pass the text as it is, put lit: in front of it"
        )
        return GrammarError(message, flag=self.flag, column=index + 1)

    def notice(self, text: str) -> str:
        """Return *text* with the flag in front, as it is printed."""
        return f"{self.flag}: {text}" if self.flag else text


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a bracket: its value, the text that the program gets, and where it began.

    A nested list, tuple or dict is not read here: its value is its text.
    """

    value: Any
    text: str
    index: int
    kind: Literal["bare", "quoted", "nested"]


@dataclass(frozen=True, slots=True)
class Bracket:
    """What lies between an opening bracket and its partner, cut at the commas.

    Attributes:
        spans: ``(begin, end)`` of each element, blanks around it taken off.
        end: index just behind the closing bracket.
    """

    spans: tuple[tuple[int, int], ...]
    end: int


def shown(text: str) -> str:
    """Return *text* for a message: on one line, printable, and cut when it is long."""
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f'"{cut}"' if cut.isprintable() else ascii(cut)


def check_passable(source: Source) -> None:
    """Refuse what no operating system hands to a program: NUL, and surrogates that encode no byte.

    Raises:
        GrammarError: such a character is in the text.
    """
    if found := _UNPASSABLE.search(source.text):
        what = ascii(found[0])
        problem = f"the character {what} at column {found.start() + 1} cannot be passed to a program as an argument"
        raise GrammarError(source.notice(problem), flag=source.flag, column=found.start() + 1)


def read_bracket(source: Source, start: int, form: str = "") -> Bracket:
    """Cut the bracket that opens at *start* into elements; *form* shows what was expected where it never closes.

    Raises:
        GrammarError: a bracket or a quote is not closed, closed by the wrong partner, or an element is empty.
    """
    text = source.text
    opened = [start]
    spans: list[tuple[int, int]] = []
    begin = position = start + 1
    while found := _STOP.search(text, position):
        at, char = found.start(), found[0]
        position = at + 1
        if char in _STRINGS:
            if opens_string(text, at):
                position = end_of_string(source, at)
        elif char in _PAIRS:
            opened.append(at)
        elif char == ",":
            if len(opened) == 1:
                spans.append(_trimmed(text, begin, at))
                begin = position
        elif char != _PAIRS[text[opened[-1]]]:
            expected = _PAIRS[text[opened[-1]]]
            raise source.error(at, f"expected {expected!r} before {char!r}; quote an element that holds brackets")
        else:
            opened.pop()
            if not opened:
                spans.append(_trimmed(text, begin, at))
                return Bracket(_without_blanks(source, spans), position)
    opener = text[opened[-1]]
    example = f", as in {form}" if form else ""
    raise source.error(opened[-1], f"{opener!r} is never closed: expected {_PAIRS[opener]!r}{example}")


def read_elements(source: Source, span: tuple[int, int]) -> list[Element]:
    """Read one span of a bracket: one element, or several where string literals stand side by side.

    Raises:
        GrammarError: something other than a comma follows a string, or a comma between numbers is missing.
    """
    text = source.text
    begin, end = span
    if text[begin] not in _STRINGS:
        return [_read_bare(source, begin, end)]
    found: list[Element] = []
    position = begin
    while position < end:
        if text[position] in SPACES:
            position += 1
            continue
        if text[position] not in _STRINGS:
            raise source.error(position, "expected ',' after the string")
        closed = end_of_string(source, position)
        value = unescaped(source, position + 1, closed - 1)
        found.append(Element(value, value, position, "quoted"))
        position = closed
    return found


def read_all(source: Source, spans: Iterable[tuple[int, int]]) -> tuple[list[Element], tuple[str, ...]]:
    """Read the spans of a list; string literals side by side count as several, which a notice says.

    Raises:
        GrammarError: see :func:`read_elements`.
    """
    elements: list[Element] = []
    glued: list[str] = []
    for span in spans:
        found = read_elements(source, span)
        if len(found) > 1 and not glued:
            glued = [repr(element.value) for element in found]
        elements += found
    if not glued:
        return elements, ()
    problem = f"{' '.join(glued)} stand side by side and are {len(glued)} values (a comma between them says so)"
    return elements, (source.notice(problem),)


def typed(text: str) -> Scalar:
    """Return the Python value that bare *text* spells; ``007``, ``inf``, ``1_000`` and other digits are text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else text
    return text


def opens_string(text: str, at: int) -> bool:
    """Tell whether a string begins at *at*: there is a quote, and not in or after a word (it's, 5'10")."""
    return text[at : at + 1] in _STRINGS and not (at and (text[at - 1].isalnum() or text[at - 1] == "_"))


def end_of_string(source: Source, at: int) -> int:
    """Return the index just behind the string that begins at *at*.

    Raises:
        GrammarError: the string is never closed.
    """
    found = _STRINGS[source.text[at]].match(source.text, at)
    if found is None:
        raise source.error(at, f"the string is never closed: expected another {source.text[at]}")
    return found.end()


def unescaped(source: Source, begin: int, end: int) -> str:
    """Return the inside of a string literal, from *begin* to *end*, with its backslashes resolved.

    Raises:
        GrammarError: an escape names no character, or one that no program can be passed.
    """
    raw = source.text[begin:end]
    if "\\" not in raw:
        return raw

    def decoded(found: re.Match[str]) -> str:
        if found[2]:
            return _ESCAPED.get(found[2], found[2])
        code = int(found[1][1:], 16)
        if code >= _UNICODE_END or _UNPASSABLE.match(chr(code)):
            raise source.error(begin + found.start(), f"{found[0]} is no character that a program can be passed")
        return chr(code)

    return _ESCAPE.sub(decoded, raw)


def outer_string(text: str) -> str | None:
    """Return the inside of *text* when it is one quoted string and nothing else, as it is written."""
    if len(text) < 2 or text[0] not in _STRINGS or text[-1] != text[0] or text[0] in text[1:-1]:
        return None
    return text[1:-1]


def _trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    while begin < end and text[begin] in SPACES:
        begin += 1
    while end > begin and text[end - 1] in SPACES:
        end -= 1
    return begin, end


def _without_blanks(source: Source, spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    if spans[-1][0] == spans[-1][1]:
        spans = spans[:-1]  # a comma before the bracket closes is allowed, as in Python
    for begin, end in spans:
        if begin == end:
            raise source.error(begin, "expected a value between the commas")
    return tuple(spans)


def _read_bare(source: Source, begin: int, end: int) -> Element:
    text = source.text[begin:end]
    if text[0] in _PAIRS:
        return Element(text, text, begin, "nested")
    words = text.split()
    if len(words) > 1:
        if all(is_number(typed(word)) for word in words):
            raise source.error(begin + len(words[0]), "expected ',' between the numbers")
        if quote := re.search(r"[ \t\r\n]['\"]", text):
            raise source.error(begin + quote.start(), "expected ',' before the string")
    return Element(typed(text), text, begin, "bare")
