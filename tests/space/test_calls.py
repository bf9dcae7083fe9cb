"""The functions of the value grammar: a table of inputs with their exact outcomes, and what they draw."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from tests.space.outcomes import Bad, Same, Sized, Values, check
from whet.errors import GrammarError
from whet.space.calls import NAMES
from whet.space.distributions import NUMPY_NAMES
from whet.space.domain import Float, Int, Normal, NumpyDistribution
from whet.space.dsl import Budget, Open, Toggle, parse_value
from whet.space.values import format_value

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


@pytest.mark.parametrize("text", CALLS, ids=lambda text: ascii(text)[:60])
def test_each_call_has_its_outcome(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(text, CALLS[text])
    assert list(tmp_path.iterdir()) == []  # nothing was executed, no file touched


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
