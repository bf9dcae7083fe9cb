"""The progress of a run in Python: a bar on a terminal, a display in a notebook, lines in a log, or nothing.

What a person sees goes to standard error, and nothing that a trial said reaches it with what a terminal or a browser
would obey.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Protocol, TextIO

from whet.core.history import History
from whet.core.trial import State, Trial
from whet.describe import config_text, leader_text, quick_leader, why_no_best
from whet.screens import Screen, Style, screen_of
from whet.streams import Stream
from whet.text import counted, duration, fraction, one_line, printable

_EVERY_S: dict[Style, float] = {"bar": 0.1, "notebook": 0.2, "lines": 30.0, "none": float("inf")}
_FIRST_BAR_AFTER_S = 0.3  # a run that is over by then never pays for the import of rich
_N_RECENT = 50  # trials whose durations say how long the next ones may take
_MOST_CHARACTERS = 20_000  # of a traceback: its end

_WHY_ENDED = {
    "timeout": "the time is up",
    "target": "the target is reached",
    "stopped": "the run was asked to stop",
    "interrupted": "Ctrl-C",
    "terminated": "SIGTERM",
    "hangup": "SIGHUP: the terminal was closed",
}
_CUT_SHORT = {"interrupted", "terminated", "hangup"}


class Ending(Protocol):
    """Why a run has ended, a `whet.run.Outcome`."""

    @property
    def reason(self) -> str:
        """In one word."""


def style_for(progress: bool) -> Style:
    """Return how a run is shown: ``"none"`` for ``progress=False``, else by where this process runs."""
    if not progress:
        return "none"
    # Who runs in a kernel has IPython loaded; looking for it elsewhere would cost its import.
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_shell() if callable(get_shell) else None
    if any(base.__name__ == "ZMQInteractiveShell" for base in type(shell).__mro__):
        return "notebook"
    return "bar" if Stream("stderr").is_screen else "lines"


class Pace:
    """How long trials take, and so the rest of them: the mean of the last ones, over the *slots* beside each other."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._durations: deque[float] = deque(maxlen=_N_RECENT)

    def note(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        if trial.duration_s is not None:
            self._durations.append(trial.duration_s)

    def left_s(self, n_left: int | None) -> float | None:
        """Return about how many seconds *n_left* trials take, ``None`` while nobody can know."""
        if n_left is None or not self._durations:
            return None
        return max(0, n_left) * sum(self._durations) / len(self._durations) / self._slots


def words_of(history: History, n_total: int | None, elapsed_s: float, left_s: float | None) -> list[str]:
    """Return how far a run is: ``12/50 trials``, ``4 running``, ``1 failed``, the time so far, the time left."""
    counts = history.counts()
    words = [f"{fraction(history.n_finished, n_total)} trials", f"{counts[State.RUNNING]} running"]
    if counts[State.FAILED]:
        words.append(f"{counts[State.FAILED]} failed")
    words.append(f"{duration(elapsed_s)} so far")
    if left_s is not None:
        words.append(f"about {duration(left_s)} left")
    return words


class Progress:
    """Shows a run while it goes on; the observer of a run (`whet.run.Observer`).

    ``"bar"`` draws a bar that is gone when the run is over, ``"notebook"`` an output that is replaced, ``"lines"`` says
    how far the run is every 30 s. All of them show the first failure in full, every notice once, and at the end what
    came of the run. ``"none"`` prints nothing: notices, and at the end failures and what cut the run short, go to the
    logger ``whet`` as warnings, because who does not look must still be able to tell that a result is not what was
    asked for.

    A bar is redrawn by the loop of the run, so it stands still while that is inside a function that runs inline.

    Args:
        name: of the study.
        n_total: trials that the study will have at most; ``None``: no end is known.
        workers: trials at the same time.
        style: by default what fits this process; see `style_for`.
        stream: in place of standard error.
        is_kept: whether the study is in a store, so that the same call goes on with it.
    """

    def __init__(
        self,
        name: str,
        *,
        n_total: int | None,
        workers: int,
        style: Style | None = None,
        stream: TextIO | None = None,
        is_kept: bool = False,
    ) -> None:
        self._name, self._n_total, self._is_kept = one_line(name, 60), n_total, is_kept
        self._style: Style = style or style_for(True)
        self._screen: Screen = screen_of(self._style, stream)
        self._pace = Pace(workers)
        self._began = self._drawn = time.monotonic()
        if self._style == "bar":
            self._drawn += _FIRST_BAR_AFTER_S - _EVERY_S["bar"]
        self._n_ended = 0
        self._failures: dict[str, list[int]] = {}  # cause to how many failed so, and the first of them
        self._first_words = ""  # the last line of the first failure's message: what was raised
        self._noticed: set[str] = set()
        self._has_shown_failure = self._is_closed = False

    def started(self, trial: Trial, history: History) -> None:
        """Do nothing: what runs is counted when it is shown."""

    def requeued(self, trial: Trial, history: History) -> None:
        """Show the first failure, that of a trial which will run again as well as any other."""
        if trial.cause is not None:
            self._show_failure(trial, " and will run again")

    def paused(self, trial: Trial, history: History) -> None:
        """Do nothing: it has not ended."""

    def ended(self, trial: Trial, history: History) -> None:
        """Count a trial, and show the first failure."""
        self._n_ended += 1
        self._pace.note(trial)
        if trial.state is State.FAILED:
            seen = self._failures.setdefault(trial.cause.value if trial.cause else "unknown", [0, trial.number])
            seen[0] += 1
            self._first_words = self._first_words or one_line(trial.message.rstrip().rpartition("\n")[2], 200)
            self._show_failure(trial)

    def tick(self, history: History) -> None:
        """Show how far the run is, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._drawn >= _EVERY_S[self._style] and not self._is_closed:
            self._drawn = now
            n_left = None if self._n_total is None else self._n_total - history.n_finished
            left_s = self._pace.left_s(n_left)
            done, *others = words_of(history, self._n_total, now - self._began, left_s)
            leader = quick_leader(history)
            best = [] if leader is None else [f"best {leader_text(history, leader)}"]
            left = [] if left_s is None else [others.pop()]
            # What matters most comes first: a narrow terminal cuts the rest.
            self._screen.draw([done, *best, *left, *others, self._name], history.n_finished, self._n_total)

    def notice(self, text: str) -> None:
        """Show a notice, unless it has been shown before."""
        if text not in self._noticed:
            self._noticed.add(text)
            self._screen.line(printable(text))

    def close(self, history: History, outcome: Ending | None) -> None:
        """Take the bar away and say what came of the run; ``None`` if an exception ended it. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        lines: list[str] = []
        if outcome is not None and outcome.reason != "broken":  # else an exception says what happened
            lines = self._last_lines(history, outcome.reason)
            if self._style == "none" and not self._failures and outcome.reason not in _CUT_SHORT:
                lines = []
        self._screen.close(lines)

    def _show_failure(self, trial: Trial, what_next: str = "") -> None:
        if self._has_shown_failure or self._style == "none":
            return
        self._has_shown_failure = True
        cause = trial.cause.value if trial.cause else "unknown"
        headline = f"trial {trial.number} failed ({cause}){what_next}; config: {config_text(trial.config or {}, 500)}"
        said = printable(trial.message).rstrip()
        if len(said) > _MOST_CHARACTERS:
            said = f"…{said[-_MOST_CHARACTERS:]}"
        self._screen.line("\n".join([headline, *(f"  {line}".rstrip() for line in said.splitlines())]))

    def _last_lines(self, history: History, reason: str) -> list[str]:
        """Return how it went, why it ended and how to go on, and what failed."""
        counts = history.counts()
        n_paused = counts[State.PAUSED]
        n, n_all = self._n_ended + n_paused, history.n_finished + n_paused
        trials = counted(n, "trial") + (f" ({n_all:,} in all)" if n_all != n else "")
        leader = history.leader()
        best = why_no_best(history) if leader is None else f"best {leader_text(history, leader)}"
        words = ((counts[State.STOPPED], "stopped early"), (n_paused, "paused"))
        early = "".join(f", {count:,} {what}" for count, what in words if count)
        lines = [f"{self._name}: {trials} in {duration(time.monotonic() - self._began)}{early}: {best}"]
        if self._failures:
            lines.append(self._failed_text())
        if reason == "failures":
            lines.append(_too_many_failed(history))
        elif reason in _CUT_SHORT or reason == "stopped":
            done = (
                counted(n_all, "trial") if self._n_total is None else f"{n_all:,} of {counted(self._n_total, 'trial')}"
            )
            how = "call it again with the same name to go on" if self._is_kept else "study.run(fn, …) goes on"
            lines.append(f"{_WHY_ENDED[reason]}: {done} done; {how}")
        elif reason in _WHY_ENDED:
            lines.append(_WHY_ENDED[reason])
        return lines

    def _failed_text(self) -> str:
        """Return ``4 trials failed: 3 error (first: trial 3), 1 timeout (trial 9)``."""
        by_number = sorted(self._failures.items(), key=lambda item: (-item[1][0], item[1][1]))
        parts = (f"{n:,} {cause} ({'first: ' if n > 1 else ''}trial {first})" for cause, (n, first) in by_number)
        said = f"; the first said: {self._first_words}" if self._style == "none" and self._first_words else ""
        return f"{counted(sum(n for n, _ in self._failures.values()), 'trial')} failed: {', '.join(parts)}{said}"


def _too_many_failed(history: History) -> str:
    counts = history.counts()
    if counts[State.COMPLETED] + counts[State.STOPPED]:
        return "the run ended because too many trials failed"
    return "the run ended because its first trials all failed: it seems to be the function, not the configs"
