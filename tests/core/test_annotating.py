"""Attributes and notes: what may be said, and what is refused with the name of what is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from whet.core.annotating import MAX_BYTES, annotation_draft
from whet.core.events import Draft, Kind
from whet.errors import UsageError

_ENDLESS: list[Any] = []
_ENDLESS.append(_ENDLESS)
_DEEP: list[Any] = []
for _ in range(100_000):
    _DEEP = [_DEEP]


def draft(attributes: Any = None, note: Any = None) -> Draft:
    return annotation_draft(3, attributes, note, now=lambda: 5.0)


def test_a_draft_says_what_changes() -> None:
    assert draft({"a": 1}, "good") == Draft(Kind.ANNOTATED, 3, {"attributes": {"a": 1}, "note": "good"}, time=5.0)
    assert draft(note="").payload == {"note": ""}
    assert draft({"a": None}).payload == {"attributes": {"a": None}}
    assert annotation_draft(None, {}, now=lambda: 5.0).trial is None


def test_values_are_kept_as_json_has_them() -> None:
    given = {"a": np.float32(0.5), "b": (1, np.int64(2)), "c": {"d": [np.bool_(True)]}, "e": math.inf, "\ud800": "\0"}
    kept = draft(given).payload["attributes"]
    assert kept == {"a": 0.5, "b": [1, 2], "c": {"d": [True]}, "e": math.inf, "\ud800": "\0"}
    assert type(kept["a"]) is float


def test_what_is_kept_is_not_the_callers() -> None:
    value = [1]
    kept = draft({"a": value}).payload["attributes"]
    value.append(2)
    assert kept == {"a": [1]}


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", np.zeros(3), [1, {"x": object()}], 1j, {(1, 2): 3}, _ENDLESS, _DEEP],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused_by_name(value: Any) -> None:
    with pytest.raises(UsageError, match=r"the attribute 'it' cannot be kept as JSON .*; give numbers"):
        draft({"good": 1, "it": value})


@pytest.mark.parametrize("name", [1, None, "", ("a",)])
def test_names_are_text(name: Any) -> None:
    with pytest.raises(UsageError, match="names of attributes that are text"):
        draft({name: 1})


@pytest.mark.parametrize("attributes", ["a=1", 3, [("a", 1)]])
def test_attributes_are_a_dict(attributes: Any) -> None:
    with pytest.raises(UsageError, match="attributes as a dict"):
        draft(attributes)


def test_what_is_too_long_is_refused_and_what_just_fits_is_kept() -> None:
    assert draft({"a": "x" * (MAX_BYTES - 2)}, "ä" * (MAX_BYTES // 2)).payload
    with pytest.raises(UsageError, match=r"the attribute 'a' takes 1,000,001 bytes.*in a file"):
        draft({"a": "x" * (MAX_BYTES - 1)})
    with pytest.raises(UsageError, match=r"the note takes 1,000,002 bytes"):
        draft(note="ä" * (MAX_BYTES // 2 + 1))
    with pytest.raises(UsageError, match="a note that is text"):
        draft(note=3)
