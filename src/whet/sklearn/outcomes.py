"""What a fit came to: its scores by the names of their metrics, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.space.plain import plain, value_from_json, value_to_json

Outcome = dict[str, Any]  # as scikit-learn's `_fit_and_score` gives it
SINGLE = "score"  # what scikit-learn calls the only metric
_MOST_OF_ERROR = 10_000  # characters, at either end
_BY_NAME = ("test_scores", "train_scores")  # of several metrics these are dicts


def scores_of(outcome: Outcome) -> Mapping[str, float]:
    """Return the test scores by name; a failed fit has one number for all, whatever they are called."""
    scores = outcome["test_scores"]
    if not isinstance(scores, dict):
        return {}
    return {metric_name(name): of for name, of in scores.items()}


def score_of(outcome: Outcome, name: str) -> float:
    """Return the score of that *name*; where no metric is called so, the first one, or what there is for all."""
    if not isinstance(outcome["test_scores"], dict):
        return float(outcome["test_scores"])
    scores = scores_of(outcome)
    return float(scores[name] if name in scores else next(iter(scores.values()), np.nan))


def metric_name(name: Any) -> str:
    """Return how a study calls the metric that scikit-learn calls *name*."""
    return name if isinstance(name, str) and name.strip() else f"score {name}"


def has_more_time(outcome: Outcome, fit_timeout: float | None) -> bool:
    """Tell whether this is the outcome of a fit that took too long, and might have had more time with *fit_timeout*."""
    is_late = (outcome["fit_error"] or "").startswith("FitTimeout: ")
    return is_late and (fit_timeout is None or fit_timeout > outcome["fit_time"])


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Return what :func:`from_json` reads; what several metrics were scored is a list of pairs, by any names.

    The error of a fit that has failed may have all the data in it: of a long one the beginning and the end are kept.
    """
    kept = {
        name: [[value_to_json(plain(metric)), plain(score)] for metric, score in value.items()]
        if isinstance(value, dict)
        else plain(value)
        for name, value in outcome.items()
    }
    error = kept.get("fit_error")
    if error is not None and len(error) > 2 * _MOST_OF_ERROR:
        kept["fit_error"] = f"{error[:_MOST_OF_ERROR]}…{error[-_MOST_OF_ERROR:]}"
    return kept


def from_json(data: Any) -> Outcome | None:
    """Return the outcome that :func:`to_json` was given, ``None`` where *data* is something else."""
    if not isinstance(data, Mapping) or "test_scores" not in data:
        return None
    outcome = dict(data)
    for name in _BY_NAME:
        if isinstance(outcome.get(name), list):
            outcome[name] = {value_from_json(metric): score for metric, score in outcome[name]}
    return outcome
