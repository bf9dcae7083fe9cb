"""Trials as the rows of one table: which columns there are, and what stands in them."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from whet.core import jsontext

Record = Mapping[str, Any]  # see `whet.cli.describe.trial_record`

_BEFORE = ("number", "state", "cause")
_AFTER = ("attempts", "started_at", "duration_s")


class Columns:
    """The columns: one for each parameter, metric and fixed field.

    A name that is there twice gets ``config.`` or ``values.`` in front.

    Attributes:
        names: of the columns, each once.
    """

    def __init__(self, config: Sequence[str], values: Sequence[str]) -> None:
        self._keys: list[tuple[Literal["config", "values"] | None, str]] = [
            *((None, name) for name in _BEFORE),
            *(("config", name) for name in config),
            *(("values", name) for name in values),
            *((None, name) for name in _AFTER),
        ]
        counts = Counter(name for _, name in self._keys)
        taken = set(counts)
        self.names: list[str] = []
        for kind, name in self._keys:
            label = name
            while kind is not None and counts[name] > 1 and label in taken:
                label = f"{kind}.{label}"
            taken.add(label)
            self.names.append(label)

    def row(self, record: Record) -> list[Any]:
        """Return the cells of one trial, ``None`` where it has no value."""
        return [record[name] if kind is None else record[kind].get(name) for kind, name in self._keys]


@contextmanager
def spooled(records: Iterable[Record]) -> Iterator[tuple[Columns, Callable[[], Iterator[Record]]]]:
    """Give the columns of *records*, and a function that yields the records again; meanwhile they are in a file."""
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

        yield Columns(list(config), list(values)), again


def cell_text(value: Any) -> str:
    """Return a value as the text of a cell: numbers with all their digits, lists as JSON; ``None`` becomes empty."""
    if value is None or isinstance(value, str):
        return value or ""
    return repr(value) if isinstance(value, (bool, int, float)) else json.dumps(value)
