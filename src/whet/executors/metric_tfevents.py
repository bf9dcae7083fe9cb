"""Reading scalars out of TensorBoard's event files.

A file is a row of records: length (8 bytes), masked CRC-32C of these (4), data, masked CRC-32C of the data (4).
The data is a protocol buffer, which the package ``tensorboard`` decodes; it is imported when the first event file
appears, which takes some 30 ms.

Source: tensorflow/core/lib/io/record_writer.h; tensorboard/compat/proto/{event,summary,tensor}.proto.
"""

# Paths are bytes here, which pathlib does not take; nor would its import be free for the runner.
# ruff: noqa: PTH116, PTH202

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from math import prod
from typing import Any

from whet.executors.metric_value import Pair, step_rank

_BLOCK = 256 * 1024
_MOST_BYTES = 4 << 20  # of a record: scalars are small, and what is larger holds images
_CHECKED_BYTES = 16 * 1024  # of a record whose data is checked: a longer check would take too long
_HURRIED_BYTES = 64 * 1024
_HEAD = struct.Struct("<QI")
_CRC = struct.Struct("<I")
# The kinds of tensors that scalars are written as: the field that holds the value, else its form in ``tensor_content``.
_KINDS = {1: ("float_val", "<f"), 2: ("double_val", "<d"), 3: ("int_val", "<i"), 9: ("int64_val", "<q")}

Decode = Callable[[bytes], Any]


class CorruptRecords(Exception):
    """What follows in an event file is no record."""


def decoder_paths() -> list[str]:
    """Return the directories from which the decoder can be imported; none if it is not installed."""
    found = []
    for name in ("tensorboard", "google.protobuf"):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            return []
        if spec is None or not spec.has_location or spec.origin is None:
            return []
        path = spec.origin
        for _ in range(name.count(".") + 2):  # the file and the packages that it lies in
            path = os.path.dirname(path)  # noqa: PTH120 - a string from start to end
        found.append(path)
    return list(dict.fromkeys(found))


def load_decoder(paths: list[str]) -> Decode:
    """Import what decodes an event, looking in *paths* besides.

    Raises:
        ImportError: it is not there, or does not fit what else is installed.
    """
    sys.path += [path for path in paths if path not in sys.path]
    try:
        from tensorboard.compat.proto.event_pb2 import Event
    except ImportError:
        raise
    except Exception as error:  # versions of protobuf that do not fit raise errors of many types
        raise ImportError(f"{type(error).__name__}: {error}") from error
    decode: Decode = Event.FromString
    return decode


class EventFile:
    """One event file, read as it grows."""

    def __init__(self, path: bytes, decode: Decode) -> None:
        self._path, self._decode = path, decode
        self._offset = 0
        self._is_hurried = False

    def skip(self, deadline: float) -> None:
        """Leave out what is in the file now, which takes no time."""
        try:
            self._offset = os.path.getsize(self._path)
        except OSError:
            return

    def hurry(self) -> None:
        """Leave out all but the last records, for there is no time to read all."""
        self._is_hurried = True

    def read(self, feed: Callable[[list[Pair]], None], *, is_whole: bool) -> Iterator[None]:
        """Feed the events that are new, pausing after each; the last one waits until it is complete.

        Raises:
            CorruptRecords: the rest of the file cannot be read.
        """
        status = os.stat(self._path)
        if status.st_size < self._offset:
            self._offset = 0
        if status.st_size == self._offset or not stat.S_ISREG(status.st_mode):
            return
        fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            for data in self._records(fd, status.st_size):
                if data:
                    for pairs in self._scalars(data):
                        feed(pairs)
                yield
        finally:
            os.close(fd)

    def _records(self, fd: int, size: int) -> Iterator[bytes]:
        """Yield the data of each complete record, nothing in place of one that is left out."""
        block, start = b"", self._offset
        while True:
            at = self._offset - start
            if len(block) - at < _HEAD.size:
                block, start, at = os.pread(fd, _BLOCK, self._offset), self._offset, 0
                if len(block) < _HEAD.size:
                    return
            n_bytes, crc = _HEAD.unpack_from(block, at)
            if crc != masked_crc(block[at : at + 8]):
                raise CorruptRecords(f"no record begins at byte {self._offset}")
            whole = _HEAD.size + n_bytes + _CRC.size
            if self._offset + whole > size:
                return
            is_skipped = n_bytes > _MOST_BYTES or (self._is_hurried and self._offset < size - _HURRIED_BYTES)
            if len(block) - at < whole and not is_skipped:
                block, start, at = os.pread(fd, max(whole, _BLOCK), self._offset), self._offset, 0
                if len(block) < whole:
                    return
            data = b"" if is_skipped else block[at + _HEAD.size : at + _HEAD.size + n_bytes]
            if 0 < len(data) <= _CHECKED_BYTES and _CRC.unpack_from(block, at + whole - 4)[0] != masked_crc(data):
                raise CorruptRecords(f"the record at byte {self._offset} has been changed")
            self._offset += whole
            yield data

    def _scalars(self, data: bytes) -> Iterator[list[Pair]]:
        try:
            event = self._decode(data)
        except Exception as error:  # google.protobuf.message.DecodeError, which is not imported here
            raise CorruptRecords(f"the record before byte {self._offset} is no event") from error
        pairs = [(value.tag, number) for value in event.summary.value if (number := _number(value)) is not None]
        pairs = [(tag, number) for tag, number in pairs if step_rank(tag) is None]
        if pairs:
            yield [*pairs, ("step", float(event.step))]


def _number(value: Any) -> float | None:
    """Return the scalar of a summary, written as one or as a tensor; ``None`` for anything else."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor"):
        return None
    tensor = value.tensor
    field, form = _KINDS.get(tensor.dtype, ("", ""))
    if not field or prod(dim.size for dim in tensor.tensor_shape.dim) != 1:
        return None
    numbers = getattr(tensor, field)
    if len(numbers) == 1:
        return float(numbers[0])
    content = tensor.tensor_content
    return float(struct.unpack(form, content)[0]) if len(content) == struct.calcsize(form) else None


@cache
def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of *data*, rotated and shifted as records have it."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
