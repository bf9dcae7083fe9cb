"""The laws that every domain keeps, and what each of them refuses."""

import json
import math
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from scipy import stats

from whet.errors import ConfigError, SpaceError
from whet.space.distributions import NUMPY_NAMES
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
    domain_from_json,
)

any_float = st.floats(allow_nan=False, allow_infinity=False)
any_bound = st.integers(-(2**62), 2**62)
unit = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-324, math.nextafter(1, 0)])
scalar = st.none() | st.booleans() | st.integers() | any_float | st.text()
value = st.recursive(
    scalar, lambda v: st.lists(v) | st.lists(v).map(tuple) | st.dictionaries(st.text(), v), max_leaves=5
)


def made(cls, *args, **kwargs):
    try:
        return cls(*args, **kwargs)
    except SpaceError:
        reject()


@st.composite
def floats(draw):
    low, high, log = draw(any_float), draw(any_float), draw(st.booleans())
    step = draw(st.none() | st.floats(0, 1, exclude_min=True).map(lambda share: share * (high - low)))
    if log:
        low, high = abs(low), abs(high)
    return made(Float, *sorted((low, high)), log=log, step=step)


@st.composite
def narrow_floats(draw):
    low = draw(st.floats(1e-300, 1e300))
    n_ulps = draw(st.integers(1, 10**6))
    return made(Float, low, low + n_ulps * math.ulp(low), log=draw(st.booleans()))


@st.composite
def ints(draw):
    low = draw(any_bound | st.integers(-1000, 1000))
    log = draw(st.booleans())
    if log:
        low = abs(low) + 1
    n, step = draw(st.integers(2, 2**40)), draw(st.none() | st.integers(1, 10**6))
    high = low + (n - 1) * (step or 1)
    return made(Int, low, high, log=log, step=step)


@st.composite
def normals(draw):
    mean, std = draw(st.floats(-600, 600)), draw(st.floats(1e-6, 1e4))
    step = draw(st.none() | st.floats(1e-3, 100))
    return made(Normal, mean, std, log=draw(st.booleans()), step=step)


@st.composite
def ranges(draw):
    start, n = draw(st.integers(-(10**15), 10**15)), draw(st.integers(1, 2**40))
    step = draw(st.integers(-1000, 1000).filter(bool))
    return Ordinal(range(start, start + n * step, step))


values = st.lists(value, min_size=1, max_size=8)
choices = st.builds(lambda cls, items: made(cls, items), st.sampled_from([Categorical, Ordinal]), values)
SCIPY = [
    stats.gamma(2.0, scale=0.5),
    stats.beta(2, 5),
    stats.norm(3, 2),
    stats.lognorm(0.9),
    stats.cauchy(),
    stats.truncnorm(-1, 2),
    stats.expon(scale=1e-3),
    stats.triang(0.3),
    stats.poisson(4.5),
    stats.binom(10, 0.3),
    stats.randint(1, 7),
    stats.geom(0.2),
]
distributions = st.sampled_from(SCIPY).map(Distribution)
encodable = (
    floats() | narrow_floats() | ints() | normals() | ranges() | choices | st.builds(Constant, value) | distributions
)
NUMPY = [
    NumpyDistribution("gamma", (2.0,), {"scale": 1.0}),
    NumpyDistribution("dirichlet", ([1.0, 2.0],)),
    NumpyDistribution("poisson"),
]
anything = encodable | st.sampled_from(NUMPY)


@settings(max_examples=600, deadline=None)
@given(encodable, unit, unit)
def test_decoding_gives_a_member_and_encoding_it_comes_back(domain, u, other):
    found = domain.decode(u)
    assert domain.contains(found)
    again = domain.encode(found)
    assert 0 <= again <= 1
    assert domain.encode(domain.decode(again)) == pytest.approx(again, abs=1e-9)
    if isinstance(domain, Float | Int | Normal) and other >= u:  # the map is monotone
        assert domain.decode(other) >= found
    if domain.size is not None:
        assert repr(domain.decode(again)) == repr(found)


