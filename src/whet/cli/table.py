"""The live table of a run on a terminal. Only this module knows rich, and it is imported only when there is one."""

from __future__ import annotations

import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from whet.cli.progress import Progress
from whet.core.history import History
from whet.core.problem import Fidelity
from whet.core.trial import State, Trial
from whet.describe import config_text, quick_leader, trial_name
from whet.progress import words_of
from whet.screens import bar_line
from whet.text import duration, number, one_line

_REFRESH_EVERY_S = 0.25
_MOST_ROWS = 12


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
        elapsed_s = time.monotonic() - self._began
        n_total = self._progress.n_total(history)
        words = words_of(history, n_total, elapsed_s, self._progress.eta_s(history))
        counts = history.counts()
        words[2:2] = [f"{counts[state]} {state.value}" for state in (State.PAUSED, State.STOPPED) if counts[state]]
        return bar_line(words, history.n_finished, n_total)

    def _best_text(self, history: History) -> str:
        leader = quick_leader(history)
        if leader is None:
            return ""
        objective = one_line(history.problem.objectives[0].name)
        return f"best so far: {objective}={number(leader[1])}  {trial_name(self._study, leader[0])}"

    def _running_table(self, running: list[Trial], history: History) -> Grid:
        objectives = [objective.name for objective in history.problem.objectives]
        axis = history.problem.fidelity
        told = [] if axis is None else [one_line(axis.name, 20)]
        table = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("running", "for", *told, *objectives, "config"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        now = time.time()
        for trial in running:
            elapsed_s = now - (trial.started_at or now)
            table.add_row(
                Text(trial_name(self._study, trial.number)),
                Text(duration(elapsed_s)),
                *(Text(f"{number(trial.curve.last_step() or 0)}/{_end(trial, axis)}") for axis in [axis] if axis),
                *(Text(_last(trial, column)) for column in range(1, len(objectives) + 1)),
                Text(config_text(trial.config or {})),
            )
        return table


def _end(trial: Trial, axis: Fidelity) -> str:
    return number(axis.high if trial.budget is None else trial.budget)


def _last(trial: Trial, column: int) -> str:
    """Return the last value in a column of a trial's curve, with the step at which it was said."""
    for row in reversed(list(trial.curve)):
        if row[column] == row[column]:
            return f"{number(row[column])} @{number(row[0])}"
    return ""
