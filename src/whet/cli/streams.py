"""Writing to streams that may go away: a closed terminal or a broken pipe never ends a run."""

from __future__ import annotations

import sys
from typing import Literal, TextIO


class Stream:
    """Standard output or standard error, written to as long as somebody is there to read it."""

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._stream: TextIO | None = getattr(sys, name)

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person looks at it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # closed
            return False

    def line(self, text: str) -> None:
        """Write *text* and a line's end."""
        if self._stream is None:
            return
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None
