"""Between configs and points: there and back again, over spaces of all kinds that are put together at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.algorithms.cube import keys
from whet.errors import ConfigError, SpaceError
from whet.points.codec import Codec
from whet.space.conditions import Condition
from whet.space.distributions import ScipyRv
from whet.space.domain import (
    Categorical,
    Constant,
    Distribution,
    Domain,
    Float,
    Int,
    Normal,
    NumpyDistribution,
    Ordinal,
)
from whet.space.space import Space

_WORDS = ["u", "v", "w", "x", "y"]
_FREE: list[Any] = [
    lambda when: Float(-2.0, 3.0, when=when),
    lambda when: Float(1e-5, 10.0, log=True, when=when),
    lambda when: Float(0.0, 1.0, step=0.1, when=when),
    lambda when: Float(0.001, 1.0, log=True, when=when),
    lambda when: Normal(1.0, 2.0, when=when),
    lambda when: Int(-3, 3, when=when),
    lambda when: Int(0, 12, step=4, when=when),
    lambda when: Int(1, 1000, log=True, when=when),
    lambda when: Categorical(["u", None, True, 1, 1.5], when=when),
    lambda when: Categorical(["u"], when=when),
    lambda when: Ordinal([1, 2, 8, 64], when=when),
    lambda when: Constant("u", when=when),
]


def listed(n: int, kind: int, when: str | None) -> Domain:
    """Return a domain with *n* values, to be zipped with others; those on a log scale lie elsewhere than the rest."""
    makers: list[Any] = [
        lambda: Int(1, n, when=when),
        lambda: Int(1, n, log=True, when=when),
        lambda: Ordinal([2**i for i in range(n)], when=when),
        lambda: Categorical(_WORDS[:n], when=when),
    ]
    return makers[max(kind, 2) if n == 1 else kind]()


@st.composite
def comparisons(draw: st.DrawFn, known: dict[str, Domain]) -> str:
    """Return a comparison with one of the parameters *known*."""
    name = draw(st.sampled_from(sorted(known)))
    domain = known[name]
    value = domain.decode(draw(st.sampled_from([0.1, 0.3, 0.5, 0.8])))
    if isinstance(domain, Categorical | Constant):
        return f"{name} {draw(st.sampled_from(['==', '!=']))} {value!r}"
    return f"{name} {draw(st.sampled_from(['<', '>=', '==', '!=']))} {value!r}"


@st.composite
def conditions(draw: st.DrawFn, known: dict[str, Domain]) -> str:
    tests = draw(st.lists(comparisons(known), min_size=1, max_size=3))
    return draw(st.sampled_from([" and ", " or "])).join(tests)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Return a space of up to nine parameters, some conditional, some zipped, some combinations forbidden."""
    domains: dict[str, Domain] = {}

    def when() -> str | None:
        return draw(conditions(dict(domains))) if domains and draw(st.booleans()) else None

    for i in range(draw(st.integers(1, 6))):
        domains[f"p{i}"] = draw(st.sampled_from(_FREE))(when())
    zips = []
    if n_zipped := draw(st.sampled_from([0, 0, 2, 3])):
        n = draw(st.integers(1, 5))
        zips.append([f"z{i}" for i in range(n_zipped)])
        for name in zips[0]:
            domains[name] = listed(n, draw(st.integers(0, 3)), when())
    forbid = draw(st.lists(conditions(dict(domains)), max_size=2))
    names = draw(st.permutations(list(domains)))
    return Space({name: domains[name] for name in names}, zips=zips, forbid=forbid)


def settled(space: Space, n: int = 24) -> tuple[Codec, np.ndarray, np.ndarray]:
    codec = Codec(space)
    u = np.random.default_rng(0).random((n, codec.cube.d))
    u[:4] = np.round(u[:4])  # corners, too
    return codec, *codec.cube.settled(u)


@settings(max_examples=120)
@given(spaces())
def test_a_settled_point_is_that_of_its_config(space: Space) -> None:
    codec, x, is_allowed = settled(space)
    for row, may_be_tried in zip(x, is_allowed, strict=True):
        config = codec.config(row)
        np.testing.assert_allclose(codec.point(config), row, rtol=0, atol=1e-9)
        assert space.contains(config) == may_be_tried
        # Each parameter is there where the space says so: not only those with an axis of their own.
        assert config == space.active({name: config.get(name) for name in space})


@pytest.mark.parametrize("forbid", ["1 > 2", "2 > 1", "k == 3 and x", "k and x > 0.5", "k > 2 or x > 0.5", "not x"])
def test_conditions_without_names_or_that_cannot_be_evaluated_everywhere(forbid: str) -> None:
    space = Space({"k": Categorical(["u", "v", 3]), "x": Float(0.0, 1.0, when="1 < 2 and k != 'v'")}, forbid=[forbid])
    codec, x, is_allowed = settled(space)
    for row, may_be_tried in zip(x, is_allowed, strict=True):
        config = codec.config(row)
        assert ("x" in config) == (config["k"] != "v")
        assert may_be_tried == (not any(holds(condition, config) for condition in space.forbid))


def holds(condition: Condition, config: dict[str, Any]) -> bool:
    try:
        return condition.holds(config)
    except ConfigError:  # asking for the config itself says why
        return False


@settings(max_examples=60)
@given(spaces())
def test_points_settle_alone_as_among_others_and_stay_where_they_are(space: Space) -> None:
    codec, x, is_allowed = settled(space)
    again, still_allowed = codec.cube.settled(x)
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(still_allowed, is_allowed)
    for i in range(len(x)):
        alone, may_be_tried = Codec(space).cube.settled(x[i : i + 1])
        np.testing.assert_array_equal(alone[0], x[i])
        assert may_be_tried[0] == is_allowed[i]


