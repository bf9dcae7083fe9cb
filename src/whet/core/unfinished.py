"""The trials of a study that have not ended, by number: snapshots of them that share the paused ones.

Under a scheduler that promotes, most trials pause for good. A snapshot copies what is active, and of the paused trials
only those near the ones that have changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge

from whet.core.trial import State, Trial

_CHUNK = 256  # numbers; what is copied where one paused trial has changed
_NOBODY: Mapping[int, Trial] = {}


class Unfinished(Mapping[int, Trial]):
    """Number to trial, in the order of their numbers; never changes once made.

    Attributes:
        active: those that are not paused, in any order.
        n_paused: how many others there are.
    """

    __slots__ = ("_paused", "active", "n_paused")

    def __init__(self, trials: Mapping[int, Trial] | None = None) -> None:
        self.active: Mapping[int, Trial] = {}
        self.n_paused = 0
        self._paused: dict[int, dict[int, Trial]] = {}  # by number // _CHUNK; shared with other snapshots
        if trials:
            self._take_in(trials)

    def changed(self, trials: Mapping[int, Trial]) -> Unfinished:
        """Return this with *trials* as they are now; those that have ended are taken out."""
        copy = Unfinished()
        copy.active, copy.n_paused, copy._paused = self.active, self.n_paused, self._paused
        copy._take_in(trials)
        return copy

    def _take_in(self, trials: Mapping[int, Trial]) -> None:
        active, paused = dict(self.active), self._paused
        copied = set[int]()
        for number, trial in trials.items():
            is_paused, chunk = trial.state is State.PAUSED, number // _CHUNK
            if is_paused or trial.state.is_final:
                active.pop(number, None)
            else:
                active[number] = trial
            was_paused = number in paused.get(chunk, ())
            if not (is_paused or was_paused):
                continue
            if not copied:
                paused = dict(paused)
            if chunk not in copied:
                paused[chunk] = dict(paused.get(chunk, ()))
                copied.add(chunk)
            if is_paused:
                paused[chunk][number] = trial
            else:
                del paused[chunk][number]
            self.n_paused += is_paused - was_paused
        self.active, self._paused = active, paused

    def __getitem__(self, number: int) -> Trial:
        trial = self.active.get(number)
        return self._paused.get(number // _CHUNK, _NOBODY)[number] if trial is None else trial

    def __contains__(self, number: object) -> bool:
        return number in self.active or (isinstance(number, int) and number in self._paused.get(number // _CHUNK, ()))

    def __iter__(self) -> Iterator[int]:
        chunks = (self._paused[chunk] for chunk in sorted(self._paused))
        return merge(sorted(self.active), (number for chunk in chunks for number in sorted(chunk)))

    def __len__(self) -> int:
        return len(self.active) + self.n_paused

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"
