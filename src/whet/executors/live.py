"""The trial that a function is called for, as the function sees it.

Runs inside trials: standard library only at the top level.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from whet.errors import TrialStopped, UsageError
from whet.private import make_folder
from whet.reporting import number

if TYPE_CHECKING:  # numpy comes with it
    from whet.core.protocols import Decision, Launch

_CHECKPOINT = "checkpoint"
_OPTUNA = {
    "should_prune": "trial.report(value, step) says whether to stop, by raising whet.TrialStopped",
    "set_user_attr": "return or report a dict of metrics; notes on trials are the study's",
    "suggest_": "the space is declared beforehand, and trial.config holds this trial's values",
}


class Channel(Protocol):
    """Where a trial's reports go."""

    def __call__(self, step: float, metrics: dict[str, float], *, waits: bool) -> str:
        """Pass on a report; return the decision on it, ``continue`` where nobody has said otherwise."""


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """What a trial knows of itself; as it goes over the wire."""

    number: int
    config: Mapping[str, Any]
    seed: int
    budget: float | None
    waits: bool
    attempt: int = 1

    @classmethod
    def of(cls, launch: Launch) -> TrialFacts:
        """Return the facts of *launch*."""
        return cls(launch.number, launch.config, launch.seed, launch.budget, launch.waits, launch.attempt)


class LiveTrial:
    """The trial that a function is called for, as the function sees it."""

    def __init__(self, facts: TrialFacts, folder: str | os.PathLike[str] | None, channel: Channel) -> None:
        self._facts, self._folder, self._channel = facts, folder, channel
        self._config: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._n_reports = 0
        self._last_step = 0.0
        self._reported: dict[str, float] = {}
        self._decision = "continue"
        self._has_saved = False

    @property
    def number(self) -> int:
        """The trial's number in the study, from 0."""
        return self._facts.number

    @property
    def config(self) -> dict[str, Any]:
        """The values to try, by name; the function's own copy."""
        if self._config is None:
            self._config = {name: _copy(value) for name, value in self._facts.config.items()}
        return self._config

    @property
    def seed(self) -> int:
        """A seed for the trial's own randomness."""
        return self._facts.seed

    @property
    def budget(self) -> float | None:
        """How much to spend, in the unit of the study's fidelity; ``None`` without one."""
        return self._facts.budget

    @property
    def dir(self) -> Path:
        """The trial's folder, made if need be."""
        if self._folder is None:
            raise UsageError("the trial has no folder: give the study a store, or the executor a folder")
        path = Path(self._folder)
        make_folder(path, may_be_link=False)
        return path

    def report(self, value: Any, step: float | None = None, *, raises: bool = True) -> Decision:
        """Report a metric or a mapping of metrics; return what is to become of the trial.

        Args:
            value: a number, which is the metric ``value``, or a mapping of names to numbers.
            step: where the trial is, such as the number of epochs done; counted from 1 if it is left out.
            raises: raise `whet.errors.TrialStopped` when the trial is to stop.

        Raises:
            TrialStopped: the trial is to stop.
            TypeError: a value is not a number.
            ValueError: a value holds several numbers, or there is none; or the step is not finite.
        """
        from whet.core.protocols import Decision

        named = value if isinstance(value, Mapping) else {"value": value}
        metrics = {str(name): number(str(name), item) for name, item in named.items()}
        if not metrics:
            raise ValueError("nothing to report: give a number, or a dict with at least one metric")
        with self._lock:
            self._n_reports += 1
            at = float(self._n_reports) if step is None else number("step", step)
            if not abs(at) < float("inf"):
                raise ValueError(f"step: expected a finite number, got {step!r}")
            self._pass_on(at, metrics, waits=self._facts.waits)
            decision = Decision(self._decision)
        if raises and decision is not Decision.CONTINUE:
            raise TrialStopped(f"trial {self.number} is to {decision}")
        return decision

    def _pass_on(self, step: float, metrics: dict[str, float], *, waits: bool) -> None:
        self._last_step = step
        self._reported.update(metrics)
        decision = self._channel(step, metrics, waits=waits and self._decision == "continue")
        if self._decision == "continue":  # a trial that was told to stop is not told otherwise
            self._decision = decision

    def conclude(self, returned: dict[str, float]) -> dict[str, float]:
        """Return all metrics; what is *returned* of a metric that was reported counts as reported last."""
        with self._lock:
            known = self._reported
            if corrected := {n: value for n, value in returned.items() if n in known and value != known[n]}:
                self._pass_on(self._last_step, corrected, waits=False)
            return {**known, **returned}

    @property
    def reported(self) -> dict[str, float]:
        """The last value of every metric that was reported."""
        return dict(self._reported)

    # ---- checkpoints
    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Copy a file or a folder into the trial's folder, in place of the one saved before.

        The copy is complete before it counts, so a trial that is killed meanwhile still has the earlier one.

        Raises:
            OSError: *path* is not there, or cannot be copied.
        """
        source = Path(path)
        place = self.dir / _CHECKPOINT
        make_folder(place, may_be_link=False)
        with self._lock:
            before = _current(place)
            serial = int(before.name) + 1 if before is not None else 1
            new = place / f"{serial}.part"
            _remove(new)
            make_folder(new)
            copy = new / (source.name or "checkpoint")
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copyfile(source, copy)
            new.rename(place / str(serial))  # the highest number counts
            self._has_saved = True
            for other in place.iterdir():
                if other.name != str(serial):
                    _remove(other)

    def load_checkpoint(self) -> Path | None:
        """Return the file or folder that this trial saved last, in this attempt or an earlier one; else ``None``."""
        if self._folder is None or not (self._has_saved or self._facts.attempt > 1):
            return None  # what lies there at a first attempt is left of another study that had the name
        current = _current(Path(self._folder) / _CHECKPOINT)
        return None if current is None else next(current.iterdir(), None)

    def __getattr__(self, name: str) -> NoReturn:
        """Say what whet does instead of what other tuners' trials have."""
        for prefix, instead in _OPTUNA.items():
            if name.startswith(prefix):
                raise AttributeError(f"a trial of whet has no {name!r}: {instead}")
        raise AttributeError(
            f"a trial has no {name!r}; it has number, config, seed, budget, dir, report and checkpoints"
        )


def _copy(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(map(_copy, value))
    return {key: _copy(item) for key, item in value.items()} if type(value) is dict else value


def _current(place: Path) -> Path | None:
    try:
        whole = [path for path in place.iterdir() if path.name.isdecimal()]
    except OSError:
        return None
    return max(whole, key=lambda path: int(path.name), default=None)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
