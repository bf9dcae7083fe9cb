"""Bayesian optimisation with Gaussian processes: see `whet.algorithms.gp`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from whet.algorithms.gp.propose import NAMES, Proposer
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.fidelities import KnownAtLevels
from whet.points.known import Known
from whet.points.modelled import data_of, numbers_of
from whet.points.startup import Proposal, startup_point
from whet.samplers.modelled import CodecOf, suggest_in_turn
from whet.samplers.standing import stands_text


class GP:
    """Where a model of the objective, made from all trials so far, promises most.

    At home up to some hundred trials, with every kind of parameter and with conditions: the fewest trials of all
    samplers for tens of milliseconds each. Failed trials and outcome constraints have models of their own.

    In a study with a fidelity the model is one of configs and fidelities as soon as trials are known in part: it learns
    from what a scheduler has stopped or paused, and looks for the config that promises most at the highest fidelity.

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
        self._codec_of, self._known_of = CodecOf(), KnownAtLevels()
        self._proposer: tuple[Codec, int, Proposer] | None = None

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return what the model favours, config after config; see `Sampler`."""
        codec = self._codec_of(history.problem.space)
        sign = history.problem.objectives[0].sign if history.problem.objectives else 1

        def propose(known: Known, rng: np.random.Generator) -> Proposal:
            start = startup_point(known, codec, history.seed, self.n_start)
            if start is not None:
                return start
            x, belief = self._proposer_of(codec, history.seed).propose(data_of(known), rng)
            return Proposal(x, {"source": "gp", "acquisition": self.acquisition, **numbers_of(belief, sign)})

        return suggest_in_turn(history, numbers, rng_of, codec, propose, self._known_of(history, codec))

    def explain(self, history: History) -> str:
        """Say what it does and where it stands; see `Explains`."""
        what = f"the config that promises most by a model of the objective ({self.acquisition})"
        return stands_text(history, self.n_start, what)

    def _proposer_of(self, codec: Codec, seed: int) -> Proposer:
        if self._proposer is None or self._proposer[0] is not codec or self._proposer[1] != seed:
            self._proposer = (codec, seed, Proposer(codec.cube, seed, self.acquisition))
        return self._proposer[2]
