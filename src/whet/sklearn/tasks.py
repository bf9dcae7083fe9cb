"""One fit a task: the fits of a search, run by joblib on whatever backend is active.

joblib pulls tasks from an iterator, also in threads of its own, and one at a time; it gives results as they come. A
task holds what is its own: parameters, the indices of its samples. The data are arguments of their own, always the
same objects, so that joblib's backends share them: loky and multiprocessing write each large array to a memory map
once, inside a DataFrame or a sparse matrix too, dask scatters them. What else all fits have in common is one object,
which is sent once for all the tasks of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from whet.sklearn.crashes import Runs, note, noted
from whet.sklearn.guard import FitTimeout, within
from whet.sklearn.kept import Cache
from whet.sklearn.outcomes import Outcome
from whet.sklearn.prefixes import fit_and_score
from whet.sklearn.reading import watching
from whet.sklearn.sending import unsendable

FitAndScore = Callable[..., Outcome]


@dataclass(frozen=True, slots=True)
class Work:
    """What all fits of a search have in common, besides the data.

    Attributes:
        estimator: as it is before a candidate's parameters are set; every fit has a clone.
        options: keyword arguments of *fit_and_score* that are the same for all.
        fit_and_score: fits and scores one candidate on one split, with the arguments of scikit-learn's function.
        fit_timeout: how many seconds that may take; then it has failed.
        notes: the folder where workers note which fit they are at; None where they need not.
    """

    estimator: Any
    options: Mapping[str, Any]
    fit_and_score: FitAndScore = fit_and_score
    fit_timeout: float | None = None
    notes: str | None = None


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
        watched: parameters of which the outcome is to say, as ``unread``, which ones the fit did not read.
    """

    index: int
    parameters: Mapping[str, Any]
    train: Any
    test: Any
    candidate: tuple[int, int]
    split: tuple[int, int]
    callback_ctx: Any
    cache: Cache | None
    watched: tuple[str, ...] = ()


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
    *,
    dead: dict[int, str] | None = None,
) -> Generator[tuple[int, Outcome]]:
    """Run *tasks* on a *pool* that was entered, and yield the index and the outcome of each as it ends.

    A fit that ends its worker process has failed, and so have all others of its candidate. *dead* holds why, by the
    id of the candidate's parameters: given to several calls, it lets later ones know what earlier ones have found.

    Raises:
        PicklingError: something cannot be sent to the workers; the message says what.
        FitTimeout: a fit took too long, where errors are to be raised.
        WorkerDied: a fit ended its worker process, where errors are to be raised.
        TerminatedWorkerError: workers end whatever they are given.
    """
    call = delayed(run_task)
    candidates: dict[int, Mapping[str, Any]] = {}
    with noted(pool) as notes:
        sent = work if notes is None else replace(work, notes=notes.folder)

        def call_of(task: Task) -> Any:
            candidates[task.candidate[0]] = task.parameters
            return call(sent, X, y, task)

        fail = partial(failed, work, X)
        runs = Runs(pool, tasks, call_of, fail, work.fit_timeout, notes, {} if dead is None else dead)
        try:
            yield from runs.outcomes()
        except Exception as error:
            if type(error).__name__ != "PicklingError":  # by its name, as no module of whet imports pickle
                raise
            culprit = unsendable(work.estimator, work.options, X, y, candidates.values())
            raise type(error)(f"{error} {culprit}") from error


def run_task(work: Work, X: Any, y: Any, task: Task) -> tuple[int, Outcome]:
    """Do the fit that *task* says, in whatever process, and return its index and its outcome."""
    file = None if work.notes is None else note(work.notes, task.index)
    if work.fit_timeout is None:
        return task.index, _fit(work, X, y, task)
    try:
        return task.index, within(work.fit_timeout, partial(_fit, work, X, y, task), file)
    except FitTimeout as error:
        return task.index, failed(work, X, task, error, work.fit_timeout)


def _fit(work: Work, X: Any, y: Any, task: Task) -> Outcome:
    estimator = clone(work.estimator)
    with watching(estimator, task.watched) as watch:
        outcome = work.fit_and_score(
            estimator,
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
    if task.watched and outcome["fit_error"] is None:
        outcome["unread"] = watch.unread
    return outcome


def failed(work: Work, X: Any, task: Task, error: Exception, fit_time: float) -> Outcome:
    """Return the outcome of a *task* that was given up, as scikit-learn's for a fit that raises *error*.

    Raises:
        Exception: *error*, where errors are to be raised.
    """
    options = work.options
    score = options.get("error_score", np.nan)
    if isinstance(score, str):
        raise error
    scorer = options.get("scorer")
    # Where a function gives several scores, scikit-learn puts in their names later.
    scores = dict.fromkeys(scorer._scorers, score) if isinstance(scorer, _MultimetricScorer) else score
    outcome = {"fit_error": f"{type(error).__name__}: {error}", "test_scores": scores}
    if options.get("return_train_score"):
        outcome["train_scores"] = scores.copy() if isinstance(scores, dict) else scores
    n_test = np.arange(_num_samples(X))[task.test].size
    return outcome | {"n_test_samples": n_test, "fit_time": fit_time, "score_time": 0.0}
