"""Sees what this process runs, imports and opens for writing, for tests that nothing of that happens."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_RUNS = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn", "pty.spawn"}
_WRITES = ("w", "a", "x", "+")


@dataclass
class Seen:
    """What was seen: programs started, modules imported, pickles read, files opened to be written or made."""

    started: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)
    unpickled: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)

    def written_outside(self, *folders: Path) -> list[str]:
        """Return the files that were written anywhere but in *folders*."""
        inside = tuple(f"{folder}/" for folder in folders)
        unnamed = {"/dev/null", "/dev/tty", tempfile.gettempdir()}  # the last: a file without a name
        return [path for path in self.written if not path.startswith(inside) and path not in unnamed]


_watching: Seen | None = None
_is_hooked = False


def _hear(event: str, args: tuple[object, ...]) -> None:
    seen = _watching
    if seen is None:
        return
    if event in _RUNS:
        seen.started.append(f"{event} {args!r:.200}")
    elif event == "import":
        seen.imported.append(str(args[0]))
    elif event == "pickle.find_class":
        seen.unpickled.append(f"{args!r:.200}")
    elif event == "compile" and args[0] is not None:
        seen.compiled.append(f"{args!r:.200}")
    elif event == "open" and isinstance(args[0], str):
        seen.opened.append(args[0])
        if isinstance(args[1], str) and any(sign in args[1] for sign in _WRITES):
            seen.written.append(str(Path(args[0]).absolute()))


@contextmanager
def watched() -> Iterator[Seen]:
    """Note what happens in this process until the end of the block."""
    global _watching, _is_hooked
    if not _is_hooked:
        sys.addaudithook(_hear)
        _is_hooked = True
    _watching = Seen()
    try:
        yield _watching
    finally:
        _watching = None
