"""Flags, values and positional arguments told apart, in whatever way a program spells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# -1, -.5, -1e5, -inf: a value, where -x and --x begin the next flag
_NEGATIVE = re.compile(r"-(?:[0-9.]|(?:inf|infinity|nan)\Z)", re.IGNORECASE)
_END_OF_FLAGS = "--"
_FLAG = re.compile(r"-[^\s=]*(?:=|\Z)")
# lr=V, +trainer.lr=V, db@src=V; not https://host/?a=b and not a path
_ASSIGNMENT = re.compile(r"(?:[+~]{0,2}[^\W\d][\w.\-/@]*)=")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of the command line, with its value where it has one.

    Attributes:
        flag: as typed, ``--lr`` or ``+trainer.lr``; empty for a positional argument.
        joined: ``--lr=V`` rather than ``--lr V``.
        value: the text of the value; None for a bare flag.
    """

    flag: str
    joined: bool
    value: str | None

    def with_value(self, text: str) -> list[str]:
        """Return the arguments that give *text* to the flag."""
        if self.joined:
            return [f"{self.flag}={text}"]
        return [self.flag, text] if self.flag else [text]


def read_arguments(tokens: Sequence[str]) -> Iterator[Argument]:
    """Tell flags, values and positional arguments apart; behind ``--`` all are positional."""
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token == _END_OF_FLAGS:
            yield Argument(token, False, None)
            yield from (Argument("", False, rest) for rest in tokens[position:])
            return
        flag, equals, value = token.partition("=")
        if not _is_flag(token):
            is_assignment = _ASSIGNMENT.match(token) is not None
            yield Argument(flag, True, value) if is_assignment else Argument("", False, token)
        elif equals and flag_key(flag):
            yield Argument(flag, True, value)
        elif position < len(tokens) and not _is_flag(tokens[position]) and not _ASSIGNMENT.match(tokens[position]):
            yield Argument(token, False, tokens[position])
            position += 1
        else:
            yield Argument(token, False, None)


def _is_flag(token: str) -> bool:
    # a lone dash means standard input, and "- a sentence" is text
    return len(token) > 1 and _FLAG.match(token) is not None and not _NEGATIVE.match(token)


def flag_key(flag: str) -> str:
    """Return the name of *flag*, without the signs that begin it."""
    return flag.lstrip("-+~")
