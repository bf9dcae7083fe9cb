"""Parameters that change nothing in a search, though it tries several values of them.

Two things tell. A parameter of a class of somebody's own that neither fitting nor scoring reads: most often the class
has used it up in its constructor, and a search sets parameters afterwards. And scores that are the same to the last
bit wherever candidates differ in that parameter only. Neither is an error of the search, so there is a warning.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from whet.sklearn.callers import caller
from whet.sklearn.names import above
from whet.sklearn.reading import may_be_watched, owner_of
from whet.sklearn.spaces import described
from whet.space.plain import value_key

_FEWEST_ANSWERS = 100  # of all equal pairs of candidates together, for that to be no accident
_OF_SCIKIT_LEARN = "_skl", "_sklearn", "_metadata_request", "_callback"  # attributes that estimators get from it


class NoEffectWarning(UserWarning):
    """A parameter of a search changes nothing."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that was fitted and scored.

    Attributes:
        parameters: of the candidate.
        outcomes: of its fits, in the order of the splits, as `whet.sklearn.tasks.Outcome`.
        round: only candidates of the same one are compared: those of others had other resources.
    """

    parameters: Mapping[str, Any]
    outcomes: Sequence[Mapping[str, Any]]
    round: Hashable = None


class Reads:
    """Which parameters no fit of a search has read so far: of classes that are not scikit-learn's, one fit a candidate.

    Args:
        estimator: what is tuned; not changed.
        is_shared: whether fits may be given the first steps of a pipeline fitted, so that only the last is watched.
    """

    def __init__(self, estimator: Any, *, is_shared: bool = False) -> None:
        self._estimator = estimator
        self._last = estimator.steps[-1][0] if is_shared and hasattr(estimator, "steps") else None
        self._may_be_watched: dict[str, bool] = {}
        self._asked: dict[int, tuple[str, ...]] = {}
        self._read: set[str] = set()
        self._unread: dict[str, set[int]] = defaultdict(set)  # the candidates whose fit has not read it

    def names(self, row: int, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what is to be watched in the fit of a candidate that is next: nothing but in its first."""
        if row in self._asked:
            return ()
        names = (name for name in parameters if name not in self._read and self._watchable(name))
        self._asked[row] = tuple(name for name in names if not above(name, parameters))  # part and all may be another
        return self._asked[row]

    def note(self, row: int, unread: Iterable[str] | None) -> None:
        """Note which of its `names` the fit of a candidate has not read; None where that is not known."""
        if unread is None:
            return
        left = set(unread)
        for name in self._asked[row]:
            if name in left:
                self._unread[name].add(row)
            else:
                self._read.add(name)

    def unread(self, tried: Mapping[int, Tried]) -> list[tuple[str, str]]:
        """Return the parameters that were not read in a single one of the candidates *tried*, and why that may be."""
        found = []
        for name, rows in self._unread.items():
            of = {row for row, one in tried.items() if name in one.parameters}
            if name not in self._read and of and of <= rows and _varies(name, [tried[row] for row in of]):
                found.append((name, self._why(name)))
        return found

    def _watchable(self, name: str) -> bool:
        if name not in self._may_be_watched:
            is_hidden = self._last is not None and name.partition("__")[0] != self._last
            self._may_be_watched[name] = not is_hidden and may_be_watched(self._estimator, name)
        return self._may_be_watched[name]

    def _why(self, name: str) -> str:
        part, _ = owner_of(self._estimator, name)
        kind, known = type(part).__name__, part.get_params(deep=False)
        made = [one for one in vars(part) if one not in known and not one.startswith(_OF_SCIKIT_LEARN)]
        if made:
            return (
                f"fitting and scoring {kind} never reads what the search sets. That happens after the constructor has "
                f"run, and that of {kind} has made {' and '.join(made)} by then, from the values before. Let the "
                f"constructor only store its arguments, and make self.{made[0]}_ of them in fit"
            )
        return (
            f"fitting and scoring {kind} never reads what the search sets. Where fit has no use for that, search "
            "without: each value costs all the fits of the others once more"
        )


def without_effect(reads: Reads, tried: Mapping[int, Tried], n_splits: int) -> list[tuple[str, str]]:
    """Return the parameters that changed nothing in a search of the candidates *tried*, by row, and what tells.

    Candidates may have been fitted on fewer than all *n_splits* splits. Those that failed count for nothing.
    """
    came = {row: one for row, one in tried.items() if _scores(one) is not None}
    unread = reads.unread(came)
    known = {name for name, _ in unread}
    whole = [one for one in came.values() if len(one.outcomes) == n_splits]
    return unread + [(name, why) for name, why in of_equal_scores(whole) if name not in known]


