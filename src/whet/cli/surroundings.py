"""What a study's trials depend on beside their arguments: the program's files, the interpreter, its packages."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from whet._version import __version__
from whet.cli.program import Program
from whet.errors import UsageError
from whet.space.tokens import shown
from whet.text import counted, one_line

_CHUNK = 1 << 20
_PATIENCE_S = 20.0  # for an interpreter to say its version
_MOST_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was there when a study began.

    Attributes:
        files: path of a file of the program, as typed, to the SHA-256 of its content.
        python: version of the interpreter that runs the trials; empty where none does.
        packages: name to version, of that interpreter.
        whet, numpy: versions; numpy draws the values of a sized distribution.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    whet: str = ""
    numpy: str = ""

    @classmethod
    def now(cls, program: Program, arguments: Sequence[str], python: str, cwd: Path) -> Surroundings:
        """Look around.

        Raises:
            UsageError: the interpreter does not run.
        """
        import numpy as np

        uses_python = program.kind != "executable"
        return cls(
            files={name: digest for name in _files(program, arguments, cwd) if (digest := _digest(cwd / name))},
            python=_version(python) if uses_python else "",
            packages=_packages(python) if uses_python else {},
            whet=__version__,
            numpy=np.__version__,
        )

    def changes(self, then: Surroundings) -> list[str]:
        """Return what is different from *then*, a sentence each."""
        told = []
        for name, digest in then.files.items():
            if name not in self.files:
                told.append(f"{name} is gone")
            elif self.files[name] != digest:
                told.append(f"{name} has changed")
        for what, old, new in (
            ("Python", then.python, self.python),
            ("whet", then.whet, self.whet),
            ("numpy beside whet", then.numpy, self.numpy),
        ):
            if old != new:
                told.append(f"{what} was {old or 'absent'} and is {new or 'absent'}")
        return told + _package_changes(then.packages, self.packages)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Surroundings:
        """Rebuild what :meth:`to_json` gave."""
        return cls(**data)


def chosen_python(option: str | None) -> str:
    """Return the interpreter for trials: *option*, else the active virtual environment's, else our own.

    Raises:
        UsageError: *option* is no interpreter.
    """
    if option is None:
        active = os.environ.get("VIRTUAL_ENV")
        candidate = Path(active, "bin", "python") if active else None
        return str(candidate) if candidate is not None and os.access(candidate, os.X_OK) else sys.executable
    path = Path(option).expanduser()
    is_environment = path.is_dir()
    if is_environment:
        path = path / "bin" / "python"
    found = shutil.which(str(path) if is_environment or os.sep in option else option)
    if found is None and path.is_file():
        raise UsageError(f"--python {option}: the file is not executable")
    if found is None:
        raise UsageError(
            f"--python {option}: no such interpreter; expected a path, a name on PATH such as python3.12, "
            "or the directory of a virtual environment"
        )
    return os.path.abspath(found)  # noqa: PTH100 -- resolving links would leave the virtual environment


def kept_environment(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *environment* that were asked to be kept, and no others: there are secrets among them.

    Raises:
        UsageError: one of them is not set, or is whet's own.
    """
    for name in names:
        if name.startswith("WHET_"):
            raise UsageError(f"--env-keep {name}: variables whose names begin with WHET_ are whet's own")
        if name not in environment:
            near = difflib.get_close_matches(name, environment, n=1)
            raise UsageError(
                f"--env-keep {shown(name)}: no such variable is set"
                + (f"; did you mean {one_line(near[0])}?" if near else "; export it first, or leave this out")
            )
    return {name: environment[name] for name in names}


def _files(program: Program, arguments: Sequence[str], cwd: Path) -> list[str]:
    """Return the files that make the program, relative to *cwd* where they were typed so."""
    if program.kind == "script":
        return [program.target]
    if program.kind == "module":
        stem = program.target.replace(".", os.sep)
        candidates = (f"{stem}.py", os.path.join(stem, "__main__.py"))  # noqa: PTH118 -- a relative name
        return [name for name in candidates if (cwd / name).is_file()]
    # `bash train.sh`: what matters is the first argument that is a file.
    typed = next((argument for argument in arguments if _is_file(cwd, argument)), None)
    return [program.target, *([typed] if typed else [])]


def _is_file(cwd: Path, argument: str) -> bool:
    try:
        return not argument.startswith("-") and (cwd / argument).is_file()
    except (OSError, ValueError):
        return False  # no text that could be a path


def _digest(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def _version(python: str) -> str:
    try:
        done = subprocess.run(
            [python, "-V"], capture_output=True, timeout=_PATIENCE_S, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"the interpreter {python} does not run: {error}") from None
    name, _, version = done.stdout.decode("utf-8", "replace").strip().partition(" ")
    if name != "Python":
        raise UsageError(f"the interpreter {python} is no Python: `-V` says {one_line(f'{name} {version}', 80)!r}")
    return version


def _packages(python: str) -> dict[str, str]:
    """Return the packages beside an interpreter, read from the names of their directories."""
    root = Path(os.path.abspath(python)).parent.parent  # noqa: PTH100 -- see chosen_python
    names = (entry.name for folder in root.glob("lib/python*/site-packages") for entry in folder.glob("*.dist-info"))
    packages = {}
    for name in sorted(names):
        package, _, version = name.removesuffix(".dist-info").partition("-")
        packages[package.lower().replace("_", "-")] = version
    return packages


def _package_changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    changed = sorted(name for name in {*then, *now} - {"whet"} if then.get(name) != now.get(name))
    if not changed:
        return []
    shown = [f"{name} {then.get(name, 'absent')} → {now.get(name, 'absent')}" for name in changed]
    more = f" and {len(shown) - _MOST_NAMES_SHOWN} more" if len(shown) > _MOST_NAMES_SHOWN else ""
    return [f"{counted(len(shown), 'package')} changed: {', '.join(shown[:_MOST_NAMES_SHOWN])}{more}"]