@settings(max_examples=60)
@given(spaces(), st.integers(0, 100))
def test_configs_go_there_and_back(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    try:
        configs = [space.sample(rng) for _ in range(8)]
    except SpaceError:  # nearly all is forbidden
        return
    codec = Codec(space)
    points = codec.points(space.encode_many(configs))
    x, is_allowed = codec.cube.settled(points)
    np.testing.assert_allclose(x, points, rtol=0, atol=1e-9)
    assert is_allowed.all()
    for config, row in zip(configs, x, strict=True):
        back = codec.config(row)
        assert list(back) == list(config)
        for name, value in config.items():
            assert space[name].encode(back[name]) == pytest.approx(space[name].encode(value), abs=1e-9)
            assert back[name] == value or type(value) is float
            assert type(back[name]) is type(value)
    same = [[space.encode(a).tobytes() == space.encode(b).tobytes() for a in configs] for b in configs]
    found = keys(points)
    assert [[a == b for a in found] for b in found] == same


# ---- single cases
def test_what_does_not_vary_has_no_axis() -> None:
    space = Space({"a": Constant(3), "b": Categorical(["only"]), "c": Int(1, 3)})
    codec = Codec(space)
    assert codec.axes == [("c",)]
    assert codec.config(np.array([5 / 6])) == {"a": 3, "b": "only", "c": 3}
    empty = Codec(Space({}))
    assert empty.cube.d == 0
    assert empty.config(empty.point({})) == {}


def test_zipped_parameters_share_an_axis_whichever_of_them_is_there() -> None:
    zipped = {"a": Ordinal(range(1, 9), when={"m": "x"}), "b": Int(1, 8, log=True)}
    space = Space({"m": Categorical(["x", "y"]), **zipped}, zips=[["a", "b"]], forbid=["b == 2 and m == 'y'"])
    codec = Codec(space)
    assert codec.cube.d == 2
    for b in range(1, 9):
        with_a, without = codec.point({"m": "x", "a": b, "b": b}), codec.point({"m": "y", "b": b})
        assert with_a[1] == without[1] == pytest.approx((b - 0.5) / 8)
        _, is_allowed = codec.cube.settled(np.array([with_a, without]))
        assert is_allowed.tolist() == [True, b != 2]


def test_a_rule_about_very_many_parameters() -> None:
    names = [f"p{i}" for i in range(400)]
    space = Space({name: Int(1, 9) for name in names}, forbid=[" and ".join(f"{name} == 1" for name in names)])
    codec = Codec(space)
    _, is_allowed = codec.cube.settled(np.array([np.zeros(400), np.ones(400)]))
    assert is_allowed.tolist() == [False, True]


@pytest.mark.parametrize(
    "domain",
    [
        Int(0, 100_000),
        Int(1, 10**18, log=True),
        Float(0.0, 1.0, step=1e-7),
        Float(0.01, 9.0, step=1e-6, log=True),
        Normal(1.0, 2.0, step=1e-5),
        Distribution(ScipyRv("randint", (0, 10**6))),
        Distribution(ScipyRv("bernoulli", (1e-9,))),  # of which one value is too rare to be a level
        Ordinal(range(20_000)),
    ],
    ids=str,
)
def test_many_values_are_searched_as_a_continuum_and_are_values_all_the_same(domain: Domain) -> None:
    space = Space({"a": domain, "b": Float(0.0, 1.0)})
    codec, x, is_allowed = settled(space)
    assert codec.cube.is_continuous.all()
    assert is_allowed.all()
    near, _ = codec.cube.settled(x + np.array([1e-12, 0.0]))
    np.testing.assert_allclose(near, np.clip(x, 0.0, 1.0), rtol=0, atol=1e-9)
    for row in x:
        config = codec.config(row)
        assert space.contains(config)
        np.testing.assert_allclose(codec.point(config), row, rtol=0, atol=1e-14)
        assert codec.config(codec.point(config)) == config


@pytest.mark.parametrize(
    "domain",
    [
        Normal(0.0, 1.0, step=0.5),
        Normal(0.0, 1.0, log=True, step=0.25),
        Distribution(ScipyRv("poisson", (5.0,))),
        Distribution(ScipyRv("zipf", (1.5,))),  # the quantiles of which soon take all memory
    ],
    ids=str,
)
def test_an_endless_list_has_the_levels_that_are_likely(domain: Domain) -> None:
    codec = Codec(Space({"a": domain}))
    (centres,) = codec.cube.centres
    assert centres is not None
    assert (np.diff(centres) > 0).all()
    for centre in centres[::50]:
        assert domain.encode(domain.decode(centre)) == pytest.approx(centre, abs=1e-14)
    assert centres[0] < 0.5 and centres[-1] > 0.99
    drawn = np.random.default_rng(0).uniform(0.01, 0.98, 200)
    places = [domain.encode(domain.decode(u)) for u in drawn]
    assert np.abs(centres[:, None] - places).min(axis=0).max() < 1e-14


def test_many_zipped_values_have_one_place_on_whichever_scale() -> None:
    zipped = {"a": Int(0, 100_000, when={"m": "x"}), "b": Int(1, 100_001, log=True)}
    codec = Codec(Space({"m": Categorical(["x", "y"]), **zipped}, zips=[["a", "b"]]))
    for k in (0, 1, 777, 100_000):
        with_a, without = codec.point({"m": "x", "a": k, "b": k + 1}), codec.point({"m": "y", "b": k + 1})
        assert with_a[1] == without[1] == pytest.approx((k + 0.5) / 100_001)
        assert codec.config(without) == {"m": "y", "b": k + 1}


def test_what_can_only_be_sampled_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"'g'.*use random search"):
        Codec(Space({"a": Int(1, 3), "g": NumpyDistribution("gamma", (2.0,))}))
