"""What a search does and why, in words: lines while a study runs, a few lines when asked, and a trial's ``why``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from whet.analysis.agreement import Agreement, agreements
from whet.core.columns import Finished
from whet.core.history import History
from whet.core.ledger import Ledger
from whet.core.problem import Fidelity
from whet.core.protocols import Sampler, Scheduler
from whet.core.trial import State, Trial
from whet.describe import config_text, leader_text
from whet.errors import UsageError
from whet.samplers.names import described, name_of, settings_text
from whet.schedulers.freeze_thaw import FreezeThaw
from whet.schedulers.median import Median, Percentile
from whet.schedulers.names import lookers, scheduler_of
from whet.space.plain import is_number
from whet.text import counted, one_line

_PAGE = 500  # trials that are read at a time
_WIDEST = 200  # characters of what a sampler says in one line
_ETA = 3  # from level to level, where the scheduler has none
_NEXT_LOOK = 1.15  # times what was known at the last one: so all of them cost what a few do
_FEWEST_UNHEARD = 3  # trials that have ended without a word on the way, before that is worth one
_MOST_UNHEARD = 50  # trials that are looked at
_ACQUISITIONS = {"logei": "log EI", "log_ei": "log EI", "ei": "EI", "ucb": "UCB", "pi": "PI"}


# ---- while a study runs
class Choice:
    """Says in one line what a sampler does, whenever that is another thing than before."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler, self._said, self._is_faulty = sampler, "", False

    def news(self, history: History) -> str | None:
        """Return what is new at *history*, ``None`` if nothing is or the sampler has nothing to say."""
        try:
            said = _words_of(self._sampler, history).partition("\n")[0]
        except _NoWords as fault:
            if self._is_faulty:  # told once, whatever is wrong by now
                return None
            self._is_faulty, said = True, str(fault)
        if not said or said == self._said:
            return None
        self._said = said
        return f"{name_of(self._sampler)}: {one_line(said, _WIDEST)}"


class Misled:
    """Warns once where a scheduler compares trials at a level whose order says nothing of the next.

    Args:
        scheduler: of the study; nothing is said of one that compares no trials at levels, or learns how levels agree.
        spelled: how a user writes the fidelity, with ``{name}``, ``{low}`` and ``{high}`` to be filled in.
    """

    def __init__(self, scheduler: Scheduler, spelled: str) -> None:
        self._spelled, self._eta, self._next = spelled, _eta_of(scheduler), 0.0
        self._is_over = not any(map(_ranks_at_levels, _parts_of(scheduler)))

    def news(self, history: History) -> str | None:
        """Return the warning, if *history* is much longer than at the last look, and gives reason to it."""
        if self._is_over or history.seq < self._next or history.problem.fidelity is None:
            return None
        self._next = _NEXT_LOOK * history.seq
        worst = [agreement for agreement in agreements(history, self._eta) if agreement.misleads]
        if not worst:
            return None
        self._is_over = True
        return self._warning(worst[-1], history.problem.fidelity)

    def _warning(self, found: Agreement, axis: Fidelity) -> str:
        name = one_line(axis.name, 60)
        low, high = _amount(found.low), _amount(found.high)
        remedy = f"begin at {high} with {self._spelled.format(name=name, low=high, high=_amount(axis.high))}"
        if found.high == axis.high:
            remedy = "let each trial run to its end, without a scheduler"
        return (
            f"low fidelities mislead: the order at {name} {low} says nothing of the order at {high} "
            f"(rank correlation {found.correlation:.2f} over {counted(found.n, 'trial')}); {remedy}"
        )


