"""JSON that keeps what plain JSON loses."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core import jsontext

_keys = st.sampled_from(["$float", "$dict", "a", ""]) | st.text(max_size=4)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(st.characters(), max_size=6)
    | st.sampled_from(["nan", "inf", "$float", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)


@given(_values)
def test_what_is_written_is_read(value: Any) -> None:
    text = jsontext.dumps(value)
    assert repr(jsontext.loads(text)) == repr(value)  # as text, in which NaN equals itself and 1 is not 1.0
    assert text.isascii()
    json.loads(text, parse_constant=pytest.fail)  # and it is JSON for everyone: no NaN or Infinity in it


def test_plain_values_are_plain_json() -> None:
    assert jsontext.dumps({"lr": 0.1, "layers": [1, 2], "name": "a", "on": True}) == (
        '{"lr":0.1,"layers":[1,2],"name":"a","on":true}'
    )


def test_what_is_not_finite_is_tagged() -> None:
    assert jsontext.dumps([math.nan, math.inf, -math.inf]) == '[{"$float":"nan"},{"$float":"inf"},{"$float":"-inf"}]'
    assert jsontext.dumps({"$float": "nan"}) == '{"$dict":[["$float","nan"]]}'
    assert jsontext.loads(jsontext.dumps({"$float": "nan"})) == {"$float": "nan"}


def test_tuples_come_back_as_lists_and_numpy_floats_as_floats() -> None:
    assert jsontext.loads(jsontext.dumps({"a": (1, (2, math.inf))})) == {"a": [1, [2, math.inf]]}
    assert type(jsontext.loads(jsontext.dumps(np.float64("inf")))) is float


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j, {"a": [object()]}, [math.nan, object()]])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        jsontext.dumps(value)


@pytest.mark.parametrize("text", ["", "{", "nope", '{"$float":"x"}', '{"$dict":[1]}', "[1,]"])
def test_what_is_no_json_of_ours_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        jsontext.loads(text)
