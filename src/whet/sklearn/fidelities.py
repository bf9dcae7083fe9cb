"""What a candidate of `SearchCV` gets little of at first: training samples, folds, or an integer parameter.

Each kind says which fits bring a candidate to its next step, and where it can be cut short on the way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.multiclass import type_of_target

from whet.algorithms.brackets import levels
from whet.core.problem import Fidelity
from whet.core.protocols import Scheduler
from whet.errors import UsageError
from whet.schedulers.fifo import Fifo
from whet.schedulers.freeze_thaw import FreezeThaw
from whet.schedulers.racing import Racing
from whet.schedulers.rounds import Rounds
from whet.schedulers.together import parts_of
from whet.sklearn.evaluation import Fit
from whet.space.plain import shortened

SAMPLES, FOLDS = "samples", "folds"
_ETA = 3  # from one level to the next, where the scheduler has no say in it
_MOST_TIMES = 27  # the data are more than the lowest level of samples, unless somebody asks for more

Splits = Sequence[tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Budgets in training samples; all splits at a time, each with the same share of its training part.

    What a candidate is trained on at one level it is also trained on at the next, as is any other candidate. Test parts
    are whole. A level is fitted anew, whatever is known of the one below.

    Attributes:
        fidelity: its highest budget is at most `n_most`.
        stops: the budgets at which a trial reports that may be stopped on its way.
        n_most: samples of the largest training part.
        orders: by split, the places in the training part, first those that the lowest budgets have.
    """

    fidelity: Fidelity
    stops: tuple[int, ...]
    n_most: int
    orders: tuple[NDArray[np.intp], ...]

    def fits(self, row: int, parameters: Mapping[str, Any], after: int, step: int, splits: Splits) -> list[Fit]:
        """Return the fits that bring the candidate of *row* from the step *after* to *step*."""
        del after
        fits = []
        for split, (train, test) in enumerate(splits):
            some = train if step >= self.n_most else self._some(split, step, train)
            fits.append(Fit(row, parameters, split, some, test, f"split {split}, {SAMPLES} {step}"))
        return fits

    def _some(self, split: int, step: int, train: Any) -> NDArray[Any]:
        order = self.orders[split]
        n = min(len(order), max(1, round(len(order) * step / self.n_most)))
        return as_indices(train)[np.sort(order[:n])]


