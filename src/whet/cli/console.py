"""Shows a run while it goes on: a table on a terminal, a line per trial elsewhere, JSON, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from whet.cli.budgets import mismatch, short_record, short_text
from whet.cli.overwrites import Overwrites
from whet.cli.progress import Progress
from whet.cli.reach import Reach
from whet.core.history import History
from whet.core.trial import State, Trial
from whet.describe import cause_text, json_line, state_text, trial_line, trial_name, trial_record
from whet.explaining import Choice, Misled, Unheard, notices
from whet.streams import Stream
from whet.text import number, one_line, printable

Style = Literal["table", "lines", "json", "quiet"]

_N_TAIL_LINES = 15


def chosen_style(*, is_json: bool, is_quiet: bool) -> Style:
    """Return how a run is shown."""
    if is_json or is_quiet:
        return "json" if is_json else "quiet"
    is_table = Stream("stdout").is_screen
    return "table" if is_table else "lines"


class Console:
    """Shows what happens; the observer of a run (`whet.run.Observer`).

    Results go to standard output, notices to standard error, each of them once. Nothing that a program printed reaches
    a terminal as it is.

    Args:
        study: its name.
        style: how much is shown, and in which form.
        progress: how far the run has come.
        folder: the study's directory, where its logs are.
        overwrites: looks out for files that trials write over each other.
        choice: says what the sampler does.
        budget_flag: the argument that tells the program how far it may go, if one does.
        lookouts: for what keeps the scheduler from its work.

    Attributes:
        has_shown_failure: whether the last lines of a failed trial have been shown.
    """

    def __init__(
        self,
        study: str,
        style: Style,
        progress: Progress,
        folder: Path,
        overwrites: Overwrites | None = None,
        choice: Choice | None = None,
        budget_flag: str | None = None,
        lookouts: Sequence[Misled | Unheard] = (),
    ) -> None:
        self._study, self._style, self._progress, self._folder = study, style, progress, folder
        self._overwrites, self._choice, self._budget_flag = overwrites, choice, budget_flag
        self._lookouts, self._has_told_mismatch = lookouts, False
        self._out, self._err = Stream("stdout"), Stream("stderr")
        self._noticed: set[str] = set()
        self._reach: Reach | None = None
        self.has_shown_failure = False
        self._table = None
        if style == "table":
            from whet.cli.table import Table

            self._table = Table(study, progress)

    def started(self, trial: Trial, history: History) -> None:
        """Say what the sampler does, if that is new; the table shows the attempt at its next refresh."""
        if self._choice is not None and self._style != "quiet" and (news := self._choice.news(history)) is not None:
            self._tell(news)
        if self._overwrites is not None:
            self._overwrites.started(trial)

    def requeued(self, trial: Trial, history: History) -> None:
        """Say that a trial runs again, if that is for a failure of its own."""
        if trial.cause is not None and self._style in ("table", "lines"):
            failure = cause_text(trial.cause, trial.exit_code)
            self._say(f"{trial_name(self._study, trial.number)}  failed: {failure}; it will run again")

    def paused(self, trial: Trial, history: History) -> None:
        """Show how far a trial came that may go on later, or already does."""
        if self._style == "json":
            self._record("trial_paused", trial, history)
        elif self._style != "quiet":
            self._say(self._line_of(trial, history))
        self._look_at_steps(trial, history)
        self._look_out(history)
        if self._overwrites is not None and (warning := self._overwrites.ended(trial)) is not None:
            self.notice(warning)

    def ended(self, trial: Trial, history: History) -> None:
        """Show a trial that has ended."""
        self._progress.note(trial)
        if self._style == "json":
            self._record("trial_finished", trial, history)
        elif self._style != "quiet":
            best = "  best so far" if history.repeats == 1 and history.best() == trial.number else ""
            line = self._line_of(trial, history)
            self._say(f"[{self._progress.fraction_text(history, trial.number)}] {line}{best}")
        self._look_at_steps(trial, history)
        self._look_out(history)
        if trial.state is State.FAILED and not self.has_shown_failure and self._style != "quiet":
            self.has_shown_failure = True
            self.notice(failure_text(trial, self._study, self._folder, self._budget_flag))
        if self._overwrites is not None and (warning := self._overwrites.ended(trial)) is not None:
            self.notice(warning)

    def _record(self, event: str, trial: Trial, history: History) -> None:
        short = short_record(self._as_reported(trial, history), history.problem.fidelity)
        record = {**trial_record(trial), **short}
        self._out.line(json_line({"event": event, "study": self._study, **record}))

    def _line_of(self, trial: Trial, history: History) -> str:
        short = short_text(self._as_reported(trial, history), history.problem.fidelity)
        line = trial_line(trial, self._study, history.problem)
        return f"{line}  {short}" if short else line

    def _as_reported(self, trial: Trial, history: History) -> Trial:
        if self._reach is None:
            self._reach = Reach.of(history.problem, history.settings)
        return self._reach.as_reported(trial)

    def _look_at_steps(self, trial: Trial, history: History) -> None:
        """Say once that what the program calls a step is not what it was told, if that shows."""
        axis = history.problem.fidelity
        is_of_steps = axis is not None and not axis.is_time  # time is measured, and a little more than what was told
        if self._budget_flag is None or not is_of_steps or self._has_told_mismatch or self._style == "quiet":
            return
        if (text := mismatch(trial, self._budget_flag)) is not None:
            self._has_told_mismatch = True
            self.notice(text)

    def _look_out(self, history: History) -> None:
        for text in notices(self._lookouts, history):
            self.notice(text)

    def tick(self, history: History) -> None:
        """Keep the table up to date."""
        if self._table is not None:
            self._table.refresh(history)

    def notice(self, text: str) -> None:
        """Show a notice, unless it has been shown before."""
        if text in self._noticed:
            return
        self._noticed.add(text)
        self._tell(text)

    def _tell(self, text: str) -> None:
        if self._table is not None and self._err.is_terminal:
            self._table.line(printable(text))  # the two share a screen
        else:
            self._err.line(printable(text))

    def result(self, text: str) -> None:
        """Write a line of the result, whatever the style."""
        self._out.line(text)

    @property
    def output_failure(self) -> str | None:
        """Why results are missing on standard output, if they are."""
        return self._out.failure

    def close(self) -> None:
        """Take the table away and leave the terminal as it was. Idempotent."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def _say(self, text: str) -> None:
        if self._table is not None:
            self._table.line(text)
        else:
            self._out.line(text)


def failure_text(trial: Trial, study: str, folder: Path, budget_flag: str | None = None) -> str:
    """Return how a trial failed, with the last lines that it printed and where the rest is.

    Where these are about *budget_flag*, the argument that whet has put in, it is said who did.
    """
    name = trial_name(study, trial.number)
    tail = printable(trial.message).rstrip().splitlines()[-_N_TAIL_LINES:]
    shown = "".join(f"\n  | {line}" for line in tail)
    if budget_flag is not None and trial.exit_code and any(budget_flag.lstrip("-+") in line for line in tail):
        shown += (
            f"\n  {one_line(budget_flag)} is how whet tells the program how far to go: it has to take it, with "
            f"numbers such as {number(trial.budget or 1)}; with --fidelity step=LOW:HIGH nothing is passed"
        )
    return f"{name} {state_text(trial)}{shown}\n  all it printed: {one_line(str(folder / str(trial.number)))}"
