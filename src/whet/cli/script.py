"""What `whet run` was asked to run, as it is stored with the study, and the command lines that come of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whet.cli.budgets import budget_text, counts_steps, read_fidelity
from whet.cli.checkpoints import checkpoint_in, is_left
from whet.cli.origin import Origin
from whet.cli.program import Program
from whet.cli.redact import redacted
from whet.cli.surroundings import Surroundings
from whet.cli.sweep import Sweep, read_sweep
from whet.core.problem import Fidelity
from whet.core.randomness import replicate_seed
from whet.core.trial import Trial
from whet.errors import UsageError
from whet.text import shell_line

_NOW_OTHERWISE = "is different in the environment now; trials get it as it was kept (--env-keep)"


@dataclass(frozen=True)
class ScriptRun:
    """A program, its arguments as typed, and everything that matters to starting it.

    Attributes:
        program: what each trial starts.
        arguments: those of the program, as typed.
        cwd: directory in which it was typed, absolute.
        seed: of the study; sized distributions are drawn with it.
        python: interpreter of Python programs.
        strategy: which configs, as typed; ``none`` passes every argument as it is.
        literal, zips, when, forbid: as typed, one text per option given.
        fidelity: as typed; ``None`` also where an argument is given as ``budget(low, high)``.
        chdir: each trial runs in a directory of its own.
        pty: each trial gets a terminal, for programs that keep their output back without one.
        workers: trials at the same time.
        cpus, gpus: of each trial; ``None``: an equal share of the processors, no device of its own.
        memory_bytes, trial_timeout_s: bounds of each trial; ``None``: none.
        grace_s: between asking a trial to end and ending it.
        log_cap_bytes: of each log file.
        metric_pattern: a regular expression for metrics that are printed in a form of their own.
        environment: variables that trials get as they were when the study began; all others are passed on and not kept.
        surroundings: what was there when the study began.
        origin: who began it, and where.
        on_server: where in *cwd* its files are, if its database is on a server; see `place_on_server`.
    """

    program: Program
    arguments: tuple[str, ...]
    cwd: str
    seed: int
    python: str
    strategy: str
    literal: tuple[str, ...] = ()
    zips: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    fidelity: str | None = None
    chdir: bool = False
    pty: bool = False
    workers: int = 1
    cpus: int | None = None
    gpus: str | None = None
    memory_bytes: int | None = None
    trial_timeout_s: float | None = None
    grace_s: float = 10.0
    log_cap_bytes: int = 50_000_000
    metric_pattern: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)
    origin: Origin = field(default_factory=Origin)
    on_server: str = ""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ScriptRun:
        """Rebuild a run from the settings of a study.

        Raises:
            UsageError: the study was not made by ``whet run``.
        """
        stored = settings.get("run")
        if not isinstance(stored, Mapping):
            raise UsageError(
                "this study was not made by `whet run`: it has no program to run. "
                "If it tunes a Python function, start that program again: the same call goes on with the study"
            )
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {name: value for name, value in stored.items() if name in known}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        given["program"] = Program(**given["program"])
        given["surroundings"] = Surroundings.from_json(given.get("surroundings", {}))
        given["origin"] = Origin.from_json(given.get("origin", {}))
        return cls(**given, seed=settings["seed"])

    def to_settings(self) -> dict[str, Any]:
        """Return what is stored under ``run`` in a study's settings, as JSON."""
        stored = asdict(self)
        del stored["seed"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}

    @cached_property
    def sweep(self) -> Sweep:
        """The arguments, read again with the study's seed, so that sized distributions give the same values."""
        return read_sweep(
            self.program,
            self.arguments,
            literal=self.literal,
            verbatim=self.strategy == "none",
            asked=None if self.fidelity is None else read_fidelity(self.fidelity),
            rng=np.random.default_rng(self.seed),
            when=self.when,
            forbid=self.forbid,
            zips=self.zips,
        )

    @property
    def axis(self) -> Fidelity | None:
        """How far trials may go, and in what."""
        return self.sweep.axis

    @property
    def counts_steps(self) -> bool:
        """Whether the steps of reports say how far an attempt is; see `whet.cli.budgets.counts_steps`."""
        return self.axis is None or counts_steps(self.axis, is_passed=self.sweep.fidelity is not None)

    @property
    def tells_budget(self) -> bool:
        """Whether an argument tells the program how far it may go."""
        return self.sweep.fidelity is not None or self.sweep.has_placeholder("budget")

    @property
    def budget_flag(self) -> str | None:
        """The argument that tells the program how far it may go, in words: its flag, or which one it is."""
        told = self.sweep.fidelity
        return None if told is None else told.argument.flag or told.key

    @property
    def has_checkpoint(self) -> bool:
        """Whether an argument tells the program where to go on from, or where to leave what that takes."""
        return self.sweep.has_placeholder("checkpoint_in", "checkpoint_out")

    def argv(self, config: Mapping[str, Any], known: Mapping[str, str], budget: float | None = None) -> list[str]:
        """Return the command of a trial.

        Args:
            config: of the trial.
            known: what the placeholders in arguments stand for; see `placeholders`.
            budget: how far it may go; ``None``: as far as there is.
        """
        base = Path(self.cwd) if self.chdir else None
        head = self.program.argv(self.python, base=base)
        return [*head, *self.sweep.render(config, budget=budget, placeholders=known)]

    def placeholders(
        self, study: str, number: int, seed: int, directory: Path, budget: float | None, *, attempt: int = 1
    ) -> dict[str, str]:
        """Return what ``{name}`` in an argument stands for, by name.

        Args:
            study: name of the study.
            number: of the trial.
            seed: of the trial, the same for every config.
            directory: of the trial.
            budget: how far it may go; ``None``: as far as there is.
            attempt: from the second one on, the checkpoint that an earlier one has left is what to begin with.
        """
        axis = self.axis
        told = "" if axis is None else budget_text(axis.high if budget is None else budget, axis)
        checkpoint = checkpoint_in(directory)
        return {
            "study": study,
            "number": str(number),
            "seed": str(seed),
            "trial_dir": str(directory),
            "budget": told,
            "checkpoint_in": str(checkpoint) if attempt > 1 and is_left(checkpoint) else "",
            "checkpoint_out": str(checkpoint),
        }

    def command_line(self, trial: Trial, study: str, directory: Path) -> str:
        """Return the command of *trial* as a line to paste in a POSIX shell; secrets are not in it.

        Args:
            trial: one that has a config.
            study: its name.
            directory: the trial's; see `whet.storage.places.study_dir`.
        """
        seed = replicate_seed(self.seed, trial.replicate)
        known = self.placeholders(study, trial.number, seed, directory, trial.budget)
        line = shell_line(redacted(self.argv(trial.config or {}, known, trial.budget)))
        return line if Path.cwd() == Path(self.cwd) else f"cd {shell_line([self.cwd])} && {line}"

    def changed_since(self) -> list[str]:
        """Return what has changed since the study began, a sentence each.

        Raises:
            UsageError: the interpreter does not run any more.
        """
        now = Surroundings.now(self.program, self.arguments, self.python, Path(self.cwd))
        others = [name for name, value in self.environment.items() if os.environ.get(name) != value]
        return [*now.changes(self.surroundings), *(f"{name} {_NOW_OTHERWISE}" for name in others)]
