"""What is known of a study at one point of its log.

A `History` is a snapshot. Finished trials live in append-only columns that all snapshots of a study share, each
seeing its own length of them; unfinished ones in a mapping that shares the paused ones with others. So a snapshot
costs O(active) and the delta.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from whet.core.columns import STATES, Columns, Finished, KeysOf, Observations, as_config
from whet.core.events import Event, Kind
from whet.core.given import Given, GivenConfig
from whet.core.problem import Problem
from whet.core.trail import Trail
from whet.core.trial import GIVERS, State, Trial, advance, annotated, evolved
from whet.core.unfinished import Unfinished


@dataclass(frozen=True)
class History:
    """What is known at ``seq``.

    Attributes:
        problem: what is optimised.
        seed: the study's seed.
        repeats: how many trials share a config.
        seq: the last event that is part of this snapshot.
        n_numbers: numbers handed out so far; the next new one.
        unfinished: number to trial, for every trial that is not in a final state.
        pending_commands: seq to payload of the commands that nobody has carried out.
        settings: the study's settings, amendments and annotations folded in.
        given: the configs that people gave.
        n_finished: how many trials are in a final state.
        just_ended: the trials that ended or paused in the events which made this snapshot, as they were then.
    """

    problem: Problem
    seed: int
    repeats: int = 1
    seq: int = 0
    n_numbers: int = 0
    unfinished: Unfinished = field(default_factory=Unfinished)
    pending_commands: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Given = field(default_factory=Given)
    n_finished: int = 0
    just_ended: Sequence[Trial] = field(default=(), compare=False)
    _n_ended: Mapping[State, int] = field(default_factory=dict)  # trials in each final state
    _best: tuple[float, int] | None = None  # (value to minimise, number) of the best trial, repeats apart
    _columns: Columns = field(default_factory=lambda: Columns([]), repr=False, compare=False)
    _trail: Trail = field(default_factory=Trail, repr=False, compare=False)
    _n_changes: int = field(default=0, repr=False, compare=False)  # of the trail that are part of this snapshot

    @classmethod
    def begin(cls, settings: Mapping[str, Any], problem: Problem | None = None) -> History:
        """Return the history of a study of which nothing is known but its *settings*."""
        problem = problem or Problem.from_json(settings["problem"])
        return cls(problem, seed=settings["seed"], repeats=settings.get("repeats", 1), settings=settings)

    @classmethod
    def restore(
        cls,
        settings: Mapping[str, Any],
        *,
        seq: int,
        n_numbers: int,
        unfinished: Mapping[int, Trial],
        finished: list[Finished],
        pending_commands: Mapping[int, Mapping[str, Any]],
    ) -> History:
        """Build a history from a store's projection; *finished* in the order in which they ended."""
        columns = Columns(finished)
        begun = cls.begin(settings)
        known = begun._given_among([*unfinished.values(), *finished])
        return replace(
            begun,
            seq=seq,
            n_numbers=n_numbers,
            unfinished=Unfinished(unfinished),
            pending_commands=dict(pending_commands),
            given=begun.given.extended(known),
            n_finished=len(finished),
            _n_ended=dict(Counter(row.state for row in finished)),
            _best=begun._better(finished),
            _columns=columns,
        )

    def extended(self, events: Iterable[Event]) -> History:
        """Return the history after *events*, which follow ``seq`` in order.

        Raises:
            StateError: an event that the state of its trial does not allow.
        """
        now: dict[int, Trial] = {}  # what has changed
        commands = self.pending_commands
        settings = self.settings
        seq, n_numbers = self.seq, self.n_numbers
        ended: list[Trial] = []
        given: list[Trial] = []
        changed: list[Trial] = []
        for event in events:
            assert event.seq > seq, f"event {event.seq} after {seq}"
            seq = event.seq
            if event.trial is not None:
                before = now.get(event.trial) or self.unfinished.get(event.trial)
                has_ended = before.state.is_final if before is not None else event.trial < n_numbers
                if event.kind is Kind.ANNOTATED and has_ended:
                    continue  # what is said of such a trial is for the store to know
                trial = now[event.trial] = advance(before, event)
                n_numbers = max(n_numbers, trial.number + 1)
                changed.append(trial)
                if trial.state.is_final or event.kind is Kind.PAUSED:
                    ended.append(trial)
                elif event.kind in GIVERS:
                    given.append(trial)
            elif event.kind is Kind.COMMAND:
                commands = _with_command(commands, event)
            else:
                settings = amended(settings, event)
        trail, n_changes = self._trail.extended(self._n_changes, changed)
        changes: dict[str, Any] = {
            "_trail": trail,
            "_n_changes": n_changes,
            "seq": seq,
            "n_numbers": n_numbers,
            "unfinished": self.unfinished.changed(now),
            "pending_commands": commands,
            "settings": settings,
            "just_ended": tuple(ended),
        }
        if given:
            changes["given"] = self.given.extended(self._given_among(given))
        finished = [Finished.of(trial, self.problem.metrics) for trial in ended if trial.state.is_final]
        if finished:
            changes |= self._with_ended(finished)
        return evolved(self, **changes)

    def _with_ended(self, rows: Sequence[Finished]) -> dict[str, Any]:
        """Return the fields that change when *rows* end."""
        n_ended = dict(self._n_ended)
        for row in rows:
            n_ended[row.state] = n_ended.get(row.state, 0) + 1
        return {
            "n_finished": self.n_finished + len(rows),
            "_n_ended": n_ended,
            "_best": self._better(rows),
            "_columns": self._columns.extended(self.n_finished, rows),
        }

    def _given_among(self, trials: Iterable[Trial | Finished]) -> list[GivenConfig]:
        """Return the configs that were given to *trials*, once where several share one."""
        return [
            GivenConfig(trial.number // self.repeats, trial.given, trial.config or {})
            for trial in trials
            if trial.given is not None and trial.number % self.repeats == 0
        ]

    @property
    def n_added(self) -> int:
        """Number of trials that were added with what came of them: no limit counts them."""
        return len(self.given.added) * self.repeats

    def first_beyond(self, n_trials: int) -> int:
        """Return the number from which on trials are beyond a limit of *n_trials* configs, those added apart.

        What others add meanwhile has numbers that nobody had, so to stay below it is to keep the limit.
        """
        return self.given.first_beyond(n_trials) * self.repeats

    @property
    def finished(self) -> Sequence[Finished]:
        """Finished trials in the order in which they ended: a copy, as other snapshots add to what is shared."""
        return self._columns.rows[: self.n_finished]

    def changes_since(self, since: History) -> list[Trial | Finished] | None:
        """Return the trials that are not as in *since*, an earlier snapshot; ``None``: this is no continuation of it.

        For policies that keep what they have made of a history in step with it: it costs what is new, and O(unfinished)
        where the two have not come one after the other.
        """
        if since._columns is not self._columns or since.n_finished > self.n_finished:
            return None
        ended: list[Trial | Finished] = [*self._columns.rows[since.n_finished : self.n_finished]]
        before, now = since.unfinished, self.unfinished
        if since._trail is self._trail and since._n_changes <= self._n_changes:
            changed = self._trail.numbers(since._n_changes, self._n_changes)
            if changed is not None:
                return ended + [now[number] for number in changed if number in now]
        if len(before.keys() - now.keys()) > len(ended):
            return None  # *since* was a preview of what has not come
        return ended + [trial for number, trial in now.items() if before.get(number) is not trial]

    def finished_config(self, numbers: range) -> Mapping[str, Any] | None:
        """Return the config of the first finished trial among *numbers*, or ``None``."""
        ended = (number for number in numbers if number < self.n_numbers and number not in self.unfinished)
        number = next(ended, None)
        return None if number is None else as_config(self._columns.by_number(self.n_finished)[number].config)

    def as_known(self, upto: int) -> History:
        """Return what is known once trials up to number *upto* have ended and later ones have not.

        A function of the trials and not of the order in which they ended, nor of who ran them when: those up to *upto*
        come in the order of their numbers, all others that have a config are running and have reported nothing.
        ``seq`` counts what is known. Costs what is new since a call shortly before, if all up to *upto* have ended.
        """
        n = max(0, min(upto + 1, self.n_numbers))
        behind = sorted(number for number in self.unfinished if number < n)
        by_number = self._columns.by_number(self.n_finished)
        before = [] if behind else [known for known in tuple(self._columns.prefixes) if known.n_finished <= n]
        known = max(before, key=lambda known: known.n_finished, default=None)
        if known is None:
            nothing: dict[str, Any] = {"n_finished": 0, "_n_ended": {}, "_best": None, "_columns": Columns([])}
            known = evolved(self, **nothing)
        ended = set(range(known.n_finished, n)).difference(behind)
        known = evolved(known, **known._with_ended([by_number[number] for number in sorted(ended)]))
        if ended and not behind:
            self._columns.prefixes.append(known)
        others = [self.unfinished.get(number) or by_number[number] for number in (*behind, *range(n, self.n_numbers))]
        running = {trial.number: _as_running(trial, self.repeats) for trial in others if trial.config is not None}
        n_numbers = max([n, *(number + 1 for number in running)])
        return evolved(
            self,
            seq=known.n_finished + n_numbers,
            n_numbers=n_numbers,
            unfinished=Unfinished(running),
            pending_commands={},
            just_ended=(),
            n_finished=known.n_finished,
            _n_ended=known._n_ended,
            _best=known._best,
            _columns=known._columns,
            _trail=Trail(),
            _n_changes=0,
        )

    def with_unfinished(self, trial: Trial) -> History:
        """Return this with *trial* in the place of what is known of it."""
        unfinished = self.unfinished.changed({trial.number: trial})
        return evolved(self, unfinished=unfinished, _trail=Trail(), _n_changes=0)

    @property
    def active(self) -> Mapping[int, Trial]:
        """Number to trial, in any order, for those that are neither in a final state nor paused."""
        return self.unfinished.active

    @property
    def n_paused(self) -> int:
        """Number of trials that are paused."""
        return self.unfinished.n_paused

    @property
    def running(self) -> list[Trial]:
        """Trials with an attempt in progress, by number."""
        return [trial for _, trial in sorted(self.active.items()) if trial.state is State.RUNNING]

    def counts(self) -> dict[State, int]:
        """Return how many trials are in each state; reserved numbers without a config are left out."""
        counts = dict.fromkeys(STATES, 0) | dict(self._n_ended) | {State.PAUSED: self.n_paused}
        for trial in self.active.values():
            if not trial.is_reserved:
                counts[trial.state] += 1
        return counts

    def n_ended(self, *states: State) -> int:
        """Return how many trials are in one of these final *states*."""
        return sum(self._n_ended.get(state, 0) for state in states)

    @property
    def n_asked(self) -> int:
        """Number of trials that have been given a config."""
        return self.n_finished + self.n_paused + sum(not trial.is_reserved for trial in self.active.values())

    def observations(self, fidelity: Literal["highest", "all"] = "highest") -> Observations:
        """Return finished trials as arrays.

        ``"highest"`` keeps completed trials and failures; ``"all"`` adds those that a scheduler stopped.
        Cancelled trials say nothing about their config and are left out.
        """
        kept = {State.COMPLETED, State.FAILED} | ({State.STOPPED} if fidelity == "all" else set())
        facts = self._columns.facts(self.n_finished, len(self.problem.metrics))
        encoded = self._columns.encoded(self.n_finished, self.problem.space)
        index = np.flatnonzero(np.isin(facts[:, 1], [STATES.index(state) for state in kept]))
        facts = facts[index]
        return Observations(
            numbers=facts[:, 0].astype(np.int64),
            x=encoded.take(index, axis=0),
            values=facts[:, 3:],
            budgets=facts[:, 2],
            completed=facts[:, 1] == STATES.index(State.COMPLETED),
        )

    def first_rows(self, keys_of: KeysOf) -> Mapping[bytes, int]:
        """Return where among ``finished`` each config came first; rows from ``n_finished`` on are others' to know.

        Configs are told apart by what *keys_of* makes of the encoded ones; see `Columns.first_rows`.
        """
        return self._columns.first_rows(self.n_finished, self.problem.space, keys_of)

    def best(self) -> int | None:
        """Return the number of the best trial, or ``None`` if there is none to name; see `leader`."""
        leader = self.leader()
        return None if leader is None else leader[0]

    def leader(self) -> tuple[int, float] | None:
        """Return the number and the value of the best trial, or ``None`` if there is none to name.

        Completed trials that meet the constraints count. With repeats a config counts by the mean of its completed
        trials, once none is running or waits, and the first of them stands for it. Ties go to the lower number.
        """
        if len(self.problem.objectives) != 1:
            return None
        if self.repeats == 1:
            return None if self._best is None else (self._best[1], self.problem.objectives[0].sign * self._best[0])
        means = self.means()
        return means[0] if means else None

    def reaches(self, target: float) -> bool:
        """Tell whether a completed trial that meets the constraints has a first objective as good as *target*."""
        return self._best is not None and self._best[0] <= self.problem.objectives[0].sign * target

    def means(self) -> list[tuple[int, float]]:
        """Return (number of its first repeat, mean value) of each config that has none running or waiting, best first.

        Configs of which a repeat was stopped or is paused come last: the others of it are those that were lucky.
        """
        sign = self.problem.objectives[0].sign
        # By number, not by the trial's group: a number that is only reserved has none yet.
        open_groups = {number // self.repeats for number in self.active}
        is_cut = {number // self.repeats for number in self.unfinished} if self.n_paused else set[int]()
        n_handed_out = self.n_numbers // self.repeats  # groups whose numbers have all been handed out
        groups: dict[int, list[Finished]] = {}
        for row in self.finished:
            if row.state is State.STOPPED:
                is_cut.add(row.group)
            if row.group < n_handed_out and row.group not in open_groups and self._counts(row):
                groups.setdefault(row.group, []).append(row)
        means = [
            # Divided first: the sum of what is finite may not be.
            (min(row.number for row in rows), math.fsum(row.values[0] / len(rows) for row in rows))
            for rows in groups.values()
        ]
        return sorted(means, key=lambda item: (item[0] // self.repeats in is_cut, sign * item[1], item[0]))

    def _better(self, rows: Sequence[Finished]) -> tuple[float, int] | None:
        """Return the best of what was best so far and of *rows*."""
        if not self.problem.objectives:
            return None
        sign = self.problem.objectives[0].sign
        best = self._best
        for row in rows:
            if self._counts(row) and (best is None or (sign * row.values[0], row.number) < best):
                best = (sign * row.values[0], row.number)
        return best

    def _counts(self, row: Finished) -> bool:
        """Tell whether *row* may be the best trial."""
        if row.state is not State.COMPLETED or row.values[0] != row.values[0]:
            return False
        metrics, constraints = self.problem.metrics, self.problem.constraints
        return not constraints or self.problem.is_feasible(dict(zip(metrics, row.values, strict=True)))


def _as_running(trial: Trial | Finished, repeats: int) -> Trial:
    """Return *trial* as if its first attempt had just begun."""
    return Trial(
        trial.number,
        State.RUNNING,
        as_config(trial.config),
        attempt=1,
        budget=trial.budget,
        bracket=trial.bracket,
        group=trial.group,
        replicate=trial.number % repeats,
        given=trial.given,
    )


def amended(settings: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """Return the *settings* of a study after *event*, which is about the study."""
    if event.kind is Kind.AMENDED:
        return {**settings, **event.payload["settings"]}
    if event.kind is Kind.ANNOTATED:
        return {**settings, **annotated(settings, event.payload)}
    return settings


def _with_command(commands: Mapping[int, Mapping[str, Any]], event: Event) -> Mapping[int, Mapping[str, Any]]:
    """Return *commands* after a command was given or its outcome logged."""
    if "of" in event.payload:
        return {seq: payload for seq, payload in commands.items() if seq != event.payload["of"]}
    return {**commands, event.seq: event.payload}
