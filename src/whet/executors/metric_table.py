"""Tables in a program's output: a header of names, then rows of numbers under it.

The cells are set apart by bars (``| epoch | loss |``), by tabs or two spaces and more (fastai, skorch, spaCy,
ultralytics, scikit-learn's reports) or by commas. A row of numbers takes its names from the latest line of names with
as many cells; other output in between does not end the table. A row that begins with a label reads as ``label/column``,
except for the label ``all``, which stands for the whole. Between bars, a row of a name and a number needs no header.
"""

from __future__ import annotations

import re

from whet.executors.metric_text import scan
from whet.executors.metric_value import Pair, value_of

_MAX_HEADER = 1000  # characters; a longer line is no header
_BARS = re.compile("[|│┃║]")
_GAPS = re.compile(r"\s{2,}|\t")
_PROGRESS = re.compile(r"[0-9]%(?:\||\s?[━█])")  # what tqdm and its like draw behind a row
_BRACKETS = re.compile(r"[()\[\]{}]+")
# A cell that holds something else than a number, yet belongs to a row of numbers: `1.23G`, `00:12`, nothing.
_NO_VALUE = re.compile(r"|[+-]?\.?[0-9]\S*|-+|n/?a|none|null", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")


class Table:
    """The table that is being printed, if any."""

    def __init__(self) -> None:
        self._candidate: list[str] = []
        self._columns: list[str] = []

    def note(self, line: str) -> None:
        """Keep a line that held no metrics: it may be a header."""
        if len(line) > _MAX_HEADER:
            return
        names = ["step" if name == "#" else name for name in _cells(line)[0]]  # spaCy's steps
        if len(names) > 1 and all(map(_LETTER.search, names)):
            self._candidate = [" ".join(_BRACKETS.sub(" ", name).split()) for name in names]

    def read(self, line: str) -> list[Pair]:
        """The pairs of a row, in column order; none if the line is no row of a table that is known."""
        if "=" in line:
            return []
        cells, barred = _cells(line)
        if len(cells) < 2 or not all(map(_is_number_cell, reversed(cells[1:]))):
            return []
        if _is_number_cell(cells[0]):
            return _named(self._columns_of(len(cells), len(cells)), cells)
        if not _LETTER.match(cells[0]) or scan(cells[0]):  # a label, not `Epoch 3 | 0.2`
            return []
        if len(cells) == 2:
            return _named([cells[0].rstrip(" :")], cells[1:]) if barred else []
        label = "" if cells[0] == "all" else cells[0] + "/"
        columns = self._columns_of(len(cells) - 1, len(cells))
        return _named([label + column for column in columns[1 - len(cells) :]], cells[1:])

    def _columns_of(self, fewest: int, most: int) -> list[str]:
        """The names for a row: as many as it has cells, or one fewer where its first cell is a label."""
        if fewest <= len(self._candidate) <= most:
            self._columns = self._candidate
        return self._columns if fewest <= len(self._columns) <= most else []


def _cells(line: str) -> tuple[list[str], bool]:
    """The cells of a line, and whether bars set them apart."""
    if progress := _PROGRESS.search(line):
        line = line[: progress.start()].rstrip("0123456789").rstrip(" :")
    line = line.strip()
    if _BARS.search(line):
        cells = [cell.strip() for cell in _BARS.split(line)]
        first, last = int(not cells[0]), len(cells) - int(not cells[-1])
        return cells[first:last], True
    if "," in line and not _GAPS.search(line):
        return [cell.strip() for cell in line.split(",")], False
    if line[:1] in "+-.0123456789":  # numbers may have grown into the gap before them
        return line.split(), False
    return _GAPS.split(line), False


def _is_number_cell(cell: str) -> bool:
    return value_of("", cell) is not None or _NO_VALUE.fullmatch(cell) is not None


def _named(names: list[str], cells: list[str]) -> list[Pair]:
    """The cells that hold numbers, under their names; ``names`` is empty where the row fits no header."""
    pairs = zip(names, cells, strict=False)
    return [(name, value) for name, cell in pairs if (value := value_of(name, cell)) is not None]
