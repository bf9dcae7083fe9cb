"""The process of a trial that is a function, from the fork to its end.

Everything heavy was done before the fork: modules are imported, the function is there, its data is mapped. The trial
talks through a socket (`whet.executors.wire`): rows of metrics, with a question if it waits for what is decided on
them, and at last what its call has ended in.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from whet.errors import TrialStopped
from whet.executors.calling import CallEnd, call, described, safe
from whet.executors.live import LiveTrial, TrialFacts
from whet.executors.packing import unpack_value
from whet.executors.wire import Unpacker, pack, to_os

_READ_BYTES = 64 * 1024
HELD_BACK = {signal.SIGINT, signal.SIGTERM}

Load = Callable[[], Callable[..., object]]


class _Stopped(TrialStopped):
    """Raised where SIGTERM finds the function."""


def be_trial(
    order: dict[str, Any],
    env: dict[bytes, bytes],
    load: Load,
    channel: socket.socket,
    outputs: tuple[int, int],
    closed: list[int],
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Be the trial, in the process that was forked for it; never return."""
    status = 1
    try:
        os.setsid()
        for fd, output in enumerate(outputs, 1):
            os.dup2(output, fd)
        for fd in {*closed, *outputs} - {0, 1, 2}:
            os.close(fd)
        channel.sendall(pack({"session": os.getpid()}))
        _settle_in(order, env)
        _run(order["call"], to_os(order["trial_dir"]), load, _Talk(channel), mask)
        status = 0
    except BaseException as error:  # nothing may unwind into the stack of the process beside the trial
        with contextlib.suppress(BaseException):
            os.write(2, described(error).encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _settle_in(order: dict[str, Any], env: dict[bytes, bytes]) -> None:
    """Make of a copy of the process beside the trial one as a program finds itself in."""
    signal.set_wakeup_fd(-1)
    for name in ("SIGCHLD", "SIGHUP", "SIGQUIT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _stop)
    atexit._clear()  # the handlers of the process beside the trial are not the trial's
    os.environb.update(env)
    reseed(order["call"]["seed"], order["call"]["number"])


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Stopped("the trial is to stop")


def reseed(seed: int, number: int) -> None:
    """Set the global generators that are loaded, which would otherwise go on alike in every forked trial.

    By the number as well: *seed* is the same for all configs, and noise that nobody seeded is not meant to be.
    """
    import random

    seed = random.Random(f"{seed} {number}").getrandbits(63)  # noqa: S311 - no secret
    random.setstate(random.Random(seed).getstate())  # noqa: S311 - no secret
    if "numpy.random" in sys.modules:
        legacy = sys.modules["numpy.random"]
        legacy.set_state(legacy.RandomState(seed % 2**32).get_state())
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed % 2**63)


class _Talk:
    """The trial's end of the channel."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._inbox = Unpacker()

    def __call__(self, step: float, metrics: dict[str, float], *, waits: bool) -> str:
        """Report; see `whet.executors.calling.Channel`."""
        self.say({"row": (step, metrics), "asks": waits})
        decision = "continue"
        while True:
            try:
                data = self._channel.recv(_READ_BYTES, 0 if waits else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return decision
            if not data:  # nobody is left beside the trial
                return "stop"
            for message in self._inbox.feed(data):
                decision = message["decision"]
                waits = False
            if decision != "continue":
                return decision

    def say(self, message: dict[str, Any]) -> None:
        """Send a message, whole: a signal does not cut it in two."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            self._channel.sendall(pack(message))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _run(facts: dict[str, Any], folder: bytes, load: Load, talk: _Talk, mask: set[int | signal.Signals]) -> None:
    config = unpack_value(facts["config"])
    trial = LiveTrial(TrialFacts(**{**facts, "config": config}), os.fsdecode(folder), talk)
    process = os.getpid()
    try:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            gc.enable()
            try:
                function = load()
            except (Exception, SystemExit) as error:
                end = CallEnd("error", safe(f"the function could not be loaded in the trial\n{described(error)}"))
            else:
                end = call(function, trial)
        finally:
            for signum in HELD_BACK:
                signal.signal(signum, signal.SIG_IGN)
    except (TrialStopped, KeyboardInterrupt):  # between two calls
        end = CallEnd("stopped", "", trial.reported)
    if os.getpid() != process:  # a child that the function forked comes back here as well
        return
    cause = "error" if end.cause == "interrupted" else end.cause
    with contextlib.suppress(OSError):  # nobody is left beside the trial
        talk.say({"end": {"cause": cause, "message": end.message, "metrics": end.metrics}})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Threads that the function has left behind end here; what it registered in the trial itself is called.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
