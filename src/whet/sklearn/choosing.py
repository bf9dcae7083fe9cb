"""The choice ``refit="one_standard_error"``: the simplest candidate that is as good as the best one, for all we know.

Which score of cross-validation is the highest is in part luck. A candidate within one standard error of it is hardly
worse, and the simplest of those overfits least (Breiman, Friedman, Olshen and Stone, Classification and Regression
Trees, 1984, section 3.4.3; Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, section 7.10).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.space.plain import plain, shortened

Results = Mapping[str, Any]  # ``cv_results_``
Complexity = str | Sequence[str] | Callable[[dict[str, Any]], Any]

RULE = "one_standard_error"
_RULE_OF = re.compile(rf"{RULE}(?:\((?P<metric>.*)\))?", re.DOTALL)
_HOW = (
    'the name of a parameter of which more is more complex ("svc__C"), or with a minus, less ("-ridge__alpha"), a list '
    "of such names, the first one counting most, or a function that takes the parameters and returns a number"
)


@dataclass(frozen=True, slots=True)
class OneStandardError:
    """The choice of the simplest candidate within one standard error of the best.

    Attributes:
        metric: what is looked at; None where there is only one.
        complexity: of candidates; see `one_standard_error`.
    """

    metric: str | None
    complexity: Complexity

    def check_metric(self, metrics: Collection[Any]) -> None:
        """See that the rule names one of several *metrics*.

        Raises:
            ValueError: it does not.
        """
        if self.metric not in metrics:
            known = ", ".join(map(str, metrics))
            which = "names no metric" if self.metric is None else f"names a metric that is not scored, {self.metric!r}"
            some = next(iter(metrics), "accuracy")
            raise ValueError(f'refit {which}: with several, say which one counts: refit="{RULE}({some})" ({known})')

    def check(self, candidates: Sequence[Mapping[str, Any]], n_splits: int) -> None:
        """See that the rule can be used on *candidates*, before they are fitted.

        Raises:
            ValueError: it cannot; the message says why.
        """
        _check_n_splits(n_splits)
        for parameters in candidates:
            _complexity_of(parameters, self.complexity)

    def index(self, results: Results, metric: str) -> int:
        """Return the number of the candidate that is chosen by *metric*, as ``cv_results_`` calls it."""
        return one_standard_error(results, metric, self.complexity)


def chosen_by(refit: Any, complexity: Any = None, scoring: Any = None) -> OneStandardError | None:
    """Return the rule that the parameters of a search ask for, None if *refit* is one of scikit-learn's.

    Args:
        refit: ``"one_standard_error"``, or with several metrics ``"one_standard_error(roc_auc)"``; or anything else.
        complexity: see `one_standard_error`.
        scoring: of the search. Where it is one metric, *refit* may not name another.

    Raises:
        ValueError: one of *refit* and *complexity* is given without the other, or they make no sense.
    """
    named = _RULE_OF.fullmatch(refit) if isinstance(refit, str) else None
    if named is None:
        if isinstance(refit, str) and refit.startswith(RULE):
            raise ValueError(f'refit={refit!r}: expected "{RULE}" or, with the name of a metric, "{RULE}(roc_auc)"')
        if complexity is not None:
            raise ValueError(
                f'complexity is for refit="{RULE}", and refit is {shortened(repr(refit))}; set both or none'
            )
        return None
    if complexity is None:
        raise ValueError(f'refit="{RULE}" takes the simplest candidate: say with complexity= which is simpler, {_HOW}')
    if not callable(complexity):
        names = [complexity] if isinstance(complexity, str) else complexity
        is_list = isinstance(names, list | tuple) and len(names) > 0
        if not is_list or not all(isinstance(name, str) and name.removeprefix("-") for name in names):
            raise ValueError(f"complexity={shortened(repr(complexity))}: expected {_HOW}")
    metric = named["metric"]
    if metric is not None and (scoring is None or isinstance(scoring, str)) and metric != scoring:
        what = "the estimator's own score" if scoring is None else repr(scoring)
        raise ValueError(f'refit={refit!r}, but the only metric is {what}; use refit="{RULE}", or add it to scoring')
    return OneStandardError(metric, complexity)


def metric_of(refit: Any) -> Any:
    """Return what *refit* would be without the rule: ``"roc_auc"`` of ``"one_standard_error(roc_auc)"``, else True."""
    named = _RULE_OF.fullmatch(refit) if isinstance(refit, str) else None
    return refit if named is None else named["metric"] or True


def one_standard_error(results: Results, metric: str, complexity: Complexity) -> int:
    """Return the number of the simplest candidate whose mean score is within one standard error of the best.

    That is the standard error of the best one's mean, sd / sqrt(n_splits), with n_splits - 1 degrees of freedom. Of
    candidates that are as simple, the one with the higher score is chosen, of those the first one. Only candidates
    that `scored` has can be chosen. Where there are none, as all failed or were cut short, the first in rank is.

    Args:
        results: ``cv_results_``.
        metric: its name there, ``"score"`` where there is only one; scores are maximized.
        complexity: the name of a parameter that makes a candidate the more complex the greater it is, of ``"-name"``
            the smaller it is; a list of such names, the first one counting most; or a function that takes the
            parameters and returns a number. None as a value, a depth without limit, say, is greater than all others.

    Raises:
        ValueError: a candidate lacks the parameter, or has something that is no number there; or there is one split.
    """
    rows, scores = scored(results, metric)
    if not rows.size:
        counting = _counting(results)
        return int(counting[np.asarray(results[f"rank_test_{metric}"])[counting].argmin()])
    n_splits = scores.shape[1]
    _check_n_splits(n_splits)
    with np.errstate(over="ignore", invalid="ignore"):  # of scores that are hardly finite
        means = scores.mean(axis=1)
        best = int(means.argmax())
        least = means[best] - scores[best].std(ddof=1) / math.sqrt(n_splits)
    near = [(int(row), float(mean)) for row, mean in zip(rows, means, strict=True) if mean >= least]
    return min(near, key=lambda one: (_complexity_of(results["params"][one[0]], complexity), -one[1], one[0]))[0]


def scored(results: Results, metric: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the numbers of the n candidates that have a finite score on all splits, and the scores, (n, n_splits).

    Of successive halving that is only those of the last iteration, and where a scheduler gave candidates unlike
    amounts of something, those of them that had most.

    Raises:
        ValueError: there is no such *metric*.
    """
    folds: list[NDArray[np.float64]] = []
    while (name := f"split{len(folds)}_test_{metric}") in results:
        folds.append(np.ma.filled(np.ma.asarray(results[name], dtype=np.float64), np.nan))
    if not folds:
        known = [name.removeprefix("mean_test_") for name in results if name.startswith("mean_test_")]
        raise ValueError(f"cv_results_ has no metric {metric!r}; it has: {', '.join(known) or 'none'}")
    scores = np.column_stack(folds)
    rows = _counting(results)
    rows = rows[np.isfinite(scores[rows]).all(axis=1)]
    if "n_resources" in results and rows.size:
        amounts = np.asarray(results["n_resources"])[rows]
        rows = rows[amounts == amounts.max()]
    return rows, scores[rows]


