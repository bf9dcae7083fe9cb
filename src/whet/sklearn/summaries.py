"""What came of a search, in words; and parameters in words, whatever objects they are."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from whet.sklearn.choosing import metric_of
from whet.text import counted, duration, number, one_line

Reason = Literal["done", "timeout", "interrupted"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_RAISED = re.compile(r"[A-Za-z_][\w.]*")
_MOST_KINDS = 4  # of failures, that are named
_LONGEST = 200  # characters of a value that are looked at
_repr = reprlib.Repr()
_repr.maxother = _repr.maxstring = _repr.maxlong = 80


@dataclass(slots=True)
class Tally:
    """What has been done in a search, and what has not.

    Attributes:
        batches: how many candidates each batch had; scikit-learn's halving searches have several.
        n_candidates: that are done.
        n_stopped: candidates that ended before all their splits were done.
        n_run, n_kept: fits that ran, and whose outcomes an earlier run had kept.
        n_skipped: fits that were spared.
        n_unscored: fits that did not fail, and whose score is no finite number.
        failures: what was raised, to the number of fits that did.
        work_s: what the fits that ran took together, scoring included.
    """

    batches: list[int] = field(default_factory=list)
    n_candidates: int = 0
    n_stopped: int = 0
    n_run: int = 0
    n_kept: int = 0
    n_skipped: int = 0
    n_unscored: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    work_s: float = 0.0

    @property
    def n_failed(self) -> int:
        """How many fits failed."""
        return sum(self.failures.values())

    @property
    def n_ended(self) -> int:
        """How many candidates are done or were stopped."""
        return self.n_candidates + self.n_stopped


@dataclass(frozen=True, slots=True)
class Chosen:
    """The candidate that a search has chosen.

    Attributes:
        index: in ``cv_results_``.
        parameters: in words.
        metric: its score's name.
        score: the mean over the splits; None where nobody knows which of several metrics counts.
        standard_error: of that mean; None for a single split.
        is_best: whether it was chosen because no score is higher.
    """

    index: int
    parameters: str
    metric: str
    score: float | None
    standard_error: float | None = None
    is_best: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What `summary` is made of.

    Attributes:
        search, estimator: in a word each.
        n_splits: that every candidate is fitted on.
        n_foreseen: candidates that there were to be; None: nobody knew.
        tally: of the fits.
        reason: why it ended.
        has_results: whether there is a ``cv_results_`` of it.
        chosen: the candidate that it has chosen; None where several metrics leave that open, or nothing is done.
        refit: how many seconds the fit to all data took; ``"not done"``; None where none was asked for.
        search_s, elapsed_s: how long the search took without, and with the fit to all data.
        timeout_s: of the search.
        store: where it is kept; empty if nowhere.
        name: by which the store knows it.
    """

    search: str
    estimator: str
    n_splits: int
    n_foreseen: int | None
    tally: Tally
    reason: Reason
    has_results: bool
    chosen: Chosen | None
    refit: float | Literal["not done"] | None
    search_s: float
    elapsed_s: float
    timeout_s: float | None = None
    store: str = ""
    name: str = ""


def summary(facts: Facts) -> str:
    """Return what came of a search in at most seven lines."""
    batches = " + ".join(f"{n:,}" for n in facts.tally.batches) or "0"
    candidates = f"{batches} candidate{'' if batches == '1' else 's'} × {counted(facts.n_splits, 'split')}"
    lines = [
        f"{facts.search} of {facts.estimator}: {candidates} in {duration(facts.elapsed_s)}",
        f"  {_choice(facts)}",
        f"  {_fits(facts)}",
    ]
    if facts.tally.failures or facts.tally.n_unscored:
        lines.append(f"  {_failures(facts.tally)}")
    if isinstance(facts.refit, float):
        lines.append(f"  best_estimator_ was fitted to all data in {duration(facts.refit)}")
    if facts.reason != "done":
        lines.append(f"  {_ending(facts)}")
    if facts.store:
        goes_on = "" if facts.reason == "done" else "; the same search with resume=True goes on"
        lines.append(f"  kept in {facts.store} as {facts.name!r}{goes_on}")
    return "\n".join(lines)


def _choice(facts: Facts) -> str:
    """Return ``best accuracy=0.93 (standard error 0.004, candidate 17): C=10 kernel=rbf``."""
    chosen = facts.chosen
    if chosen is None:
        return "several metrics, so no single best candidate" if facts.has_results else "no candidate is done"
    candidate = f"candidate {chosen.index}"
    if chosen.score is not None:
        error = "" if chosen.standard_error is None else f"standard error {chosen.standard_error:.2g}, "
        candidate = f"{chosen.metric}={number(chosen.score)} ({error}{candidate})"
    return f"{'best' if chosen.is_best else 'chosen'} {candidate}: {chosen.parameters}".removesuffix(": ")


