"""Schedulers that only stop trials: median, percentile, threshold, divergence, patience, racing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

from whet.core.protocols import Decision
from whet.core.trial import State, Trial
from whet.errors import SearchExhausted, UsageError
from whet.schedulers.median import Averages, Median, coarse
from whet.schedulers.names import scheduler_named
from whet.schedulers.racing import Racing
from whet.schedulers.stopper import reported
from whet.schedulers.stops import Divergence, Patience, Threshold
from whet.study import Study


def study_with(scheduler: Any, **options: Any) -> Study:
    return Study({"x": (0.0, 1.0)}, sampler="random", seed=1, scheduler=scheduler, **options)


def played(study: Study, curve: Sequence[float], steps: Sequence[float] | None = None) -> Trial:
    """Run a trial that reports *curve* and completes, unless it is stopped; return it as it ended."""
    trial = study.ask()
    for value, step in zip(curve, steps or range(1, len(curve) + 1), strict=True):
        if study.report(trial, value, step=step) is not Decision.CONTINUE:
            return study.ledger.trial(trial.number)
    return study.tell(trial, curve[-1])


def n_reported(scheduler: Any, curve: Sequence[float], **options: Any) -> int:
    return len(played(study_with(scheduler, **options), curve).curve)


# ---- median and percentile


def test_worse_than_the_median_of_the_averages() -> None:
    study = study_with(Median(n_start=3))
    for value in (1.0, 2.0, 3.0):
        assert played(study, [value + 1, value, value]).state is State.COMPLETED
    assert played(study, [3.0, 2.5, 2.3]).state is State.COMPLETED  # no better than the bar at 1, better later
    stopped = played(study, [3.5, 3.4, 3.3])
    assert stopped.state is State.STOPPED and len(stopped.curve) == 1
    assert stopped.message == "3.5 is worse than the median of 4 trials at step 1 (3)"


def test_the_direction_counts() -> None:
    study = study_with(Median(n_start=2), objective="maximize")
    for value in (1.0, 2.0):
        played(study, [value])
    assert played(study, [1.4]).state is State.STOPPED
    assert played(study, [1.6]).state is State.COMPLETED


def test_the_best_so_far_counts() -> None:
    study = study_with(Median(n_start=1))
    played(study, [2.0, 2.0, 2.0])
    assert played(study, [1.0, 9.0, 9.0]).state is State.COMPLETED


def test_nothing_stops_before_enough_have_come_as_far() -> None:
    study = study_with(Median(n_start=3))
    for k in range(3):
        assert played(study, [1.0 + k] * 3).state is State.COMPLETED
    assert played(study, [9.0]).state is State.STOPPED


def test_the_running_ones_count() -> None:
    study = study_with(Median(n_start=2))
    others = [study.ask() for _ in range(2)]
    for other in others:
        study.report(other, 1.0, step=1)
    assert played(study, [2.0]).state is State.STOPPED


@pytest.mark.parametrize(("options", "n"), [({}, 3), ({"grace": 2}, 2), ({"grace": 7}, 9), ({"grace": 0}, 1)])
def test_grace_is_by_default_the_lowest_fidelity(options: dict[str, Any], n: int) -> None:
    study = study_with(Median(n_start=1, **options), fidelity={"epochs": (3, 9)})
    played(study, [1.0] * 9)
    trial = played(study, [2.0] * 9)
    assert len(trial.curve) == (7 if n == 9 else n)


def test_steps_need_not_coincide() -> None:
    study = study_with(Median(n_start=2))
    played(study, [1.0, 1.0], steps=[10, 30])
    played(study, [3.0, 3.0], steps=[20, 40])
    assert played(study, [2.5], steps=[25]).state is State.STOPPED  # than (1 + 3) / 2
    assert played(study, [2.5], steps=[15]).state is State.COMPLETED  # only one has reported by then


@pytest.mark.parametrize("percent", [10, 25, 50, 90])
def test_percentiles_are_those_of_numpy(percent: float) -> None:
    rng, study = Random(3), study_with("none")
    for _ in range(30):
        played(study, [rng.random() for _ in range(rng.randint(1, 9))])
    trial = study.ask()
    study.report(trial, 0.5, step=5)
    history = study.ledger.history
    for step in (1, 3, 5):
        curves = [[row[1] for row in t.curve][:step] for t in study.trials if t.number != trial.number]
        expected = np.percentile([np.mean(curve) for curve in curves], percent)
        bar, n = Averages().percentile(history, trial.number, step, percent)
        assert (bar, n) == (pytest.approx(expected), 30)


def test_half_of_the_trials_is_the_median() -> None:
    for way in ("median(n_start=2)", "percentile(percent=50, n_start=2)"):
        rng, study = Random(1), study_with(way)
        states = [played(study, [rng.random() for _ in range(4)]).state for _ in range(30)]
        assert {State.STOPPED, State.COMPLETED} == set(states)
        if way.startswith("median"):
            expected = states
    assert states == expected


def test_far_steps_are_few() -> None:
    assert [coarse(step) for step in (0.0, 7.3, 100, 101, 1234, -1299, 1e300)][2:6] == [100, 100, 1200, -1200]
    assert len({coarse(step) for step in range(1, 100_000)}) < 400
    assert math.isinf(coarse(math.inf)) and coarse(7.3) == 7.3


def test_infinite_values_are_the_worst_and_no_trouble() -> None:
    study = study_with(Median(n_start=2), settings={"rules": {"infinite": "worst"}})
    for value in (math.inf, -math.inf, math.inf, 1.0, 1e308, -1e308):
        played(study, [value, value])
    assert played(study, [-2.0]).state is State.COMPLETED


# ---- alone


@pytest.mark.parametrize(
    ("scheduler", "curve", "n"),
    [
        (Threshold(upper=2), [1, 2, 2.1, 1], 3),
        (Threshold(lower=0), [1, 0, -0.1, 1], 3),
        (Threshold(upper=2, grace=3), [5, 5, 1, 1, 5, 1], 5),
        (Threshold(upper=1e301), [1, 1e300, -math.inf, 1], 3),
        (Threshold(upper=1e301), [1, math.nan, 1], 2),
        (Divergence(), [2, 1, 5.9, 6, 1], 4),
        (Divergence(), [2, math.inf, 1], 2),
        (Divergence(), [-2, 1, 1.9, 2, 1], 4),
        (Divergence(), [0, 5, 100], 3),
        (Divergence(factor=2, grace=2), [1, 5, 6, 10, 1], 4),
        (Patience(n=2), [3, 2, 2, 2, 1], 4),
        (Patience(n=2), [3, 2, 2, 1, 1], 5),
        (Patience(n=3, min_delta=0.5), [3, 2.9, 2.8, 2.4, 2.3, 2.2, 2.1, 1], 7),
        (Patience(n=1, grace=4), [3, 3, 3, 3, 2, 2, 1], 6),
    ],
)
def test_what_one_trial_says_of_itself(scheduler: Any, curve: list[float], n: int) -> None:
    assert n_reported(scheduler, curve, settings={"rules": {"infinite": "worst"}}) == n
    if not isinstance(scheduler, Divergence | Threshold):
        assert n_reported(scheduler, [-value for value in curve], objective="maximize") == n


def test_an_accuracy_that_breaks_down_has_diverged() -> None:
    assert n_reported(Divergence(factor=1.5), [0.8, 0.9, 0.41, 0.4, 0.9], objective="maximize") == 4


def test_reasons_are_given() -> None:
    for scheduler, curve, text in (
        (Threshold(upper=2), [3.0], "3 is above 2"),
        (Threshold(lower=2), [1.0], "1 is below 2"),
        (Divergence(), [1.0, 4.0], "4 is far worse than 1 at first"),
        (Patience(n=1), [1.0, 1.0], "no better than 1 for 1 reports"),
        (Median(), [math.nan], "it reported NaN and no number"),
    ):
        assert played(study_with(scheduler), curve).message == text


# ---- racing


def test_a_trial_that_loses_on_every_fold_stops() -> None:
    study = study_with(Racing())
    folds = [1.0, 5.0, 2.0, 9.0, 4.0, 3.0]
    played(study, folds)
    worse = played(study, [fold + 0.1 for fold in folds])
    assert worse.state is State.STOPPED and len(worse.curve) == 4
    assert worse.message == "worse than trial 0 on 4 instances (4.35 against 4.25 on average, p = 0.062)"
    assert played(study, [fold - 0.1 for fold in folds]).state is State.COMPLETED
    assert len(played(study, folds).curve) == 4  # the last one is the best now


def test_folds_are_paired_whatever_their_order() -> None:
    study = study_with(Racing())
    played(study, [1.0, 5.0, 2.0, 9.0, 4.0, 3.0])
    assert len(played(study, [3.1, 4.1, 9.1, 2.1, 5.1, 1.1], steps=[6, 5, 4, 3, 2, 1]).curve) == 4


def test_pairs_are_compared_and_not_their_running_means() -> None:
    study = study_with(Racing(), settings={"rules": {"take": "mean:4"}})
    played(study, [1.0, 1.0, 1.0, 1.0])
    assert played(study, [9.0, 0.9, 0.9, 0.9]).state is State.COMPLETED  # worse at first only


def test_the_best_is_feasible_and_complete() -> None:
    study = study_with(Racing(), objective={"loss": "min"}, constraints=["ms <= 1"])
    for loss, ms in ((0.0, 5.0), (2.0, 1.0)):
        trial = study.ask()
        for step in range(1, 6):
            study.report(trial, {"loss": loss, "ms": ms}, step=step)
        study.tell(trial, {"loss": loss, "ms": ms})
    trial = study.ask()
    decisions = [study.report(trial, {"loss": 1.0, "ms": 1.0}, step=step) for step in range(1, 6)]
    assert set(decisions) == {Decision.CONTINUE}


# ---- options


@pytest.mark.parametrize(
    "text",
    [
        "median(n_start=0)",
        "median(n_start=1.5)",
        "median(n_start=True)",
        "median(grace=-1)",
        "median(grace=soon)",
        "percentile(percent=0)",
        "percentile(percent=100)",
        "percentile(percent=nan)",
        "threshold",
        "threshold(grace=2)",
        "threshold(lower=2, upper=1)",
        "threshold(upper=inf)",
        "threshold(grace=None)",
        "divergence(factor=1)",
        "divergence(factor=many)",
        "patience(n=0)",
        "patience(min_delta=-1)",
        "racing(p=0)",
        "racing(p=1)",
        "racing(n_min=0)",
    ],
)
def test_options_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match=text.split("(")[0]):
        scheduler_named(text)


# ---- beside a scheduler that pauses


@pytest.mark.parametrize("goes_on", [True, False], ids=["from a checkpoint", "from zero"])
def test_what_a_promoted_trial_repeats_counts_once(goes_on: bool) -> None:
    scheduler = "asha(type=promotion) + patience(n=4)"
    study = Study({"x": [0, 1, 2]}, sampler="grid", scheduler=scheduler, fidelity={"epochs": (1, 27)})
    done: dict[int, int] = {}
    while True:
        try:
            trial = study.ask()
        except SearchExhausted:
            break
        for epoch in range(done.get(trial.number, 0) + 1 if goes_on else 1, int(trial.budget or 0) + 1):
            done[trial.number] = epoch
            if study.report(trial, trial.number + 1 / epoch, step=epoch) is not Decision.CONTINUE:
                break
        else:
            study.tell(trial, trial.number)
    best = study.trials[0]
    assert (best.state, best.budget) == (State.COMPLETED, 27), best.message
    steps, _ = reported(study.ledger.history, study.ledger.history.finished[0])
    assert steps.tolist() == list(range(1, 28))
