"""What coordinator and slot processes say to each other: JSON objects, each behind its length in four bytes.

Strings of the operating system (arguments, environment, paths) are bytes that need not be text in any encoding; they
travel as Latin-1, one character for each byte, so that they arrive equal whatever locale either side runs in.
"""

from __future__ import annotations

import json
import os
from struct import Struct
from typing import Any

_LENGTH = Struct(">I")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def pack(message: dict[str, Any]) -> bytes:
    """Return *message* as it goes over the wire."""
    body = _encode(message).encode("ascii")
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Puts messages together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take in *data*; return the messages that are complete now."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                break
            messages.append(json.loads(buffer[_LENGTH.size : end]))
            del buffer[:end]
        return messages


def from_os(value: str | os.PathLike[str]) -> str:
    """Return a string of the operating system as it travels."""
    return os.fsencode(value).decode("latin-1")


def to_os(value: str) -> bytes:
    """Return the bytes of a string that travelled."""
    return value.encode("latin-1")
