"""Spaces: shorthands, conditions, zips, forbidden combinations, encoding, storing, comparing."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whet.errors import ConfigError, SpaceError
from whet.space.conditions import parse_condition
from whet.space.domain import Categorical, Constant, Distribution, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.space import Space


def tree():
    """A space with two levels of conditions, in an order in which children come before their parents."""
    return Space(
        {
            "nesterov": Categorical([True, False], when="momentum > 0.5"),
            "momentum": Float(0, 1, when={"opt": "sgd"}),
            "opt": ["sgd", "adam"],
            "beta": Float(0.8, 0.999, when="opt == 'adam'"),
            "lr": (1e-5, 1e-1, "log"),
            "layers": (1, 8),
        },
        forbid=["layers > 6 and opt == 'adam'"],
    )


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (["a", "b"], Categorical(["a", "b"])),
        ([1], Categorical([1])),
        ((1, 8), Int(1, 8)),
        ((np.int64(1), 8), Int(1, 8)),
        ((1, 8.0), Float(1, 8)),
        ((0.0, 1), Float(0, 1)),
        ((1, 8, "log"), Int(1, 8, log=True)),
        ((1e-5, 1e-1, "log"), Float(1e-5, 1e-1, log=True)),
        ({"type": "float", "low": 0, "high": 1, "step": 0.1}, Float(0, 1, step=0.1)),
        ({"type": "int", "low": 1, "high": 9, "log": True}, Int(1, 9, log=True)),
        ({"type": "categorical", "choices": ["a"]}, Categorical(["a"])),
        ({"type": "ordinal", "values": [1, 2]}, Ordinal([1, 2])),
        ({"type": "constant", "value": 3}, Constant(3)),
        (Normal(0, 1), Normal(0, 1)),
        (stats.randint(1, 9), Int(1, 8)),
        (stats.randint(low=1, high=9, loc=2), Int(3, 10)),
        (stats.randint(3, 4), Constant(3)),
        (stats.uniform(), Float(0, 1)),
        (stats.uniform(2, 3), Float(2, 5)),
        (stats.uniform(loc=-1, scale=2), Float(-1, 1)),
        (stats.loguniform(1e-5, 1e-1), Float(1e-5, 1e-1, log=True)),
        (stats.reciprocal(a=1, b=2, scale=10), Float(10, 20, log=True)),
        (stats.loguniform(1, 2, loc=1), Distribution(stats.loguniform(1, 2, loc=1))),
        (stats.gamma(2.0), Distribution(stats.gamma(2.0))),
    ],
)
def test_shorthands(given_, expected):
    assert Space({"x": given_})["x"] == expected


def test_shorthands_mean_what_scipy_means():
    for rv in (stats.randint(2, 7, loc=1), stats.uniform(2, 3), stats.loguniform(1, 2, scale=10)):
        low, high = rv.support()
        domain = Space({"x": rv})["x"]
        assert (domain.decode(0.0), domain.decode(1.0)) == pytest.approx((low, high))


@pytest.mark.parametrize(
    "given_",
    [
        None, 3, 0.5, True, "uniform(0, 1)", "abc", b"x", {1, 2}, range(3), np.arange(3), (), (1,), (1, 2, 3),
        ("a", "b"),
        (1, 2, "linear"), (1, 2, "log", 3), (True, False), Float, stats.gamma, object(), lambda: 1, {}, {"low": 1},
        (1, 2, [1]), (None, 1), [], (2, 1), (1, 1), (0, 1, "log"), {"type": "int", "low": 1}, stats.uniform(0, 0),
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_the_key_named(given_):
    with pytest.raises(SpaceError, match=r"^my-lr: "):
        Space({"ok": [1], "my-lr": given_})


def test_the_message_lists_the_forms():
    with pytest.raises(SpaceError, match=r"a list of values, \(low, high\).*Constant\(value\); came 3"):
        Space({"x": 3})
    with pytest.raises(SpaceError, match="the class Float"):
        Space({"x": Float})
    with pytest.raises(SpaceError, match="write a list"):
        Space({"x": ("a", "b", "c")})


@pytest.mark.parametrize("domains", [None, [], [("x", [1])], "x", {1: [1]}, {"": [1]}, {None: [1]}])
def test_names_are_text(domains):
    with pytest.raises(SpaceError, match="expected"):
        Space(domains)


def test_the_empty_space_has_one_config():
    space = Space({})
    assert len(space) == 0 and space.size == 1 and space.is_finite and space.is_encodable
    assert space.sample(np.random.default_rng(0)) == {} and space.contains({})
    assert space.encode({}).shape == (0,) and space.encode_many([{}, {}]).shape == (2, 0)
    assert space.decode(np.empty(0)) == {}
    assert Space.from_json(space.to_json()) == space
    with pytest.raises(ConfigError, match="unexpected parameter 'x'"):
        space.check({"x": 1})


def test_a_mapping_in_the_users_order():
    space = tree()
    assert list(space) == ["nesterov", "momentum", "opt", "beta", "lr", "layers"]
    assert space["layers"] == Int(1, 8) and "opt" in space and space.get("none") is None
    with pytest.raises(TypeError):
        space["x"] = Float(0, 1)
    with pytest.raises(AttributeError):
        space.extra = 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_samples_belong_to_the_space_and_come_back_from_the_cube(seed):
    space = tree()
    config = space.sample(np.random.default_rng(seed))
    space.check(config)
    assert config == space.sample(np.random.default_rng(seed))
    assert list(config) == [name for name in space if name in config]
    assert ("momentum" in config) == (config["opt"] == "sgd") == ("beta" not in config)
    assert ("nesterov" in config) == (config.get("momentum", 0) > 0.5)
    assert not (config["layers"] > 6 and config["opt"] == "adam")
    row = space.encode(config)
    assert [name for name, u in zip(space, row, strict=True) if not math.isnan(u)] == list(config)
    again = space.decode(row)
    assert list(again) == list(config)
    assert all(again[name] == item or again[name] == pytest.approx(item, rel=1e-12) for name, item in config.items())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_every_point_of_the_cube_is_a_config_but_for_forbid(point):
    space = tree()
    config = space.decode(np.array(point))
    assert space.contains(config) or space.is_forbidden(config)


def test_many_configs_are_encoded_as_each_is():
    space = tree()
    configs = [space.sample(np.random.default_rng(seed)) for seed in range(50)]
    many = space.encode_many(configs)
    assert many.shape == (50, 6) and many.dtype == np.float64
    np.testing.assert_allclose(many, np.array([space.encode(config) for config in configs]), rtol=0, atol=1e-12)
    assert space.encode_many([]).shape == (0, 6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lr": 1.0}, r"lr: expected a value of loguniform\(1e-05, 0.1\), came 1.0"),
        ({"lr": "0.1"}, "lr: expected a value of .*, came '0.1'"),
        ({"lr": None}, "came None"),
        ({"layers": 2.0}, r"layers: expected a value of int\(1, 8\), came 2.0"),
        ({"layers": True}, "came True"),
        ({"opt": "SGD"}, r"opt: expected a value of choice\('sgd', 'adam'\), came 'SGD'"),
        ({"opt": ["sgd"]}, "came "),
        ({"beta": 0.9}, r"unexpected parameter 'beta' = 0.9: it is there only when opt == 'adam'"),
        ({"momentum": ...}, r"momentum is missing; .* \(it is there when opt == 'sgd'\)"),
        ({"nesterov": ...}, "nesterov is missing"),
        ({"momentum": 0.1}, "unexpected parameter 'nesterov'"),
        ({"lr": ...}, "lr is missing; expected a value of loguniform"),
        ({"lrr": 0.1}, "unexpected parameter 'lrr'; did you mean 'lr'"),
        ({"zzzzzz": 0.1}, r"unexpected parameter 'zzzzzz' \(parameters: nesterov, momentum"),
        ({3: 0.1}, "unexpected parameter 3"),
        (
            {"opt": "adam", "momentum": ..., "nesterov": ..., "beta": 0.9, "layers": 7},
            "forbidden: layers > 6 and opt == 'adam'",
        ),
    ],
)
def test_check_says_what_is_wrong(change, expected):
    good = {"opt": "sgd", "momentum": 0.9, "nesterov": True, "lr": 1e-3, "layers": 8}
    space = tree()
    space.check(good)
    bad = {name: item for name, item in {**good, **change}.items() if item is not ...}
    with pytest.raises(ConfigError, match=expected):
        space.check(bad)
    assert space.contains(good) and not space.contains(bad)


@pytest.mark.parametrize("config", [None, [], "opt", 3])
def test_a_config_is_a_dict(config):
    with pytest.raises(ConfigError, match="expected a config"):
        tree().check(config)


def test_encoding_names_the_parameter():
    with pytest.raises(ConfigError, match=r"^layers: expected a value of"):
        tree().encode({"layers": 99})
    space = Space({"x": [1], "g": NumpyDistribution("gamma", (2.0,))})
    assert not space.is_encodable and not space.is_finite and space.size is None
    with pytest.raises(SpaceError, match=r"^g: .*random search only"):
        space.encode({"x": 1, "g": 0.3})
    assert space.contains(space.sample(np.random.default_rng(0)))


def test_decoding_refuses_what_is_no_point():
    space = tree()
    for u in (np.zeros(5), np.zeros((1, 6)), 0.5):
        with pytest.raises(ConfigError, match="expected 6 numbers to decode"):
            space.decode(u)
    with pytest.raises(ConfigError, match="lr is missing"):
        space.decode(np.array([0, 0, 0, 0, math.nan, 0]))


@pytest.mark.parametrize(
    ("whens", "expected"),
    [
        ({"a": "a > 1"}, "'a' needs 'a'"),
        ({"a": "b > 1", "b": "a > 1"}, "'[ab]' needs '[ab]' needs '[ab]'"),
        ({"a": "b > 1", "b": "c > 1", "c": "d > 1 and a > 0"}, "circle: .* needs .* needs .* needs"),
        ({"a": "z > 1"}, "a: condition z > 1: there is no parameter 'z'"),
        ({"a": {"bb": 1}}, "there is no parameter 'bb'"),
    ],
)
def test_conditions_that_cannot_be_ordered(whens, expected):
    with pytest.raises(SpaceError, match=expected):
        Space({name: Int(0, 9, when=whens.get(name)) for name in "abcd"})


def test_the_circle_is_told_in_the_order_of_need():
    circle = "'a' needs 'b' needs 'c' needs 'a'"
    turned = ["'b' needs 'c' needs 'a' needs 'b'", "'c' needs 'a' needs 'b' needs 'c'"]
    with pytest.raises(SpaceError, match="|".join([circle, *turned])):
        Space({"a": Int(0, 9, when="b > 1"), "b": Int(0, 9, when="c > 1"), "c": Int(0, 9, when="a > 1")})


def test_a_long_chain_of_conditions():
    n = 3000
    space = Space({f"p{i}": Int(0, 1, when=f"p{i + 1} == 1" if i < n - 1 else None) for i in range(n)})
    assert len(space.decode(np.ones(n))) == n
    assert space.decode(np.zeros(n)) == {f"p{n - 1}": 0}


def test_conditions_match_dashes_and_are_stored_resolved():
    space = Space(
        {"batch-size": [1, 2], "x": Float(0, 1, when="batch_size == 2")}, forbid=["batch_size == 2 and x > 0.5"]
    )
    assert space["x"].when.names == ("batch-size",) and space.forbid[0].names == ("batch-size", "x")
    assert not space.contains({"batch-size": 2, "x": 0.9}) and space.contains({"batch-size": 1})
    assert space == Space({"batch-size": [1, 2], "x": Float(0, 1, when={"batch-size": 2})}, forbid=list(space.forbid))


def test_a_type_mismatch_in_a_condition_is_a_config_error():
    space = Space({"x": [1, "a"], "y": Float(0, 1, when="x > 0")})
    assert space.contains({"x": 1, "y": 0.5}) and not space.contains({"x": "a"})
    with pytest.raises(ConfigError, match="condition x > 0: 'a' > 0: these two have no order"):
        space.check({"x": "a"})


def test_zips_advance_together():
    space = Space({"lr": [0.1, 0.2, 0.3], "n": (1, 2), "wd": Ordinal([10, 20, 30])}, zips=[("wd", "lr")])
    assert space.zips == (("lr", "wd"),) and space.axes == (("lr", "wd"), ("n",)) and space.size == 6
    for seed in range(30):
        config = space.sample(np.random.default_rng(seed))
        assert config["wd"] == round(100 * config["lr"])
        space.check(config)
        assert space.decode(space.encode(config)) == config
    assert space.decode(np.array([0.0, 0.0, 1.0])) == {"lr": 0.1, "n": 1, "wd": 10}  # the first leads
    with pytest.raises(ConfigError, match=r"lr, wd are zipped: .* lr = 0.1, wd = 20"):
        space.check({"lr": 0.1, "n": 1, "wd": 20})


def test_zips_with_conditions():
    space = Space(
        {"on": [True, False], "a": Ordinal([1, 2], when={"on": True}), "b": Ordinal([10, 20])}, zips=[["a", "b"]]
    )
    for config in ({"on": True, "a": 2, "b": 20}, {"on": False, "b": 20}):
        space.check(config)
        assert space.decode(space.encode(config)) == config
    assert not space.contains({"on": True, "a": 1, "b": 20})


@pytest.mark.parametrize(
    ("zips", "expected"),
    [
        ([("a", "b")], "a has 2, b has 3 values"),
        ([("a", "x")], r"x is uniform\(0.0, 1.0\), which is no list"),
        ([("a", "zz")], "zip: there is no parameter 'zz'"),
        ([("a",)], "at least two"),
        ([()], "at least two"),
        ([("a", "a")], "two different names"),
        ([("a", "c"), ("d", "c")], "'c' is in two zips"),
        (["a,c"], r"zip: expected a list, came 'a,c'"),
        ("a,c", "zips: expected a list"),
        ([("a", 3)], "names of parameters, came 3"),
        (None, "zips: expected a list"),
    ],
)
def test_bad_zips(zips, expected):
    with pytest.raises(SpaceError, match=expected):
        Space({"a": [1, 2], "b": [1, 2, 3], "c": [3, 4], "d": [5, 6], "x": (0.0, 1.0)}, zips=zips)


@pytest.mark.parametrize(
    ("forbid", "expected"),
    [
        (["a >"], "column 4"),
        (["zz > 1"], "no parameter 'zz'"),
        ("a > 1", r"forbid: expected a list, came 'a > 1'"),
        ([3], "when: expected"),
    ],
)
def test_bad_forbids(forbid, expected):
    with pytest.raises(SpaceError, match=expected):
        Space({"a": [1, 2]}, forbid=forbid)


def test_forbid_takes_conditions_and_arithmetic():
    space = Space({"batch": [32, 64], "accum": [1, 2, 4]}, forbid=[parse_condition("batch * accum > 128")])
    assert not space.contains({"batch": 64, "accum": 4}) and space.contains({"batch": 64, "accum": 2})
    found = {tuple(space.sample(np.random.default_rng(seed)).values()) for seed in range(200)}
    assert len(found) == 5


def test_sampling_gives_up_when_everything_is_forbidden():
    space = Space({"a": (0.0, 1.0)}, forbid=["a >= 0"])
    with pytest.raises(SpaceError, match=r"10,000 random configs in a row were forbidden \(a >= 0\)"):
        space.sample(np.random.default_rng(0))


def test_size():
    assert Space({"a": [1, 2], "b": (1, 10), "c": Float(0, 1, step=0.5), "d": Constant(1)}).size == 60
    assert Space({"a": [1, 2], "b": (0.0, 1.0)}).size is None
    assert Space({f"p{i}": Int(1, 2**62) for i in range(5)}).size == 2**310


def full():
    return Space(
        {
            "a": Categorical([1, 1.0, True, None, "x", [1, (2, "y")]]),
            "b": Float(1e-5, 1, log=True, when="a in [1, 'x']"),
            "c": Ordinal(range(10**12)),
            "d": Distribution(stats.gamma(2.0)),
            "e": NumpyDistribution("poisson", (3.0,)),
            "f": Ordinal([1, 2, 3]),
            "g": Ordinal(["s", "m", "l"]),
        },
        zips=[("f", "g")],
        forbid=["f > 2 and b < 0.1"],
    )


def test_json_round_trip():
    space = full()
    stored = json.loads(json.dumps(space.to_json(), allow_nan=False, sort_keys=True))
    again = Space.from_json(stored)
    assert again == space and hash(again) == hash(space) and list(again) == list(space)
    assert again.difference(space) == [] and again.to_json() == space.to_json()
    copied = pickle.loads(pickle.dumps(space))
    assert copied == space and copied.axes == space.axes
    assert copied.sample(np.random.default_rng(1)) == space.sample(np.random.default_rng(1))


def test_what_cannot_be_stored_is_named():
    with pytest.raises(SpaceError, match=r"^x: the value .* cannot be stored"):
        Space({"x": [object()]}).to_json()


@pytest.mark.parametrize(
    "data",
    [
        {}, None, [], 3, {"domains": {}},
        {"domains": 3, "zips": [], "forbid": []}, {"domains": [["a"]], "zips": [], "forbid": []},
        {"domains": [["a", 3]], "zips": [], "forbid": []}, {"domains": [], "zips": [["a", "b"]], "forbid": []},
        {"domains": [["a", {"type": "float"}]], "zips": [], "forbid": []},
        {"domains": [], "zips": [], "forbid": ["a > 1"]},
    ],
)  # fmt: skip
def test_damaged_json_is_refused(data):
    with pytest.raises(SpaceError):
        Space.from_json(data)


def test_equality_is_by_content():
    assert Space({"a": [1], "b": [2]}) == Space({"a": Categorical([1]), "b": Categorical([2])})
    assert Space({"a": [1], "b": [2]}) != Space({"b": [2], "a": [1]})  # another grid
    assert Space({"a": [1]}) != Space({"a": [1.0]})
    assert Space({"a": [1]}) != {"a": Categorical([1])}
    pairs = {"a": [1, 2], "b": [3, 4]}
    assert Space(pairs, zips=[("a", "b")]) == Space(pairs, zips=[("b", "a")]) != Space(pairs)
    assert Space(pairs, forbid=["a > 1", "b > 3"]) == Space(pairs, forbid=["b > 3", "a > 1"]) != Space(pairs)


def test_differences_are_told_a_line_each():
    old = Space({"a": [1, 2], "b": (0.0, 1.0), "c": [1, 2], "gone": [1]}, zips=[("a", "c")], forbid=["a > 1"])
    new = Space({"c": [1, 2], "a": [1, 2, 3], "b": Float(0, 1, when="a == 1"), "new": (1, 9)}, forbid=["a > 2"])
    assert old.difference(new) == [
        "gone: choice(1) was removed",
        "a: was choice(1, 2), is choice(1, 2, 3)",
        "b: was uniform(0.0, 1.0), is uniform(0.0, 1.0) when a == 1",
        "new: int(1, 9) is new",
        "order: was a, b, c, gone, is c, a, b, new",
        "zip: a, c was removed",
        "forbid: a > 1 was removed",
        "forbid: a > 2 is new",
    ]
    assert old.difference(old) == []
    assert Space({"x": [True]}).difference(Space({"x": [1]})) == ["x: was choice(True), is choice(1)"]


def test_repr_shows_the_content():
    assert repr(Space({"a": [1, 2], "b": [1, 2]}, zips=[("a", "b")], forbid=["a > 1"])).endswith(
        ", zips=(('a', 'b'),), forbid=['a > 1'])"
    )


def test_names_of_any_kind():
    names = ["trainer.lr", "arg1", "lr_2", "batch-size", "a b", "and", "é", "`", "x" * 300]
    space = Space({name: [1, 2] for name in names}, zips=[names], forbid=["`and` == 2 and `a b` > 1"])
    assert space.size == 2 and Space.from_json(space.to_json()) == space
    assert not space.contains(dict.fromkeys(names, 2)) and space.contains(dict.fromkeys(names, 1))
