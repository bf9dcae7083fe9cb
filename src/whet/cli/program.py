"""What a trial starts: a Python file, a module or any executable, told apart before anything runs."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from whet.errors import UsageError

_PYTHON_SUFFIXES = {".py", ".pyw", ".pyc", ".pyz"}
_MOST_NAMES_COMPARED = 1000


@dataclass(frozen=True, slots=True)
class Program:
    """The program of a study.

    Attributes:
        kind: who runs it: the interpreter (``script``, ``module``) or the operating system (``executable``).
        target: the path as typed, the module's dotted name, or for a program found on PATH its full path.
    """

    kind: Literal["script", "module", "executable"]
    target: str

    @property
    def name(self) -> str:
        """Short name, after which a study is called unless ``--name`` says otherwise."""
        return self.target.rpartition(".")[2] if self.kind == "module" else Path(self.target).stem

    @property
    def file_name(self) -> str:
        """What a message calls it: the name of the file, or the module."""
        return self.target if self.kind == "module" else Path(self.target).name

    def argv(self, python: str, *, base: Path | None = None) -> list[str]:
        """Return the head of a trial's command line.

        Args:
            python: the interpreter.
            base: directory that a relative path is made absolute against, for a trial that runs elsewhere.
        """
        if self.kind == "module":
            return [python, "-m", self.target]
        target = self.target if base is None else str(base / self.target)
        if self.kind == "script":
            return [python, f"./{target}" if target.startswith("-") else target]
        # without a slash the operating system would look on PATH instead of here
        return [target if "/" in target else f"./{target}"]


def read_program(tokens: Sequence[str]) -> tuple[Program, list[str]]:
    """Split ``SCRIPT ARGS`` into the program and its arguments; a first ``--`` is dropped.

    Raises:
        UsageError: nothing is given, or what is given cannot be run.
    """
    rest = list(tokens[1:] if tokens[:1] == ["--"] else tokens)
    if not rest:
        raise UsageError("no program: expected SCRIPT, -m MODULE or an executable, as in: whet run train.py --lr 0.1")
    head = rest.pop(0)
    if head == "-m":
        if not rest or not rest[0] or rest[0].startswith("-"):
            raise UsageError("-m: expected the name of a module behind it, as in: whet run -m pkg.train --lr 0.1")
        return Program("module", rest.pop(0)), rest
    try:
        return _find(head), rest
    except OSError as error:
        raise UsageError(f"{head} cannot be looked at: {error.strerror}") from None


def misplaced_options(tokens: Sequence[str], whet_options: Collection[str]) -> list[str]:
    """Return a notice for each argument of the program that is spelled like one of whet's own options.

    Args:
        tokens: ``SCRIPT ARGS``; what stands behind a ``--`` is meant for the program.
        whet_options: whet's options as typed, ``--trials``.
    """
    rest = list(tokens[1:] if tokens[:1] == ["--"] else tokens)
    n_program = 2 if rest[:1] == ["-m"] else 1
    script = Path(rest[n_program - 1]).name if len(rest) >= n_program else ""
    meant = rest[n_program:]
    if "--" in meant:
        meant = meant[: meant.index("--")]
    names = dict.fromkeys(token.partition("=")[0] for token in meant if token.startswith("-"))
    return [
        f"{name} goes to {script}; put it before the script for whet: whet run {name} ... {script}"
        for name in names
        if name in whet_options
    ]


def _find(head: str) -> Program:
    if "\0" in head or not head:
        raise UsageError(f"{head!r} is no program: expected SCRIPT, -m MODULE or an executable")
    path = Path(head)
    if path.is_file():
        if path.suffix.lower() in _PYTHON_SUFFIXES or _is_python_text(path):
            return _readable(path, head)
        if os.access(path, os.X_OK):
            return Program("executable", head)
        raise UsageError(
            f"{head} is neither a Python file nor executable: make it executable with `chmod +x {head}`, "
            "or put the program that reads it in front, as in: whet run -- bash train.sh"
        )
    if "/" not in head and (found := shutil.which(head)):
        return Program("executable", found)
    if path.is_dir():
        raise UsageError(f"{head} is a directory: expected the program in it, as in {path}/train.py")
    raise UsageError(_missing(path, head))


def _readable(path: Path, head: str) -> Program:
    if not os.access(path, os.R_OK):
        raise UsageError(f"{head} cannot be read: its permissions do not allow it (chmod +r {head})")
    return Program("script", head)


def _is_python_text(path: Path) -> bool:
    # a script without a suffix that cannot be started by itself, but says that it is Python's
    if os.access(path, os.X_OK) or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and b"python" in first


def _missing(path: Path, head: str) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"{head} does not exist: there is no directory {folder}"
    names = [entry.name for entry in islice(folder.iterdir(), _MOST_NAMES_COMPARED) if not entry.name.startswith(".")]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    where = "" if "/" in head else " here or on PATH"
    if near:
        return f"{head} does not exist{where}: did you mean {', '.join(str(folder / name) for name in near)}?"
    if head.startswith("-"):
        return f"{head} is no option of whet run and no program; whet's options come before SCRIPT, the script's after"
    return f"{head} does not exist{where}: expected a Python file, -m MODULE or an executable"