class Unheard:
    """Says once that a scheduler which ends trials on the way hears nothing of them on the way, and so ends none.

    A program that prints its metric once, or a function that never reports, trains to its end before it is judged.

    Args:
        scheduler: of the study; nothing is said of one that gives trials a small budget first.
        remedy: what to do about it.
    """

    def __init__(self, scheduler: Scheduler, remedy: str) -> None:
        self._names, self._remedy = lookers(scheduler), remedy
        self._is_over = not self._names

    def news(self, history: History) -> str | None:
        """Return the notice, if the first trials of *history* that have ended give reason to it."""
        if self._is_over:
            return None
        ended = [row for row in islice(history.finished, _MOST_UNHEARD) if row.given != "added"]
        known = [row for row in ended if row.state in (State.COMPLETED, State.STOPPED)]
        running = islice(history.unfinished.values(), _MOST_UNHEARD)
        is_heard = any(map(_is_heard, known)) or any(map(_is_heard, running))
        is_through = any(row.state is State.COMPLETED for row in known)
        self._is_over = is_heard or len(ended) >= _MOST_UNHEARD
        if is_heard or not is_through or len(known) < _FEWEST_UNHEARD:
            return None
        self._is_over = True
        who = f"{' and '.join(self._names)} {'ends' if len(self._names) == 1 else 'end'}"
        return (
            f"{who} trials by what they report on the way, and none of the first {counted(len(known), 'trial')} has "
            "reported its objective more than once: each trains to its end before it is judged, and nothing is saved; "
            f"{self._remedy}"
        )


def notices(lookouts: Iterable[Misled | Unheard], history: History) -> Iterator[str]:
    """Yield what *lookouts* have to say of *history*."""
    for lookout in lookouts:
        if (text := lookout.news(history)) is not None:
            yield text


def _is_heard(trial: Trial | Finished) -> bool:
    """Tell whether *trial* has reported on the way to its end, where whet adds a row with what it was at last."""
    rows = list(islice(trial.curve.once(trial.n_earlier), 3))
    is_added = len(rows) == 2 and rows[1][0] == trial.budget and rows[0][1] == rows[1][1]
    return len(rows) > 1 and not is_added


def _parts_of(scheduler: Scheduler | None) -> tuple[object, ...]:
    return tuple(getattr(scheduler, "parts", (scheduler,)))


def _eta_of(scheduler: Scheduler | None) -> float:
    etas: list[Any] = [getattr(part, "eta", None) for part in _parts_of(scheduler)]
    return next((float(eta) for eta in etas if is_number(eta) and 2 <= eta < math.inf), _ETA)


def _ranks_at_levels(part: object) -> bool:
    """Tell whether *part* of a scheduler gives trials up for what others came to at the same level."""
    return isinstance(part, Median | Percentile) or (hasattr(part, "eta") and not isinstance(part, FreezeThaw))


def _amount(level: float) -> str:
    """Return *level* in few digits, but never as more than it is: to begin above it would leave it out."""
    short = f"{level:.4g}"
    return short if int(level) != level and float(short) <= level else f"{level!r}".removesuffix(".0")


class _NoWords(Exception):
    """A sampler's ``explain`` is none that can be used: what is wrong with it."""


def _words_of(sampler: Sampler | None, history: History) -> str:
    """Return what *sampler* says of itself; one of a user's own may mean anything by ``explain``.

    Raises:
        _NoWords: its ``explain`` raises, or returns something else than a text.
    """
    try:
        explain = getattr(sampler, "explain", None)
        words = explain(history) if callable(explain) else ""
        kind = type(words).__name__
    except Exception as error:  # the user's
        raise _NoWords(f"its `explain` raised {one_line(repr(error))}, and is left out") from None
    if not isinstance(words, str):
        raise _NoWords(f"its `explain` returned {kind} where a text was expected, and is left out")
    return words.strip()


def _words_or_fault(sampler: Sampler | None, history: History) -> str:
    try:
        return _words_of(sampler, history)
    except _NoWords as fault:
        return str(fault)


