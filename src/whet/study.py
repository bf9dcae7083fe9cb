"""`Study`: one search and its record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any, overload

from whet.core.asking import ask_drafts, release_drafts, start_draft, waiting_numbers
from whet.core.events import Draft, Kind
from whet.core.ledger import Ledger
from whet.core.owner import is_gone
from whet.core.problem import Constraint, Objective, Problem
from whet.core.protocols import Decision, New, Resume, Sampler, Scheduler, Store, StudyRecord
from whet.core.randomness import checked_seed, fresh_seed
from whet.core.trial import Cause, Trial
from whet.core.values import Rules, judge
from whet.errors import NotReady, SearchExhausted, StaleAttempt, StateError, UsageError
from whet.samplers.names import name_of, sampler_named
from whet.schedulers.fifo import Fifo
from whet.space.space import Space
from whet.storage.open import DEFAULT_STORE, open_store

Values = float | Mapping[str, float]
_BARE = "value"  # the metric that a bare number is


class Study:
    """One search and its record: ask for a trial, report on it, tell its value.

    Args:
        space: what may vary; a `Space` or a mapping of names to domains.
        objective: ``"minimize"`` or ``"maximize"`` a bare number, or metric names with their directions.
        constraints: bounds on metrics, such as ``"latency_ms <= 20"``.
        sampler: which config next; a name or a `Sampler`.
        scheduler: how much budget for whom; by default every trial runs to its end.
        seed: makes the sequence of configs reproducible; drawn if not given.
        repeats: how many trials share a config.
        store: where the study is kept: a path, a URL or a `Store`; by default in memory.
        name: by which it is found again.
        settings: more to keep with the study, as JSON.

    Raises:
        UsageError: a part that makes no sense; the message says which.
        StudyExists: the store has a study of that name.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        objective: str | Mapping[str, str] | Sequence[Objective] = "minimize",
        *,
        constraints: Sequence[str | Constraint] = (),
        sampler: str | Sampler = "auto",
        scheduler: Scheduler | None = None,
        seed: int | None = None,
        repeats: int = 1,
        store: Store | str | None = None,
        name: str = "study",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(repeats, int) or repeats < 1:
            raise UsageError(f"repeats must be at least 1, a whole number, got {repeats!r}")
        problem = Problem(
            space if isinstance(space, Space) else Space(space),
            _objectives(objective),
            tuple(c if isinstance(c, Constraint) else Constraint.parse(c) for c in constraints),
        )
        kept = {
            "problem": problem.to_json(),
            "seed": fresh_seed() if seed is None else checked_seed(seed),
            "repeats": repeats,
            "sampler": sampler if isinstance(sampler, str) else name_of(sampler),
            **(settings or {}),
        }
        chosen = sampler_named(sampler) if isinstance(sampler, str) else sampler
        opened = open_store(store)
        self._attach(opened, opened.create(name, kept), chosen, scheduler)

    def _attach(self, store: Store, record: StudyRecord, sampler: Sampler, scheduler: Scheduler | None) -> None:
        self.ledger = Ledger(store, record)
        self.name = record.name
        self.sampler = sampler
        self.scheduler: Scheduler = scheduler or Fifo()
        self._rules = Rules.from_json(record.settings.get("rules", {}))
        self._lock = RLock()

    # ---- ask and tell
    @overload
    def ask(self) -> Trial: ...
    @overload
    def ask(self, n: int) -> list[Trial]: ...
    def ask(self, n: int | None = None) -> Trial | list[Trial]:
        """Return the next trial to run, or a list of up to *n* of them.

        Trials that wait to be run again come first.

        Raises:
            SearchExhausted: there is nothing left to ask.
            NotReady: nothing can be asked until a running trial ends.
        """
        if n is not None and n < 1:
            raise UsageError(f"ask(n) needs n of at least 1, got {n!r}")
        with self._lock:
            self.ledger.catch_up()
            numbers: list[int] = []
            is_exhausted = False
            while not numbers and not is_exhausted:
                drafts = self._write(self._drafts_to_ask(n or 1))
                numbers = [d.trial for d in drafts if d.kind is Kind.STARTED and d.trial is not None]
                is_exhausted = any(d.kind is Kind.RELEASED for d in drafts)
            if not numbers:
                raise SearchExhausted
            trials = [self.ledger.history.unfinished[number] for number in numbers]
        return trials if n is not None else trials[0]

    def _drafts_to_ask(self, n: int) -> list[Draft]:
        """Return drafts that start up to *n* trials: those that wait, then new ones."""
        numbers = waiting_numbers(self.ledger.history)[:n]
        drafts: list[Draft] = []
        if len(numbers) < n:
            drafts = self._ask_more(n - len(numbers), may_be_none=bool(numbers))
            numbers += [d.trial for d in drafts if d.trial is not None and d.kind is not Kind.RELEASED]
        return drafts + [start_draft(number, now=time.time) for number in numbers]

    def _ask_more(self, n: int, *, may_be_none: bool) -> list[Draft]:
        """Reserve numbers for what the scheduler assigns; return drafts that give each a config, or release it."""
        assigned = self.scheduler.assign(self.ledger.history, n)
        if not assigned and not may_be_none:
            raise NotReady
        new = [a for a in assigned if isinstance(a, New)]
        drafts = [Draft(Kind.RESUMED, a.number, {"budget": a.budget}) for a in assigned if isinstance(a, Resume)]
        if new:
            left = release_drafts(self.ledger.history, is_gone, now=time.time)
            numbers = self.ledger.commit(left, reserve=len(new), durable=False).numbers
            try:
                drafts += ask_drafts(self.ledger.history, self.sampler, numbers, new, now=time.time)
            except BaseException:
                self._write([Draft(Kind.RELEASED, number) for number in numbers])
                raise
        return drafts

    def _write(self, drafts: list[Draft]) -> list[Draft]:
        """Write *drafts* and return them, without those that other processes have made impossible meanwhile."""
        while True:
            try:
                self.ledger.commit(drafts, durable=False)
                return drafts
            except StateError:
                news = self.ledger.catch_up()
                possible = self.ledger.possible(drafts)
                if not news and len(possible) == len(drafts):
                    raise
                drafts = possible

    def report(self, trial: Trial | int, values: Values, *, step: float) -> Decision:
        """Note what *trial* reports at *step* and return what it is to do; where that is to stop, it has stopped.

        Raises:
            StaleAttempt: the attempt is no longer the trial's current one; the trial went on without it.
            StateError: the trial is not running.
        """
        metrics = _metrics(values)
        with self._lock:
            running = self._running(trial)
            row = [_number("the step", step), *(metrics.get(name) for name in self.ledger.history.problem.metrics)]
            self._say(Draft(Kind.REPORTED, running.number, {"rows": [row]}, running.token))
            decision = self.scheduler.decide(self.ledger.history, running.number)
            if decision is not Decision.CONTINUE:
                kind = Kind.STOPPED if decision is Decision.STOP else Kind.PAUSED
                self._say(Draft(kind, running.number, {"values": metrics}, running.token))
        return decision

    def tell(self, trial: Trial | int, values: Values) -> Trial:
        """Note the final *values* of *trial*, a number or a dict of metrics, and return the trial as it ended.

        An objective that is missing or no finite number makes the trial failed; see `Rules.infinite`.

        Raises:
            StaleAttempt: the attempt is no longer the trial's current one; the trial went on without it.
            StateError: the trial is not running.
        """
        with self._lock:
            history = self.ledger.history
            verdict = judge(history.problem, self._rules, _metrics(values))
            running = self._running(trial)
            payload: dict[str, Any] = {"values": verdict.values}
            if verdict.cause is None:
                return self._say(Draft(Kind.COMPLETED, running.number, payload, running.token))
            payload |= {"cause": verdict.cause.value, "message": verdict.message}
            return self._say(Draft(Kind.FAILED, running.number, payload, running.token))

    def fail(self, trial: Trial | int, *, cause: str = "error", message: str = "") -> Trial:
        """Note that *trial* has failed, and return it as it ended.

        Raises:
            UsageError: nobody knows that cause.
            StaleAttempt: the attempt is no longer the trial's current one; the trial went on without it.
            StateError: the trial is not running.
        """
        if cause not in set(Cause):
            raise UsageError(f"unknown cause {cause!r} (known: {', '.join(Cause)})")
        with self._lock:
            running = self._running(trial)
            payload = {"cause": cause, "message": message}
            return self._say(Draft(Kind.FAILED, running.number, payload, running.token))

    def _running(self, trial: Trial | int) -> Trial:
        """Return the trial as it is known now; a `Trial` given speaks for its own attempt."""
        if isinstance(trial, Trial) and trial.token is not None:
            return trial
        self.ledger.catch_up()
        number = trial.number if isinstance(trial, Trial) else trial
        known = None if isinstance(trial, Trial) else self.ledger.history.unfinished.get(number)
        if known is None or known.token is None:
            state = "is not running" if number < self.ledger.history.n_numbers else "does not exist"
            raise StateError(f"trial {number} of study {self.name!r} {state}; only a trial that ask() gave can report")
        return known

    def _say(self, draft: Draft) -> Trial:
        """Write *draft*, which an attempt says, and return its trial."""
        refused = self.ledger.commit([draft]).refused
        if refused:
            raise StaleAttempt(
                f"trial {draft.trial} of study {self.name!r}: this attempt is no longer the current one, "
                f"so its {draft.kind.value!r} was refused"
            )
        history = self.ledger.history
        ended = (trial for trial in history.just_ended if trial.number == draft.trial)
        return next(ended, None) or history.unfinished[draft.trial or 0]

    # ---- what is known
    @property
    def trials(self) -> list[Trial]:
        """Every trial that has a config, by number."""
        return self.ledger.store.trials(self.ledger.study)

    @property
    def best(self) -> Trial:
        """The best completed trial; see `History.best`.

        Raises:
            UsageError: there is more or less than one objective, or nothing has completed yet.
        """
        self.ledger.catch_up()
        history = self.ledger.history
        if len(history.problem.objectives) != 1:
            raise UsageError(
                f"study {self.name!r} has {len(history.problem.objectives)} objectives; "
                "a best trial needs exactly one, as in objective='minimize' or --objective val_loss:min"
            )
        number = history.best()
        if number is None:
            raise UsageError(f"study {self.name!r} has no completed trial yet")
        return self.ledger.store.trials(self.ledger.study, numbers=[number])[0]

    @property
    def best_config(self) -> Mapping[str, Any]:
        """The config of the best trial."""
        return self.best.config or {}

    @property
    def best_value(self) -> float:
        """The value of the best trial, in the user's sign."""
        return self.best.values[self.ledger.history.problem.objectives[0].name]


