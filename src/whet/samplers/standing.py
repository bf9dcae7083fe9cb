"""Where a search by a model stands, in words: what the samplers that learn say of themselves; see `Explains`."""

from __future__ import annotations

from whet.core.history import History
from whet.core.trial import State
from whet.points.startup import FEWEST_VALUES
from whet.text import counted


def learned_text(history: History) -> str:
    """Return in a sentence what there is to learn from."""
    n_valued, n_failed = (history.n_ended(state) // history.repeats for state in (State.COMPLETED, State.FAILED))
    n_partial = n_known_in_part(history)
    if n_failed and not n_valued + n_partial:
        return f"There is nothing to make a model of yet: {counted(n_failed, 'config')} failed, none has a value."
    partial = f", {n_partial:,} in part" if n_partial else ""
    failed = f", {n_failed:,} failed" if n_failed else ""
    return f"Known so far: {counted(n_valued, 'config')} with a value{partial}{failed}."


def n_known_in_part(history: History) -> int:
    """Return how many configs have some way of a fidelity behind them and no value at its end."""
    if history.problem.fidelity is None:
        return 0
    n_unfinished = sum(bool(trial.curve) for trial in history.unfinished.values())
    return (history.n_ended(State.STOPPED) + n_unfinished) // history.repeats


def stands_text(history: History, n_start: int, what: str) -> str:
    """Return what a search with a `startup_point` does: the design, or *what* its model is for, then how far it is.

    Counts only, so that it costs the same for any number of trials that have ended.
    """
    n_valued = history.n_ended(State.COMPLETED) // history.repeats + n_known_in_part(history)
    n_known = history.n_numbers // history.repeats
    if n_known >= n_start and n_valued >= FEWEST_VALUES:
        return f"{what}\n{learned_text(history)}"
    begun = f"{n_known:,} of {counted(n_start, 'config')} so far."
    if n_known >= n_start:
        begun = f"It goes on beyond {counted(n_start, 'config')} until {FEWEST_VALUES} have a value."
    return f"an even design first, then {what}\n{begun}\n{learned_text(history)}"
