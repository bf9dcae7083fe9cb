"""How far trials go: what ``--fidelity`` says, and which argument it is that tells the program."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whet.cli.arguments import Argument, flag_key
from whet.core.problem import TIME, Fidelity
from whet.core.trial import State, Trial
from whet.errors import UsageError
from whet.space.dsl import Budget
from whet.space.tokens import shown
from whet.space.values import format_value
from whet.text import number, one_line

STEP = "step"  # the fidelity that the steps of reports are
THREE_WAYS = (
    'give the argument that says how far a trial goes as --epochs "budget(1, 81)", or name it with '
    "--fidelity epochs=1:81, or count the steps that the program prints with --fidelity step=1:81"
)
_FORM = re.compile(r"\s*(?P<name>[^\s=:][^\s=]*)=(?P<low>[^:=]+):(?P<high>[^:=]+)")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_POSITION = re.compile(r"arg[1-9][0-9]*")
_OF_STEPS = re.compile("epoch|step|iter", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What ``--fidelity`` asks for.

    Attributes:
        text: the option's value, as typed.
        spelled: the argument that is meant, as typed: ``epochs``, ``--epochs``, ``+trainer.max_epochs``.
        budget: from where to where it goes.
    """

    text: str
    spelled: str
    budget: Budget

    @property
    def is_passed(self) -> bool:
        """Whether an argument tells the program; else its reports' steps are counted, or its time is taken."""
        return self.spelled not in (STEP, TIME)

    @property
    def unpassed(self) -> Fidelity | None:
        """The axis, if no argument tells the program."""
        return None if self.is_passed else Fidelity(self.spelled, self.budget.low, self.budget.high)

    def is_for(self, name: str) -> bool:
        """Tell whether the argument of key *name* is the one that is meant."""
        return self.is_passed and name.replace("_", "-") == flag_key(self.spelled).replace("_", "-")

    def argument(self, flags: Sequence[str]) -> Argument:
        """Return the argument to be added to a command that has none, spelled as its *flags* are.

        Raises:
            UsageError: it is named by its position.
        """
        if _POSITION.fullmatch(self.spelled):
            raise UsageError(f"--fidelity {self.text}: the program is given no argument {self.spelled} without a flag")
        if self.spelled.startswith("-"):
            return Argument(self.spelled, False, "")
        is_hydra = self.spelled.startswith("+") or (bool(flags) and not any(flag.startswith("-") for flag in flags))
        return Argument(self.spelled, True, "") if is_hydra else Argument(f"--{self.spelled}", False, "")


def read_fidelity(text: str) -> Asked:
    """Return what ``epochs=1:81`` asks for; whole numbers stay whole numbers.

    Raises:
        UsageError: it is of another form, or the bounds are no numbers of which the first is the smaller one.
    """
    found = _FORM.fullmatch(text.rstrip())
    if found is None:
        raise UsageError(f"--fidelity {shown(text)}: expected NAME=LOW:HIGH, as in --fidelity epochs=1:81")
    low, high = (_bound(text, found[name].strip()) for name in ("low", "high"))
    if not 0 < low < high:
        raise UsageError(
            f"--fidelity {text.strip()}: expected 0 < LOW < HIGH, where HIGH is as far as a whole trial goes and LOW "
            f"the least that says anything; got {low!r} and {high!r}"
        )
    return Asked(text.strip(), found["name"], Budget(low, high))


def _bound(text: str, bound: str) -> float:
    try:
        value = int(bound) if _WHOLE.fullmatch(bound) else float(bound)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in bound:
        raise UsageError(f"--fidelity {shown(text)}: {shown(bound)} is no number; expected two, as in epochs=1:81")
    return value


def axis_of(key: str, budget: Budget) -> Fidelity:
    """Return the axis along which the argument *key* cuts trials short."""
    return Fidelity(key, budget.low, budget.high)


def budget_text(budget: float, axis: Fidelity) -> str:
    """Return *budget* as the program is told it: a whole number where the bounds are such."""
    return str(format_value(int(budget) if axis.is_integer else budget))


def counts_steps(axis: Fidelity, *, is_passed: bool) -> bool:
    """Tell whether the steps of reports say how far along *axis* an attempt is.

    Where an argument is given a part, such as the fraction of the data to train on, the steps are of something else:
    an attempt has come as far as it was told when it has ended, and nowhere before.
    """
    return not is_passed or axis.is_integer or axis.is_time or _OF_STEPS.search(axis.name) is not None


# ---- in words
def axis_text(axis: Fidelity) -> str:
    """Return ``epochs from 1 to 81``."""
    return f"{axis.name} from {number(axis.low)} to {number(axis.high)}"


def reached_text(trial: Trial, axis: Fidelity) -> str:
    """Return how far *trial* has come, of how far there is: ``epochs 9/81``."""
    return f"{one_line(axis.name, 60)} {number(reached_by(trial) or 0)}/{number(axis.high)}"


def short_text(trial: Trial, axis: Fidelity | None) -> str:
    """Return how far a stopped or paused trial came, and why no farther: ``epochs 9/81: 3rd of 4 …``."""
    if trial.state not in (State.STOPPED, State.PAUSED):
        return ""
    where = reached_text(trial, axis) if axis is not None and trial.curve else ""
    return ": ".join(filter(None, (where, one_line(trial.message))))


def short_record(trial: Trial, axis: Fidelity | None) -> dict[str, Any]:
    """Return, as JSON, how far a trial was to go and came, and why no farther, where it need not go all the way."""
    is_short = trial.state in (State.STOPPED, State.PAUSED)
    if axis is None and not is_short:
        return {}
    reason = {"reason": trial.message or None} if is_short else {}
    return {"budget": trial.budget, "reached": reached_by(trial), **reason}


def reached_by(trial: Trial) -> float | None:
    """Return the furthest step that *trial* has reported; ``None``: it has reported nothing."""
    return max((row[0] for row in trial.curve), default=None)


def mismatch(trial: Trial, flag: str) -> str | None:
    """Return what to know if *trial* has reported steps beyond the budget that the argument *flag* told it."""
    reached = reached_by(trial)
    if trial.budget is None or reached is None or reached <= trial.budget:
        return None
    told, step = number(trial.budget), number(reached)
    word = "epoch" if "epoch" in flag.lower() else "step"
    return (
        f"a trial was told {flag} {told} and printed step {step}: its steps are of something else, so trials are "
        f"compared at the wrong places; let it print lines such as `{word} {told}: val_loss 0.2`, or let its steps be "
        "what counts: --fidelity step=LOW:HIGH, with --scheduler asha or median"
    )
