"""Leases: a process holds one on a study as long as it runs trials of it, so that others find out when it is lost.

One thread for each study renews it, however many objects of this process use the study, also while the trial that was
asked computes. A process that ends well gives its lease back, and the trials that it asked by hand wait to be told by
somebody else; one that dies, of a signal, an exception or with its machine, does not, and others take its trials over.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeGuard

from whet.core.owner import this_process
from whet.core.protocols import Store
from whet.errors import PASSING, StoreError, StudyNotFound

LEASE_S = 30.0
SHORTEST_LEASE_S = 1.0  # a busy machine holds up a process for longer than less
_BEATS = 3  # in a lease, so that it outlives two that could not be written
_AGAIN_S = 1.0  # after a beat that could not be
_GIVING_BACK_S = 2.0  # at most, before a store is closed
_FORK_S = 2.0  # at most that a fork waits for beats
_LOOK_EVERY_S = 1.0

_beats: dict[tuple[str, int], _Beat] = {}  # by store and study
_mutex = threading.Lock()  # of `_beats` and of who joins or ends one; nobody waits for a store under it
_still: list[_Beat] = []  # those that are held still while this process is forked


def is_lease(seconds: object) -> TypeGuard[float]:
    """Tell whether a lease can last that long."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return False
    return SHORTEST_LEASE_S <= seconds <= sys.float_info.max


def lease_s_in(settings: Mapping[str, Any]) -> float:
    """Return how long a lease lasts by a study's *settings*; who wrote these may have written anything there."""
    found = settings.get("lease_s")
    return float(found) if is_lease(found) else LEASE_S


class Lease:
    """This process's lease on a study, and who has lost theirs.

    Args:
        store: that keeps the study.
        study: its id.
        lease_s: seconds that it lasts beyond the last time it was renewed.
    """

    def __init__(self, store: Store, study: int, lease_s: float) -> None:
        self._store, self._study, self._lease_s = store, study, lease_s
        self._looked_at = -math.inf
        self._beat: _Beat | None = None
        self._part: Callable[[], object] = lambda: None
        # What is in memory ends with its only process: nobody is left who could take anything over.
        self._is_needed = store.url != ":memory:"

    def keep(self) -> None:
        """Hold the lease from now on, as long as this object lives and as long as attempts run that were begun here.

        Raises:
            StoreError: the store cannot be written.
            StudyNotFound: the study has been deleted.
        """
        if not self._is_needed:
            return
        if self._beat is not None:
            self._beat.refresh()
            if not self._beat.is_over:
                return
        beat = _joined(self._store, self._study, self._lease_s)
        self._part = weakref.finalize(self, beat.news.put, -1)
        try:
            beat.refresh()
        except BaseException:
            self._part()
            raise
        self._beat = beat

    def release(self) -> None:
        """Need the lease no more, and wait until it was given back, as far as that can be before the store is closed.

        It is kept where another object of this process, or an attempt that it runs, still needs it.
        """
        self._part()
        if self._beat is not None:
            self._beat.join(timeout=_GIVING_BACK_S)
            self._beat = None

    def begun(self, token: str) -> None:
        """Note that this process runs the attempt *token*."""
        if self._beat is not None:
            self._beat.tokens.add(token)

    def ended(self, token: str) -> None:
        """Note that it does so no more."""
        if self._beat is not None:
            self._beat.tokens.discard(token)

    def lost(self, *, at_once: bool = False) -> frozenset[str]:
        """Return the owners whose leases have run out; nobody, where it was looked less than a second ago.

        Who catches up with the log first, and looks then, knows that what these owners run was begun before they were
        lost. *at_once* looks in any case.

        Raises:
            StoreError: the store cannot be read.
            StudyNotFound: the study has been deleted.
        """
        now = time.monotonic()
        if not self._is_needed or (not at_once and now - self._looked_at < _LOOK_EVERY_S):
            return frozenset()
        self._looked_at = now
        return self._store.lease(self._study) - {this_process()}

    def bury(self, owners: Collection[str]) -> None:
        """Forget *owners*, who are lost and have nothing that could be taken over any more."""
        if not owners:
            return
        with suppress(StoreError):  # they are found again
            # Those that have renewed it since are not.
            for owner in self._store.lease(self._study).intersection(owners):
                self._store.lease(self._study, owner, for_s=0)


