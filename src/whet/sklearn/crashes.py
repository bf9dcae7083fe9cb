"""Fits whose worker process dies: the candidate is at fault, and the search goes on.

When a worker of loky dies, by a signal, for want of memory or by a crash in compiled code, loky ends all the others
and gives up all that was handed out. Each worker therefore notes which fit it is at. Those fits are suspects: they are
run again one by one, so that the one that ends its worker again is known for certain. The rest of what was handed out
is run again as before. Workers of other backends are not watched: the pool of multiprocessing waits for ever for what
a dead worker owes it.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import re
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from joblib._parallel_backends import LokyBackend
from joblib.externals.loky.process_executor import TerminatedWorkerError

from whet.sklearn.guard import FitTimeout, too_late
from whet.sklearn.outcomes import Outcome
from whet.sklearn.temporary import temporary_folder

# Workers that die before they have begun a fit are not the fault of one: so many times in a row are too many. So are
# so many candidates that end their workers where no fit has come to anything.
_MOST_IDLE_DEATHS = 2
_MOST_DEAD_CANDIDATES = 5
_NO_FIT = -1  # the note of a worker that has not begun one
_LOOK_S = 1.0  # so often a worker looks whether the process that has started it is there


class WorkerDied(RuntimeError):
    """The worker process that ran a fit ended abruptly."""


class Notes:
    """What each worker of a pool is at, in files: a worker that has died cannot be asked."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def read(self) -> dict[int, bool]:
        """Return the fits that workers were at, each with whether its worker was ended as it took too long."""
        notes = {}
        for path in Path(self.folder).iterdir():
            note = path.read_bytes()
            if len(note) >= 8:
                notes[struct.unpack("<q", note[:8])[0]] = b"Timeout" in note[8:]
        return notes

    def clear(self) -> None:
        """Forget all; the workers are gone."""
        for path in Path(self.folder).iterdir():
            path.unlink()


@contextlib.contextmanager
def noted(pool: Any) -> Iterator[Notes | None]:
    """Have the workers of *pool* take notes for as long as the block runs; None where nobody would read them."""
    if not isinstance(pool._backend, LokyBackend):
        yield None
        return
    with contextlib.ExitStack() as stack:
        notes = None
        with contextlib.suppress(OSError):  # a disk that is full need not end the search
            notes = Notes(stack.enter_context(temporary_folder("fits")))
        yield notes


class _Note:
    """The note of this process, mapped into memory: what is written there stays when the process dies."""

    def __init__(self, path: str) -> None:
        self.path = path
        # It stays open for the fits that come.
        self.file = open(path, "wb+", buffering=0)  # noqa: SIM115, PTH123
        self.file.write(struct.pack("<q", _NO_FIT))
        self.mapped = mmap.mmap(self.file.fileno(), 8)

    def close(self) -> None:
        self.mapped.close()
        self.file.close()


_own_note: _Note | None = None


def note(folder: str, index: int) -> Any:
    """Note in *folder* that this process is at the fit *index*.

    Returns:
        The file, where more may be written; None where notes cannot be taken.
    """
    global _own_note  # noqa: PLW0603
    _end_with_parent()
    path = f"{folder}/{os.getpid()}"
    if _own_note is None or _own_note.path != path:
        if _own_note is not None:
            _own_note.close()
            _own_note = None
        try:
            _own_note = _Note(path)
        except OSError:  # the disk is full
            return None
    struct.pack_into("<q", _own_note.mapped, 0, index)
    return _own_note.file


@functools.cache
def _end_with_parent() -> None:
    """Have this process end when the one that has started it is killed.

    Workers of loky would wait for it for ever, and as long as they do the data that joblib shares stay in memory.
    """
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=look, name="parent", daemon=True).start()


class Task(Protocol):
    """What `Runs` has to know of a fit."""

    @property
    def index(self) -> int:
        """Which one it is."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Those of its candidate, the same object for all fits of that."""


T = TypeVar("T", bound=Task)


