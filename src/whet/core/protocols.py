"""The contracts between the study and its parts. Snapshots go in, decisions come out.

No algorithm sees the study, the store or the executor. ``whet.testing`` holds a test suite for each contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from whet.core.events import Draft, Event
from whet.core.history import History
from whet.core.trial import State, Trial

RngOf = Callable[[int], np.random.Generator]


# ---- which config next
@dataclass(frozen=True, slots=True)
class Suggestion:
    """A config and what the sampler has to say about its choice (a few JSON numbers or words)."""

    config: Mapping[str, Any]
    why: Mapping[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """Chooses configs."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return one suggestion for each of *numbers*, in order, or for the first of them if the space is exhausted.

        A function of the history and the generators and nothing else: a fresh instance answers as the live one does.
        *numbers* count the configs asked (with repeats, several trials share one). ``rng_of(k)`` is the generator
        made from the study's seed and *k*, fresh at each call.

        Raises:
            SearchExhausted: nothing is left for any of *numbers*.
        """


@runtime_checkable
class Explains(Protocol):
    """What a sampler may be able to do beside: say what it does."""

    def explain(self, history: History) -> str:
        """Return in a few sentences what it does with what is known, and why.

        The first line is short, does not name the sampler, and is another one only when what it does is another thing:
        people see it when a run begins and whenever it has changed. It is asked for at each new trial, maybe while
        :meth:`Sampler.suggest` works in another thread, so it costs little and changes nothing.
        """


# ---- how much budget, for whom
@dataclass(frozen=True, slots=True)
class New:
    """Start a new trial; the sampler fills the config unless the scheduler brings the one it compared, with a why.

    A bracket that may have so many trials and no more has *room* for that many, all that are assigned to it now among
    them. Where others fill it meanwhile, the trial does not begin and the scheduler is asked again.
    """

    budget: float | None = None
    bracket: int | None = None
    config: Mapping[str, Any] | None = None
    why: Mapping[str, Any] = field(default_factory=dict)
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused trial go on to a larger budget."""

    number: int
    budget: float


@dataclass(frozen=True, slots=True)
class Stop:
    """End a paused trial for good; takes no slot."""

    number: int
    reason: str = ""


Assignment = New | Resume | Stop


class Decision(StrEnum):
    """What a trial that has just reported does."""

    CONTINUE = "continue"
    STOP = "stop"
    PAUSE = "pause"


class Scheduler(Protocol):
    """Spends the budget. A function of the history: a fresh instance decides as the live one does."""

    def assign(self, history: History, n: int, n_new: int) -> list[Assignment]:
        """Return what up to *n* free slots do next; an empty list: wait for running trials.

        At most *n_new* of them may be new trials, as the limit of a study or its space allow no more; what is beyond
        is not heeded. Where nothing is running, and *n_new* is not 0, there is always something to do.

        Raises:
            SearchExhausted: nothing will ever be left to do.
        """

    def decide(self, history: History, number: int) -> Decision:
        """Return what trial *number*, which has just reported, does.

        `Trial.n_before` tells which rows of its curve are new. A trial that has ended by itself below the highest
        fidelity is asked about likewise: where it is neither stopped nor paused, it is complete. One that has reported
        nothing but NaN is not asked about: it stops, unless the scheduler has an attribute ``keeps_lost`` that is true;
        nor is one that has reached the highest fidelity: it goes on to its end.
        """


@runtime_checkable
class Reasons(Protocol):
    """What a scheduler may be able to do beside: say why."""

    def reason(self, history: History, number: int) -> str:
        """Return in a few words why :meth:`Scheduler.decide` stops or pauses trial *number*, with the same history."""


@runtime_checkable
class AssignsSlowly(Protocol):
    """What a scheduler may be able to do beside: think long about what free slots do, while it decides on trials."""

    def assigner(self) -> Scheduler | None:
        """Return another one like this, whose :meth:`Scheduler.assign` a run calls in a thread; ``None``: no need to.

        Nothing else is asked of it, and of this one nothing but to decide, so no memo is used by two threads at a time.
        What is assigned may be some seconds old when it is carried out.
        """


