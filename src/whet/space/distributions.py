"""Domains given by somebody else's distributions: scipy's, which encode, and numpy's, which are only sampled."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whet.errors import SpaceError
from whet.space.base import Domain, settle, unit
from whet.space.conditions import When
from whet.space.numeric import refuse_first
from whet.space.plain import is_number, plain, shortened, value_key, value_to_json
from whet.space.scale import TAIL, within_tails

_NUMPY_NAMES = """
    beta binomial chisquare dirichlet exponential f gamma geometric gumbel hypergeometric laplace logistic lognormal
    logseries multinomial multivariate_hypergeometric multivariate_normal negative_binomial noncentral_chisquare
    noncentral_f normal pareto poisson power rayleigh standard_cauchy standard_exponential standard_gamma
    standard_normal standard_t triangular uniform vonmises wald weibull zipf
"""
NUMPY_NAMES = frozenset(_NUMPY_NAMES.split())
_FURTHEST = 2**24  # from the median, where scipy cannot tell a quantile and some of its sums take all memory
_BULK = 0.25  # quantiles between which values have to be few, that they be listed


@dataclass(frozen=True, slots=True)
class ScipyRv:
    """A frozen distribution of scipy.stats by name: ``ScipyRv("gamma", (2.0,), {"scale": 0.5})``."""

    name: str
    args: tuple[float, ...] = ()
    kwds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parameters are numbers."""
        if not isinstance(self.name, str):
            raise SpaceError(f"Distribution: expected a name of scipy.stats, came {shortened(repr(self.name))}")
        args, kwds = _parameters(f"Distribution: {self.name}", self.args, self.kwds)
        for value in (*args, *kwds.values()):
            if not is_number(value) or not math.isfinite(value):
                raise SpaceError(
                    f"Distribution: {self.name}: expected finite numbers as parameters, came {shortened(repr(value))}"
                )
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "kwds", kwds)

    def __str__(self) -> str:
        return _call(self.name, self.args, self.kwds)


