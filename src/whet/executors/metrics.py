"""Reading the metrics of a trial out of what its program prints.

A ``MetricReader`` gets every logical line of a trial, from all of its streams in the order of arrival, and answers with
the numbers in it by name. ``metric_text`` says what is read in a line and ``metric_table`` what in a table; a line
that is a JSON object is read as such: its numbers (not its booleans and strings), nested objects flattened with ``/``.

The step of a reading is, in this order:

1. an epoch on the same line (``epoch``, ``train epoch``, ...), because a step often starts again within each epoch;
2. another step on the same line (``step``, ``iter``, ``iteration``, ``it``, ``global_step``, ``episode``, ``round``,
   ``generation``, ``timestep``, or the ``[10]`` in front of a line of XGBoost);
3. the latest header, a line with a step and no metric such as ``Epoch 3/10``. The first one must be 0 or 1 or say of
   how many: a configuration that is printed as ``epoch: 100`` is no header;
4. a count: how many times the metric has been read, this time included. Each metric has its own, so that lines of
   training loss in between leave the count of the validation loss alone.

Python's tracebacks are skipped: their lines quote the source, ``fit(lr=0.1)``, and end in ``ValueError: ... (got 3)``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from whet.errors import UsageError
from whet.executors.metric_table import Table
from whet.executors.metric_text import scan
from whet.executors.metric_value import Pair, step_rank, value_of

_MAX_NAME = 200  # characters; a longer name is no name
_MAX_COUNTED = 4096  # metrics that are counted one by one; those beyond share a count
_MAX_COMPARED = 2000  # names that are compared for an error message

_HAS_VALUE = re.compile("[0-9]|[nN][aA][nN]|[iI][nN][fF]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ESCAPE = re.compile(
    "\x1b\\[[0-?]*+[ -/]*+[@-~]?|\x9b[0-?]*+[ -/]*+[@-~]?"  # CSI
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*+(?:\x07|\x9c|\x1b\\\\)?"  # OSC, DCS, SOS, PM, APC
    "|\x1b[ -/]*+[0-~]?"
)
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"(?:\w+\.)*+[A-Z]\w*+(?::|\s*$)")  # the line after a traceback's frames
_SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one line says.

    Attributes:
        step: where on the trial's axis; whole steps are ints.
        metrics: number by name, never empty; may hold NaN and infinities.
        counted: the step was counted by us, not read.
    """

    step: int | float
    metrics: dict[str, float]
    counted: bool


class MetricReader:
    """Reads one trial's output, line by line; its streams share one reader (and thread), hence steps and tables."""

    def __init__(self, pattern: str | None = None) -> None:
        """Make a reader.

        Args:
            pattern: a regular expression that is read besides what is built in, and whose values win. Either the
                groups ``name`` and ``value``, or groups that are called as the metrics; optionally ``step``.
                Nothing guards against a pattern of exponential cost but the length of a line, which the caller caps.

        Raises:
            UsageError: the pattern is no regular expression, or lacks these groups.
        """
        self._pattern = None if pattern is None else _compiled(pattern)
        self._table = Table()
        self._header_step: int | float | None = None
        self._is_in_traceback = False
        self._counts: dict[str, int] = {}

    def feed(self, line: str) -> Reading | None:
        """Read one line of text; ``None`` where it holds no metric. Never raises."""
        text = strip_ansi(line)
        if self._is_of_traceback(text):
            return None
        if not _HAS_VALUE.search(text):
            self._table.note(text)
            return None
        pairs = _json_pairs(text)
        if pairs is None:
            pairs = self._table.read(text) or scan(text)
        if self._pattern is not None:
            return self._reading(text, pairs, list(_pattern_pairs(self._pattern, text)))
        return self._reading(text, pairs)

    def feed_json(self, line: str) -> Reading | None:
        """Read one line of the file `$WHET_METRICS`: a JSON object, or else what `feed` can make of it."""
        pairs = _json_pairs(line)
        return self.feed(line) if pairs is None else self._reading(line, pairs)

    def read_pairs(self, pairs: list[Pair]) -> Reading | None:
        """Read what stands at one place of a file of metrics; of no concern to the steps and tables of the output."""
        step, metrics = _split(pairs)
        if not metrics:
            return None
        return Reading(self._count(metrics) if step is None else step, metrics, step is None)

    def _is_of_traceback(self, text: str) -> bool:
        """Tell whether the line belongs to a traceback: its head, an indented line below that, or its exception."""
        if text.startswith(_TRACEBACK):
            self._is_in_traceback = True
            return True
        if not self._is_in_traceback:
            return False
        self._is_in_traceback = text.startswith(" ")
        return self._is_in_traceback or _EXCEPTION.match(text) is not None

    def _reading(self, line: str, pairs: list[Pair], winning: list[Pair] | None = None) -> Reading | None:
        step, metrics = _split(pairs)
        if winning:
            its_step, its_metrics = _split(winning)
            step = step if its_step is None else its_step
            metrics |= its_metrics
        if metrics:
            if step is None:
                step = self._header_step
            return Reading(self._count(metrics) if step is None else step, metrics, step is None)
        if step is None:
            self._table.note(line)
        elif step <= 1 or "/" in line or self._header_step is not None:
            self._header_step = step
        return None

    def _count(self, names: Iterable[str]) -> int:
        counts = self._counts
        known = [name if name in counts or len(counts) < _MAX_COUNTED else "" for name in names]
        step = 1 + max(counts.get(name, 0) for name in known)
        counts.update(dict.fromkeys(known, step))
        return step