def _fits(facts: Facts) -> str:
    """Return ``240 fits: 180 run (4 min 01 s of work, 1.9 at a time), 40 kept from an earlier run, 20 skipped``."""
    tally = facts.tally
    at_a_time = tally.work_s / facts.search_s if facts.search_s > 0 else 1.0
    beside = f", {at_a_time:.1f} at a time" if at_a_time >= 1.15 else ""
    work = f" ({duration(tally.work_s)} of work{beside})" if tally.n_run else ""
    n_all = tally.n_run + tally.n_kept + tally.n_skipped
    all_run = n_all == tally.n_run
    parts = [f"{counted(n_all, 'fit')}{'' if all_run else f': {tally.n_run:,} run'}{work}"]
    if tally.n_kept:
        parts.append(f"{tally.n_kept:,} kept from an earlier run")
    if tally.n_skipped:
        parts.append(f"{tally.n_skipped:,} skipped")
    if tally.n_stopped:
        parts.append(f"{'of ' if tally.n_skipped else ''}{counted(tally.n_stopped, 'candidate')} stopped early")
    return ", ".join(parts)


def _failures(tally: Tally) -> str:
    """Return ``3 fits failed: 2 ValueError, 1 MemoryError; 2 fits have no finite score``."""
    parts = []
    if tally.failures:
        ordered = sorted(tally.failures.items(), key=lambda item: -item[1])
        kinds = [f"{n:,} {kind}" for kind, n in ordered[:_MOST_KINDS]]
        if n_more := sum(n for _, n in ordered[_MOST_KINDS:]):
            kinds.append(f"{n_more:,} of other kinds")
        parts.append(f"{counted(tally.n_failed, 'fit')} failed: {', '.join(kinds)}")
    if tally.n_unscored:
        parts.append(f"{counted(tally.n_unscored, 'fit')} without a finite score")
    return "; ".join(parts)


def _ending(facts: Facts) -> str:
    """Return why it ended early, and what there is of it all the same."""
    tally = facts.tally
    n_all = sum(tally.batches) if facts.n_foreseen is None else facts.n_foreseen
    done = f"{tally.n_ended:,} of {counted(n_all, 'candidate')} done"
    if facts.reason == "timeout":
        return f"the time is up (timeout={number(facts.timeout_s or 0)} s): {done}, the best of them was chosen"
    if not facts.has_results:
        return f"Ctrl-C: {done}, so there are no results of it"
    fitted = ", best_estimator_ was not fitted" if facts.refit == "not done" else ""
    return f"Ctrl-C: {done}; cv_results_ has them{fitted}"


def chosen_of(search: Any) -> Chosen | None:
    """Return what *search*, which has its results, has chosen."""
    if not search.refit and search.multimetric_:
        return None
    results, index, metric = search.cv_results_, int(search.best_index_), counting_metric(search.refit)
    metric = metric if f"mean_test_{metric}" in results else "score"
    score = standard_error = None
    if f"mean_test_{metric}" in results:
        n = int(results["n_splits_run"][index] if "n_splits_run" in results else search.n_splits_)
        score = float(results[f"mean_test_{metric}"][index])
        if n > 1:  # scikit-learn's deviations are those of a whole population, and these are a sample
            standard_error = float(results[f"std_test_{metric}"][index]) / math.sqrt(n - 1)
    is_best = not callable(search.refit) and metric_of(search.refit) == search.refit
    words = parameters_text(search.best_params_, _LONGEST)
    return Chosen(index, words, metric_text(metric, search.scoring), score, standard_error, is_best)


def counting_metric(refit: Any) -> str | None:
    """Return which of several metrics counts; None where *refit* names none."""
    metric = metric_of(refit)
    return metric if isinstance(metric, str) else None


def metric_text(metric: str | None, scoring: Any) -> str:
    """Return how a score is called; where there is only one, scikit-learn calls it ``"score"``, whatever it is."""
    if isinstance(scoring, str):
        return one_line(scoring, 40)
    return one_line(metric or "score", 40)


def estimator_text(estimator: Any) -> str:
    """Return the class of an estimator, and for a pipeline that of its last step: ``Pipeline(…, SVC)``."""
    name = type(estimator).__name__
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[-1], tuple | list):
        name = f"{name}(…, {type(steps[-1][-1]).__name__})"
    return one_line(name, 80)


def parameters_text(parameters: Mapping[str, Any], width: int) -> str:
    """Return the parameters of a candidate on one printable line: ``C=0.1 kernel=rbf``."""
    return one_line(" ".join(f"{name}={_value_text(value)}" for name, value in parameters.items()), width)


def _value_text(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value[:_LONGEST]
    try:
        return _ADDRESS.sub("", _repr.repr(value))
    except Exception:  # whatever an object's own code raises
        return f"<{type(value).__name__}>"


def raised(fit_error: str) -> tuple[str, str]:
    """Return the name of the exception that a traceback ends with, and the line of it that says so."""
    lines = fit_error.strip().split("\n")
    frames = [at for at, line in enumerate(lines) if line.startswith("  File ")]
    after = lines[frames[-1] + 1 :] if frames else lines[:1]
    line = next((line for line in after if line and not line[0].isspace()), lines[-1])
    name = _RAISED.match(line)
    return one_line(name[0].rpartition(".")[2] if name else "error", 60), one_line(line, 200)
