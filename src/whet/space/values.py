"""What a value of the command line turns out to be: passed as it is, one of a list, drawn, or a domain.

The texts that a program gets are made here, too: a listed value keeps the spelling its user gave it, a number
that whet made is written with ``repr`` (the shortest text that reads back to the same number).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whet.space.domain import Categorical, Domain, Int, Ordinal
from whet.space.literals import literal_or_text
from whet.space.plain import value_key
from whet.space.tokens import Element, Source

EVEN = ("linspace", "logspace", "geomspace")
_LONGEST_LIST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text that the program gets as it is; never a parameter."""

    text: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A finite list of values, one trial each.

    Attributes:
        domain: the values in the order in which they were given; a range stays a range.
        spellings: the text that the program gets, by ``value_key``, where it is not :func:`format_value`.
        notices: what the user should know, a sentence each.
    """

    domain: Categorical | Ordinal
    spellings: Mapping[Hashable, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def spell(self, value: Any) -> str | None:
        """Return the text that the program gets for *value*; None where the flag is left out."""
        spelling = self.spellings.get(value_key(value))
        return format_value(value) if spelling is None else spelling


@dataclass(frozen=True, slots=True)
class Open:
    """A domain that trials sample anew."""

    domain: Domain


@dataclass(frozen=True, slots=True)
class Drawn:
    """A distribution with a size: *size* values, drawn once per study.

    Attributes:
        name: a distribution of :class:`numpy.random.Generator`, or one of whet's own.
        arguments: by the names of the function's parameters, without the size.
        domain: what to sample for whet's own names; None for numpy's.
        notices: what the user should know; :meth:`draw` hands them on.
    """

    name: str
    arguments: Mapping[str, Any]
    size: int
    source: Source
    domain: Domain | None = None
    notices: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator) -> Listed:
        """Draw the values as ``rng.<name>(*arguments, size)`` does; what is spaced evenly leaves *rng* alone.

        Raises:
            GrammarError: a value came out that is not finite.
        """
        if self.name == "choice":
            options: tuple[Element, ...] = self.arguments["a"]
            replace, p = self.arguments["replace"], self.arguments["p"]
            drawn = call_numpy(self.source, rng.choice, len(options), self.size, replace, p)
            return listed(self.source, [options[i] for i in drawn.tolist()], notices=self.notices)
        values: list[Any]
        if isinstance(self.domain, Int) and not self.domain.log and self.domain.step is None:
            values = rng.integers(self.domain.low, self.domain.high, self.size, endpoint=True).tolist()
        elif self.domain is not None:
            values = [self.domain.sample(rng) for _ in range(self.size)]
        elif self.name in EVEN:
            values = call_numpy(self.source, getattr(np, self.name), **self.arguments).tolist()
        else:
            values = call_numpy(self.source, getattr(rng, self.name), **self.arguments, size=self.size).tolist()
        if not np.isfinite(np.asarray(values, dtype=float)).all():
            raise self.source.error(0, f"{self.name} gave a value that is not finite: expected milder arguments")
        return listed(self.source, map(_element, values), ordered=self.name in EVEN)


@dataclass(frozen=True, slots=True)
class Toggle:
    """A flag that is present or absent."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The argument that says how far a trial may go, from *low* to *high*."""

    low: float
    high: float


def format_value(value: Any) -> str | None:
    """Return the text that stands for *value* in an argument; None for None, which leaves the flag out."""
    if value is None or isinstance(value, str):
        return value
    return repr(value)


def listed(
    source: Source, elements: Iterable[Element], *, ordered: bool = False, notices: tuple[str, ...] = ()
) -> Listed:
    """Make a list of *elements*; what is there twice is dropped with a notice."""
    kept: dict[Hashable, Any] = {}
    texts: set[str | None] = set()  # what the program would get; '1' and 1 are the same to it
    spellings: dict[Hashable, str] = {}
    dropped: dict[str, None] = {}
    for element in elements:
        is_nested = element.kind == "nested"
        end = element.index + len(element.text)
        value = literal_or_text(source, element.index, end) if is_nested else element.value
        key = value_key(value)
        # a store may give back a list for a tuple, so what is nested always keeps its text
        is_spelled = is_nested or (value is not None and element.text != format_value(value))
        text = element.text if is_spelled else format_value(value)
        if key in kept or text in texts:
            dropped[element.text] = None
            continue
        kept[key] = value
        texts.add(text)
        if is_spelled:
            spellings[key] = element.text
    if dropped:
        notices += (source.notice(f"dropped what is there twice: {abridged(list(dropped))}"),)
    values = tuple(kept.values())
    return Listed(Ordinal(values) if ordered else Categorical(values), spellings, notices)


def abridged(values: Any) -> str:
    """Return the values of a sequence for a message, the middle left out when there are many."""
    if len(values) <= _LONGEST_LIST_SHOWN:
        return " ".join(str(value) for value in values)
    head = " ".join(str(value) for value in values[: _LONGEST_LIST_SHOWN - 2])
    return f"{head} ... {values[-1]} ({len(values):,} values)"


def call_numpy(source: Source, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call *function* of numpy; a warning about its arguments counts as an error.

    Raises:
        GrammarError: numpy does not take the arguments, with numpy's reason.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, OverflowError, MemoryError, Warning) as error:
            problem = f"expected arguments that numpy's {function.__name__} takes; it says: {error}"
            raise source.error(0, problem) from None


def _element(value: Any) -> Element:
    return Element(value, str(format_value(value)), 0, "bare")