@settings(max_examples=300, deadline=None)
@given(encodable, st.data())
def test_values_by_number(domain, data):
    if domain.size is None:
        for call in (lambda: domain.value_at(0), lambda: domain.index_of(domain.decode(0.5))):
            with pytest.raises(SpaceError, match="no finite list"):
                call()
        return
    index = data.draw(st.integers(0, domain.size - 1) | st.sampled_from([0, domain.size - 1]))
    found = domain.value_at(index)
    assert domain.contains(found) and domain.index_of(found) == index
    assert repr(domain.decode(domain.encode(found))) == repr(found)
    for outside in (-1, domain.size):
        with pytest.raises(IndexError, match="expected an index"):
            domain.value_at(outside)


@settings(max_examples=300, deadline=None)
@given(encodable, st.lists(unit, max_size=5))
def test_a_column_is_encoded_as_its_values_are(domain, places):
    column = [domain.decode(u) for u in places]
    encoded = domain.encode_column(column)
    assert encoded.shape == (len(places),) and encoded.dtype == np.float64
    assert encoded.tolist() == pytest.approx([domain.encode(item) for item in column], abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(anything, st.sampled_from([None, {"opt": "sgd"}, "a > 1 and b in ('x', 'y')"]))
def test_json_and_pickle_round_trip(domain, when):
    plain = domain.to_json()
    if when is not None:
        domain = domain_from_json({**plain, "when": when})
        assert domain != domain_from_json(plain)
    stored = json.loads(json.dumps(domain.to_json(), allow_nan=False))
    for again in (domain_from_json(stored), pickle.loads(pickle.dumps(domain))):
        assert again == domain and hash(again) == hash(domain) and str(again) == str(domain)
        assert again.to_json() == domain.to_json()


@settings(deadline=None)
@given(anything, st.integers(0, 2**32))
def test_samples_are_members_and_repeat(domain, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, two = (domain.sample(np.random.default_rng(seed)) for _ in range(2))
    assert domain.contains(one) and repr(one) == repr(two)
    assert not isinstance(one, np.generic | np.ndarray)


@settings(deadline=None)
@given(encodable)
def test_nan_is_never_decoded_and_beyond_the_ends_is_the_end(domain):
    with pytest.raises(ConfigError, match="NaN"):
        domain.decode(math.nan)
    assert repr(domain.decode(-0.1)) == repr(domain.decode(0.0))
    assert repr(domain.decode(1.5)) == repr(domain.decode(1.0))


@settings(deadline=None)
@given(encodable, value)
def test_what_is_no_member_is_refused_everywhere(domain, item):
    if domain.contains(item):
        return
    with pytest.raises(ConfigError, match="expected"):
        domain.encode(item)
    with pytest.raises(ConfigError, match="expected"):
        domain.encode_column([domain.decode(0.5), item])
    if domain.size is not None:
        with pytest.raises(ConfigError, match="expected"):
            domain.index_of(item)


@pytest.mark.parametrize("n", [2**40, 2**40 - 1, 2**39 + 1])
@pytest.mark.parametrize("low", [1, 2**20, 2**61])
@pytest.mark.parametrize("log", [False, True])
def test_ints_are_exact_up_to_two_to_the_forty(n, low, log):
    domain = Int(low, low + n - 1, log=log)
    rng = np.random.default_rng(0)
    for index in [0, 1, n // 2, n - 2, n - 1, *rng.integers(n, size=200).tolist()]:
        assert domain.decode(domain.encode(low + index)) == low + index


@pytest.mark.parametrize("log", [False, True])
def test_rounding_never_leaves_the_bounds(log):
    rng = np.random.default_rng(0)
    for low, ratio in zip(10 ** rng.uniform(-9, 9, 500), 10 ** rng.uniform(0.01, 12, 500), strict=True):
        domain = Float(low, low * ratio, log=log)
        assert domain.decode(1.0) == domain.high and domain.decode(0.0) == domain.low
        for u in (math.nextafter(1, 0), 1 - 2**-52, 5e-324):
            assert domain.low <= domain.decode(u) <= domain.high
        twice = Float(low, math.nextafter(2 * low, math.inf), log=log)
        places = [twice.encode(2 * low), *twice.encode_column([2 * low, twice.high]).tolist()]
        assert max(places) <= 1.0


def test_the_widest_ints_stay_within_their_bounds():
    domain = Int(-(2**62), 2**62)
    assert domain.decode(0.0) == -(2**62) and domain.decode(1.0) == 2**62
    ends = [-(2**62), -1, 0, 2**62]
    assert domain.encode_column(ends).tolist() == pytest.approx([0, 0.5, 0.5, 1])


@pytest.mark.parametrize("item", [3, -5, 15, 5.0, True, "5", None, 10**30])
def test_a_column_of_ints_is_checked(item):
    domain = Int(0, 10, step=5)
    assert domain.encode_column([0, 5, 10]).tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    with pytest.raises(ConfigError, match=f"came {item!r}"):
        domain.encode_column([item])


def test_a_rounded_normal_encodes_what_it_never_gives_as_the_nearest_that_it_does():
    domain = Normal(0.3, 0.001, step=1)
    assert domain.contains(5.0) and domain.encode(5.0) == domain.encode(0.0) == domain.encode(-3.0)
    assert domain.decode(domain.encode(5.0)) == 0.0
    small = Normal(-3, 0.01, log=True, step=1)  # always 0
    assert small.decode(0.5) == 0.0 and small.encode(0.0) == small.encode(7.0)


def test_ints_lie_in_the_middle_of_their_cells():
    assert Int(1, 4).encode_column([1, 2, 3, 4]).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert Int(0, 30, step=10).encode(10) == 0.375
    logarithmic = Int(1, 8, log=True)
    assert logarithmic.encode(1) == pytest.approx(math.log(2) / math.log(17))
    cells = [logarithmic.decode(u) for u in np.linspace(0, 1, 100_001)]
    share = cells.count(2) / len(cells)
    assert share == pytest.approx(math.log(2.5 / 1.5) / math.log(17), abs=1e-4)


def test_a_step_reaches_high_only_when_it_is_on_the_grid():
    assert [Float(0, 1, step=0.3).value_at(i) for i in range(4)] == [0.0, 0.3, 0.6, 0.9]
    assert Float(0, 1, step=0.3).size == 4
    assert Float(0, 0.3, step=0.1).decode(1.0) == 0.3
    assert Float(0.1, 0.7, step=0.2).value_at(3) == 0.7
    assert Float(0, 0.2999999999999, step=0.1).decode(1.0) == 0.2999999999999  # as good as on the grid, never above
    assert [Int(1, 10, step=4).value_at(i) for i in range(3)] == [1, 5, 9]
    assert not Int(1, 10, step=4).contains(10)


def test_values_of_a_step_are_the_decimals_that_people_write():
    domain = Float(0, 1, step=0.1)
    assert [domain.value_at(i) for i in range(11)] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert domain.index_of(0.1 + 0.2) == 3  # 0.30000000000000004
    assert not domain.contains(0.3001)
    assert Normal(0, 1, step=0.1).contains(0.1 + 0.2)


def test_floats_take_ints_and_numpy_numbers_but_no_bools():
    domain = Float(0, 2)
    assert domain.contains(1) and domain.contains(np.float32(1.5)) and domain.contains(np.int8(2))
    for item in (True, "1", None, [1.0], 10**400, math.nan, math.inf, 1j):
        assert not domain.contains(item)
    assert domain.encode(1) == 0.5
    assert domain.encode_column([1, 0.5, np.float32(1.5)]).tolist() == [0.5, 0.25, 0.75]
    assert Int(0, 3).encode_column([np.uint8(3), 0]).tolist() == [0.875, 0.125]
    for item in (True, "1", None, [1.0], 10**400, math.nan, math.inf, 1j, 3):
        with pytest.raises(ConfigError, match="expected a value"):
            domain.encode_column([0.5, item])
    assert Int(0, 3).contains(np.uint8(3)) and not Int(0, 3).contains(3.0) and not Int(0, 3).contains(True)


def test_one_and_one_point_zero_and_true_are_three_values():
    domain = Categorical([1, 1.0, True, "1", None, 0, False, ""])
    assert domain.size == 8
    assert [domain.index_of(v) for v in (1, 1.0, True, False, 0)] == [0, 1, 2, 6, 5]
    assert not domain.contains(0.0)
    assert Categorical([math.nan, 1.0]).index_of(float("nan")) == 0
    assert domain_from_json(json.loads(json.dumps(domain.to_json()))) == domain
    assert Categorical([1]) != Categorical([1.0]) and Categorical([1]) != Ordinal([1]) and Constant(1) != Constant(True)


@pytest.mark.parametrize("twice", [["a", "b", "a"], [1, np.int64(1)], [[1, 2], (1, 2)], [math.nan, math.nan]])
def test_a_value_that_is_there_twice_is_an_error(twice):
    for cls in (Categorical, Ordinal):
        with pytest.raises(SpaceError, match="is there twice, at positions 0 and"):
            cls(twice)


def test_numpy_values_become_pythons_own():
    domain = Categorical(np.array([0.1, 0.2]))
    assert [type(v) for v in domain.values] == [float, float]
    mixed = Categorical([np.int64(3), np.bool_(True), np.str_("a"), [np.float64(0.5)]])
    assert mixed.values == (3, True, "a", [0.5])
    assert [type(v) for v in mixed.values[:3]] == [int, bool, str] and type(mixed.values[3][0]) is float
    json.dumps(mixed.to_json())


def test_nobody_can_change_a_domain_through_its_values():
    given_values = [[64, 64], {"a": [1]}]
    domain = Categorical(given_values)
    given_values[0].append(3)
    domain.value_at(0).append(4)
    domain.value_at(1)["a"].append(5)
    domain.decode(0.0).append(6)
    assert domain.values == ([64, 64], {"a": [1]})
    constant = Constant([1])
    constant.decode(0.5).append(2)
    assert constant.value == [1]
    with pytest.raises(AttributeError):
        domain.values = ()


def test_a_tuple_stays_one_and_is_found_as_the_list_that_a_store_gives_back():
    domain = Categorical([(1, 2), (3,)])
    again = domain_from_json(json.loads(json.dumps(domain.to_json())))
    assert again.value_at(0) == (1, 2) and again.index_of([3]) == 1


def test_an_ordinal_keeps_a_range_lazily():
    domain = Ordinal(range(1, 10**12 + 1))
    assert domain.size == 10**12
    assert domain.value_at(10**12 - 1) == 10**12 and domain.index_of(77) == 76
    assert not domain.contains(1.0) and not domain.contains(True) and not domain.contains("1")
    assert str(domain) == "range(1, 1000000000001, 1)"
    assert domain_from_json(domain.to_json()) == domain


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=6, unique=True), st.integers(-5, 5).filter(bool))
@example([5], 1)
@example([1, 3, 5], 1)
def test_an_ordinal_is_equal_to_that_with_the_same_values(numbers, step):
    as_range = range(numbers[0], numbers[0] + len(numbers) * step, step)
    assert (Ordinal(numbers) == Ordinal(as_range)) == (numbers == list(as_range))
    assert Ordinal(list(as_range)) == Ordinal(as_range)
    assert hash(Ordinal(list(as_range))) == hash(Ordinal(as_range))
    assert Ordinal([float(n) for n in as_range]) != Ordinal(as_range)


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (Float(1e-5, 1e-1), "uniform(1e-05, 0.1)"),
        (Float(1e-5, 1e-1, log=True), "loguniform(1e-05, 0.1)"),
        (Float(0, 1, step=0.25), "quniform(0.0, 1.0, q=0.25)"),
        (Float(1, 9, log=True, step=2), "qloguniform(1.0, 9.0, q=2.0)"),
        (Int(-1, 4), "int(-1, 4)"),
        (Int(1, 64, log=True), "logint(1, 64)"),
        (Int(0, 9, step=3), "int(0, 9, step=3)"),
        (Normal(0, 1), "normal(0.0, 1.0)"),
        (Normal(0, 1, log=True), "lognormal(0.0, 1.0)"),
        (Normal(0, 1, step=0.5), "qnormal(0.0, 1.0, q=0.5)"),
        (Categorical(["a", 1, 0.5, None, True, "it's"]), """choice('a', 1, 0.5, None, True, "it's")"""),
        (Categorical([[1, 2], 3]), "choice([[1, 2], 3])"),
        (Ordinal(["s", "m"]), "ordinal('s', 'm')"),
        (Ordinal(range(1, 9, 2)), "range(1, 9, 2)"),
        (Constant("bert"), "'bert'"),
        (NumpyDistribution("gamma", (2.0,), {"scale": 1.0}), "gamma(2.0, scale=1.0)"),
        (Distribution(stats.gamma(2.0, scale=3)), "scipy.stats.gamma(2.0, scale=3)"),
    ],
)
def test_the_text_is_what_the_command_line_reads(domain, text):
    assert str(domain) == text


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Float(1, 1), r"use Constant\(1.0\)"),
        (lambda: Float(2, 1), "low < high.*swap"),
        (lambda: Float(0, 1, log=True), "log needs low > 0"),
        (lambda: Float(-1, 1, log=True), "log needs low > 0"),
        (lambda: Float(math.nan, 1), "low: expected a finite number, came nan"),
        (lambda: Float(0, math.inf), "high: expected a finite number, came inf"),
        (lambda: Float("0", 1), "without quotes"),
        (lambda: Float(None, 1), "came None"),
        (lambda: Float(False, True), "expected a finite number, came False"),
        (lambda: Float(0, 10**400), "expected a finite number"),
        (lambda: Float(0, 1, log="yes"), "True or False for log"),
        (lambda: Float(0, 1, step=0), "step from 0"),
        (lambda: Float(0, 1, step=-0.1), "step from 0"),
        (lambda: Float(0, 1, step=2), "step from 0"),
        (lambda: Float(0, 1, step=math.nan), "step: expected a finite number"),
        (lambda: Float(0, 1, step=1e-300), "too small"),
        (lambda: Float(1e16, 1e16 + 16, step=1), "too small"),
        (lambda: Float(-1.7e308, 1.7e308), "what floats can hold"),
        (lambda: Float(1, 1.2e308, log=True), "what floats can hold"),
        (lambda: Int(1, 1), r"use Constant\(1\)"),
        (lambda: Int(5, 1), "low < high"),
        (lambda: Int(0, 8, log=True), "log needs low > 0"),
        (lambda: Int(True, 8), "expected a whole number, came True"),
        (lambda: Int(0, 2.5), "use Float for fractions"),
        (lambda: Int(0, math.inf), "whole number, came inf"),
        (lambda: Int(0, math.nan), "whole number, came nan"),
        (lambda: Int("1", 8), "without quotes"),
        (lambda: Int(0, 2**62 + 1), r"at most 2\^62"),
        (lambda: Int(-(10**400), 1), r"at most 2\^62"),
        (lambda: Int(0, 8, step=0), "step from 0"),
        (lambda: Int(0, 8, step=9), "step from 0"),
        (lambda: Int(0, 8, step=0.5), "step: expected a whole number"),
        (lambda: Normal(0, 0), "std above 0.*Constant"),
        (lambda: Normal(0, -1), "std above 0"),
        (lambda: Normal(math.inf, 1), "mean: expected a finite number"),
        (lambda: Normal(0, 1, step=0), "step above 0"),
        (lambda: Normal(1000, 1, log=True), "range of floats.*of the logarithm"),
        (lambda: Normal(1e308, 1e308), "range of floats"),
        (lambda: Normal(1e300, 1, step=1e-300), "too small"),
        (lambda: Normal(0, 1, log=1), "True or False"),
        (lambda: Categorical([]), "at least one value"),
        (lambda: Categorical("abc"), "expected a list of values, came 'abc'"),
        (lambda: Categorical({"a", "b"}), "a set has no order"),
        (lambda: Categorical({"a": 1}), "expected a list"),
        (lambda: Categorical(3), "expected a list"),
        (lambda: Ordinal(()), "at least one value"),
        (lambda: Ordinal(range(3, 3)), "is empty"),
        (lambda: Ordinal(range(10**30)), r"within 2\^62"),
        (lambda: Distribution(stats.gamma), "frozen"),
        (lambda: Distribution("gamma"), "frozen"),
        (lambda: Distribution(stats.gamma(-1.0)), "outside what gamma allows"),
        (lambda: Distribution(stats.gamma([1.0, 2.0])), "finite numbers as parameters"),
        (lambda: Distribution(stats.rv_histogram(np.histogram([1.0, 2.0, 4.0]))()), "not in scipy.stats"),
        (lambda: NumpyDistribution("shuffle"), "no distribution of numpy"),
        (lambda: NumpyDistribution("__class__"), "no distribution of numpy"),
        (lambda: NumpyDistribution(["gamma"]), "no distribution of numpy"),
        (lambda: NumpyDistribution("gamma"), "cannot be drawn"),
        (lambda: NumpyDistribution("gamma", (-1.0,)), "cannot be drawn"),
        (lambda: NumpyDistribution("normal", (), {"sigma": 1}), "cannot be drawn"),
        (lambda: NumpyDistribution("normal", (0, 1), {"size": 3}), "takes no size"),
        (lambda: NumpyDistribution("normal", (math.nan, 1)), "milder"),
        (lambda: NumpyDistribution("normal", 3), "expected a list and a dict"),
        (lambda: Float(0, 1, when={}), "when: expected a condition"),
        (lambda: Float(0, 1, when=True), "when: expected a condition"),
        (lambda: Float(0, 1, when="a >"), "column 4"),
    ],
)
def test_what_makes_no_domain_is_refused(make, expected):
    with pytest.raises(SpaceError, match=expected):
        make()


