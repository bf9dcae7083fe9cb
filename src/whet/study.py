"""`Study`: one search and its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, Literal, overload

from whet.core.annotating import annotate
from whet.core.giving import Added, add, enqueue
from whet.core.handing import hand_out
from whet.core.jsontext import MISREAD
from whet.core.leases import SHORTEST_LEASE_S, is_lease
from whet.core.ledger import Ledger
from whet.core.problem import Constraint, Fidelity, Objective, problem_of
from whet.core.protocols import Decision, Executor, Sampler, Scheduler, Store, StudyRecord
from whet.core.randomness import checked_seed, fresh_seed
from whet.core.telling import fail, report, tell
from whet.core.trial import Trial
from whet.core.values import Told, verdict_on
from whet.errors import StoreDamaged, StudyBusy, UsageError, WhetError
from whet.explaining import explanation_of
from whet.functions import Folder, Job, as_callbacks, resend, run_shown, stop_runs
from whet.run import Outcome
from whet.samplers.names import check_sampler, sampler_from, sampler_of, sampler_settings
from whet.schedulers.names import check_scheduler, scheduler_from, scheduler_of, scheduler_settings
from whet.space.space import Space
from whet.stopping import Limits
from whet.storage.open import DEFAULT_STORE, open_store


class Study:
    """One search and its record: ask for a trial, report on it, tell its value.

    Args:
        space: what may vary; a `Space` or a mapping of names to domains.
        objective: ``"minimize"`` or ``"maximize"`` a bare number, or metric names with their directions.
        constraints: bounds on metrics, such as ``"latency_ms <= 20"``.
        sampler: which config next; a name or a `Sampler`.
        scheduler: how much budget for whom, a name or a `Scheduler`; by default every trial runs to its end.
        fidelity: the axis along which a trial can be cut short, as ``{"epochs": (1, 81)}``.
        seed: makes the sequence of configs reproducible; drawn if not given.
        repeats: how many trials share a config.
        store: where the study is kept: a path, a URL or a `Store`; by default in memory.
        name: by which it is found again.
        n_trials: how many configs the study is to have in total, whichever processes ask for them; by default, no end.
        lease_s: seconds after which the trials of a process that gives no sign of life are handed to others.
        lookahead: makes the sequence of configs independent of how many workers there are and who is faster: trial
            *k* is chosen from what trials up to *k* - lookahead have come to, in the order of their numbers.
        settings: more to keep with the study, as JSON.

    Raises:
        UsageError: a part that makes no sense; the message says which.
        StudyExists: the store has a study of that name.
    """

    def __init__(  # noqa: PLR0913 -- all by keyword, each with a default
        self,
        space: Space | Mapping[str, Any],
        objective: str | Mapping[str, str] | Sequence[Objective] = "minimize",
        *,
        constraints: Sequence[str | Constraint] = (),
        sampler: str | Sampler = "auto",
        scheduler: str | Scheduler | None = None,
        fidelity: Fidelity | Mapping[str, tuple[float, float]] | None = None,
        seed: int | None = None,
        repeats: int = 1,
        store: Store | str | Path | None = None,
        name: str = "study",
        n_trials: int | None = None,
        lease_s: float | None = None,
        lookahead: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        for what, n in (("repeats", repeats), ("lookahead", 1 if lookahead is None else lookahead)):
            if isinstance(n, bool) or not isinstance(n, int) or n < 1:
                raise UsageError(f"{what} must be at least 1, a whole number, got {n!r}")
        own = {"n_trials": Limits(n_trials).n_trials, "lease_s": None if lease_s is None else _checked_lease(lease_s)}
        problem, chosen = problem_of(space, objective, constraints, fidelity), sampler_from(sampler)
        check_sampler(chosen, problem)
        spender = scheduler_from(scheduler)
        check_scheduler(spender, problem, lookahead)
        kept = {
            "problem": problem.to_json(),
            "seed": fresh_seed() if seed is None else checked_seed(seed),
            "repeats": repeats,
            **sampler_settings(chosen),
            **scheduler_settings(spender),
            "lookahead": lookahead,
            **{name: value for name, value in own.items() if value is not None},
            **(settings or {}),
        }
        opened = open_store(store)
        self._attach(opened, opened.create(name, kept), chosen, spender)

    def _attach(self, store: Store, record: StudyRecord, sampler: Sampler, scheduler: Scheduler) -> None:
        self.ledger = Ledger(store, record)
        self.name = record.name
        self.sampler = sampler
        self.scheduler = scheduler
        self.outcome: Outcome | None = None
        self._lock = RLock()
        self._is_running = False
        self._folder = Folder(store.url, record.name)

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
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise UsageError(f"ask(n) needs a whole number of at least 1, got {n!r}")
        with self._lock:
            trials = hand_out(self.ledger, self.sampler, self.scheduler, n or 1)
        return trials if n is not None else trials[0]

    def report(self, trial: Trial | int, values: Told, *, step: float) -> Decision:
        """Note what *trial* reports at *step* and return what it is to do; where that is to stop, it has stopped.

        Where the trial was cancelled, or taken over as this process was held up for longer than its lease, a
        `LateReportWarning` says so, nothing is noted, and the answer is to stop.

        Raises:
            StaleAttempt: the attempt has ended before: it was told already, or stopped.
            StateError: the trial is not running.
        """
        with self._lock:
            return report(self.ledger, self.scheduler, trial, values, step)

    def tell(self, trial: Trial | int, values: Told) -> Trial:
        """Note the final *values* of *trial*, a number or a dict of metrics, and return the trial as it ended.

        One whose budget is not the highest may be paused then; `ask` hands it out again with more if it is to go on.
        An objective that is missing or no finite number makes the trial failed; see `Rules.infinite`. Where the trial
        was cancelled, or taken over by another process as this one was held up for longer than its lease, a
        `LateReportWarning` says so, the value is refused, and the trial is returned as it is now.

        Raises:
            StaleAttempt: the attempt has ended before: it was told already, or stopped.
            StateError: the trial is not running.
        """
        with self._lock:
            return tell(self.ledger, self.scheduler, trial, values)

    def fail(self, trial: Trial | int, *, cause: str = "error", message: str = "") -> Trial:
        """Note that *trial* has failed, and return it as it ended; see :meth:`tell` on one that was taken over.

        Raises:
            UsageError: nobody knows that cause.
            StaleAttempt: the attempt has ended before: it was told already, or stopped.
            StateError: the trial is not running.
        """
        with self._lock:
            return fail(self.ledger, trial, cause, message)

    def enqueue(self, config: Mapping[str, Any]) -> Trial:
        """Let *config* be run before anything new is asked, and return its trial (with repeats the first of them).

        Raises:
            ConfigError: it is not in the space; the message names the parameter.
        """
        with self._lock:
            return self.ledger.trial(enqueue(self.ledger, config, now=time.time)[0])

    def add_trials(self, trials: Iterable[tuple[Mapping[str, Any], Told]]) -> list[int]:
        """Add trials that were run elsewhere, as pairs of a config and its value; return their numbers.

        They count as completed, or as failed if the value is not finite, and not towards ``n_trials``.

        Raises:
            UsageError: a config that is not in the space, or a value that is none; nothing is added.
        """
        rows = []
        for index, (config, values) in enumerate(trials):
            try:
                rows.append(Added(config, verdict_on(values, self.ledger.history)))
            except UsageError as error:
                raise UsageError(f"row {index}: {error}") from None
        with self._lock:
            return add(self.ledger, rows, now=time.time)

    def annotate(
        self,
        trial: Trial | int | None = None,
        attributes: Mapping[str, Any] | None = None,
        *,
        note: str | None = None,
    ) -> None:
        """Set attributes and the note of a trial in whatever state, or of the study itself.

        Attributes that are not named stay as they are; the value ``None`` removes one, a note of ``""`` the note.

        Raises:
            UsageError: a value that JSON cannot hold, or more than 1 MB of it; the message names it.
            StateError: there is no such trial.
        """
        annotate(self.ledger, trial, attributes, note, now=time.time)

    # ---- run a function
    def run(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        n_trials: int | None = None,
        timeout: float | None = None,
        target: float | None = None,
        max_failures: int | None = None,
        workers: int = 1,
        executor: Literal["processes", "inline"] | Executor = "processes",
        trial_timeout: float | None = None,
        trial_memory: int | None = None,
        retries: Mapping[str, int] | None = None,
        on_trial_end: Callable[[Study, Trial], object] | Iterable[Callable[[Study, Trial], object]] = (),
        progress: bool = True,
    ) -> Study:
        """Run *fn* for trial after trial until a limit is reached, nothing is left to ask, or someone ends it.

        Ctrl-C ends the run and returns the study with what is known; running trials wait to be run again. Several
        processes may run one study, each with `whet.load`.

        Args:
            fn: ``fn(config)`` gets a dict; a parameter called ``trial`` the trial's handle, a second one called
                ``budget`` a number. It returns a number, a dict of metrics, or nothing if it has reported.
            n_trials: how many configs the study is to have in total; repeats and added trials do not count. By default
                as many as it was made for.
            timeout: seconds that this run may take.
            target: value of the first objective that is good enough.
            max_failures: failed trials in the whole study at which this run ends; by default it ends when its first
                three trials fail.
            workers: how many trials run at a time.
            executor: ``"processes"``: each trial in a process of its own; ``"inline"``: in this thread, for debugging
                and for functions of microseconds; or an `Executor`, which brings its own work (*fn* is left out).
            trial_timeout: seconds that one trial may take.
            trial_memory: bytes that the processes of one trial may hold together.
            retries: cause of a failure (``"error"``, ``"timeout"``, …) to how often a trial is run again after it.
            on_trial_end: called with the study and each trial that has ended, in this process; if it raises, the run
                ends and the exception comes out of here.
            progress: show how it goes, on standard error or in the notebook.

        Raises:
            UsageError: the function has another signature, cannot be sent to other processes, or the limits make no
                sense.
            StudyBusy: it is being run already, by this object or by another program that does not share it.
            ExecutorError: no trial can be started.
        """
        job = Job(fn, executor, workers, trial_timeout, trial_memory, retries)
        planned = self.ledger.history.settings.get("n_trials") if n_trials is None else n_trials
        limits = Limits(planned, timeout, target, max_failures)
        callbacks = as_callbacks(on_trial_end)
        with self._lock:
            if self._is_running:
                raise StudyBusy(f"study {self.name!r} is being run by this object already; whet.load a second one")
            self._is_running = True
        try:
            calls = [partial(callback, self) for callback in callbacks]
            self.outcome = run_shown(self, job, limits, self._folder, calls, is_shown=progress)
        finally:
            self._is_running = False
        resend(self.outcome, self._folder)
        return self

    def stop(self) -> bool:
        """Ask every run of the study to end, wherever it is; tell whether there is one. Its trials can be resumed."""
        return stop_runs(self.ledger)

    # ---- what is known
    @property
    def attributes(self) -> Mapping[str, Any]:
        """What `annotate` has said of the study."""
        return dict(self.ledger.history.settings.get("attributes", {}))

    @property
    def note(self) -> str:
        """The note of the study."""
        return str(self.ledger.history.settings.get("note", ""))

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
        n_objectives = len(self.ledger.history.problem.objectives)
        if n_objectives != 1:
            raise UsageError(
                f"study {self.name!r} has {n_objectives} objectives; "
                "a best trial needs exactly one, as in objective='minimize' or --objective val_loss:min"
            )
        best = self._leader()
        if best is None:
            raise UsageError(f"study {self.name!r} has no completed trial yet")
        return best

    def _leader(self) -> Trial | None:
        self.ledger.catch_up()
        number = self.ledger.history.best()
        return None if number is None else self.ledger.store.trials(self.ledger.study, numbers=[number])[0]

    @property
    def best_config(self) -> Mapping[str, Any]:
        """The config of the best trial."""
        return self.best.config or {}

    @property
    def best_value(self) -> float:
        """The value of the best trial, in the user's sign."""
        return self.best.values[self.ledger.history.problem.objectives[0].name]

    def explain(self) -> str:
        """Return in a few lines what the sampler does and why, where the configs came from, and what it expected."""
        self.ledger.catch_up()
        return explanation_of(self.ledger, self.sampler, self.scheduler).text

    def to_frame(self) -> Any:
        """Return the trials as a ``pandas.DataFrame``, without pandas as a dict of columns; see `whet.frames`."""
        from whet.frames import frame_of

        return frame_of(self.trials, self.ledger.history.problem)

    def __repr__(self) -> str:
        from whet.display import text_of

        best = self._leader()
        return text_of(self.ledger.history, self.name, best)

    def _repr_html_(self) -> str:
        """Show the study in a notebook."""
        from whet.display import html_of, top_numbers

        best, numbers = self._leader(), top_numbers(self.ledger.history)
        found = {trial.number: trial for trial in self.ledger.store.trials(self.ledger.study, numbers=numbers)}
        return html_of(self.ledger.history, self.name, best, [found[number] for number in numbers])


