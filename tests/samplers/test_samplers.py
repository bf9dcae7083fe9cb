"""What each sampler promises beyond the contract: its order, its evenness, its limits."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from whet.errors import SpaceError, UsageError
from whet.samplers import Grid, QuasiRandom, Random
from whet.samplers.names import SAMPLERS, sampler_named
from whet.space.domain import Categorical, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.grid import permuted
from whet.space.space import Space
from whet.testing.sampler_histories import branches
from whet.testing.sampler_suite import ask, exhausted, history_of


def configs(sampler, space, n, seed=0):
    return [suggestion.config for suggestion in ask(sampler, history_of(space, seed), range(n))]


# ---- grid
def test_grid_goes_in_order_the_first_parameter_slowest() -> None:
    space = Space({"a": Int(1, 3), "b": Categorical(["u", "v"]), "c": Float(0, 1, step=0.5)})
    expected = [dict(zip("abc", point, strict=True)) for point in product([1, 2, 3], ["u", "v"], [0.0, 0.5, 1.0])]
    assert exhausted(Grid(), history_of(space)) == expected


def test_grid_refuses_what_is_not_finite() -> None:
    with pytest.raises(SpaceError, match="lr is uniform"):
        ask(Grid(), history_of(Space({"a": Int(1, 3), "lr": Float(0, 1)})), [0])


def test_grid_skips_what_is_forbidden_or_the_same() -> None:
    space = Space(
        {"opt": Categorical(["adam", "sgd"]), "momentum": Ordinal([0.0, 0.9], when={"opt": "sgd"}), "n": Int(1, 2)},
        forbid=["opt == 'adam' and n == 2"],
    )
    assert exhausted(Grid(), history_of(space)) == [
        {"opt": "adam", "n": 1},
        {"opt": "sgd", "momentum": 0.0, "n": 1},
        {"opt": "sgd", "momentum": 0.0, "n": 2},
        {"opt": "sgd", "momentum": 0.9, "n": 1},
        {"opt": "sgd", "momentum": 0.9, "n": 2},
    ]


def test_grid_passes_over_a_million_points_that_are_no_configs() -> None:
    space = Space(
        {"opt": Categorical(["plain", "deep"]), **{f"p{i}": Int(0, 9, when="opt == 'deep'") for i in range(6)}}
    )
    zeros = {f"p{i}": 0 for i in range(6)}
    assert configs(Grid(), space, 3) == [{"opt": "plain"}, {"opt": "deep", **zeros}, {"opt": "deep", **zeros, "p5": 1}]


@pytest.mark.parametrize("sampler", [Grid(), pytest.param(Random(), marks=pytest.mark.slow)], ids=["Grid", "Random"])
def test_configs_that_cannot_be_counted_are_given_up_with_the_reason(sampler) -> None:
    space = Space({"n": Int(1, 100_000), **{f"p{i}": Int(0, 9, when="n == 50000") for i in range(7)}})
    with pytest.raises(SpaceError, match=r"are 1,000,000,000,000, too many to count .*; let conditions look at fewer"):
        ask(sampler, history_of(space), [1])


# ---- random
def test_random_studies_of_before_keep_their_configs() -> None:
    """Up to 100,000 combinations the order is a shuffle of all of them, whether or not a parameter is there."""
    space = Space({"opt": Categorical(["u", "v"]), "a": Int(1, 5, when="opt == 'v'"), "b": Int(1, 10_000)})
    at = [permuted(3, 100_000, place) for place in range(60)]
    points = [(p // 50_000, p // 10_000 % 5, p % 10_000) for p in at]
    expected = [
        {"opt": "v", "a": 1 + a, "b": 1 + b} if opt else {"opt": "u", "b": 1 + b}
        for opt, a, b in points
        if opt or not a
    ]
    assert configs(Random(), space, len(expected), seed=3) == expected


def test_every_branch_comes_as_often_as_it_has_configs() -> None:
    counts = Counter(config["opt"] for config in configs(Random(), branches(), 400, seed=1))
    assert sum((counts[opt] - 100) ** 2 / 100 for opt in "abcd") < 16.3  # 99.9 % with 3 degrees of freedom


def test_every_config_is_as_likely_to_come_first() -> None:
    space = Space({"a": Int(0, 9)})
    n = 4_000
    counts = Counter(configs(Random(), space, 1, seed)[0]["a"] for seed in range(n))
    chi_square = sum((counts[value] - n / 10) ** 2 / (n / 10) for value in range(10))
    assert chi_square < 27.9  # its 99.9 % quantile with 9 degrees of freedom; the seeds are fixed


def test_a_prefix_of_a_large_product_is_spread_evenly() -> None:
    space = Space({f"p{i}": Int(0, 9) for i in range(9)})
    drawn = configs(Random(), space, 2_000, seed=1)
    for name in space:
        counts = Counter(config[name] for config in drawn)
        assert sum((counts[value] - 200) ** 2 / 200 for value in range(10)) < 27.9
    pairs = np.corrcoef([[config[name] for config in drawn] for name in space])
    assert np.abs(pairs - np.eye(9)).max() < 0.1


def test_random_draws_have_the_distribution_of_their_domain() -> None:
    space = Space(
        {
            "u": Float(2, 4),
            "log": Float(1e-4, 1.0, log=True),
            "normal": Normal(10.0, 2.0),
            "gamma": NumpyDistribution("gamma", (3.0,)),
        }
    )
    drawn = configs(Random(), space, 3_000, seed=2)
    column = {name: np.array([config[name] for config in drawn]) for name in space}
    assert column["u"].mean() == pytest.approx(3.0, abs=0.05)
    assert np.log10(column["log"]).mean() == pytest.approx(-2.0, abs=0.1)
    assert column["normal"].mean() == pytest.approx(10.0, abs=0.2)
    assert column["normal"].std() == pytest.approx(2.0, abs=0.1)
    assert column["gamma"].mean() == pytest.approx(3.0, abs=0.15)


# ---- quasi-random
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("n", [1, 4, 64, 128, 512])
def test_a_power_of_two_points_falls_one_into_each_cell(n: int, seed: int) -> None:
    # The defining property of the sequence: of the first 2^m points one is in each of 2^m equal cells of each axis.
    space = Space({"a": Float(0, 1), "b": Float(-5, 5), "c": Float(1e-3, 1e3, log=True)})
    encoded = space.encode_many(configs(QuasiRandom(), space, n, seed))
    for column in encoded.T:
        assert sorted(np.floor(column * n).astype(int)) == list(range(n))


def test_the_sequence_continues_where_it_ended() -> None:
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})
    assert configs(QuasiRandom(), space, 40, seed=4) == configs(QuasiRandom(), space, 300, seed=4)[:40]


def test_two_dimensions_are_covered_more_evenly_than_by_chance() -> None:
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})

    def n_empty(sampler) -> int:
        points = np.array([[config["a"], config["b"]] for config in configs(sampler, space, 256, seed=3)])
        return 256 - len({(int(a * 16), int(b * 16)) for a, b in points})

    assert n_empty(QuasiRandom()) < 40 < n_empty(Random())


def test_quasi_random_refuses_what_can_only_be_sampled() -> None:
    space = Space({"g": NumpyDistribution("gamma", (2.0,)), "a": Int(1, 3)})
    with pytest.raises(SpaceError, match=r"'g'.*use random search"):
        ask(QuasiRandom(), history_of(space), [0])


def test_quasi_random_refuses_more_dimensions_than_are_known() -> None:
    space = Space({f"p{i}": Float(0, 1) for i in range(21_202)})
    with pytest.raises(SpaceError, match=r"at most 21,?201 parameters.*use random search"):
        ask(QuasiRandom(), history_of(space), [0])


def test_quasi_random_gives_up_where_nearly_all_is_forbidden() -> None:
    space = Space({"a": Float(0, 1), "b": Float(0, 1)}, forbid=["a < 2"])
    with pytest.raises(SpaceError, match="loosen"):
        ask(QuasiRandom(), history_of(space), [0])


def test_a_huge_grid_that_is_all_forbidden_is_given_up_with_the_reason() -> None:
    """As the contract has it for each sampler."""
    space = Space({f"p{i}": Int(0, 9) for i in range(12)}, forbid=["p0 < 100"])
    with pytest.raises(SpaceError, match=r"in a row were forbidden, and there are 1,000,000,000,000; loosen"):
        ask(Grid(), history_of(space), [0])


def test_quasi_random_takes_a_large_finite_space_without_listing_it() -> None:
    space = Space({f"p{i}": Int(0, 9) for i in range(12)})
    drawn = configs(QuasiRandom(), space, 200)
    assert len({tuple(config.values()) for config in drawn}) == 200


# ---- names
def test_why_says_which_sampler_chose() -> None:
    space = Space({"a": Int(1, 9)})
    for name, sampler in (("grid", Grid()), ("random", Random()), ("quasi_random", QuasiRandom())):
        assert ask(sampler, history_of(space), [3])[0].why == {"source": name}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_name_makes_a_new_sampler(name: str) -> None:
    assert sampler_named(name) is not sampler_named(name)
    assert type(sampler_named(name)) is SAMPLERS[name]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown sampler 'quasirandom'; did you mean 'quasi_random'\?.*grid"):
        sampler_named("quasirandom")
    with pytest.raises(UsageError, match=f"known: {', '.join(SAMPLERS)}"):
        sampler_named("x")
