"""The value grammar: a table of inputs with their exact outcomes, fuzzing, and the round trip of domains."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import GrammarError
from whet.space.calls import MAX_SIZE, NAMES
from whet.space.distributions import NUMPY_NAMES
from whet.space.domain import Categorical, Domain, Float, Int, Normal, NumpyDistribution, Ordinal
from whet.space.dsl import Budget, Drawn, Listed, Open, Toggle, Verbatim, parse_value
from whet.space.values import format_value


@dataclass(frozen=True)
class Same:
    """Passed as it is (or as *text*), with or without a notice that holds *notice*."""

    text: str | None = None
    notice: str | None = None


@dataclass(frozen=True)
class Values:
    """Listed with these values and these texts for the program (the values' own where not given)."""

    values: list
    texts: list | None = None
    notices: tuple = ()


@dataclass(frozen=True)
class Bad:
    """A GrammarError at this column whose message holds *says*."""

    column: int
    says: str


@dataclass(frozen=True)
class Sized:
    """A distribution with a size."""

    name: str
    size: int
    arguments: dict = field(default_factory=dict)


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
    "['1', 1, 1.0, True]": Values(["1", 1, 1.0, True], ["1", "1", "1.0", "True"]),
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

CALLS = {
    "uniform(1e-5, 1e-1, 3)": Sized("uniform", 3, {"low": 1e-5, "high": 0.1}),
    "uniform(low=1e-5, high=1e-1, size=3)": Sized("uniform", 3, {"low": 1e-5, "high": 0.1}),
    "uniform(size=3)": Sized("uniform", 3, {"low": 0.0, "high": 1.0}),
    "normal(loc=0, scale=1, size=3)": Sized("normal", 3, {"loc": 0, "scale": 1}),
    " normal( 0,\n1 , 3 , ) ": Sized("normal", 3, {"loc": 0, "scale": 1}),
    "standard_normal(4)": Sized("standard_normal", 4),
    "standard_cauchy(size=4)": Sized("standard_cauchy", 4),
    "f(1, 2, 3)": Sized("f", 3, {"dfnum": 1, "dfden": 2}),
    "dirichlet([1, 2], 3)": Sized("dirichlet", 3, {"alpha": [1, 2]}),
    "multinomial(10, (0.5, 0.5), 2)": Sized("multinomial", 2, {"n": 10, "pvals": [0.5, 0.5]}),
    "linspace(0, 1, 5)": Sized("linspace", 5, {"start": 0, "stop": 1, "num": 5, "endpoint": True}),
    "linspace(0, 1, num=5, endpoint=False)": Sized("linspace", 5, {"start": 0, "stop": 1, "num": 5, "endpoint": False}),
    "int(1, 10, 3)": Sized("int", 3, {"low": 1, "high": 10, "step": None}),
    "loguniform(1e-5, 1e-1, 3)": Sized("loguniform", 3, {"low": 1e-5, "high": 0.1}),
    "uniform(1e-5, 1e-1)": Float(1e-5, 1e-1),
    "uniform()": Float(0.0, 1.0),
    "uniform(1e-5, 1e-1, None)": Float(1e-5, 1e-1),
    "uniform(1e-5, 1e-1, size=None)": Float(1e-5, 1e-1),
    "uniform(-1, +1)": Float(-1, 1),
    "loguniform(1e-5, 1e-1)": Float(1e-5, 1e-1, log=True),
    "quniform(0, 1, 0.1)": Float(0, 1, step=0.1),
    "qloguniform(1, 100, q=2)": Float(1, 100, log=True, step=2),
    "normal()": Normal(0.0, 1.0),
    "normal(1, scale=2)": Normal(1, 2),
    "lognormal(0, 2)": Normal(0, 2, log=True),
    "qnormal(0, 2, 0.5)": Normal(0, 2, step=0.5),
    "qlognormal(0, 2, 0.5)": Normal(0, 2, log=True, step=0.5),
    "randint(10)": Int(0, 9),
    "randint(1, 10)": Int(1, 9),
    "int(1, 10)": Int(1, 10),
    "int(1, 10, step=3)": Int(1, 10, step=3),
    "logint(1, 1024)": Int(1, 1024, log=True),
    "gamma(2.0, scale=1.5)": NumpyDistribution("gamma", (2.0,), {"scale": 1.5}),
    "multivariate_normal([0, 0], [[1, 0], [0, 1]])": NumpyDistribution(
        "multivariate_normal", ([0, 0], [[1, 0], [0, 1]])
    ),
    "choice('a', 'b')": Values(["a", "b"]),
    "choice(a, b,)": Values(["a", "b"]),
    "choice([1e-5, 0.10])": Values([1e-5, 0.1], ["1e-5", "0.10"]),
    "choice([64, 64], [128])": Values([[64, 64], [128]], ["[64, 64]", "[128]"]),
    "choice([[64, 64], [128]])": Values([[64, 64], [128]], ["[64, 64]", "[128]"]),
    "choice(5, 3)": Values([5, 3]),
    "choice('a' 'b')": Values(["a", "b"], notices=("side by side",)),
    "ordinal(small, medium, large)": Values(["small", "medium", "large"]),
    "ordinal([1, 2], 3)": Values([[1, 2], 3], ["[1, 2]", "3"]),
    "toggle()": Toggle(),
    "budget(1, 81)": Budget(1, 81),
    "budget(low=0.5, high=2)": Budget(0.5, 2),
    # malformed
    "uniform(1e-5,": Bad(8, "expected ')', as in uniform(low=0.0, high=1.0, size)"),
    "uniform(": Bad(8, "expected ')'"),
    "uniform(1e-5, 1e-1]": Bad(19, "expected ')' before ']'"),
    "uniform(0, 1))": Bad(14, "to end before ')'"),
    "uniform(0, 1, 3, 4)": Bad(18, "takes no more arguments"),
    "uniform(0, 'a')": Bad(12, "needs a number for high"),
    "uniform(0, '1')": Bad(12, "needs a number for high"),
    "uniform(0, True)": Bad(12, "needs a number for high"),
    "uniform(0, 1/3)": Bad(12, "needs a number for high"),
    "uniform(0, 9**9**9)": Bad(12, "needs a number for high"),
    "uniform(0, 1e999)": Bad(12, "needs a number for high"),
    "uniform(0, nan)": Bad(12, "needs a number for high"),
    "uniform(0, [1, 2])": Bad(12, "needs a number for high"),
    "uniform(0, uniform(0, 1))": Bad(12, "needs a number for high"),
    "uniform(٠, ١)": Bad(9, "needs a number for low"),
    "uniform(0, __import__('os').system('id'))": Bad(12, "needs a number for high"),
    "uniform(5, 1)": Bad(1, "low < high"),
    "uniform(1, 1)": Bad(1, "low and high are both"),
    "loguniform(0, 1)": Bad(1, "log needs low > 0"),
    "loguniform(1e-5)": Bad(16, "needs a value for high"),
    "uniform(0, 1, 0)": Bad(15, "a whole number from 1 to 1,000,000 for size"),
    "uniform(0, 1, -1)": Bad(15, "a whole number from 1"),
    "uniform(0, 1, 3.0)": Bad(15, "a whole number from 1"),
    "uniform(0, 1, (2, 2))": Bad(15, "a whole number from 1"),
    "uniform(0, 1, 1000001)": Bad(15, "a whole number from 1"),
    "uniform(0, 1, True)": Bad(15, "a whole number from 1"),
    "uniform(0, 1, size=3, size=4)": Bad(23, "size= once"),
    "uniform(0, low=1)": Bad(16, "got low twice"),
    "uniform(0, high=)": Bad(16, "a value behind high="),
    "uniform(low=0, 1)": Bad(16, "positional ones come first"),
    "uniform(0, 1, dtype=3)": Bad(21, "has no argument 'dtype'"),
    "uniform(,)": Bad(9, "between the commas"),
    "uniform(0 1)": Bad(10, "',' between the numbers"),
    "f(x)": Bad(4, "needs a value for dfden"),
    "beta(-1, 1)": Bad(1, "numpy's beta takes; it says: a <= 0"),
    "binomial(-1, 0.5)": Bad(1, "numpy's binomial"),
    "poisson(1e300)": Bad(1, "numpy's poisson"),
    "pareto(1e-10)": Bad(1, "milder parameters"),
    "normal(0, 0)": Bad(1, "std above 0"),
    "dirichlet(1)": Bad(11, "needs a list of numbers for alpha"),
    "dirichlet([])": Bad(11, "a list of numbers"),
    "dirichlet([1, a])": Bad(15, "expected a number"),
    "dirichlet([[1]])": Bad(12, "expected a number"),
    "dirichlet([1]x)": Bad(11, "a list of numbers"),
    "dirichlet([1, 2, 3], 500000)": Bad(1, "3 numbers a value"),
    "multivariate_normal([0], [1])": Bad(27, "expected a list of numbers"),
    "multivariate_normal([0, 0], [[1, 2], [3, 1]])": Bad(1, "numpy's multivariate_normal"),
    "multinomial(10, [0.9, 0.9, 0.9])": Bad(1, "numpy's multinomial"),
    "linspace(0, 1)": Bad(14, "needs a value for num"),
    "linspace(0, 1, 5, 3)": Bad(19, "needs True or False for endpoint"),
    "geomspace(-1, 3, 5)": Bad(1, "not finite"),
    "geomspace(0, 1, 5)": Bad(1, "numpy's geomspace"),
    "logspace(0, 1000, 5)": Bad(1, "not finite"),
    "quniform(0, 1, 2)": Bad(1, "a step from 0 to 1"),
    "int(0.5, 3)": Bad(1, "a whole number"),
    "randint(0)": Bad(1, "low < high"),
    "choice()": Bad(1, "needs a value"),
    "choice([])": Bad(1, "needs a value"),
    "choice(a, b, p=[0.5, 0.5])": Bad(1, "only with a size"),
    "choice(a, b, p=[0.5], size=3)": Bad(1, "numpy's choice"),
    "choice([a, b], size=3, replace=False)": Bad(1, "numpy's choice"),
    "choice(a, b, lr=1)": Bad(17, "has no argument 'lr'"),
    "choice(a, b, size=x)": Bad(19, "a whole number"),
    "ordinal()": Bad(1, "needs a value"),
    "ordinal(a, b, size=3)": Bad(20, "has no argument 'size'"),
    "toggle(1)": Bad(8, "takes no more"),
    "toggle(": Bad(7, "expected ')'"),
    "budget(1)": Bad(9, "needs a value for high"),
    "budget(81, 1)": Bad(1, "0 < low < high"),
    "budget(0, 1)": Bad(1, "0 < low < high"),
    "budget(1, 81, 3)": Bad(15, "takes no more"),
    "uniform(" + "0," * 10_000 + ")": Bad(8, "at most 8,192"),
    # not ours
    "uniform (0, 1)": Same(notice="a space before its bracket"),
    "uniform(0, 1) + 3": Same(notice="text follows uniform(...)"),
    "uniform": Same(),
    "Uniform(0, 1)": Same(notice="did you mean uniform"),
    "unifrom(1e-5, 1e-1)": Same(notice="did you mean uniform"),
    "np.random.uniform(0, 1, 3)": Same(notice="did you mean uniform"),
    "adam(lr=1)": Same(notice="no function adam"),
    "Conv2d(3, 64": Same(),
    "foo(bar) is nice": Same(),
    "().__class__()": Same(),
    "x" * 100_000 + "(1)": Same(notice="no function"),
}

TABLE = SCALARS | LISTS | RANGES | CALLS


def _check(text: str, expected: object) -> None:
    if isinstance(expected, Bad):
        with pytest.raises(GrammarError) as caught:
            parse_value(text, flag="--lr")
        message = str(caught.value)
        assert (caught.value.flag, caught.value.column) == ("--lr", expected.column), message
        assert message.startswith("--lr: ") and expected.says in message
        assert f"column {expected.column}" in message
        assert message.isprintable() and len(message) < 1000
        return
    value = parse_value(text, flag="--lr")
    if isinstance(expected, Same):
        assert isinstance(value, Verbatim)
        assert value.text == (text if expected.text is None else expected.text)
        if expected.notice is not None:
            assert len(value.notices) == 1 and expected.notice in value.notices[0]
            assert value.notices[0].startswith("--lr: ") and len(value.notices[0]) < 300
    elif isinstance(expected, Values):
        assert isinstance(value, Listed)
        assert list(map(repr, value.domain.values)) == list(map(repr, expected.values))
        texts = list(map(format_value, expected.values)) if expected.texts is None else expected.texts
        assert [value.spell(item) for item in value.domain.values] == texts
        assert len(value.notices) == len(expected.notices)
        assert all(part in notice for part, notice in zip(expected.notices, value.notices, strict=True))
    elif isinstance(expected, Sized):
        assert isinstance(value, Drawn)
        assert (value.name, value.size, dict(value.arguments)) == (expected.name, expected.size, expected.arguments)
    elif isinstance(expected, Domain):
        assert value == Open(expected)
    else:
        assert value == expected


@pytest.mark.parametrize("text", TABLE, ids=lambda text: ascii(text)[:60])
def test_each_input_has_its_outcome(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _check(text, TABLE[text])
    assert list(tmp_path.iterdir()) == []  # nothing was executed, no file touched


def test_the_table_is_large_enough():
    assert len(TABLE) >= 200
    assert sum(isinstance(expected, Bad) for expected in TABLE.values()) >= 80


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


# -- draws -------------------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "beta": "0.5, 2",
    "binomial": "10, 0.5",
    "chisquare": "2",
    "dirichlet": "[1, 2, 3]",
    "exponential": "2",
    "f": "2, 3",
    "gamma": "2, 3",
    "geometric": "0.3",
    "gumbel": "0, 2",
    "hypergeometric": "10, 10, 5",
    "laplace": "0, 2",
    "logistic": "0, 2",
    "lognormal": "0, 1",
    "logseries": "0.5",
    "multinomial": "10, [0.2, 0.8]",
    "multivariate_hypergeometric": "[5, 6, 7], 4",
    "multivariate_normal": "[0, 1], [[2, 0], [0, 1]]",
    "negative_binomial": "3, 0.5",
    "noncentral_chisquare": "3, 2",
    "noncentral_f": "3, 20, 2",
    "normal": "1, 2",
    "pareto": "3",
    "poisson": "4",
    "power": "2",
    "rayleigh": "2",
    "standard_cauchy": "",
    "standard_exponential": "",
    "standard_gamma": "2",
    "standard_normal": "",
    "standard_t": "5",
    "triangular": "0, 1, 3",
    "uniform": "1e-5, 1e-1",
    "vonmises": "0, 1",
    "wald": "3, 2",
    "weibull": "2",
    "zipf": "3",
}


def _drawn(text: str, seed: int = 7) -> list:
    return list(parse_value(text).draw(np.random.default_rng(seed)).domain.values)


def _unique(values: list) -> list:
    return list({repr(value): value for value in values}.values())


def test_all_of_numpys_distributions_are_known():
    generator = np.random.default_rng(0)
    assert set(ARGUMENTS) == NUMPY_NAMES
    assert set(NAMES) >= NUMPY_NAMES
    assert all(hasattr(generator, name) for name in ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_sized_distribution_draws_what_numpy_draws(name):
    inner = ARGUMENTS[name]
    expected = getattr(np.random.default_rng(7), name)(*ast.literal_eval(f"({inner},)" if inner else "()"), size=5)
    text = f"{name}({inner}{', ' if inner else ''}5)"
    assert _drawn(text) == _unique(expected.tolist())
    assert _drawn(text.replace("5)", "size=5)")) == _drawn(text)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_unsized_distribution_is_a_domain_that_reads_back(name):
    value = parse_value(f"{name}({ARGUMENTS[name]})")
    assert isinstance(value, Open)
    assert value.domain.is_encodable == (name in ("uniform", "normal", "lognormal"))
    assert parse_value(str(value.domain)) == value
    drawn = value.domain.sample(np.random.default_rng(0))
    assert value.domain.contains(drawn)
    assert ast.literal_eval(format_value(drawn)) == drawn


def test_draws_are_written_with_repr():
    listed = parse_value("uniform(1e-5, 1e-1, 3)").draw(np.random.default_rng(3))
    expected = np.random.default_rng(3).uniform(1e-5, 1e-1, 3).tolist()
    assert [listed.spell(value) for value in listed.domain.values] == [repr(value) for value in expected]
    vectors = parse_value("dirichlet([1, 2], 2)").draw(np.random.default_rng(3))
    assert [vectors.spell(v) for v in vectors.domain.values] == [
        repr(v) for v in np.random.default_rng(3).dirichlet([1, 2], 2).tolist()
    ]


def test_two_draws_from_one_generator_differ():
    rng = np.random.default_rng(5)
    first, second = (parse_value("uniform(0, 1, 3)").draw(rng) for _ in range(2))
    assert [*first.domain.values, *second.domain.values] == np.random.default_rng(5).uniform(0, 1, 6).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linspace(0, 1, 5)", np.linspace(0, 1, 5)),
        ("linspace(0, 1, 5, False)", np.linspace(0, 1, 5, endpoint=False)),
        ("logspace(-5, -1, 5)", np.logspace(-5, -1, 5)),
        ("logspace(0, 3, 4, base=2)", np.logspace(0, 3, 4, base=2)),
        ("geomspace(1, 1000, num=4)", np.geomspace(1, 1000, 4)),
    ],
)
def test_even_spacing_is_numpys_and_leaves_the_generator_alone(text, expected):
    rng = np.random.default_rng(0)
    assert list(parse_value(text).draw(rng).domain.values) == expected.tolist()
    assert rng.random() == np.random.default_rng(0).random()


