"""What is optimised: objectives, constraints and the fidelity, as typed and as stored."""

from __future__ import annotations

import math
from typing import Any

import pytest

from whet.core import jsontext
from whet.core.problem import Constraint, Fidelity, Objective, Problem
from whet.errors import UsageError
from whet.space.domain import Categorical, Float
from whet.space.space import Space


@pytest.mark.parametrize(
    ("text", "name", "sign"),
    [
        ("val_loss", "val_loss", 1),
        ("val_loss:min", "val_loss", 1),
        ("acc:max", "acc", -1),
        ("acc:MAXIMISE", "acc", -1),
        ("acc: maximize ", "acc", -1),
        ("eval/acc@k:1:max", "eval/acc@k:1", -1),
        ("größe 🦋:min", "größe 🦋", 1),
    ],
)
def test_objectives_are_read(text: str, name: str, sign: int) -> None:
    objective = Objective.parse(text)
    assert (objective.name, objective.sign) == (name, sign)
    assert objective.direction in ("minimize", "maximize")


@pytest.mark.parametrize("text", ["", "  ", ":min", " :max", "acc:", "acc:best", "acc:minn"])
def test_what_is_no_objective_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="objective"):
        Objective.parse(text)


def test_a_direction_has_short_spellings() -> None:
    assert Objective("a", "max") == Objective("a", "maximize")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="neither 'minimize' nor 'maximize'"):
        Objective("a", "up")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_ms<=20", ("latency_ms", "<=", 20.0)),
        ("  acc @ 5 >= -1e-3 ", ("acc @ 5", ">=", -1e-3)),
        ("a<=+.5", ("a", "<=", 0.5)),
    ],
)
def test_constraints_are_read(text: str, expected: tuple[str, str, float]) -> None:
    constraint = Constraint.parse(text)
    assert (constraint.name, constraint.relation, constraint.bound) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a<3",
        "a=3",
        "a==3",
        "<=3",
        "  <=3",
        "a<=",
        "a<=b",
        "a<=0x10",
        "a<=1<=2",
        "1<=a<=2",
        "a<=nan",
        "a<=inf",
        "a<=1e400",
    ],
)
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="constraint"):
        Constraint.parse(text)


def test_a_relation_is_one_of_two() -> None:
    with pytest.raises(UsageError, match="expected <= or >="):
        Constraint("a", "<", 1.0)  # type: ignore[arg-type]


def test_bounds_are_part_of_what_is_allowed() -> None:
    at_most, at_least = Constraint("a", "<=", 1.0), Constraint("a", ">=", 1.0)
    for value, below, above in (
        (1.0, True, True),
        (0.5, True, False),
        (math.inf, False, True),
        (math.nan, False, False),
    ):
        assert (at_most.is_met_by(value), at_least.is_met_by(value)) == (below, above)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-1, 1), (1, 1), (2, 1), (math.nan, 1), (1, math.inf), (1, math.nan)]
)
def test_a_fidelity_has_an_extent(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="0 < low < high"):
        Fidelity("epochs", low, high)


def problem(**more: Any) -> Problem:
    space = Space({"lr": Float(1e-5, 1e-1, log=True), "opt": Categorical(["adam", "sgd"])})
    objectives = (Objective("acc", "maximize"), Objective("ms"))
    return Problem(space, objectives, (Constraint("ms", "<=", 20.0), Constraint("mb", "<=", 1.5)), **more)


def test_objectives_are_named_once() -> None:
    with pytest.raises(UsageError, match="'a' is given twice"):
        Problem(Space({}), (Objective("a"), Objective("b"), Objective("a", "maximize")))


def test_metrics_are_objectives_and_then_constraints() -> None:
    assert problem().metrics == ("acc", "ms", "mb")
    assert Problem(Space({})).metrics == ()


def test_a_trial_is_feasible_that_keeps_every_constraint() -> None:
    assert problem().is_feasible({"acc": 0.0, "ms": 20.0, "mb": 1.5})
    assert not problem().is_feasible({"ms": 20.0, "mb": 1.6})
    assert not problem().is_feasible({"ms": 20.0})
    assert not problem().is_feasible({"ms": math.nan, "mb": 1.0})
    assert Problem(Space({})).is_feasible({})


@pytest.mark.parametrize("fidelity", [None, Fidelity("epochs", 1, 81, "epochs")])
def test_a_problem_is_stored_whole(fidelity: Fidelity | None) -> None:
    whole = problem(fidelity=fidelity)
    again = Problem.from_json(jsontext.loads(jsontext.dumps(whole.to_json())))
    assert again.to_json() == whole.to_json()
    assert (again.objectives, again.constraints, again.fidelity) == (whole.objectives, whole.constraints, fidelity)
    assert again.space.to_json() == whole.space.to_json()
