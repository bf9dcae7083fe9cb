"""Laws of the value grammar: printed domains read back, and no text gives anything but a result or an error."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import GrammarError
from whet.space.calls import MAX_SIZE, NAMES
from whet.space.domain import Categorical, Float, Int, Normal, Ordinal
from whet.space.dsl import Budget, Drawn, Listed, Open, Toggle, Verbatim, parse_value

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
PLAIN = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | NUMBERS | TEXTS
NESTED_VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(TEXTS, inner, max_size=3)
)


@given(st.lists(NESTED_VALUES, min_size=1, max_size=5), st.sampled_from([Categorical, Ordinal]))
def test_a_list_domain_reads_back(values, kind):
    try:
        domain = kind(values)
    except ValueError:  # a value twice
        return
    read = parse_value(str(domain))
    assert read.domain == domain
    assert type(read.domain) is kind
    assert list(map(repr, read.domain.values)) == list(map(repr, domain.values))


@given(
    st.floats(-1e9, 1e9),
    st.floats(1e-6, 1e9),
    st.booleans(),
    st.none() | st.floats(1e-3, 1.0),
    st.sampled_from([Float, Normal]),
)
def test_a_domain_of_floats_reads_back(low, width, log, step, kind):
    try:
        domain = kind(low, low + width, log=log, step=step) if kind is Float else kind(low, width, log=log, step=step)
    except ValueError:
        return
    assert parse_value(str(domain)) == Open(domain)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9), st.booleans(), st.none() | st.integers(1, 1000))
def test_a_domain_of_ints_reads_back(low, width, log, step):
    try:
        domain = Int(low, low + width, log=log, step=step)
    except ValueError:
        return
    assert parse_value(str(domain)) == Open(domain)


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(-9, 9).filter(bool))
def test_a_range_reads_back(start, stop, step):
    values = range(start, stop, step)
    if values:
        assert parse_value(str(Ordinal(values))).domain.values == values
    else:
        with pytest.raises(GrammarError, match="empty"):
            parse_value(str(values))


SIGNS = list("()[]{},'\"= \\:-1\n\0\ud800\udcff\ufeff٣")
WORDS = ["0.5", "1e-3", "size=", "3", "None", "True", "lit:", "'a'", "range(", "(1,", "[[", "q=0.5"]
PIECES = st.sampled_from([*NAMES, *SIGNS, *WORDS])
MESSY = st.text() | st.lists(PIECES, max_size=12).map("".join)


@settings(max_examples=700, deadline=None)
@given(MESSY)
def test_any_text_gives_a_result_or_a_grammar_error(text):
    _outcome(text)


@settings(max_examples=700, deadline=None)
@given(st.sampled_from(sorted(NAMES)), st.lists(PIECES | st.integers().map(str) | NUMBERS.map(repr), max_size=6))
def test_any_arguments_give_a_result_or_a_grammar_error(name, pieces):
    _outcome(f"{name}({', '.join(pieces)})")


def _outcome(text: str) -> None:
    try:
        value = parse_value(text, flag="--x")
    except GrammarError as error:
        assert error.flag == "--x"
        assert error.column is not None and 1 <= error.column <= max(len(text), 1)
        return
    if isinstance(value, Verbatim):
        assert value.text in text
    elif isinstance(value, Drawn):
        assert 1 <= value.size <= MAX_SIZE
    elif isinstance(value, Open):
        assert parse_value(str(value.domain)) == value
    elif isinstance(value, Listed):
        assert all(text is None or isinstance(text, str) for text in map(value.spell, value.domain.values[:100]))
        assert len(value.domain.values) >= 1
    else:
        assert isinstance(value, Budget | Toggle)
        assert isinstance(value, Toggle) or 0 < value.low < value.high < math.inf
