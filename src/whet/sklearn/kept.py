"""Where the outcomes of fitted pipeline prefixes are kept: in the memory of this process, or in a folder.

Both forget rather than fail: what is not there any more is computed again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy
import sklearn

from whet.private import make_folder
from whet.sklearn import likeness, packing
from whet.sklearn.temporary import temporary_folder

# The bound of what is kept in memory: this share of what is free, and never more than so many bytes.
_SHARE_OF_FREE_MEMORY = 0.25
_MOST_BYTES = 4 * 2**30
# Of a disk, this share is left free.
_SHARE_LEFT_ON_DISK = 0.1


class Memory:
    """Keeps up to `n_bytes` in this process; what was not used for longest goes first.

    Sent to another process, it is a memory of that process: one for all tasks of the same search.
    """

    def __init__(self, token: str, n_bytes: int) -> None:
        self.token = token
        self.n_bytes = n_bytes
        self._kept: OrderedDict[str, packing.Packed] = OrderedDict()
        self.n_kept_bytes = 0
        self._n_used: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _memory_here, (self.token, self.n_bytes)

    def get(self, name: str) -> packing.Packed | None:
        """What is kept as `name`."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def put(self, name: str, packed: packing.Packed) -> None:
        """Keep `packed`, if it fits, in place of what was not used for longest."""
        if packed.n_bytes > self.n_bytes:
            return
        packed = packed.copied()
        with self._lock:
            self._drop(name)
            while self.n_kept_bytes + packed.n_bytes > self.n_bytes:
                self._drop(next(iter(self._kept)))
            self._kept[name] = packed
            self.n_kept_bytes += packed.n_bytes

    def used(self, names: tuple[str, ...], n_uses: int) -> None:
        """One of `n_uses` fits that need `names` is over; after the last of them they go."""
        with self._lock:
            self._n_used[names[0]] += 1
            if self._n_used[names[0]] >= n_uses:
                del self._n_used[names[0]]
                for name in names:
                    self._drop(name)

    def _drop(self, name: str) -> None:
        if (packed := self._kept.pop(name, None)) is not None:
            self.n_kept_bytes -= packed.n_bytes


@functools.lru_cache(maxsize=1)  # that of an earlier search is forgotten
def _memory_here(token: str, n_bytes: int) -> Memory:
    """The memory of this process for a search that another process has begun."""
    return Memory(token, n_bytes)


@dataclass(frozen=True, slots=True)
class Folder:
    """Keeps files in the folder `path`, for all processes that see it."""

    path: Path

    def get(self, name: str) -> packing.Packed | None:
        """What is kept as `name`."""
        return packing.read(self.path / name)

    def put(self, name: str, packed: packing.Packed) -> None:
        """Keep `packed`, if the folder is there and its disk has room."""
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(self.path)
            if disk.free - packed.n_bytes > disk.total * _SHARE_LEFT_ON_DISK:
                packing.write(packed, self.path / name)

    def used(self, names: tuple[str, ...], n_uses: int) -> None:
        """Nothing: which fits are over in other processes is not known here."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `length` steps of a candidate's pipeline.

    Args:
        length: How many steps, the last of which is one that does something.
        key: The same for all candidates whose first steps are alike.
        n_uses: How many candidates these are; None where nobody knows yet.
    """

    length: int
    key: str
    n_uses: int | None


@dataclass(frozen=True, slots=True)
class Cache:
    """What a search may share between its fits.

    Args:
        store: Where outcomes are kept.
        token: Names the search (or, where files outlive it, its data).
        outlives: Whether what is kept is there for later searches too.
        n_workers: How many fits run at a time.
        prefixes: Those of one candidate, shortest first.
    """

    store: Memory | Folder
    token: str
    outlives: bool = False
    n_workers: int = 1
    prefixes: tuple[Prefix, ...] = ()

    def worth(self, without: set[str]) -> tuple[Prefix, ...]:
        """The prefixes that are worth keeping, but for those with a key in `without`.

        Where all that share some steps share the next one as well, only the longer prefix is of use.
        """
        least = 1 if self.outlives else 2
        found: list[Prefix] = []
        n_longer = 0
        for prefix in reversed(self.prefixes):
            if prefix.key in without:
                continue
            if prefix.n_uses is None:
                found.append(prefix)
            elif prefix.n_uses >= least and prefix.n_uses > n_longer:
                found.append(prefix)
                n_longer = prefix.n_uses
        return tuple(reversed(found))


@contextlib.contextmanager
def opened(cache: str | os.PathLike[str] | None, X: Any, y: Any, pool: Any = None) -> Iterator[Cache | None]:
    """The cache for one search over the data `X`, `y`, gone at the end of the block unless `cache` is a folder.

    Args:
        cache: None shares nothing, "memory" for as long as the search runs, a folder also with later searches
            on the same data with the same version of scikit-learn.
        X: The data, shape (n_samples, n_features).
        y: The targets or None.
        pool: What runs the fits, a `joblib.Parallel`; None is this process. Processes share files in joblib's
            temporary folder.

    Raises:
        ValueError: `cache` is none of these, or a folder that somebody else may write to: it holds pickles, and
            reading those of others runs what they like.
    """
    if cache is None:
        yield None
    elif isinstance(cache, str) and cache == "memory":
        with _for_this_search(pool) as store:
            yield Cache(store, uuid.uuid4().hex, n_workers=n_workers_of(pool))
    elif isinstance(cache, str | os.PathLike) and str(cache):
        token = _fingerprint(X, y)
        yield Cache(Folder(_own_folder(Path(cache), token)), token, outlives=True, n_workers=n_workers_of(pool))
    else:
        raise ValueError(f'Expected cache to be None, "memory" or the path of a folder, got {cache!r}.')


def n_workers_of(pool: Any) -> int:
    """How many fits `pool` runs at a time; None is this process."""
    return 1 if pool is None else int(pool._effective_n_jobs())


@contextlib.contextmanager
def _for_this_search(pool: Any) -> Iterator[Memory | Folder]:
    if n_workers_of(pool) == 1 or getattr(pool._backend, "supports_sharedmem", False):
        n_bytes = min(int(_SHARE_OF_FREE_MEMORY * psutil.virtual_memory().available), _MOST_BYTES)
        yield Memory(uuid.uuid4().hex, n_bytes)
    else:
        with temporary_folder("prefixes") as path:
            yield Folder(Path(path))


def _own_folder(path: Path, token: str) -> Path:
    folder = path / token
    make_folder(folder)
    found = folder.stat()
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        raise ValueError(
            f"Expected cache={str(path)!r} to be a folder that only you write to, but others may change "
            f"{str(folder)!r}, and what is read from there is run. Remove it, or choose another folder."
        )
    packing.sweep(folder)
    return folder


def _fingerprint(X: Any, y: Any) -> str:
    data = packing.fingerprint(X, y)
    if data is None:
        raise ValueError(
            "Expected data that can be pickled, to know them again in a later search with the same cache; X or y "
            'cannot. Use cache="memory", or convert them to arrays.'
        )
    return likeness.digest(data, (sklearn.__version__, np.__version__, scipy.__version__), sklearn.get_config())
