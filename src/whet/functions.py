"""Running a Python function on a study: what `whet.study.Study.run` does."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from whet.core.events import Draft, Kind
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.lookahead import check_workers, lookahead_of
from whet.core.observer import Observer
from whet.core.owner import is_gone, this_process
from whet.core.protocols import Executor
from whet.core.trial import Trial
from whet.core.values import Rules
from whet.errors import StoreError, UsageError
from whet.executors.calling import bind
from whet.executors.turns import take_turn
from whet.explaining import Choice, Misled, Unheard, notices
from whet.private import make_folder
from whet.run import Outcome, Runnable, run
from whet.space.space import Space
from whet.stopping import Limits, limits_of
from whet.storage.places import study_dir

GRACE_S = 10.0  # that a trial has for its end once it was asked to end
_LEAST_MEMORY = 1 << 20
_LOCKS = "runner-*.lock"
_TO_BE_HEARD = (
    "call trial.report(loss, epoch) after each epoch, in train(config, trial), or let the function take a budget, "
    "objective(config, budget), with a fidelity and scheduler='hyperband'"
)
_RESENT = {"terminated": signal.SIGTERM, "hangup": signal.SIGHUP}


@dataclass(frozen=True, slots=True)
class Job:
    """What is run for each trial, and on what.

    Attributes:
        fn: the function; ``None`` with an executor that brings its own work.
        executor: ``"processes"``: each trial in a process of its own; ``"inline"``: in the calling thread; or an
            `Executor`.
        workers: how many trials run at a time.
        timeout_s: wall-clock limit of one trial.
        memory_bytes: limit of what the processes of one trial hold together.
        retries: cause of a failure to the number of times that a trial is run again after it; ``None``: as before.

    Raises:
        UsageError: parts that make no sense, or not together.
    """

    fn: Callable[..., Any] | None
    executor: Literal["processes", "inline"] | Executor = "processes"
    workers: int = 1
    timeout_s: float | None = None
    memory_bytes: int | None = None
    retries: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be done before anything begins."""
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1:
            raise UsageError(f"workers must be a whole number of at least 1, got {self.workers!r}")
        for name, what, unit in (("timeout_s", "trial_timeout", "seconds"), ("memory_bytes", "trial_memory", "bytes")):
            limit = getattr(self, name)
            is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
            if limit is not None and not (is_number and 0 < limit < float("inf")):
                raise UsageError(f"{what} must be a finite number greater than 0 ({unit}), got {limit!r}")
        if self.memory_bytes is not None and self.memory_bytes < _LEAST_MEMORY:
            raise UsageError(
                f"trial_memory is a number of bytes, as in 2 * 2**30, and no Python fits into {self.memory_bytes!r}"
            )
        if self.retries is not None:
            _check_retries(self.retries)
        if isinstance(self.executor, str):
            self._check_named(self.executor)
        elif self.fn is not None or self.workers != 1:
            raise UsageError("an executor of your own brings its work and slots: leave out the function and workers")

    def _check_named(self, executor: str) -> None:
        if executor == "ray":
            raise UsageError("executor='ray' is still to come; use 'processes' on this machine")
        if executor not in ("processes", "inline"):
            raise UsageError(f"unknown executor {executor!r} (known: 'processes', 'inline', or an Executor)")
        if executor == "inline" and self.workers != 1:
            raise UsageError(
                f"executor='inline' runs one trial after the other, workers={self.workers} cannot; use 'processes'"
            )
        if executor == "inline" and (self.timeout_s is not None or self.memory_bytes is not None):
            raise UsageError("trial_timeout and trial_memory need processes that can be ended: executor='processes'")


def as_callbacks(given: Callable[..., object] | Iterable[Callable[..., object]]) -> list[Callable[..., object]]:
    """Return one function, or several, as a list.

    Raises:
        UsageError: it is something else.
    """
    callbacks = [given] if callable(given) else list(given) if isinstance(given, Iterable) else [given]
    if not all(map(callable, callbacks)):
        raise UsageError(f"on_trial_end must be a function of the study and a trial, or several, got {given!r}")
    return callbacks


def _check_retries(retries: object) -> None:
    counts = list(retries.values()) if isinstance(retries, Mapping) else [None]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in counts):
        raise UsageError(f"retries must be a dict of causes and whole numbers, as in {{'error': 1}}, got {retries!r}")