def test_whole_numbers():
    rng = np.random.default_rng
    assert _drawn("randint(1, 100, 5)") == _unique(rng(7).integers(1, 100, 5).tolist())
    assert _drawn("int(1, 100, 5)") == _unique(rng(7).integers(1, 100, 5, endpoint=True).tolist())
    assert _drawn("randint(100, size=5)") == _unique(rng(7).integers(100, size=5).tolist())
    assert all(type(value) is int and 1 <= value <= 8 for value in _drawn("logint(1, 8, 20)"))
    assert set(_drawn("int(1, 2, 50)")) == {1, 2}  # both ends
    assert set(_drawn("randint(1, 3, 50)")) == {1, 2}  # not the upper one
    assert set(_drawn("int(1, 7, 200, step=3)")) == {1, 4, 7}


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("loguniform(1e-5, 1e-1, 40)", Float(1e-5, 1e-1, log=True)),
        ("quniform(0, 1, 0.25, 40)", Float(0, 1, step=0.25)),
        ("qloguniform(1, 64, 1, 40)", Float(1, 64, log=True, step=1)),
        ("qnormal(0, 10, 0.5, 40)", Normal(0, 10, step=0.5)),
        ("qlognormal(0, 1, 0.5, 40)", Normal(0, 1, log=True, step=0.5)),
    ],
)
def test_whets_own_distributions_draw_from_their_domain(text, domain):
    values = _drawn(text)
    assert all(domain.contains(value) for value in values) and len(values) > 2