def _split(pairs: list[Pair]) -> tuple[int | float | None, dict[str, float]]:
    """The step, if there is one, and the metrics; of two metrics with one name the later wins."""
    step: int | float | None = None
    best = 2
    metrics = {}
    for name, value in pairs:
        rank = step_rank(name)
        if rank is None:
            if len(name) <= _MAX_NAME and name.isprintable() and name.strip("_-./ "):
                metrics[name] = value
        elif rank < best and math.isfinite(value):
            step, best = (int(value) if value.is_integer() else value), rank
    return step, metrics


def _json_pairs(text: str) -> list[Pair] | None:
    """The numbers of a JSON object by flattened name, or ``None`` if the text is none."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        # Every int as a float: an int of 5,000 digits would be refused, as a float it is infinite.
        found = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return None
    pairs: list[Pair] = []
    rest = [("", found)]
    while rest:
        prefix, node = rest.pop()
        for key, value in node.items():
            if isinstance(value, float):
                pairs.append((prefix + key, value))
            elif isinstance(value, dict) and len(prefix) + len(key) < _MAX_NAME:
                rest.append((f"{prefix}{key}/", value))
    return pairs


def _compiled(pattern: str) -> re.Pattern[str]:
    expected = "e.g. '(?P<name>\\w+) -> (?P<value>\\S+)' or 'loss (?P<val_loss>[\\d.]+)'"
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"--metric-pattern {pattern!r} is not a regular expression of Python: {error}; expected {expected}"
        ) from error
    groups = set(compiled.groupindex)
    if ("name" in groups) != ("value" in groups):
        only, other = ("name", "value") if "name" in groups else ("value", "name")
        raise UsageError(
            f"--metric-pattern {pattern!r} has the group (?P<{only}>...) but no (?P<{other}>...): "
            f"add it, or call the group as the metric; {expected}"
        )
    if all(step_rank(group) is not None for group in groups):
        found = ", ".join(sorted(groups)) or "none"
        raise UsageError(f"--metric-pattern {pattern!r} names no metric (named groups: {found}); expected {expected}")
    return compiled


def _pattern_pairs(pattern: re.Pattern[str], text: str) -> Iterator[Pair]:
    for match in pattern.finditer(text):
        groups = match.groupdict()
        if "name" in groups:
            groups[(groups.pop("name") or "").strip()] = groups.pop("value")
        for name, found in groups.items():
            if name and found is not None and (value := value_of(name, found)) is not None:
                yield name, value


def strip_ansi(text: str) -> str:
    r"""The text as a terminal would show it: without escape sequences and controls but ``\t\n``, backspaces applied."""
    if not _CONTROL.search(text):
        return text
    text = _ESCAPE.sub("", text)
    if "\b" in text:
        kept: list[str] = []
        for char in text:
            if char != "\b":
                kept.append(char)
            elif kept and kept[-1] != "\n":
                kept.pop()
        text = "".join(kept)
    return _CONTROL.sub("", text)


def find_metric(wanted: str, seen: Iterable[str]) -> str | None:
    """The name among those seen that an objective's name stands for, or ``None`` if there is none or more than one.

    The very name first; then with every run of punctuation and spaces alike (``validation_accuracy`` is
    ``Validation accuracy`` but for its case); then also without regard to case.
    """
    names = set(seen)
    if wanted in names:
        return wanted
    for simplify in (_plain, folded):
        simple = simplify(wanted)
        matching = [name for name in names if simplify(name) == simple]
        if matching:
            return matching[0] if len(matching) == 1 and simple else None
    return None


def closest_metrics(wanted: str, seen: Iterable[str], n: int = 5) -> list[str]:
    """Up to ``n`` of the names seen, the most alike first, for an error message; of very many only the first 2,000."""
    from difflib import SequenceMatcher

    simple = folded(wanted[:_MAX_NAME])
    matcher = SequenceMatcher(b=simple, autojunk=False)
    scored = []
    for name in islice(dict.fromkeys(seen), _MAX_COMPARED):
        other = folded(name[:_MAX_NAME])
        matcher.set_seq1(other)
        contained = bool(simple and other) and (simple in other or other in simple)
        if contained or matcher.ratio() >= 0.5:
            scored.append((-matcher.ratio() - contained, name))
    return [name for _, name in sorted(scored)[:n]]


def _plain(name: str) -> str:
    return _SEPARATORS.sub("_", name).strip("_")


def folded(name: str) -> str:
    """The name without regard to punctuation, spaces and case."""
    return _plain(name).casefold()