@pytest.mark.parametrize("foreign", [object(), {1: 2}, {1, 2}, b"x", math.nan, math.inf, len, 1j, {"$tuple": []}])
def test_a_value_that_is_not_json_is_named(foreign):
    for domain in (Categorical(["a", foreign]), Ordinal(["a", foreign]), Constant([foreign])):
        assert domain.sample(np.random.default_rng(0)) is not None
        with pytest.raises(SpaceError, match="cannot be stored") as caught:
            domain.to_json()
        assert repr(foreign)[:50] in str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "expected a 'type' of float, int"),
        ({"type": "flaot", "low": 0, "high": 1}, "expected a 'type'"),
        ({"type": ["float"]}, "expected a 'type'"),
        ({"type": "float", "low": 0}, "'high' is missing"),
        ({"type": "float", "low": 0, "high": 1, "hihg": 2}, "unknown key 'hihg'"),
        ({"type": "float", "low": "a", "high": 1}, "low: expected a finite number"),
        ({"type": "categorical"}, "'values' is missing"),
        ({"type": "categorical", "values": [1], "choices": [1]}, "unknown key 'choices'"),
        ({"type": "categorical", "_numbers": {}, "values": [1]}, "unknown key '_numbers'"),
        ({"type": "ordinal", "range": [1, 5, 0]}, "must not be zero"),
        ({"type": "ordinal", "range": "1:5"}, "expected a range"),
        ({"type": "numpy", "name": "system", "args": ["ls"]}, "no distribution of numpy"),
        ({"type": "scipy", "name": 3}, "expected a name"),
        ({"type": "scipy", "name": "gamma", "args": ["2"]}, "finite numbers"),
        ({"type": "scipy", "name": "gamma", "args": 2}, "expected a list"),
    ],
)
def test_bad_json_is_refused(data, expected):
    with pytest.raises(SpaceError, match=expected):
        domain_from_json(data)


