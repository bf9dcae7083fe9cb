"""The log is the truth: what a store loads is what its events fold to, and all stores say the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from whet.core.events import Draft, Event, Kind
from whet.core.problem import Constraint, Objective
from whet.core.protocols import Store
from whet.core.trial import TRANSITIONS, Cause, State
from whet.errors import StateError
from whet.storage.doctor import check, differences
from whet.storage.memory import MemoryStore
from whet.storage.sql import SqlStore
from whet.testing.store_writer import fold, settings_of

# ---- steps: legal ones mostly, so that trials get far; any ones at times, so that refusals agree as well
_number = st.floats(allow_nan=True, allow_infinity=True)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _number | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_values = st.dictionaries(st.sampled_from(["loss", "ms", "$float", "other"]), _number, max_size=3)
_config = st.dictionaries(st.text(max_size=3), _json, max_size=3)
_rows = st.lists(st.lists(st.none() | _number, min_size=3, max_size=3), max_size=3)
_ending = st.fixed_dictionaries({}, optional={"values": _values})
_failure = st.fixed_dictionaries(
    {"cause": st.sampled_from([cause.value for cause in Cause])},
    optional={"values": _values, "message": st.text(max_size=5), "exit_code": st.integers(-15, 2)},
)
_asked = st.fixed_dictionaries(
    {"config": _config},
    optional={
        "why": _config,
        "budget": st.integers(1, 9) | st.floats(1, 9),
        "group": st.integers(0, 5),
        "replicate": st.integers(0, 2),
        "parent": st.integers(0, 5),
        "from_step": st.floats(0, 9),
        "member": st.integers(0, 3),
    },
)
_PAYLOADS: Mapping[Kind, st.SearchStrategy[dict[str, Any]]] = {
    Kind.CLAIMED: st.fixed_dictionaries({}, optional={"owner": st.text(max_size=3)}),
    Kind.ASKED: _asked,
    Kind.STARTED: st.fixed_dictionaries({"token": st.sampled_from("ab"), "owner": st.text(max_size=3)}),
    Kind.REPORTED: st.fixed_dictionaries({"rows": _rows}),
    Kind.PAUSED: _ending,
    Kind.RESUMED: st.fixed_dictionaries({}, optional={"budget": st.integers(1, 81)}),
    Kind.COMPLETED: _ending,
    Kind.STOPPED: _ending,
    Kind.FAILED: _failure,
    Kind.CANCELLED: st.just({}),
    Kind.REQUEUED: st.fixed_dictionaries(
        {"reason": st.text(max_size=5), "counts": st.booleans()},
        optional={"cause": st.sampled_from([cause.value for cause in Cause])},
    ),
    Kind.RELEASED: st.just({}),
    Kind.AMENDED: st.fixed_dictionaries({"settings": st.dictionaries(st.sampled_from(["n", "seed"]), _json)}),
    Kind.COMMAND: st.fixed_dictionaries({"command": st.text(max_size=3)})
    | st.fixed_dictionaries({"of": st.integers(1, 30), "outcome": st.just("done")}),
}
_OF_STUDY = (Kind.AMENDED, Kind.COMMAND)
_time = st.floats(0, 2e9)


@st.composite
def _draft(draw: st.DrawFn, states: Mapping[int, State | None], tokens: Mapping[int, str | None]) -> Draft:
    number = draw(st.none() | st.sampled_from(sorted(states)) if states else st.none())
    if number is None:
        kind = draw(st.sampled_from(_OF_STUDY))
    elif draw(st.integers(0, 9)):
        kind = draw(st.sampled_from(sorted(TRANSITIONS.get(states[number], {Kind.REPORTED: None}))))
    else:
        kind = draw(st.sampled_from(sorted(_PAYLOADS)))
    token = draw(st.sampled_from([None, "a", tokens.get(number)])) if number is not None else None
    return Draft(Kind(kind), number, draw(_PAYLOADS[Kind(kind)]), token, draw(_time))


@contextmanager
def _stores() -> Iterator[tuple[MemoryStore, SqlStore]]:
    with tempfile.TemporaryDirectory() as folder, closing(SqlStore(Path(folder, "whet.db"))) as sql:
        yield MemoryStore(), sql


def _told(event: Event) -> str:
    timeless = event.kind in (Kind.CLAIMED, Kind.CREATED)  # written by the store at its own time
    return repr((event.seq, event.kind, event.trial, event.attempt, None if timeless else event.time, event.payload))


def _append(store: Store, drafts: list[Draft], after: int, reserve: int) -> Any:
    try:
        done = store.append(1, drafts, after=after, reserve=reserve, owner="me", durable=False)
    except StateError as error:
        return str(error)
    return [_told(event) for event in done.events], done.refused, done.numbers


@given(data=st.data())
def test_every_store_loads_what_its_log_folds_to(data: st.DataObject) -> None:
    settings = settings_of([Objective("loss")], [Constraint("ms", "<=", 1.0)])
    with _stores() as (memory, sql):
        for store in (memory, sql):
            assert store.create("a", settings).id == 1
        for _ in range(data.draw(st.integers(1, 12))):
            known = memory.load(1)
            states: dict[int, State | None] = {row.number: row.state for row in known.finished}
            states |= {number: trial.state for number, trial in known.unfinished.items()}
            tokens = {number: trial.token for number, trial in known.unfinished.items()}
            drafts = data.draw(st.lists(_draft(states, tokens), max_size=3))
            reserve, after = data.draw(st.integers(0, 3)), data.draw(st.integers(1, known.seq))
            assert repr(_append(sql, drafts, after, reserve)) == repr(_append(memory, drafts, after, reserve))
        loaded = [memory.load(1), sql.load(1)]
        for store, history in zip((memory, sql), loaded, strict=True):
            events = store.events(1)
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert differences(fold(events), history) == []
            assert store.summary(1).counts == history.counts()
            assert [trial.number for trial in store.trials(1)] == sorted(
                [row.number for row in history.finished]
                + [n for n, t in history.unfinished.items() if not t.is_reserved]
            )
        assert differences(*loaded) == []
        assert repr(sql.trials(1)) == repr(memory.trials(1))
        assert repr(sql.summary(1).best) == repr(memory.summary(1).best)
        assert (best := sql.summary(1).best) is None or best.number == loaded[1].best()
        assert check(Path(sql.url.removeprefix("sqlite:///"))) == []
