"""Candidates become a space and its configs, whatever values they hold."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from whet.sklearn import spaces
from whet.space.choices import Categorical, Ordinal


def described(candidates):
    found = spaces.described(candidates)
    return found.space, [found.config(candidate) for candidate in candidates]


def test_numbers_are_in_order_and_other_values_as_they_came():
    space, configs = described([{"C": 10, "kernel": "rbf"}, {"C": 0.5, "kernel": "linear"}, {"C": 10, "kernel": None}])
    assert configs == [{"C": 10, "kernel": "rbf"}, {"C": 0.5, "kernel": "linear"}, {"C": 10, "kernel": None}]
    assert isinstance(space["C"], Ordinal)
    assert list(space["C"].values) == [0.5, 10]
    assert isinstance(space["kernel"], Categorical)
    assert list(space["kernel"].values) == ["rbf", "linear", None]


def test_numpy_scalars_become_pythons_own():
    _, configs = described([{"C": np.float64(0.5), "n": np.int64(3), "b": np.bool_(True), "s": np.str_("x")}])
    assert configs == [{"C": 0.5, "n": 3, "b": True, "s": "x"}]
    assert [type(value) for value in configs[0].values()] == [float, int, bool, str]


def test_objects_stand_by_labels_that_tell_them_apart():
    one, other, third = PCA(2), PCA(2), SVC()
    candidates = [{"step": value} for value in (one, other, third, one, "PCA(n_components=2)", np.abs, len)]
    _, configs = described(candidates)
    labels = [config["step"] for config in configs]
    assert labels[0] == labels[3]
    assert len(set(labels)) == 6
    assert labels[4] == "PCA(n_components=2)"
    assert labels[0].startswith("PCA(n_components=2) #")
    assert labels[2] == "SVC()"
    assert labels[6] == "len"


def test_labels_are_the_same_in_every_process():
    class Plain:
        pass

    _, configs = described([{"x": Plain()}])
    assert "0x" not in configs[0]["x"]


def test_what_a_candidate_leaves_as_it_is():
    space, configs = described([{"a": 1}, {"b": "(as it is)"}, {}])
    assert configs[0] == {"a": 1, "b": "(as it is) #2"}
    assert configs[1] == {"a": "(as it is)", "b": "(as it is)"}
    assert configs[2] == {"a": "(as it is)", "b": "(as it is) #2"}
    for config in configs:
        space.check(config)


class Grumpy:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        {0: 1, 1: 2},
        np.arange(3),
        [np.arange(2)],
        {1, 2},
        Grumpy(),
        [Grumpy()],
        lambda x: x,
        b"x",
        1j,
    ],
)
def test_values_that_json_cannot_hold(value):
    space, configs = described([{"x": value}, {"x": 1}])
    assert isinstance(configs[0]["x"], str)
    assert configs[1]["x"] == 1
    for config in configs:
        space.check(config)


def test_a_value_that_holds_itself():
    value = []
    value.append(value)
    _, configs = described([{"x": value}])
    assert isinstance(configs[0]["x"], str)


def test_no_parameters():
    assert described([{}])[1] == [{}]


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.tuples(st.integers(0, 1)),
    st.lists(st.floats(), max_size=2),
    st.sampled_from([PCA(), SVC(), np.abs, np.arange(2)]),
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b__c"]), _values), min_size=1, max_size=8))
def test_every_config_is_in_the_space_and_can_be_stored(candidates):
    space, configs = described(candidates)
    assert len(configs) == len(candidates)
    for config in configs:
        space.check(config)
        json.dumps(config, allow_nan=False)
