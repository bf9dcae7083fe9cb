"""Hyperband: successive halving from every level in turn, as nobody knows how little budget tells enough.

Source: Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 18 (2018), algorithm 1.
With a sampler that learns from what trials come to below the highest budget, such as ``tpe``, it is BOHB (Falkner et
al., ICML 2018).
"""

from __future__ import annotations

from whet.algorithms.brackets import Rung, bracket
from whet.schedulers.rounds import Rounds


class Hyperband(Rounds):
    """Brackets s_max, s_max - 1, …, 0, and so on from the first: s levels below the highest budget each begins.

    Bracket 0 trains its configs to the end at once. Each rung waits until every trial on it has reported, failed or was
    cancelled; where a slot is free meanwhile, the next bracket begins. When no new trials may begin, a rung that is not
    full goes on with those that it has, at least one of them.

    Trials that people gave run to the end and are no part of a bracket.

    Args:
        eta: one trial in eta goes on, with eta times the budget; at least 2.

    Raises:
        UsageError: *eta* is out of range.
    """

    def __init__(self, *, eta: float = 3) -> None:
        super().__init__("hyperband", eta)

    def planned(self, number: int, levels: tuple[float, ...]) -> tuple[Rung, ...]:
        """Return the rungs of bracket *number*, counted from the first that began."""
        return bracket(len(levels) - 1 - number % len(levels), levels, self.eta)
