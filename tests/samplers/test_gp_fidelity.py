"""The Gaussian process under schedulers: it learns from trials that were stopped, paused or still run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import whet
from whet.core.protocols import Decision
from whet.core.randomness import config_rng
from whet.points.codec import Codec
from whet.points.fidelities import KnownAtLevels
from whet.points.modelled import data_of
from whet.samplers.gp import GP
from whet.testing.sampler_histories import reloaded

SPACE = {"x": (0.0, 1.0), "kind": ["a", "b"]}


def bowl(config: Mapping[str, Any], step: float) -> float:
    return float((config["x"] - 0.3) ** 2 + (config["kind"] == "b") * 0.2 + (1 + 0.1 * config["x"]) / step)


def searched(scheduler: str | None, n: int, *, sign: int = 1, value: Any = bowl, **options: Any) -> whet.Study:
    """Return a study after *n* attempts, one after another."""
    options = {"sampler": "gp", "fidelity": {"epochs": (1, 27)}, "seed": 3} | options
    study = whet.Study(SPACE, "minimize" if sign > 0 else "maximize", scheduler=scheduler, **options)
    for _ in range(n):
        trial = study.ask()
        for step in range(int(trial.curve.last_step() or 0) + 1, int(trial.budget or 27) + 1):
            if study.report(trial, sign * value(trial.config, step), step=step) is not Decision.CONTINUE:
                break
        else:
            study.tell(trial, sign * value(trial.config, step))
    return study


@pytest.mark.parametrize("scheduler", ["asha", "asha(type=promotion)", "median(n_start=2)", "hyperband"])
@pytest.mark.parametrize("sign", [1, -1])
def test_it_finds_the_best_under_any_scheduler(scheduler: str, sign: int) -> None:
    study = searched(scheduler, 26, sign=sign)
    by_model = [trial for trial in study.trials if trial.why.get("source") == "gp"]
    assert len(by_model) >= 10
    assert all({"mean", "std", "score"} <= trial.why.keys() for trial in by_model)
    near = [trial for trial in by_model if trial.config and abs(trial.config["x"] - 0.3) < 0.1]
    assert len(near) >= 4 and any(trial.config["kind"] == "a" for trial in near if trial.config)


def test_stopped_and_paused_trials_are_rows_of_the_model() -> None:
    study = searched("asha(type=promotion)", 16)
    history = study.ledger.history
    codec = Codec(history.problem.space)
    data = data_of(KnownAtLevels()(history, codec))
    assert data.curves is not None
    assert len(data.x) == len(study.trials)
    levels = [1, 3, 9, 27]
    expected = [
        (math.log(level) / math.log(27), bowl(trial.config or {}, level))
        for trial in study.trials
        for level in levels
        if level <= (trial.curve.last_step() or 0)
    ]
    found = list(zip(data.curves.x[:, -1].tolist(), data.curves.y.tolist(), strict=True))
    assert np.allclose(found, expected)


def test_a_fresh_one_answers_as_the_live_one() -> None:
    study = searched("asha", 14)
    history = study.ledger.history
    live = study.sampler.suggest(history, [14, 15], lambda number: config_rng(3, number))
    fresh = GP().suggest(reloaded(history), [14, 15], lambda number: config_rng(3, number))
    assert live == fresh


def test_where_all_are_trained_to_the_end_a_fidelity_changes_nothing() -> None:
    def told(fidelity: Mapping[str, tuple[int, int]] | None) -> list[Mapping[str, Any] | None]:
        study = whet.Study(SPACE, sampler="gp", fidelity=fidelity, seed=3)
        for _ in range(9):
            trial = study.ask()
            study.tell(trial, bowl(trial.config, 27))
        return [trial.config for trial in study.trials]

    assert told({"epochs": (1, 27)}) == told(None)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e308, -1e308])
def test_odd_reports_do_no_harm(odd: float) -> None:
    study = searched("asha", 14, value=lambda config, step: odd if config["x"] > 0.7 else bowl(config, step))
    assert len(study.trials) == 14


def test_where_what_promises_most_fails_on_the_way_the_best_that_does_not_is_found() -> None:
    study = whet.Study(SPACE, sampler="gp", scheduler="asha", fidelity={"epochs": (1, 27)}, seed=5)
    for _ in range(26):
        trial = study.ask()
        for step in range(1, 28):
            if step == 3 and trial.config["x"] > 0.5:
                study.fail(trial, message="diverged")
                break
            if study.report(trial, bowl(trial.config, step) - 2 * trial.config["x"], step=step) != "continue":
                break
        else:
            study.tell(trial, bowl(trial.config, 27) - 2 * trial.config["x"])
    assert study.best.config["x"] > 0.45  # 0.5 is the best that does not fail
    assert sum(trial.config["x"] <= 0.6 for trial in study.trials[14:]) >= 10, "and not deep where all fail"


def test_constraints_hold_at_every_level() -> None:
    study = whet.Study(
        SPACE, {"loss": "min"}, constraints=["ms <= 0.5"], sampler="gp", scheduler="asha",
        fidelity={"epochs": (1, 27)}, seed=2,
    )  # fmt: skip
    for _ in range(24):
        trial = study.ask()
        for step in range(1, 28):
            metrics = {"loss": bowl(trial.config, step) - trial.config["x"], "ms": trial.config["x"]}
            if study.report(trial, metrics, step=step) is not Decision.CONTINUE:
                break
        else:
            study.tell(trial, metrics)
    late = [trial.config["x"] for trial in study.trials[12:] if trial.config]
    assert np.median(np.abs(np.array(late) - 0.5)) < 0.2
    assert np.mean(np.array(late) <= 0.5) >= 0.4
