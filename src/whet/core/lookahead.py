"""Deterministic studies: what a trial is chosen from does not depend on how many workers there are or who is faster.

With a lookahead of *L*, trial *k* is chosen once every trial up to *k* - *L* has ended, from what these have come to in
the order of their numbers, while all between count as running: as a single worker that is *L* trials ahead of the
results would have it. So up to *L* trials can run at a time. The repeats of a config share what its first one was
chosen from.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.history import History
from whet.errors import UsageError

DEFAULT_LOOKAHEAD = 8


def lookahead_of(history: History) -> int | None:
    """Return how many trials a study is ahead of the results it is to know; ``None``: it is not deterministic."""
    lookahead: int | None = history.settings.get("lookahead")
    return lookahead


def check_workers(lookahead: int | None, n_workers: int) -> None:
    """See that *lookahead* leaves work for so many workers.

    Raises:
        UsageError: it does not.
    """
    if lookahead is not None and n_workers > lookahead:
        raise UsageError(
            f"a deterministic study with a lookahead of {lookahead} runs at most {lookahead} trials at a time, "
            f"got {n_workers} workers: use at most {lookahead}, or begin a study with a larger lookahead, or one that "
            "is not deterministic"
        )


def askable(history: History, numbers: Sequence[int]) -> list[int]:
    """Return those of *numbers*, reserved and lowest first, whose configs can be chosen now; none: wait for trials.

    All of them, unless the study is deterministic. Then only the first: the next is chosen from what is known with it.
    """
    if lookahead_of(history) is None or not numbers:
        return list(numbers)
    number, horizon = numbers[0], _horizon(history, numbers[0])
    is_ready = all(
        other > horizon and (other >= number or not trial.is_reserved) for other, trial in history.unfinished.items()
    )
    return [number] if is_ready else []


def known_for(history: History, number: int) -> History:
    """Return what the config of trial *number* is chosen from."""
    return history if lookahead_of(history) is None else history.as_known(_horizon(history, number))


def known_to_decide(history: History, number: int) -> History:
    """Return what a scheduler decides on trial *number* from: in a deterministic study, itself and what it was made of.

    Whoever is faster, those are the trials that had ended when it got its config, and all that they reported.
    """
    if lookahead_of(history) is None:
        return history
    known = history.as_known(_horizon(history, number))
    return known.with_unfinished(history.unfinished[number])


def _horizon(history: History, number: int) -> int:
    """Return the last trial whose end is known when *number* gets its config, in a deterministic study."""
    lookahead = lookahead_of(history)
    assert lookahead is not None, "the study is deterministic"
    return number - number % history.repeats - lookahead
