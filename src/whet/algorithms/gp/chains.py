"""Sets of hyperparameters to average over, as a function of the data: the mode, and samples around it.

A chain is state, and a suggestion may depend on nothing but the history, so a chain is a function of its data. It
starts from where it ended on the first points alone, as many as the last rung of a ladder of sizes that grow by a
quarter; and so on down to the prior. A chain that lags, because the data have come to say much more than it knows,
starts from the mode, without which smooth functions are never followed to their end; chains that keep up stay as
different as they are, which is what averaging lives on.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Cube, Floats
from whet.algorithms.gp.fit import elliptical_slices, log_likelihoods, prior
from whet.algorithms.gp.kernel import Features
from whet.algorithms.gp.mode import mode
from whet.algorithms.gp.output import Output
from whet.algorithms.gp.subset import subset

_FEWEST = 3  # points that hyperparameters are fitted to
_GROWTH = 1.25
_MOST_POINTS = 96  # that hyperparameters are fitted to: they change slowly
_MODE_STEPS = 10  # on each rung and at the end, from the mode of the rung below
_N_UPDATES = 1  # of each chain, likewise
_REMEMBERED = 256

Choose = Callable[[Floats, Floats, int], NDArray[np.intp]]  # points, values, how many at most -> which to keep


class Chains:
    """Sets of hyperparameters for one kind of data.

    Args:
        updated: returns the (s, p) hyperparameters for points, (n, d), and their values, (n,), from those of the rung
            below, ``None`` on the first.
    """

    def __init__(self, updated: Callable[[Floats | None, Floats, Floats], Floats]) -> None:
        self._updated = updated
        self._known: OrderedDict[bytes, Floats] = OrderedDict()

    def theta(self, x: Floats, values: Floats) -> Floats:
        """Return the (s, p) hyperparameters for points *x*, (n, d), and their *values*, (n,)."""
        key = hashlib.blake2b(x.tobytes() + values.tobytes(), digest_size=16).digest()
        if key not in self._known:
            before = rung_below(len(x))
            earlier = self.theta(x[:before], values[:before]) if before else None
            self._known[key] = self._updated(earlier, x, values)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


def samples(
    cube: Cube,
    seed: int,
    n_sets: int,
    output_of: Callable[[Floats], Output],
    earlier: Floats | None,
    x: Floats,
    values: Floats,
    choose: Choose | None = None,
) -> Floats:
    """Return (*n_sets*, p) hyperparameters for *values*, (n,), at *x*, (n, d), from those *earlier* on fewer points.

    The mode comes first. *output_of* finds how the values become what the process is fitted to, *choose* which of many
    points it is fitted to; without it those that `subset` says.
    """
    chosen = subset(values, _MOST_POINTS) if choose is None else choose(x, values, _MOST_POINTS)
    features = Features(cube, x[chosen])
    mean, std = prior(features)
    theta = np.repeat(mean[None], n_sets, axis=0) if earlier is None else earlier
    if len(x) < _FEWEST:
        return theta
    f, y = features(x[chosen]), output_of(values)(values[chosen])
    most_probable = mode(theta[0], f, y, features, (mean, std), _MODE_STEPS)

    def log_likelihood(theta: Floats) -> Floats:
        return log_likelihoods(theta, f, y, features)

    def log_density(theta: Floats) -> Floats:
        density: Floats = log_likelihood(theta) - 0.5 * np.square((theta - mean) / std).sum(axis=1)
        return density

    # Half of p is how far below its top a normal density is on average; two standard deviations of that are added.
    lag = len(mean) / 2 + 2 * math.sqrt(len(mean) / 2)
    keeps_up = log_density(theta[1:]) >= log_density(most_probable[None]) - lag
    chains = np.where(keeps_up[:, None], theta[1:], most_probable)
    rng = np.random.default_rng((seed, len(x)))
    for _ in range(_N_UPDATES):
        chains = elliptical_slices(chains, log_likelihood, mean, std, rng)
    return np.vstack([most_probable, chains])


def rung_below(n: int) -> int:
    """Return the largest rung of the ladder below *n*, 0 if there is none."""
    rung = 0
    following = _FEWEST
    while following < n:
        rung, following = following, math.ceil(following * _GROWTH)
    return rung
