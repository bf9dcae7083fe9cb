"""The log is the truth: what a store loads is what its events fold to, and all stores say the same.

The steps are drawn at random from a seed that Hypothesis chooses: long lives of trials, mostly legal, with payloads
that are hard to keep. What Hypothesis itself draws is too short for a trial to end twice.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from whet.core.events import Draft, Event, Kind
from whet.core.history import History
from whet.core.problem import Constraint, Objective
from whet.core.protocols import Store
from whet.core.trial import TRANSITIONS, Cause
from whet.errors import StateError
from whet.storage.doctor import check, differences
from whet.storage.memory import MemoryStore
from whet.storage.sql import SqlStore
from whet.testing.store_writer import STRANGE_VALUES, fold, settings_of

_NUMBERS = (0.25, 0.5, 1.0, -0.0, math.inf, -math.inf, math.nan, 3)
_TOKENS = ("a", "b", "\ud800")


class Steps:
    """Draws drafts that fit what is known, and some that do not."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def drafts(self, known: History) -> list[Draft]:
        return [self._draft(known) for _ in range(self.rng.choice([0, 1, 1, 1, 2, 3]))]

    def reserve(self) -> int:
        return self.rng.choice([0] * 12 + [1, 2])

    def _draft(self, known: History) -> Draft:
        rng = self.rng
        time = rng.uniform(1e9, 2e9)
        if rng.random() < 0.1:
            kind = rng.choice([Kind.AMENDED, Kind.COMMAND, Kind.ANNOTATED])
            return Draft(kind, None, self._payload(kind), time=time)
        if rng.random() < 0.05:
            kind = rng.choice([Kind.ENQUEUED, Kind.ADDED])
            return Draft(kind, known.n_numbers + rng.choice([0, 0, 0, 1]), self._payload(kind), time=time)
        if known.finished and rng.random() < 0.05:
            number = rng.choice(known.finished).number
            return Draft(Kind.ANNOTATED, number, self._payload(Kind.ANNOTATED), rng.choice([None, None, "a"]), time)
        if not known.unfinished or rng.random() < 0.03:
            kind = rng.choice(list(Kind))
            return Draft(kind, rng.randrange(known.n_numbers + 2), self._payload(kind), rng.choice([None, "a"]), time)
        trial = rng.choice(list(known.unfinished.values()))
        likely = [Kind.ASKED] if trial.is_reserved else [Kind.STARTED, Kind.REPORTED, Kind.REPORTED, Kind.RESUMED]
        legal = list(TRANSITIONS[trial.state])
        kind = rng.choice([kind for kind in likely if kind in legal] * 2 + legal)
        token = rng.choice(_TOKENS) if rng.random() < 0.05 else rng.choice([None, trial.token])
        return Draft(kind, trial.number, self._payload(kind), token, time)

    def _payload(self, kind: Kind) -> dict[str, Any]:
        rng = self.rng
        optional: dict[str, Any] = {}
        match kind:
            case Kind.ASKED | Kind.ENQUEUED | Kind.ADDED:
                config = {"lr": rng.choice(STRANGE_VALUES), rng.choice(["x", "$float", "\0"]): rng.random()}
                optional = {
                    "why": {"said": rng.choice(STRANGE_VALUES)},
                    "budget": rng.choice([1, 3.0, 9]),
                    "group": rng.randrange(5),
                    "replicate": rng.randrange(3),
                    "parent": rng.randrange(5),
                    "from_step": rng.choice([0, 2.5]),
                    "member": rng.randrange(4),
                }
                return {"config": config, **self._some(optional)}
            case Kind.STARTED:
                return {"token": rng.choice(_TOKENS), "owner": rng.choice(["me", "", None])}
            case Kind.REPORTED:
                return {"rows": [[i, rng.choice(_NUMBERS), rng.choice([None, 0.5])] for i in range(rng.randrange(4))]}
            case Kind.REQUEUED | Kind.FAILED:
                optional = {"exit_code": rng.randint(-15, 2), "message": rng.choice(["", "why\0not"])}
                said = {"cause": rng.choice(list(Cause)).value, "reason": "lost", "counts": rng.random() < 0.5}
                return {**said, **self._some({**optional, "values": self._values()})}
            case Kind.AMENDED:
                return {"settings": {rng.choice(["n", "n", "m", "m", "seed"]): rng.choice(STRANGE_VALUES)}}
            case Kind.COMMAND:
                return rng.choice([{"command": rng.choice(STRANGE_VALUES)}, {"of": rng.randrange(30)}])
            case Kind.ANNOTATED:
                attributes = {rng.choice(["x", "y", "$float"]): rng.choice(STRANGE_VALUES)}
                return self._some({"attributes": attributes, "note": rng.choice(["", "why\0not"])})
            case Kind.CLAIMED:
                return self._some({"owner": "me"})
            case _:
                return self._some({"values": self._values(), "budget": rng.choice([3, 27.0])})

    def _values(self) -> dict[str, float]:
        rng = self.rng
        names = ["loss", "loss", "ms", "$float", "other"]
        return {name: rng.choice(_NUMBERS) for name in rng.sample(names, rng.randrange(5))}

    def _some(self, optional: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in optional.items() if self.rng.random() < 0.7}


