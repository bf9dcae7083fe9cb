"""Successive halving: everybody gets a little, the better ones more, the best everything.

Source: Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016.
"""

from __future__ import annotations

from whet.algorithms.brackets import Rung, bracket, halving
from whet.errors import UsageError
from whet.schedulers.rounds import Rounds


class SuccessiveHalving(Rounds):
    """Rounds of *n* configs: all go to the lowest level, the best floor(n / eta) to the next one, and so on.

    A rung waits until every trial on it has reported, failed or was cancelled; then its best go on and the others end.
    Where a slot is free meanwhile, the next round begins. When no new trials may begin, a rung that is not full goes on
    with those that it has, at least one of them.

    Trials that people gave run to the end and are no part of a round.

    Args:
        eta: one trial in eta goes on, with eta times the budget; at least 2.
        n: configs in a round, at least 2; by default so many that one reaches the highest budget, eta to the number of
            levels less one.

    Raises:
        UsageError: an option is out of range.
    """

    def __init__(self, *, eta: float = 3, n: int | None = None) -> None:
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 2):
            raise UsageError(f"successive_halving: n must be a whole number of at least 2, got {n!r}")
        super().__init__("successive_halving", eta)
        self.n = n

    def planned(self, number: int, levels: tuple[float, ...]) -> tuple[Rung, ...]:
        """Return the rungs of round *number*: all are alike."""
        del number
        return bracket(len(levels) - 1, levels, self.eta) if self.n is None else halving(self.n, levels, self.eta)