def _counting(results: Results) -> NDArray[np.intp]:
    """Return the numbers of the candidates to choose from: with successive halving, those of the last iteration."""
    if "iter" in results and "n_resources" in results:
        iterations = np.asarray(results["iter"])
        return np.flatnonzero(iterations == iterations.max())
    return np.arange(len(results["params"]))


def _check_n_splits(n_splits: int) -> None:
    if n_splits < 2:
        raise ValueError(f'refit="{RULE}": one split has no standard error; let cv make 2 or more, better 5')


def _complexity_of(parameters: Mapping[str, Any], complexity: Complexity) -> tuple[Any, ...]:
    """Return what is the greater the more complex a candidate is."""
    if callable(complexity):
        number = plain(complexity(dict(parameters)))
        if not _is_ordered(number):
            of = shortened(repr(dict(parameters)))
            raise ValueError(f"complexity has to return a number, and returned {shortened(repr(number))} for {of}")
        return (number,)
    names = [complexity] if isinstance(complexity, str) else complexity
    return tuple(_greatness(parameters, name.removeprefix("-"), is_turned=name.startswith("-")) for name in names)


def _greatness(parameters: Mapping[str, Any], name: str, *, is_turned: bool) -> Any:
    """Return the value of the parameter *name* as a number, or its negative if *is_turned*."""
    if name not in parameters:
        has = ", ".join(map(repr, parameters)) or "none"
        raise ValueError(
            f"complexity: the candidate {shortened(repr(dict(parameters)))} has no parameter {name!r} (it has: {has}). "
            "Name one that all candidates have, or give a function that takes the parameters and returns a number"
        )
    value = math.inf if parameters[name] is None else plain(parameters[name])
    if not _is_ordered(value):
        raise ValueError(
            f"complexity: the parameter {name!r} is {shortened(repr(value))} in a candidate, and what is no number is "
            "neither simple nor complex by itself. Give a function instead, one that takes the parameters and returns "
            f"a number, such as ORDER.index(parameters[{name!r}])"
        )
    return -value if is_turned else value


def _is_ordered(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and not math.isnan(value))
