"""How functions are called: their parameters, what they return, what they see of their trial."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet.core.protocols import Decision
from whet.errors import TrialStopped, UsageError
from whet.executors.calling import BadValueError, bind, call, metrics_of
from whet.executors.live import LiveTrial, TrialFacts

Rows = list[tuple[float, dict[str, float]]]


def live(
    folder: Path | None = None, rows: Rows | None = None, decisions: list[str] | None = None, **facts: Any
) -> LiveTrial:
    kept: Rows = [] if rows is None else rows

    def channel(step: float, metrics: dict[str, float], *, waits: bool) -> str:
        kept.append((step, metrics))
        return decisions.pop(0) if decisions else "continue"

    known = {"number": 3, "config": {"x": 2, "l": [1]}, "seed": 9, "budget": 4.0, "waits": False, **facts}
    return LiveTrial(TrialFacts(**known), folder, channel)


class Model:
    def method(self, config: dict[str, Any], trial: LiveTrial) -> Any:
        return config["x"], trial.number

    def __call__(self, trial: LiveTrial) -> Any:
        return trial.number


def plain(c: dict[str, Any], verbose: bool = False) -> Any:
    return c["x"], verbose


@pytest.mark.parametrize(
    ("fn", "result"),
    [
        (lambda config: config["x"], 2),
        (lambda anything: anything["x"], 2),
        (lambda trial: trial.number, 3),
        (lambda config, trial: (config["x"], trial.number), (2, 3)),
        (lambda trial, config: (config["x"], trial.number), (2, 3)),
        (lambda config, budget: (config["x"], budget), (2, 4.0)),
        (lambda trial, budget: (trial.number, budget), (3, 4.0)),
        (lambda config, trial, budget: (config["x"], trial.number, budget), (2, 3, 4.0)),
        (lambda config, budget=1.0: budget, 4.0),
        (lambda config, lr=0.1, trial=None: (lr, trial.number), (0.1, 3)),
        (lambda config, *, trial: trial.number, 3),
        (lambda config, /, trial: trial.number, 3),
        (lambda *args: args[0]["x"], 2),
        (lambda config, *args, **kwargs: (args, kwargs), ((), {})),
        (lambda config=None: config["x"], 2),
        (plain, (2, False)),
        (functools.partial(plain, verbose=True), (2, True)),
        (functools.partial(lambda data, config: (data, config["x"]), 7), (7, 2)),
        (functools.partial(lambda config, data, trial: (data, trial.number), data=7), (7, 3)),
        (Model().method, (2, 3)),
        (Model(), 3),
        (len, 2),
    ],
)
def test_a_function_gets_what_its_parameters_say(fn: Callable[..., Any], result: object) -> None:
    assert bind(fn, has_fidelity=True)(live()) == result


@pytest.mark.parametrize(
    ("fn", "says"),
    [
        (lambda lr, dropout: 0, "'dropout'"),
        (lambda config, lr: 0, "'lr'"),
        (lambda config, *, lr: 0, "'lr'"),
        (lambda: 0, "neither a config nor a trial"),
        (lambda lr=0.1: 0, "neither a config nor a trial"),
        (lambda **config: 0, r"\*\*config"),
        (lambda budget: 0, "neither a config nor a trial"),
        (Model, "is a class"),
        (3, "expected a function"),
        (None, "expected a function"),
    ],
)
def test_other_parameters_are_refused(fn: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        bind(fn, has_fidelity=True)
    assert "fn(config)" in str(caught.value) or "class" in str(caught.value)


def test_functions_of_other_kinds_are_refused() -> None:
    async def later(config: dict[str, Any]) -> float:
        return 1.0

    def one_by_one(config: dict[str, Any]) -> Any:
        yield 1.0

    class Later:
        async def __call__(self, config: dict[str, Any]) -> float:
            return 1.0

    for fn in (later, functools.partial(later), Later()):
        with pytest.raises(UsageError, match=r"async function.*asyncio\.run"):
            bind(fn, has_fidelity=False)
    with pytest.raises(UsageError, match=r"generator function.*trial\.report"):
        bind(one_by_one, has_fidelity=False)


def test_a_budget_needs_a_fidelity() -> None:
    with pytest.raises(UsageError, match="fidelity="):
        bind(lambda config, budget: 0, has_fidelity=False)
    assert bind(lambda config, budget=7: budget, has_fidelity=False)(live()) == 7


def test_the_config_is_the_functions_own() -> None:
    facts = {"x": 1, "l": [1, [2]]}

    def spoil(config: dict[str, Any]) -> None:
        config["x"] = 5
        config["l"][1].append(3)

    bind(spoil, has_fidelity=False)(live(config=facts))
    assert facts == {"x": 1, "l": [1, [2]]}


# ---- what comes back
@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        (None, {}),
        ({}, {}),
        (3, {"value": 3.0}),
        (True, {"value": 1.0}),
        (Decimal("0.5"), {"value": 0.5}),
        (Fraction(1, 4), {"value": 0.25}),
        (np.float32(0.5), {"value": 0.5}),
        (np.array(0.5), {"value": 0.5}),
        (np.array([[0.5]]), {"value": 0.5}),
        ({1: 2, "b": np.int64(3)}, {"1": 2.0, "b": 3.0}),
        (math.inf, {"value": math.inf}),
    ],
)
def test_what_is_a_metric(returned: object, metrics: dict[str, float]) -> None:
    found = metrics_of(returned)
    assert found == metrics
    assert all(type(value) is float for value in found.values())
    assert math.isnan(metrics_of(Decimal("nan"))["value"])


class Awkward:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("0.5", r"'0\.5' \(str\)"),
        (b"1", "bytes"),
        (1j, "complex"),
        (np.complex128(1j), "complex"),
        ([0.5], "list"),
        ((0.5, 0.1), "tuple"),
        (np.zeros(3), r"ndarray.*"),
        pytest.param(10**400, "too large", id="large"),
        pytest.param(10**10_000, "too large", id="huge"),
        ({"a": None}, r"returned\['a'\] is None"),
        ({"a": "b"}, "'b'"),
        (object(), "object"),
        (Awkward(), "Awkward"),
        pytest.param("x" * 10_000, "…", id="long"),
    ],
)
def test_what_is_none(returned: object, says: str) -> None:
    with pytest.raises(BadValueError, match=says) as caught:
        metrics_of(returned)
    assert "expected a number, a dict of metrics" in str(caught.value)
    assert len(str(caught.value)) < 800
    end = call(bind(lambda config: returned, has_fidelity=False), live())
    assert (end.cause, end.metrics) == ("bad_value", {})


# ---- reports
def test_reports_are_counted_or_say_their_step() -> None:
    rows: Rows = []
    trial = live(rows=rows)
    assert trial.report(0.5) is Decision.CONTINUE
    trial.report({"loss": np.array(0.4), "acc": float("nan")})
    trial.report(0.3, step=7)
    trial.report(0.2)
    assert [step for step, _ in rows] == [1.0, 2.0, 7.0, 4.0]
    assert rows[0][1] == {"value": 0.5}
    assert rows[1][1]["loss"] == 0.4


@pytest.mark.parametrize("step", [math.nan, math.inf, "x"])
def test_a_step_is_a_finite_number(step: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="step"):
        live().report(0.5, step)


@pytest.mark.parametrize("value", ["x", {}, {"a": "x"}, None, [1, 2]])
def test_what_cannot_be_reported(value: Any) -> None:
    rows: Rows = []
    with pytest.raises((ValueError, TypeError)):
        live(rows=rows).report(value)
    assert rows == []


def test_after_a_stop_it_is_always_stop() -> None:
    trial = live(decisions=["continue", "pause", "continue"], waits=True)
    trial.report(1)
    with pytest.raises(TrialStopped, match="trial 3 is to pause"):
        trial.report(2)
    assert trial.report(3, raises=False) is Decision.PAUSE
    with pytest.raises(TrialStopped):
        trial.report(4)


def test_reports_from_several_threads_are_all_there() -> None:
    rows: Rows = []
    trial = live(rows=rows)
    threads = [threading.Thread(target=lambda: [trial.report(1.0) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [step for step, _ in rows] == [float(step) for step in range(1, 801)]


@pytest.mark.parametrize("name", ["suggest_float", "suggest_int", "should_prune", "set_user_attr", "nonsense"])
def test_names_of_other_tuners_say_what_to_do_instead(name: str) -> None:
    with pytest.raises(AttributeError, match=name) as caught:
        getattr(live(), name)
    assert len(str(caught.value)) > 40


# ---- files
def test_a_checkpoint_replaces_the_one_before(tmp_path: Path) -> None:
    trial = live(tmp_path / "3")
    assert trial.load_checkpoint() is None
    assert not (tmp_path / "3").exists()
    for text in ("one", "two"):
        (tmp_path / "model.pt").write_text(text)
        trial.save_checkpoint(tmp_path / "model.pt")
        found = trial.load_checkpoint()
        assert found is not None
        assert (found.name, found.read_text()) == ("model.pt", text)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("three")
    trial.save_checkpoint(str(folder))
    again = live(tmp_path / "3", attempt=2).load_checkpoint()
    assert again is not None
    assert (again / "a").read_text() == "three"
    assert len(list((tmp_path / "3" / "checkpoint").iterdir())) == 1


def test_a_copy_that_breaks_off_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    trial = live(tmp_path / "3")
    (tmp_path / "model").write_text("whole")
    trial.save_checkpoint(tmp_path / "model")
    part = tmp_path / "3" / "checkpoint" / "2.part"
    part.mkdir()
    (part / "model").write_text("ha")
    with pytest.raises(FileNotFoundError):
        trial.save_checkpoint(tmp_path / "missing")
    found = live(tmp_path / "3", attempt=2).load_checkpoint()
    assert found is not None
    assert found.read_text() == "whole"
    trial.save_checkpoint(tmp_path / "model")


def test_without_a_folder_there_are_no_files() -> None:
    assert live().load_checkpoint() is None
    with pytest.raises(UsageError, match="no folder"):
        _ = live().dir