@contextmanager
def _stores() -> Iterator[tuple[Store, SqlStore]]:
    with tempfile.TemporaryDirectory() as folder, closing(SqlStore(Path(folder, "whet.db"))) as sql:
        memory = MemoryStore()
        for store in (memory, sql):
            assert store.create("a", settings_of([Objective("loss")], [Constraint("ms", "<=", 1.0)])).id == 1
        yield memory, sql


def _told(event: Event) -> str:
    timeless = event.kind in (Kind.CLAIMED, Kind.CREATED)  # written by the store at its own time
    return repr((event.seq, event.kind, event.trial, event.attempt, None if timeless else event.time, event.payload))


def _append(store: Store, drafts: list[Draft], after: int, reserve: int, below: int | None = None) -> Any:
    try:
        done = store.append(1, drafts, after=after, reserve=reserve, below=below, owner="me", durable=False)
    except StateError as error:
        return str(error)
    return [_told(event) for event in done.events], done.refused, done.numbers


def _live(steps: Steps, stores: tuple[Store, Store], n_steps: int) -> None:
    """Do the same with both stores; see that they answer the same."""
    for _ in range(n_steps):
        known = stores[0].load(1)
        drafts = steps.drafts(known)
        after, reserve = steps.rng.randint(1, known.seq), steps.reserve()
        below = steps.rng.choice([None, known.n_numbers, known.n_numbers + 1])
        answers = [repr(_append(store, drafts, after, reserve, below)) for store in stores]
        assert answers[0] == answers[1]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_every_store_loads_what_its_log_folds_to(seed: int) -> None:
    with _stores() as (memory, sql):
        _live(Steps(seed), (memory, sql), n_steps=150)
        for store in (memory, sql):
            events, loaded = store.events(1), store.load(1)
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert differences(fold(events), loaded) == []
            assert store.summary(1).counts == loaded.counts()
            given = [(trial.number, trial.given) for trial in store.trials(1) if trial.given]
            assert [(config.number, config.giver) for config in loaded.given.configs] == given
            assert loaded.n_added == sum(giver == "added" for _, giver in given)
            asked = {number for number, trial in loaded.unfinished.items() if not trial.is_reserved}
            assert [trial.number for trial in store.trials(1)] == sorted(
                asked | {row.number for row in loaded.finished}
            )
            best = store.summary(1).best
            assert (best and best.number) == loaded.best()
        assert differences(memory.load(1), sql.load(1)) == []
        assert repr(sql.trials(1)) == repr(memory.trials(1))
        assert check(sql.url.removeprefix("sqlite:///")) == []


def test_the_lives_drawn_are_full_ones() -> None:
    """The law would say nothing of what never happens in them."""
    kinds: Counter[str] = Counter()
    refused = n_errors = 0
    for seed in range(10):
        with _stores() as (memory, _):
            steps = Steps(seed)
            for _ in range(150):
                answer = _append(memory, steps.drafts(memory.load(1)), 1, steps.reserve())
                n_errors += isinstance(answer, str)
                refused += not isinstance(answer, str) and len(answer[1])
            kinds.update(event.kind for event in memory.events(1))
            kinds.update(f"{row.state} with a curve" for row in memory.load(1).finished if row.curve)
            kinds.update(
                f"{row.state} and annotated" for row in memory.trials(1) if row.state.is_final and row.attributes
            )
    assert min(kinds[kind] for kind in Kind) >= 5, kinds
    assert kinds["completed with a curve"] >= 5, kinds
    assert kinds["completed and annotated"] >= 5, kinds
    assert min(refused, n_errors) >= 10
