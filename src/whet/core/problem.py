"""What is to be optimised: a space, objectives, outcome constraints and, where there is one, a fidelity."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from whet.errors import UsageError
from whet.space.space import Space

BARE = "value"  # the metric that a bare number is
TIME = "seconds"  # the fidelity that is measured

Direction = Literal["minimize", "maximize"]
_DIRECTIONS: dict[str, Direction] = {
    "min": "minimize",
    "minimize": "minimize",
    "minimise": "minimize",
    "max": "maximize",
    "maximize": "maximize",
    "maximise": "maximize",
}
_CONSTRAINT = re.compile(r"\s*(?P<name>[^<>\s][^<>]*?)\s*(?P<relation><=|>=)\s*(?P<bound>[^<>=]+)\s*")


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric to make small or large. Values keep the user's sign; see :attr:`sign`.

    Raises:
        UsageError: the name is empty or the direction unknown.
    """

    name: str
    direction: Direction = "minimize"

    def __post_init__(self) -> None:
        """Accept the short spellings of a direction."""
        if not self.name.strip():
            raise UsageError("an objective needs the name of a metric, as in val_loss:min")
        known = _DIRECTIONS.get(str(self.direction).lower())
        if known is None:
            raise UsageError(
                f"objective {self.name!r}: the direction {self.direction!r} is neither 'minimize' nor 'maximize'"
            )
        object.__setattr__(self, "direction", known)

    @property
    def sign(self) -> int:
        """Factor that turns values into values to minimise: 1 or -1."""
        return 1 if self.direction == "minimize" else -1

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read ``val_loss:min``, split at the last colon; without one the metric is minimised."""
        name, colon, direction = text.rpartition(":")
        if not colon:
            return cls(text)
        if direction.strip().lower() not in _DIRECTIONS:
            raise UsageError(
                f"objective {text!r}: expected NAME:min or NAME:max after the last colon, got {direction!r}"
            )
        return cls(name, _DIRECTIONS[direction.strip().lower()])


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound on a metric: a trial that breaks it is never the best one."""

    name: str
    relation: Literal["<=", ">="]
    bound: float

    def __post_init__(self) -> None:
        """Refuse what nothing can be compared with."""
        if self.relation not in ("<=", ">="):
            raise UsageError(f"constraint on {self.name!r}: expected <= or >=, got {self.relation!r}")
        if not math.isfinite(self.bound):
            raise UsageError(f"constraint on {self.name!r}: the bound must be a finite number, got {self.bound!r}")

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read ``latency_ms <= 20``."""
        match = _CONSTRAINT.fullmatch(text)
        if match is None:
            raise UsageError(f"constraint {text!r}: expected NAME<=NUMBER or NAME>=NUMBER, as in 'latency_ms<=20'")
        try:
            bound = float(match["bound"])
        except ValueError:
            raise UsageError(f"constraint {text!r}: {match['bound'].strip()!r} is not a number") from None
        return cls(match["name"], "<=" if match["relation"] == "<=" else ">=", bound)

    def is_met_by(self, value: float) -> bool:
        """Tell whether *value* keeps the bound; NaN does not."""
        return value <= self.bound if self.relation == "<=" else value >= self.bound


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The axis along which a trial can be cut short, such as epochs from 1 to 81."""

    name: str
    low: float
    high: float
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse an axis without extent."""
        for name in ("low", "high"):
            bound = getattr(self, name)
            if isinstance(bound, bool) or not isinstance(bound, Real):
                raise UsageError(f"fidelity {self.name!r}: {name} must be a number, got {bound!r}")
            object.__setattr__(self, name, int(bound) if isinstance(bound, Integral) else float(bound))  # for JSON
        if not (math.isfinite(self.low) and math.isfinite(self.high) and 0 < self.low < self.high):
            raise UsageError(
                f"fidelity {self.name!r}: expected 0 < low < high, got low={self.low!r}, high={self.high!r}"
            )

    @property
    def is_time(self) -> bool:
        """Whether it is the time that an attempt has taken so far: it is measured, whatever steps reports have."""
        return self.name == TIME

    @property
    def is_integer(self) -> bool:
        """Whether budgets are whole numbers, as both bounds are."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True, slots=True)
class Problem:
    """A space and what is wanted in it.

    Attributes:
        metrics: names of the metrics whose reports are kept: objectives, then constraints not among them.

    Raises:
        UsageError: two objectives or constraints share a name.
    """

    space: Space
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    fidelity: Fidelity | None = None
    metrics: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse the same metric as an objective twice."""
        names = [objective.name for objective in self.objectives]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise UsageError(f"the objective {min(doubled)!r} is given twice")
        names += [constraint.name for constraint in self.constraints]
        object.__setattr__(self, "metrics", tuple(dict.fromkeys(names)))

    def is_feasible(self, values: Mapping[str, float]) -> bool:
        """Tell whether *values* meet every constraint; a metric that is missing does not."""
        return all(c.is_met_by(values.get(c.name, math.nan)) for c in self.constraints)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        fidelity = self.fidelity
        return {
            "space": self.space.to_json(),
            "objectives": [[o.name, o.direction] for o in self.objectives],
            "constraints": [[c.name, c.relation, c.bound] for c in self.constraints],
            "fidelity": fidelity and [fidelity.name, fidelity.low, fidelity.high, fidelity.unit],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Problem:
        """Rebuild a problem from what :meth:`to_json` gave."""
        return cls(
            space=Space.from_json(data["space"]),
            objectives=tuple(Objective(*item) for item in data["objectives"]),
            constraints=tuple(Constraint(*item) for item in data["constraints"]),
            fidelity=Fidelity(*data["fidelity"]) if data["fidelity"] else None,
        )


def problem_of(
    space: Space | Mapping[str, Any],
    objective: str | Mapping[str, str] | Sequence[Objective],
    constraints: Sequence[str | Constraint],
    fidelity: Fidelity | Mapping[str, tuple[float, float]] | None,
) -> Problem:
    """Return the problem that a user describes.

    Raises:
        UsageError: a part that makes no sense; the message says which.
    """
    return Problem(
        space if isinstance(space, Space) else Space(space),
        _objectives(objective),
        tuple(c if isinstance(c, Constraint) else Constraint.parse(c) for c in constraints),
        _fidelity(fidelity),
    )


def _fidelity(given: Fidelity | Mapping[str, tuple[float, float]] | None) -> Fidelity | None:
    if given is None or isinstance(given, Fidelity):
        return given
    try:
        ((name, (low, high)),) = given.items()
        return Fidelity(name, low, high)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        expected = "a fidelity is one name with two bounds, as in {'epochs': (1, 81)}"
        raise UsageError(f"{expected}, got {given!r}") from None


def _objectives(objective: str | Mapping[str, str] | Sequence[Objective]) -> tuple[Objective, ...]:
    if isinstance(objective, str):
        return (Objective(BARE, objective),)  # type: ignore[arg-type]  # any spelling; checked there
    if isinstance(objective, Mapping):
        return tuple(Objective(name, direction) for name, direction in objective.items())  # type: ignore[arg-type]
    if all(isinstance(one, Objective) for one in objective):
        return tuple(objective)
    raise UsageError(
        "an objective is 'minimize' or 'maximize', or metric names with their directions, as in "
        f"{{'val_acc': 'maximize', 'ms': 'minimize'}}, got {objective!r}"
    )
