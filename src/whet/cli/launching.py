"""From an attempt to the command that is started for it: arguments, directory, environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from whet.cli.checkpoints import put_aside
from whet.cli.script import ScriptRun
from whet.core.protocols import Launch
from whet.executors.commands import Command
from whet.executors.gpus import Gpus
from whet.executors.pool import trial_variables

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Launcher:
    """Makes the command of an attempt.

    Args:
        run: what is run, and how.
        folder: the study's directory; see `whet.storage.places.study_dir`.
        gpus: from which attempts lease devices, if they get any.
    """

    def __init__(self, run: ScriptRun, folder: Path, gpus: Gpus | None) -> None:
        self._run, self._folder, self._gpus = run, folder, gpus
        self._environment = _environment(run, os.environ)

    def command(self, launch: Launch) -> Command:
        """Return what is started for *launch*.

        Raises:
            OSError: a checkpoint that an earlier study of the name has left cannot be put aside.
        """
        run = self._run
        directory = self._folder / str(launch.number)
        if launch.attempt == 1:
            put_aside(directory)
        known = run.placeholders(
            launch.study, launch.number, launch.seed, directory, launch.budget, attempt=launch.attempt
        )
        return Command(
            argv=tuple(run.argv(launch.config, known, launch.budget)),
            cwd=directory if run.chdir else Path(run.cwd),
            env={**self._environment, **self._variables(launch, directory, known)},
            trial_dir=directory,
            timeout_s=run.trial_timeout_s,
            memory_bytes=run.memory_bytes,
            pty=run.pty,
        )

    def _variables(self, launch: Launch, directory: Path, known: Mapping[str, str]) -> dict[str, str]:
        variables = {
            **trial_variables(launch, directory, known["budget"]),
            "WHET_CHECKPOINT_IN": known["checkpoint_in"],
            "WHET_CHECKPOINT_OUT": known["checkpoint_out"],
        }
        if self._gpus is not None:
            # The names of `nvidia-smi` are in the order of the bus; CUDA's own order puts the fastest first.
            variables["CUDA_DEVICE_ORDER"] = self._environment.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus.held_by(launch.token))
        return variables


def _environment(run: ScriptRun, ours: Mapping[str, str]) -> dict[str, str]:
    """Return what all trials of a run have in their environment."""
    environment = {name: value for name, value in {**ours, **run.environment}.items() if not name.startswith("WHET_")}
    # A piped Python program would keep its lines until its end; one that is started by a shell script, too.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    n_threads = str(run.cpus or max(1, n_processors() // run.workers))
    for name in _THREADS:
        environment.setdefault(name, n_threads)
    if run.chdir:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (run.cwd, environment.get("PYTHONPATH"))))
    return environment


def n_processors() -> int:
    """Return on how many processors this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
