"""Configs that leave something out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whet.core.completing import completed
from whet.errors import ConfigError
from whet.space.domain import Categorical, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.space import Space

SPACE = Space(
    {
        "lr": Float(1e-4, 1e-2, log=True),
        "layers": [1, 2, 3],
        "opt": ["sgd", "adam"],
        "momentum": Float(0.0, 1.0, when="opt == 'sgd'"),
        "width": Ordinal([16, 32, 64]),
        "shift": Normal(2.0, 1.0),
        "a": [1, 2],
        "b": ["x", "y"],
    },
    zips=[("a", "b")],
)


def test_what_is_left_out_is_in_the_middle() -> None:
    config = completed(SPACE, {})
    assert config.pop("lr") == pytest.approx(1e-3)
    assert config == {"layers": 2, "opt": "sgd", "momentum": 0.5, "width": 32, "shift": 2.0, "a": 2, "b": "y"}


def test_what_is_given_stays_and_decides_what_is_there() -> None:
    config = completed(SPACE, {"opt": "adam", "b": "x", "lr": 1e-2})
    assert (config["lr"], config["a"], config["b"]) == (1e-2, 1, "x")
    assert "momentum" not in config
    assert list(config) == [name for name in SPACE if name != "momentum"]


def test_defaults_come_before_the_middle_and_after_what_is_given() -> None:
    defaults = {"lr": 5e-3, "opt": "adam", "a": 1, "other": 7}
    config = completed(SPACE, {"opt": "sgd"}, defaults)
    assert (config["lr"], config["opt"], config["momentum"], config["b"]) == (5e-3, "sgd", 0.5, "x")
    assert completed(SPACE, {"b": "y"}, defaults)["a"] == 2


def test_a_number_is_what_the_space_would_give() -> None:
    assert type(completed(SPACE, {"momentum": 1})["momentum"]) is float
    assert type(completed(Space({"n": Int(1, 9)}), {"n": np.int64(3)})["n"]) is int


def test_without_the_middle_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="layers is missing"):
        completed(SPACE, {"lr": 1e-3}, {"opt": "adam"}, fills_middle=False)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"l": 1}, "unexpected parameter 'l'; did you mean 'lr'"),
        ({"lr": 1.0}, "lr: expected a value of loguniform"),
        ({"lr": "x"}, "lr: expected a value of loguniform"),
        ({"opt": 3}, "opt: expected a value of choice"),
        ({"opt": "adam", "momentum": 0.5}, "'momentum' = 0.5: it is there only when opt == 'sgd'"),
        ({"a": 1, "b": "y"}, "a, b are zipped"),
        (3, "expected a config"),
        ([1], "expected a config"),
        ({3: 1}, "unexpected parameter 3"),
    ],
)
def test_what_is_not_in_the_space_is_refused(config: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        completed(SPACE, config)


def test_a_default_outside_its_domain_is_refused() -> None:
    with pytest.raises(ConfigError, match="lr: expected a value of loguniform"):
        completed(SPACE, {}, {"lr": 1.0})


def test_what_can_only_be_sampled_has_no_middle() -> None:
    space = Space({"g": NumpyDistribution("gamma", (2.0,)), "n": Categorical([1])})
    with pytest.raises(ConfigError, match=r"g: gamma\(2.0\) can only be sampled and has no middle; give a value"):
        completed(space, {})
    assert completed(space, {"g": 0.5}) == {"g": 0.5, "n": 1}


def test_a_forbidden_whole_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"forbidden: x > 0\.4"):
        completed(Space({"x": (0.0, 1.0), "y": (0.0, 1.0)}, forbid=["x > 0.4"]), {"y": 0.1})
