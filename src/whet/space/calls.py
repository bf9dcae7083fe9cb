"""The functions of the command line's grammar: ``uniform(1e-5, 1e-1, 3)``, ``choice('a', 'b')``, ``budget(1, 81)``.

Numpy's distributions keep the parameter names, the order and the defaults of :class:`numpy.random.Generator`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.errors import GrammarError, SpaceError
from whet.space.domain import Domain, Float, Int, Normal, NumpyDistribution
from whet.space.plain import is_number
from whet.space.tokens import Bracket, Element, Source, read_all, read_bracket, read_elements, typed
from whet.space.values import EVEN, Budget, Drawn, Listed, Open, Toggle, call_numpy, listed

MAX_SIZE = 1_000_000

# name: parameters in numpy's order, defaults behind `=`; the sign behind a name says what it takes:
# `*` a list of numbers, `**` a list of such lists, `#` a count, `?` True or False, none a number
_NUMPY = {
    "beta": "a b",
    "binomial": "n p",
    "chisquare": "df",
    "dirichlet": "alpha*",
    "exponential": "scale=1.0",
    "f": "dfnum dfden",
    "gamma": "shape scale=1.0",
    "geometric": "p",
    "gumbel": "loc=0.0 scale=1.0",
    "hypergeometric": "ngood nbad nsample",
    "laplace": "loc=0.0 scale=1.0",
    "logistic": "loc=0.0 scale=1.0",
    "lognormal": "mean=0.0 sigma=1.0",
    "logseries": "p",
    "multinomial": "n pvals*",
    "multivariate_hypergeometric": "colors* nsample",
    "multivariate_normal": "mean* cov**",
    "negative_binomial": "n p",
    "noncentral_chisquare": "df nonc",
    "noncentral_f": "dfnum dfden nonc",
    "normal": "loc=0.0 scale=1.0",
    "pareto": "a",
    "poisson": "lam=1.0",
    "power": "a",
    "rayleigh": "scale=1.0",
    "standard_cauchy": "",
    "standard_exponential": "",
    "standard_gamma": "shape",
    "standard_normal": "",
    "standard_t": "df",
    "triangular": "left mode right",
    "uniform": "low=0.0 high=1.0",
    "vonmises": "mu kappa",
    "wald": "mean scale",
    "weibull": "a",
    "zipf": "a",
}
_OWN = {
    "loguniform": "low high",
    "quniform": "low high q",
    "qloguniform": "low high q",
    "qnormal": "loc scale q",
    "qlognormal": "mean sigma q",
    "randint": "low high=None",
    "int": "low high",
    "logint": "low high",
}
_SIZED = {name: f"{parameters} size#=None" for name, parameters in (_NUMPY | _OWN).items()}
_SIGNATURES = _SIZED | {
    "int": "low high size#=None step=None",
    "logint": "low high size#=None step=None",
    "linspace": "start stop num# endpoint?=True",
    "logspace": "start stop num# endpoint?=True base=10.0",
    "geomspace": "start stop num# endpoint?=True",
    "budget": "low high",
    "toggle": "",
}
_LISTS = {"choice": "size#=None replace?=True p*=None", "ordinal": ""}
NAMES = (*_SIGNATURES, *_LISTS, "range")

_DOMAINS: dict[str, Callable[..., Domain]] = {
    "uniform": Float,
    "loguniform": lambda low, high: Float(low, high, log=True),
    "quniform": lambda low, high, q: Float(low, high, step=q),
    "qloguniform": lambda low, high, q: Float(low, high, log=True, step=q),
    "normal": lambda loc, scale: Normal(mean=loc, std=scale),
    "lognormal": lambda mean, sigma: Normal(mean, sigma, log=True),
    "qnormal": lambda loc, scale, q: Normal(loc, scale, step=q),
    "qlognormal": lambda mean, sigma, q: Normal(mean, sigma, log=True, step=q),
    "randint": lambda low, high: Int(0, low - 1) if high is None else Int(low, high - 1),
    "int": Int,
    "logint": lambda low, high, step: Int(low, high, log=True, step=step),
}
_KEYWORD = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t\r\n]*=(?!=)[ \t\r\n]*")
_KINDS = {
    "": "a number",
    "#": f"a whole number from 1 to {MAX_SIZE:,}",
    "?": "True or False",
    "*": "a list of numbers",
    "**": "a list of lists of numbers",
}
_CLASS_WORDS = re.compile(r"^(?:Float|Int|Normal|NumpyDistribution): |[;,] use (?:Constant|Float|Categorical)\b.*")
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    sign: str
    default: Any
    is_required: bool

    def __str__(self) -> str:
        return self.name if self.is_required or self.default is None else f"{self.name}={self.default}"


def closest(name: str) -> list[str]:
    """Return the known functions whose names are nearest to *name*, a module prefix aside."""
    return difflib.get_close_matches(name.rpartition(".")[2].lower()[:50], NAMES, n=3, cutoff=0.6)


def usage(name: str) -> str:
    """Return the expected form of the function *name*."""
    if name == "range":
        return "range(stop), range(start, stop) or range(start, stop, step)"
    if name in _LISTS:
        parameters = ["a", "b", "...", *map(str, _parameters(_LISTS[name]))]
        return f"{name}({', '.join(parameters)})"
    return f"{name}({', '.join(map(str, _parameters(_SIGNATURES[name])))})"


def read_call(source: Source, name: str, bracket: Bracket) -> Listed | Drawn | Open | Toggle | Budget:
    """Read the arguments of the known function *name*.

    Raises:
        GrammarError: arguments that the function does not take.
    """
    positional, keywords = _cut(source, bracket)
    if name in _LISTS:
        return _read_list(source, name, positional, keywords)
    given = _bound(source, name, _parameters(_SIGNATURES[name]), positional, keywords)
    size = given.pop("size", None)
    bound = {p.name: p.default for p in _parameters(_SIGNATURES[name]) if p.name != "size"} | given
    if name == "toggle":
        return Toggle()
    if name == "budget":
        if not 0 < bound["low"] < bound["high"]:
            raise _unfit(source, name, f"needs 0 < low < high, got low={bound['low']} and high={bound['high']}")
        return Budget(bound["low"], bound["high"])
    if name in EVEN:
        if not np.isfinite(call_numpy(source, getattr(np, name), **bound | {"num": 3})).all():
            raise _unfit(source, name, "gives values that are not finite")
        return Drawn(name, bound, bound["num"], source)
    if name not in _DOMAINS:
        drawn = call_numpy(source, getattr(np.random.default_rng(0), name), **bound)
        if np.size(drawn) * (size or 1) > MAX_SIZE:
            raise _unfit(source, name, f"gives {np.size(drawn)} numbers a value: expected a smaller size")
    try:
        domain = _DOMAINS[name](**bound) if name in _DOMAINS else _sampled(name, positional, given)
    except SpaceError as error:
        # The message is about a class of Python, whose name and whose remedies mean nothing here.
        problem = _CLASS_WORDS.sub("", str(error))
        raise _unfit(source, name, f"does not take these: {problem}") from None
    return Open(domain) if size is None else Drawn(name, bound, size, source, None if name in _NUMPY else domain)


def _cut(source: Source, bracket: Bracket) -> tuple[list[Span], dict[str, Span]]:
    """Tell positional arguments from keywords; a value of both is still a span of the text."""
    positional: list[Span] = []
    keywords: dict[str, Span] = {}
    for begin, end in bracket.spans:
        found = _KEYWORD.match(source.text, begin, end)
        if found is None:
            if keywords:
                raise source.error(begin, "expected a keyword argument: positional ones come first")
            positional.append((begin, end))
        elif found[1] in keywords:
            raise source.error(begin, f"expected {found[1]}= once")
        elif found.end() == end:
            raise source.error(found.end() - 1, f"expected a value behind {found[1]}=")
        else:
            keywords[found[1]] = (found.end(), end)
    return positional, keywords


def _bound(
    source: Source,
    name: str,
    parameters: tuple[_Parameter, ...],
    positional: list[Span],
    keywords: dict[str, Span],
) -> dict[str, Any]:
    """Return the converted arguments by name, those that were given."""
    if len(positional) > len(parameters):
        raise _unfit(source, name, "takes no more arguments than these", positional[len(parameters)][0])
    spans = {parameter.name: span for parameter, span in zip(parameters, positional, strict=False)}
    known = {parameter.name: parameter for parameter in parameters}
    for keyword, span in keywords.items():
        if keyword not in known:
            raise _unfit(source, name, f"has no argument {keyword!r}", span[0])
        if keyword in spans:
            raise _unfit(source, name, f"got {keyword} twice", span[0])
        spans[keyword] = span
    for parameter in parameters:
        if parameter.is_required and parameter.name not in spans:
            raise _unfit(source, name, f"needs a value for {parameter.name}", len(source.text) - 1)
    return {keyword: _converted(source, name, known[keyword], span) for keyword, span in spans.items()}


def _converted(source: Source, name: str, parameter: _Parameter, span: Span) -> Any:
    element = read_elements(source, span)[0]
    value = element.value
    if element.kind == "nested" and "*" in parameter.sign:
        return _numbers(source, element, depth=len(parameter.sign))
    fits = {
        "": is_number(value),
        "#": type(value) is int and 1 <= value <= MAX_SIZE,
        "?": isinstance(value, bool),
    }
    if fits.get(parameter.sign) or (value is None and parameter.default is None and not parameter.is_required):
        return value
    raise _unfit(source, name, f"needs {_KINDS[parameter.sign]} for {parameter.name}", span[0])


def _numbers(source: Source, element: Element, depth: int) -> list[Any]:
    bracket = read_bracket(source, element.index)
    found: list[Any] = []
    for span in bracket.spans:
        inner = read_elements(source, span)[0]
        if depth > 1 and inner.kind == "nested":
            found.append(_numbers(source, inner, depth - 1))
        elif depth == 1 and inner.kind == "bare" and is_number(inner.value):
            found.append(inner.value)
        else:
            raise source.error(span[0], f"expected {_KINDS['*' * (depth - 1)]}")
    if not found or bracket.end != element.index + len(element.text):
        raise source.error(element.index, f"expected {_KINDS['*' * depth]}")
    return found


def _sampled(name: str, positional: list[Span], given: dict[str, Any]) -> NumpyDistribution:
    # positional and keyword arguments as the user told them apart, so that the domain prints as it was written
    values = list(given.items())
    n_args = min(len(positional), len(_parameters(_NUMPY[name])))
    return NumpyDistribution(name, [value for _, value in values[:n_args]], dict(values[n_args:]))


def _read_list(source: Source, name: str, positional: list[Span], keywords: dict[str, Span]) -> Listed | Drawn:
    """Read ``choice`` and ``ordinal``: values side by side, or a list first, and for ``choice`` a size behind it."""
    parameters = _parameters(_LISTS[name])
    spans: Sequence[Span] = positional
    if positional and source.text[positional[0][0]] == "[":
        inner = read_bracket(source, positional[0][0])
        is_sized = name == "choice" and len(positional) == 2 and source.text[slice(*positional[1])].isdigit()
        if inner.end == positional[0][1] and (len(positional) == 1 or is_sized):
            spans = inner.spans
            keywords = keywords | ({"size": positional[1]} if is_sized else {})
    elements, notices = read_all(source, spans)
    if not elements:
        raise _unfit(source, name, "needs a value")
    given = {p.name: p.default for p in parameters} | _bound(source, name, parameters, [], keywords)
    size = given.pop("size", None)
    if size is None:
        if given.get("p") is not None or not given.get("replace", True):
            raise _unfit(source, name, "takes p and replace only with a size: size=3")
        return listed(source, elements, ordered=name == "ordinal", notices=notices)
    trial = 1 if given["replace"] else size
    call_numpy(source, np.random.default_rng(0).choice, len(elements), trial, given["replace"], given["p"])
    return Drawn(name, {"a": tuple(elements), **given}, size, source, notices=notices)


def _parameters(signature: str) -> tuple[_Parameter, ...]:
    found = []
    for word in signature.split():
        name, equals, default = word.partition("=")
        bare = name.rstrip("*#?")
        found.append(_Parameter(bare, name[len(bare) :], typed(default) if equals else None, not equals))
    return tuple(found)


def _unfit(source: Source, name: str, problem: str, index: int = 0) -> GrammarError:
    return source.error(index, f"expected {usage(name)}: {name} {problem}")
