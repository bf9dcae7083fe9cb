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

from whet.algorithms.cube import Bools, Cube, Floats
from whet.algorithms.gp import chains, failures
from whet.algorithms.gp.acquisition import ACQUISITIONS, log_probability
from whet.algorithms.gp.chains import Chains
from whet.algorithms.gp.failures import Failures, share_of
from whet.algorithms.gp.kernel import Features, hyper_of
from whet.algorithms.gp.output import Output, fitted, standardised
from whet.algorithms.gp.posterior import Posterior
from whet.algorithms.gp.subset import subset, subset_of_both
from whet.algorithms.gp.thompson import drawn_function
from whet.algorithms.maximise import Score, maximised

NAMES = (*ACQUISITIONS, "ts")  # of what makes a point promising

_N_GOOD = 10  # of the best trials, around which to look
_MOST_POINTS = 128  # that a model is fitted to
_POINTS_TIMES_SETS = 480  # what a suggestion may cost: with more points fewer hyperparameter sets are averaged
_N_SETS, _N_LIMIT_SETS = 8, 4  # of the model of the objective, of others
_FEWEST_SETS = 3
# A failure says nothing of the objective, so no promise makes up for one that is likely: points that go well with less
# than so much of the probability of those that did come after all others, the likelier the better.
_LEAST_P, _UNWISE = 0.5, 1e3
_MOST_PENDING = 64  # points that are imagined, the last ones
_N_ROUGH_SETS = 2
_MOST_EXCESS = 1e9  # typical violations of a constraint: what is worse, infinite say, counts as that


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What is known.

    Attributes:
        x: (n, d) points.
        y: (n,) their values, to be minimised; NaN where they failed.
        excess: (n, c) by how much each constraint is broken, at most 0 where it is met; NaN where unknown.
        pending: (p, d) points that are being tried.
        is_new: tells which of the (m, d) points nobody has been given.
    """

    x: Floats
    y: Floats
    excess: Floats
    pending: Floats
    is_new: Callable[[Floats], Bools]


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
        self._failure_chains = Chains(partial(failures.samples, cube, seed, _N_LIMIT_SETS))
        self._limit_chains: dict[int, Chains] = {}

    def propose(self, data: Data, rng: np.random.Generator) -> tuple[Floats, Belief]:
        """Return a point, (d,), and what is believed of it; two points at least must have a value."""
        has_failed = np.isnan(data.y)
        has_value = ~has_failed
        x, y = data.x[has_value], data.y[has_value]
        output = fitted(y)
        posterior = self._posterior(self._chains, x, y, output)
        limits = self._limits(data)
        least_log_p = np.log(_LEAST_P) + np.median(limits[0](x)) if has_failed.any() else -np.inf
        meets = (data.excess[has_value] <= 0).all(axis=1)
        # Until something meets the constraints, that is what is looked for.
        best = np.full((1, 1), output(y[meets]).min()) if meets.any() else None
        if len(data.pending):
            posterior = posterior.imagining(data.pending[-_MOST_PENDING:], rng)
            best = None if best is None else np.minimum(best, posterior.lowest(min(len(data.pending), _MOST_PENDING)))

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
        order = np.lexsort((y, ~meets))
        point, value = maximised(score, rough, self._cube, data.is_new, x[order[:_N_GOOD]], rng)
        p_well = float(np.exp(sum(limit(point[None])[0] for limit in limits))) if limits else None
        return point, _believed(posterior, output, (float(y.min()), float(y.max())), point, value, p_well)

    def _promise(self, posterior: Posterior, best: Floats, rng: np.random.Generator) -> Score:
        if self._acquisition == "ts":
            drawn = drawn_function(posterior, rng)
            return lambda points: -drawn(points)
        acquisition = ACQUISITIONS[self._acquisition]
        return lambda points: acquisition(*posterior(points), best)

    def _posterior(self, chains: Chains, x: Floats, values: Floats, output: Output) -> Posterior:
        theta = chains.theta(x, values)
        chosen = subset(values, _MOST_POINTS)
        theta = theta[: min(len(theta), max(_FEWEST_SETS, round(_POINTS_TIMES_SETS / len(chosen))))]
        features = Features(self._cube, x[chosen])
        return Posterior(features, hyper_of(theta, features), x[chosen], output(values[chosen]))

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
        posterior = self._posterior(self._limit_chains[which], x, values, output)
        bound = float(output(np.zeros(1))[0])
        return lambda points: log_probability(*posterior(points), bound)


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


def _believed(
    posterior: Posterior,
    output: Output,
    seen: tuple[float, float],
    point: Floats,
    score: float,
    p_well: float | None,
) -> Belief:
    mean, var = posterior(point[None])
    middle, std = float(mean.mean()), float(np.sqrt(var.mean() + mean.var()))
    # The inverse of the transformation runs off to infinity not far beyond the values that have been seen.
    least, most = seen[0] - (seen[1] - seen[0]), seen[1] + (seen[1] - seen[0])
    values = np.clip(output.inverse(np.array([middle - std, middle, middle + std])), least, most)
    low, median, high = values.tolist()
    return Belief(median, high / 2 - low / 2, score, p_well)
