"""The default strategy: at each suggestion the sampler that suits the study as it is by then."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from whet.algorithms.cube import Floats
from whet.core.given import Given
from whet.core.history import History
from whet.core.protocols import RngOf, Sampler, Suggestion
from whet.errors import SearchExhausted
from whet.points.codec import Codec
from whet.points.known import Known
from whet.points.startup import Proposal
from whet.samplers.choosing import Name, chosen, facts_of
from whet.samplers.cmaes import CMAES
from whet.samplers.finite import FiniteWalk
from whet.samplers.gp import GP
from whet.samplers.modelled import CodecOf, suggest_in_turn
from whet.samplers.quasi_random import QuasiRandom
from whet.samplers.random import Random
from whet.samplers.standing import learned_text
from whet.samplers.tpe import TPE
from whet.space.grid import permuted

_MODELS = ("gp", "tpe", "cmaes")


class Auto:
    """Chooses by the space, the objectives, the number of trials and what they came to; see `choosing`.

    A model of the objective where there is one objective, and not too much for it; all configs in random order where
    there are trials enough for them; even coverage where there is nothing to learn from.
    """

    def __init__(self) -> None:
        self._samplers: dict[Name, Sampler] = {
            "walk": _Walk(),
            "random": Random(),
            "quasi_random": QuasiRandom(),
            "gp": GP(),
            "tpe": TPE(),
            "cmaes": CMAES(),
        }

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return what the chosen sampler suggests; see `Sampler`."""
        return self._samplers[chosen(facts_of(history)).name].suggest(history, numbers, rng_of)

    def explain(self, history: History) -> str:
        """Say which sampler it is and why, then what is known and when it will be another one; see `Explains`."""
        facts = facts_of(history)
        choice = chosen(facts)
        is_blind = choice.name in _MODELS and facts.n_failed and not facts.n_known
        return "\n".join([choice.why, *([learned_text(history)] if is_blind else []), *choice.outlook])


class _Walk:
    """Random search without replacement that may begin after others: what they suggested does not come again."""

    def __init__(self) -> None:
        self._codec_of = CodecOf()
        self._walk: tuple[Codec, int, FiniteWalk] | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        codec = self._codec_of(history.problem.space)
        walk = self._walk_of(codec, history.seed)

        def point(place: int) -> Floats:
            return codec.point(walk.config(place, Given()))

        def propose(known: Known, rng: np.random.Generator) -> Proposal:
            del rng  # the order is the seed's
            for place in count(known.n_configs):  # others may have taken what comes there and at the next ones
                try:
                    x = point(place)
                except SearchExhausted:
                    break
                if known.is_new(x[None])[0]:
                    return Proposal(x, {"source": "random"})
            return Proposal(point(0), {"source": "random"})  # most likely taken: then what is left comes instead

        return suggest_in_turn(history, numbers, rng_of, codec, propose)

    def _walk_of(self, codec: Codec, seed: int) -> FiniteWalk:
        if self._walk is None or self._walk[0] is not codec or self._walk[1] != seed:
            walk = FiniteWalk(codec.space, lambda place: permuted(seed, walk.grid.size, place))
            self._walk = (codec, seed, walk)
        return self._walk[2]
