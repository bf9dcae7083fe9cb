"""Laws of schedulers: any interleaving gives a legal schedule, and deterministic studies stop the same trials."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.simulated import Arithmetic, run_study
from tests.schedulers.driving import EACH
from whet.core.trial import State
from whet.errors import UsageError
from whet.schedulers.names import SCHEDULERS, check_scheduler, scheduler_named
from whet.study import Study
from whet.testing.scheduler_plays import PROBLEMS, Play, study_of

SLOW = {"freeze_thaw"}  # fits a model at each answer
WAYS = [*(name for name in EACH if name not in SLOW), "asha(type=promotion)", "hyperband + patience(n=2)"]
STOPPING = [
    "none",
    "asha",
    "median(n_start=2)",
    "percentile(percent=30, n_start=2)",
    "patience(n=1, min_delta=1.5)",
    "threshold(upper=2.5)",
    "divergence(factor=1.0001)",
    "racing(p=0.9, n_min=1)",
    "asha + median(n_start=2)",
]
N_TRIALS = 24


def _supports(way: str, problem: str) -> bool:
    try:
        study_of(problem, scheduler_named(way))
    except UsageError:
        return False
    return True


@given(st.integers(0, 10**6), st.sampled_from(WAYS), st.sampled_from([*PROBLEMS]), st.integers(1, 6))
@settings(max_examples=40)
def test_any_interleaving_gives_a_legal_schedule(seed: int, way: str, problem: str, n_workers: int) -> None:
    if _supports(way, problem):
        play = Play(lambda: scheduler_named(way), problem, Random(seed), n_workers, n_trials=8, n_given=1, every=3)
        play.to_the_end()


# ---- deterministic studies


def _study(way: str, lookahead: int | None = 8) -> Study:
    return Study(
        {"x": (0.0, 1.0), "y": (0.0, 1.0)},
        sampler="random",
        scheduler=way,
        fidelity={"epochs": (1, 3)},
        seed=4,
        lookahead=lookahead,
        settings={"limits": {"n_trials": N_TRIALS, "max_failures": 10_000}},
    )


def _done(way: str, slots: int, seed: int, lookahead: int | None = 8) -> Mapping[int, Any]:
    study = _study(way, lookahead)
    assert run_study(study, Arithmetic(slots, seed)).reason == "done"
    return {trial.number: (trial.config, trial.state, list(trial.curve)) for trial in study.trials}


@cache
def _undisturbed(way: str) -> Mapping[int, Any]:
    return _done(way, 1, 0)


@pytest.mark.parametrize("way", STOPPING)
def test_neither_workers_nor_durations_change_who_stops_in_a_deterministic_study(way: str) -> None:
    expected = _undisturbed(way)
    stopped = [number for number, (_, state, _) in expected.items() if state is State.STOPPED]
    assert len(expected) == N_TRIALS and bool(stopped) == (way not in ("none", "divergence(factor=1.0001)"))
    for slots in (2, 4, 8):
        assert _done(way, slots, slots) == expected


def test_without_a_lookahead_it_matters_who_is_faster() -> None:
    one, eight = (_done("median(n_start=2)", slots, 3, lookahead=None) for slots in (1, 8))
    assert one != eight


def test_a_scheduler_is_stopping_or_is_refused_in_a_deterministic_study() -> None:
    refused = set()
    for way in EACH:
        problem = _study("none").ledger.history.problem
        try:
            check_scheduler(scheduler_named(way), problem, 8)
        except UsageError as error:
            assert "deterministic" in str(error)
            refused.add(way)
    assert refused == {"successive_halving", "hyperband", "freeze_thaw"} & set(SCHEDULERS)
    assert {way.split("(")[0].split(" ")[0] for way in STOPPING} == set(SCHEDULERS) - refused
