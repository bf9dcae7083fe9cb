"""Racing: a candidate is fitted on one split after the other, until it is very unlikely to have the best mean.

All candidates that race are fitted on the same splits before any is judged, so that it does not matter how many fits
run at a time, and in which order they end.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.algorithms.races import chances, unlikely
from whet.sklearn.outcomes import Outcome, score_of, scores_of

_N_FIRST = 2  # splits that all candidates are fitted on: it takes two to see how much scores vary


class Race:
    """Says which fits are needed next, and which candidates are out.

    Candidates may come batch after batch: those of a batch race against each other and the best one before them.

    Attributes:
        ran: (n_candidates, n_splits), which fits were done. Splits are taken in their order.
        scores: of the fits that were done, the larger the better; NaN where a fit failed.
        stopped: candidates that ended before all splits were done, and why.
    """

    def __init__(self, n_splits: int) -> None:
        self.ran = np.zeros((0, n_splits), bool)
        self.scores = np.zeros((0, n_splits))
        self.stopped: dict[int, str] = {}
        self._n_splits = n_splits
        self._n_done = 0  # splits that all that race were fitted on
        self._racing = np.zeros(0, int)
        self._best: int | None = None  # of those that are complete

    def add(self, n: int) -> None:
        """Let *n* more candidates race; they are numbered on from those before."""
        assert not len(self._racing), "those before have not ended"
        self._racing = len(self.ran) + np.arange(n)
        self._n_done = 0
        self.ran = np.pad(self.ran, ((0, n), (0, 0)))
        self.scores = np.pad(self.scores, ((0, n), (0, 0)), constant_values=np.nan)

    def note(self, candidate: int, split: int, score: float) -> None:
        """Take down what a fit was scored with."""
        self.ran[candidate, split] = True
        self.scores[candidate, split] = score

    def next(self) -> list[tuple[int, int]]:
        """Return which (candidate, split) are to be fitted before it is asked again; none where the race is over."""
        assert self.ran[self._racing, : self._n_done].all(), "what was asked for is not done"
        if 0 < self._n_done < self._n_splits:
            self._judge()
        if not len(self._racing) or self._n_done == self._n_splits:
            self._end()
            return []
        is_decided = len(self._racing) == 1 and self._best is None
        first = self._n_done
        self._n_done = self._n_splits if is_decided else min(max(first + 1, _N_FIRST), self._n_splits)
        return [(int(one), split) for split in range(first, self._n_done) for one in self._racing]

    def cut_short(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """End the race where it is; return who was still in it, and the splits that all of these were fitted on.

        In the first round those count that are through with it.
        """
        still, self._racing = self._racing, self._racing[:0]
        is_common: NDArray[np.bool_] = np.logical_and.reduce(self.ran[still])
        if is_common.sum() < _N_FIRST:
            is_common = np.arange(self._n_splits) < self._n_done
            still = still[self.ran[still][:, is_common].all(axis=1)]
        return [(int(one), is_common) for one in still if self._n_done]

    def _judge(self) -> None:
        """Stop those that are unlikely to win; one always goes on where none is complete."""
        after = f"{self._n_done} of {self._n_splits} splits"
        means = _means(self.scores[self._racing, : self._n_done])
        failed = np.isnan(means) | (means == -np.inf)
        if self._best is None and failed.all():
            failed[0] = False
        self._stop(self._racing[failed], f"failed within the first {after}")
        # What is infinitely good goes on without being compared.
        contenders = self._racing[np.isfinite(means[~failed])]
        if self._best is not None:
            contenders = np.append(self._best, contenders)
        if len(contenders) < 2:
            return
        known = np.flatnonzero(np.isfinite(self.scores[:, : self._n_done]).all(axis=1))
        within = np.isin(known, contenders)
        p = chances(self.scores[known, : self._n_done], self._n_splits, within)[within]
        out = known[within][unlikely(p, self._n_done)]
        self._stop(out[out != self._best], f"unlikely to win after {after}")

    def _stop(self, candidates: NDArray[Any], why: str) -> None:
        self._racing = np.setdiff1d(self._racing, candidates)
        self.stopped.update((int(one), why) for one in candidates)

    def _end(self) -> None:
        """See which of all that are complete is the best."""
        complete = self._racing if self._best is None else np.append(self._best, self._racing)
        means = _means(self.scores[complete])
        if np.isfinite(means).any():
            self._best = int(complete[np.argmax(np.where(np.isfinite(means), means, -np.inf))])
        self._racing = self._racing[:0]


def raced(outcome: Outcome, metric: str) -> float:
    """Return the score that a race by *metric* goes by.

    Raises:
        ValueError: a function gave several, and the metric is none of them.
    """
    scores = scores_of(outcome)
    if len(scores) > 1 and metric not in scores:
        raise unnamed_metric(scores)
    return score_of(outcome, metric)


def unnamed_metric(metrics: Iterable[Any]) -> ValueError:
    """Return the error that a race by several *metrics* is."""
    return ValueError(
        "racing=True compares candidates by one metric, and there are several: name the one that counts in refit=, as "
        f"refit={next(iter(metrics))!r}"
    )


def masked(
    formatted: Callable[[], dict[str, Any]],
    ran: NDArray[np.bool_],
    times: Mapping[str, NDArray[np.float64]],
    stopped: Mapping[int, str],
) -> dict[str, Any]:
    """Return ``cv_results_`` of a race: means, deviations and ranks are of the fits that were done.

    Scores of splits are masked where there was no fit. Candidates that were fitted on all splits rank as ever, those
    that were stopped after them: by the number of splits done, then by their mean. Two columns are added,
    ``n_splits_run`` and ``stopped``: why a candidate was, or nothing.

    Args:
        formatted: scikit-learn's results, in which fits that were not done have NaN as if they had failed.
        ran: (n_candidates, n_splits) which fits were done.
        times: ``"fit_time"`` and ``"score_time"`` of the fits, of the same shape.
        stopped: candidates that ended early, and why.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One or more of the .* scores are non-finite", UserWarning)
        results = formatted()
    n_run = ran.sum(axis=1)
    for name, values in times.items():
        _average(results, name, np.ma.array(values, mask=~ran))
    for name in [key.removeprefix("mean_") for key in results if key.startswith(("mean_test_", "mean_train_"))]:
        columns = [f"split{split}_{name}" for split in range(ran.shape[1])]
        scores = np.ma.array([results[column] for column in columns], mask=~ran.T).T
        results.update((column, scores[:, split]) for split, column in enumerate(columns))
        _average(results, name, scores)
        means = results[f"mean_{name}"]
        if not np.isfinite(means).all():
            kind = name.partition("_")[0]
            warnings.warn(f"One or more of the {kind} scores are non-finite: {means}", UserWarning, stacklevel=2)
        if f"rank_{name}" in results:
            results[f"rank_{name}"] = _ranks(means, n_run)
    results["n_splits_run"] = n_run
    results["stopped"] = np.array([stopped.get(number, "") for number in range(len(ran))], dtype=object)
    return results


