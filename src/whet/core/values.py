"""From what an attempt reported to the values of its trial, and the verdict on them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from whet.core.history import History
from whet.core.problem import BARE, Objective, Problem
from whet.core.trial import Cause, Curve, Trial
from whet.errors import UsageError
from whet.space.plain import shortened

Told = float | Mapping[str, float]  # what people tell of a trial
_MAX_ROWS = 1_000  # of a curve that are logged one by one; then as many of every second one, of every fourth, …


@dataclass(frozen=True, slots=True)
class Take:
    """How a metric's reports become its value: the last one, the best one, or the mean of the last ``n``."""

    kind: Literal["last", "best", "mean"] = "last"
    n: int = 1

    @classmethod
    def parse(cls, text: str) -> Take:
        """Read ``last``, ``best`` or ``mean:N``.

        Raises:
            UsageError: it is none of them, or N is no positive whole number.
        """
        kind, _, count = text.partition(":")
        if kind in ("last", "best") and not count:
            return cls("last" if kind == "last" else "best")
        if kind == "mean" and count.isascii() and count.isdigit() and int(count) > 0:
            return cls("mean", int(count))
        raise UsageError(f"expected last, best or mean:N (N a whole number from 1), got {text!r}")

    def __str__(self) -> str:
        return f"mean:{self.n}" if self.kind == "mean" else self.kind


@dataclass(frozen=True, slots=True)
class Rules:
    """How ended attempts are judged.

    Attributes:
        take: how reports become a value.
        infinite: what a non-finite objective does: ``"fail"`` the trial, or count as the ``"worst"`` possible value.
        retries: cause of a failure to the number of times that a trial is run again after it.
    """

    take: Take = Take()
    infinite: Literal["fail", "worst"] = "fail"
    retries: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names of causes."""
        unknown = set(self.retries) - set(Cause)
        if unknown:
            known = ", ".join(cause.value for cause in Cause)
            raise UsageError(f"retries: {min(unknown)!r} is no cause of failure (known: {known})")

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return {"take": str(self.take), "infinite": self.infinite, "retries": dict(self.retries)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rules:
        """Rebuild rules from what :meth:`to_json` gave."""
        return cls(Take.parse(data.get("take", "last")), data.get("infinite", "fail"), data.get("retries", {}))


class Tally:
    """What one attempt has reported of the problem's metrics so far.

    Args:
        problem, take: of the study.
        trial: whose attempt it is. What earlier attempts reported counts where this one goes on from there.
    """

    def __init__(self, problem: Problem, take: Take, trial: Trial | None = None) -> None:
        self._metrics = problem.metrics
        self._signs = {objective.name: objective.sign for objective in problem.objectives}
        self._take = take
        self._last: dict[str, deque[float]] = {}
        self._best: dict[str, float] = {}
        self._n_rows = 0
        self._earlier = Curve() if trial is None else trial.curve
        was_interrupted = trial is not None and trial.cause is None and len(trial.curve) > trial.n_kept
        self._may_be_done = was_interrupted  # so that this attempt may have nothing left to report

    def add(self, step: float, metrics: Mapping[str, float]) -> list[float | None] | None:
        """Take in one report; return it as a row of the curve, or ``None`` if the curve is better off without it.

        The row holds the step and then each metric of the problem, ``None`` where the report does not say.
        """
        is_told = any(name in metrics for name in self._metrics)
        if is_told and not self._n_rows:
            self._recall(self._earlier.before(step))
        for name, value in metrics.items():
            self._note(name, value)
        if not is_told:
            return None
        self._n_rows += 1
        stride = 1 << (((self._n_rows - 1) // _MAX_ROWS + 1).bit_length() - 1)
        if self._n_rows % stride:
            return None
        return [step, *(metrics.get(name) for name in self._metrics)]

    def _note(self, name: str, value: float) -> None:
        self._last.setdefault(name, deque(maxlen=self._take.n)).append(value)
        sign = self._signs.get(name)
        if sign is not None and not math.isnan(value):
            self._best[name] = sign * min(sign * value, sign * self._best.get(name, value))

    def _recall(self, earlier: Curve) -> None:
        """Take in what earlier attempts have reported, as far as it was a number."""
        for _, *row in earlier:
            for name, value in zip(self._metrics, row, strict=True):
                if not math.isnan(value):
                    self._note(name, value)

    def values(self, seen: Mapping[str, float]) -> dict[str, float]:
        """Return the trial's values: the problem's metrics first, then every other metric of *seen*."""
        if self._may_be_done and not self._n_rows and not any(name in seen for name in self._metrics):
            self._may_be_done = False
            self._recall(self._earlier)
        values = {name: self._value(name) for name in self._metrics if name in self._last}
        return {**values, **{name: value for name, value in seen.items() if name not in values}}

    def _value(self, name: str) -> float:
        if self._take.kind == "best" and name in self._best:
            return self._best[name]
        last = self._last[name]
        if self._take.kind == "mean" and len(last) > 1:
            # Divided first: the sum of what is finite may not be.
            return math.fsum(value / len(last) for value in last) if all(map(math.isfinite, last)) else sum(last)
        return last[-1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an attempt that ended well completed its trial, and the values to keep."""

    cause: Cause | None
    message: str
    values: Mapping[str, float]


