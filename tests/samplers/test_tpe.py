"""The tree-structured Parzen estimator as a sampler: the contract, options, constraints, failures, parallel trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whet.core.problem import Constraint
from whet.core.protocols import Sampler, Suggestion
from whet.core.trial import State
from whet.errors import UsageError
from whet.points.codec import Codec
from whet.points.known import Known, Taken, known_of
from whet.samplers.tpe import TPE, ranking
from whet.space.domain import Categorical, Float, Int
from whet.space.space import Space
from whet.testing.sampler_histories import ask, explored, history_of, measured, played, problem_of
from whet.testing.sampler_hostile_suite import HostileSamplerContract
from whet.testing.sampler_model_suite import ModelSamplerContract
from whet.testing.sampler_suite import FiniteSpaceContract


class TestContract(ModelSamplerContract, FiniteSpaceContract, HostileSamplerContract):
    ranks = True

    def make(self) -> Sampler:
        return TPE()

    def supports(self, space: Space) -> bool:
        return space.is_encodable


SQUARE = Space({"a": Float(0.0, 1.0), "b": Float(0.0, 1.0)})


def known(y: list[float], excess: list[list[float]] | None = None) -> Known:
    n = len(y)
    at = np.linspace(0.0, 1.0, n)[:, None]
    return Known(at, np.array(y), np.array(excess or np.empty((n, 0))), np.empty((0, 1)), Taken())


# ---- what is good
def test_the_lowest_value_comes_first_and_failures_are_left_out() -> None:
    assert ranking(known([3.0, np.nan, 1.0, 2.0, 1.0, -np.inf])).tolist() == [5, 2, 4, 3, 0]


def test_what_breaks_constraints_comes_after_what_meets_them() -> None:
    excess = [[0.5, -1.0], [0.0, -9.0], [0.1, -1.0], [0.1, 3.0], [-2.0, np.nan]]
    assert ranking(known([1.0, 9.0, 2.0, 0.0, 0.0], excess)).tolist() == [1, 2, 3, 4, 0]


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_a_constraint_does_not_matter(unit: float) -> None:
    excess = [[0.5, 7.0], [0.25, 9.0], [-1.0, 2.0], [1e-3, 8.0]]
    plain = ranking(known([1.0, 2.0, 3.0, 4.0], excess))
    assert ranking(known([1.0, 2.0, 3.0, 4.0], [[first * unit, second] for first, second in excess])).tolist() == (
        plain.tolist()
    )


def test_a_search_keeps_to_what_is_allowed() -> None:
    """The objective pulls to a = 0; the constraint allows a >= 0.6 only."""
    problem = problem_of(SQUARE, constraints=[Constraint("c", "<=", 0.0)], name="y")

    def outcome(_: int, config: Any) -> dict[str, float]:
        return {"y": config["a"] + (config["b"] - 0.5) ** 2, "c": 0.6 - config["a"]}

    suggestions, _ = played(TPE(), history_of(problem, seed=2), 60, outcome)
    late = np.array([[s.config["a"], s.config["b"]] for s in suggestions[30:]])
    assert np.mean((late[:, 0] > 0.5) & (late[:, 0] < 0.8)) > 0.7


def test_where_trials_fail_is_avoided() -> None:
    """Half of the square fails, and the better the other half gets the nearer to it: the border is all that is met."""
    suggestions, _ = played(
        TPE(), history_of(SQUARE, seed=3), 60, lambda _, config: State.FAILED if config["a"] > 0.5 else -config["a"]
    )
    late = [s.config["a"] for s in suggestions[30:]]
    assert np.mean([a > 0.75 for a in late]) < 0.1
    assert max(a for a in late if a <= 0.5) > 0.48


# ---- branches and categories
LR = Float(1e-5, 1e-1, log=True)
BRANCHES = Space(
    {
        "opt": Categorical(["sgd", "adam"]),
        "mom": Float(0.0, 1.0, when={"opt": "sgd"}),
        "b2": Float(0.9, 0.999, when={"opt": "adam"}),
        "lr": LR,
    }
)
LISTS = Space({"lr": LR, "opt": Categorical(["a", "b", "c", "sgd"]), "bs": Categorical([16, 32, 64, 128, 256])})


def in_branches(config: Any) -> float:
    """Adam comes to 0.5 at once, sgd to less once the rest fits."""
    own = abs(config["mom"] - 0.9) if config["opt"] == "sgd" else 0.5 + abs(config["b2"] - 0.99)
    return float((np.log10(config["lr"]) + 3) ** 2 + own)


def in_lists(config: Any) -> float:
    return float((np.log10(config["lr"]) + 3) ** 2 + (config["opt"] != "sgd") - config["bs"] / 64)


def bests(space: Space, loss: Any, n: int) -> list[float]:
    found = []
    for seed in range(8):
        suggestions, _ = played(TPE(), history_of(space, seed=seed), n, lambda _, config: loss(config))
        found.append(min(loss(s.config) for s in suggestions))
    return found


def test_a_search_leaves_the_branch_where_it_first_did_well() -> None:
    """Random search comes to 0.17 on average, and one that stays with adam to 0.5."""
    found = bests(BRANCHES, in_branches, 40)
    assert max(found) < 0.3
    assert np.mean(found) < 0.08


def test_a_search_leaves_the_values_where_it_first_did_well() -> None:
    """Random search comes to -3.5 on average, and one that stays with any other value than sgd to -3."""
    assert max(bests(LISTS, in_lists, 50)) < -3.9


# ---- trials side by side
def test_pending_trials_are_kept_away_from() -> None:
    """Sixteen at once lie further apart than sixteen that do not know of each other."""
    history = explored(history_of(SQUARE, seed=4), 60, lambda _, config: measured(SQUARE, config))
    together = ask(TPE(), history, range(60, 76))
    alone = [ask(TPE(), history, [number])[0] for number in range(60, 76)]

    def spread(suggestions: list[Suggestion]) -> float:
        at = np.array([[s.config["a"], s.config["b"]] for s in suggestions])
        return float(np.median(np.linalg.norm(at[:, None] - at[None], axis=-1)))

    assert spread(together) > 1.2 * spread(alone)


# ---- what is said
def test_why_names_the_source_and_a_few_numbers() -> None:
    suggestions, _ = played(TPE(n_start=4), history_of(SQUARE), 10)
    assert [s.why["source"] for s in suggestions] == ["start"] * 4 + ["tpe"] * 6
    why = suggestions[-1].why
    assert (why["n_good"], why["n_bad"]) == (2, 7)
    assert why["score"] == float(f"{why['score']:.6g}")


def test_a_small_table_gets_what_is_new_by_the_model() -> None:
    """While configs are left the model chooses among them, however many are taken."""
    space = Space({"a": Int(0, 19), "b": Categorical(["u", "v"])})
    suggestions, _ = played(TPE(), history_of(space, seed=1), 40)
    assert len(suggestions) == 40
    assert [s.why["source"] for s in suggestions].count("rest") <= 2


# ---- options
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_start", 0),
        ("n_start", 2.5),
        ("n_start", True),
        ("n_candidates", 0),
        ("n_candidates", "many"),
        ("gamma", 0.0),
        ("gamma", 1),
        ("gamma", float("nan")),
        ("gamma", None),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=option):
        TPE(**{option: value})


def test_the_start_lasts_until_two_trials_have_a_value() -> None:
    def outcome(number: int, config: Any) -> Any:
        return measured(SQUARE, config) if number in (9, 12) else State.FAILED

    suggestions, _ = played(TPE(n_start=5), history_of(SQUARE), 15, outcome)
    assert [s.why["source"] for s in suggestions] == ["start"] * 13 + ["tpe"] * 2


def test_cancelled_configs_do_not_come_again() -> None:
    space = Space({"a": Int(0, 9)})
    suggestions, history = played(TPE(n_start=2), history_of(space), 5, lambda _, config: State.CANCELLED)
    assert known_of(history, Codec(space)).n_configs == 0
    rest, _ = played(TPE(n_start=2), history, 10)
    assert sorted(s.config["a"] for s in [*suggestions, *rest]) == [*range(10)]
