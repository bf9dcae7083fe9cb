"""Text for people: safe to print, short, and ready to paste."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_UNPRINTABLE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # ANSI control sequences: colours, cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # strings for the terminal, such as its title
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # other control characters, newline and tab aside
    r"|[\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"  # what hides or reorders the text around it
)


def printable(text: str) -> str:
    """Return *text* without anything that a terminal would obey rather than show; newlines and tabs stay."""
    return _UNPRINTABLE.sub("", text).encode("utf-8", "replace").decode()


def one_line(text: str, width: int = 200) -> str:
    """Return *text* as one printable line of at most *width* characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def shell_line(argv: Sequence[str]) -> str:
    """Return *argv* as a line to paste in a POSIX shell.

    An argument with control characters is written as ``$'…'``, which bash, zsh and ksh read back to the same text.
    """
    return " ".join(map(_quoted, argv))


def _quoted(argument: str) -> str:
    if argument.isprintable():
        return shlex.quote(argument)
    raw = argument.encode("utf-8", "surrogateescape")
    return "$'" + "".join(_escaped(byte) for byte in raw) + "'"


def _escaped(byte: int) -> str:
    char = chr(byte)
    if char in "\\'":
        return f"\\{char}"
    return char if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


def number(value: float) -> str:
    """Return *value* in at most about eight characters; ``best --json`` has every digit."""
    return f"{value:.6g}"


def duration(seconds: float) -> str:
    """Return *seconds* in the two units that matter: ``0.4 s``, ``2 min 05 s``, ``3 h 10 min``, ``2 d 4 h``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def fraction(n: int, n_total: int | None) -> str:
    """Return ``12/50``, or ``12`` where the end is not known."""
    return f"{n:,}" if n_total is None else f"{n:,}/{n_total:,}"


def counted(n: int, word: str) -> str:
    """Return ``1 trial``, ``12 trials``."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"
