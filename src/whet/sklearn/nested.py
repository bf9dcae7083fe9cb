"""Nested cross-validation: what a search is worth on data that it has not seen, the choice of the winner included."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import cross_validate

from whet.sklearn.choosing import metric_of
from whet.sklearn.optimism import SelectionBiasWarning
from whet.sklearn.tables import column_of, table_of


@dataclass(frozen=True, slots=True, repr=False)
class NestedCV:
    """What came of a search on each outer fold: run on its training part, scored on its test part.

    Attributes:
        scores: of the outer folds, which no choice has seen; NaN where the search failed.
        inner_scores: the ``best_score_`` of each search, which its winner was chosen for; NaN where there is none.
        best_params: of each search; None where it failed.
        is_same_metric: whether the outer and the inner scores are of the same metric.
    """

    scores: tuple[float, ...]
    inner_scores: tuple[float, ...]
    best_params: tuple[dict[str, Any] | None, ...]
    is_same_metric: bool = True

    @property
    def mean(self) -> float:
        """The figure to report: the mean of the outer scores."""
        return float(np.mean(self.scores))

    @property
    def standard_error(self) -> float:
        """Of the mean: sd / sqrt(number of folds); NaN of one fold.

        It takes the folds as independent, which they are not quite, as their training parts overlap.
        """
        n = len(self.scores)
        return float(np.std(self.scores, ddof=1)) / math.sqrt(n) if n > 1 else math.nan

    @property
    def optimism(self) -> float:
        """How much higher the searches' own best scores are, on average; NaN where they are of another metric."""
        return float(np.mean(self.inner_scores)) - self.mean if self.is_same_metric else math.nan

    def to_frame(self) -> Any:
        """Return a row for each outer fold: ``fold``, ``score``, ``inner_score``, and its winner's ``param_…``.

        A ``pandas.DataFrame``, or without pandas a dict of columns, each a list. Where a winner does not set a
        parameter it has None.
        """
        columns = {
            "fold": np.arange(len(self.scores)),
            "score": np.array(self.scores, dtype=np.float64),
            "inner_score": np.array(self.inner_scores, dtype=np.float64),
        }
        for name in dict.fromkeys(name for winner in self.best_params for name in winner or {}):
            columns[f"param_{name}"] = column_of([(winner or {}).get(name) for winner in self.best_params])
        return table_of(columns)

    def __repr__(self) -> str:
        n = len(self.scores)
        lines = [f"NestedCV: {self.mean:.4g} ± {self.standard_error:.2g} (mean and standard error of {n} folds)"]
        if math.isfinite(self.optimism):
            than = "higher" if self.optimism >= 0 else "lower"
            lines.append(f"the searches' own best scores are {abs(self.optimism):.2g} {than} on average")
        for fold, (score, inner, winner) in enumerate(
            zip(self.scores, self.inner_scores, self.best_params, strict=True)
        ):
            lines.append(f"  fold {fold}: {score:.4g}, its search's best score {inner:.4g}, with {winner}")
        return "\n".join(lines)


def nested_cv(
    search: Any,
    X: Any,
    y: Any = None,
    *,
    cv: Any = 5,
    groups: Any = None,
    params: Mapping[str, Any] | None = None,
    scoring: Any = None,
    n_jobs: int | None = None,
    error_score: Any = np.nan,
) -> NestedCV:
    """Run *search* on the training part of each outer fold, and score its winner on the test part.

    Within a fold the search makes its own splits and its own choice, so the scores are honest: no sample that a winner
    is scored on had a part in choosing or fitting it. The winners may differ; what is judged is the way to find one.
    Afterwards fit *search* on all the data. It is not changed here.

    Searches do not warn here that their scores are optimistic, as this is the remedy.

    Args:
        search: of whet, of scikit-learn, or any other that sets ``best_params_`` and can score with its winner.
        X: all samples.
        y: their targets.
        cv: the outer splits: how many, a splitter of scikit-learn, or the splits.
        groups: for the outer splitter, as in scikit-learn's ``cross_validate``.
        params: for each search's ``fit`` (inner groups, too, as ``params={"groups": …}``), or, with metadata routing
            enabled, for all that ask for them.
        scoring: of the outer folds, one metric; None takes the search's ``score``, that is, its own metric, with
            several the one that its ``refit`` names.
        n_jobs: outer folds at a time. The search may have its own ``n_jobs``.
        error_score: the score where a search fails; ``"raise"`` raises.

    Raises:
        ValueError: the search cannot be scored, or is kept in a store.
        TypeError: it is no search.
    """
    _check(search, scoring)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionBiasWarning)
        found = cross_validate(
            search,
            X,
            y,
            cv=cv,
            groups=groups,
            params=None if params is None else dict(params),
            scoring=scoring,
            n_jobs=n_jobs,
            return_estimator=True,
            error_score=error_score,
        )
    if "test_score" not in found:
        raise ValueError("scoring returned several metrics; nested_cv takes one, a number")
    searches = found["estimator"]
    winners = tuple(getattr(fitted, "best_params_", None) for fitted in searches)
    if all(winner is None for winner in winners):
        raise TypeError(
            f"expected a search, such as GridSearchCV(…), which has best_params_ once it is fitted; got "
            f"{type(search).__name__}. For an estimator without a search use sklearn.model_selection.cross_validate"
        )
    return NestedCV(
        tuple(map(float, found["test_score"])),
        tuple(map(_inner_score, searches)),
        tuple(None if winner is None else dict(winner) for winner in winners),
        _is_same(search, scoring),
    )


def _check(search: Any, scoring: Any) -> None:
    """See that *search* can be scored on each outer fold.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(scoring, list | tuple | set | Mapping):
        raise ValueError(f"scoring={scoring!r}: nested_cv takes one metric; call it once for each")  # noqa: TRY004
    refit = getattr(search, "refit", True)
    if not refit:
        raise ValueError(
            f"refit={refit!r}: nested_cv scores the winner of each fold, so it has to be refitted; use True"
        )
    own = getattr(search, "scoring", None)
    if scoring is None and callable(refit) and isinstance(own, list | tuple | set | Mapping):
        raise ValueError("the search has several metrics, and its refit names none: say with scoring= which to use")
    if hasattr(search, "store") and (search.store, getattr(search, "name", None)) != (None, None):
        raise ValueError(
            "the search is kept in a store (store=, name=), and nested_cv runs another one for each outer fold, which "
            "would all have its name there. Use search.set_params(store=None, name=None, resume=False)"
        )


def _inner_score(fitted: Any) -> float:
    """Return the score that the winner was chosen for, NaN if there is none."""
    score = getattr(fitted, "best_score_", None)
    if score is None:  # where a function has chosen
        means = getattr(fitted, "cv_results_", {}).get("mean_test_score")
        score = None if means is None else means[fitted.best_index_]
    return math.nan if score is None else float(score)


def _is_same(search: Any, scoring: Any) -> bool:
    """Tell whether *scoring* is what *search* chooses by."""
    if scoring is None:
        return True
    own = getattr(search, "scoring", None)
    counts = metric_of(getattr(search, "refit", True))
    if isinstance(own, Mapping):
        own = own.get(counts)
    elif isinstance(own, list | tuple | set):
        own = counts
    return own is scoring or (isinstance(scoring, str) and own == scoring)