def of_equal_scores(tried: Sequence[Tried]) -> list[tuple[str, str]]:
    """Return the parameters whose value made no difference to any score of the candidates *tried*, and how that shows.

    Nothing is returned where it may be an accident: scores that are all the same number, or too few wrong answers, the
    ones that candidates differ in.
    """
    scored = [(one, scores) for one in tried if (scores := _scores(one)) is not None]
    if len({scores for _, scores in scored}) == len(scored):  # as in most searches, and quickly told
        return []
    if _is_one_number(scores for _, scores in scored):
        return []
    keys = _keys([one.parameters for one, _ in scored])
    found = []
    for name in keys[0]:
        pairs = _equal_pairs(name, scored, keys)
        if sum(map(_n_answers, pairs)) >= _FEWEST_ANSWERS:
            what = "the candidates that differ" if len(pairs) > 1 else "the two candidates that differ"
            found.append((name, f"{what} in nothing else have the same scores on every split. One value would do"))
    return found


def warn_of(found: Iterable[tuple[str, str]]) -> None:
    """Warn of parameters that were *found* to change nothing, once for each reason."""
    names: dict[str, list[str]] = {}
    for name, why in found:
        names.setdefault(why, []).append(name)
    for why, those in names.items():
        *first, last = those
        what = f"Parameters {', '.join(first)} and {last} change" if first else f"Parameter {last} changes"
        warnings.warn(f"{what} nothing in this search: {why}.", NoEffectWarning, stacklevel=caller())


def _varies(name: str, tried: Sequence[Tried]) -> bool:
    """Tell whether the candidates have several values of the parameter *name*."""
    return len({key[name] for key in _keys([{name: one.parameters[name]} for one in tried])}) > 1


def _keys(candidates: Sequence[Mapping[str, Any]]) -> list[dict[str, Hashable]]:
    """Return for each of *candidates* what tells the values of its parameters from those of others."""
    space = described(candidates)
    return [{name: value_key(value) for name, value in space.config(one).items()} for one in candidates]


def _scores(one: Tried) -> tuple[Any, ...] | None:
    """Return all scores of a candidate, None if a fit failed or a score is no finite number."""
    scores: list[Any] = []
    for outcome in one.outcomes:
        if outcome["fit_error"] is not None:
            return None
        for kind in ("test_scores", "train_scores"):
            given = outcome.get(kind, {})
            scores += given.items() if isinstance(given, dict) else [("", given)]
    return tuple(scores) if all(isfinite(score) for _, score in scores) else None


def _is_one_number(scored: Iterable[tuple[Any, ...]]) -> bool:
    """Tell whether all scores of a metric are the same in all splits of all candidates."""
    values: dict[str, set[float]] = defaultdict(set)
    for scores in scored:
        for metric, score in scores:
            values[metric].add(score)
    return all(len(those) == 1 for those in values.values())


def _n_answers(one: Tried) -> float:
    """Return how many test samples tell a candidate from others that are much like it.

    Those are the wrong answers, or the right ones where they are fewer, as far as a score says how many there are:
    one from 0 to 1 does for most classifiers. Other scores change with every sample.
    """
    return sum((of["n_test_samples"] * _least_share(of["test_scores"]) for of in one.outcomes), 0.0)


def _least_share(scores: Any) -> float:
    """Return which share of the samples the *scores* of a fit see, that of the metric that sees most."""
    each = scores.values() if isinstance(scores, dict) else [scores]
    return max(float(min(score, 1 - score)) if 0 <= score <= 1 else 1.0 for score in each)


def _equal_pairs(
    name: str, scored: Sequence[tuple[Tried, tuple[Any, ...]]], keys: Sequence[Mapping[str, Hashable]]
) -> list[Tried]:
    """Return one of each pair of candidates that differ only in *name*; none if the scores of any pair do too."""
    alike: dict[Hashable, tuple[Any, ...]] = {}
    values: dict[Hashable, set[Hashable]] = defaultdict(set)
    pairs = []
    for (one, scores), key in zip(scored, keys, strict=True):
        if name not in one.parameters:
            continue
        others = one.round, tuple((other, value) for other, value in key.items() if other != name)
        if alike.setdefault(others, scores) != scores:
            return []
        if values[others] and key[name] not in values[others]:
            pairs.append(one)
        values[others].add(key[name])
    return pairs
