"""How much of the winner's score is luck: the best of many candidates is the best in part because its folds were kind.

Notation:
    n       candidates, each scored on all K splits
    score   the mean of the winner, the candidate with the highest mean
    corrected   what the candidates that win on one half of the splits score on the other half, the mean over all ways
        to halve them

``score - corrected`` estimates the selection bias. The choice and its score do not share splits, so nothing is won by
chance twice. What is estimated is a winner on half of the splits: where few of many candidates are good, that is a bit
less good than the one on all of them. Splits share samples, through their training parts and, where cross-validation is
repeated, test parts: a candidate that suits this one sample suits all splits of it, which no look at splits can show.
So the estimate is of one part of the optimism; `nested_cv` measures all of it, and costs as many fits as it has folds.

Compared with, in simulations where the winner's true score is known (10 to 500 candidates, 3, 5 and 10 splits; all
alike, few good ones, a clear winner, a range, correlated errors, a smooth curve, accuracies of 30 samples). For 60
alike, bias and root mean square error in standard deviations of one split's score:

    ===========================================================  ================  =================
    estimate of the winner's score                               5 splits          10 splits
    ===========================================================  ================  =================
    its mean                                                     +1.06, 1.17       +0.71, 0.79
    choose on all splits but one, score on that one              +0.00, 0.79       -0.03, 0.62
    Tibshirani and Tibshirani (2009, eq. 2)                      -0.21, 0.62       -0.86, 0.97
    choose on a bootstrap sample of splits, score on the others  -0.00, 0.60       -0.03, 0.39
    choose on half of the splits, score on the other half        -0.01, 0.60       -0.03, 0.36
    ===========================================================  ================  =================

Halves are as good as the bootstrap (Tsamardinos, Greasidou and Borboudakis, Machine Learning 107, 2018, who resample
predictions), which is random; leaving out one split is noisier, and the second one corrects too much the more splits
there are. Of few candidates that are clearly different none is better than the plain mean.

References:
    Tibshirani and Tibshirani, A bias correction for the minimum error rate in cross-validation, Annals of Applied
    Statistics 3(2), 2009. Cawley and Talbot, On over-fitting in model selection and subsequent selection bias in
    performance evaluation, Journal of Machine Learning Research 11, 2010.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from whet.sklearn.callers import caller
from whet.sklearn.choosing import Results, scored

_MOST_BLOCKS = 10  # of splits, which go to one half together; 252 ways to halve them
_FEWEST_CANDIDATES = 10
_FEWEST_SPLITS = 3
_CAUTION = 3.0  # more for fewer splits, whose standard errors are chance themselves


class SelectionBiasWarning(UserWarning):
    """The winner's score says more of how many candidates there were than of how good it is."""


@dataclass(frozen=True, slots=True)
class SelectionBias:
    """How optimistic the winner's score is.

    Attributes:
        score: the mean test score of the winner.
        corrected: what is to be expected of it, as far as the splits show.
        optimism: the difference; 0 where the same one wins on all halves, and otherwise above 0 but for chance.
        standard_error: of the score, as splits show it: the winner's, or that of the better half of the candidates
            together where it is larger, since a few splits may agree by chance.
        n_candidates: that were scored on all splits.
        n_splits: that they were scored on.
    """

    score: float
    corrected: float
    optimism: float
    standard_error: float
    n_candidates: int
    n_splits: int

    @property
    def is_large(self) -> bool:
        """Whether the optimism is worth a warning: more than the standard error, and for few splits much more.

        In simulations with a clear winner, or whose candidates have errors in common as neighbours on a grid do, that
        is so in 1 of 100 searches; with 60 candidates that are alike, in 10, 31 and 81 of 100 on 3, 5 and 10 splits.
        """
        if self.n_candidates < _FEWEST_CANDIDATES or self.n_splits < _FEWEST_SPLITS:
            return False
        factor = 1 + _CAUTION / (min(self.n_splits, _MOST_BLOCKS) - 1)
        return self.optimism > factor * self.standard_error


