"""How successive halving and Hyperband spread a budget: levels, brackets, and how many go on.

Notation:
    r, R    the lowest and the highest budget of a config
    eta     of the configs at a level one in eta goes on, with eta times the budget
    s       bracket: it begins s levels below R; s_max is the most that fits

Source: Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 18 (2018), algorithm 1
and table 1 (R = 81, eta = 3). All counts are exact: in floating point, log(243) / log(3) is less than 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache


def s_max(low: float, high: float, eta: float) -> int:
    """Return the largest s with r eta^s <= R, for 0 < r <= R and eta > 1."""
    exact_low, exact_high, exact_eta = _exact(low), _exact(high), _exact(eta)
    s = 0
    while exact_low * exact_eta ** (s + 1) <= exact_high:
        s += 1
    return s


def levels(low: float, high: float, eta: float, *, is_integer: bool) -> tuple[float, ...]:
    """Return the budgets R eta^-s_max … R, ascending; whole numbers where *is_integer*, each once.

    They are anchored at the highest, as in algorithm 1: the lowest may lie above r.
    """
    exact = [_exact(high) / _exact(eta) ** s for s in range(s_max(low, high, eta), -1, -1)]
    if not is_integer:
        return (*(float(level) for level in exact[:-1]), high)
    return tuple(sorted({max(1, int(level + Fraction(1, 2))) for level in exact}))


@dataclass(frozen=True, slots=True)
class Rung:
    """A level of a bracket: how many configs get how much budget."""

    n: int
    budget: float


@lru_cache
def bracket(s: int, budgets: tuple[float, ...], eta: float) -> tuple[Rung, ...]:
    """Return the rungs of bracket *s*, lowest first, on *budgets*, the `levels` in use.

    It begins with n = ceil((s_max + 1) / (s + 1) eta^s) configs.
    """
    top = len(budgets) - 1
    n = -((-Fraction(top + 1, s + 1) * _exact(eta) ** s) // 1)  # rounded up
    return halving(int(n), budgets[top - s :], eta)


@lru_cache
def halving(n: int, budgets: tuple[float, ...], eta: float) -> tuple[Rung, ...]:
    """Return the rungs of successive halving from *n* configs on *budgets*: floor(n eta^-i) each, at least 1."""
    return tuple(Rung(max(1, int(n / _exact(eta) ** i)), budget) for i, budget in enumerate(budgets))


def n_best(n: int, eta: float) -> int:
    """Return how many of *n* are the best one in *eta*: floor(n / eta)."""
    return n // eta if isinstance(eta, int) else int(n / _exact(eta))


def _exact(number: float) -> Fraction:
    """Return the number that was typed: 0.1, say, of which the float is only near."""
    return Fraction(repr(number))
