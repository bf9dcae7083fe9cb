"""What comes back from a trial and is no finite real number fails that trial, with the value in words (F13)."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.studies import call
from whet import errors
from whet.core.trial import Cause, State
from whet.study import Study, load
from whet.tuning import tune


class Broken:
    """Breaks whichever way it is turned into a number or a text."""

    def __float__(self) -> float:
        raise RuntimeError("no number today")

    def __repr__(self) -> str:
        raise RuntimeError("no text either")


# What is returned or told; the value that it completes with, or the cause of its failure; and the words on that.
TABLE: list[tuple[Any, float | Cause, str]] = [
    (0.5, 0.5, ""),
    (True, 1.0, ""),
    (7, 7.0, ""),
    (-0.0, 0.0, ""),
    (5e-324, 5e-324, ""),
    (10**300, 1e300, ""),
    (Decimal("0.25"), 0.25, ""),
    (Fraction(1, 4), 0.25, ""),
    (np.float32(0.5), 0.5, ""),
    (np.float16(0.5), 0.5, ""),
    (np.int64(-3), -3.0, ""),
    (np.bool_(True), 1.0, ""),
    (np.array(0.5), 0.5, ""),
    (math.nan, Cause.BAD_VALUE, "nan"),
    (math.inf, Cause.BAD_VALUE, "inf"),
    (-math.inf, Cause.BAD_VALUE, "-inf"),
    (np.float64("nan"), Cause.BAD_VALUE, "nan"),
    (np.float32("inf"), Cause.BAD_VALUE, "inf"),
    (Decimal("NaN"), Cause.BAD_VALUE, "nan"),
    (None, Cause.NO_METRIC, "no metric was seen"),
    ("0.5", Cause.BAD_VALUE, "'0.5'"),
    ("abc", Cause.BAD_VALUE, "'abc'"),
    ("1e400", Cause.BAD_VALUE, "'1e400'"),
    (b"0.5", Cause.BAD_VALUE, "b'0.5'"),
    (10**400, Cause.BAD_VALUE, "too large"),
    (-(10**5000), Cause.BAD_VALUE, "many digits"),
    (1j, Cause.BAD_VALUE, "1j"),
    (np.complex128(1j), Cause.BAD_VALUE, "1j"),
    ((1.0,), Cause.BAD_VALUE, "(1.0,)"),
    ([1.0], Cause.BAD_VALUE, "[1.0]"),
    ({}, Cause.NO_METRIC, "no metric was seen"),
    ({"value": "0.5"}, Cause.BAD_VALUE, "'0.5'"),
    ({"value": 10**400}, Cause.BAD_VALUE, "too large"),
    ({"loss": 0.5}, Cause.NO_METRIC, "loss"),
    (np.zeros(3), Cause.BAD_VALUE, "array"),
    (np.array([]), Cause.BAD_VALUE, "array"),
    (np.datetime64("2026-01-01"), Cause.BAD_VALUE, "2026"),
    (np.array("0.5"), Cause.BAD_VALUE, "'0.5'"),
    (object, Cause.BAD_VALUE, "object"),
    (Broken(), Cause.BAD_VALUE, "repr failed"),
    ("x" * 100_000, Cause.BAD_VALUE, "xxx"),
]
# What a run makes of itself with so many bad values: no target, no end at the third failure.
_ALL = {"n_trials": len(TABLE), "max_failures": len(TABLE) + 1, "sampler": "grid", "progress": False}


def _check(study: Study) -> None:
    assert [trial.number for trial in study.trials] == list(range(len(TABLE)))
    for trial, (given, expected, words) in zip(study.trials, TABLE, strict=True):
        if isinstance(expected, Cause):
            assert (trial.state, trial.cause) == (State.FAILED, expected), given
            assert words in trial.message, given
            assert len(trial.message) < 4000
        else:
            assert (trial.state, trial.values["value"]) == (State.COMPLETED, expected), given
    best = min(expected for _, expected, _ in TABLE if not isinstance(expected, Cause))
    assert study.best_value == best


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_whatever_a_function_returns_the_run_goes_on(executor: Any) -> None:
    space = {"i": list(range(len(TABLE)))}
    _check(tune(lambda config: TABLE[config["i"]][0], space, executor=executor, seed=1, **_ALL))


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_whatever_a_function_reports_the_run_goes_on(executor: Any) -> None:
    """A report of no number is a mistake in the function, which is told at its line; NaN and infinities are numbers."""

    def train(config: dict[str, Any], trial: Any) -> None:
        trial.report(TABLE[config["i"]][0], 1)

    study = tune(train, {"i": list(range(len(TABLE)))}, executor=executor, seed=1, **_ALL)
    for trial, (given, expected, _) in zip(study.trials, TABLE, strict=True):
        if not isinstance(expected, Cause):
            assert trial.values == {"value": expected}, given
        else:
            is_number = isinstance(given, float | np.floating | Decimal)
            causes = {Cause.BAD_VALUE} if is_number else {Cause.ERROR, Cause.NO_METRIC}
            assert (trial.state, trial.cause in causes) == (State.FAILED, True), (given, trial)


@pytest.mark.filterwarnings("default")  # as a program of one's own is run
def test_whatever_is_told_the_trial_can_still_be_told_well(tmp_path: Path) -> None:
    """In a loop of one's own: what is no number is refused, and the trial goes on; NaN and infinities fail it."""
    study = Study({"x": (0.0, 1.0)}, store=str(tmp_path / "whet.db"), sampler="random", seed=1)
    for given, expected, _ in TABLE:
        trial = study.ask()
        try:
            told = study.tell(trial, given)
        except errors.UsageError as error:
            assert isinstance(expected, Cause), given
            assert len(str(error)) < 1000
            told = study.tell(trial, 0.5)
            assert told.state is State.COMPLETED
        else:
            if isinstance(expected, Cause):
                assert (told.state, told.cause) == (State.FAILED, expected), given
            else:
                assert (told.state, told.values["value"]) == (State.COMPLETED, expected), given


