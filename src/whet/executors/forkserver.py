"""The guard of trials that are functions: it loads the function once, and all trials are forked from that.

Where a fork of a process that has loaded the function is not safe (threads run in it, a GPU is in use, or macOS), the
guard begins anew, and each trial loads the function for itself.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json

# What trials need is imported here, once. That includes what would have a trial wait for its children at its end.
import multiprocessing.util  # noqa: F401
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import numpy.random  # noqa: F401 - or its global generator could not be seeded

import whet.core.protocols  # noqa: F401
from whet.executors.calling import own_frames_cut
from whet.executors.packing import surroundings, unpack
from whet.executors.runner import prepare, serve
from whet.executors.trials import FunctionAttempt


def main(text: str) -> None:
    """Run a guard for functions until the coordinator is gone; *text* is the settings as JSON."""
    settings = json.loads(text)
    prepare(settings)
    for stream in (sys.stdout, sys.stderr):
        # What is printed while the function is loaded goes where errors go; in a trial it goes to its logs.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable(2)
    fd = settings["function"]
    table = surroundings(fd, settings["table_at"])
    sys.path[:] = [*table["path"], *(entry for entry in sys.path if entry not in table["path"])]
    sys.argv[:] = table["argv"]

    def load() -> Callable[..., object]:
        return unpack(fd, table)

    def load_and_close() -> Callable[..., object]:
        function = load()
        os.close(fd)
        return function

    if settings["is_loaded_once"]:
        try:
            function = load()
        except BaseException as error:
            print(_complaint(error), file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)
        if threading.active_count() > 1 or _uses_gpu():
            _begin_anew(settings)
        _import_what_is_put_off()
        os.close(fd)
    gc.collect()
    gc.freeze()

    def make(order: dict[str, Any], private: list[int], is_subreaper: bool) -> FunctionAttempt:
        if settings["is_loaded_once"]:
            return FunctionAttempt(order, settings, lambda: function, private, is_subreaper=is_subreaper)
        return FunctionAttempt(order, settings, load_and_close, private, is_subreaper=is_subreaper)

    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    serve(settings, make)


def _import_what_is_put_off() -> None:
    """Import what torch puts off to the first optimizer: a second of work, which each trial would do anew."""
    if "torch" in sys.modules:
        before = dict(os.environ)
        with contextlib.suppress(Exception):  # the trial tells of it, if it needs that
            importlib.import_module("torch._dynamo")
        for name in os.environ.keys() - before.keys():  # for caches of its own: trials may want other ones
            del os.environ[name]


def _uses_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _complaint(error: BaseException) -> str:
    """Return what went wrong while the function was loaded, and the likely cause."""
    lines = traceback.format_exception(type(error), error, own_frames_cut(error.__traceback__))
    if isinstance(error, ModuleNotFoundError):
        lines.append(
            f"a fresh interpreter has no module {error.name!r}: is it made or put on sys.path by the running program? "
            "Import it from a file that can be found, or use executor='inline'"
        )
    elif isinstance(error, SystemExit):
        lines.append("a module ends the program when it is imported: put that under if __name__ == '__main__'")
    return "the function could not be loaded:\n" + "".join(lines)


def _begin_anew(settings: dict[str, Any]) -> None:
    """Become a guard that has not loaded the function."""
    inherited = [*settings["fds"], settings["function"]]
    inherited += [] if settings["lock"] is None else [settings["lock"]]
    for fd in inherited:
        os.set_inheritable(fd, True)
    sys.stdout.flush()
    again = json.dumps({**settings, "is_loaded_once": False})
    os.execv(sys.executable, [*sys.orig_argv[:-1], again])  # noqa: S606 - never through a shell
