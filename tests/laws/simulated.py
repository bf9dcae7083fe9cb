"""Studies run for real (loop, store, sampler), their trials being arithmetic instead of processes."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from whet.core import jsontext
from whet.core.events import Event
from whet.core.history import History
from whet.core.protocols import Decision, Ended, Happening, Launch, Reported, Sampler
from whet.core.trial import Trial
from whet.run import Outcome, run
from whet.study import Study, load


def value_of(config: Mapping[str, Any], seed: int) -> float:
    """Return what a trial with *config* measures: any number, but the same each time."""
    return zlib.crc32(jsontext.dumps([dict(config), seed]).encode()) / 2**32


class Arithmetic:
    """An executor whose attempts report thrice and end when they are polled, in an order drawn from *seed*."""

    is_blocking = False

    def __init__(self, slots: int, seed: int = 0) -> None:
        self.slots = slots
        self._rng = random.Random(seed)
        self._running: dict[str, tuple[Launch, int]] = {}

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        assert len(self._running) < self.slots
        self._running[launch.token] = (launch, 0)

    def decided(self, token: str, decision: Decision) -> None:
        if decision is not Decision.CONTINUE:
            self.stop(token, "terminate")

    def stop(self, token: str, how: str) -> None:
        launch, _ = self._running.get(token, (None, 0))
        if launch is not None:
            self._running[token] = (launch, 99)

    def poll(self, timeout_s: float) -> list[Happening]:
        happenings: list[Happening] = []
        for token in self._rng.sample(list(self._running), k=self._rng.randint(0, len(self._running))):
            launch, n_reports = self._running[token]
            value = value_of(launch.config, launch.seed)
            if n_reports < 2:
                self._running[token] = (launch, n_reports + 1)
                happenings.append(Reported(token, [(n_reports + 1, {"value": value + 2 - n_reports})]))
            else:
                del self._running[token]
                cause = "signal" if n_reports == 99 else None
                happenings += [
                    Reported(token, [(3, {"value": value})]),
                    Ended(token, cause, 0, {"value": value}, "", 0.0),
                ]
        return happenings

    def close(self) -> None:
        self._running.clear()


class Watcher:
    """An observer that hands on each trial that has ended."""

    def __init__(self, ended: Callable[[Trial], None] = lambda trial: None) -> None:
        self._ended = ended
        self.notices: list[str] = []

    def started(self, trial: Trial, history: History) -> None:
        pass

    def requeued(self, trial: Trial, history: History) -> None:
        pass

    def paused(self, trial: Trial, history: History) -> None:
        pass

    def ended(self, trial: Trial, history: History) -> None:
        self._ended(trial)

    def tick(self, history: History) -> None:
        pass

    def notice(self, text: str) -> None:
        self.notices.append(text)


def run_study(study: Study, executor: Arithmetic, watcher: Watcher | None = None) -> Outcome:
    """Run *study* to its end, as its only runner."""
    with study.ledger.store.hold(study.ledger.study):
        return run(study, executor, watcher or Watcher())


def run_and_die(
    store: Path,
    name: str,
    slots: int,
    seed: int,
    *,
    last_call: int | None = None,
    after_s: float | None = None,
    sampler: Sampler | None = None,
) -> tuple[bool, list[tuple[int, float]]]:
    """Run a study of *store* in a process of its own that dies without a chance to tidy up.

    It dies before its call number *last_call* of the executor or the store (or right after one of the store), or
    *after_s* seconds, wherever it is then. Returns whether it did, and the (number, value) of each trial that it was
    told had ended.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(120, exit=True)  # should it hang, it says where
        try:
            _child(partial(load, name, store, sampler=sampler), Arithmetic(slots, seed), writer, last_call, after_s)
        finally:
            os._exit(1)  # _child exits with 0
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as told:
        lines = told.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL, -signal.SIGALRM), f"the process that ran the study ended with {status}"
    return status != 0, [(int(number), float(value)) for number, value in (line.split() for line in lines)]


def _child(
    open_study: Callable[[], Study], executor: Arithmetic, writer: int, last_call: int | None, after_s: float | None
) -> None:
    n_calls = 0

    def count() -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == last_call:
            os.kill(os.getpid(), signal.SIGKILL)

    def ended(trial: Trial) -> None:
        os.write(writer, f"{trial.number} {trial.values['value']!r}\n".encode())

    if after_s is not None:
        # The default action of SIGALRM ends the process as SIGKILL does: between any two instructions.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, after_s)
    study = open_study()
    for thing, method in ((executor, "start"), (executor, "poll"), (study.ledger.store, "append")):
        setattr(thing, method, _counted(getattr(thing, method), count))
    run_study(study, executor, Watcher(ended))
    os._exit(0)


def _counted(method: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        count()
        result = method(*args, **kwargs)
        count()
        return result

    return call


def events_of(study: Study) -> list[Event]:
    return study.ledger.store.events(study.ledger.study)
