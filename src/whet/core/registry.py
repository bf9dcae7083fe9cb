"""Samplers and schedulers by the names that users type, with their options, and as studies keep them.

An option is a keyword-only argument of a class, which keeps it as an attribute of the same name. A study keeps the name
and those options that differ from their defaults, so that it finds the same thing again.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

from whet.core import jsontext
from whet.errors import UsageError
from whet.space.assignments import read_assignments
from whet.space.plain import plain, shortened, value_key

_CALL = re.compile(r"\s*([^()]*?)\s*(?:\((.*)\))?\s*", re.DOTALL)

# What a `Registry` says of the names that are none of its own.
BOHB = {
    "bohb": "it is the sampler tpe under the scheduler hyperband; write sampler='tpe', scheduler='hyperband', on the "
    "command line --strategy bohb"
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Registry(Generic[_T]):
    """Classes by name.

    Attributes:
        what: they are, for error messages: ``"sampler"``.
        kinds: name to class.
        aliases: other names to names.
        example: of a name with an option.
        elsewhere: what to write for names of methods that are none of these alone.
    """

    what: str
    kinds: Mapping[str, type[_T]]
    aliases: Mapping[str, str]
    example: str
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def plain_name(self, text: str) -> str:
        """Return the name in whet's own spelling: ``Grid-Search`` is ``grid``; unknown ones as typed."""
        plainly = text.strip().lower().replace("-", "_")
        return self.aliases.get(plainly, plainly)

    def split(self, text: str) -> tuple[str, str | None]:
        """Return the name in ``name(option=value)`` as typed, and what is in the brackets; ``None`` without brackets.

        Raises:
            UsageError: a bracket opens and the text does not end with the one that closes it.
        """
        found = _CALL.fullmatch(text)
        if found is None and "(" in text:
            problem = "the closing bracket is missing" if ")" not in text else "expected the closing bracket at the end"
            raise UsageError(f"{shortened(repr(text))}: {problem}, as in {self.example}")
        return (text, None) if found is None else (found[1], found[2])

    def named(self, text: str) -> _T:
        """Return a new one, from its name or ``name(option=value, …)``.

        Raises:
            UsageError: nobody has that name, or it has no such option; the message lists those that exist.
        """
        name, inside = self.split(text)
        assigned = read_assignments(inside or "", self.example)
        return self.made(name, {option: given.value for option, given in assigned.items()})

    def made(self, name: str, options: Mapping[str, Any]) -> _T:
        """Return a new one with these *options*.

        Raises:
            UsageError: as for :meth:`named`.
        """
        kind = self.kinds.get(self.plain_name(name))
        if kind is None and not name.strip():
            raise UsageError(f"the name of a {self.what} is missing (known: {', '.join(self.kinds)})")
        if kind is None and self.plain_name(name) in self.elsewhere:
            raise UsageError(f"{name.strip()} is no {self.what} by itself: {self.elsewhere[self.plain_name(name)]}")
        if kind is None:
            close = difflib.get_close_matches(self.plain_name(name), [*self.kinds, *self.aliases], n=1)
            hint = f"; did you mean {self.plain_name(close[0])!r}?" if close else ""
            raise UsageError(f"unknown {self.what} {shortened(repr(name))}{hint} (known: {', '.join(self.kinds)})")
        known = _defaults(kind)
        for option in options:
            if option not in known:
                close = difflib.get_close_matches(option, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                there = f"options: {', '.join(known)}" if known else "it has none"
                raise UsageError(f"{self.plain_name(name)} has no option {option!r}{hint} ({there})")
        return kind(**options)

    def has(self, one: object) -> bool:
        """Tell whether *one* is of a class that is registered, rather than a user's own."""
        return type(one) in self.kinds.values()

    def name_of(self, one: _T) -> str:
        """Return the name by which :meth:`named` finds the class of *one*, else the name of the class."""
        return next((name for name, kind in self.kinds.items() if type(one) is kind), type(one).__name__)

    def options_of(self, one: _T) -> dict[str, Any]:
        """Return those options of *one* that differ from their defaults; none for a user's own.

        Raises:
            UsageError: one of them is nothing that a study can keep.
        """
        if not self.has(one):
            return {}
        defaults = _defaults(type(one))
        given = {option: plain(getattr(one, option)) for option in defaults}
        options = {name: value for name, value in given.items() if value_key(value) != value_key(defaults[name])}
        try:
            kept: dict[str, Any] = jsontext.loads(jsontext.dumps(options))
        except TypeError:
            raise UsageError(
                f"{self.name_of(one)}: a study keeps its {self.what}'s options as JSON, and cannot keep "
                f"{shortened(repr(options))}; give numbers, texts, True, False and lists of them"
            ) from None
        return kept

    def described(self, one: _T) -> str:
        """Return the text from which :meth:`named` makes one like *one*: ``gp(acquisition='ucb')``."""
        return called(self.name_of(one), self.options_of(one))


def called(name: str, options: Mapping[str, Any]) -> str:
    """Return the text that means *name* with *options*."""
    inside = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name}({inside})" if inside else name


def _defaults(kind: type) -> Mapping[str, Any]:
    """Return the options of a class with their defaults."""
    return _read_defaults(kind)  # apart, as to mypy no class is hashable


@cache  # signatures are slow to read
def _read_defaults(kind: type) -> Mapping[str, Any]:
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
