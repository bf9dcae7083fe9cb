"""Rules about what does not vary, and about values that are never taken."""

from __future__ import annotations

import pytest

from whet.cli.program import Program
from whet.cli.sweep import Sweep, read_sweep
from whet.errors import SpaceError, UsageError

ARGUMENTS = [
    "--opt",
    "[sgd, adam]",
    "--m",
    "[0.8, 0.9]",
    "--n-layers",
    "(1, 1000000000000)",
    "--wd",
    "0.1",
    "--tag=a b",
]


def _read(arguments: list[str] = ARGUMENTS, **options: list[str]) -> Sweep:
    return read_sweep(Program("script", "train.py"), arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when": ["wd: opt == 'sgd'"]}, 'wd is given a single value, 0.1, .* write a list: "\\[0.1\\]"'),
        ({"when": ["m: wd > 0"]}, "--when: wd is given a single value"),
        ({"forbid": ["opt == 'sgd' and tag == 'a b'"]}, "--forbid: tag is given .*\"\\['a b'\\]\""),
        ({"zips": ["m,wd"]}, "--zip: wd is given a single value"),
    ],
)
def test_a_fixed_argument_is_no_parameter(options: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _read(**options)


def test_a_name_that_nothing_has_is_unknown_as_ever() -> None:
    with pytest.raises(SpaceError, match="there is no parameter 'z'"):
        _read(when=["z: opt == 'sgd'"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"when": ["m: opt == 'sgdd'"]}, "--when m: opt is never 'sgdd', as in opt == 'sgdd' (values: 'sgd' 'adam')"),
        ({"forbid": ["not 'x' == opt"]}, "--forbid: opt is never 'x'"),
        ({"forbid": ["opt in ('sgd', 'x') or m > 3"]}, "--forbid: opt is never 'x'"),
        ({"forbid": ["n_layers == 0"]}, "--forbid: n-layers is never 0"),
        ({"forbid": ["n_layers == 'many'"]}, "--forbid: n-layers is never 'many'"),
        ({"forbid": ["m == '0.9'"]}, "--forbid: m is never '0.9'"),
    ],
)
def test_a_value_that_is_never_taken_is_said(options: dict[str, list[str]], said: str) -> None:
    [notice] = [notice for notice in _read(**options).notices if "is never" in notice]
    assert notice.startswith(said)


def test_values_that_are_taken_are_no_news() -> None:
    rules = ["opt in ('sgd', 'adam') and m == 0.9", "n_layers == 7 and n_layers == 7.0", "m == m", "m > 99"]
    assert not [notice for notice in _read(forbid=rules).notices if "is never" in notice]
