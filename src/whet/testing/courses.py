"""What training a config comes to, step by step: recorded, or made up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from whet.core.values import Told
from whet.errors import UsageError


@dataclass(frozen=True, slots=True)
class Course:
    """What training one config comes to.

    Attributes:
        values: after each step: a number, or a dict of metrics; they may be NaN or infinite.
        seconds: that each step takes, or one number for all; by default as much as the step adds to the fidelity.
        steps: where on the fidelity the values are, ascending and above 0; by default 1, 2, 3, …
        fails_at: the step at which training fails: the time up to there is spent, and nothing is reported there.

    Raises:
        UsageError: they do not fit together.
    """

    values: Sequence[Told]
    seconds: float | Sequence[float] | None = None
    steps: Sequence[float] = ()
    fails_at: float | None = None

    def __post_init__(self) -> None:
        """Fill in what is left out, and check the rest."""
        n = len(self.values)
        if not n:
            raise UsageError("a course needs the value of at least one step, got none")
        steps = tuple(self.steps) or tuple(range(1, n + 1))
        if len(steps) != n:
            raise UsageError(f"a course needs a step for each value, got {len(steps)} steps and {n} values")
        if not (steps[0] > 0 and math.isfinite(steps[-1]) and all(a < b for a, b in pairwise(steps))):
            raise UsageError(f"the steps of a course ascend from above 0, got {_shown(steps)}")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "seconds", _seconds(self.seconds, steps))
        if self.fails_at is not None and self.fails_at not in steps:
            raise UsageError(f"fails_at is one of the steps of the course, {_shown(steps)}; got {self.fails_at!r}")

    def timed(self) -> Course:
        """Return this with the seconds so far as its steps, for a fidelity that is the time."""
        seconds = self.elapsed()
        fails_at = None if self.fails_at is None else seconds[tuple(self.steps).index(self.fails_at)]
        return Course(self.values, self.seconds, seconds, fails_at)

    def elapsed(self, start: int = 0) -> list[float]:
        """Return the seconds from the end of the first *start* steps to the end of each step, 0 for those."""
        assert isinstance(self.seconds, tuple), "filled in when it was made"
        return [*(0.0 for _ in range(start)), *accumulate(self.seconds[start:])]


Curves = Callable[[Mapping[str, Any]], Course]  # a function of the config: it may be asked more than once


def _seconds(given: float | Sequence[float] | None, steps: Sequence[float]) -> tuple[float, ...]:
    if given is None:
        return tuple(b - a for a, b in pairwise((0, *steps)))
    seconds = (given,) * len(steps) if isinstance(given, int | float) else tuple(given)
    if len(seconds) != len(steps):
        raise UsageError(f"a course needs the seconds of each of its {len(steps)} steps, got {len(seconds)}")
    if not all(0 <= s < math.inf for s in seconds):
        raise UsageError(f"a step takes a finite number of seconds, 0 or more; got {_shown(seconds)}")
    return seconds


def _shown(numbers: Sequence[float]) -> str:
    return ", ".join(map(repr, numbers[:6])) + (", …" if len(numbers) > 6 else "")