def _average(results: dict[str, Any], name: str, values: np.ma.MaskedArray[Any, Any]) -> None:
    """Set the mean and the deviation of those rows of *values* of which some are masked."""
    some = np.ma.getmaskarray(values).any(axis=1)
    with np.errstate(invalid="ignore"):  # infinite scores
        for column, of_rows in (f"mean_{name}", values.mean(axis=1)), (f"std_{name}", values.std(axis=1)):
            results[column] = np.where(some, np.ma.filled(of_rows, np.nan), results[column])


def _means(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):  # one of both infinities is no number
        return np.asarray(scores.mean(axis=1))


def _ranks(means: NDArray[np.float64], n_run: NDArray[np.int_]) -> NDArray[np.int32]:
    """Return the rank of each candidate: by the splits done, and then by the mean."""
    # What has no mean is tied with the worst, as for scikit-learn.
    keys = [
        (np.isnan(mean), *((0, 0) if np.isnan(mean) else (-n, -mean))) for mean, n in zip(means, n_run, strict=True)
    ]
    return ranks_of(keys)


def ranks_of(keys: Sequence[Any]) -> NDArray[np.int32]:
    """Return the rank of each of *keys*, from 1 on, the least first; those that are equal share the best of theirs."""
    first: dict[Any, int] = {}
    for place, key in enumerate(sorted(keys), 1):
        first.setdefault(key, place)
    return np.array([first[key] for key in keys], dtype=np.int32)