@pytest.mark.parametrize("name", ["distributions", "norm_gen", "ttest_ind", "os", "__dict__"])
def test_a_stored_name_reaches_nothing_but_distributions(name):
    domain = domain_from_json({"type": "scipy", "name": name})
    with pytest.raises(SpaceError, match=r"is no distribution of scipy\.stats"):
        domain.decode(0.5)


def test_typed_dicts_by_hand():
    assert domain_from_json({"type": "categorical", "choices": ["a", "b"]}) == Categorical(["a", "b"])
    assert domain_from_json({"type": "int", "low": 1, "high": 9, "log": True}) == Int(1, 9, log=True)
    assert domain_from_json({"type": "ordinal", "range": [5]}) == Ordinal(range(5))
    assert domain_from_json({"type": "constant", "value": None}) == Constant(None)
    assert Int(1, 1e3) == Int(1, 1000)


def test_numpys_distributions_are_sampled_only():
    for domain in NUMPY:
        assert not domain.is_encodable and domain.size is None
        for call in (lambda d=domain: d.encode(1.0), lambda d=domain: d.decode(0.5)):
            with pytest.raises(SpaceError, match="random search only"):
                call()
    assert isinstance(NUMPY[1].sample(np.random.default_rng(0)), list)
    assert not NUMPY[0].contains("a") and not NUMPY[0].contains(math.nan) and not NUMPY[0].contains([])


