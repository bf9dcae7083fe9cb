"""Writing to streams that may go away: a closed terminal or a broken pipe never ends a run."""

from __future__ import annotations

import errno
import os
import sys
from typing import Literal, TextIO

_NOBODY_READS = (errno.EPIPE, errno.EIO)  # the pipe, the terminal is closed


class Stream:
    """Standard output, standard error or another stream, written to as long as somebody is there to read it.

    Attributes:
        failure: why what was written is lost, if somebody is there and does not get it, as on a full disk.
    """

    def __init__(self, stream: Literal["stdout", "stderr"] | TextIO) -> None:
        self._stream: TextIO | None = getattr(sys, stream) if isinstance(stream, str) else stream
        self.failure: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Tell whether a person looks at it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # closed
            return False

    @property
    def is_screen(self) -> bool:
        """Tell whether lines on it can be drawn anew."""
        return self.is_terminal and os.environ.get("TERM", "dumb") != "dumb"

    def line(self, text: str) -> None:
        """Write *text* and a line's end."""
        if self._stream is None:
            return
        try:
            self._write(f"{text}\n")
        except ValueError:  # closed
            self._stream = None
        except OSError as error:
            self._stream = None
            if error.errno not in _NOBODY_READS:
                self.failure = error.strerror or str(error)

    def _write(self, text: str) -> None:
        assert self._stream is not None, "there is something to write to"
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:  # ``é`` where the locale is C
            self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        self._stream.flush()
