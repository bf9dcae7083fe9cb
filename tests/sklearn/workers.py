"""How workers of loky are started: each loads all it needs, as for users, or is forked from a process that has."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing import forkserver

from joblib.externals.loky import reusable_executor
from joblib.externals.loky.backend import context

_LOADED_ONCE = ["whet.sklearn", "sklearn.svm", "tests.sklearn.deadly"]


@contextlib.contextmanager
def started_by(method: str) -> Iterator[None]:
    """Have loky start workers in this way, "loky" or "forkserver", for as long as the block runs.

    With "forkserver" a new worker costs nothing, but it does not share large data: those need workers of "loky".
    """
    before = context.get_start_method()
    _end_workers()
    if method == "forkserver":
        multiprocessing.set_forkserver_preload(_LOADED_ONCE)
        forkserver.ensure_running()
    context.set_start_method(method, force=True)
    try:
        yield
    finally:
        _end_workers()
        context.set_start_method(before, force=True)
        if method == "forkserver":
            multiprocessing.set_forkserver_preload([])
            forkserver._forkserver._stop()  # the next one may have to load other things


def _end_workers() -> None:
    """End those that joblib keeps for the next call."""
    if (executor := reusable_executor._executor) is not None:
        executor.shutdown(wait=True, kill_workers=True)
