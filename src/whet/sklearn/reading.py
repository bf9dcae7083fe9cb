"""Which parameters of estimators are read while they are fitted and scored.

For the time of one fit the class of an estimator gets a ``__getattribute__`` that notes what is read of that one
object. Nothing else about the class changes, so that it is what it was to whoever asks: type, name, pickle. Once all
that is watched for has been read, and that is early in most fits, the class is as it was.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from inspect import currentframe, getattr_static
from threading import RLock
from typing import Any

from sklearn.base import BaseEstimator

from whet.sklearn.names import above
from whet.sklearn.setting import after_set_params

Left = dict[str, str]  # attribute to the name of the parameter in the search, of those not read so far

# Who reads one of these of an estimator may go on to read all its parameters, in this process or another.
_READS_ALL = frozenset({"__dict__", "get_params", "__getstate__", "__reduce__", "__reduce_ex__", "__deepcopy__"})
_LOOKS_FOR_FITTED = "sklearn.utils.validation"  # goes through `__dict__` for names that end with an underscore

_watched: dict[type, dict[int, Left]] = {}  # by class and id of the estimator
_lock = RLock()


class Watch:
    """What is read of the parameters *names* of an estimator and its parts, from `begin` to `end`.

    Attributes:
        unread: those that were not, in the end; None where the parameters were never set, or cannot be watched.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.unread: tuple[str, ...] | None = None
        self._names = tuple(names)
        self._parts: list[tuple[Any, Left]] = []
        self._has_begun = False

    def begin(self, estimator: Any) -> None:
        """Watch the parts of *estimator* that have the parameters, unless setting these has brought in others."""
        if not all(may_be_watched(estimator, name) for name in self._names):
            return
        parts: dict[int, tuple[Any, Left]] = {}
        for name in self._names:
            part, attribute = owner_of(estimator, name)
            parts.setdefault(id(part), (part, {}))[1][attribute] = name
        self._parts = list(parts.values())
        for part, left in self._parts:
            _begin(part, left)
        self._has_begun = True

    def end(self) -> None:
        """Watch no longer."""
        for part, _ in self._parts:
            _end(type(part), id(part))
        if self._has_begun:
            self.unread = tuple(name for _, left in self._parts for name in left.values())
        self._parts = []


@contextmanager
def watching(estimator: Any, names: Collection[str]) -> Iterator[Watch]:
    """Watch what is read of the parameters *names* of *estimator* after these have been set next.

    The names are those that `may_be_watched` says yes to.
    """
    watch = Watch(names)
    if names:
        after_set_params(estimator, watch.begin)
    try:
        yield watch
    finally:
        watch.end()


def owner_of(estimator: Any, name: str) -> tuple[Any, str]:
    """Return the part of *estimator* that has the parameter *name*, and what it calls that itself."""
    path, _, attribute = name.rpartition("__")
    return (estimator.get_params()[path] if path else estimator), attribute


def may_be_watched(estimator: Any, name: str) -> bool:
    """Tell whether it would show if the parameter *name* of *estimator* were read, and whether nothing else uses it."""
    known = estimator.get_params()
    path = above(name, known)
    if name not in known or len(path) < name.count("__"):
        return False
    if not all(_sets_plainly(part) for part in (estimator, *(known[one] for one in path))):
        return False
    part, attribute = owner_of(estimator, name)
    kind = type(part)
    return (
        not _is_of_scikit_learn(kind)
        and type(kind) in (type, ABCMeta)
        and _inherits(kind, BaseEstimator, "get_params", "set_params", "__sklearn_clone__")
        and (_inherits(kind, object, "__getattribute__") or is_watched(kind))
        and attribute in vars(part)
        and not hasattr(getattr_static(kind, attribute, None), "__set__")  # a property may do what it likes
    )


def is_watched(kind: type) -> bool:
    """Tell whether objects of *kind* are watched right now."""
    return kind in _watched


def _begin(part: Any, left: Left) -> None:
    kind = type(part)
    with _lock:
        if kind not in _watched:
            _watched[kind] = {}
            kind.__getattribute__ = _noting(kind, _watched[kind])  # type: ignore[assignment]
        _watched[kind][id(part)] = left


def _end(kind: type, number: int) -> None:
    with _lock:
        if kind in _watched:
            _watched[kind].pop(number, None)
            if not _watched[kind]:
                del _watched[kind]
                del kind.__getattribute__


def _noting(kind: type, watched: dict[int, Left]) -> Callable[[Any, str], Any]:
    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807 - it becomes that method
        left = watched.get(id(self))
        if left is not None and (name in left or name in _READS_ALL):
            frame = currentframe()
            reader = frame.f_back if frame is not None else None
            _note(left, name, None if reader is None else reader.f_globals.get("__name__"))
            if not left:
                _end(kind, id(self))
        return object.__getattribute__(self, name)

    return __getattribute__


def _note(left: Left, name: str, reader: Any) -> None:
    """Note that the module *reader* has read *name*."""
    if name in left:
        left.pop(name, None)  # as another thread may have
    elif name != "__dict__" or reader != _LOOKS_FOR_FITTED:
        left.clear()


def _sets_plainly(part: Any) -> bool:
    """Tell whether setting parameters of *part* does that and nothing else."""
    kind = type(part)
    methods = (getattr(kind, name, None) for name in ("get_params", "set_params"))
    return (
        not isinstance(part, type)
        and _inherits(kind, object, "__setattr__")
        and all(method is not None and _is_of_scikit_learn(method) for method in methods)
    )


def _inherits(kind: type, base: type, *names: str) -> bool:
    """Tell whether the methods *names* of *kind* are those of *base*."""
    return all(getattr(kind, name, None) is getattr(base, name) for name in names)


def _is_of_scikit_learn(one: Any) -> bool:
    return str(getattr(one, "__module__", "")).split(".")[0] == "sklearn"
