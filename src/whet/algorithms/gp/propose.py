"""The next point to try, by Bayesian optimisation with Gaussian processes.

The acquisition is averaged over samples of the hyperparameters: Snoek, Larochelle & Adams, Practical Bayesian
Optimization of Machine Learning Algorithms, NeurIPS 2012, section 3. Points that are being tried have come to what
each sample imagines there (ibid., section 3.2). What may fail, and outcome constraints, have models of their own, and
the logarithm of the probability that all is well is added: Gardner et al., Bayesian Optimization with Inequality
Constraints, ICML 2014, eq. 4.

Notation as in `whet.algorithms.gp.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp import chains, failures
from whet.algorithms.gp.acquisition import ACQUISITIONS, log_probability
from whet.algorithms.gp.chains import Chains
from whet.algorithms.gp.failures import Failures, share_of
from whet.algorithms.gp.kernel import Features, hyper_of
from whet.algorithms.gp.output import Output, fitted, standardised
from whet.algorithms.gp.posterior import Posterior
from whet.algorithms.gp.subset import subset, subset_of_both, subset_of_curves
from whet.algorithms.gp.thompson import drawn_function
from whet.algorithms.maximise import Score, maximised

NAMES = (*ACQUISITIONS, "ts")  # of what makes a point promising

_N_GOOD = 10  # of the best trials, around which to look
_MOST_POINTS = 128  # that a model is fitted to
_MOST_ROWS = 160  # of curves, likewise
_POINTS_TIMES_SETS = 480  # what a suggestion may cost: with more points fewer hyperparameter sets are averaged
_N_SETS, _N_CURVE_SETS, _N_LIMIT_SETS = 8, 4, 4  # of the model of the objective, of that with fidelities, of others
_FEWEST_SETS = 3
# A failure says nothing of the objective, so no promise makes up for one that is likely: points that go well with less
# than so much of the probability of those that did come after all others, the likelier the better.
_LEAST_P, _UNWISE = 0.5, 1e3
_MOST_PENDING = 64  # points that are imagined, the last ones
_N_ROUGH_SETS = 2
_MOST_EXCESS = 1e9  # typical violations of a constraint: what is worse, infinite say, counts as that


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What came of configs at several fidelities.

    Attributes:
        x: (n, d + 1) points and fidelities, the latter from 0 to 1, the highest; in an order that depends on nothing
            but the trials, so that what is known of fewer of them is of use.
        y: (n,) their values, to be minimised and finite.
    """

    x: Floats
    y: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What is known.

    Attributes:
        x: (n, d) points.
        y: (n,) their values, to be minimised; NaN where they failed. With *curves* any of the values of each.
        excess: (n, c) by how much each constraint is broken, at most 0 where it is met; NaN where unknown.
        pending: (p, d) points that are being tried.
        is_new: tells which of the (m, d) points nobody has been given.
        curves: where values at lower fidelities are known, all values; what is wanted is the best at the highest.
    """

    x: Floats
    y: Floats
    excess: Floats
    pending: Floats
    is_new: Callable[[Floats], Bools]
    curves: Curves | None = None


@dataclass(frozen=True, slots=True)
class Belief:
    """What was believed of a point when it was chosen.

    Attributes:
        mean, std: of its value: the median, and half of the middle 68 %.
        score: of the acquisition, what is added for constraints included.
        p_well: probability that it does not fail and meets the constraints; ``None`` where nothing failed yet and
            there are none.
    """

    mean: float
    std: float
    score: float
    p_well: float | None


class Proposer:
    """Bayesian optimisation over *cube*; what it remembers of earlier calls only saves work.

    Args:
        cube: where to search.
        seed: of the hyperparameters' chains.
        acquisition: one of `NAMES`.
    """

    def __init__(self, cube: Cube, seed: int, acquisition: str) -> None:
        self._cube, self._seed = cube, seed
        self._acquisition = acquisition
        self._chains = Chains(partial(chains.samples, cube, seed, _N_SETS, fitted))
        of_curves = partial(chains.samples, cube, seed, _N_CURVE_SETS, fitted, choose=subset_of_curves)
        self._curve_chains = Chains(of_curves)
        self._failure_chains = Chains(partial(failures.samples, cube, seed, _N_LIMIT_SETS))
        self._limit_chains: dict[int, Chains] = {}

    def propose(self, data: Data, rng: np.random.Generator) -> tuple[Floats, Belief]:
        """Return a point, (d,), and what is believed of it; two points at least must have a value."""
        return self.view(data, rng).proposed(rng)

    def view(self, data: Data, rng: np.random.Generator) -> View:
        """Return what is believed once *data* are known; two points at least, or two rows of curves, have a value."""
        has_failed = np.isnan(data.y)
        has_value = ~has_failed
        x, y = data.x[has_value], data.y[has_value]
        rows = Curves(x, y) if data.curves is None else data.curves
        output = fitted(rows.y)
        if data.curves is None:
            posterior = self._posterior(self._chains, rows, output, subset(rows.y, _MOST_POINTS))
        else:
            chosen = subset_of_curves(rows.x, rows.y, _MOST_ROWS)
            posterior = self._posterior(self._curve_chains, rows, output, chosen)
        limits = self._limits(data)
        least_log_p = np.log(_LEAST_P) + np.median(limits[0](x)) if has_failed.any() else -np.inf
        meets = (data.excess[has_value] <= 0).all(axis=1)
        # Until something meets the constraints, that is what is looked for.
        best = np.full((1, 1), output(y[meets]).min()) if meets.any() else None
        pending = data.pending[-_MOST_PENDING:]
        if len(pending):
            posterior = posterior.imagining(pending, rng)
        if best is not None and data.curves is not None:
            # Nobody knows what the best config comes to at the highest fidelity, but each set believes something.
            best = posterior(x[meets])[0].min(axis=1, keepdims=True)
        if best is not None and len(pending):
            best = np.minimum(best, posterior.lowest(len(pending)))

        def score_of(sets: Posterior) -> Score:
            promise = None if best is None else self._promise(sets, best[: len(sets.y)], rng)

            def score(points: Floats) -> Floats:
                log_ps = [limit(points) for limit in limits]
                log_p = sum(log_ps, start=np.zeros(len(points)))
                if has_failed.any():
                    log_p += _UNWISE * np.minimum(log_ps[0] - least_log_p, 0)
                if promise is None:
                    return log_p
                if self._acquisition == "ei":  # the only one that is no logarithm of what one may hope for
                    return promise(points) * np.exp(log_p)
                return promise(points) + log_p

            return score

        score = score_of(posterior)
        rough = score if self._acquisition == "ts" else score_of(posterior.first(_N_ROUGH_SETS))
        middle = y if data.curves is None else posterior(x)[0].mean(axis=0)
        good = x[np.lexsort((middle, ~meets))[:_N_GOOD]]
        seen = float(rows.y.min()), float(rows.y.max())
        return View(self._cube, data.is_new, posterior, output, limits, score, rough, good, seen)

    def _promise(self, posterior: Posterior, best: Floats, rng: np.random.Generator) -> Score:
        if self._acquisition == "ts":
            drawn = drawn_function(posterior, rng)
            return lambda points: -drawn(points)
        acquisition = ACQUISITIONS[self._acquisition]
        return lambda points: acquisition(*posterior(points), best)

    def _posterior(self, known: Chains, rows: Curves, output: Output, chosen: NDArray[np.intp]) -> Posterior:
        theta = known.theta(rows.x, rows.y)
        theta = theta[: min(len(theta), max(_FEWEST_SETS, round(_POINTS_TIMES_SETS / len(chosen))))]
        x = rows.x[chosen]
        features = Features(self._cube, x)
        return Posterior(features, hyper_of(theta, features), x, output(rows.y[chosen]))

    def _limits(self, data: Data) -> list[Score]:
        """Return the log probabilities of no failure, if there were any, and of each constraint known somewhere."""
        limits: list[Score] = []
        has_failed = np.isnan(data.y)
        if has_failed.any():
            limits.append(self._failures(data.x, np.where(has_failed, -1.0, 1.0)).log_p_well)
        for i, excess in enumerate(data.excess.T):
            is_known = ~np.isnan(excess)
            if is_known.any():
                limits.append(self._limit(i, data.x[is_known], _bilog(excess[is_known])))
        return limits

    def _failures(self, x: Floats, labels: Floats) -> Failures:
        chosen = subset_of_both(labels, _MOST_POINTS)
        features = Features(self._cube, x[chosen])
        theta = self._failure_chains.theta(x, labels)
        return Failures(features, theta, x[chosen], labels[chosen], share_of(labels))

    def _limit(self, which: int, x: Floats, values: Floats) -> Score:
        """Return the model of *values* that have to stay at or below 0; far from all data it knows their mean."""
        if which not in self._limit_chains:
            updated = partial(chains.samples, self._cube, self._seed, _N_LIMIT_SETS, standardised)
            self._limit_chains[which] = Chains(updated)
        output = standardised(values)
        chosen = subset(values, _MOST_POINTS)
        posterior = self._posterior(self._limit_chains[which], Curves(x, values), output, chosen)
        bound = float(output(np.zeros(1))[0])
        return lambda points: log_probability(*posterior(points), bound)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is believed of all points, to compare some of them and to find others; made by :meth:`Proposer.view`.

    Attributes:
        score: (m, d) points -> (m,) how promising they are at the highest fidelity; what they cost is not in it.
    """

    _cube: Cube
    _is_new: Callable[[Floats], Bools]
    _posterior: Posterior
    _output: Output
    _limits: list[Score]
    score: Score
    _rough: Score
    _good: Floats
    _seen: tuple[float, float]

    def proposed(self, rng: np.random.Generator) -> tuple[Floats, Belief]:
        """Return the most promising new point found, (d,), and what is believed of it; its score is -inf if none is."""
        point, value = maximised(self.score, self._rough, self._cube, self._is_new, self._good, rng)
        return point, self.belief(point, value)

    def means(self, x: Floats) -> Floats:
        """Return what *x*, (m, d), are expected to come to at the highest fidelity, on the scale that is modelled."""
        found: Floats = self._posterior(x)[0].mean(axis=0)
        return found

    def belief(self, point: Floats, score: float) -> Belief:
        """Return what is believed of *point*, (d,), which has this *score*."""
        p_well = float(np.exp(sum(limit(point[None])[0] for limit in self._limits))) if self._limits else None
        mean, var = self._posterior(point[None])
        middle, std = float(mean.mean()), float(np.sqrt(var.mean() + mean.var()))
        # The inverse of the transformation runs off to infinity not far beyond the values that have been seen.
        low, high = self._seen
        least, most = low - (high - low), high + (high - low)
        values = np.clip(self._output.inverse(np.array([middle - std, middle, middle + std])), least, most)
        below, median, above = values.tolist()
        return Belief(median, above / 2 - below / 2, score, p_well)


def _bilog(excess: Floats) -> Floats:
    """Return *excess*, (n,), in its own unit and with its large values made small; its signs stay.

    Source: Eriksson & Poloczek, Scalable Constrained Bayesian Optimization, AISTATS 2021, section 3.
    """
    size = np.abs(excess)
    finite = size[np.isfinite(size) & (size > 0)]
    unit = np.percentile(finite, 50) if len(finite) else 1.0
    with np.errstate(over="ignore"):
        v = np.clip(excess / unit, -_MOST_EXCESS, _MOST_EXCESS)
    found: Floats = np.sign(v) * np.log1p(np.abs(v))
    return found