@dataclass(slots=True)
class Teller:
    """An observer that also says what the sampler does and what keeps the scheduler from its work, and calls back.

    The first callback that fails ends the run.

    Attributes:
        error: what that callback raised.
    """

    inner: Observer
    ledger: Ledger
    callbacks: Sequence[Callable[[Trial], object]] = ()
    choice: Choice | None = None
    lookouts: Sequence[Misled | Unheard] = ()
    error: Exception | None = field(default=None, init=False)

    def started(self, trial: Trial, history: History) -> None:
        """See `Observer`."""
        self.inner.started(trial, history)
        if self.choice is not None and (news := self.choice.news(history)) is not None:
            self.inner.notice(news)

    def requeued(self, trial: Trial, history: History) -> None:
        """See `Observer`."""
        self.inner.requeued(trial, history)

    def paused(self, trial: Trial, history: History) -> None:
        """Pass it on, and look at whether the scheduler can do its work."""
        self.inner.paused(trial, history)
        self._look(history)

    def _look(self, history: History) -> None:
        for text in notices(self.lookouts, history):
            self.inner.notice(text)

    def ended(self, trial: Trial, history: History) -> None:
        """Pass on the end of a trial, and call back."""
        self.inner.ended(trial, history)
        self._look(history)
        for callback in self.callbacks if self.error is None and trial.given != "added" else ():
            try:
                callback(trial)
            except Exception as error:  # the user's, told about once what runs has been ended
                self.error = error
                self.ledger.commit([Draft(Kind.COMMAND, None, {"command": "stop"})])
                return

    def tick(self, history: History) -> None:
        """See `Observer`."""
        self.inner.tick(history)

    def notice(self, text: str) -> None:
        """See `Observer`."""
        self.inner.notice(text)


def run_shown(
    study: Runnable,
    job: Job,
    limits: Limits,
    folder: Folder,
    callbacks: Sequence[Callable[[Trial], object]],
    *,
    is_shown: bool,
) -> Outcome:
    """Do what :func:`run_function` does, show how it goes, and call back with each trial that has ended.

    Raises:
        Exception: what a callback raised, once what runs has been ended; and what :func:`run_function` raises.
    """
    from whet.progress import Progress, style_for

    ledger = study.ledger
    shown = Progress(
        ledger.name,
        n_total=n_to_do(ledger.history, limits),
        workers=job.workers,
        style=style_for(is_shown),
        is_kept=folder.is_kept,
    )
    lookouts = (
        Misled(study.scheduler, "fidelity={{'{name}': ({low}, {high})}}"),
        Unheard(study.scheduler, _TO_BE_HEARD),
    )
    teller = Teller(shown, ledger, callbacks, Choice(study.sampler) if is_shown else None, lookouts)
    outcome = None
    try:
        outcome = run_function(study, job, limits, folder.path, teller)
    finally:
        shown.close(ledger.history, outcome)
    if teller.error is not None:
        raise teller.error
    return outcome


def run_function(study: Runnable, job: Job, limits: Limits, folder: Path, observer: Observer) -> Outcome:
    """Run *job* for the trials of *study* until *limits* are reached, nothing is left to ask, or someone ends it.

    Other processes may run the study at the same time, unless it is deterministic.

    Args:
        study: to run.
        job: what is run.
        limits: of this run; the number of trials is the study's, who runs it last decides.
        folder: where trials keep their files.
        observer: is told what happens.

    Raises:
        UsageError: *job* or *limits* do not suit the study.
        StudyBusy: another process runs it and does not share it.
        ExecutorError: no trial can be started.
        WhetError: no config could be chosen, or the store cannot be used; what is done is kept.
    """
    ledger = study.ledger
    # A deterministic study has one runner: the trials of another, killed one would hold up all that come after them.
    is_shared = lookahead_of(ledger.history) is None
    with ledger.store.hold(ledger.study, shared=is_shared), ExitStack() as stack:
        ledger.catch_up()
        since = ledger.history.seq  # who asks to stop while the function is loaded is heard
        _check(ledger, job, limits)
        _amend(ledger, job, limits)
        try:
            executor = _executor(ledger.history, job, folder, observer, stack)
        except KeyboardInterrupt:  # while it is loaded
            return Outcome("interrupted")
        outcome = run(study, executor, observer, limits=limits, since=since)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def resend(outcome: Outcome, folder: Folder) -> None:
    """Raise the signal that ended a run once more: it was meant for the whole program, Ctrl-C only for the run."""
    if outcome.reason in _RESENT:
        if signal.getsignal(_RESENT[outcome.reason]) is signal.SIG_DFL:  # which ends the program without a farewell
            folder.discard()
        signal.raise_signal(_RESENT[outcome.reason])


def n_to_do(history: History, limits: Limits) -> int | None:
    """Return how many trials the study will have at most, repeats and what was added included; ``None``: no end."""
    bounds = [n for n in (limits.n_trials, history.problem.space.size) if n is not None]
    return history.first_beyond(min(bounds)) if bounds else None