def test_every_name_is_a_method_of_the_generator():
    assert len(NUMPY_NAMES) == 36
    assert all(callable(getattr(np.random.Generator, name)) for name in NUMPY_NAMES)


@pytest.mark.parametrize(
    "domain", [Float(0, 1), Float(1e-5, 1, log=True), Int(1, 5), Normal(2, 3), Normal(0, 0.5, log=True)]
)
def test_samples_have_the_distribution_that_is_asked_for(domain):
    rng = np.random.default_rng(1)
    places = domain.encode_column([domain.sample(rng) for _ in range(4000)])
    expected = np.full(4000, 0.5)
    assert abs(places.mean() - expected.mean()) < 0.02
    assert abs(places.std() - math.sqrt(1 / 12 if not isinstance(domain, Int) else 0.08)) < 0.02


def test_normal_agrees_with_scipy():
    places = [1e-12, 0.001, 0.3, 0.5, 0.9, 1 - 1e-9]
    assert [Normal(2, 3).decode(u) for u in places] == pytest.approx(stats.norm(2, 3).ppf(places), rel=1e-9)
    lognormal = Normal(0.5, 0.7, log=True)
    values_ = [0.01, 1.0, 9.0]
    assert [lognormal.encode(v) for v in values_] == pytest.approx(stats.lognorm(0.7, scale=math.exp(0.5)).cdf(values_))
    assert Normal(0, 1).encode(-1e300) == 2**-53 and Normal(0, 1).encode(1e300) == 1 - 2**-53