@dataclass(frozen=True, slots=True, eq=False)
class Distribution(Domain):
    """What a frozen scipy.stats distribution gives, as ``Distribution(scipy.stats.gamma(2))``.

    Kept as name and parameters, so scipy is loaded only when the domain is used. Values are floats, or ints where
    the distribution is discrete, and are encoded by the distribution function.

    Raises:
        SpaceError: no frozen distribution, one that is not in scipy.stats, or parameters that it does not take.
    """

    kind: ClassVar[str] = "scipy"
    rv: Any
    when: When = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the distribution and reduce it to its name and parameters."""
        rv = self.rv
        settle(self, rv=rv if isinstance(rv, ScipyRv) else _reduced(rv))
        if not isinstance(rv, ScipyRv):  # scipy is loaded already
            self._frozen()

    @property
    def is_discrete(self) -> bool:
        """Whether the distribution is one of ints."""
        return self._frozen()[1]

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is a finite number in the support; an int where the distribution is discrete."""
        value = plain(value)
        rv, is_discrete = self._frozen()
        if not is_number(value) or (is_discrete and isinstance(value, float)):
            return False
        low, high = rv.support()
        return bool(low <= value <= high) and not (isinstance(value, float) and math.isinf(value))

    def encode(self, value: Any) -> float:
        """Return the value's quantile; for an int the middle of the step that the distribution function makes."""
        if not self.contains(value):
            raise self.misfit(value)
        rv, is_discrete = self._frozen()
        u = float(rv.cdf(value))
        return (u + float(rv.cdf(value - 1))) / 2 if is_discrete else u

    def decode(self, u: float) -> float | int:
        """Return the value at the quantile *u*, moved into 2^-53 to 1 - 2^-53."""
        rv, is_discrete = self._frozen()
        low, high = map(float, rv.support())
        x = min(max(_quantile(rv, within_tails(unit(u))), low), high)
        return round(x) if is_discrete else x

    def encode_column(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return :meth:`encode` of each of the n *values*; shape (n,)."""
        rv, is_discrete = self._frozen()
        if not set(map(type, values)) <= ({int} if is_discrete else {int, float}):
            return Domain.encode_column(self, values)
        column, (low, high) = np.array(values, dtype=np.float64), rv.support()
        refuse_first(self, values, ~((low <= column) & (column <= high) & np.isfinite(column)))
        return _places(rv, column, is_discrete)

    def snapped(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the values at the places *u* lie themselves; shape (n,) as *u*."""
        rv, is_discrete = self._frozen()
        try:
            x = np.clip(rv.ppf(np.clip(u, TAIL, 1 - TAIL)), *rv.support())
        except RuntimeError:  # at one of them; see `_quantile`
            return Domain.snapped(self, u)
        return _places(rv, np.round(x) if is_discrete else x, is_discrete)

    def values_within(self, tail: float, most: int) -> Sequence[int] | None:
        """Return the ints between the quantiles, ``None`` where the values are others or too many.

        Of a heavy tail, whose quantiles scipy takes forever to find, those that are few enough count.
        """
        if not self.is_discrete:
            return None
        found, u = None, 2 * _BULK
        while u > tail:
            u = max(u / 2, tail)
            first, last = int(self.decode(u)), int(self.decode(1 - u))
            if last - first >= most:
                break
            found = np.arange(first, last + 1)
        if found is None:
            return None
        rv, _ = self._frozen()
        is_drawn: NDArray[np.bool_] = rv.cdf(found) > rv.cdf(found - 1)
        values: list[int] = found[is_drawn].tolist()
        return values

    def arguments(self) -> dict[str, Any]:
        """Return the name and the parameters as JSON."""
        return {"name": self.rv.name, "args": list(self.rv.args), "kwargs": dict(self.rv.kwds)}

    def identity(self) -> Hashable:
        """Return the name, the parameters and the condition."""
        return (self.rv.name, value_key(self.rv.args), value_key(self.rv.kwds), self.when)

    def __str__(self) -> str:
        return f"scipy.stats.{self.rv}"

    def _frozen(self) -> tuple[Any, bool]:
        return _frozen(self.rv.name, self.rv.args, tuple(self.rv.kwds.items()))


@dataclass(frozen=True, slots=True, eq=False)
class NumpyDistribution(Domain):
    """What the method *name* of :class:`numpy.random.Generator` draws; random search only.

    Vector-valued distributions (``dirichlet``, ``multinomial``, ``multivariate_normal``) give lists.

    Raises:
        SpaceError: an unknown name, or parameters that numpy does not take.
    """

    kind: ClassVar[str] = "numpy"
    name: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    when: When = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check and settle the arguments, by drawing once."""
        if not isinstance(self.name, str) or self.name not in NUMPY_NAMES:
            raise SpaceError(
                f"NumpyDistribution: {shortened(repr(self.name))} is no distribution of numpy's Generator "
                f"(known: {', '.join(sorted(NUMPY_NAMES))})"
            )
        args, kwargs = _parameters(f"NumpyDistribution: {self.name}", self.args, self.kwargs)
        if "size" in kwargs or "out" in kwargs:
            raise SpaceError(f"NumpyDistribution: {self.name} takes no size here: each trial draws one value")
        settle(self, args=args, kwargs=kwargs)
        try:
            drawn = self.sample(np.random.default_rng(0))
        except (TypeError, ValueError, OverflowError) as error:
            raise SpaceError(f"NumpyDistribution: {self} cannot be drawn: {error}") from None
        if not np.isfinite(drawn).all():
            raise SpaceError(f"NumpyDistribution: {self} gave {drawn!r}; expected milder parameters")

    @property
    def is_encodable(self) -> bool:
        """Return False."""
        return False

    def contains(self, value: Any) -> bool:
        """Tell whether *value* is a finite number, or a list of such: what this distribution gives is not known."""
        items = value if isinstance(value, list | tuple) and value else [value]
        return all(is_number(item) and math.isfinite(item) for item in map(plain, items))

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value: a float, an int, or a list of them."""
        drawn = getattr(rng, self.name)(*self.args, **self.kwargs, size=None)  # else the last of args could be one
        return drawn.tolist() if isinstance(drawn, np.ndarray | np.generic) else drawn

    def encode(self, value: Any) -> float:
        """Refuse."""
        raise self._sampled_only()

    def decode(self, u: float) -> Any:
        """Refuse."""
        raise self._sampled_only()

    def arguments(self) -> dict[str, Any]:
        """Return the name and the parameters as JSON."""
        kwargs = {name: value_to_json(value) for name, value in self.kwargs.items()}
        return {"name": self.name, "args": [value_to_json(value) for value in self.args], "kwargs": kwargs}

    def __str__(self) -> str:
        return _call(self.name, self.args, self.kwargs)

    def _sampled_only(self) -> SpaceError:
        return SpaceError(f"{self} cannot be encoded: it is for random search only; use another distribution")


def _parameters(what: str, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise SpaceError(f"{what}: expected a list and a dict of parameters, came {args!r} and {kwargs!r}")
    return tuple(map(plain, args)), {str(name): plain(value) for name, value in kwargs.items()}


def _places(rv: Any, x: NDArray[np.float64], is_discrete: bool) -> NDArray[np.float64]:
    """Return where the values *x* of a distribution lie in the unit interval; same shape."""
    u = rv.cdf(x)
    return np.asarray((u + rv.cdf(x - 1)) / 2 if is_discrete else u, dtype=np.float64)


def _quantile(rv: Any, u: float) -> float:
    """Return the quantile *u* of a distribution."""
    try:
        return float(rv.ppf(u))
    except RuntimeError:  # scipy's search for quantiles of ints gives up where it should have stopped
        first = last = int(rv.ppf(0.5))
    step = 1
    while rv.cdf(first) >= u:
        first, step = first - step, 2 * step
    while rv.cdf(last) < u and step < _FURTHEST:
        last, step = last + step, 2 * step
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if rv.cdf(middle) >= u else (middle, last)
    return float(last)


def _call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    return f"{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in kwargs.items())])})"


def _reduced(rv: Any) -> ScipyRv:
    """Return a frozen distribution of scipy.stats by its name."""
    if isinstance(rv, type) or not all(hasattr(rv, name) for name in ("dist", "args", "kwds")):
        raise SpaceError(
            f"Distribution: expected a frozen distribution such as scipy.stats.gamma(2.0), came {shortened(repr(rv))}"
        )
    from scipy import stats

    name = rv.dist.name
    if type(getattr(stats, str(name), None)) is not type(rv.dist):
        raise SpaceError(
            f"Distribution: {name!r} is not in scipy.stats and could not be stored by its name; "
            "use one that is, or list its quantiles in Ordinal"
        )
    return ScipyRv(name, rv.args, rv.kwds)


@lru_cache(maxsize=256)
def _frozen(name: str, args: tuple[float, ...], kwds: tuple[tuple[str, float], ...]) -> tuple[Any, bool]:
    """Return the distribution, and whether it is discrete.

    Raises:
        SpaceError: there is none of that name, or it does not take the parameters.
    """
    from scipy import stats

    made = getattr(stats, name, None)
    if not isinstance(made, stats.rv_continuous | stats.rv_discrete):
        raise SpaceError(f"Distribution: {name!r} is no distribution of scipy.stats")
    try:
        rv = made(*args, **dict(kwds))
        is_sound = math.isfinite(rv.ppf(0.5)) and not any(map(math.isnan, rv.support()))
    except (TypeError, ValueError) as error:
        raise SpaceError(f"Distribution: {_call(name, args, dict(kwds))}: {error}") from None
    if not is_sound:
        raise SpaceError(f"Distribution: {_call(name, args, dict(kwds))} has parameters outside what {name} allows")
    return rv, isinstance(made, stats.rv_discrete)