def _check(ledger: Ledger, job: Job, limits: Limits) -> None:
    history = ledger.history
    check_bounds(history.problem.space, limits)
    check_workers(lookahead_of(history), job.workers)
    if lookahead_of(history) is None:
        return
    lost = ledger.lease.lost(at_once=True)
    ours = [trial.number for trial in history.running if not (is_gone(trial.owner) or trial.owner in lost)]
    if ours:
        raise UsageError(
            f"this study is deterministic, so what is asked next waits for trial {ours[0]}, which was asked by hand "
            "and is running: tell or fail it first"
        )


def check_bounds(space: Space, limits: Limits) -> None:
    """See that the search ends.

    Raises:
        UsageError: the space is endless, and no limit is given.
    """
    is_bounded = any(limit is not None for limit in (limits.n_trials, limits.timeout_s, limits.target))
    if not is_bounded and not space.is_finite:
        raise UsageError(
            "the space has no end: say how long to search, with n_trials=100, timeout=600 (seconds) or target=0.01"
        )


def _amend(ledger: Ledger, job: Job, limits: Limits) -> None:
    """Write what this run changes of the study's settings."""
    settings = ledger.history.settings
    changed: dict[str, Any] = {}
    if limits_of(ledger.history).n_trials != limits.n_trials:
        changed["limits"] = {**asdict(Limits()), "n_trials": limits.n_trials}
    if job.retries is not None:
        rules = {**settings.get("rules", {}), "retries": dict(job.retries)}
        rules = Rules.from_json(rules).to_json()
        if rules != settings.get("rules"):
            changed["rules"] = rules
    if changed:
        ledger.commit([Draft(Kind.AMENDED, None, {"settings": changed})])


def _executor(history: History, job: Job, folder: Path, observer: Observer, stack: ExitStack) -> Executor:
    """Return what runs the trials, to be closed with *stack*."""
    if not isinstance(job.executor, str):
        return job.executor  # its owner closes it
    if job.fn is None:
        raise UsageError("there is nothing to run: give a function, as in study.run(train, n_trials=50)")
    fn = bind(job.fn, has_fidelity=history.problem.fidelity is not None)
    if job.executor == "inline":
        from whet.executors.inline import InlineExecutor

        return stack.enter_context(closing(InlineExecutor(fn, folder=folder)))
    from whet.executors.processes import ProcessExecutor

    lock = stack.enter_context(_turn(folder, observer))
    executor = ProcessExecutor(
        fn,
        slots=job.workers,
        folder=folder,
        timeout_s=job.timeout_s,
        memory_bytes=job.memory_bytes,
        grace_s=GRACE_S,
        lock_path=lock,
    )
    return stack.enter_context(closing(executor))


@contextmanager
def _turn(folder: Path, observer: Observer) -> Iterator[Path]:
    """Wait for the trials of processes that are gone; give the file that ours are to lock as long as they live."""

    def say(wait_s: float) -> None:
        observer.notice(f"waiting for trials of a run that was killed to end (up to {wait_s:.0f} s)")

    for path in folder.glob(_LOCKS):
        if is_gone(unquote(path.stem.removeprefix("runner-").rpartition(".")[0])):
            os.close(take_turn(path, 2 * GRACE_S, say))
            path.unlink(missing_ok=True)
    # Each run has one of its own: several threads of this process may run the study.
    lock = folder / f"runner-{quote(this_process(), safe='')}.{secrets.token_hex(4)}.lock"
    try:
        yield lock
    finally:
        lock.unlink(missing_ok=True)


class Folder:
    """Where a study's trials keep their files: beside its database (``is_kept``), or as long as this object lives."""

    def __init__(self, url: str, name: str) -> None:
        self.is_kept = url != ":memory:"
        self._path = study_dir(url, name) if self.is_kept else None
        self._remover: Callable[[], object] | None = None

    @property
    def path(self) -> Path:
        """The directory, made if it has to be."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="whet-"))
            self._remover = weakref.finalize(self, _remove, self._path, os.getpid())
        with suppress(OSError):  # the executor says what is wrong with it
            make_folder(self._path)
        return self._path

    def discard(self) -> None:
        """Remove the directory at once, unless it is kept."""
        if self._remover is not None:
            self._remover()


def _remove(path: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has a copy of the object, not of the folder
        shutil.rmtree(path, ignore_errors=True)


def stop_runs(ledger: Ledger) -> bool:
    """Ask whoever runs the study to end; tell whether anybody does.

    Raises:
        StoreError: the store cannot be written.
    """
    record = next((known for known in ledger.store.studies(ledger.name) if known.id == ledger.study), None)
    if record is None or record.holder is None:
        return False
    with suppress(StoreError):
        ledger.catch_up()
    ledger.commit([Draft(Kind.COMMAND, None, {"command": "stop"})])
    return True