def selection_bias(results: Results, metric: str = "score") -> SelectionBias:
    """Return how optimistic the winner's score is, from the scores of all candidates on all splits.

    Candidates that were not scored on all splits, or with something other than finite numbers, are left out, and of
    successive halving all but the last iteration, with a scheduler all that had less than the most. Candidates that a
    search chose by looking at scores, or stopped, hide a part of the optimism.

    Args:
        results: ``cv_results_`` of a search.
        metric: its name there, ``"score"`` where there is only one; scores are maximized.

    Raises:
        ValueError: there is no such metric, only one split, or no candidate that was scored on all of them.
    """
    _, scores = scored(results, metric)
    n, n_splits = scores.shape
    if not n or n_splits < 2:
        raise ValueError(
            f"expected candidates with finite scores on 2 splits or more, and there are {n} on {n_splits}; how much "
            "the choice flatters the score cannot be told from that"
        )
    folds = np.ascontiguousarray(scores.T)
    with np.errstate(over="ignore", invalid="ignore"):  # of scores that are hardly finite nothing can be said
        means = folds.mean(axis=0)
        winner = int(means.argmax())
        optimism = float(np.mean([_luck(folds, winner, chosen_on) for chosen_on in _halves(n_splits)]))
        variances = folds.var(axis=0, ddof=1)
        better = np.argsort(-means, kind="stable")[: (n + 1) // 2]
        variance = max(variances[winner], variances[better].mean())
    score = float(means[winner])
    return SelectionBias(score, score - optimism, optimism, math.sqrt(variance / n_splits), n, n_splits)


def warn_of_selection_bias(results: Results, metric: str = "score") -> None:
    """Warn where the winner's score is clearly optimistic; never of fewer than 10 candidates, or 3 splits.

    *results* and *metric* are as for `selection_bias`.
    """
    rows, scores = scored(results, metric)
    if len(rows) < _FEWEST_CANDIDATES or scores.shape[1] < _FEWEST_SPLITS:
        return
    bias = selection_bias(results, metric)
    if not bias.is_large:
        return
    what = "score" if metric == "score" else metric
    warnings.warn(
        f"The best of {bias.n_candidates} candidates has a mean test {what} of {bias.score:.4g}, which it was chosen "
        f"for. About {bias.corrected:.4g} is to be expected of it: that is what those chosen on half of the "
        f"{bias.n_splits} splits score on the other half. For a figure to report, cross-validate the whole search "
        "(whet.sklearn.nested_cv) or keep a test set; fewer candidates or more splits make the difference smaller.",
        SelectionBiasWarning,
        stacklevel=caller(),
    )


def _halves(n_splits: int) -> NDArray[np.bool_]:
    """Return for each way to halve the splits which of them to choose on; of an odd number that is the larger half.

    Of many splits, neighbours go together in blocks.
    """
    n_blocks = min(n_splits, _MOST_BLOCKS)
    block_of = np.arange(n_splits) * n_blocks // n_splits
    ways = list(combinations(range(n_blocks), n_blocks // 2))
    scored_on = np.zeros((len(ways), n_blocks), dtype=bool)
    scored_on[np.arange(len(ways))[:, None], ways] = True
    return ~scored_on[:, block_of]


def _luck(folds: NDArray[np.float64], winner: int, chosen_on: NDArray[np.bool_]) -> float:
    """Return how much better the *winner* is, on the other splits, than those that are best on the ones chosen on.

    Several are where scores count right answers of few samples. Which of them comes first is no reason to prefer it.
    *folds* are the scores, (n_splits, n).
    """
    means = folds[chosen_on].mean(axis=0)
    best = np.isclose(means, means.max(), rtol=1e-9, atol=0)  # sums of equal scores differ by rounding
    others = folds[~chosen_on].mean(axis=0)
    return float((others[winner] - others[best]).mean())
