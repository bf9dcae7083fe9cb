"""What is said when a run has ended: how it went, the best trial, how to go on, hints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.analysis.hints import result_hints
from whet.cli.budgets import reached_by, reached_text
from whet.cli.lookup import hint
from whet.cli.reach import Reach
from whet.cli.script import ScriptRun
from whet.cli.spending import Spent, events_of, spent_in, spent_text
from whet.core.history import History
from whet.core.trial import Cause, State, Trial
from whet.describe import cause_text, config_text, counts_text, trial_name, trial_record, values_text
from whet.points.rungs import take_of
from whet.run import Outcome, Reason
from whet.schedulers.fifo import Fifo
from whet.study import Study
from whet.text import counted, duration, number, one_line, printable

_BEGAN_WELL = (State.STOPPED, State.PAUSED, State.WAITING)
_N_LOOKED_AT = 12  # trials that stand for all, and metrics that are listed, when one is missing
_BY_REASON: dict[Reason, int] = {"interrupted": 130, "terminated": 143, "hangup": 129, "broken": 1}
_WHY_ENDED: dict[Reason, str] = {
    "timeout": "the time is up",
    "target": "the target is reached",
    "stopped": "stopped by `whet stop`",
    "interrupted": "ended by Ctrl-C",
    "terminated": "ended by SIGTERM",
    "hangup": "ended by SIGHUP: the terminal was closed",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A run that has ended.

    Attributes:
        study: it was a run of.
        run: what was run.
        outcome: why it ended.
        folder: the study's directory.
        took_s: how long the run took.
        store_option: the value of ``--store``, for the commands that are printed.
        n_total: how many trials there are to be in all, if that is known.
    """

    study: Study
    run: ScriptRun
    outcome: Outcome
    folder: Path
    took_s: float
    store_option: str | None
    n_total: int | None

    @property
    def history(self) -> History:
        """What is known now."""
        return self.study.ledger.history

    @property
    def is_complete(self) -> bool:
        """Tell whether `whet resume` would find nothing to do."""
        history = self.history
        is_all_run = self.n_total is not None and history.n_finished >= self.n_total
        is_over = self.outcome.reason == "done" or is_all_run
        # Where the run is done, those that are still paused are not to go on.
        done = {State.PAUSED} if self.outcome.reason == "done" else set()
        return is_over and all(trial.is_reserved or trial.state in done for trial in history.unfinished.values())

    def command(self, name: str, *options: str) -> str:
        """Return a command of whet about the study, ready to paste."""
        return hint(name, self.study.name, self.store_option, *options)

    @property
    def exit_code(self) -> int:
        """0: all trials ended as asked; 1: some failed; 3: nothing completed; else what ended the run."""
        if self.outcome.reason in _BY_REASON:
            return _BY_REASON[self.outcome.reason]
        counts = self.history.counts()
        if not counts[State.COMPLETED]:
            return 3
        return 1 if counts[State.FAILED] else 0

    def best(self) -> Trial | None:
        """Return the best trial, if there is one to name."""
        number_of_best = self.history.best()
        if number_of_best is None:
            return None
        return self.study.ledger.store.trials(self.study.ledger.study, numbers=[number_of_best])[0]

    def command_of(self, trial: Trial) -> str:
        """Return the command line of *trial*, ready to paste."""
        return self.run.command_line(trial, self.study.name, self.folder / str(trial.number))

    @property
    def reach(self) -> Reach:
        """What it takes to tell how far trials have come."""
        return Reach(self.history.problem, take_of(self.history), self.run.tells_budget)

    def spent(self) -> Spent | None:
        """Return what all attempts have spent; ``None`` where nobody spends a budget."""
        axis, ledger = self.history.problem.fidelity, self.study.ledger
        if axis is None or isinstance(self.study.scheduler, Fifo):
            return None
        return spent_in(events_of(ledger.store, ledger.study), self.reach, goes_on=self.run.has_checkpoint)


def ending_record(ending: Ending) -> dict[str, Any]:
    """Return what the last line of `--json` says."""
    best = ending.best()
    spent = ending.spent()
    has_met_target = ending.outcome.reason == "target"  # as long as it is the same, there is nothing to resume
    return {
        "event": "study_finished",
        "study": ending.study.name,
        "reason": ending.outcome.reason,
        "message": ending.outcome.message or None,
        "counts": {state.value: n for state, n in ending.history.counts().items()},
        **({} if spent is None else {"spent": spent.total, "spent_again": spent.again}),
        "best": None if best is None else {**trial_record(best), "command": ending.command_of(best)},
        "resume": None if ending.is_complete or has_met_target else ending.command("resume"),
        "exit_code": ending.exit_code,
    }