class Runs(Generic[T]):
    """Runs tasks on a pool, whatever happens to its workers.

    Args:
        pool: a `joblib.Parallel` that was entered.
        tasks: what is to be run.
        call_of: makes the call that joblib is given of a task; it returns the task's index and outcome.
        fail: makes the outcome of a task that has failed, from the error and the seconds that it took, or raises.
        fit_timeout: how many seconds a fit may take.
        notes: those of the workers of the pool.
        dead: why candidates have ended their workers, by the id of their parameters. More are added.
    """

    def __init__(
        self,
        pool: Any,
        tasks: Iterable[T],
        call_of: Callable[[T], Any],
        fail: Callable[[T, Exception, float], Outcome],
        fit_timeout: float | None,
        notes: Notes | None,
        dead: dict[int, str],
    ) -> None:
        self._pool, self._call_of, self._fail, self._notes, self._dead = pool, call_of, fail, notes, dead
        self._fit_timeout = fit_timeout or 0.0
        self._tasks = iter(tasks)
        self._again: deque[T] = deque()
        self._out: dict[int, T] = {}  # what was handed out and has not come back
        self._failed: deque[T] = deque()  # what is not run
        self._n_idle_deaths = 0
        self._n_died = 0
        self._has_come = False

    def outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Yield the index and the outcome of each task as it ends.

        Raises:
            TerminatedWorkerError: workers die whatever they are given.
            WorkerDied, FitTimeout: a fit ended its worker, where errors are to be raised.
        """
        while True:
            try:
                yield from self._run(self._to_run())
            except TerminatedWorkerError as error:
                yield from self._after_death(error)
            else:
                yield from self._not_run()
                return

    def _to_run(self) -> Iterator[T]:
        while True:
            task = self._again.popleft() if self._again else next(self._tasks, None)
            if task is None:
                return
            if id(task.parameters) in self._dead:
                self._failed.append(task)
            else:
                yield task

    def _run(self, tasks: Iterable[T]) -> Iterator[tuple[int, Outcome]]:
        outputs = self._pool(self._handed_out(tasks))
        try:
            for index, outcome in outputs:
                self._has_come, self._n_idle_deaths = True, 0
                del self._out[index]
                yield index, outcome
                if self._failed:
                    yield from self._not_run()
        except BaseException:
            self._end(outputs)
            raise

    def _handed_out(self, tasks: Iterable[T]) -> Iterator[Any]:
        for task in tasks:
            self._out[task.index] = task
            yield self._call_of(task)

    def _not_run(self) -> Iterator[tuple[int, Outcome]]:
        while self._failed:
            task = self._failed.popleft()
            why = f"not run, as another fit of this candidate {self._dead[id(task.parameters)]}"
            yield task.index, self._fail(task, WorkerDied(why), 0.0)

    def _after_death(self, error: Exception) -> Iterator[tuple[int, Outcome]]:
        """Find the fit that has ended its worker, and have the others run again."""
        notes = self._renewed()
        late = [self._out.pop(index) for index, is_late in notes.items() if is_late and index in self._out]
        for task in late:
            yield from self._has_died(task, error, self._fit_timeout, is_late=True)
        # Where one is late, that is why the others have ended.
        suspects = [] if late else [self._out.pop(index) for index in notes if index in self._out]
        self._again.extendleft(reversed(self._out.values()))
        self._out = {}
        if not late and not suspects:
            self._count_idle_death(error)
        n_died = self._n_died
        while suspects and self._n_died == n_died:
            yield from self._alone(suspects.pop(0))
        self._again.extendleft(reversed(suspects))

    def _alone(self, task: T) -> Iterator[tuple[int, Outcome]]:
        began = time.monotonic()
        try:
            yield from self._run([task])
        except TerminatedWorkerError as error:
            self._out = {}
            notes = self._renewed()
            if task.index in notes:
                yield from self._has_died(task, error, time.monotonic() - began, is_late=notes[task.index])
            else:
                self._again.appendleft(task)
                self._count_idle_death(error)

    def _count_idle_death(self, error: Exception) -> None:
        self._n_idle_deaths += 1
        if self._n_idle_deaths >= _MOST_IDLE_DEATHS:
            raise error

    def _has_died(self, task: T, error: Exception, took_s: float, *, is_late: bool) -> Iterator[tuple[int, Outcome]]:
        self._n_died += 1
        if not self._has_come and self._n_died >= _MOST_DEAD_CANDIDATES:
            raise error
        failure: Exception
        if is_late:
            why = f"{too_late(self._fit_timeout)}, in compiled code: its worker process had to be ended"
            failure = FitTimeout(why)
        else:
            how = _how(error)
            why = f"ended its worker process ({how})"
            failure = WorkerDied(f"the worker process that ran this fit ended abruptly ({how})")
        self._dead[id(task.parameters)] = why
        yield task.index, self._fail(task, failure, took_s)

    def _renewed(self) -> dict[int, bool]:
        """Return what the workers were at, and make the pool ready for others."""
        notes = {}
        if self._notes is not None:
            notes = self._notes.read()
            self._notes.clear()
        # joblib has made another pool by now, but without the options that it was given; entering makes one with them.
        self._pool.__exit__(None, None, None)
        self._pool.__enter__()
        return notes

    def _end(self, outputs: Any) -> None:
        """End what still runs, unheard: were it closed, joblib would warn of results that nobody has used."""
        if hasattr(outputs, "throw"):
            with contextlib.suppress(_Ended):
                outputs.throw(_Ended())
        # What the pool has taken from the iterator and not handed out it would still hand out in the next call.
        if (batches := getattr(self._pool, "_ready_batches", None)) is not None:
            with batches.mutex:
                batches.queue.clear()


def _how(error: Exception) -> str:
    """Return how the workers have ended, as the *error* of loky says, and what that may mean."""
    codes = re.findall(r"(\w+)\((-?\d+)\)", str(error))
    ends = [f"killed by {name}" if int(code) < 0 else f"exit status {code}" for name, code in dict.fromkeys(codes)]
    maybe = {"SIGKILL": "; out of memory?", "SIGSEGV": "; a crash in compiled code"}
    return (", ".join(ends) or "nobody knows how") + "".join(maybe.get(name, "") for name, _ in dict.fromkeys(codes))


class _Ended(BaseException):
    """No more outcomes are wanted."""
