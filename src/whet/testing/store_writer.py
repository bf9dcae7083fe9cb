"""What the tests of stores write with: a writer that follows a study, settings, and values that are hard to keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whet.core.events import Draft, Event, Kind
from whet.core.history import History
from whet.core.problem import Constraint, Objective, Problem
from whet.core.protocols import Store
from whet.core.trial import Trial
from whet.space.domain import Float
from whet.space.space import Space

Connect = Callable[[], Store]

STRANGE_NAMES = (
    'it\'s "quoted"',
    "'; drop table study; --",
    "../../etc/passwd",
    "a/b\\c",
    "  spaces  ",
    "%s :name ? {x}",
    "line\nbreak\x1b[31m",
    "Größe 大きさ 🦋",
    "e\u0301",
    "\u00e9",
    "-rf",
    "n" * 200,
)
STRANGE_VALUES: Sequence[Any] = (
    math.inf,
    -math.inf,
    10**30,
    -0.0,
    5e-324,
    True,
    None,
    "",
    "a\0b",
    "\ud800 half a character",
    "'; drop table trial; --",
    "nan",
    [1, [2.5, None]],
    {"$float": "nan"},
    {"$dict": []},
    {"deep": {"er": [math.inf]}},
)


def settings_of(
    objectives: Sequence[Objective] = (Objective("loss"),), constraints: Sequence[Constraint] = (), **more: Any
) -> dict[str, Any]:
    """Return the settings of a study, as `Store.create` takes them."""
    problem = Problem(Space({"lr": Float(0.0, 1.0)}), tuple(objectives), tuple(constraints))
    return {"problem": problem.to_json(), "seed": 7, "repeats": 1, **more}


class Writer:
    """Writes to one study and follows it, as a process that runs it does."""

    def __init__(self, store: Store, study: int, owner: str = "here:1:aaaa") -> None:
        self.store = store
        self.study = study
        self.owner = owner
        self.history = store.load(study)
        self.refused: list[Draft] = []

    def write(self, *drafts: Draft, **how: Any) -> list[int]:
        """Append *drafts* and return the numbers reserved; *how* is what else `Store.append` takes."""
        done = self.store.append(self.study, drafts, after=self.history.seq, owner=self.owner, **how)
        self.history = self.history.extended(done.events)
        self.refused += done.refused
        return done.numbers

    def ask(self, config: Mapping[str, Any] | None = None, **more: Any) -> int:
        """Reserve a number, give it a config and return it."""
        (number,) = self.write(reserve=1)
        payload = {"config": {"lr": 0.1} if config is None else config, "group": number, **more}
        self.write(Draft(Kind.ASKED, number, payload))
        return number

    def start(self, config: Mapping[str, Any] | None = None, **more: Any) -> int:
        """Ask a trial, start it and return its number; its token is ``token NUMBER``."""
        number = self.ask(config, **more)
        self.write(started(number))
        return number

    def complete(self, **values: float) -> int:
        """Run a trial to its end and return its number."""
        number = self.start()
        self.write(Draft(Kind.COMPLETED, number, {"values": values}, f"token {number}"))
        return number

    def trial(self, number: int) -> Trial:
        """Return the trial as the store knows it."""
        return self.store.trials(self.study, numbers=[number])[0]


def started(number: int) -> Draft:
    """Return the draft that starts trial *number*."""
    return Draft(Kind.STARTED, number, {"token": f"token {number}", "owner": "here:1:aaaa"})


def fold(events: Sequence[Event]) -> History:
    """Return the history that *events*, all of a study's, lead to."""
    return History.begin(events[0].payload).extended(events)
