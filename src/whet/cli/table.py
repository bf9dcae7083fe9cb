"""The live table of a run on a terminal. Only this module knows rich, and it is imported only when there is one."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from whet.cli.describe import config_text, trial_name
from whet.cli.progress import Progress
from whet.cli.text import duration, number, one_line
from whet.core.history import History
from whet.core.trial import State, Trial

_REFRESH_EVERY_S = 0.25
_BAR_WIDTH = 24
_MOST_ROWS = 12
_MOST_WITH_REPEATS = 5_000  # trials up to which the best mean of repeats is looked for at each refresh


class Table:
    """Lines about ended trials, and below them a block that is redrawn: progress, best so far, what runs."""

    def __init__(self, study: str, progress: Progress) -> None:
        self._study, self._progress = study, progress
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live: Live | None = Live(console=self._console, auto_refresh=False, transient=True)
        self._began = time.monotonic()
        self._refreshed = 0.0
        self._lines: list[str] = []
        self._guard(self._live.start)

    def line(self, text: str) -> None:
        """Show *text* above the block, from the next refresh on."""
        self._lines.append(text)

    def refresh(self, history: History) -> None:
        """Draw anew, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._refreshed < _REFRESH_EVERY_S or self._live is None:
            return
        self._refreshed = now
        self._guard(lambda: self._draw(history))

    def close(self) -> None:
        """Take the block away and show the lines that wait. Idempotent."""
        if self._live is not None:
            self._guard(self._live.stop)
            self._guard(self._print_lines)
            self._live = None

    def _guard(self, draw: object) -> None:
        """Call *draw*; a terminal that is gone ends the table, not the run."""
        try:
            draw()  # type: ignore[operator]
        except (OSError, ValueError):
            self._live = None

    def _draw(self, history: History) -> None:
        assert self._live is not None
        # Printing lines draws the block as well, so one of the two does.
        self._live.update(self._block(history), refresh=not self._lines)
        self._print_lines()

    def _print_lines(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._console.print(Text("\n".join(lines)), soft_wrap=True)

    def _block(self, history: History) -> Group:
        parts: list[object] = [self._progress_line(history)]
        best = self._best_text(history)
        if best:
            parts.append(Text(best, no_wrap=True, overflow="ellipsis"))
        running = history.running
        if running:
            n_rows = max(1, min(_MOST_ROWS, self._console.height - 6))
            parts.append(self._running_table(running[:n_rows], history))
            if len(running) > n_rows:
                parts.append(Text(f"and {len(running) - n_rows} more running"))
        return Group(*parts)  # type: ignore[arg-type]  # rich's protocol has no name for "renderable"

    def _progress_line(self, history: History) -> Grid:
        n_total = self._progress.n_total(history)
        counts = history.counts()
        words = [f"{self._progress.fraction_text(history)} trials", f"{counts[State.RUNNING]} running"]
        if counts[State.FAILED]:
            words.append(f"{counts[State.FAILED]} failed")
        words.append(f"{duration(time.monotonic() - self._began)} so far")
        eta_s = self._progress.eta_s(history)
        if eta_s is not None:
            words.append(f"about {duration(eta_s)} left")
        line = Grid.grid(padding=(0, 1))
        bar = ProgressBar(total=n_total, completed=history.n_finished, width=_BAR_WIDTH) if n_total else ""
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(bar, Text(" · ".join(words), no_wrap=True, overflow="ellipsis"))
        return line

    def _best_text(self, history: History) -> str:
        if history.repeats > 1 and history.n_finished > _MOST_WITH_REPEATS:
            return ""
        leader = history.leader()
        if leader is None:
            return ""
        objective = one_line(history.problem.objectives[0].name)
        return f"best so far: {objective}={number(leader[1])}  {trial_name(self._study, leader[0])}"

    def _running_table(self, running: list[Trial], history: History) -> Grid:
        objectives = [objective.name for objective in history.problem.objectives]
        table = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("running", "for", *objectives, "config"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        now = time.time()
        for trial in running:
            elapsed_s = now - (trial.started_at or now)
            table.add_row(
                Text(trial_name(self._study, trial.number)),
                Text(duration(elapsed_s)),
                *(Text(_last(trial, column)) for column in range(1, len(objectives) + 1)),
                Text(config_text(trial.config or {})),
            )
        return table


def _last(trial: Trial, column: int) -> str:
    """Return the last value in a column of a trial's curve, with the step at which it was said."""
    for row in reversed(list(trial.curve)):
        if row[column] == row[column]:
            return f"{number(row[column])} @{number(row[0])}"
    return ""
