"""`whet.report` as a script calls it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet.executors.metrics import MetricReader
from whet.reporting import report


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "reported.jsonl"
    monkeypatch.setenv("WHET_METRICS", str(path))
    return path


class Tensor:
    """One number somewhere else, as torch and jax have them."""

    def __init__(self, *values: float) -> None:
        self.values, self.shape = values, (len(values),)

    def item(self) -> float:
        if len(self.values) != 1:
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.values[0]


def test_a_report_is_a_line(reported: Path) -> None:
    report(3, val_loss=0.25, n=7)
    report(val_loss=0.5)
    report(step=2.5, **{"val/acc": True})
    assert (
        reported.read_text()
        == '{"step": 3, "val_loss": 0.25, "n": 7.0}\n{"val_loss": 0.5}\n{"step": 2.5, "val/acc": 1.0}\n'
    )


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float64(0.5),
        np.float32(0.5),
        np.array(0.5),
        np.array([[0.5]]),
        Tensor(0.5),
        Decimal("0.5"),
        Fraction(1, 2),
    ],
)
def test_what_holds_one_number_is_one(reported: Path, value: Any) -> None:
    report(loss=value)
    assert json.loads(reported.read_text()) == {"loss": 0.5}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_numbers_that_are_not_finite_are_read_again(reported: Path, value: float) -> None:
    report(1, loss=value)
    reading = MetricReader().feed_json(reported.read_text())
    assert reading is not None
    assert repr(reading.metrics) == repr({"loss": float(value)})


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("0.5", TypeError, "loss: expected a number, got the text '0.5'"),
        (b"1", TypeError, "the text"),
        (None, TypeError, r"expected a real number, got None \(NoneType\)"),
        (1j, TypeError, "expected a real number"),
        ({}, TypeError, "expected a real number"),
        ([0.5], TypeError, "expected a real number"),
        (10**400, ValueError, "too large"),
        (np.array([1.0, 2.0]), ValueError, r"one number, got ndarray of shape \(2,\)"),
        (Tensor(1.0, 2.0), ValueError, r"one number, got Tensor of shape \(2,\)"),
        (np.array(["0.5"]), TypeError, "the text '0.5'"),
    ],
)
@pytest.mark.parametrize("is_in_a_trial", [True, False])
def test_what_is_no_number_is_refused_inside_a_trial_and_outside(
    reported: Path, monkeypatch: pytest.MonkeyPatch, value: Any, error: type[Exception], words: str, is_in_a_trial: bool
) -> None:
    if not is_in_a_trial:
        monkeypatch.delenv("WHET_METRICS")
    with pytest.raises(error, match=words):
        report(1, loss=value)
    assert not reported.exists()


@pytest.mark.parametrize("step", [math.nan, math.inf, "3", None])
def test_a_step_is_a_finite_number(reported: Path, step: Any) -> None:
    if step is None:
        with pytest.raises(ValueError, match="nothing to report"):
            report(step)
    else:
        with pytest.raises((TypeError, ValueError), match="step: expected a"):
            report(step, loss=1.0)


def test_outside_a_trial_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHET_METRICS", raising=False)
    monkeypatch.chdir(tmp_path)
    report(1, loss=0.5)
    assert list(tmp_path.iterdir()) == []


def test_lines_of_several_processes_do_not_mix(reported: Path) -> None:
    code = "from whet.reporting import report\nfor i in range(500): report(i, **{'x' * 300: i})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    lines = [json.loads(line) for line in reported.read_text().splitlines()]
    assert sorted(line["step"] for line in lines) == sorted(list(range(500)) * 4)


def test_a_report_that_cannot_be_written_warns_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHET_METRICS", str(tmp_path / "missing" / "file"))
    with pytest.warns(RuntimeWarning, match="No such file") as warned:
        report(1, loss=0.5)
    assert warned[0].filename == __file__
