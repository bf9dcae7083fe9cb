"""The histories that tests of samplers are made of: what was asked, what came of it, who gave what."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from whet.core import jsontext
from whet.core.columns import as_config
from whet.core.events import Event, Kind
from whet.core.history import History
from whet.core.problem import BARE, Constraint, Direction, Objective, Problem
from whet.core.protocols import Sampler, Suggestion
from whet.core.randomness import config_rng
from whet.core.trial import State
from whet.errors import SearchExhausted
from whet.space.domain import Categorical, Int
from whet.space.space import Space

# What comes of a trial: the value or the metrics that complete it, or the state that it is in instead.
Outcome = float | Mapping[str, float] | State
Fact = tuple[Kind, int, Mapping[str, Any]]

SPOILT = (State.FAILED, State.CANCELLED, State.STOPPED, State.RUNNING)  # outcomes without a value


def problem_of(
    space: Space, direction: Direction = "minimize", constraints: Sequence[Constraint] = (), name: str = BARE
) -> Problem:
    """Return the problem of making one number, by default a bare one, small or large."""
    return Problem(space, (Objective(name, direction),), tuple(constraints))


def history_of(space: Space | Problem, seed: int = 0, *, repeats: int = 1, lookahead: int | None = None) -> History:
    """Return the history of a study that has just begun; with a *lookahead* it is deterministic."""
    problem = space if isinstance(space, Problem) else problem_of(space)
    settings = {"problem": problem.to_json(), "seed": seed, "repeats": repeats, "lookahead": lookahead}
    return History.begin(settings, problem)


def ask(sampler: Sampler, history: History, numbers: Sequence[int]) -> list[Suggestion]:
    """Return what *sampler* suggests for *numbers*, with the generators that a study would give it."""
    return sampler.suggest(history, numbers, partial(config_rng, history.seed))


def asked(history: History, number: int, suggestion: Suggestion, kind: Kind = Kind.ASKED) -> History:
    """Return the history after config *number* was given to its trials, which wait to be run.

    *kind* says who gave it: the sampler, or a person (``enqueued``, ``added``; then the trials of the latter run).
    """
    facts: list[Fact] = []
    for replicate in range(history.repeats):
        trial = number * history.repeats + replicate
        who = {"group": number, "replicate": replicate}
        if kind is Kind.ASKED and trial not in history.unfinished:
            facts.append((Kind.CLAIMED, trial, {"owner": "somebody"}))
        facts.append((kind, trial, {"config": dict(suggestion.config), "why": dict(suggestion.why), **who}))
    return _extended(history, facts)


def ended(history: History, trial: int, outcome: Outcome) -> History:
    """Return the history after *outcome* came of a *trial* that waited or ran."""
    facts: list[Fact] = []
    if outcome is State.WAITING:
        return history
    if history.unfinished[trial].state is State.WAITING:
        facts.append((Kind.STARTED, trial, {"token": f"token {trial}", "owner": "somebody"}))
    names = history.problem.metrics
    if outcome is State.FAILED:
        spoilt = {"cause": "memory", "message": "out of memory", "exit_code": -9, "values": dict.fromkeys(names, 0.5)}
        facts.append((Kind.FAILED, trial, spoilt))
    elif outcome in (State.STOPPED, State.PAUSED):
        facts.append((Kind(outcome.value), trial, {"values": dict.fromkeys(names, 0.5)}))
    elif outcome is State.CANCELLED:
        facts.append((Kind.CANCELLED, trial, {}))
    elif not isinstance(outcome, State):
        values = outcome if isinstance(outcome, Mapping) else {names[0] if names else BARE: outcome}
        facts.append((Kind.COMPLETED, trial, {"values": values}))
    return _extended(history, facts)


def reported(history: History, trial: int, curve: Mapping[float, float | Sequence[float]]) -> History:
    """Return the history after a *trial* that waited or ran has reported, at each step its metrics or the only one."""
    facts: list[Fact] = []
    if history.unfinished[trial].state is State.WAITING:
        facts.append((Kind.STARTED, trial, {"token": f"token {trial}", "owner": "somebody"}))
    rows = [[step, *(values if isinstance(values, Sequence) else [values])] for step, values in curve.items()]
    return _extended(history, [*facts, (Kind.REPORTED, trial, {"rows": rows})])


def resumed(history: History, trial: int, budget: float) -> History:
    """Return the history after a paused *trial* was given a larger budget, and waits."""
    return _extended(history, [(Kind.RESUMED, trial, {"budget": budget})])


def told(history: History, results: Iterable[tuple[int, Suggestion, Outcome]]) -> History:
    """Return the history after each (number, suggestion, outcome), all repeats coming to the same."""
    for number, suggestion, outcome in results:
        history = asked(history, number, suggestion)
        for replicate in range(history.repeats):
            history = ended(history, number * history.repeats + replicate, outcome)
    return history


def given(history: History, number: int, config: Mapping[str, Any], outcome: Outcome = State.WAITING) -> History:
    """Return the history after a person gave *config* the *number*, and what came of it."""
    history = asked(history, number, Suggestion(config), Kind.ENQUEUED)
    for replicate in range(history.repeats):
        history = ended(history, number * history.repeats + replicate, outcome)
    return history


def explored(history: History, n: int, outcome_of: Callable[[int, Mapping[str, Any]], Outcome]) -> History:
    """Return the history after *n* random configs more, with the outcome for each number and config.

    One may well have the config of another.
    """
    space, first = history.problem.space, _next_number(history)
    rng = np.random.default_rng([history.seed, first])
    configs = [(number, space.sample(rng)) for number in range(first, first + n)]
    return told(history, ((number, Suggestion(config), outcome_of(number, config)) for number, config in configs))


def played(
    sampler: Sampler,
    history: History,
    n: int,
    outcome_of: Callable[[int, Mapping[str, Any]], Outcome] | None = None,
    batch: int = 1,
) -> tuple[list[Suggestion], History]:
    """Return up to *n* suggestions, told as they come, *batch* at a time, and the history after them.

    Their numbers follow those of *history*; they are fewer where the space is exhausted before.
    """
    suggestions: list[Suggestion] = []
    first = _next_number(history)
    outcome_of = outcome_of or (lambda number, config: measured(history.problem.space, config))
    while len(suggestions) < n:
        start = first + len(suggestions)
        numbers = range(start, min(start + batch, first + n))
        try:
            found = ask(sampler, history, numbers)
        except SearchExhausted:
            break
        assert 0 < len(found) <= len(numbers)
        results = [(number, s, outcome_of(number, s.config)) for number, s in zip(numbers, found, strict=False)]
        history = told(history, results)
        suggestions += found
        if len(found) < len(numbers):
            with pytest.raises(SearchExhausted):
                ask(sampler, history, [first + len(suggestions)])
            break
    return suggestions, history


def exhausted(
    sampler: Sampler,
    history: History,
    batch: int = 1,
    outcome_of: Callable[[int, Mapping[str, Any]], Outcome] | None = None,
) -> list[Mapping[str, Any]]:
    """Return every config until the sampler has no more, told as they come, asked *batch* numbers at a time."""
    suggestions, _ = played(sampler, history, 1_000, outcome_of, batch)
    assert len(suggestions) < 1_000, "a finite space of a few points never ended"
    return [suggestion.config for suggestion in suggestions]


def reloaded(history: History) -> History:
    """Return *history* as another process gets it from a store: equal, and nothing of it shared."""
    finished = [replace(row, config=jsontext.dumps(dict(as_config(row.config)))) for row in history.finished]
    return History.restore(
        history.settings,
        seq=history.seq,
        n_numbers=history.n_numbers,
        unfinished=history.unfinished,
        finished=finished,
        pending_commands=history.pending_commands,
    )


def measured(space: Space, config: Mapping[str, Any]) -> float:
    """Return what a trial with *config* comes to: a whole number below 2^20, small where all lies at a third."""
    if not space.is_encodable:
        return float(zlib.crc32(text_of(config).encode()) >> 12)
    u = np.nan_to_num(space.encode(config), nan=0.5)
    return float(round(2**20 * float(np.mean((u - 1 / 3) ** 2)))) if len(u) else 0.0


def text_of(config: Mapping[str, Any]) -> str:
    """Return what equal configs have in common."""
    return jsontext.dumps(dict(sorted(config.items())))


@cache  # the same few spaces serve every sampler
def members_of(space: Space) -> frozenset[str]:
    """Return every config of a small finite space, found by drawing until nothing new comes."""
    rng = np.random.default_rng(0)
    return frozenset(text_of(space.sample(rng)) for _ in range(3_000))


def branches() -> Space:
    """Return a space of 4·10^6 configs in a grid of 4·10^24 points: each of four values has parameters of its own."""
    own = {f"{opt}{i}": Int(0, 9, when={"opt": opt}) for opt in "abcd" for i in range(6)}
    return Space({"opt": Categorical(list("abcd")), **own})


def check(space: Space, suggestions: Iterable[Suggestion]) -> None:
    """See that the configs lie in *space*, and that what is said of them can be kept and shown."""
    for suggestion in suggestions:
        space.check(suggestion.config)
        assert jsontext.loads(jsontext.dumps(dict(suggestion.config))) == dict(suggestion.config)
        assert jsontext.loads(jsontext.dumps(dict(suggestion.why))) == dict(suggestion.why)
        for name, value in suggestion.why.items():
            assert isinstance(name, str) and len(name) <= 40, f"a long name: {name!r}"
            if isinstance(value, str):
                assert len(value) <= 100, f"{name} is a long text: {value!r}"
            else:
                # Not numpy's: what comes back from a store has to be what was kept.
                assert value is None or type(value) in (bool, int, float), f"{name} is {value!r}"
                assert value is None or np.isfinite(value), f"{name} is {value!r}"


def _extended(history: History, facts: Iterable[Fact]) -> History:
    return history.extended(
        Event(seq, kind, trial, int(kind not in (Kind.CLAIMED, Kind.ASKED, Kind.ENQUEUED)), float(seq), payload)
        for seq, (kind, trial, payload) in zip(count(history.seq + 1), facts, strict=False)
    )


def _next_number(history: History) -> int:
    """Return the first config number that nobody has been given."""
    return -(-history.n_numbers // history.repeats)
