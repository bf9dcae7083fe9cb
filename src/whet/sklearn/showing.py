"""What a person sees of a search while it runs, and at its end: on standard error, as where a function is tuned.

The search only counts (`Showing.done`); a thread draws now and then, so that the time goes on, too, while a fit takes
long. It holds a lock as it draws, so that a process that is forked meanwhile finds the terminal's parts at rest.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from whet.progress import style_for
from whet.screens import Style, screen_of
from whet.sklearn.kept import n_workers_of
from whet.sklearn.summaries import (
    Facts,
    Reason,
    Tally,
    chosen_of,
    counting_metric,
    estimator_text,
    metric_text,
    parameters_text,
    raised,
    summary,
)
from whet.sklearn.tasks import pool_of
from whet.storage.open import DEFAULT_STORE
from whet.storage.urls import without_password
from whet.text import duration, fraction, number, one_line

if TYPE_CHECKING:
    from whet.sklearn.outcomes import Outcome

_FIRST_AFTER_S = 0.3  # what is over by then is not drawn
_EVERY_S: Mapping[Style, float] = {"bar": 0.2, "notebook": 0.5, "lines": 30.0, "none": math.inf}
_N_RECENT = 50  # fits whose ends say how long the next ones may take
_drawing = threading.RLock()
os.register_at_fork(before=_drawing.acquire, after_in_parent=_drawing.release, after_in_child=_drawing.release)


@contextmanager
def shown(search: Any) -> Iterator[Showing | None]:
    """Show *search* while its ``fit`` runs in this context, and then what came of it; None unless it asks for that.

    An error says itself what happened: then there is no summary.
    """
    if not search.progress:
        yield None
        return
    n_workers = n_workers_of(pool_of(search.n_jobs, search.pre_dispatch))
    showing = Showing(search, _style_of(search, n_workers), n_workers)
    reason: Reason | None = None
    try:
        yield showing
        reason = "done"
    except KeyboardInterrupt:
        reason = "interrupted"
        raise
    finally:
        showing.close(reason)


def _style_of(search: Any, n_workers: int) -> Style:
    """Return how a search is shown: without a bar where other processes may write to the terminal, too."""
    style = style_for(True)
    is_worker = multiprocessing.parent_process() is not None
    do_workers_print = search.verbose > 1 and n_workers > 1
    return "lines" if style == "bar" and (is_worker or do_workers_print) else style


class Showing:
    """Shows a search; it is told what happens by the thread that runs it.

    Args:
        search: it has its ``n_splits_`` once candidates are expected.
        style: how it is shown.
        n_workers: how many fits run at a time.
    """

    def __init__(self, search: Any, style: Style, n_workers: int = 1) -> None:
        self._search, self._style, self._name = search, style, type(search).__name__
        self._screen = screen_of(style)
        self._tally = Tally()
        self._foreseen: int | None = None
        self._is_even = True  # whether every candidate is fitted on every split, once
        self._is_halving = hasattr(search, "min_resources")
        self._first = (0, 0)  # fits and candidates before this iteration of halving
        self._metric = counting_metric(search.refit)
        self._best: tuple[float, str] | None = None  # a score, and parameters in words
        self._is_late = self._has_results = self._has_shown_failure = False
        self._searched_s: float | None = None
        self._began = time.monotonic()
        self._n_workers = n_workers
        self._recent: deque[tuple[float, float]] = deque(maxlen=_N_RECENT)  # when fits ended, and how long they took
        self._is_over = threading.Event()
        self._ticker: threading.Thread | None = None

    # ---- what happens
    def foresee(self, n_candidates: int | None, *, is_even: bool = True) -> None:
        """Note how many candidates there will be in all at most, and whether each is fitted on every split, once."""
        self._foreseen, self._is_even = n_candidates, is_even

    def expect(self, n_candidates: int) -> None:
        """Note that so many candidates come next; without `foresee` nobody knows of more."""
        if self._is_halving and self._tally.batches:
            self._first = self._n_fits, self._tally.n_ended
            self._best = None  # what came of fewer resources is not to be compared
            self._recent.clear()
        if self._is_halving or not self._tally.batches:
            self._tally.batches.append(n_candidates)
        else:
            self._tally.batches[0] += n_candidates
        if self._ticker is None:
            if self._style == "notebook":
                self._draw()  # an output belongs to the cell of the thread that shows it first
            self._ticker = threading.Thread(target=self._tick, name="whet-progress", daemon=True)
            self._ticker.start()

    def done(self, parameters: Mapping[str, Any], outcome: Outcome) -> None:
        """Note what a fit came to."""
        self._tally.n_run += 1
        took_s = outcome["fit_time"] + outcome["score_time"]
        self._tally.work_s += took_s
        self._recent.append((time.monotonic(), took_s))
        self._note(parameters, outcome)

    def kept(self, parameters: Mapping[str, Any], outcome: Outcome) -> None:
        """Note what an earlier run has kept of a fit."""
        self._tally.n_kept += 1
        self._note(parameters, outcome)

    def candidate(self, parameters: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
        """Note that all fits of a candidate are done."""
        self._tally.n_candidates += 1
        scores = [score for outcome in outcomes if (score := self._score(outcome)) is not None]
        mean = math.fsum(scores) / len(scores) if scores else math.nan
        if math.isfinite(mean) and (self._best is None or mean > self._best[0]):
            self._best = mean, parameters_text(parameters, 100)

    def stopped(self, n_fits: int = 0) -> None:
        """Note that a candidate has ended early, and so many of its fits are spared, as far as they are known."""
        self._tally.n_stopped += 1
        self._tally.n_skipped += n_fits

    def time_is_up(self) -> None:
        """Note that the search ends because of its ``timeout``."""
        self._is_late = True

    def chosen(self) -> None:
        """Note that the search has its results and what is best of them; what may follow is the fit to all data."""
        self._has_results = True
        self._searched_s = time.monotonic() - self._began

    def close(self, reason: Reason | None) -> None:
        """Take away what was drawn, and say what came of the search, unless *reason* is None."""
        self._is_over.set()
        if self._ticker is not None:
            self._ticker.join()
        lines = [] if reason is None else [summary(self._facts(reason))]
        if self._style == "notebook":
            lines = [line for text in lines for line in text.splitlines()]
        with _drawing:
            self._screen.close(lines)

    # ---- what is seen of it
    def _tick(self) -> None:
        wait_s = _EVERY_S[self._style] if self._style == "lines" else _FIRST_AFTER_S
        while not self._is_over.wait(wait_s):
            self._draw()
            wait_s = _EVERY_S[self._style]

    def _draw(self) -> None:
        with _drawing:
            self._screen.draw(self._words(), *self._how_far())

    @property
    def _n_fits(self) -> int:
        return self._tally.n_run + self._tally.n_kept

    def _n_fits_to_do(self) -> int | None:
        """Return how many fits there are in all, in this iteration where it halves; None: nobody knows."""
        if not self._is_even:
            return None
        tally = self._tally
        n_candidates = tally.batches[-1] if self._is_halving else max(sum(tally.batches), self._foreseen or 0)
        return int(n_candidates * self._search.n_splits_ - tally.n_skipped)

    def _how_far(self) -> tuple[int, int | None]:
        n_to_do = self._n_fits_to_do()
        return (self._tally.n_ended, self._foreseen) if n_to_do is None else (self._n_fits - self._first[0], n_to_do)

    def _left_s(self, now: float) -> float | None:
        """Return about how many seconds the rest takes, as the last fits went."""
        n_to_do, recent = self._n_fits_to_do(), list(self._recent)
        if n_to_do is None or not recent:
            return None
        n_left = n_to_do - (self._n_fits - self._first[0])
        if len(recent) > 2 * self._n_workers:  # from end to end: with all that goes on between them
            each_s = (recent[-1][0] - recent[0][0]) / (len(recent) - 1)
        else:  # those of the workers that are first say nothing of how long it is from one to the next
            each_s = sum(took_s for _, took_s in recent) / len(recent) / self._n_workers
        return n_left * each_s - min(each_s, now - recent[-1][0]) if n_left else 0.0

    def _words(self) -> list[str]:
        """Return how far it is; what matters most comes first, as a narrow terminal cuts the rest."""
        tally, now = self._tally, time.monotonic()
        n_first, n_candidates_first = self._first
        words = [f"{fraction(self._n_fits - n_first, self._n_fits_to_do())} fits"]
        if self._is_halving:
            words[0] = f"iteration {len(tally.batches) - 1}: {words[0]}"
        if self._best is not None:
            words.append(f"best {metric_text(self._metric, self._search.scoring)}={number(self._best[0])}")
        if self._has_results:
            words.append("fitting the best to all data")
        elif (left_s := self._left_s(now)) is not None:
            words.append(f"about {duration(left_s)} left{' of it' if self._is_halving else ''}")
        if tally.n_failed:
            words.append(f"{tally.n_failed:,} failed")
        words.append(f"{duration(now - self._began)} so far")
        n_to_do = tally.batches[-1] if self._is_halving else max(sum(tally.batches), self._foreseen or 0)
        words.append(f"{fraction(tally.n_ended - n_candidates_first, n_to_do)} candidates")
        for n, what in ((tally.n_skipped, "skipped"), (tally.n_kept, "kept from before")):
            if n:
                words.append(f"{n:,} {what}")
        if self._best is not None and self._best[1]:
            words.append(f"best: {self._best[1]}")
        return [*words, self._name]

    # ---- the particulars
    def _note(self, parameters: Mapping[str, Any], outcome: Outcome) -> None:
        if outcome["fit_error"] is None:
            score = self._score(outcome)
            self._tally.n_unscored += score is not None and not math.isfinite(score)
            return
        kind, line = raised(outcome["fit_error"])
        self._tally.failures[kind] = self._tally.failures.get(kind, 0) + 1
        if not self._has_shown_failure:
            self._has_shown_failure = True
            with _drawing:
                self._screen.line(f"a fit failed: {line}; parameters: {parameters_text(parameters, 200)}")

    def _score(self, outcome: Outcome) -> float | None:
        """Return the score that counts; None where there are several, and none of them does."""
        scores = outcome["test_scores"]
        if not isinstance(scores, dict):  # as also of a fit that failed, whatever the metrics
            return float(scores)
        return float(scores[self._metric]) if self._metric in scores else None

    def _facts(self, reason: Reason) -> Facts:
        search, now = self._search, time.monotonic()
        elapsed_s = now - self._began
        refit: Any = None
        if search.refit:
            refit = float(search.refit_time_) if reason == "done" else "not done"
        store, name = _place_of(search)
        return Facts(
            search=one_line(self._name, 60),
            estimator=estimator_text(search.estimator),
            n_splits=getattr(search, "n_splits_", 0),
            n_foreseen=self._foreseen,
            tally=self._tally,
            reason="timeout" if reason == "done" and self._is_late else reason,
            has_results=self._has_results,
            chosen=chosen_of(search) if self._has_results else None,
            refit=refit,
            search_s=elapsed_s if self._searched_s is None else self._searched_s,
            elapsed_s=elapsed_s,
            timeout_s=search.timeout,
            store=store,
            name=name,
        )


def _place_of(search: Any) -> tuple[str, str]:
    """Return the store that *search* is kept in, and its name there; empty where it is not kept."""
    if search.store is None and search.name is None:
        return "", ""
    store = DEFAULT_STORE if search.store is None else os.fspath(search.store)
    name = type(search).__name__ if search.name is None else search.name
    return one_line(without_password(store), 120), one_line(name, 60)