def test_distribution_decodes_by_the_quantile_function():
    domain = Distribution(stats.gamma(2.0, scale=0.5))
    assert domain.decode(0.3) == pytest.approx(stats.gamma(2.0, scale=0.5).ppf(0.3))
    assert Distribution(stats.randint(1, 7)).encode(1) == pytest.approx(1 / 12)
    poisson = Distribution(stats.poisson(4.5))
    assert type(poisson.decode(0.5)) is int and poisson.contains(3) and not poisson.contains(3.0)
    assert not poisson.contains(-1) and not poisson.contains(True)


def test_scipy_is_loaded_only_when_a_distribution_is_used():
    code = (
        "import sys\n"
        "from whet.space.domain import Normal, domain_from_json\n"
        "d = domain_from_json({'type': 'scipy', 'name': 'gamma', 'args': [2.0]})\n"
        "str(d), d.to_json(), Normal(0, 1).decode(0.3)\n"
        "assert not any(name.split('.')[0] == 'scipy' for name in sys.modules)\n"
        "assert d.contains(d.decode(0.5)) and 'scipy.stats' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_domains_are_not_equal_across_kinds():
    assert Float(0, 1) != Int(0, 1) and Float(0, 1) != "uniform(0.0, 1.0)"
    assert len({Float(0, 1), Float(0.0, 1.0), Float(0, 1, step=0.5)}) == 2
    assert Float(0, 1, when={"a": 1}) == Float(0, 1, when="a == 1") != Float(0, 1)
    assert issubclass(Float, Domain)
