"""Stores with studies in them, and the command line called on them in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.cli.main import called
from whet.cli.program import Program
from whet.cli.script import ScriptRun
from whet.core.events import Draft, Kind
from whet.study import Study

STORE = ".whet/whet.db"


@dataclass(frozen=True)
class Called:
    """What a command has said: its exit code, and what it printed; bytes that are no text as surrogates."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects printed, one per line."""
        return [json.loads(line, parse_constant=_no_constant) for line in self.out.splitlines()]


def _no_constant(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


def call(*arguments: object, expect: int | None = 0) -> Called:
    """Run the command line in this process and check its exit code; ``None`` takes any."""
    out, err = io.BytesIO(), io.BytesIO()
    streams = [io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape") for stream in (out, err)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        code = called([str(argument) for argument in arguments])
        for stream in streams:
            stream.flush()
    said = Called(code, *(raw.getvalue().decode("utf-8", "surrogateescape") for raw in (out, err)))
    for stream in streams:
        stream.detach()
    assert expect is None or code == expect, f"exit code {code}\n{said.out}\n{said.err}"
    return said


def script_settings(arguments: Sequence[str], cwd: Path, seed: int = 1, **fields: Any) -> dict[str, Any]:
    """Settings as ``whet run train.py ARGUMENTS`` stores them."""
    program = Program("script", "train.py")
    run = ScriptRun(program, tuple(arguments), str(cwd), seed, sys.executable, "grid", **fields)
    return {"run": run.to_settings()}


def begin(name: str = "a", space: Any = None, objective: Any = None, *, store: str = STORE, **more: Any) -> Study:
    """Create a study that minimises ``loss`` over 4 configs."""
    return Study(
        space or {"lr": [0.1, 0.01], "opt": ["sgd", "adam"]},
        {"loss": "minimize"} if objective is None else objective,
        sampler=more.pop("sampler", "grid"),
        seed=1,
        store=store,
        name=name,
        **more,
    )


def finish(study: Study, values: Iterable[float | Mapping[str, float] | None]) -> None:
    """Ask for a trial for each of *values* and tell it; ``None`` makes it fail."""
    for value in values:
        trial = study.ask()
        if value is None:
            study.fail(trial, cause="exit_code", message="it broke")
        else:
            study.tell(trial, value if isinstance(value, Mapping) else {"loss": value})


def with_one_trial(config: Mapping[str, Any], values: Mapping[str, float], name: str = "a", **more: Any) -> Study:
    """Create a study without an objective that has one completed trial of *config*, whatever that holds."""
    study = begin(name, {"x": [1]}, (), **more)
    number = study.ledger.commit([], reserve=1).numbers[0]
    study.ledger.commit([Draft(Kind.ASKED, number, {"config": dict(config)})])
    study.ledger.commit([Draft(Kind.STARTED, number, {"token": "t", "owner": None})])
    study.ledger.commit([Draft(Kind.COMPLETED, number, {"values": dict(values)}, "t")])
    return study
