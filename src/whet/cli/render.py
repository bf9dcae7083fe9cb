"""Plain aligned text for people: tables, times, sizes, and numbers that tell different values apart."""

from __future__ import annotations

import math
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import click

from whet.text import duration, one_line, printable

WIDEST_CELL = 60  # characters
_GAP = "  "
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?(?: ?%|/\d+)?|[-+]?inf|nan")
_DIGITS = (6, 9, 12, 15, 17)
_MOST_WHOLE = 1e15  # above, not every whole number is a double
_UNITS = ("kB", "MB", "GB", "TB")
_RECENT_S = 86_400.0


def say(text: str = "", *, err: bool = False) -> None:
    """Print *text* and a line's end; nothing in it can command the terminal."""
    click.echo(printable(text), err=err)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], widest: int = WIDEST_CELL) -> None:
    """Print *rows* under *header*; on a terminal, what is wider than it is cut."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table(header, rows, widest=widest, width=width):
        say(line)


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, widest: int = WIDEST_CELL, width: int | None = None
) -> Iterator[str]:
    """Yield the lines of a table: columns aligned, those that hold only numbers to the right.

    Cells are made printable, on one line each and of at most *widest* characters; empty columns are left out. With
    *width*, lines are cut to so many characters.
    """
    cells = [[one_line(cell, widest) for cell in row] for row in rows]
    kept = [i for i in range(len(header)) if any(row[i] for row in cells)] or list(range(len(header)))
    is_right = {i: all(not row[i] or _NUMBER.fullmatch(row[i]) for row in cells) for i in kept}
    lines = [list(map(one_line, header)), *cells]
    widths = {i: max(text_width(line[i]) for line in lines) for i in kept}
    for line in lines:
        padded = [_padded(line[i], widths[i], is_right=is_right[i]) for i in kept]
        yield _cut(_GAP.join(padded).rstrip(), width)


def fields(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield ``name  value`` lines with the values aligned; what is empty is left out, what has lines is indented."""
    shown = [(name, printable(value).rstrip()) for name, value in pairs if value]
    width = max((text_width(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *others = value.split("\n")
        yield f"{_padded(name, width)}{_GAP}{first}"
        yield from (f"{' ' * width}{_GAP}{other}" for other in others)


def text_width(text: str) -> int:
    """Return how many columns *text* takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int, *, is_right: bool = False) -> str:
    blanks = " " * (width - text_width(text))
    return blanks + text if is_right else text + blanks


def _cut(line: str, width: int | None) -> str:
    if width is None or text_width(line) <= width:
        return line
    kept, n_columns = [], 1  # one is for the ellipsis
    for character in line:
        n_columns += _columns(character)
        if n_columns > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def distinct_numbers(values: Sequence[float | None]) -> list[str]:
    """Return *values* in as few digits as tell different ones apart, at least six; ``None`` becomes empty."""
    n_different = len({repr(value) for value in values})  # not the values: a NaN differs from itself
    for digits in _DIGITS:
        texts = ["" if value is None else _number(value, digits) for value in values]
        if len(set(texts)) >= n_different:
            break
    return texts


def _number(value: float, digits: int) -> str:
    is_whole = math.isfinite(value) and abs(value) < _MOST_WHOLE and value == int(value)
    return str(int(value)) if is_whole else f"{value:.{digits}g}"


def size(n_bytes: int) -> str:
    """Return ``812 B``, ``1.4 kB``, ``52.0 MB``: powers of 1000."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    power = min(i for i in range(1, len(_UNITS) + 1) if n_bytes / 1000**i < 999.95 or i == len(_UNITS))
    return f"{n_bytes / 1000**power:.1f} {_UNITS[power - 1]}"


def local_time(at: float | None) -> str:
    """Return a time in seconds since the epoch as local ISO: ``2026-11-20 10:11:12``; ``None`` becomes empty."""
    if at is None:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s since 1970"  # no date that this machine's calendar has


def ago(at: float | None, now: float | None = None) -> str:
    """Return when *at* was: ``12 s ago``, ``3 min 20 s ago``, and from a day on the local time."""
    if at is None:
        return ""
    passed_s = (time.time() if now is None else now) - at
    if not 0 <= passed_s < _RECENT_S:
        return local_time(at)
    return f"{duration(passed_s)} ago"