PRINTED = {
    "nan": Cause.BAD_VALUE,
    "NaN": Cause.BAD_VALUE,
    "-inf": Cause.BAD_VALUE,
    "Infinity": Cause.BAD_VALUE,
    "1e400": Cause.BAD_VALUE,
    "1" + "0" * 400: Cause.BAD_VALUE,
    "None": Cause.NO_METRIC,
    "abc": Cause.NO_METRIC,
    "[]": Cause.NO_METRIC,
    "{}": Cause.NO_METRIC,
    "": Cause.NO_METRIC,
    "0.5": 0.5,
    "-5e-324": -5e-324,
}


def _script(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(here)
    (here / "odd.py").write_text(f"import sys\nprint('loss:', {list(PRINTED)!r}[int(sys.argv[1])])\n")
    return f"range({len(PRINTED)})"


def test_whatever_a_script_prints_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = _script(tmp_path, monkeypatch)
    call("run", "--name", "s", "--max-failures", 99, "--minimize", "loss", "odd.py", each, expect=None)
    for trial, (text, expected) in zip(load("s").trials, PRINTED.items(), strict=True):
        if isinstance(expected, Cause):
            assert (trial.state, trial.cause) == (State.FAILED, expected), text
        else:
            assert (trial.state, trial.values) == (State.COMPLETED, {"loss": expected}), text
    assert load("s").best_value == -5e-324


def test_infinities_can_count_as_the_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an option: what is not finite completes as the worst value there is, whatever its sign, and is never best."""
    each = _script(tmp_path, monkeypatch)
    options = ["--name", "s", "--max-failures", 99, "--inf", "worst"]
    call("run", *options, "--maximize", "loss", "odd.py", each, expect=None)
    for trial, (text, expected) in zip(load("s").trials, PRINTED.items(), strict=True):
        if expected is Cause.BAD_VALUE:
            assert (trial.state, trial.values) == (State.COMPLETED, {"loss": -math.inf}), text
    assert load("s").best_value == 0.5
    listed = call("show", "s", "--json")
    assert "Infinity" not in listed.out
    assert "NaN" not in listed.out
