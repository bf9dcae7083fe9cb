"""Trials as the rows of one table, however many there are, and what stands in its cells."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from whet.core import jsontext
from whet.frames import Columns, Record


@contextmanager
def spooled(
    records: Iterable[Record], more: Sequence[str] = ()
) -> Iterator[tuple[Columns, Callable[[], Iterator[Record]]]]:
    """Give the columns of *records*, and a function that yields the records again; meanwhile they are in a file.

    *more* are fixed fields that have columns besides the usual ones; see `Columns`.
    """
    config: dict[str, None] = {}
    values: dict[str, None] = {}
    with tempfile.TemporaryFile("w+", encoding="ascii") as spool:
        for record in records:
            config |= dict.fromkeys(record["config"])
            values |= dict.fromkeys(record["values"])
            spool.write(jsontext.dumps(record) + "\n")

        def again() -> Iterator[Record]:
            spool.seek(0)
            return map(jsontext.loads, spool)

        yield Columns(list(config), list(values), more), again


def cell_text(value: Any) -> str:
    """Return a value as the text of a cell: numbers with all their digits, lists as JSON; ``None`` becomes empty."""
    if value is None or isinstance(value, str):
        return value or ""
    return repr(value) if isinstance(value, (bool, int, float)) else json.dumps(value)
