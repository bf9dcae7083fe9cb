"""Conducting a run: what `whet run` and `whet resume` do once there is a study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from whet import run as run_loop
from whet.cli.console import Console, Style, failure_text
from whet.cli.launching import Launcher
from whet.cli.lookup import hint
from whet.cli.overwrites import Overwrites
from whet.cli.progress import Progress
from whet.cli.script import ScriptRun
from whet.cli.summary import Ending, ending_lines, ending_record
from whet.core.events import Draft
from whet.core.protocols import Executor
from whet.core.trial import State, Trial
from whet.describe import json_line
from whet.errors import ExecutorError, StoreError
from whet.executors.commands import CommandExecutor
from whet.executors.gpus import GpuExecutor, Gpus, gpu_amount, visible_devices
from whet.explaining import Choice, Misled, Unheard
from whet.storage.places import RUNNER_LOCK, study_dir
from whet.study import Study
from whet.text import one_line


def gpus_for(run: ScriptRun) -> Gpus | None:
    """Return the GPUs that the trials of a run lease from, ``None`` if it asks for none.

    Raises:
        UsageError: it asks for more than there are.
    """
    if run.gpus is None:
        return None
    return Gpus(visible_devices(), gpu_amount(run.gpus), run.workers)


def _to_be_heard(study: Study) -> str:
    """Return what to do where a scheduler hears nothing of trials on the way."""
    objectives = study.ledger.history.problem.objectives
    name = one_line(objectives[0].name, 60) if objectives else "loss"
    return (
        f"let the program print it after each epoch, as in `epoch 3: {name} 0.2`, or be told how far to go, as in "
        '--epochs "budget(1, 81)", under --scheduler hyperband'
    )


class Conduct:
    """A study, what it runs, and how that is shown.

    Args:
        study: with limits, rules and the run in its settings.
        run: what is started for each trial.
        style: how the run is shown.
        n_configs: how many configs the space has; ``None``: endless.
        gpus: to lease to trials.
        store_option: the value of ``--store``, for the commands that are printed.
    """

    def __init__(
        self,
        study: Study,
        run: ScriptRun,
        *,
        style: Style,
        n_configs: int | None,
        gpus: Gpus | None,
        store_option: str | None,
    ) -> None:
        self._study, self._run, self._style, self._gpus = study, run, style, gpus
        self._folder = study_dir(study.ledger.store.url, study.name, Path(run.cwd), run.on_server)
        self._progress = Progress(run.workers, n_configs)
        self._store_option = store_option
        self._resume_line = hint("resume", study.name, store_option)
        self._show_line = hint("show", study.name, store_option)

    def run(self, notices: Sequence[str], amendments: Sequence[Draft] = ()) -> int:
        """Run the study until it ends, show it, and return the exit code.

        Args:
            notices: what is said first, unless the run is to be quiet.
            amendments: what is written first, as soon as nobody else can run the study.

        Raises:
            StudyBusy: another process runs it.
            ExecutorError: no trial can be started.
            StoreError: the store cannot be written any more.
        """
        study = self._study
        began = time.monotonic()
        with study.ledger.store.hold(study.ledger.study):
            study.ledger.catch_up()  # what happened between reading the study and holding it
            study.ledger.commit(amendments)
            choice = Choice(study.sampler)
            lookouts = (
                Misled(study.scheduler, "--fidelity {name}={low}:{high}"),
                Unheard(study.scheduler, _to_be_heard(study)),
            )
            flag = self._run.budget_flag
            console = Console(
                study.name, self._style, self._progress, self._folder, self._overwrites(), choice, flag, lookouts
            )
            try:
                for notice in notices if self._style != "quiet" else ():
                    console.notice(notice)
                with self._executor(console) as executor:
                    outcome = run_loop.run(study, executor, console, is_only_runner=True)
            except (StoreError, ExecutorError):
                console.notice(f"what is done is kept; to go on later: {self._resume_line}")
                raise
            finally:
                console.close()
            study.ledger.lease.release()  # nothing of this run is left for others to take over
        ending = Ending(
            study=study,
            run=self._run,
            outcome=outcome,
            folder=self._folder,
            took_s=time.monotonic() - began,
            store_option=self._store_option,
            n_total=self._progress.n_total(study.ledger.history),
        )
        self._show(ending, console)
        if console.output_failure is None:
            return ending.exit_code
        console.notice(
            f"results could not be written to standard output ({console.output_failure}); "
            f"they are all kept: {self._show_line}"
        )
        return ending.exit_code or 1

    def _overwrites(self) -> Overwrites | None:
        """Return what looks out for files that trials write over each other, where they share a directory."""
        run = self._run
        return None if run.chdir else Overwrites(Path(run.cwd))

    @contextmanager
    def _executor(self, console: Console) -> Iterator[Executor]:
        run = self._run
        launcher = Launcher(run, self._folder, self._gpus)
        executor = CommandExecutor(
            launcher.command,
            slots=run.workers,
            watch=self._study.ledger.history.problem.metrics,
            metric_pattern=run.metric_pattern,
            counts_steps=run.counts_steps,
            grace_s=run.grace_s,
            log_cap_bytes=run.log_cap_bytes,
            lock_path=self._folder / RUNNER_LOCK,
            on_wait=lambda wait_s: console.notice(
                f"waiting for trials of a run that was killed to end (up to {wait_s:.0f} s)"
            ),
        )
        try:
            yield executor if self._gpus is None else GpuExecutor(executor, self._gpus)
        finally:
            executor.close()

    def _show(self, ending: Ending, console: Console) -> None:
        if self._style == "json":
            console.result(json_line(ending_record(ending)))
            return
        failed = None if console.has_shown_failure else self._last_failure(ending)
        text = None if failed is None else failure_text(failed, ending.study.name, self._folder, self._run.budget_flag)
        for line in ending_lines(ending, text):
            console.result(line)

    def _last_failure(self, ending: Ending) -> Trial | None:
        """Return the failed trial that explains why the run has ended, if failures ended it."""
        if ending.outcome.reason != "failures":
            return None
        ledger = ending.study.ledger
        number = next(row.number for row in reversed(ledger.history.finished) if row.state is State.FAILED)
        return ledger.store.trials(ledger.study, numbers=[number])[0]
