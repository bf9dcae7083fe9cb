"""Naming the object that keeps a function from being sent to another process."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 6
_MOST_ITEMS = 1_000


def culprit(fn: object) -> str:
    """Return a sentence on the first object below *fn* that cannot be pickled; empty if none is found."""
    found = _search(fn, "", set(), 0)
    if found is None:
        return ""
    path, obj = found
    kind = type(obj)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    what = f"{module}{kind.__qualname__}"
    article = "an" if what[0].lower() in "aeiou" else "a"
    if not path:
        return f"the function is {article} {what}, which cannot be sent to another process"
    return f"the function captures {path!r}, {article} {what}, which cannot be sent to another process"


def _can_be_sent(obj: object) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(obj, protocol=5, buffer_callback=lambda buffer: None)
    except Exception:  # whatever an object's own code raises
        return False
    return True


def _search(obj: object, path: str, seen: set[int], depth: int) -> tuple[str, object] | None:
    """Return path and object of the deepest culprit below *obj*, which cannot be sent itself."""
    seen.add(id(obj))
    if depth < _DEEPEST:
        for name, part in _parts(obj):
            if id(part) in seen or _can_be_sent(part):
                continue
            below = name if not path else f"{path}{name}" if name[0] in ".[" else f"{path} -> {name}"
            return _search(part, below.removeprefix("."), seen, depth + 1)
    return (path, obj) if path or not isinstance(obj, types.FunctionType) else None


def _parts(obj: object) -> Iterator[tuple[str, Any]]:
    """Yield what *obj* holds, by the name that leads to it."""
    if isinstance(obj, functools.partial):
        yield from ((f"argument {i}", part) for i, part in enumerate(obj.args))
        yield from obj.keywords.items()
        yield getattr(obj.func, "__name__", "func"), obj.func
    elif isinstance(obj, types.MethodType):
        yield "self", obj.__self__
        yield obj.__name__, obj.__func__
    elif isinstance(obj, types.FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in list(obj.items())[:_MOST_ITEMS])
    elif isinstance(obj, list | tuple | set | frozenset):
        yield from ((f"[{i}]", part) for i, part in enumerate(list(obj)[:_MOST_ITEMS]))
    elif not isinstance(obj, types.ModuleType):
        yield from ((f".{name}", part) for name, part in getattr(obj, "__dict__", {}).items())


def _parts_of_function(fn: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    for name in dict.fromkeys(_global_names(fn.__code__)):
        if name in fn.__globals__:
            yield name, fn.__globals__[name]
    for i, default in enumerate(fn.__defaults__ or ()):
        yield fn.__code__.co_varnames[fn.__code__.co_argcount - len(fn.__defaults__ or ()) + i], default
    yield from (fn.__kwdefaults__ or {}).items()
    yield from ((f".{name}", part) for name, part in fn.__dict__.items())


def _global_names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that *code* and the functions inside it may look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)