def judge(problem: Problem, rules: Rules, values: Mapping[str, float]) -> Verdict:
    """Return the verdict on the *values* of an attempt that ended well."""
    values = dict(values)
    for objective in problem.objectives:
        if objective.name not in values:
            return Verdict(Cause.NO_METRIC, _missing(objective, values), values)
        value = values[objective.name]
        if math.isfinite(value):
            continue
        if rules.infinite == "fail":
            text = f"{objective.name} is {value!r}, which is no finite number"
            remedy = "print or return a finite one (on the command line `--inf worst` counts it as the worst value)"
            return Verdict(Cause.BAD_VALUE, f"{text}; {remedy}", values)
        values[objective.name] = objective.sign * math.inf
    return Verdict(None, "", values)


def _missing(objective: Objective, seen: Mapping[str, float]) -> str:
    names = list(seen)[:12]
    more = f" and {len(seen) - len(names)} more" if len(seen) > len(names) else ""
    what = f"metrics seen: {', '.join(names)}{more}" if names else "no metric was seen at all"
    if objective.name == BARE:
        return (
            f"the objective is a bare number and none was returned or told; {what}. Return a number, or say which "
            "metric to optimise, as in objective={'val_loss': 'minimize'}"
        )
    return (
        f"the objective {objective.name!r} never appeared; {what}. A script prints it as '{objective.name}: 0.3', "
        "a function returns or reports it under that name; or make one of those seen the objective"
    )


def verdict_on(values: Told, history: History) -> Verdict:
    """Return the verdict on what somebody tells of a trial, by the rules of its study.

    Raises:
        UsageError: as for :func:`final_metrics`.
    """
    rules = Rules.from_json(history.settings.get("rules", {}))
    return judge(history.problem, rules, final_metrics(values, history.problem))


def metrics_of(values: Told) -> dict[str, float]:
    """Return *values* as a dict of metrics; a bare number is the metric ``value``.

    Raises:
        UsageError: one of them is no number.
    """
    if isinstance(values, Mapping):
        return {str(name): number_of(f"the metric {name!r}", value) for name, value in values.items()}
    return {BARE: number_of("the value", values)}


def final_metrics(values: Told, problem: Problem) -> dict[str, float]:
    """Return the metrics that end a trial.

    Raises:
        UsageError: a bare number where objectives have names, or names where a bare number is what counts.
    """
    metrics = metrics_of(values)
    names = [objective.name for objective in problem.objectives]
    if not isinstance(values, Mapping) and names and BARE not in names:
        raise UsageError(
            f"the objectives are {', '.join(names)}, so a bare number says too little: "
            f"tell(trial, {{{', '.join(f'{name!r}: …' for name in names)}}})"
        )
    if isinstance(values, Mapping) and names == [BARE] and BARE not in metrics:
        raise UsageError(
            f"got the metrics {', '.join(metrics) or 'of an empty dict'}, and the objective is a bare number: "
            "tell one, or make the study with the metric to optimise, as in objective={'val_loss': 'minimize'}"
        )
    return metrics


def number_of(what: str, value: Any) -> float:
    """Return *value*, which is *what*, as a float.

    Raises:
        UsageError: it is no number, or none that a float can be.
    """
    try:
        # Of an array or a tensor its one item, if there is one; NumPy itself would drop a part of a complex number.
        one = value.item() if hasattr(value, "item") else value
        if not isinstance(one, str | bytes | bytearray):  # which Python's float would read
            return float(one)
    except OverflowError:
        raise UsageError(f"{what} must be a number, and is too large for a float: {_shown(value)}") from None
    except Exception as error:  # an object of the user's own may raise anything
        raise UsageError(f"{what} must be a number, got {_shown(value)}") from error
    raise UsageError(f"{what} must be a number, got the text {shortened(repr(one))}; float(…) makes it one")


def _shown(value: Any) -> str:
    try:
        return shortened(repr(value))
    except Exception:  # Python writes no integer of more than 4,300 digits, and an object may refuse
        return f"a value of type {type(value).__name__} that Python cannot show"
