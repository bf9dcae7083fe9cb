"""``whet export``: every trial as CSV, JSON or Parquet."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click

from whet.cli.budgets import reached_by
from whet.cli.columns import cell_text, spooled
from whet.cli.lookup import all_trials, find_study, opened, store_option
from whet.cli.outfile import check_free, new_file
from whet.cli.reach import Reach
from whet.cli.render import say
from whet.cli.standing import as_it_is
from whet.core.problem import Problem
from whet.core.trial import Trial
from whet.describe import json_line, trial_record
from whet.errors import UsageError
from whet.frames import Record


class _Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int:
        """Take *data*."""


Writer = Callable[[Iterable[Record], _Sink], None]
_MOST_INT = 2**63 - 1  # that Parquet holds


@click.command("export")
@click.argument("name")
@click.option("--format", "form", type=click.Choice(["csv", "json", "parquet"]), required=True, help="What to write.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where to; by default standard output."
)
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")
@store_option
def export_command(name: str, form: str, output: Path | None, force: bool, store: str | None) -> int:
    """Write every trial of study NAME, with its config and all of its values.

    CSV and Parquet have the columns number, state, cause, one for each parameter, one for each metric, attempts,
    started_at (seconds since 1970, UTC) and duration_s, both of the last attempt; in a study with a fidelity also
    budget (how far the trial may go) and reached (how far it has come). Names that would be there twice get config. or
    values. in front. JSON is one array of objects.
    """
    if form == "parquet":
        _import_pyarrow()
        if output is None and sys.stdout.isatty():
            raise UsageError("Parquet is no text: name a file with --output")
    if output is not None:
        check_free(output, force=force)
    with opened(store) as studies:
        study = find_study(studies, name)
        reach = Reach.of(Problem.from_json(study.settings["problem"]), study.settings)
        more = () if reach.problem.fidelity is None else ("budget", "reached")
        writers: Mapping[str, Writer] = {
            "csv": partial(_write_csv, more),
            "json": _write_json,
            "parquet": partial(_write_parquet, more),
        }
        write = writers[form]
        lost = studies.lease(study.id)
        records = (_record(as_it_is(study, trial, lost), reach) for trial in all_trials(studies, study))
        if output is None:
            sys.stdout.flush()
            write(records, _Screen() if sys.stdout.isatty() else sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with new_file(output, force=force) as file:
                write(records, file)
    return 0


class _Screen:
    """A terminal, which gets text and no commands; files and pipes get every byte."""

    def write(self, data: bytes) -> int:
        """Show *data*, whole lines."""
        say(data.decode("utf-8", "replace").removesuffix("\n"))
        return len(data)


def _record(trial: Trial, reach: Reach) -> Record:
    axis = reach.problem.fidelity
    budget = axis.high if axis is not None and trial.budget is None else trial.budget
    return {**trial_record(trial), "budget": budget, "reached": reached_by(reach.as_reported(trial))}


def _write_json(records: Iterable[Record], file: _Sink) -> None:
    before = b"[\n"
    for record in records:
        file.write(before + json_line(record).encode("ascii"))
        before = b",\n"
    file.write(b"\n]\n" if before != b"[\n" else b"[]\n")


def _write_csv(more: Sequence[str], records: Iterable[Record], file: _Sink) -> None:
    with spooled(records, more) as (columns, again):
        file.write(_csv_line(columns.names))
        for record in again():
            file.write(_csv_line(columns.row(record)))


def _csv_line(cells: Sequence[Any]) -> bytes:
    # Our own and not `csv.writer`: that leaves a lone \r unquoted when lines end in \n. Nothing is put in front of what
    # a spreadsheet would take for a formula: other programs are to read back what the trial was given, byte by byte.
    text = ",".join("" if cell is None else _csv_cell(cell_text(cell)) for cell in cells) + "\n"
    try:
        return text.encode("utf-8", "surrogateescape")  # arguments need not be text in any encoding
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _csv_cell(text: str) -> str:
    if text and text == text.strip() and not any(mark in text for mark in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _write_parquet(more: Sequence[str], records: Iterable[Record], file: _Sink) -> None:
    pyarrow, parquet = _import_pyarrow()
    with spooled(records, more) as (columns, again):
        rows = [columns.row(record) for record in again()]
    cells = zip(*rows, strict=True) if rows else ((),) * len(columns.names)
    arrays = [pyarrow.array(_of_one_type(column)) for column in cells]
    names = [_as_unicode(name) for name in columns.names]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=names), file)


def _of_one_type(column: Sequence[Any]) -> list[Any]:
    """Return the values of a column as they are if all are numbers, texts or truth values, else as texts."""
    types = {type(value) for value in column if value is not None}
    fits = all(-_MOST_INT <= value <= _MOST_INT for value in column if type(value) is int)
    if types == {int, float}:
        return [None if value is None else float(value) for value in column]
    if len(types) <= 1 and types <= {bool, int, float} and fits:
        return list(column)
    return [None if value is None else _as_unicode(cell_text(value)) for value in column]


def _as_unicode(text: str) -> str:
    r"""Return *text* with the bytes that are no text as ``\udce9``: Parquet has no others."""
    return text.encode("utf-8", "backslashreplace").decode()


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError("--format parquet needs pyarrow: pip install pyarrow") from None
