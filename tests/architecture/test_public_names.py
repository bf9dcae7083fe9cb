"""The names that users import: few, listed, lazily loaded and documented."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import whet
from tests.architecture.source import tree_of

MOST_PUBLIC_NAMES = 25


def _typed_names() -> set[str]:
    """Return the names that type checkers see: those imported under TYPE_CHECKING."""
    tree = tree_of(Path(whet.__file__))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


def test_all_is_sorted_and_short() -> None:
    assert sorted(whet.__all__) == whet.__all__
    assert len(set(whet.__all__)) == len(whet.__all__) <= MOST_PUBLIC_NAMES


def test_all_and_dir_and_the_type_checker_agree() -> None:
    assert set(whet.__all__) == set(dir(whet)) == _typed_names()


@pytest.mark.parametrize("name", whet.__all__)
def test_each_public_name_resolves_and_says_what_it_is(name: str) -> None:
    value = getattr(whet, name)
    assert name == "__version__" or inspect.getdoc(value)
    assert getattr(whet, name) is value


def test_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from whet import *", names)
    assert set(whet.__all__) <= set(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'whet' has no attribute 'tun'"):
        whet.tun  # noqa: B018
    assert not hasattr(whet, "_private")


@pytest.mark.parametrize("module", ["whet.samplers"])
def test_public_modules_name_what_they_hold(module: str) -> None:
    held = importlib.import_module(module)
    assert sorted(held.__all__, key=lambda name: (not name.isupper(), name)) == held.__all__  # as ruff sorts them
    assert all(inspect.getdoc(getattr(held, name)) for name in held.__all__)


def test_every_error_is_drawn_in_the_tree() -> None:
    from whet import errors

    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes
    assert all(f" {name} " in f" {errors.__doc__} " for name in classes)