def test_choices_are_drawn_as_numpy_draws_them():
    options = ["a", "b", "c", "d"]
    assert _drawn("choice(a, b, c, d, size=6)") == _unique(np.random.default_rng(7).choice(options, 6).tolist())
    assert _drawn("choice([a, b, c, d], 3, replace=False)") == (
        np.random.default_rng(7).choice(options, 3, replace=False).tolist()
    )
    p = [0.1, 0.2, 0.3, 0.4]
    assert _drawn(f"choice([a, b, c, d], size=5, p={p})") == _unique(
        np.random.default_rng(7).choice(options, 5, p=p).tolist()
    )
    listed = parse_value("choice([1e-5, 0.10], 20)").draw(np.random.default_rng(0))
    assert {listed.spell(value) for value in listed.domain.values} == {"1e-5", "0.10"}


def test_a_value_that_was_drawn_twice_is_dropped_with_a_notice():
    listed = parse_value("poisson(1, 50)", flag="--n").draw(np.random.default_rng(0))
    assert len(listed.domain.values) == len(set(listed.domain.values)) < 50
    assert listed.notices[0].startswith("--n: dropped what is there twice: ")


def test_a_draw_that_is_not_finite_is_an_error():
    # the trial draw is finite, the thousandth value is not
    value = parse_value("pareto(0.015, 100000)", flag="--x")
    with pytest.raises(GrammarError, match="--x: pareto gave a value that is not finite"):
        value.draw(np.random.default_rng(0))


# -- laws --------------------------------------------------------------------------------------------------------------

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


@settings(max_examples=1500, deadline=None)
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