def load(name: str, store: Store | str | None = None) -> Study:
    """Return the existing study *name*.

    Args:
        name: as it was given when the study was made.
        store: where it is kept: a path, a URL or a `Store`; by default ``./.whet/whet.db``.

    Raises:
        StudyNotFound: the store has no such study; the message lists the closest names.
        StoreError: the store cannot be read.
    """
    opened = open_store(DEFAULT_STORE if store is None else store, must_exist=True)
    record = opened.studies(name)[0]
    study = Study.__new__(Study)
    study._attach(opened, record, sampler_named(record.settings["sampler"]), None)
    return study


def _objectives(objective: str | Mapping[str, str] | Sequence[Objective]) -> tuple[Objective, ...]:
    if isinstance(objective, str):
        return (Objective(_BARE, objective),)  # type: ignore[arg-type]  # any spelling; checked there
    if isinstance(objective, Mapping):
        return tuple(Objective(name, direction) for name, direction in objective.items())  # type: ignore[arg-type]
    return tuple(objective)


def _metrics(values: Values) -> dict[str, float]:
    """Return *values* as a dict of metrics; a bare number is the metric ``value``."""
    if isinstance(values, Mapping):
        return {str(name): _number(f"the metric {name!r}", value) for name, value in values.items()}
    return {_BARE: _number("the value", values)}


def _number(what: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{what} must be a number, got {value!r}") from None