# ---- where events are kept
@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study as a store lists it. ``settings`` has the amendments folded in."""

    id: int
    name: str
    created_at: float
    settings: Mapping[str, Any]
    holder: str | None = None  # the process that runs it now, as "pid 123 on host"; None: nobody
    held_since: float | None = None  # since when, in seconds since the epoch, where that is known


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of :meth:`Store.append`.

    Attributes:
        events: those written, after all others since the seq that the caller knew, if it gave one; in order.
        refused: the drafts whose fencing token is no longer current; none of them was written.
        numbers: the numbers reserved, lowest first.
    """

    events: list[Event]
    refused: list[Draft]
    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Summary:
    """A study's state in a few numbers, without loading it.

    Attributes:
        counts: how many trials are in each state; numbers that are only reserved are left out.
        best: the completed, feasible trial whose first objective is best (repeats not averaged), if there is one.
        last_event_at: seconds since the epoch, UTC.
    """

    counts: Mapping[State, int]
    best: Trial | None
    last_event_at: float


class Store(Protocol):
    """Keeps events, durably and atomically, safe under many processes. Trials are a projection of the events."""

    url: str

    def create(self, name: str, settings: Mapping[str, Any]) -> StudyRecord:
        """Create a study; its first event is ``created`` with *settings* as payload.

        Raises:
            StudyExists: the name is taken.
        """

    def studies(self, name: str | None = None) -> list[StudyRecord]:
        """Return the studies, oldest first; with *name* that one.

        Raises:
            StudyNotFound: *name* is given and unknown; the message lists the closest known ones.
        """

    def append(
        self,
        study: int,
        drafts: Sequence[Draft],
        *,
        after: int | None = None,
        reserve: int = 0,
        below: int | None = None,
        fresh: Callable[[int], Sequence[Draft]] | None = None,
        check: Callable[[Sequence[Event]], None] | None = None,
        owner: str = "",
        durable: bool = True,
    ) -> Appended:
        """Write *drafts* in order and reserve numbers, all in one transaction.

        With *after*, the seq that the caller knows, other processes' events since then come back as well.
        Released numbers are reserved first, then new ones; each is a ``claimed`` event with *owner*, after *drafts*.
        Numbers from *below* on are not handed out, so there may be fewer than asked for, or none: processes that all
        keep one limit never exceed it together.
        *fresh* is called, while nobody else can write, with the first number that was never handed out; the drafts
        that it returns come after *drafts* and before what is reserved. It has to be quick and may not use the store.
        *check* likewise, before anything else, with the events of other processes since *after*: where it raises,
        nothing is written.
        With ``durable=False`` the write survives the death of the process at once, and a power cut only once a later
        durable one has been made.

        Raises:
            StateError: a draft that its trial's state does not allow; nothing is written.
            StudyNotFound: the study has been deleted.
            StoreFull, StoreBusy, StoreAway, StoreDamaged: the store cannot be written; nothing is.
        """

    def events(self, study: int, after: int = 0, limit: int | None = None) -> list[Event]:
        """Return the events after seq *after*, at most *limit*."""

    def load(self, study: int) -> History:
        """Return the study's history, from the projection: equal to the fold of all its events."""

    def trials(
        self,
        study: int,
        *,
        numbers: Sequence[int] | None = None,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Trial]:
        """Return trials that have a config, by number; a page of *limit* beyond number *after* in that order."""

    def summary(self, study: int) -> Summary:
        """Return counts and best without loading the study."""

    def hold(self, study: int, *, shared: bool = False) -> AbstractContextManager[None]:
        """Return a context in which this process is the one that runs the study; it ends with the process at latest.

        With *shared* it is one of several that run it and know of each other: each starts attempts of its own, and
        leaves those of the others alone.

        Raises:
            StudyBusy: another process holds it, and one of the two does not share; the message names it.
        """

    def lease(self, study: int, owner: str = "", *, for_s: float | None = None) -> frozenset[str]:
        """Renew *owner*'s lease on the study for *for_s* seconds, and return the owners whose leases have run out.

        By the store's own clock, the same for every process, whatever the wall clocks of their machines do. An owner
        that never had a lease, or gave it back (``for_s=0``), is not among those returned; one whose lease has run out
        is, until somebody gives it back or it renews it. Without *for_s* nothing changes: who looks writes nothing.

        Raises:
            StudyNotFound: the study has been deleted.
            StoreFull, StoreBusy, StoreAway: the store cannot be used now; nothing has changed.
        """

    def delete(self, study: int) -> None:
        """Remove the study, its trials and its events.

        Raises:
            StudyBusy: a process is running it.
        """

    def close(self) -> None:
        """Give back files and connections."""