def ending_lines(ending: Ending, last_failure: str | None) -> Iterator[str]:
    """Yield what a person reads at the end; *last_failure* is what a failing trial printed, if one is to be shown."""
    history = ending.history
    yield f"{one_line(ending.study.name)}: {counts_text(history)}, in {duration(ending.took_s)}"
    spent, axis = ending.spent(), history.problem.fidelity
    if spent is not None and axis is not None and spent.total:
        yield spent_text(spent, axis)
    why = _WHY_ENDED.get(ending.outcome.reason)
    if why:
        yield why
    if ending.outcome.message:
        yield f"ended because no trial can be started: {printable(ending.outcome.message)}"
    yield from _failure_lines(ending, last_failure)
    best = ending.best()
    if best is not None:
        yield from _best_lines(ending, best)
    elif history.counts()[State.COMPLETED]:
        yield from _why_no_best(ending)
    else:
        yield from _why_none_completed(ending)
    if not ending.is_complete:
        target = ("--target", "VALUE") if ending.outcome.reason == "target" else ()
        yield f"to go on: {ending.command('resume', *target)}"
    for text in result_hints(history):
        yield f"hint: {one_line(text)}"


def _best_lines(ending: Ending, best: Trial) -> Iterator[str]:
    history = ending.history
    leader = history.leader()
    assert leader is not None, "there is a best trial"
    shown = values_text(best, history.problem)
    if history.repeats > 1:
        shown = f"mean {one_line(history.problem.objectives[0].name)}={number(leader[1])}"
    yield f"best: {trial_name(ending.study.name, best.number)}  {shown}  {config_text(best.config or {})}"
    yield f"  {ending.command_of(best)}"


def _why_no_best(ending: Ending) -> Iterator[str]:
    problem = ending.history.problem
    if not problem.objectives:
        yield "no --objective was given, so no trial is the best one (--objective NAME:min or NAME:max names it)"
    elif len(problem.objectives) > 1:
        names = ", ".join(objective.name for objective in problem.objectives)
        yield f"several objectives ({one_line(names)}): no trial is the best in all of them"
        yield f"those that no other one beats: {ending.command('best')}"
    elif problem.constraints:
        yield "no completed trial meets the constraints"
        yield from _unseen(ending)


def _why_none_completed(ending: Ending) -> Iterator[str]:
    """Say what has become of trials that began well, and which of them came furthest."""
    counts, ledger = ending.history.counts(), ending.study.ledger
    n_short = counts[State.STOPPED] + counts[State.PAUSED]
    if not n_short:
        return
    yield f"no trial was run to its end, so none is the best one: {counted(n_short, 'trial')} ended on the way"
    objectives, axis = ending.history.problem.objectives, ending.history.problem.fidelity
    if len(objectives) != 1 or axis is None:
        return
    sign, name = objectives[0].sign, objectives[0].name
    as_reported = ending.reach.as_reported
    trials = map(as_reported, ledger.store.trials(ledger.study))
    known = (t for t in trials if t.state in _BEGAN_WELL and name in t.values)
    furthest = max(known, key=lambda t: (reached_by(t) or 0.0, -sign * t.values[name]), default=None)
    if furthest is not None:
        shown = f"{values_text(furthest, ending.history.problem)}  {config_text(furthest.config or {})}"
        yield f"the furthest: {trial_name(ending.study.name, furthest.number)}  {reached_text(furthest, axis)}  {shown}"


def _unseen(ending: Ending) -> Iterator[str]:
    """Say which metrics of constraints no trial has printed; the first completed trials stand for all."""
    ledger = ending.study.ledger
    completed = [row.number for row in ending.history.finished if row.state is State.COMPLETED][:_N_LOOKED_AT]
    seen = {name: None for trial in ledger.store.trials(ledger.study, numbers=completed) for name in trial.values}
    for constraint in ending.history.problem.constraints:
        if constraint.name not in seen:
            names = one_line(", ".join(list(seen)[:_N_LOOKED_AT])) or "none"
            yield f"the metric of a constraint, {one_line(constraint.name)}, never appeared; metrics seen: {names}"


def _failure_lines(ending: Ending, last_failure: str | None) -> Iterator[str]:
    rows = [row for row in ending.history.finished if row.state is State.FAILED and row.cause is not None]
    if ending.outcome.reason == "failures":
        yield _why_stopped(ending)
    if rows:
        causes = Counter(row.cause for row in rows)
        parts = ", ".join(f"{n} × {cause_text(cause)}" for cause, n in causes.most_common() if cause is not None)
        yield f"failed: {parts}"
    if last_failure is not None:
        yield last_failure
    if ending.outcome.reason == "failures" and rows:
        first = ending.study.ledger.store.trials(ending.study.ledger.study, numbers=[rows[0].number])[0]
        yield f"to see it for yourself: {ending.command_of(first)}"


def _why_stopped(ending: Ending) -> str:
    n_failed = ending.history.counts()[State.FAILED]
    limit = ending.history.settings.get("limits", {}).get("max_failures")
    if limit is not None:
        return f"ended because {counted(n_failed, 'trial')} failed (--max-failures {limit})"
    causes = {row.cause for row in ending.history.finished if row.state is State.FAILED}
    if causes == {Cause.NO_METRIC}:
        names = ", ".join(objective.name for objective in ending.history.problem.objectives)
        return f"ended because none of the first trials printed the objective {one_line(names)}"
    return "ended because the first trials all failed: it seems to be the program, not its arguments"
