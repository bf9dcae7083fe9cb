"""What a value of the command line is expected to be, for tables of inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from whet.errors import GrammarError
from whet.space.domain import Domain
from whet.space.dsl import Drawn, Listed, Open, Verbatim, parse_value
from whet.space.values import format_value


@dataclass(frozen=True)
class Same:
    """Passed as it is (or as *text*), with or without a notice that holds *notice*."""

    text: str | None = None
    notice: str | None = None


@dataclass(frozen=True)
class Values:
    """Listed with these values and these texts for the program (the values' own where not given)."""

    values: list
    texts: list | None = None
    notices: tuple = ()


@dataclass(frozen=True)
class Bad:
    """A GrammarError at this column whose message holds *says*."""

    column: int
    says: str


@dataclass(frozen=True)
class Sized:
    """A distribution with a size."""

    name: str
    size: int
    arguments: dict = field(default_factory=dict)


def check(text: str, expected: object) -> None:
    """Assert that *text* is read as *expected*."""
    if isinstance(expected, Bad):
        with pytest.raises(GrammarError) as caught:
            parse_value(text, flag="--lr")
        message = str(caught.value)
        assert (caught.value.flag, caught.value.column) == ("--lr", expected.column), message
        assert message.startswith("--lr: ") and expected.says in message
        assert f"column {expected.column}" in message
        assert message.isprintable() and len(message) < 1000
        return
    value = parse_value(text, flag="--lr")
    if isinstance(expected, Same):
        assert isinstance(value, Verbatim)
        assert value.text == (text if expected.text is None else expected.text)
        if expected.notice is not None:
            assert len(value.notices) == 1 and expected.notice in value.notices[0]
            assert value.notices[0].startswith("--lr: ") and len(value.notices[0]) < 300
    elif isinstance(expected, Values):
        assert isinstance(value, Listed)
        assert list(map(repr, value.domain.values)) == list(map(repr, expected.values))
        texts = list(map(format_value, expected.values)) if expected.texts is None else expected.texts
        assert [value.spell(item) for item in value.domain.values] == texts
        assert len(value.notices) == len(expected.notices)
        assert all(part in notice for part, notice in zip(expected.notices, value.notices, strict=True))
    elif isinstance(expected, Sized):
        assert isinstance(value, Drawn)
        assert (value.name, value.size, dict(value.arguments)) == (expected.name, expected.size, expected.arguments)
    elif isinstance(expected, Domain):
        assert value == Open(expected)
    else:
        assert value == expected