# ---- running attempts
@dataclass(frozen=True, slots=True)
class Launch:
    """An attempt to be started."""

    study: str
    number: int
    attempt: int
    token: str
    config: Mapping[str, Any]
    seed: int
    budget: float | None = None
    waits: bool = False  # each report waits for what is decided on it; only functions can


@dataclass(frozen=True, slots=True)
class Reported:
    """Metrics that a running attempt has reported, in order; all metrics, whoever reads them picks."""

    token: str
    rows: Sequence[tuple[float, Mapping[str, float]]]  # (step, metrics)


EndCause = Literal["timeout", "memory", "signal", "exit_code", "error", "lost", "bad_value", "stopped", "interrupted"]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over and nothing of it runs any more.

    Attributes:
        cause: what ended it if not itself: ``timeout``, ``memory``, ``signal``, ``exit_code`` or ``error``; ``lost``
            when the process beside the trial died; ``bad_value`` for a function that returned what is no metric;
            ``stopped`` when the function raised `TrialStopped`, ``interrupted`` when Ctrl-C hit a function that runs
            in this process; ``None`` when it ended well.
        exit_code: of the program, negative for a signal; ``None`` where there is none.
        metrics: the last value of every metric seen.
        message: for a failure, the last lines of output or the traceback, safe to print; else what of its metrics
            could not be read, mostly nothing.
        duration_s: by a monotonic clock.
    """

    token: str
    cause: EndCause | None
    exit_code: int | None
    metrics: Mapping[str, float]
    message: str
    duration_s: float


Happening = Reported | Ended


class Executor(Protocol):
    """Runs attempts on slots. Knows nothing of samplers, objectives or stores.

    Attributes:
        slots: how many attempts run at a time.
        is_blocking: :meth:`start` returns only when the attempt has ended.
    """

    slots: int
    is_blocking: bool

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        """Start an attempt on a free slot.

        An executor that blocks calls *attend* from inside while an attempt waits for a decision, and now and then when
        it reports without waiting; the caller then polls, decides, and answers with :meth:`decided` or :meth:`stop`.

        Raises:
            ExecutorError: no attempt can be started at all (the program is gone, no processes left).
        """

    def decided(self, token: str, decision: Decision) -> None:
        """Answer an attempt that waits for what is decided on its last report (`Launch.waits`).

        ``stop`` asks it to end, and ends it after a grace period: an attempt that does not wait, such as a program, is
        terminated as by :meth:`stop`. ``pause`` does the same to one that waits; a program ends by itself where it has
        reached its budget, and may have something to save. Unknown tokens are ignored.
        """

    def stop(self, token: str, how: Literal["interrupt", "terminate", "kill"]) -> None:
        """End an attempt.

        ``interrupt`` sends SIGINT and gives it a grace period, ``terminate`` SIGTERM likewise, ``kill`` ends every
        process of it now. Unknown tokens are ignored: it may just have ended.
        """

    def poll(self, timeout_s: float) -> list[Happening]:
        """Return what has happened, waiting up to *timeout_s* seconds for the first thing."""

    def close(self) -> None:
        """End every attempt and give back all processes. Idempotent."""
