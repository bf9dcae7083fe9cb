"""The order of trials at one level says something of the order at the next, or it is said that it does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whet
from tests.cli.studies import call
from whet.analysis.agreement import FEWEST_TRIALS, Agreement, agreements
from whet.core.history import History
from whet.explaining import Misled
from whet.schedulers.names import scheduler_named
from whet.study import Study
from whet.testing import Course, simulate

LEVELS = (1, 3, 9, 27, 81)
Noise = np.random.Generator


def _searched(
    values: Callable[[float, Noise], Sequence[float]],
    scheduler: str = "none",
    n: int = 40,
    seed: int = 0,
    levels: Sequence[float] = LEVELS,
    **options: Any,
) -> Study:
    """Return a search whose trials come to *values*, of x and what is by chance, at *levels*."""

    def curves(config: Mapping[str, Any]) -> Course:
        rng = np.random.default_rng([seed, int(config["x"] * 2**50)])
        return Course([float(value) for value in values(config["x"], rng)], steps=levels)

    axis = {"fidelity": {"epochs": (levels[0], levels[-1])}, "n_trials": n, "seed": seed, "n_workers": 4}
    return simulate(curves, {"x": (0.0, 1.0)}, scheduler=scheduler, **{**axis, **options}).study


def _of(study: Study, eta: float = 3) -> list[Agreement]:
    return agreements(study.ledger.history, eta)


def _good(x: float, rng: Noise) -> Sequence[float]:
    return list(rng.standard_normal() + 0.5 * rng.standard_normal(5))


def _opposed(x: float, rng: Noise) -> Sequence[float]:
    quality, noise = rng.standard_normal(), rng.standard_normal(5)
    return [-quality + noise[0], *(quality + 0.5 * noise[1:])]


def _turned(x: float, rng: Noise) -> Sequence[float]:
    return [-x, x, x, x, x]


# ---- what it is
@pytest.mark.parametrize("objective", ["minimize", "maximize"])
def test_it_is_spearmans_correlation(objective: str) -> None:
    study = _searched(_good, objective=objective)
    table = np.array([[value for _, value in trial.curve] for trial in study.trials])
    ranks = table.argsort(axis=0).argsort(axis=0)
    expected = [np.corrcoef(ranks[:, k], ranks[:, k + 1])[0, 1] for k in range(4)]
    found = _of(study)
    assert [(one.low, one.high, one.n) for one in found] == [(1, 3, 40), (3, 9, 40), (9, 27, 40), (27, 81, 40)]
    assert [one.correlation for one in found] == pytest.approx(expected)
    assert not any(one.misleads for one in found)


def test_ties_share_a_rank() -> None:
    # The better half is told from the worse one at the first level, and no more: r = sqrt(3) / 2 as n grows.
    found = _of(_searched(lambda x, rng: [x > 0.5, x, x, x, x], n=200))[0]
    assert found.correlation == pytest.approx(math.sqrt(3) / 2, abs=0.02)


def test_an_order_that_turns_round_misleads() -> None:
    first, *others = _of(_searched(_turned, n=12))
    assert (first.correlation, first.n, first.misleads) == (pytest.approx(-1), 12, True)
    assert all(one.correlation == pytest.approx(1) and not one.misleads for one in others)


def test_levels_are_those_of_eta() -> None:
    steps = (1, 4, 16, 64)
    found = _of(_searched(lambda x, rng: [x] * 4, levels=steps), eta=4)
    assert [(one.low, one.high) for one in found] == [(1, 4), (4, 16), (16, 64)]


# ---- where nothing is said
def test_nothing_is_said_of_few_trials_or_without_an_order() -> None:
    assert _of(_searched(_turned, n=FEWEST_TRIALS - 1)) == []
    assert _of(_searched(lambda x, rng: [0.5] * 5)) == []
    study = Study({"x": (0.0, 1.0)}, seed=0)
    assert _of(study) == []
    for _ in range(20):
        study.tell(study.ask(), 1.0)
    assert _of(study) == []
    both = Study({"x": (0.0, 1.0)}, {"a": "minimize", "b": "minimize"}, fidelity={"epochs": (1, 9)}, seed=0)
    assert _of(both) == []


def test_one_report_for_two_levels_is_no_agreement() -> None:
    study = Study({"x": (0.0, 1.0)}, fidelity={"epochs": (1, 9)}, sampler="random", seed=0)
    for k in range(20):
        trial = study.ask()
        study.report(trial, float(k), step=9)
        study.tell(trial, float(k))
    assert _of(study) == []


def test_what_failed_or_is_no_number_is_left_out() -> None:
    def values(x: float, rng: Noise) -> Sequence[float]:
        return [x, math.nan if x < 0.3 else math.inf if x < 0.5 else x, x, x, x]

    study = _searched(values, n=60)
    n = sum((trial.config or {})["x"] >= 0.5 for trial in study.trials)
    first = _of(study)[0]
    assert (first.n, first.misleads) == (n, False)
    assert first.correlation == pytest.approx(1)


def test_repeats_of_a_config_count_once() -> None:
    study = Study({"x": (0.0, 1.0)}, fidelity={"epochs": (1, 9)}, sampler="random", seed=0, repeats=3)
    for _ in range(36):
        trial = study.ask()
        x = (trial.config or {})["x"]
        for step, value in ((1, -x), (3, x), (9, x)):
            study.report(trial, value, step=step)
        study.tell(trial, x)
    assert [one.n for one in _of(study)] == [12, 12]


# ---- how often it is right
@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_selection_is_not_taken_for_disagreement(scheduler: str) -> None:
    found = [one for seed in range(8) for one in _of(_searched(_good, scheduler, 90, seed))]
    assert min(one.correlation for one in found) < 0.5  # as only those that were alike came through
    assert not any(one.misleads for one in found)


@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_a_level_that_opposes_the_next_is_found(scheduler: str) -> None:
    found = [_of(_searched(_opposed, scheduler, 90, seed)) for seed in range(6)]
    assert sum(one[0].misleads for one in found) >= 5
    assert not any(other.misleads for one in found for other in one[1:])
    assert found[0] == _of(_searched(_opposed, scheduler, 90, 0))  # and the same each time


def test_where_a_model_chooses_only_an_order_that_is_turned_round_is_told() -> None:
    def useless(x: float, rng: Noise) -> Sequence[float]:
        return [rng.standard_normal(), x, x, x, x]

    assert _of(_searched(useless, n=60, sampler="random"))[0].misleads
    assert not _of(_searched(useless, n=60, sampler="tpe"))[0].misleads
    assert _of(_searched(_turned, n=20, sampler="tpe"))[0].misleads


# ---- how it is said
def _news(history: History, scheduler: str, spelled: str = "{name}={low}:{high}") -> list[str]:
    misled = Misled(scheduler_named(scheduler), spelled)
    return [said for _ in range(3) if (said := misled.news(history)) is not None]


def test_the_warning_says_where_to_begin() -> None:
    history = _searched(_turned, n=12).ledger.history
    said = "the order at epochs 1 says nothing of the order at 3 (rank correlation -1.00 over 12 trials)"
    for scheduler in ("asha", "hyperband", "median", "asha + patience"):
        assert _news(history, scheduler) == [f"low fidelities mislead: {said}; begin at 3 with epochs=3:81"]
    for scheduler in ("none", "patience", "freeze_thaw"):  # which compare nobody there, or learn how levels agree
        assert _news(history, scheduler) == []
    assert _news(_searched(_good).ledger.history, "asha") == []


def test_the_worst_level_counts_and_at_the_last_one_there_is_nothing_to_begin_at() -> None:
    history = _searched(lambda x, rng: [-x, x, x, x, -x], n=12).ledger.history
    (said,) = _news(history, "asha")
    assert said.endswith("let each trial run to its end, without a scheduler")


def test_an_amount_that_is_no_whole_number_is_not_rounded_up() -> None:
    steps = [2 / 27, 2 / 9, 2 / 3, 2]
    history = _searched(lambda x, rng: [x, -x, x, x], n=12, levels=steps).ledger.history
    (said,) = _news(history, "asha")
    low = float(said.rpartition("=")[2].partition(":")[0])
    assert low == pytest.approx(2 / 3, abs=1e-4)
    assert low <= 2 / 3


def test_an_explanation_tells_the_correlations() -> None:
    study = _searched(_turned, n=12)
    *_, last = study.explain().splitlines()
    assert last.startswith("rank correlation along epochs, of the trials that came through: 1 to 3 -1.00 (12 trials")
    assert "misleads" in last
    assert "rank correlation" not in _searched(_turned, n=5).explain()


# ---- in a run
def _train(config: Mapping[str, Any], trial: Any, budget: int) -> float:
    for step in (step for step in (1, 3, 9) if step <= budget):
        trial.report(-config["x"] if step == 1 else config["x"], step)
    return float(config["x"])


def test_a_function_is_warned_about_once(capsys: pytest.CaptureFixture[str]) -> None:
    whet.tune(
        _train, {"x": (0.0, 1.0)}, n_trials=40, scheduler="successive_halving(n=36)", sampler="random", seed=0,
        fidelity={"epochs": (1, 9)}, executor="inline",
    )  # fmt: skip
    said = capsys.readouterr().err
    assert said.count("low fidelities mislead: the order at epochs 1 says nothing of the order at 3") == 1
    assert "begin at 3 with fidelity={'epochs': (3, 9)}" in said


@pytest.mark.slow
def test_a_script_is_warned_about_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "train.sh"
    program.write_text(
        '#!/bin/sh\necho "step 1 loss -$2"\n[ "$4" -ge 3 ] && echo "step 3 loss $2"\n'
        '[ "$4" -ge 9 ] && echo "step 9 loss $2"\nexit 0\n'
    )
    program.chmod(0o755)
    options = ["--name", "s", "--objective", "loss:min", "--scheduler", "successive_halving(n=36)"]
    said = call("run", *options, "--fidelity", "epochs=1:9", "./train.sh", "--lr", "(1, 37)")
    assert said.err.count("low fidelities mislead: the order at epochs 1 says nothing of the order at 3") == 1
    assert "begin at 3 with --fidelity epochs=3:9" in said.err
    assert "1 to 3 -1.00 (12 trials, misleads)" in call("explain", "s").out