@dataclass(frozen=True, slots=True)
class Folds:
    """Budgets in folds, one at a time; a trial that goes on has those before it already.

    Attributes:
        fidelity: its highest budget is the number of splits.
        stops: every fold, as one costs as much whether anybody looks or not.
    """

    fidelity: Fidelity
    stops: tuple[int, ...]

    def fits(self, row: int, parameters: Mapping[str, Any], after: int, step: int, splits: Splits) -> list[Fit]:
        """Return the fits that bring the candidate of *row* from the step *after* to *step*."""
        return [Fit(row, parameters, split, *splits[split], f"split {split}") for split in range(after, step)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Budgets in an integer parameter of the estimator, such as ``n_estimators``; all splits at a time, fitted anew.

    Attributes:
        fidelity: is called as the parameter is.
        stops: the budgets at which a trial reports that may be stopped on its way.
    """

    fidelity: Fidelity
    stops: tuple[int, ...]

    def fits(self, row: int, parameters: Mapping[str, Any], after: int, step: int, splits: Splits) -> list[Fit]:
        """Return the fits that bring the candidate of *row* from the step *after* to *step*."""
        del after
        name = self.fidelity.name
        more = {**parameters, name: step}
        return [
            Fit(row, more, split, train, test, f"split {split}, {name} {step}")
            for split, (train, test) in enumerate(splits)
        ]


Axis = Samples | Folds | Parameter


def next_step(axis: Axis, reached: int, budget: float | None) -> int:
    """Return the step after *reached* of a trial that may go as far as *budget*."""
    end = axis.fidelity.high if budget is None else budget
    later = axis.stops[bisect_right(axis.stops, reached) :]
    return max(reached + 1, round(min(end, later[0]) if later else end))


def compares_folds(scheduler: Scheduler) -> bool:
    """Tell whether *scheduler* compares what trials come to fold by fold, and not what they have come to so far."""
    return any(isinstance(part, Racing) for part in parts_of(scheduler))


def _name_and_bounds(given: Any, scheduler: Scheduler) -> tuple[str, tuple[int, int] | None]:
    """Return what *given*, the parameter of a search, says: a name, and the bounds if it has any.

    Raises:
        UsageError: it makes no sense, or none with that *scheduler*.
    """
    is_race = compares_folds(scheduler)
    if given is None:
        return (FOLDS if is_race else SAMPLES), None
    if isinstance(given, Fidelity):
        given = {given.name: (given.low, given.high)}
    name, bounds = given, None
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise UsageError(f"fidelity: expected one name, as in {{'n_estimators': (10, 300)}}, got {given!r}")
        ((name, both),) = given.items()
        bounds = _bounds(name, both)
    elif given not in (SAMPLES, FOLDS):
        raise UsageError(
            f"fidelity: expected '{SAMPLES}', '{FOLDS}' or a parameter of the estimator with its bounds, as in "
            f"{{'n_estimators': (10, 300)}}, got {given!r}"
        )
    if is_race and name != FOLDS:
        raise UsageError(
            f"the scheduler racing compares candidates fold by fold, so fidelity is '{FOLDS}', which it is by default; "
            f"got {shortened(repr(given))}"
        )
    return str(name), bounds


def _bounds(name: Any, both: Any) -> tuple[int, int]:
    try:
        low, high = both
    except (TypeError, ValueError):
        low = high = None
    are_whole = all(isinstance(bound, Integral) and not isinstance(bound, bool) for bound in (low, high))
    if not are_whole or not 0 < low < high:
        raise UsageError(
            f"fidelity: {name} needs two whole numbers, the lower one first and at least 1, as in (10, 300), got "
            f"{shortened(repr(both))}"
        )
    return int(low), int(high)


def fidelity_of(given: Any, scheduler: Scheduler, estimator: Any, splits: Splits, y: Any) -> Fidelity:
    """Return the fidelity that *given*, the parameter of a search, describes.

    Args:
        given: ``"samples"``, ``"folds"``, or one of these or the name of a parameter with bounds.
        scheduler: of the search; what it compares candidates on is the default.
        estimator: of the search.
        splits: pairs of training and test part.
        y: the targets, or None.

    Raises:
        UsageError: it makes no sense, or none with that scheduler or that data.
    """
    name, bounds = _name_and_bounds(given, scheduler)
    if name == FOLDS:
        if len(splits) < 2:
            raise UsageError(f"fidelity: with folds there have to be two or more, and cv has {len(splits)}")
        if bounds is not None and bounds[1] != len(splits):
            raise UsageError(f"fidelity: the highest number of folds is that of cv, {len(splits)}, got {bounds[1]}")
        return Fidelity(FOLDS, *bounds or (1, len(splits)))
    if name == SAMPLES:
        n_most = _n_most(splits)
        if n_most < 2:
            raise UsageError(f"fidelity: of samples there have to be two or more, and cv trains on {n_most}")
        if bounds is not None and bounds[1] > n_most:
            raise UsageError(f"fidelity: at most {n_most:,} samples are there to train on, got {bounds[1]:,}")
        return Fidelity(SAMPLES, *bounds or (_fewest(scheduler, estimator, splits, y), n_most))
    assert bounds is not None, "of a parameter they are always given"
    return Fidelity(name, *bounds)


def axis_of(fidelity: Fidelity, scheduler: Scheduler, estimator: Any, splits: Splits, y: Any, seed: int) -> Axis:
    """Return how *fidelity* is spent; what is drawn for that, is drawn from *seed*."""
    if fidelity.name == FOLDS:
        return Folds(fidelity, tuple(range(1, len(splits) + 1)))
    stops = _stops(scheduler, fidelity)
    if fidelity.name != SAMPLES:
        return Parameter(fidelity, stops)
    labels = _labels(estimator, y)
    orders = tuple(
        order(None if labels is None else labels[indices], len(indices), np.random.default_rng((seed, split)))
        for split, indices in enumerate(as_indices(train) for train, _ in splits)
    )
    return Samples(fidelity, stops, _n_most(splits), orders)


def _n_most(splits: Splits) -> int:
    return max(len(as_indices(train)) for train, _ in splits)


def _fewest(scheduler: Scheduler, estimator: Any, splits: Splits, y: Any) -> int:
    """Return the least number of samples that is of use.

    That is twice as many for each class as there are splits, and a 27th of all; yet few enough for two levels.
    """
    labels = _labels(estimator, y)
    n_classes = 1 if labels is None else len(np.unique(labels))
    n_most = _n_most(splits)
    useful = max(2 * n_classes * len(splits), ceil(n_most / _MOST_TIMES))
    return max(1, min(useful, int(n_most / max(2, _eta(scheduler)))))


def order(labels: NDArray[Any] | None, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return 0 to *n* - 1 in a random order; of however many come first, each label has its share, and one at least.

    Args:
        labels: (n,) of a classification, or None.
        n: how many.
        rng: for the order.
    """
    shuffled = rng.permutation(n)
    if labels is None:
        return shuffled
    codes = np.unique(labels, return_inverse=True)[1][shuffled]
    place = np.empty(n)
    for code in range(codes.max() + 1):
        is_of = codes == code
        place[is_of] = np.arange(is_of.sum()) / is_of.sum()
    return shuffled[np.argsort(place, kind="stable")]


def as_indices(part: Any) -> NDArray[Any]:
    """Return a part of a split, which may be a list or a mask, as indices."""
    indices = np.asarray(part)
    return np.flatnonzero(indices) if indices.dtype == bool else indices


def _labels(estimator: Any, y: Any) -> NDArray[Any] | None:
    """Return the classes of the samples, if that is what the targets are."""
    if y is None or not is_classifier(estimator) or type_of_target(y) not in ("binary", "multiclass"):
        return None
    return np.asarray(y).ravel()


def _eta(scheduler: Scheduler) -> float:
    return next((part.eta for part in parts_of(scheduler) if hasattr(part, "eta")), _ETA)


def _stops(scheduler: Scheduler, fidelity: Fidelity) -> tuple[int, ...]:
    """Return the budgets at which *scheduler* is asked what a trial does: where it gives small ones first, only there.

    So no level is fitted for nobody.
    """
    first, *others = parts_of(scheduler)
    pauses = isinstance(first, Rounds | FreezeThaw) or getattr(first, "type", "") == "promotion"
    if pauses or (isinstance(first, Fifo) and not others):
        return ()
    return tuple(int(level) for level in levels(fidelity.low, fidelity.high, _eta(scheduler), is_integer=True))
