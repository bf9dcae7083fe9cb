"""The value grammar: a table of inputs with their exact outcomes. Functions are in test_calls.py."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.space.outcomes import Bad, Same, Values, check
from whet.errors import GrammarError
from whet.space.domain import Categorical, Ordinal
from whet.space.dsl import parse_value

NESTED = "[" * 10_000
BIG = "x" * 1_000_000

SCALARS = {
    "32": Same(),
    "1e-2": Same(),
    "-1": Same(),
    "bert": Same(),
    "'bert'": Same("bert"),
    '"bert"': Same("bert"),
    "  'bert' ": Same("bert"),
    "''": Same(""),
    '"[1, 2]"': Same("[1, 2]"),
    "'uniform(0, 1)'": Same("uniform(0, 1)"),
    "'": Same(),
    "'bert": Same(),
    "it's": Same(),
    "'a' 'b'": Same(),
    "'it's'": Same(),
    "'a\"": Same(),
    "": Same(),
    "   ": Same(),
    "None": Same(),
    "True": Same(),
    "a,b": Same(),
    "a, b and c": Same(),
    "/data/[run 1]/x.csv": Same(),
    "https://host:80/path?a=[1,2]&b=uniform(0,1)": Same(),
    '{"a": 1, "b": [1, 2]}': Same(),
    "{'lr': 0.1}": Same(),
    "{": Same(),
    "{trial_dir}/model.pt": Same(),
    "the value (in brackets) and [more] of it": Same(),
    "see uniform(0, 1)": Same(),
    "*.[ch]": Same(),
    "[a-z]+": Same(notice="follows the list"),
    "[INFO] started": Same(notice="follows the list"),
    "[1, 2] and [3]": Same(notice="follows the list"),
    "[1][2]": Same(notice="follows the list"),
    "0x10": Same(),
    "-rf": Same(),
    ";rm -rf /": Same(),
    "$(touch pwned)": Same(),
    "`touch pwned`": Same(),
    "9**9**9": Same(),
    "().__class__": Same(),
    "lambda: 0": Same(),
    "__import__('os').system('touch pwned')": Same(notice=None),
    "\ufeff[1, 2]": Same(),
    "\u00a0[1, 2]": Same(),
    "١٢": Same(),
    "\udcff\udc80": Same(),
    "a\nb\tc": Same(),
    BIG: Same(),
    '{"a": "' + BIG + '"}': Same(),
    "lit:": Same(""),
    "lit:[32, 64]": Same("[32, 64]"),
    "lit:[32, 64": Same("[32, 64"),
    "lit:lit:x": Same("lit:x"),
    "lit: 'x'": Same(" 'x'"),
    " lit:x": Same(),
    "literal": Same(),
}

LISTS = {
    "[32, 64, 128]": Values([32, 64, 128]),
    " [32,64] ": Values([32, 64]),
    "[32]": Values([32]),
    "[1, 2,]": Values([1, 2]),
    "[\n1,\n2\n]": Values([1, 2]),
    "[relu, gelu]": Values(["relu", "gelu"]),
    "['relu', \"gelu\"]": Values(["relu", "gelu"]),
    "[1e-5, 0.10, 007, +5, 1., .5]": Values([1e-5, 0.1, "007", 5, 1.0, 0.5], ["1e-5", "0.10", "007", "+5", "1.", ".5"]),
    "[-1, -0.5, -x]": Values([-1, -0.5, "-x"]),
    "[1_000, 0x10, 1e999, inf, nan, 1.5.2, --lr]": Values(["1_000", "0x10", "1e999", "inf", "nan", "1.5.2", "--lr"]),
    "[١, 2]": Values(["١", 2]),
    "[True, False, None, true, none]": Values(
        [True, False, None, "true", "none"], ["True", "False", None, "true", "none"]
    ),
    "['None', None]": Values(["None", None]),
    "['1', 1.0, True]": Values(["1", 1.0, True], ["1", "1.0", "True"]),
    "['', ' ']": Values(["", " "]),
    "[a b, c  d]": Values(["a b", "c  d"]),
    "[it's, 5'10\", rock n'roll]": Values(["it's", "5'10\"", "rock n'roll"]),
    "['it\\'s', 'a\\\\b', '\\d+', '\\x41\\u00e9\\n']": Values(["it's", "a\\b", "\\d+", "Aé\n"]),
    "['a,b', \"]\", '[']": Values(["a,b", "]", "["]),
    "[/data/a, C:\\temp, http://x:80/y?a=b]": Values(["/data/a", "C:\\temp", "http://x:80/y?a=b"]),
    "[a=1, b==2, {trial_dir}]": Values(["a=1", "b==2", "{trial_dir}"]),
    "[[64, 64], [128]]": Values([[64, 64], [128]], ["[64, 64]", "[128]"]),
    "[[64,64], []]": Values([[64, 64], []], ["[64,64]", "[]"]),
    "[(0.9, 0.999), (0.8,)]": Values([(0.9, 0.999), (0.8,)], ["(0.9, 0.999)", "(0.8,)"]),
    '[{"a": 1e-3}, {}]': Values([{"a": 1e-3}, {}], ['{"a": 1e-3}', "{}"]),
    "[[relu, 64], (1), {a: 1}]": Values(["[relu, 64]", "(1)", "{a: 1}"]),
    '[{"a": true}]': Values(['{"a": true}']),
    "[['a]', \"b\"], ['c' 'd']]": Values([["a]", "b"], "['c' 'd']"], ["['a]', \"b\"]", "['c' 'd']"]),
    "[adam(lr=1, b=(1, 2)), sgd]": Values(["adam(lr=1, b=(1, 2))", "sgd"]),
    "[[64]x, 1]": Values(["[64]x", 1]),
    "[uniform(0, 1), 1]": Values(["uniform(0, 1)", 1]),
    "['resnet18' 'transformer', 'resnet50']": Values(
        ["resnet18", "transformer", "resnet50"], notices=("side by side and are 2 values",)
    ),
    "['a''b'\"c\", 'd' 'e']": Values(["a", "b", "c", "d", "e"], notices=("side by side and are 3 values",)),
    "[1, 1, 2, 1]": Values([1, 2], notices=("twice: 1",)),
    "[0.1, 0.10]": Values([0.1], ["0.1"], notices=("twice: 0.10",)),
    "['a' 'a']": Values(["a"], notices=("side by side", "twice: a")),
    "[__import__('os'), 9**9**9]": Values(["__import__('os')", "9**9**9"]),
    "[\udcff, a\udc80]": Values(["\udcff", "a\udc80"]),
    "[é, 日本]": Values(["é", "日本"]),
    "[" + "9" * 500 + "]": Values(["9" * 500]),
    "[" + "9" * 50 + "]": Values([int("9" * 50)]),
    "[" + "[" * 40 + "]" * 40 + "]": Values(["[" * 40 + "]" * 40]),
    "[]": Bad(1, "at least one value"),
    "[ ]": Bad(1, "at least one value"),
    "[,]": Bad(2, "a value between the commas"),
    "[1,,2]": Bad(4, "a value between the commas"),
    "[1, 2": Bad(1, "']', as in [1, 2, 3]"),
    "[": Bad(1, "never closed"),
    "['a, b]": Bad(2, "string is never closed"),
    '[a, "b]': Bad(5, "string is never closed"),
    "[1, 2)": Bad(6, "expected ']' before ')'"),
    "[(1]": Bad(4, "expected ')' before ']'"),
    "[1, (2": Bad(5, "expected ')'"),
    "[1, 2]]": Bad(7, "to end before ']'"),
    "[1, 2], ": Bad(7, "to end before ','"),
    "[1 2 3]": Bad(3, "',' between the numbers"),
    "['a' b]": Bad(6, "expected ',' after the string"),
    "['a'b]": Bad(5, "expected ',' after the string"),
    "[a 'b']": Bad(3, "expected ',' before the string"),
    "[rock 'n roll]": Bad(7, "string is never closed"),
    "['\\ud800']": Bad(3, "no character"),
    "['\\x00', 1]": Bad(3, "no character"),
    "['\\U00110000']": Bad(3, "no character"),
    "[a\0b]": Bad(3, "cannot be passed"),
    "a\0b": Bad(2, "cannot be passed"),
    "lit:\0": Bad(5, "cannot be passed"),
    "ab\ud800": Bad(3, "cannot be passed"),
    NESTED: Bad(1, "at most 8,192"),
    NESTED[:8000]: Bad(8_000, "never closed"),
    NESTED + "]" * 10_000: Bad(1, "at most 8,192"),
    NESTED[:4000] + "]" * 4_000: Values(["[" * 3999 + "]" * 3999]),
    "[" + BIG + "]": Bad(1, "at most 8,192"),
    "[0]*10**10": Same(notice="follows the list"),
}

RANGES = {
    "(1, 10, 2)": Values([1, 3, 5, 7, 9], notices=("(1, 10, 2) is range(1, 10, 2): 1 3 5 7 9",)),
    "range(1, 10, 2)": Values([1, 3, 5, 7, 9], notices=("1 3 5 7 9",)),
    "range(3)": Values([0, 1, 2], notices=("range(0, 3): 0 1 2",)),
    "( 1 , 4 )": Values([1, 2, 3], notices=("1 2 3",)),
    "(1, 4,)": Values([1, 2, 3], notices=("1 2 3",)),
    "(5, -5, -3)": Values([5, 2, -1, -4], notices=("5 2 -1 -4",)),
    "(+1, 3)": Values([1, 2], notices=("1 2",)),
    "(0, 100)": Values(list(range(100)), notices=("0 1 2 3 4 5 ... 99 (100 values)",)),
    "(3, 3)": Bad(1, "the range is empty"),
    "(10, 1)": Bad(1, "the range is empty"),
    "range(0)": Bad(1, "the range is empty"),
    "(1, 10, 0)": Bad(9, "a step other than 0"),
    "range(1, 10, 0)": Bad(14, "a step other than 0"),
    "range()": Bad(1, "expected range(stop)"),
    "range(1, 2, 3, 4)": Bad(1, "expected range(stop)"),
    "range(1.5)": Bad(1, "expected range(stop)"),
    "range(start=1)": Bad(1, "expected range(stop)"),
    "range(1, 10": Bad(6, "expected ')', as in range(stop)"),
    "(1, 10": Bad(1, "(start, stop)"),
    "(1,": Bad(1, "(start, stop)"),
    "(1, 10))": Bad(8, "to end before ')'"),
    "(1, 99999999999999999999)": Bad(1, "at most 18 digits"),
    "(0.9, 0.999)": Same(),
    "(10,)": Same(),
    "(10)": Same(),
    "()": Same(),
    "(1, 2, 3, 4)": Same(),
    "(a, b)": Same(),
    "(007, 9)": Same(),
    "(1, True)": Same(),
    "(١, ٣)": Same(),
    "(see below": Same(),
    "(1, 10) and more": Same(),
    "(" + "9," * 500_000: Same(),
    "(" + "9," * 4_000: Bad(1, "never closed"),
    "(1,2" + " " * 1_000_000 + "x": Same(),
}

TABLE = SCALARS | LISTS | RANGES


@pytest.mark.parametrize("text", TABLE, ids=lambda text: ascii(text)[:60])
def test_each_input_has_its_outcome(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(text, TABLE[text])
    assert list(tmp_path.iterdir()) == []  # nothing was executed, no file touched


def test_the_table_is_large_enough():
    assert len(TABLE) >= 140
    assert sum(isinstance(expected, Bad) for expected in TABLE.values()) >= 40


def test_an_error_without_a_flag_begins_with_what_was_expected():
    with pytest.raises(
        GrammarError, match=r"^expected a value between the commas \(column 4 of \"\[1,,2\]\"\); .*lit:"
    ):
        parse_value("[1,,2]")


def test_the_kinds_of_lists():
    assert isinstance(parse_value("[1, 2]").domain, Categorical)
    assert parse_value("choice(1, 2)").domain == Categorical((1, 2))
    assert parse_value("ordinal(1, 2)").domain == Ordinal((1, 2))
    assert parse_value("(1, 4)").domain == Ordinal(range(1, 4))
    assert parse_value("linspace(0, 1, 3)").draw(np.random.default_rng(0)).domain == Ordinal((0.0, 0.5, 1.0))


def test_a_long_range_is_never_expanded():
    value = parse_value("(0, 1000000000000)")
    assert value.domain.values == range(10**12)
    assert value.spell(999_999_999_999) == "999999999999"
    assert value.notices == (
        "(0, 1000000000000) is range(0, 1000000000000): 0 1 2 3 4 5 ... 999999999999 (1,000,000,000,000 values)",
    )


def test_a_store_may_give_back_a_list_for_a_tuple():
    value = parse_value("[(0.9, 0.999), (0.8, 0.99)]")
    assert value.spell([0.9, 0.999]) == "(0.9, 0.999)"


def test_what_is_the_same_to_the_program_is_dropped():
    value = parse_value("['1', 1, None, 'None', 1.0]", flag="--x")
    assert [value.spell(one) for one in value.domain.values] == ["1", None, "None", "1.0"]
    assert value.notices == ("--x: dropped what is there twice: 1",)


@pytest.mark.parametrize("text", ["uniform(1, 1)", "normal(0, 0)", "randint(5, 5)", "int(1, 1)"])
def test_errors_do_not_speak_of_classes(text):
    with pytest.raises(GrammarError) as caught:
        parse_value(text)
    assert not re.search("Constant|Float|Normal:|Int:", str(caught.value))
