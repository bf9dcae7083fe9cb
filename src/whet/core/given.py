"""The configs of a study that people gave; the others were chosen by its sampler or its scheduler."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from whet.core.columns import as_config
from whet.core.trial import Giver


@dataclass(frozen=True, slots=True)
class GivenConfig:
    """One of them. ``number`` counts configs, not trials: with repeats, several trials share one."""

    number: int
    giver: Giver
    config: Mapping[str, Any] | str  # the JSON text it was stored as, until somebody looks at it

    def parsed(self) -> Mapping[str, Any]:
        """Return the config."""
        return as_config(self.config)


@dataclass(frozen=True, slots=True)
class Given:
    """All of them, by number.

    Attributes:
        configs: lowest number first.
        added: the numbers of those that were added with what came of them.
    """

    configs: tuple[GivenConfig, ...] = ()
    added: tuple[int, ...] = ()

    def extended(self, more: Iterable[GivenConfig]) -> Given:
        """Return these and *more*."""
        more = sorted(more, key=attrgetter("number"))
        if self.configs and more and more[0].number <= self.configs[-1].number:  # in a study that was recovered
            return Given().extended([*self.configs, *more])
        added = tuple(config.number for config in more if config.giver == "added")
        return Given((*self.configs, *more), self.added + added)

    def first_beyond(self, n: int) -> int:
        """Return the number below which there are *n* configs that were not added."""
        # added[i] - i of the numbers below added[i] were not added.
        return n + bisect_left(range(len(self.added)), n, key=lambda i: self.added[i] - i)
