"""Ask and tell with samplers that learn: in batches, out of order, late, twice, and with what does not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from whet.core.trial import State
from whet.errors import ConfigError, SearchExhausted, StaleAttempt, StateError
from whet.samplers.names import SAMPLERS
from whet.study import Study, load

MODELS = [name for name in SAMPLERS if name not in ("grid", "random", "quasi_random")]
SPACE = {"x": (0.0, 1.0), "lr": (1e-4, 1e-1, "log"), "n": (1, 4), "opt": ["sgd", "adam"]}
FINITE = {"a": [1, 2, 3, 4], "b": ["x", "y"]}  # 8 configs


def value_of(config: Mapping[str, Any]) -> float:
    return (config["x"] - 0.3) ** 2 + abs(math.log10(config["lr"]) + 2) + (config["opt"] == "sgd") / config["n"]


def study(sampler: str, **options: Any) -> Study:
    return Study(options.pop("space", SPACE), sampler=sampler, seed=1, **options)


def keys(trials: Any) -> list[str]:
    return [json.dumps(dict(trial.config)) for trial in trials]


@pytest.mark.parametrize("sampler", MODELS)
def test_a_batch_is_of_different_configs_and_asked_as_one_after_the_other(sampler: str) -> None:
    searched, single = study(sampler), study(sampler)
    for _ in range(3):
        batch = searched.ask(8)
        singles = [single.ask() for _ in range(8)]
        assert keys(batch) == keys(singles)
        assert len(set(keys(batch))) == 8
        assert all(trial.why["source"] for trial in batch)
        for mine, other in zip(batch, singles, strict=True):
            searched.tell(mine, value_of(mine.config or {}))
            single.tell(other, value_of(other.config or {}))


@pytest.mark.parametrize("sampler", MODELS)
def test_the_order_of_tells_does_not_matter(sampler: str) -> None:
    forwards, backwards = study(sampler), study(sampler)
    for _ in range(3):
        first, second = forwards.ask(6), backwards.ask(6)
        assert keys(first) == keys(second)
        for trial in first:
            forwards.tell(trial, value_of(trial.config or {}))
        for trial in reversed(second):
            backwards.tell(trial, value_of(trial.config or {}))


@pytest.mark.parametrize("sampler", MODELS)
def test_a_late_tell_is_taken_in_and_a_second_one_refused(sampler: str) -> None:
    searched = study(sampler)
    late = searched.ask()
    for _ in range(9):
        trial = searched.ask()
        searched.tell(trial, value_of(trial.config or {}))
    assert searched.tell(late, -5.0).state is State.COMPLETED
    assert searched.best.number == late.number
    with pytest.raises(StaleAttempt, match=r"trial 0.*refused: it was told already"):
        searched.tell(late, -9.0)
    with pytest.raises(StateError, match=r"trial 0 .* is not running"):
        searched.tell(0, -9.0)
    assert searched.best_value == -5.0
    assert keys([searched.ask()])[0] not in keys(searched.trials[:-1])


@pytest.mark.parametrize("sampler", MODELS)
def test_a_config_outside_the_space_changes_nothing(sampler: str) -> None:
    searched = study(sampler)
    inside = {"x": 0.5, "lr": 1e-2, "n": 2, "opt": "sgd"}
    for outside, said in (({"x": 7.0}, "x"), ({"z": 1}, "unexpected parameter 'z'"), ({"opt": "adm"}, "opt")):
        with pytest.raises(ConfigError, match=said):
            searched.enqueue({**inside, **outside})
        with pytest.raises(ConfigError, match=f"row 1: .*{said}"):
            searched.add_trials([(inside, 1.0), ({**inside, **outside}, 1.0)])
    assert not searched.trials
    assert searched.ask().number == 0


@pytest.mark.parametrize("sampler", MODELS)
def test_what_people_give_is_not_asked_again(sampler: str) -> None:
    searched = study(sampler, space=FINITE)
    searched.enqueue({"a": 2, "b": "y"})
    searched.add_trials([({"a": 3, "b": "x"}, 0.5)])
    with pytest.raises(SearchExhausted):
        while True:
            trial = searched.ask()
            searched.tell(trial, float((trial.config or {})["a"]))
    assert len(set(keys(searched.trials))) == len(searched.trials) == 8


@pytest.mark.parametrize("sampler", MODELS)
def test_what_fails_or_is_no_number_stops_nothing(sampler: str) -> None:
    searched = study(sampler)
    endings = [math.nan, math.inf, -math.inf, None, 1.0, 1e300, -1e300, 1.0]
    for i in range(24):
        trial = searched.ask()
        ending = endings[i % len(endings)]
        if ending is None:
            searched.fail(trial)
        else:
            searched.tell(trial, ending)
    assert searched.ledger.history.counts()[State.FAILED] == 12
    assert len(set(keys(searched.trials))) == 24


@pytest.mark.parametrize("sampler", MODELS)
def test_all_trials_may_fail(sampler: str) -> None:
    searched = study(sampler)
    for _ in range(15):
        searched.fail(searched.ask())
    assert len(set(keys(searched.trials))) == 15


@pytest.mark.parametrize("sampler", MODELS)
@pytest.mark.parametrize("space", [{}, {"x": [1]}], ids=["empty", "one point"])
def test_a_space_of_one_config(sampler: str, space: dict[str, Any]) -> None:
    searched = study(sampler, space=space)
    searched.tell(searched.ask(), 1.0)
    with pytest.raises(SearchExhausted):
        searched.ask()


@pytest.mark.parametrize("sampler", MODELS)
def test_a_study_that_is_loaded_goes_on_as_the_live_one(sampler: str, tmp_path: Path) -> None:
    live = study(sampler, store=tmp_path / "a.db")
    for _ in range(12):
        trial = live.ask()
        live.tell(trial, value_of(trial.config or {}))
    searched = load("study", tmp_path / "a.db")
    assert type(searched.sampler) is SAMPLERS[sampler]
    alone = study(sampler)
    for trial in live.trials:
        alone.tell(alone.ask(), trial.values["value"])
    assert keys([searched.ask()]) == keys([alone.ask()])
