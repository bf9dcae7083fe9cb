"""How a study stands: is it running, can it go on, is there anything left to do?"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from whet.cli.redact import redacted
from whet.cli.render import distinct_numbers
from whet.core.owner import is_gone
from whet.core.problem import Objective, Problem
from whet.core.protocols import Store, StudyRecord, Summary
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, WhetError
from whet.schedulers.names import scheduler_of, settings_text
from whet.space.grid import n_configs
from whet.stopping import Limits
from whet.text import counted, shell_line

Phase = Literal["running", "stopped", "finished"]
_PAGE = 200  # trials that are read at a time


@dataclass(frozen=True)
class Standing:
    """A study and its state in a few numbers.

    Attributes:
        study: as the store lists it.
        summary: counts and best; see :attr:`counts` for what of it holds now.
        n_left_over: trials of a study without a program that are said to run, and whose process is gone.
        has_promotions: whether paused trials are to go on, where nothing else is left to do.
    """

    study: StudyRecord
    summary: Summary
    n_left_over: int = 0
    has_promotions: bool = False

    @cached_property
    def problem(self) -> Problem:
        """What the study optimises."""
        return Problem.from_json(self.study.settings["problem"])

    @cached_property
    def counts(self) -> dict[State, int]:
        """Number of trials in each state that occurs; see `as_it_is`."""
        counts = {state: self.summary.counts.get(state, 0) for state in State}
        is_left = self.study.holder is None and is_script(self.study)
        n_left_over = counts[State.RUNNING] if is_left else self.n_left_over
        counts[State.WAITING] += n_left_over
        counts[State.RUNNING] -= n_left_over
        return {state: n for state, n in counts.items() if n}

    @cached_property
    def n_planned(self) -> int | None:
        """Number of trials that the study will have in the end, ``None`` if that is not known."""
        limit, size = self._limits.n_trials or self.study.settings.get("n_trials"), self.problem.space.size
        # With a limit it is not worth the time to leave out what is forbidden.
        n = n_configs(self.problem.space) if limit is None else min(limit, size or limit)
        return None if n is None else n * self.study.settings.get("repeats", 1)

    @property
    def has_all(self) -> bool:
        """Whether there are as many trials as there will ever be."""
        return self.n_planned is not None and sum(self.counts.values()) >= self.n_planned

    @property
    def phase(self) -> Phase:
        """Whether somebody runs the study, it has ended early, or nothing is left to do."""
        if self.study.holder is not None:
            return "running"
        n_open = sum(n for state, n in self.counts.items() if not state.is_final and state is not State.PAUSED)
        is_done = self.has_all and not n_open and not self.has_promotions
        return "finished" if is_done or self._has_met_target() else "stopped"

    @property
    def can_resume(self) -> bool:
        """Tell whether ``whet resume`` may find something to do."""
        return self.phase == "stopped" and is_script(self.study)

    @property
    def phase_text(self) -> str:
        """The phase in words, with who runs the study, or why it ended where that shows."""
        match self.phase:
            case "running":
                return f"running ({self.study.holder})"
            case "stopped":
                return "stopped, resumable" if self.can_resume else "stopped"
            case "finished":
                n_left = None if self.n_planned is None else self.n_planned - sum(self.counts.values())
                return "finished, nothing left" if n_left == 0 and self._limits.n_trials is None else "finished"

    @property
    def counts_text(self) -> str:
        """The counts in words: ``12 of 50 trials: 11 completed, 1 failed``."""
        n = sum(self.counts.values())
        parts = ", ".join(f"{count:,} {state.value}" for state, count in self.counts.items())
        planned = self.n_planned
        total = counted(n, "trial") if planned in (None, n) else f"{n:,} of {counted(planned or 0, 'trial')}"
        return f"{total}: {parts}" if parts else total

    @property
    def best(self) -> Trial | None:
        """The best trial by the one objective, repeats not averaged; ``None`` if there is none to name."""
        return self.summary.best if len(self.problem.objectives) == 1 else None

    @property
    def best_text(self) -> str:
        """The best value and its trial: ``val_acc 0.93 (trial 7)``."""
        if self.best is None:
            return ""
        objective: Objective = self.problem.objectives[0]
        value = distinct_numbers([self.best.values.get(objective.name)])[0]
        kind = "best single trial:" if self.study.settings.get("repeats", 1) > 1 else "trial"
        return f"{objective.name} {value} ({kind} {self.best.number})"

    @property
    def elapsed_s(self) -> float:
        """Seconds from the study's beginning to its last event, or to now while it runs."""
        end = time.time() if self.study.holder is not None else self.summary.last_event_at
        return max(0.0, end - self.study.created_at)

    def to_json(self) -> dict[str, Any]:
        """Return the study as the command line's JSON, but for what takes more than its record and summary."""
        return {
            "study": self.study.name,
            "state": self.phase,
            "holder": self.study.holder,
            "counts": {state.value: n for state, n in self.counts.items()},
            "n_trials": self.n_planned,
            "created_at": self.study.created_at,
            "last_event_at": self.summary.last_event_at,
            "elapsed_s": self.elapsed_s,
            "command": command_text(self.study) or None,
            "scheduler": settings_text(self.study.settings),
        }

    @cached_property
    def _limits(self) -> Limits:
        return Limits(**self.study.settings.get("limits", {}))

    def _has_met_target(self) -> bool:
        target, best = self._limits.target, self.summary.best
        if target is None or best is None:
            return False
        objective = self.problem.objectives[0]
        return objective.sign * best.values[objective.name] <= objective.sign * target


