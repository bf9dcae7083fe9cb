"""Running what the record does not have."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller
from typing import Any, Protocol

from searching.methods import WHET
from searching.record import Record


def count(text: str) -> int:
    """Return the whole number of at least 1 that *text* is; the type of an option."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark of searches has."""
    parser.add_argument("--against", help="the row that the others are compared with; by default the first")
    parser.add_argument("--jobs", type=count, default=1, help="processes of the benchmark itself")
    parser.add_argument("--keep", action="store_true", help="take whet's rows from the record as well")


class Job(Protocol):
    """One search to be run; also what a worker process is sent."""

    method: str
    task: str

    @property
    def key(self) -> tuple[Any, ...]:
        """That of its row: method, version, task, seed and what else tells it from others."""

    def run(self) -> Any:
        """Return its row."""


def rows_of(jobs: Sequence[Job], record: Record, n_processes: int, keep: bool) -> list[Any]:
    """Return the row of every job: from the record, or run now; whet's are run now unless *keep*."""
    known: dict[tuple[Any, ...], Any] = {}
    for method, version in dict.fromkeys(job.key[:2] for job in jobs):
        if keep or not method.startswith(WHET):
            known |= record.rows(method, version)
    missing = [job for job in jobs if job.key not in known]
    for n, row in enumerate(_run(missing, n_processes), 1):
        record.add(row)
        known[row.key] = row
        if sys.stderr.isatty():
            end = "\n" if n == len(missing) else ""
            print(f"\r{n} of {len(missing)} searches run: {row.method} {row.task}\033[K", end=end, file=sys.stderr)
    return [known[job.key] for job in jobs]


def _run(jobs: Sequence[Job], n_processes: int) -> Iterator[Any]:
    run = methodcaller("run")
    if n_processes == 1:
        yield from map(run, jobs)
        return
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, jobs)


def seeds_by_method(texts: Sequence[str], n_seeds: int) -> dict[str, int]:
    """Return how many seeds each method has: *n_seeds*, or three for ``NAME@3``."""
    found = {}
    for text in texts:
        name, _, own = text.partition("@")
        if own and not (own.isdigit() and int(own)):
            raise SystemExit(f"expected NAME or NAME@SEEDS with a whole number of at least 1, got {text!r}")
        found[name] = int(own or n_seeds)
    return found