def _checked_lease(lease_s: float) -> float:
    if not is_lease(lease_s):
        raise UsageError(f"lease_s must be a number of seconds of at least {SHORTEST_LEASE_S:g}, got {lease_s!r}")
    return float(lease_s)


def load(
    name: str,
    store: Store | str | Path | None = None,
    *,
    sampler: str | Sampler | None = None,
    scheduler: str | Scheduler | None = None,
) -> Study:
    """Return the existing study *name*.

    Args:
        name: as it was given when the study was made.
        store: where it is kept: a path, a URL or a `Store`; by default ``./.whet/whet.db``.
        sampler: which config next; by default the one that the study was made with, if whet knows it by its name.
        scheduler: how much budget for whom; by default the one that the study was made with, likewise.

    Raises:
        StudyNotFound: the store has no such study; the message lists the closest names.
        StoreError: the store cannot be read, or holds what whet has not written.
    """
    opened = open_store(DEFAULT_STORE if store is None else store, must_exist=True)
    record = opened.studies(name)[0]
    study = Study.__new__(Study)
    try:
        chosen = sampler_of(record.settings) if sampler is None else sampler_from(sampler)
        spender = scheduler_of(record.settings) if scheduler is None else scheduler_from(scheduler)
        study._attach(opened, record, chosen, spender)
        problem = study.ledger.history.problem
        check_sampler(chosen, problem)
        check_scheduler(spender, problem, record.settings.get("lookahead"))
    except WhetError:
        raise
    except MISREAD as error:
        raise StoreDamaged(
            f"study {name!r} holds something that whet has not written ({type(error).__name__}: {error}); somebody has "
            "changed its store; whet doctor says more"
        ) from error
    return study
