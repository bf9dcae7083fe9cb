"""Tree-structured Parzen estimator: configs are tried where good ones are dense and others are not.

Cheap at any number of trials, at home in conditional and categorical spaces; see `whet.algorithms.parzen`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.algorithms.parzen import Indices
from whet.algorithms.parzen_fit import Trials, candidates, fit, scores
from whet.core.history import History
from whet.core.protocols import RngOf, Suggestion
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.fidelities import KnownAtLevels
from whet.points.known import Known, violation_ranks
from whet.points.startup import Proposal, startup_point
from whet.samplers.modelled import CodecOf, suggest_in_turn
from whet.samplers.standing import stands_text


class TPE:
    """Of configs drawn where good trials are, the one whose density among them is largest against that of the others.

    Only the order of the objective's values counts. Configs that break outcome constraints come after all that meet
    them, the less broken the better; what failed or is being tried is avoided.

    In a study with a fidelity the trials count as well that a scheduler has stopped or paused, and those that have
    reported: each by the share of the trials that are ahead of it at the highest level it has reached. Under
    ``hyperband`` that is in the place of BOHB, whose model (Falkner et al., ICML 2018) is made from one level only.

    Args:
        n_start: configs of an even design before the model takes over.
        gamma: share of the trials that is good, at most 25 of them.
        n_candidates: configs that are drawn and compared for a suggestion.

    Raises:
        UsageError: an option out of its range.
    """

    def __init__(self, *, n_start: int = 6, gamma: float = 0.15, n_candidates: int = 128) -> None:
        for name, value in (("n_start", n_start), ("n_candidates", n_candidates)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"tpe: {name} is a whole number from 1 on, got {value!r}")
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma < 1:
            raise UsageError(f"tpe: gamma is the share of the trials that is good, between 0 and 1, got {gamma!r}")
        self.n_start, self.gamma, self.n_candidates = n_start, gamma, n_candidates
        self._codec_of, self._known_of = CodecOf(), KnownAtLevels()

    def suggest(self, history: History, numbers: Sequence[int], rng_of: RngOf) -> list[Suggestion]:
        """Return what the densities favour, config after config; see `Sampler`."""
        codec = self._codec_of(history.problem.space)

        def propose(known: Known, rng: np.random.Generator) -> Proposal:
            return startup_point(known, codec, history.seed, self.n_start) or self._propose(known, codec, rng)

        return suggest_in_turn(history, numbers, rng_of, codec, propose, self._known_of(history, codec))

    def explain(self, history: History) -> str:
        """Say what it does and where it stands; see `Explains`."""
        what = "the config that is most like the good trials and least like the others"
        return stands_text(history, self.n_start, what)

    def _propose(self, known: Known, codec: Codec, rng: np.random.Generator) -> Proposal:
        failed = np.flatnonzero(np.isnan(known.y))
        found = fit(codec.cube, Trials(known.x, ranking(known), failed, known.pending), self.gamma)
        x = candidates(found, self.n_candidates, known.is_new, rng)
        score = scores(found, x)
        best = np.argmax(score)
        why = {"source": "tpe", "score": float(f"{score[best]:.6g}"), "n_good": found.n_good, "n_bad": found.n_bad}
        return Proposal(x[best], why)


def ranking(known: Known) -> Indices:
    """Return the configs that have a value, the best first: those that meet the constraints, then by how little not.

    Where some are known in part, by the share of those that are ahead at the highest level reached; then the further
    one is better. Ties go to the first.
    """
    if known.partial is not None:
        ahead, behind = known.partial.ahead, known.partial.behind
        has_value = np.flatnonzero(~np.isnan(ahead))
        return has_value[np.lexsort((behind[has_value], ahead[has_value]))]
    has_value = np.flatnonzero(~np.isnan(known.y))
    return has_value[np.lexsort((known.y[has_value], violation_ranks(known.excess[has_value])))]
