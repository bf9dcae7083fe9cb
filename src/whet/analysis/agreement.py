"""Whether the order of trials at one level of a fidelity says anything of their order at the next.

Notation:
    N       trials that are known at a level or below it
    n       those of them that have come to the next level, too
    x       (n,) their normal scores at the level: quantiles of N(0, 1) at (rank - 1/2) / N
    r       Spearman's rank correlation of the n between the two levels
    rho     correlation at which an order is useful, `_USEFUL`

Selection. Who comes to the next level was, as a rule, among the best at this one, and among trials that are alike there
r is small even where the order of all of them is a good guide. So r is shown as what it is, the correlation among those
who came through, and is never compared with a fixed number. It is compared with what it would be for the same n trials
if the values of all N had a Gaussian copula with correlation rho: y = rho x + sqrt(1 - rho^2) e with the x that these
trials have among all N, and the ties that their values have. Who is not known at the level counts as behind all who
are: where it was lost on a lower one, that makes the range of x narrow, and the test slow to speak, for higher levels.
As nobody was chosen by y, choosing by x does not bias this comparison (y is missing at random given x).

A sampler that learns brings configs that are hardly different: their order is noise at every level, whatever the levels
are worth. There r has to be clearly below 0, too (`_P_TURNED`).

An order misleads where r is too small for a useful one (p at most `_P_USEFUL`) and not clearly above 0 (`_P_NONE`,
where y has nothing to do with x). Rates are in docs/decisions/0015-rank-agreement.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from whet.algorithms.brackets import levels
from whet.algorithms.cube import Floats
from whet.algorithms.signed_rank import midranks
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.trial import Trial
from whet.points.rungs import Place, place_of, take_of
from whet.points.standings import Point

FEWEST_TRIALS = 10  # at both levels, before their agreement is worth a word
_MOST_TRIALS = 5_000  # the first ones stand for all
_USEFUL = 0.7
_P_USEFUL = 0.002
_P_NONE = 0.05
_P_TURNED = 0.005
_BLIND = ("grid", "quasi_random", "random")  # samplers that do not look at results
_N_DRAWS = 400
_MOST = 0.999  # of a correlation, whose transform is finite
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the order of trials at a level is that at the next one.

    Attributes:
        low, high: the two levels.
        n: trials with a finite value at both.
        correlation: Spearman's, among these, from -1 to 1.
        misleads: whether the order at *low* is no guide to that at *high*, as far as that can be known.
    """

    low: float
    high: float
    n: int
    correlation: float
    misleads: bool


def agreements(history: History, eta: float) -> list[Agreement]:
    """Return how each level agrees with the next, the lowest first, where enough trials have reached both.

    Args:
        history: with a fidelity and one objective; nothing is said without.
        eta: from one level to the next.
    """
    fidelity = history.problem.fidelity
    if fidelity is None or len(history.problem.objectives) != 1:
        return []
    known = levels(fidelity.low, fidelity.high, eta, is_integer=fidelity.is_integer)
    places = _places(history, known)
    is_blind = history.settings.get("sampler") in _BLIND
    found = (_agreement(places, known, level, is_blind) for level in range(len(known) - 1))
    return [agreement for agreement in found if agreement is not None]


def _places(history: History, known: Sequence[float]) -> list[Place]:
    """Return how far trials have come, one for each config: its repeats are alike, and would count several times."""
    trials: list[Trial | Finished] = sorted(
        [*history.finished, *history.unfinished.values()], key=lambda trial: trial.number
    )
    ours = [trial for trial in trials if trial.config is not None and trial.number % history.repeats == 0]
    take = take_of(history)
    return [place_of(trial, history.problem, known, take) for trial in ours[:_MOST_TRIALS]]


def _agreement(places: Sequence[Place], known: Sequence[float], level: int, is_blind: bool) -> Agreement | None:
    # A report that counts at both levels agrees with itself.
    at = [place for place in places if place.top >= level and not place.is_beyond(level, known)]
    n_behind = sum(0 <= place.top < level for place in places)
    is_pair = np.array(
        [place.top > level and place.points[level].is_finite and place.points[level + 1].is_finite for place in at],
        dtype=bool,
    )
    n = int(is_pair.sum())
    if n < FEWEST_TRIALS:
        return None
    ranks = _ranks([place.points[level] for place in at])[is_pair]
    after = _ranks([place.points[level + 1] for place, is_in in zip(at, is_pair, strict=True) if is_in])
    before = midranks(ranks)
    if not before.std() or not after.std():
        return None  # all alike at one of the levels
    correlation = _correlation(before, after)
    x = np.array([_NORMAL.inv_cdf((rank - 0.5) / (len(at) + n_behind)) for rank in ranks.tolist()])
    most = _NORMAL.inv_cdf(1 - _P_NONE if is_blind else _P_TURNED)
    misleads = correlation * math.sqrt(n - 1) < most and _p_useful(x, before, after) <= _P_USEFUL
    return Agreement(known[level], known[level + 1], n, correlation, misleads)


def _p_useful(x: Floats, before: Floats, after: Floats) -> float:
    """Return the chance of a rank correlation as small as that of *before* and *after* if the order were useful.

    Args:
        x: (n,) normal scores at the level.
        before: (n,) ranks of these trials among each other at the level.
        after: (n,) those at the next one.
    """
    rng = np.random.default_rng(0)  # the same history says the same
    y = _USEFUL * x + math.sqrt(1 - _USEFUL**2) * rng.standard_normal((_N_DRAWS, len(x)))
    drawn = np.empty_like(y)
    np.put_along_axis(drawn, y.argsort(axis=1), np.sort(after)[None], axis=1)
    centred = before - before.mean()
    # Fisher's transformation: r itself has a long tail towards low values.
    shown = np.arctanh(drawn @ centred * (_MOST / (len(x) * before.std() * after.std())))
    observed = math.atanh(_MOST * _correlation(before, after))
    spread = float(shown.std())
    return _NORMAL.cdf((observed - float(shown.mean())) / spread) if spread else 1.0


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def _ranks(points: Sequence[Point]) -> Floats:
    """Return the ranks of *points*, from 1 on; equal ones share the mean of theirs."""
    keys = [(point.is_broken, point.values) for point in points]
    which = {key: i for i, key in enumerate(sorted(set(keys)))}
    return midranks(np.array([which[key] for key in keys], dtype=np.float64))
