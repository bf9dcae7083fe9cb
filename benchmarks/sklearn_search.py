"""whet.sklearn's searches beside scikit-learn's: the same search, the same results, the time that each takes.

python benchmarks/sklearn_search.py [--rounds 9] [--only ridge]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.model_selection as theirs
from measuring import in_turn, show
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import whet.sklearn as ours

Fit = Callable[[], Any]  # a search, fitted


@dataclass(frozen=True)
class Case:
    """A search, and what it is measured against.

    Attributes:
        name, target: what is measured, and what the ratio of times is to be.
        contestants: makes the data, and returns by name what is timed: whet's search first, scikit-learn's second.
    """

    name: str
    target: str
    contestants: Callable[[], dict[str, Fit]]


def ridge() -> dict[str, Fit]:
    """Fits of a millisecond, so that all that a search does besides shows."""
    X, y = load_diabetes(return_X_y=True)
    grid = {"alpha": np.logspace(-4, 4, 1000)}
    return {
        "whet": lambda: ours.GridSearchCV(Ridge(), grid, n_jobs=2).fit(X, y),
        "scikit-learn": lambda: theirs.GridSearchCV(Ridge(), grid, n_jobs=2).fit(X, y),
    }


CASES = {"ridge": Case("Ridge, 1,000 candidates x 5 folds", "<= 1.05", ridge)}


def assert_equal(one: Any, other: Any) -> None:
    """Fail if the results of two searches differ anywhere but in the times."""
    assert one.keys() == other.keys()
    for key, values in one.items():
        if not key.endswith("_time"):
            np.testing.assert_array_equal(np.asarray(values), np.asarray(other[key]), err_msg=key)


def measured(case: Case, rounds: int) -> dict[str, object]:
    """Return the rows of *case*: the median seconds of each contestant, and how they compare."""
    contestants = case.contestants()
    fitted: dict[str, Any] = {}

    def seconds_of(name: str) -> float:
        began = time.perf_counter()
        fitted[name] = contestants[name]()
        return time.perf_counter() - began

    medians = in_turn(rounds, *(lambda name=name: seconds_of(name) for name in contestants))
    for other in fitted.values():
        assert_equal(fitted["whet"].cv_results_, other.cv_results_)
    rows: dict[str, object] = {f"{name}, s": median for name, median in zip(contestants, medians, strict=True)}
    for name, median in list(zip(contestants, medians, strict=True))[1:]:
        rows[f"whet / {name} (target {case.target})"] = medians[0] / median
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=CASES, help="one of the cases")
    options = parser.parse_args()
    for name, case in CASES.items():
        if options.only in (None, name):
            show(f"{case.name}, n_jobs=2, median of {options.rounds}", measured(case, options.rounds))


if __name__ == "__main__":
    main()
