"""``name=value`` pairs: what they assign, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.errors import UsageError
from whet.space.assignments import read_assignments


@pytest.mark.parametrize(
    ("text", "assigned"),
    [
        ("", {}),
        ("lr=1e-3,layers=2", {"lr": 1e-3, "layers": 2}),
        (" lr = 1e-3 , layers = 2 ,", {"lr": 1e-3, "layers": 2}),
        ("acquisition=ucb", {"acquisition": "ucb"}),
        ("a='x, y', b=\"q\"", {"a": "x, y", "b": "q"}),
        ("dims=[64, 64], pair=(1, 2), table={'a': 1}", {"dims": [64, 64], "pair": (1, 2), "table": {"a": 1}}),
        ("on=True, off=False, none=None", {"on": True, "off": False, "none": None}),
        ("trainer.lr=1, batch-size=2, +x/y=3", {"trainer.lr": 1, "batch-size": 2, "+x/y": 3}),
        ("a=b=c", {"a": "b=c"}),
        ("a=007", {"a": "007"}),
        ("a=-1", {"a": -1}),
    ],
)
def test_what_is_assigned(text: str, assigned: dict[str, object]) -> None:
    read = read_assignments(text, "a=1")
    assert {name: given.value for name, given in read.items()} == assigned
    assert [type(given.value) for given in read.values()] == [type(value) for value in assigned.values()]


def test_the_text_of_a_value_is_kept() -> None:
    read = read_assignments("a=1e-3, b='1e-3', c=0.10", "a=1")
    assert [(given.text, given.is_quoted) for given in read.values()] == [
        ("1e-3", False),
        ("1e-3", True),
        ("0.10", False),
    ]


@pytest.mark.parametrize(
    "text", ["a", "=1", "a==1", "a=1,,b=2", "a=1)", "a=(1", "a='x", "a='x' 'y'", "a='x'y", "1", "(a=1)", "a=1 2"]
)
def test_what_is_refused_shows_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected NAME=VALUE with commas between them, as in lr=1e-3,layers=2"):
        read_assignments(text, "lr=1e-3,layers=2")


def test_a_name_comes_once() -> None:
    with pytest.raises(UsageError, match="a is given twice"):
        read_assignments("a=1, a=2", "a=1")


@given(st.text(alphabet="ab=,()[]{}'\" \\1.", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = read_assignments(text, "a=1")
    except UsageError:
        return
    assert all(name and "=" not in name for name in read)


@pytest.mark.parametrize("text", ["a=", "b=1, a= "])
def test_a_name_without_a_value_is_said_to_have_none(text: str) -> None:
    with pytest.raises(UsageError, match="a has no value behind its equals sign, as in lr=1e-3"):
        read_assignments(text, "lr=1e-3")