class _Beat(threading.Thread):
    """Renews a lease until nobody in this process needs it.

    Attributes:
        news: 1 for each object of this process that begins to use the study, and -1 when it is gone: said from
            finalizers as well, which may run in the middle of anything.
        tokens: attempts that this process runs; they need the lease even when those objects are gone.
        writing: held while it is at the store, so that nothing is renewed that was given back.
        is_over: nothing is renewed any more.
    """

    def __init__(self, store: Store, study: int, lease_s: float) -> None:
        super().__init__(daemon=True, name="whet-lease")
        self._store, self._study, self._lease_s = store, study, lease_s
        self._place = store.url, study
        self._beat_s = min(lease_s / _BEATS, threading.TIMEOUT_MAX)
        self._renewed_at = -math.inf
        self._n_users = 0
        self._is_given_back = False
        self.news: SimpleQueue[int] = SimpleQueue()
        self.tokens: set[str] = set()
        self.writing = threading.Lock()
        self.is_over = False

    def run(self) -> None:
        """Renew it until nobody needs it, or it has run out as the store is closed or the study deleted."""
        wait_s = self._beat_s
        try:
            while self._is_needed(wait_s):
                try:
                    self.renew()
                    wait_s = self._beat_s
                except StoreError as error:
                    if not (isinstance(error, PASSING) or self._holds()):
                        return
                    wait_s = min(_AGAIN_S, self._beat_s)
            self.give_back()
        except StudyNotFound:
            pass
        finally:
            self._end()

    def _is_needed(self, wait_s: float) -> bool:
        """Wait so long, and tell whether the lease is still needed; once it is not, nobody can join any more."""
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 or not self.news.empty():
            with suppress(Empty):
                self._n_users += self.news.get(timeout=max(left_s, 0.0))
            with _mutex:
                if self._n_users <= 0 and not self.tokens and self.news.empty():
                    self.is_over = True
                    return False
        return True

    def _holds(self, part: float = 1.0) -> bool:
        """Tell whether less than that *part* of the lease has gone by."""
        return time.monotonic() - self._renewed_at < self._lease_s * part

    def refresh(self) -> None:
        """Renew the lease if it runs out soon, as it does where this process was held up.

        Raises:
            StoreError: the store cannot be written.
            StudyNotFound: the study has been deleted.
        """
        if not self._holds((_BEATS - 1) / _BEATS):
            self.renew()

    def renew(self) -> None:
        """Renew the lease now, unless it was given back; raises what :meth:`refresh` does."""
        with self.writing:
            before = time.monotonic()
            if not self._is_given_back:
                self._store.lease(self._study, this_process(), for_s=self._lease_s)
                self._renewed_at = before

    def _end(self) -> None:
        atexit.unregister(self.leave)
        with self.writing:
            self._is_given_back = True
            del self._store  # where nobody else has it, it is closed now: no fork is to come into the middle of that
        with _mutex:
            self.is_over = True
            if _beats.get(self._place) is self:
                del _beats[self._place]

    def leave(self) -> None:
        """Give the lease back as this process ends, if it ends well: what it has asked by hand, others may tell."""
        # At a prompt or in a notebook, the last error is one that the process has outlived.
        has_failed = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
        if not (self.is_over or has_failed):
            self.give_back()

    def give_back(self) -> None:
        """Give the lease back, as far as that can be, for good."""
        with self.writing, suppress(Exception):
            self._is_given_back = True
            self._store.lease(self._study, this_process(), for_s=0)


def _joined(store: Store, study: int, lease_s: float) -> _Beat:
    """Return what renews the lease of this process on *study*, with one user more."""
    while True:
        with _mutex:
            beat = _beats.get((store.url, study))
            if beat is None:
                beat = _Beat(store, study, lease_s)
                beat.start()
                _beats[store.url, study] = beat
                atexit.register(beat.leave)  # later than the store was told to close then, so that it comes first
            if not beat.is_over:
                beat.news.put(1)
                return beat
        beat.join()  # it gives the lease back, which must not come after it was taken anew


def _hold_still() -> None:
    """Wait until no beat is at the store: what it has locked there, in SQLite above all, no child could ever unlock."""
    until = time.monotonic() + _FORK_S
    left = list(_beats.values())
    while left and time.monotonic() < until:  # all at a time: one may wait for a server that is away
        for beat in list(left):
            if beat.writing.acquire(timeout=0.001):
                _still.append(beat)
                left.remove(beat)


def _go_on() -> None:
    while _still:
        _still.pop().writing.release()


def _forget() -> None:
    """Leave all leases to the parent of this process, which has been forked: it has the threads that renew them."""
    global _mutex  # noqa: PLW0603 -- one that a thread of the parent held would be held for ever
    _mutex = threading.Lock()
    for beat in _beats.values():
        beat.is_over = True
    _beats.clear()
    _still.clear()


os.register_at_fork(before=_hold_still, after_in_parent=_go_on, after_in_child=_forget)
