"""Hints are given where the trials say something clearly, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from whet.analysis.hints import result_hints
from whet.errors import SearchExhausted
from whet.space.domain import Categorical, Domain, Float, Int, Ordinal
from whet.space.space import Space
from whet.study import Study


def _hints(
    space: Mapping[str, Domain] | Space,
    value: Callable[[Mapping[str, Any]], float],
    n: int | None = None,
    objective: Any = "minimize",
) -> list[str]:
    study = Study(space, objective, sampler="grid" if n is None else "random", seed=1)
    for _ in range(n or 10_000):
        try:
            trial = study.ask()
        except SearchExhausted:
            break
        metrics = value(trial.config or {})
        study.tell(trial, metrics) if not math.isnan(metrics) else study.fail(trial)
    return result_hints(study.ledger.history)


LAYERS = Categorical([1, 2, 3, 4])


def test_an_optimum_at_the_end_of_a_list() -> None:
    assert _hints({"layers": LAYERS}, lambda c: -c["layers"]) == [
        "the best layers is at the upper end of what was tried; look beyond it, too"
    ]
    assert "lower end" in _hints({"layers": LAYERS}, lambda c: c["layers"])[0]


def test_the_direction_of_the_objective_counts() -> None:
    assert "upper end" in _hints({"layers": LAYERS}, lambda c: c["layers"], objective="maximize")[0]
    assert "lower end" in _hints({"layers": LAYERS}, lambda c: -c["layers"], objective="maximize")[0]


def test_the_order_of_a_list_is_that_of_its_numbers() -> None:
    (hint,) = _hints({"layers": Categorical([4, 1, 3, 2])}, lambda c: c["layers"])
    assert "lower end" in hint


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (LAYERS, lambda v: abs(v - 2)),  # inside
        (LAYERS, lambda v: {1: 0, 2: 5, 3: 1, 4: 2}[v]),  # at the end, but jumping about
        (Categorical([1, 2, 3]), lambda v: v),  # too few to tell
        (Categorical(["a", "b", "c", "d"]), lambda v: ord(v)),  # no order
        (Categorical([True, False]), lambda v: v),
        (Categorical([1, "2", 3, 4]), lambda v: int(v)),
    ],
)
def test_no_hint_about_the_edge(domain: Domain, value: Callable[[Any], float]) -> None:
    assert _hints({"v": domain}, lambda c: float(value(c["v"]))) == []


@pytest.mark.parametrize("domain", [Float(0, 1), Float(1e-5, 1, log=True), Int(1, 10_000), Ordinal(range(100))])
def test_an_optimum_at_the_end_of_a_range(domain: Domain) -> None:
    (hint,) = _hints({"v": domain}, lambda c: -domain.encode(c["v"]), 60)
    assert "the best v is at the upper end" in hint
    assert _hints({"v": domain}, lambda c: abs(domain.encode(c["v"]) - 0.5), 60) == []
    assert _hints({"v": domain}, lambda c: -domain.encode(c["v"]), 11) == []


def test_noise_seldom_looks_like_an_edge() -> None:
    rng = np.random.default_rng(0)
    n_hints = sum(len(_hints({"v": Float(0, 1)}, lambda c: rng.random(), 30)) for _ in range(200))
    assert n_hints <= 12


def test_a_parameter_that_changed_nothing() -> None:
    space = {"lr": Categorical([0.1, 0.2]), "unused": Categorical(["a", "b", "c"])}
    assert _hints(space, lambda c: c["lr"]) == [
        "unused changed nothing: value was exactly the same for each of its values"
    ]


def test_a_parameter_that_changed_something_once_is_not_dead() -> None:
    space = {"lr": Categorical([0.1, 0.2]), "used": Categorical(["a", "b", "c"])}
    assert _hints(space, lambda c: c["lr"] + (c["used"] == "c" and c["lr"] == 0.2)) == []


def test_a_parameter_that_is_sometimes_absent_is_compared_where_it_is_there() -> None:
    space = Space(
        {
            "opt": Categorical(["sgd", "adam"]),
            "momentum": Categorical([0.1, 0.5, 0.9, 0.99], when={"opt": "sgd"}),
            "lr": Categorical([1, 2]),
        }
    )
    (hint,) = _hints(space, lambda c: c["lr"] + (c["opt"] == "adam"))
    assert hint.startswith("momentum changed nothing")


def test_random_draws_of_a_continuous_parameter_say_nothing_of_it() -> None:
    space = {"used": Float(0, 1), "unused": Float(0, 1)}
    assert not [h for h in _hints(space, lambda c: abs(c["used"] - 0.5), 50) if "changed nothing" in h]


def test_the_same_value_everywhere() -> None:
    (hint,) = _hints({"layers": LAYERS}, lambda c: 0.25)
    assert hint == "value was the same in all 4 trials: does the program use its arguments?"


def test_failed_trials_and_values_that_are_not_finite_say_nothing() -> None:
    assert _hints({"v": LAYERS}, lambda c: math.nan) == []
    assert _hints({"v": Categorical([1, 2, 3, 4, 5])}, lambda c: math.nan if c["v"] == 5 else -c["v"]) == []


def test_no_objective_or_several_give_no_hints() -> None:
    assert _hints({"v": LAYERS}, lambda c: 1.0, objective=()) == []
    study = Study({"v": LAYERS}, {"a": "minimize", "b": "minimize"}, sampler="grid")
    for trial in study.ask(4):
        study.tell(trial, {"a": 1.0, "b": 2.0})
    assert result_hints(study.ledger.history) == []


@pytest.mark.parametrize("is_upper", [True, False])
def test_values_further_out_that_were_tried_and_are_worse_are_no_edge(is_upper: bool) -> None:
    """A model tries much around the optimum, which is near the end, and a little beyond it."""

    def hints(tried: list[float], optimum: float) -> list[str]:
        study = Study({"momentum": Float(0, 1)}, seed=1)
        at = [u if is_upper else 1 - u for u in tried]
        best = optimum if is_upper else 1 - optimum
        study.add_trials([({"momentum": u}, (u - best) ** 2) for u in at])
        return result_hints(study.ledger.history)

    around = [0.1, 0.3, 0.5, 0.7, 0.85, 0.88, 0.89, 0.9, 0.905, 0.91, 0.92]
    assert hints([*around, 0.95, 1.0], 0.9) == []
    assert hints([*around, 1.0], 0.9) == []
    end = "upper" if is_upper else "lower"
    assert hints([*around, 0.921], 1.2) == [
        f"the best momentum is at the {end} end of what was tried; look beyond it, too"
    ]
    assert len(hints([*around, 0.93], 0.925)) == 1  # so little beyond is nothing