# ---- when asked
@dataclass(frozen=True, slots=True)
class Explanation:
    """What a search does and what came of it.

    Attributes:
        sampler: its name and options, as users type them.
        words: what it says itself; empty if it says nothing.
        sources: how many configs each source has given, in the order of their first ones: a part of the sampler, or
            ``enqueued`` and ``added`` where people gave them.
        best: the best trial, if there is one.
        best_text: its value, and its number.
        axis: the fidelity's name, empty without one.
        agreements: of each level of it with the next, where enough trials have reached both.
    """

    sampler: str
    words: str
    sources: Mapping[str, int]
    best: Trial | None
    best_text: str
    axis: str
    agreements: tuple[Agreement, ...]

    @property
    def text(self) -> str:
        """All of it, in a few lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.sampler}: {self.words}" if self.words else self.sampler
        if self.sources:
            yield f"configs: {', '.join(f'{n:,} {source}' for source, n in self.sources.items())}"
        if self.best is not None:
            chosen = why_text(self.best)
            yield f"best: {self.best_text}{f', chosen by {chosen}' if chosen else ''}"
        if self.agreements:
            parts = ", ".join(map(_agreement_text, self.agreements))
            yield f"rank correlation along {one_line(self.axis, 60)}, of the trials that came through: {parts}"

    def to_json(self) -> dict[str, Any]:
        """Return it as the command line's JSON."""
        best = self.best
        known = None if best is None else {"number": best.number, "values": dict(best.values), "why": dict(best.why)}
        return {
            "sampler": self.sampler,
            "explanation": self.words,
            "sources": dict(self.sources),
            "best": known,
            "agreement": [asdict(agreement) for agreement in self.agreements],
        }


def _agreement_text(found: Agreement) -> str:
    misleads = ", misleads" if found.misleads else ""
    return f"{found.low:.4g} to {found.high:.4g} {found.correlation:.2f} ({counted(found.n, 'trial')}{misleads})"


def explanation_of(ledger: Ledger, sampler: Sampler | None, scheduler: Scheduler | None = None) -> Explanation:
    """Return the explanation of a study as its *ledger* knows it; without a *sampler*, one of the user's own is named.

    The *scheduler* says where the levels are; by default the one that the study was made with.

    Raises:
        StoreError: the trials cannot be read.
    """
    history = ledger.history
    leader, axis = history.leader(), history.problem.fidelity
    if scheduler is None:
        with suppress(UsageError):  # one of the user's own
            scheduler = scheduler_of(history.settings)
    return Explanation(
        sampler=settings_text(history.settings) if sampler is None else described(sampler),
        words=_words_or_fault(sampler, history),
        sources=_sources(ledger),
        best=None if leader is None else ledger.store.trials(ledger.study, numbers=[leader[0]])[0],
        best_text="" if leader is None else leader_text(history, leader),
        axis="" if axis is None else axis.name,
        agreements=tuple(agreements(history, _eta_of(scheduler))),
    )


def _sources(ledger: Ledger) -> dict[str, int]:
    counts: Counter[str] = Counter()
    after = -1
    while page := ledger.store.trials(ledger.study, after=after, limit=_PAGE):
        counts.update(_source(trial) for trial in page if trial.replicate == 0)
        after = page[-1].number
    return dict(counts)


def _source(trial: Trial) -> str:
    return one_line(str(trial.given or trial.why.get("source", "unknown")), 60)


def why_text(trial: Trial) -> str:
    """Return who chose a trial's config and what was expected of it: ``gp: expected 0.31 ± 0.04, log EI -2.1``."""
    if trial.given is not None:
        return f"a person ({trial.given})"
    why = dict(trial.why)
    source = str(why.pop("source", ""))
    parts = [*_belief(why), *_acquisition(why), *([config_text(why)] if why else [])]
    return one_line(": ".join(part for part in (source, ", ".join(parts)) if part))


def _belief(why: dict[str, Any]) -> list[str]:
    """Take what was expected out of *why*, and return it in words."""
    if not is_number(why.get("mean")):
        return []
    spread = f" ± {why.pop('std'):.2g}" if is_number(why.get("std")) else ""
    return [f"expected {why.pop('mean'):.4g}{spread}"]


def _acquisition(why: dict[str, Any]) -> list[str]:
    """Take the acquisition and its value out of *why*, and return them in words."""
    score = f" {why.pop('score'):.3g}" if is_number(why.get("score")) else ""
    if "acquisition" not in why:
        return [f"score{score}"] if score else []
    name = str(why.pop("acquisition"))
    return [f"{_ACQUISITIONS.get(name, name)}{score}"]
