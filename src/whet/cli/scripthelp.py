"""The defaults of a program's own flags, from what it prints for ``--help``.

Read are argparse's ``ArgumentDefaultsHelpFormatter`` and whatever prints alike (``(default: 0.1)``), click's and
typer's ``[default: 0.1]``.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from whet.errors import UsageError
from whet.space.tokens import outer_string
from whet.text import one_line, printable, shell_line

_PATIENCE_S = 60.0
_MOST_BYTES = 1_000_000
# Lines as long as they need be, without colours.
_VARIABLES = {"COLUMNS": "1000", "NO_COLOR": "1", "TERM": "dumb"}
_FRAME = " \t│┃|"
_ENTRY = re.compile(r"--?[A-Za-z?]")
_SPELLING = re.compile(r"(?<![\w-])--?[A-Za-z?][\w.-]*")
_DEFAULT = re.compile(r"([(\[])(?:[^()\[\]]*[;,]\s*)?defaults?\s*[:=]\s*", re.IGNORECASE)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def help_text(argv: Sequence[str], cwd: Path) -> str:
    """Run *argv*, which ends in ``--help``, in *cwd* and return what it prints.

    Raises:
        UsageError: it cannot be started, does not end within a minute, prints more than a megabyte, or fails.
    """
    line = shell_line(argv)
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **_VARIABLES},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"{line} cannot be started: {error.strerror}") from None
    try:
        said, is_over = _read(process, time.monotonic() + _PATIENCE_S)
        if not is_over:
            raise UsageError(
                f"{line} did not end within {_PATIENCE_S:.0f} s, or printed without end: it may not know --help"
            )
        code = process.wait()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    text = printable(said.decode(errors="replace"))
    if code:
        last = one_line(text.rstrip().rpartition("\n")[2])
        raise UsageError(f"{line} ended with exit code {code}{f': {last}' if last else ''}")
    return text


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Return what *process* prints, and whether it has ended its output before *deadline*."""
    assert process.stdout is not None
    said, descriptor = b"", process.stdout.fileno()
    while (left_s := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left_s)[0]:
            break
        chunk = os.read(descriptor, 65_536)
        if not chunk:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            return said, process.returncode is not None
        said += chunk
        if len(said) > _MOST_BYTES:
            break
    return said, False


def defaults_in(text: str) -> Mapping[str, str]:
    """Return flag to default, as both are written in a help *text*; a flag without one is left out."""
    found: dict[str, str] = {}
    for head, entry in _entries(text):
        default = _default_in(entry)
        if default is not None:
            found |= dict.fromkeys(_SPELLING.findall(head), default)
    return found


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield the spellings of each flag, and all that is said of it on one line."""
    said: list[str] = []
    for line in [*text.splitlines(), "end"]:
        bare = line.strip(_FRAME)
        begins = _ENTRY.match(bare) is not None
        if said and (begins or (bare and not line[0].isspace() and line[0] not in _FRAME)):
            yield re.split(r"\s{2,}", said[0])[0], " ".join(said)
            said = []
        if begins or (said and bare):
            said.append(bare)


def _default_in(entry: str) -> str | None:
    """Return the last default that *entry* names."""
    default = None
    for opened in _DEFAULT.finditer(entry):
        default = _up_to_closer(entry, opened.end(), opened[1]) or default
    return default


def _up_to_closer(entry: str, begin: int, opener: str) -> str | None:
    owed = [_CLOSERS[opener]]
    for at in range(begin, len(entry)):
        char = entry[at]
        if char in _CLOSERS:
            owed.append(_CLOSERS[char])
        elif char == owed[-1]:
            owed.pop()
        is_over = not owed or (char == ";" and len(owed) == 1 and opener == "[")
        if is_over:
            text = entry[begin:at].strip()
            inside = outer_string(text)
            return text if inside is None else inside
    return None
