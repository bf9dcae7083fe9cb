"""A sampler that keeps the contract of those that heed the history, and others that each break one promise of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.core.trial import State
from whet.core.unfinished import Unfinished
from whet.errors import SearchExhausted
from whet.points.known import Known
from whet.points.startup import Proposal
from whet.samplers.modelled import CodecOf, suggest_in_turn

N_RANDOM = 8  # trials before it heeds anything
N_TRIES = 40  # for a point that is new; after that any other will do, which costs less


class NearBest:
    """Tries points near the best one so far."""

    def __init__(self) -> None:
        self._codec_of = CodecOf()

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        self._codec = self._codec_of(history.problem.space)
        return suggest_in_turn(history, numbers, rng_of, self._codec, self.propose)

    def propose(self, known: Known, rng: np.random.Generator) -> Proposal:
        return self.near(known, rng, self.score(known.y))

    def score(self, y: np.ndarray) -> np.ndarray:
        """Return what is small where a point is near to be tried."""
        return y

    def near(self, known: Known, rng: np.random.Generator, score: np.ndarray, spread: float = 0.1) -> Proposal:
        cube = self._codec.cube
        is_near = len(known.y) >= N_RANDOM and not np.isnan(score).all()
        for _ in range(N_TRIES):
            u = rng.random(cube.d)
            if is_near:
                best = known.x[np.nanargmin(score)]
                moved = rng.normal(best, spread)
                is_moved = (rng.random(cube.d) < 0.5) & ~np.isnan(best)
                u = np.where(is_moved, moved, np.where(np.isnan(best), u, best))
            x, is_allowed = cube.settled(u[None])
            if is_allowed[0] and known.is_new(x)[0]:
                break
        return Proposal(x[0], {"source": "near" if is_near else "random", "n_known": len(known.y)})


class Deaf(NearBest):
    """Heeds nothing."""

    def propose(self, known: Known, rng: np.random.Generator) -> Proposal:
        return self.near(replace(known, x=known.x[:0], y=known.y[:0]), rng, known.y[:0])


class Contrary(NearBest):
    """Takes the direction for the other one."""

    def score(self, y: np.ndarray) -> np.ndarray:
        return -y


class LastTold(NearBest):
    """Goes by the order in which trials ended."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        n_last = history.finished[-1].number if history.n_finished else 0
        return super().suggest(history, numbers, lambda number: rng_of(number + 1000 * n_last))


class Forgetful(NearBest):
    """Suggests the same config again, and ones that run."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        return [super(Forgetful, self).suggest(history, numbers[:1], rng_of)[0] for _ in numbers]


class IgnoresRunning(NearBest):
    """Takes no account of trials that run."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        running = history.unfinished
        alone = replace(history, unfinished=Unfinished()) if running else history
        return super().suggest(alone, numbers, rng_of)


class Stateful(NearBest):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self._n_asked = 0

    def propose(self, known: Known, rng: np.random.Generator) -> Proposal:
        self._n_asked += 1
        return self.near(known, rng, self.score(known.y), spread=0.1 / self._n_asked)


class Sticky(NearBest):
    """Keeps the codec of the first space that it saw, and the first score: as a memo without a key."""

    def __init__(self) -> None:
        super().__init__()
        self._memo: dict[int, np.ndarray] = {}

    def score(self, y: np.ndarray) -> np.ndarray:
        return self._memo.setdefault(len(y), y)


class Outside(NearBest):
    """Leaves the space once it heeds values."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        found = super().suggest(history, numbers, rng_of)
        if history.n_finished < N_RANDOM:
            return found
        odd = {name: 10 * value for name, value in found[0].config.items() if type(value) is float}
        return [replace(found[0], config={**found[0].config, **odd}), *found[1:]]


class Unconditional(NearBest):
    """Gives every parameter a value, active or not."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        found = super().suggest(history, numbers, rng_of)
        first = {name: domain.sample(np.random.default_rng(0)) for name, domain in history.problem.space.items()}
        return [replace(s, config={**first, **s.config}) for s in found]


class Global(NearBest):
    """Draws from the generator that everybody shares."""

    def propose(self, known: Known, rng: np.random.Generator) -> Proposal:
        random.random()
        return super().propose(known, rng)


class Absolute(NearBest):
    """Has a number of its own to compare values with."""

    def score(self, y: np.ndarray) -> np.ndarray:
        return np.abs(y - 1e5)


class Unscaled(NearBest):
    """Adds a little noise of a fixed size."""

    def score(self, y: np.ndarray) -> np.ndarray:
        return y + 1e4 * np.sin(np.arange(len(y)))


class Averaging(NearBest):
    """Keeps all affine maps and no other: goes by the distance from the mean."""

    def score(self, y: np.ndarray) -> np.ndarray:
        if len(y) == 0 or np.isnan(y).all():
            return y
        with np.errstate(all="ignore"):
            return np.abs(y - np.nanmean(y))


class Overflowing(NearBest):
    """Squares what may be huge."""

    def score(self, y: np.ndarray) -> np.ndarray:
        return y * np.abs(y)


class Talkative(NearBest):
    """Says what no store can keep."""

    def propose(self, known: Known, rng: np.random.Generator) -> Proposal:
        proposal = super().propose(known, rng)
        best = float("nan") if len(known.y) < N_RANDOM else np.float64(1.0)
        return replace(proposal, why={**proposal.why, "best": best})


class GivesUp(NearBest):
    """Ends a finite space before its last config."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        if history.problem.space.size == history.n_finished + len(history.unfinished) + 1:
            raise SearchExhausted
        return super().suggest(history, numbers, rng_of)


class TriesCancelledAgain(NearBest):
    """Forgets the configs of trials that were cancelled."""

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        kept = [row for row in history.finished if row.state is not State.CANCELLED]
        rest = History.restore(
            history.settings,
            seq=history.seq,
            n_numbers=history.n_numbers,
            unfinished=history.unfinished,
            finished=kept,
            pending_commands={},
        )
        return super().suggest(rest, numbers, rng_of)
