"""What one append does to a study: the rules that all stores share, whatever they keep their rows in."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whet.core import jsontext
from whet.core.events import Draft, Event, Kind
from whet.core.problem import Problem
from whet.core.trial import State, Trial, advance
from whet.errors import StateError, StudyBusy, StudyExists, StudyNotFound, UsageError

MAX_NAME = 200  # characters
FIXED_SETTINGS = frozenset({"problem", "seed", "repeats", "lookahead"})
_OF_STUDY = frozenset({Kind.CREATED, Kind.AMENDED, Kind.COMMAND})


@dataclass(slots=True)
class Progress:
    """What a store keeps of a study beside its trials and events; changed by :class:`Batch`.

    Attributes:
        seq: the last event.
        n_numbers: trial numbers handed out so far.
        last_event_at: seconds since the epoch, UTC.
        counts: state to number of trials in it; numbers that are only reserved are left out.
        commands: seq to payload of the commands that nobody has carried out.
    """

    seq: int = 0
    n_numbers: int = 0
    last_event_at: float = 0.0
    counts: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    commands: dict[int, Mapping[str, Any]] = field(default_factory=dict)


class Batch:
    """The events of one append, and the trials as they are after it. Nothing is written here.

    Attributes:
        events: the new events, in order.
        texts: their payloads as JSON text.
        before, after: the trials that change, by number, as they were (``None``: new) and as they are.
        ended: number to seq of the trials that end.
        refused: drafts whose fencing token is not the current one.
        amendments: the events that change the settings.
    """

    def __init__(self, progress: Progress, find: Callable[[int], Trial | None]) -> None:
        self.progress = progress
        self.events: list[Event] = []
        self.texts: list[str] = []
        self.before: dict[int, Trial | None] = {}
        self.after: dict[int, Trial] = {}
        self.ended: dict[int, int] = {}
        self.refused: list[Draft] = []
        self.amendments: list[Event] = []
        self._find = find
        self._now = time.time()

    def add(self, draft: Draft) -> None:
        """Turn *draft* into an event, or put it among the refused.

        Raises:
            StateError: the state of its trial does not allow it.
        """
        number = draft.trial
        trial = None if number is None else self._trial(number)
        if draft.token is not None and (trial is None or trial.token != draft.token):
            self.refused.append(draft)
            return
        text = jsontext.dumps(draft.payload)
        time_s = self._now if draft.time is None else float(draft.time)
        assert math.isfinite(time_s), "a draft's time is a number of seconds"
        attempt = 0 if trial is None else trial.attempt + (draft.kind is Kind.STARTED)
        payload = jsontext.loads(text)  # not the caller's own dict, and as every other reader will see it
        event = Event(self.progress.seq + 1, draft.kind, number, attempt, time_s, payload)
        if draft.kind in _OF_STUDY or (draft.kind is Kind.ANNOTATED and number is None):
            self._apply_to_study(event)
        else:
            self._apply_to_trial(trial, event)
        self.events.append(event)
        self.texts.append(text)
        self.progress.seq = event.seq
        self.progress.last_event_at = time_s

    def add_all(self, drafts: Sequence[Draft], fresh: Callable[[int], Sequence[Draft]] | None) -> None:
        """Add *drafts*, and then what *fresh* makes of the first number that was never handed out.

        Raises:
            StateError: the state of a trial does not allow a draft about it.
        """
        for draft in drafts:
            self.add(draft)
        for draft in fresh(self.progress.n_numbers) if fresh else ():
            self.add(draft)

    def reserve(self, n: int, free: Sequence[int], owner: str, below: int | None = None) -> list[int]:
        """Claim *n* numbers for *owner*, those below *below*: released ones first, lowest first, then new ones.

        *free* are numbers that were free before this batch, lowest first: all, or *n* more than this batch changes.
        """
        taken = {number for number, trial in self.after.items() if not is_free(trial)}
        freed = {number for number, trial in self.after.items() if is_free(trial)}
        numbers = sorted(freed.union(free) - taken)[:n]
        start = self.progress.n_numbers
        numbers += range(start, start + n - len(numbers))
        if below is not None:
            numbers = [number for number in numbers if number < below]
        for number in numbers:
            self.add(Draft(Kind.CLAIMED, number, {"owner": owner}))
        return numbers

    def _trial(self, number: int) -> Trial | None:
        return self.after[number] if number in self.after else self._find(number)

    def _apply_to_trial(self, trial: Trial | None, event: Event) -> None:
        changed = advance(trial, event)
        number, counts = changed.number, self.progress.counts
        if number not in self.before:
            self.before[number] = trial
        self.after[number] = changed
        if trial is not None and not trial.is_reserved:
            counts[trial.state] -= 1
        if not changed.is_reserved:
            counts[changed.state] += 1
        if changed.state.is_final and (trial is None or not trial.state.is_final):
            self.ended[number] = event.seq
        self.progress.n_numbers = max(self.progress.n_numbers, number + 1)

    def _apply_to_study(self, event: Event) -> None:
        if event.trial is not None or event.kind is Kind.CREATED:
            raise StateError(f"the event {event.kind.value!r} is not one that a trial, or a study twice, can meet")
        if event.kind is Kind.COMMAND and "of" in event.payload:
            self.progress.commands.pop(event.payload["of"], None)
        elif event.kind is Kind.COMMAND:
            self.progress.commands[event.seq] = event.payload
        else:
            fixed = sorted(FIXED_SETTINGS.intersection(event.payload.get("settings", ())))
            if fixed:
                raise StateError(f"the {fixed[0]} of a study cannot be changed once it has begun; start another study")
            self.amendments.append(event)


def is_free(trial: Trial) -> bool:
    """Tell whether the trial is a number that nobody holds and that has no config."""
    return trial.config is None and trial.owner is None


def value_to_rank(trial: Trial, problem: Problem) -> float | None:
    """Return the first objective's value if *trial* may be the best: it completed, and within the constraints."""
    if trial.state is not State.COMPLETED or not problem.objectives:
        return None
    value = float(trial.values.get(problem.objectives[0].name, math.nan))
    return None if math.isnan(value) or not problem.is_feasible(trial.values) else value


def is_text(name: str) -> bool:
    """Tell whether every database takes *name* as a text."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)


def check_name(name: str) -> None:
    """Refuse a name that a study cannot have.

    Raises:
        UsageError: it is empty, too long, or holds what is no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"a study needs a name with at least one visible character, got {name!r}")
    if len(name) > MAX_NAME:
        raise UsageError(f"a study's name may have {MAX_NAME} characters, got {len(name)}: {name[:20]!r}…")
    if not is_text(name):
        raise UsageError(f"a study's name must be text without NUL characters or broken bytes, got {name!r}")


def name_taken(name: str, place: str) -> StudyExists:
    """Return the error for a new study whose *name* is in *place* already."""
    return StudyExists(f"a study named {name!r} is in {place} already; go on with it, or choose another name")


def study_busy(name: str, holder: object) -> StudyBusy:
    """Return the error for who wants to run the study *name* while *holder* does."""
    return StudyBusy(f"study {name!r} is being run by {holder}; wait for it to end, or stop it")


def unknown_name(name: str, names: Sequence[str], place: str) -> StudyNotFound:
    """Return the error for *name*, which is not among the *names* of the studies in *place*."""
    if not names:
        return StudyNotFound(f"there is no study {name!r}: {place} holds no study yet")
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"it has {', '.join(map(repr, names[-5:]))}"
    return StudyNotFound(f"there is no study {name!r} in {place}; {hint}")
