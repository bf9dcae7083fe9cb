"""One fit a task: the fits of a search, run by joblib on whatever backend is active.

joblib pulls tasks from an iterator, also in threads of its own, and one at a time; it gives results as they come. A
task holds what is its own: parameters, the indices of its samples. The data are arguments of their own, always the
same objects, so that joblib's backends share them: loky and multiprocessing write each large array to a memory map
once, inside a DataFrame or a sparse matrix too, dask scatters them. What else all fits have in common is one object,
which is sent once for all the tasks of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from whet.sklearn.kept import Cache
from whet.sklearn.plans import Plan
from whet.sklearn.prefixes import fit_and_score
from whet.space.plain import shortened

Outcome = dict[str, Any]  # what one fit came to, as scikit-learn's `_fit_and_score` gives it
FitAndScore = Callable[..., Outcome]


@dataclass(frozen=True, slots=True)
class Work:
    """What all fits of a search have in common, besides the data.

    Attributes:
        estimator: as it is before a candidate's parameters are set; every fit has a clone.
        options: keyword arguments of *fit_and_score* that are the same for all.
        fit_and_score: fits and scores one candidate on one split, with the arguments of scikit-learn's function.
    """

    estimator: Any
    options: Mapping[str, Any]
    fit_and_score: FitAndScore = fit_and_score


@dataclass(frozen=True, slots=True)
class Task:
    """One fit: a candidate on a split.

    Attributes:
        index: of its outcome, in the order candidate after candidate, each on all splits.
        parameters: of the candidate.
        train, test: indices of samples.
        candidate, split: the number of each, and how many there are.
        callback_ctx: of scikit-learn's callbacks.
        cache: what the candidate shares with others.
    """

    index: int
    parameters: Mapping[str, Any]
    train: Any
    test: Any
    candidate: tuple[int, int]
    split: tuple[int, int]
    callback_ctx: Any
    cache: Cache | None


def tasks_of(
    candidates: Sequence[Mapping[str, Any]],
    splits: Sequence[tuple[Any, Any]],
    contexts: Sequence[Any],
    planned: Plan | None = None,
) -> Iterator[Task]:
    """Yield a task for each of *candidates* on each of *splits*, with its callback context, as *planned*."""
    in_turn = product(range(len(candidates)), range(len(splits)))
    for number, split in planned.order if planned else in_turn:
        index = number * len(splits) + split
        progress = (number, len(candidates)), (split, len(splits))
        cache = planned.caches[number] if planned else None
        yield Task(index, candidates[number], *splits[split], *progress, contexts[index], cache)


def pool_of(n_jobs: int | None, pre_dispatch: int | str) -> Parallel:
    """Return a joblib pool that gives results as they come where its backend can, else all at the end."""
    try:
        return Parallel(n_jobs=n_jobs, pre_dispatch=pre_dispatch, return_as="generator_unordered")
    except ValueError:  # the backend cannot; whatever else is wrong is raised again
        return Parallel(n_jobs=n_jobs, pre_dispatch=pre_dispatch)


def outcomes_of(
    pool: Parallel,
    work: Work,
    X: Any,
    y: Any,
    tasks: Iterable[Task],
) -> Iterator[tuple[int, Outcome]]:
    """Run *tasks*, and yield the index and the outcome of each as it ends.

    Raises:
        PicklingError: something cannot be sent to the workers; the message says what.
    """
    call = delayed(run_task)
    candidates: dict[int, Mapping[str, Any]] = {}

    def calls() -> Iterator[Any]:
        for task in tasks:
            candidates[task.candidate[0]] = task.parameters
            yield call(work, X, y, task)

    try:
        yield from pool(calls())
    except Exception as error:
        if type(error).__name__ != "PicklingError":  # by its name, as no module of whet imports pickle
            raise
        raise type(error)(f"{error} {_unsendable(work, X, y, candidates.values())}") from error


def run_task(work: Work, X: Any, y: Any, task: Task) -> tuple[int, Outcome]:
    """Do the fit that *task* says, in whatever process, and return its index and its outcome."""
    outcome = work.fit_and_score(
        clone(work.estimator),
        X,
        y,
        train=task.train,
        test=task.test,
        parameters=task.parameters,
        split_progress=task.split,
        candidate_progress=task.candidate,
        callback_ctx=task.callback_ctx,
        **({} if task.cache is None else {"cache": task.cache}),
        **work.options,
    )
    return task.index, outcome


def _unsendable(work: Work, X: Any, y: Any, candidates: Iterable[Mapping[str, Any]]) -> str:
    """Say what of the fits cannot be pickled, and what to do."""
    values = {(name, id(value)): value for parameters in candidates for name, value in parameters.items()}
    parts = [(f"Parameter {name!r} of a candidate", value) for (name, _), value in values.items()]
    parts += [(f"Parameter {name!r} of the estimator", value) for name, value in _parameters(work.estimator)]
    options = dict(work.options)
    if (search := options.pop("caller", None)) is not None:  # its grid may hold what no task has held so far
        parts += [(f"{name!r} of the search", value) for name, value in search.get_params(deep=False).items()]
    parts += [(f"The {name}", value) for name, value in options.items()]
    parts += [("The estimator", work.estimator), ("X", X), ("y", y)]
    culprits = (f"{name}, {shortened(repr(value))}," for name, value in parts if not _can_be_sent(value))
    what = next(culprits, "Something that the fits need")
    return (
        f"{what} cannot be pickled. Make it picklable (a function in a module rather than a "
        "lambda, a path rather than an open file), or let the fits run in this process: n_jobs=1, or "
        "joblib.parallel_config('threading')."
    )


def _parameters(estimator: Any) -> list[tuple[str, Any]]:
    """Return the parameters of *estimator*, the deepest first: what they hold is the better hint."""
    return sorted(estimator.get_params().items(), key=lambda item: -item[0].count("__"))


def _can_be_sent(value: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:  # whatever an object's own code raises
        return False
    return True
