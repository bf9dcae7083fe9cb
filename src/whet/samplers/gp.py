"""Bayesian optimisation with Gaussian processes: see `whet.algorithms.gp`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from whet.algorithms.gp.propose import NAMES, Belief, Data, Proposer
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.known import Known
from whet.points.startup import Proposal, startup_point
from whet.samplers.modelled import CodecOf, suggest_in_turn
from whet.samplers.standing import stands_text


class GP:
    """Where a model of the objective, made from all trials so far, promises most.

    At home up to some hundred trials, with every kind of parameter and with conditions: the fewest trials of all
    samplers for tens of milliseconds each. Failed trials and outcome constraints have models of their own.

    Args:
        acquisition: what promise is: ``"logei"``, expected improvement on the best value so far, in logarithms;
            ``"ei"``, the same without; ``"pi"``, probability of an improvement; ``"ucb"``, how good a config may
            well be, two standard deviations from what is expected; ``"ts"``, the best of one sample of the model.
        n_start: configs of an even design before the model takes over.

    Raises:
        UsageError: an option out of its range.
    """

    def __init__(self, *, acquisition: Literal["logei", "ei", "pi", "ucb", "ts"] = "logei", n_start: int = 5) -> None:
        if acquisition not in NAMES:
            raise UsageError(f"gp: acquisition is one of {', '.join(NAMES)}, got {acquisition!r}")
        if isinstance(n_start, bool) or not isinstance(n_start, int) or n_start < 1:
            raise UsageError(f"gp: n_start is a whole number from 1 on, got {n_start!r}")
        self.acquisition, self.n_start = acquisition, n_start
        self._codec_of = CodecOf()
        self._proposer: tuple[Codec, int, Proposer] | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return what the model favours, config after config; see `Sampler`."""
        codec = self._codec_of(history.problem.space)
        sign = history.problem.objectives[0].sign if history.problem.objectives else 1

        def propose(known: Known, rng: np.random.Generator) -> Proposal:
            start = startup_point(known, codec, history.seed, self.n_start)
            if start is not None:
                return start
            data = Data(known.x, known.y, known.excess, known.pending, known.is_new)
            x, belief = self._proposer_of(codec, history.seed).propose(data, rng)
            return Proposal(x, self._why(belief, sign))

        return suggest_in_turn(history, numbers, rng_of, codec, propose)

    def explain(self, history: History) -> str:
        """Say what it does and where it stands; see `Explains`."""
        what = f"the config that promises most by a model of the objective ({self.acquisition})"
        return stands_text(history, self.n_start, what)

    def _proposer_of(self, codec: Codec, seed: int) -> Proposer:
        if self._proposer is None or self._proposer[0] is not codec or self._proposer[1] != seed:
            self._proposer = (codec, seed, Proposer(codec.cube, seed, self.acquisition))
        return self._proposer[2]

    def _why(self, belief: Belief, sign: int) -> dict[str, Any]:
        why = {"mean": sign * belief.mean, "std": belief.std, "score": belief.score}
        if belief.p_well is not None:
            why["p_well"] = belief.p_well
        numbers = {name: float(f"{value:.6g}") for name, value in why.items() if math.isfinite(value)}
        return {"source": "gp", "acquisition": self.acquisition, **numbers}
