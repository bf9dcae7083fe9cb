"""The project's own files as the architecture tests look at them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
_GENERATED = {".git", ".venv", "venv", "build", "dist", ".whet", "node_modules"}


def _is_generated(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part in _GENERATED or part.endswith((".egg-info", "_cache")) or part == "__pycache__" for part in parts)


@cache
def project_files(pattern: str) -> tuple[Path, ...]:
    """Files of the project that match a glob pattern, build products and environments left out."""
    found = tuple(sorted(path for path in ROOT.rglob(pattern) if path.is_file() and not _is_generated(path)))
    assert found, f"no file of the project matches {pattern}"
    return found


@cache
def source_files() -> tuple[Path, ...]:
    return tuple(path for path in project_files("*.py") if path.is_relative_to(SRC))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """Return a path as the project's readers know it."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """Return the dotted name of a file under src."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file under src imports anywhere in it, inside functions and for types, too.

    ``from whet.a import b`` gives both ``whet.a`` and ``whet.a.b``: only one of them may be a module.
    """
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def fenced(text: str) -> list[str]:
    """Return the fenced code blocks of a Markdown text."""
    return re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
