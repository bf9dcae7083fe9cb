"""Where the progress of a run in Python is shown: a terminal, a notebook, a log, nowhere.

A stream that is closed or broken silences what is shown, never the run. Only this module and the command line know
rich, and it is imported when there is something to draw.
"""

from __future__ import annotations

import html
import importlib
import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from whet.streams import Stream

if TYPE_CHECKING:
    from rich.table import Table

Style = Literal["bar", "notebook", "lines", "none"]

_BAR_WIDTH = 24
_MOST_LINES = 100  # that a notebook shows above the state
_log = logging.getLogger("whet")
_bar_is_taken = threading.Lock()  # rich can draw one at a time


class Screen(Protocol):
    """Where a run is shown; what it is given is safe to print."""

    def line(self, text: str) -> None:
        """Show *text* for good."""

    def draw(self, words: Sequence[str], n_done: int, n_total: int | None) -> None:
        """Show how far the run is, in place of what was drawn before; the last of *words* is the study's name."""

    def close(self, lines: Sequence[str]) -> None:
        """End with *lines* in place of what was drawn."""


def screen_of(style: Style, stream: TextIO | None = None) -> Screen:
    """Return where a run is shown, by default on standard error."""
    match style:
        case "bar":
            return Bar(stream)
        case "notebook":
            return Notebook(stream)
        case "lines":
            return Lines(stream)
        case "none":
            return Log()


def bar_line(words: Sequence[str], n_done: int, n_total: int | None) -> Table:
    """Return a bar, where the end is known, and *words* beside it, for rich to draw on one line."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True)
    line.add_column(no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(total=n_total, completed=n_done, width=_BAR_WIDTH) if n_total else ""
    line.add_row(bar, Text(" · ".join(words), no_wrap=True, overflow="ellipsis"))
    return line


class Lines:
    """Lines in a log."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def line(self, text: str) -> None:
        """See `Screen`."""
        # Standard error of the moment: another study's bar, or a test, may have put another one in its place.
        Stream(self._stream or "stderr").line(text)

    def draw(self, words: Sequence[str], n_done: int, n_total: int | None) -> None:
        """See `Screen`."""
        *others, name = words
        self.line(f"{name}: {' · '.join(others)}")

    def close(self, lines: Sequence[str]) -> None:
        """See `Screen`."""
        for line in lines:
            self.line(line)


class Log:
    """Warnings of the logger, for who does not want to see anything."""

    def line(self, text: str) -> None:
        """See `Screen`."""
        _log.warning("%s", text)

    def draw(self, words: Sequence[str], n_done: int, n_total: int | None) -> None:
        """See `Screen`."""

    def close(self, lines: Sequence[str]) -> None:
        """See `Screen`."""
        if lines:
            self.line("; ".join(lines))


class Bar:
    """A bar on a terminal, and lines above it; while another run has the terminal's bar, lines only."""

    def __init__(self, stream: TextIO | None) -> None:
        self._terminal = _Terminal(stream)
        self._lines = Lines(stream)
        self._live: Any = None
        self._may_draw = True

    def line(self, text: str) -> None:
        """See `Screen`."""
        if self._live is None:
            self._lines.line(text)
            return
        from rich.text import Text

        self._live.console.print(Text(text), soft_wrap=True)

    def draw(self, words: Sequence[str], n_done: int, n_total: int | None) -> None:
        """See `Screen`."""
        if self._live is None and self._may_draw:
            self._begin()
        if self._live is not None:
            self._live.update(bar_line(words, n_done, n_total), refresh=True)
            if self._terminal.is_gone:
                self._end()

    def close(self, lines: Sequence[str]) -> None:
        """See `Screen`."""
        self._end()
        self._lines.close(lines)

    def _begin(self) -> None:
        self._may_draw = False
        if self._terminal.is_gone or not _bar_is_taken.acquire(blocking=False):
            return
        from rich.console import Console
        from rich.live import Live

        file: Any = self._terminal
        # What is printed goes above the bar; but what goes to a file is to arrive there.
        self._live = Live(
            console=Console(file=file, highlight=False, markup=False, emoji=False, force_jupyter=False),
            auto_refresh=False,  # no thread: trials may fork this process
            transient=True,
            redirect_stdout=Stream("stdout").is_screen,
            redirect_stderr=Stream("stderr").is_screen,
        )
        self._live.start()

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            finally:
                _bar_is_taken.release()


class _Terminal:
    """The terminal as rich sees it: one that never fails, since rich ends the process when a pipe breaks.

    Attributes:
        encoding: of what it shows; where that is not UTF-8, rich draws with plain characters.
        is_gone: whether nobody is there any more.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or sys.stderr
        self.encoding: str = getattr(self._stream, "encoding", None) or "utf-8"
        self.is_gone = self._stream is None

    def isatty(self) -> bool:
        return not self.is_gone and Stream(self._stream).is_terminal

    def write(self, text: str) -> int:
        if not self.is_gone:
            try:
                # What it cannot show is as wide as what stands for it: rich counts on that to go back.
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
            except (OSError, ValueError):
                self.is_gone = True
        return len(text)

    def flush(self) -> None:
        if not self.is_gone:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.is_gone = True


class Notebook:
    """One output of a cell, replaced as the run goes on; its last state stays."""

    def __init__(self, stream: TextIO | None) -> None:
        self._fallback = Lines(stream)
        self._above: deque[str] = deque(maxlen=_MOST_LINES)
        self._state = ""
        self._handle: Any = None
        self._is_broken = False

    def line(self, text: str) -> None:
        """See `Screen`."""
        self._above.append(text)
        self._update()

    def draw(self, words: Sequence[str], n_done: int, n_total: int | None) -> None:
        """See `Screen`."""
        bar = f'<progress value="{n_done}" max="{n_total}"></progress> ' if n_total else ""
        self._state = f"<div>{bar}{html.escape(' · '.join(words))}</div>"
        self._update()

    def close(self, lines: Sequence[str]) -> None:
        """See `Screen`."""
        if lines:
            self._state = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
        self._update()

    def _update(self) -> None:
        if self._is_broken:
            return
        above = "".join(f"<pre>{html.escape(text)}</pre>" for text in self._above)
        try:
            ipython: Any = importlib.import_module("IPython.display")
            shown = ipython.HTML(above + self._state)
            if self._handle is None:
                self._handle = ipython.display(shown, display_id=True)
            else:
                self._handle.update(shown)
        except Exception:  # whatever a front end that is gone makes of it: it is no reason to end the run
            self._is_broken = True
            for text in self._above:
                self._fallback.line(text)
