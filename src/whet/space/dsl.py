"""The value grammar of the command line: what ``--lr "loguniform(1e-5, 1e-1)"`` means.

A value is parsed, never evaluated: :mod:`whet.space.tokens` cuts brackets and strings, :mod:`whet.space.calls`
knows the functions, :mod:`whet.space.values` holds the outcome. Text that is none of the forms is passed as it is.
"""

from __future__ import annotations

import re

from whet.space.calls import NAMES, closest, read_call, usage
from whet.space.domain import Ordinal
from whet.space.tokens import SPACES, Bracket, Source, check_passable, outer_string, read_all, read_bracket
from whet.space.values import Budget, Drawn, Listed, Open, Toggle, Verbatim, abridged, listed

Value = Verbatim | Listed | Drawn | Open | Toggle | Budget

_LITERAL = "lit:"
_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)([ \t\r\n]*)\(")
# `*+` gives nothing back, so no input takes more than linear time
_BLANKS = r"[ \t\r\n]*+"
_INT = rf"{_BLANKS}([+-]?(?:0|[1-9][0-9]*+)){_BLANKS}"
_TUPLE = re.compile(rf"\({_INT},{_INT}(?:,{_INT})?,?{_BLANKS}\)")
_RANGE = re.compile(rf"range\({_INT}(?:,{_INT})?(?:,{_INT})?,?{_BLANKS}\)")
_HALF_TUPLE = re.compile(rf"\({_INT}(?:,{_INT})*,?{_BLANKS}")
_CLOSERS = set("])},") | set(SPACES)
# A sweep is typed by hand; parsing this much takes about 20 ms at worst.
_LONGEST_SWEPT = 8_192
_LONGEST_INT = 18  # digits: within 64 bits


def parse_value(text: str, *, flag: str | None = None) -> Value:
    """Return what *text*, the value of *flag*, means.

    Raises:
        GrammarError: it begins like one of the forms and is none; names the flag, the column (from 1) and what was
            expected.
    """
    source = Source(text, flag)
    check_passable(source)
    if text.startswith(_LITERAL):
        return Verbatim(text[len(_LITERAL) :])
    start = len(text) - len(text.lstrip(SPACES))
    head = text[start : start + 1]
    if head == "[":
        return _read_list(source, start)
    if head == "(":
        return _read_tuple(source, start)
    if call := _CALL.match(text, start):
        return _read_function(source, call)
    inside = outer_string(text[start:].rstrip(SPACES)) if head in {"'", '"'} else None
    return Verbatim(text if inside is None else inside)


def _read_list(source: Source, start: int) -> Verbatim | Listed:
    bracket = _swept_bracket(source, start, "[1, 2, 3]")
    if not _is_whole(source, bracket):
        return _passed(source, "text follows the list, so it is passed as it is")
    elements, notices = read_all(source, bracket.spans)
    if not elements:
        raise source.error(start, "expected at least one value in the list")
    return listed(source, elements, notices=notices)


def _read_tuple(source: Source, start: int) -> Verbatim | Listed:
    text = source.text
    if len(text) > _LONGEST_SWEPT:
        return Verbatim(text)
    if found := _TUPLE.match(text, start):
        return _read_range(source, found) if _is_whole(source, Bracket((), found.end())) else Verbatim(text)
    half = _HALF_TUPLE.match(text, start)
    if half is not None and half.end() == len(text):
        raise source.error(start, "'(' is never closed: expected (start, stop) or (start, stop, step)")
    return Verbatim(text)


def _read_range(source: Source, found: re.Match[str]) -> Listed:
    if any(len(number.lstrip("+-")) > _LONGEST_INT for number in found.groups() if number):
        raise source.error(found.start(), f"expected whole numbers of at most {_LONGEST_INT} digits in a range")
    numbers = [int(number) for number in found.groups() if number]
    if len(numbers) == 3 and numbers[2] == 0:
        raise source.error(found.start(3), "expected a step other than 0 in a range")
    values = range(*numbers)
    if not values:
        raise source.error(found.start(), f"the range is empty: expected a start below the stop, got {values}")
    shown = str(values) if found[0].startswith("range") else f"{found[0]} is {values}"
    expansion = source.notice(f"{shown}: {abridged(values)}")
    return Listed(Ordinal(values), notices=(expansion,))


def _read_function(source: Source, call: re.Match[str]) -> Value:
    text, name = source.text, call[1]
    if name not in NAMES:
        return _passed(source, _unknown(name)) if text.rstrip(SPACES).endswith(")") else Verbatim(text)
    if call[2]:
        return _passed(source, f"{name} with a space before its bracket is passed as it is; to sweep, leave it out")
    bracket = _swept_bracket(source, call.end() - 1, usage(name))
    if not _is_whole(source, bracket):
        return _passed(source, f"text follows {name}(...), so it is passed as it is")
    if name != "range":
        return read_call(source, name, bracket)
    if found := _RANGE.match(text, call.start()):
        return _read_range(source, found)
    raise source.error(call.start(), f"expected {usage(name)} of whole numbers")


def _unknown(name: str) -> str:
    near = closest(name)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"there is no function {name[:50]}, so the text is passed as it is{hint}"


def _swept_bracket(source: Source, start: int, form: str) -> Bracket:
    if len(source.text) > _LONGEST_SWEPT:
        what = f"expected a value of at most {_LONGEST_SWEPT:,} characters, got {len(source.text):,}"
        raise source.error(start, what)
    return read_bracket(source, start, form)


def _is_whole(source: Source, bracket: Bracket) -> bool:
    """Tell whether nothing follows the bracket; a bracket or comma too many is an error."""
    rest = source.text[bracket.end :]
    if not rest.strip(SPACES):
        return True
    if set(rest) <= _CLOSERS:
        at = bracket.end + len(rest) - len(rest.lstrip(SPACES))
        raise source.error(at, f"expected the value to end before {source.text[at]!r}")
    return False


def _passed(source: Source, why: str) -> Verbatim:
    return Verbatim(source.text, (source.notice(why),))


__all__ = ["Budget", "Drawn", "Listed", "Open", "Toggle", "Value", "Verbatim", "parse_value"]
