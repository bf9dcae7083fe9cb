"""Values as bytes that give back the very same arrays: same numbers, same order in memory, and writable.

A value is packed as its pickle and the buffers of its arrays beside it (pickle protocol 5, PEP 574). Each unpacking
gives arrays of its own, so that whoever changes them in place changes them for nobody else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import struct
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from scipy import sparse

from whet.private import opener

_OLD_S = 24 * 3600  # no draft takes so long
_MAGIC = b"whetpfx1"
# Buffers begin this much behind a multiple of 64 bytes, as large blocks of malloc do: there are libraries whose sums
# depend on where arrays begin.
_OFFSET = 16


class Unpackable(Exception):
    """Not a value that comes back the same."""


class _TablePickler(cloudpickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        # Pickling lays out anew what is not contiguous, and sums in another order end in other digits; nor does every
        # type keep its byte order.
        if isinstance(value, np.ndarray) and not (value.flags.forc and value.dtype.isnative):
            raise Unpackable("The array is not contiguous, or not in native byte order.")
        return super().reducer_override(value)


@dataclass(frozen=True, slots=True)
class Packed:
    """The pickle of a value and the buffers beside it. `is_private`: its one reader may change the buffers."""

    pickled: Any
    buffers: tuple[Any, ...]
    is_private: bool = False

    @property
    def n_bytes(self) -> int:
        """How much memory this takes."""
        return len(self.pickled) + sum(len(buffer) for buffer in self.buffers)

    def copied(self) -> Packed:
        """The same with buffers that nothing else refers to."""
        return Packed(bytes(self.pickled), tuple(bytes(buffer) for buffer in self.buffers))

    def value(self) -> Any:
        """The value, with arrays that are the caller's alone."""
        buffers = self.buffers if self.is_private else [bytearray(buffer) for buffer in self.buffers]
        return cloudpickle.loads(self.pickled, buffers=buffers)


def is_table(value: object) -> bool:
    """Whether `value` is a kind of data that is packed: NumPy and sparse arrays, pandas objects, lists."""
    pandas = sys.modules.get("pandas")
    return (
        type(value) in (np.ndarray, list)
        or sparse.issparse(value)
        or (pandas is not None and type(value) in (pandas.DataFrame, pandas.Series))
    )


def pack_table(value: object) -> Packed:
    """`value`, one that `is_table`, packed; its buffers are still those of the value.

    Raises:
        Unpackable: It is no table, or would come back with another order in memory.
    """
    if not is_table(value):
        raise Unpackable(f"{type(value).__name__} is no table.")
    return _pack(value, _TablePickler)


def pack_estimators(estimators: list[Any]) -> Packed:
    """Fitted `estimators` packed.

    Raises:
        Unpackable: One of them cannot be pickled.
    """
    return _pack(estimators, cloudpickle.Pickler)


def _pack(value: object, pickler: type[Any]) -> Packed:
    written = io.BytesIO()
    buffers: list[Any] = []
    try:
        pickler(written, protocol=5, buffer_callback=buffers.append).dump(value)
        return Packed(written.getbuffer(), tuple(buffer.raw() for buffer in buffers))
    except Unpackable:
        raise
    except Exception as error:  # whatever an object's own __reduce__ raises
        raise Unpackable(f"{type(value).__name__} cannot be pickled.") from error


def fingerprint(*values: object) -> str | None:
    """Digest of what `values` hold now, to see whether somebody changes them in place; None where it cannot be had."""
    written = hashlib.blake2b(digest_size=16)
    try:
        for value in values:
            if sparse.issparse(value):
                parts = [vars(value).get(name) for name in ("data", "indices", "indptr", "row", "col", "coords")]
                packed = _pack(parts, cloudpickle.Pickler)
            else:
                packed = _pack(value, cloudpickle.Pickler)
            for part in (packed.pickled, *packed.buffers):
                written.update(part)
    except Unpackable:
        return None
    return written.hexdigest()


def write(packed: Packed, path: Path) -> None:
    """`packed` as a file that is there whole or not at all.

    Raises:
        OSError: The folder is gone, not writable or full.
    """
    parts = (packed.pickled, *packed.buffers)
    draft = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with open(draft, "xb", opener=opener) as file:
            file.write(_MAGIC + struct.pack(f"<{len(parts) + 1}Q", len(parts), *(len(part) for part in parts)))
            for part in parts:
                file.write(bytes((_OFFSET - file.tell()) % 64))
                file.write(part)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove from *folder* the drafts of `write` that processes which were killed have left."""
    with contextlib.suppress(OSError):
        for draft in folder.glob(".*-*"):
            if time.time() - draft.stat().st_mtime > _OLD_S:  # else it may be that of another search
                draft.unlink()


def read(path: Path) -> Packed | None:
    """What `write` put there, mapped into memory and copied page by page only where it is changed.

    Returns:
        None where there is no such file, or one that is not whole.
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except (OSError, ValueError):  # ValueError: an empty file
        return None
    start = len(_MAGIC) + 8
    if mapped[: len(_MAGIC)] != _MAGIC or len(mapped) < start:
        return None
    (n_parts,) = struct.unpack_from("<Q", mapped, len(_MAGIC))
    if not 1 <= n_parts <= (len(mapped) - start) // 8:
        return None
    end, parts = start + 8 * n_parts, []
    for n_bytes in struct.unpack_from(f"<{n_parts}Q", mapped, start):
        begin = end + (_OFFSET - end) % 64
        end = begin + n_bytes
        if end > len(mapped):
            return None
        parts.append(mapped[begin:end])
    return Packed(parts[0], tuple(parts[1:]), is_private=True)
