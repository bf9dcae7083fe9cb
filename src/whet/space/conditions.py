"""When a parameter is there, and which configs are forbidden: conditions over parameter names.

An expression in the notation of Python, ``opt in ('sgd', 'rmsprop') and layers > 2``, read by our own parser and
never evaluated by Python. A name that a config does not have makes the comparison it stands in false.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from whet.errors import ConfigError, SpaceError
from whet.space.expressions import Joined, Node, is_true, names_in, renamed, write, write_name
from whet.space.parser import parse
from whet.space.plain import plain, shortened

_MAX_NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression over parameter names; made by :func:`parse_condition` and :func:`condition_from`.

    Attributes:
        text: the expression, written in one standard way; conditions are equal when their texts are.
    """

    text: str
    tree: Node = field(compare=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of parameters as written, each once, in the order of the text."""
        return tuple(dict.fromkeys(names_in(self.tree)))

    @property
    def parts(self) -> tuple[Condition, ...]:
        """The conditions that are joined by ``and``, all of which have to hold; this one alone where there are none."""
        if isinstance(self.tree, Joined) and self.tree.word == "and":
            return tuple(part for item in self.tree.items for part in _condition(item).parts)
        return (self,)

    def resolve(self, known_names: Iterable[str]) -> Condition:
        """Return this condition with the names that the space has: ``_`` matches ``-``, the very name wins.

        Raises:
            SpaceError: a name is unknown, or fits several.
        """
        known = list(known_names)
        resolved = {name: match_name(name, known, f"condition {shortened(self.text)}") for name in self.names}
        return _condition(renamed(self.tree, resolved))

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Tell whether the condition is true of *config*.

        Raises:
            ConfigError: the config has values that cannot be compared as the condition asks.
        """
        try:
            return is_true(self.tree, config)
        except ConfigError as error:
            raise ConfigError(f"condition {shortened(self.text)}: {error}") from None

    def __str__(self) -> str:
        return self.text


When = Condition | str | Mapping[str, Any] | None


def parse_condition(text: str) -> Condition:
    """Read an expression such as ``opt == 'sgd' and batch_size * accum <= 4096``.

    Names may be dotted; any other goes in backquotes. There are numbers, strings, True, False, None, lists and
    tuples of these, ``== != < <= > >= in``, ``not in``, ``and or not``, ``+ - * / // % **`` and brackets.

    Raises:
        SpaceError: it does not parse; the message has the column.
    """
    return _condition(parse(text))


def condition_from(when: Condition | str | Mapping[str, Any]) -> Condition:
    """Return what ``when=`` says: a condition, an expression, or a dict of names and values.

    ``{"opt": ["sgd", "rmsprop"], "layers": 2}`` is ``opt in ['sgd', 'rmsprop'] and layers == 2``.

    Raises:
        SpaceError: it is none of these, or does not parse.
    """
    if isinstance(when, Condition):
        return when
    if isinstance(when, str):
        return parse_condition(when)
    if not isinstance(when, Mapping) or not when:
        raise SpaceError(
            "when: expected a condition such as {'opt': 'sgd'}, {'opt': ['sgd', 'rmsprop']} or \"layers > 2\", "
            f"came {shortened(repr(when))}"
        )
    return parse_condition(" and ".join(_pair_text(name, plain(value)) for name, value in when.items()))


def match_name(name: str, known: list[str], where: str) -> str:
    """Return the one of the *known* names that *name* means: itself, or the one that differs only in ``-`` for ``_``.

    Raises:
        SpaceError: there is none, or more than one; the message begins with *where*.
    """
    if name in known:
        return name
    found = [other for other in known if other.replace("-", "_") == name.replace("-", "_")]
    if len(found) == 1:
        return found[0]
    if found:
        choice = " or ".join(map(write_name, found))
        raise SpaceError(f"{where}: {name!r} could be each of {', '.join(map(repr, found))}; write {choice}")
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    names = ", ".join(known[:_MAX_NAMES_SHOWN]) + (", …" if len(known) > _MAX_NAMES_SHOWN else "")
    raise SpaceError(
        f"{where}: there is no parameter {name!r}{hint} (parameters: {names or 'none'}; "
        f"if it is a value, write it in quotes: '{name}')"
    )


def _condition(tree: Node) -> Condition:
    return Condition(write(tree), tree)


def _pair_text(name: Any, value: Any) -> str:
    if not isinstance(name, str) or not name or not _is_literal(value):
        raise SpaceError(
            f"when: expected names and plain values (None, bools, numbers, strings, lists of these), "
            f"came {shortened(repr({name: value}))}"
        )
    return f"{write_name(name)} {'in' if isinstance(value, list | tuple) else '=='} {value!r}"


def _is_literal(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_literal, value))
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))
