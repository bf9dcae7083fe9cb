"""A function on its way to the processes of its trials: pickled once, into a file that all of them share.

The pickle holds code by value where a fresh interpreter could not import it. Large arrays are not in it: their bytes
lie behind it in the file, which the trials map, so that there is one copy of them however many trials run. What a trial
writes into such an array is its own.

The bytes come from the process that starts the trials, through a descriptor without a name; never from a store.
"""

from __future__ import annotations

import importlib.machinery
import io
import json
import mmap
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from whet.errors import UsageError
from whet.executors.calling import Function
from whet.executors.unpicklable import culprit

_PAGE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Packed:
    """A function in a file: its descriptor, and where the table of contents begins."""

    fd: int
    table_at: int

    def close(self) -> None:
        """Give the file back."""
        os.close(self.fd)


def anonymous_file(name: str) -> int:
    """Return the descriptor of a file that no path leads to, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile(prefix=name) as file:
        return os.dup(file.fileno())


def pack(function: Function) -> Packed:
    """Write *function* to an anonymous file.

    Raises:
        UsageError: it holds something that cannot be sent to another process; the message names it.
    """
    fd = anonymous_file("whet-function")
    try:
        with io.FileIO(fd, "wb", closefd=False) as file:
            views = _dump(function, file)
            n_main = file.tell()
            table: dict[str, Any] = {"main": n_main, "buffers": [], **_surroundings(function)}
            for view in views:
                at = -(-file.tell() // _PAGE) * _PAGE
                file.seek(at)
                table["buffers"].append((at, view.nbytes, view.readonly))
                _write(file, view)
            table_at = -(-file.tell() // _PAGE) * _PAGE
            file.seek(table_at)
            _write(file, memoryview(json.dumps(table).encode()))
    except BaseException:
        os.close(fd)
        raise
    return Packed(fd, table_at)


class _Whole:
    """A file that writes all it is given, which an unbuffered one need not."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        """Write *data*, a bytes-like object."""
        view = memoryview(data)
        _write(self._file, view)
        return view.nbytes


def _write(file: io.FileIO, view: memoryview) -> None:
    rest = view.cast("B") if view.format != "B" or view.ndim != 1 else view
    while rest:
        rest = rest[file.write(rest) :]


def _dump(function: Function, file: io.FileIO) -> list[memoryview]:
    """Write the pickle; return the buffers that belong behind it."""
    import cloudpickle

    by_value: list[ModuleType] = []
    known: dict[str, bool] = {}
    views: list[memoryview] = []

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, FunctionType | type | ModuleType):
                name = obj.__name__ if isinstance(obj, ModuleType) else getattr(obj, "__module__", None)
                module = sys.modules.get(name) if isinstance(name, str) else None
                if module is not None and isinstance(name, str) and name not in known:
                    known[name] = can_be_imported(module)
                    if not known[name]:
                        by_value.append(module)
                        cloudpickle.register_pickle_by_value(module)
            return super().reducer_override(obj)

    registered_before = set(cloudpickle.list_registry_pickle_by_value())
    try:
        Pickler(_Whole(file), protocol=5, buffer_callback=lambda buffer: views.append(buffer.raw())).dump(function)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        found = culprit(function.fn) or f"the function cannot be sent to another process: {error}"
        raise UsageError(f"{found}: create it inside the function, or use executor='inline'") from error
    finally:
        for module in by_value:
            if module.__name__ not in registered_before:
                cloudpickle.unregister_pickle_by_value(module)
    return views


def can_be_imported(module: ModuleType) -> bool:
    """Tell whether a fresh interpreter with our `sys.path` would find this very module."""
    name, file = module.__name__, getattr(module, "__file__", None)
    top = name.partition(".")[0]
    if name == "__main__" or top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True  # cloudpickle knows what to do with the first
    if file is None:
        # Namespace packages and what an extension module makes have no file; what a person made by hand has no spec.
        return getattr(module, "__spec__", None) is not None
    path = None
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        try:
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:i]), path)
        except (ImportError, AttributeError, ValueError):
            spec = None
        if spec is None:
            # An editable install is found by a finder of its own, which a fresh interpreter has as well.
            return i == 1 and any(_finds(finder, name, file) for finder in sys.meta_path)
        path = spec.submodule_search_locations
    return spec is not None and _is_same(spec.origin, file)


def _finds(finder: Any, name: str, file: str) -> bool:
    if getattr(finder, "__module__", type(finder).__module__).startswith(("_frozen_importlib", "importlib", "_pytest")):
        return False
    try:
        spec = finder.find_spec(name, None, None)
    except Exception:  # somebody else's finder
        return False
    return spec is not None and _is_same(spec.origin, file)


def _is_same(found: str | None, file: str) -> bool:
    try:
        return found is not None and Path(found).samefile(file)
    except OSError:
        return False


def _surroundings(function: Function) -> dict[str, Any]:
    """Return what an interpreter needs besides: where to import from, and source lines that are no file's."""
    import linecache

    sources = {}
    code = getattr(getattr(function.fn, "func", function.fn), "__code__", None)
    if code is not None and not Path(code.co_filename).exists() and (lines := linecache.getlines(code.co_filename)):
        sources[code.co_filename] = lines  # a cell of a notebook
    return {
        "path": [str(Path(entry).absolute()) for entry in sys.path],
        "argv": [str(word) for word in sys.argv],
        "sources": sources,
    }


def pack_value(value: object) -> str:
    """Return *value*, whatever it is, as text for `unpack_value` in a process of ours."""
    import cloudpickle

    data: bytes = cloudpickle.dumps(value)
    return data.decode("latin-1")


# ------------------------------------------------------------------------------------------------------- other side
def surroundings(fd: int, table_at: int) -> Mapping[str, Any]:
    """Return the table of contents of a packed function."""
    n_bytes = os.fstat(fd).st_size - table_at
    table: dict[str, Any] = json.loads(os.pread(fd, n_bytes, table_at))
    return table


def unpack(fd: int, table: Mapping[str, Any]) -> Callable[..., object]:
    """Rebuild a packed function; runs what its modules run when they are imported."""
    import linecache

    import cloudpickle

    for name, lines in table["sources"].items():
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    # Private pages: whoever writes to one gets a copy of it.
    view = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_COPY))
    buffers = [
        view[at : at + n_bytes].toreadonly() if is_readonly else view[at : at + n_bytes]
        for at, n_bytes, is_readonly in table["buffers"]
    ]
    function: Callable[..., object] = cloudpickle.loads(view[: table["main"]], buffers=buffers)
    return function


def unpack_value(text: str) -> Any:
    """Return what `pack_value` was given by the process that has started this one."""
    import cloudpickle

    return cloudpickle.loads(text.encode("latin-1"))