def standing_of(store: Store, study: StudyRecord) -> Standing:
    """Return how *study* stands."""
    summary = store.summary(study.id)
    n_running = summary.counts.get(State.RUNNING, 0)
    is_asked_of = n_running and study.holder is None and not is_script(study)
    n_left_over = _n_left_over(store, study, n_running) if is_asked_of else 0
    standing = Standing(study, summary, n_left_over)
    # To ask the scheduler takes the whole history, so it is asked only where all depends on it.
    is_asked = study.holder is None and summary.counts.get(State.PAUSED, 0) and not n_running and standing.has_all
    return replace(standing, has_promotions=_has_promotions(store, study)) if is_asked else standing


def _has_promotions(store: Store, study: StudyRecord) -> bool:
    """Tell whether the scheduler of *study* would let a paused trial go on, if no new ones may begin."""
    try:
        return bool(scheduler_of(study.settings).assign(store.load(study.id), 1, 0))
    except SearchExhausted:
        return False
    except WhetError:  # the scheduler is one of the user's own, which may want to
        return True


def _n_left_over(store: Store, study: StudyRecord, n_running: int) -> int:
    """Return how many of *n_running* trials nobody runs any more; the last ones are looked at first."""
    n_found = n_left_over = 0
    lost = store.lease(study.id)
    page = store.trials(study.id, limit=_PAGE, newest_first=True)
    while page and n_found < n_running:
        owners = [trial.owner for trial in page if trial.state is State.RUNNING]
        n_found += len(owners)
        n_left_over += sum(1 for owner in owners if is_gone(owner) or owner in lost)
        page = store.trials(study.id, after=page[-1].number, limit=_PAGE, newest_first=True)
    return n_left_over


def as_it_is(study: StudyRecord, trial: Trial, lost: Collection[str]) -> Trial:
    """Return *trial* as waiting if the log says that it runs, but nobody is there to run it.

    A process that is killed cannot write that its trials have ended; whoever resumes the study does.

    Args:
        study: as the store lists it.
        trial: of it.
        lost: owners whose leases have run out; see `Store.lease`.
    """
    is_left = study.holder is None and (is_script(study) or is_gone(trial.owner) or trial.owner in lost)
    if trial.state is not State.RUNNING or not is_left:
        return trial
    return replace(trial, state=State.WAITING, token=None, owner=None)


def is_script(study: StudyRecord) -> bool:
    """Tell whether the study runs a program, so that whoever runs it holds it."""
    return isinstance(study.settings.get("run"), Mapping)


def command_text(study: StudyRecord) -> str:
    """Return the program and its arguments as they were typed, secrets left out; empty for a study that has none."""
    if not is_script(study):
        return ""
    run = study.settings["run"]
    module = ["-m"] if run["program"]["kind"] == "module" else []
    return shell_line([*module, run["program"]["target"], *redacted(run["arguments"])])
