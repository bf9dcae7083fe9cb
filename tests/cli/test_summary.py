"""What is said at the end of a run, and the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import begin, finish
from whet.cli.program import Program
from whet.cli.script import ScriptRun
from whet.cli.summary import Ending, ending_lines, ending_record
from whet.run import Outcome, Reason


def _ending(here: Path, values: list[Any], reason: Reason = "done", message: str = "", **options: Any) -> Ending:
    """The end of a study of ``train.py --lr [0.1, 0.01] --opt [sgd, adam]`` whose trials gave *values*."""
    store = str(here / "x.db")
    study = begin("s", store=store, **options)
    finish(study, values)
    arguments = ("--lr", "[0.1, 0.01]", "--opt", "[sgd, adam]")
    run = ScriptRun(Program("script", "train.py"), arguments, str(here), 1, sys.executable, "grid")
    total = 4 * options.get("repeats", 1)
    return Ending(study, run, Outcome(reason, message), here / "s", 61.0, None, total)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("values", "reason", "code"),
    [
        ([1.0, 2.0], "done", 0),
        ([1.0, None], "done", 1),
        ([None, None], "done", 3),
        ([], "done", 3),
        ([], "timeout", 3),
        ([1.0], "timeout", 0),
        ([1.0], "target", 0),
        ([1.0], "stopped", 0),
        ([1.0, None], "failures", 1),
        ([1.0], "interrupted", 130),
        ([1.0], "terminated", 143),
        ([1.0], "hangup", 129),
        ([1.0], "broken", 1),
    ],
)
def test_exit_codes(values: list[Any], reason: Reason, code: int, here: Path) -> None:
    assert _ending(here, values, reason).exit_code == code


def test_a_whole_study(here: Path) -> None:
    ending = _ending(here, [4.0, 3.0, 1.0, 2.0])
    assert list(ending_lines(ending, None)) == [
        "s: 4 trials: 4 completed, in 1 min 01 s",
        "best: s/2  loss=1  lr=0.01 opt=sgd",
        f"  {sys.executable} train.py --lr 0.01 --opt sgd",
    ]
    record = ending_record(ending)
    assert record["best"]["command"] == f"{sys.executable} train.py --lr 0.01 --opt sgd"
    assert (record["resume"], record["reason"], record["message"], record["exit_code"]) == (None, "done", None, 0)


def test_a_study_that_is_not_at_its_end(here: Path) -> None:
    lines = list(ending_lines(_ending(here, [4.0], "timeout"), None))
    assert "the time is up" in lines
    assert lines[-1] == "to go on: whet resume s"


def test_after_a_target_only_another_one_goes_on(here: Path) -> None:
    ending = _ending(here, [4.0], "target")
    assert list(ending_lines(ending, None))[-1] == "to go on: whet resume --target VALUE s"
    assert ending_record(ending)["resume"] is None


def test_several_objectives_name_the_next_command(here: Path) -> None:
    ending = _ending(here, [{"loss": 1.0, "acc": 2.0}], objective={"loss": "minimize", "acc": "maximize"})
    assert "those that no other one beats: whet best s" in list(ending_lines(ending, None))


def test_failures(here: Path) -> None:
    lines = list(ending_lines(_ending(here, [None, None, None], "failures"), "s/2 failed\n  | it broke"))
    assert "ended because the first trials all failed: it seems to be the program, not its arguments" in lines
    assert "failed: 3 × exit code" in lines
    assert "s/2 failed\n  | it broke" in lines
    assert f"to see it for yourself: {sys.executable} train.py --lr 0.1 --opt sgd" in lines
    assert lines[-1] == "to go on: whet resume s"


def test_an_executor_that_broke(here: Path) -> None:
    ending = _ending(here, [1.0], "broken", "no processes left\x1b[2J")
    assert "ended because no trial can be started: no processes left" in list(ending_lines(ending, None))
    assert ending_record(ending)["message"].startswith("no processes left")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": ()}, "no --objective was given"),
        ({"objective": {"loss": "minimize", "acc": "maximize"}}, "several objectives (loss, acc)"),
        ({"constraints": ["loss <= 0"]}, "no completed trial meets the constraints"),
    ],
)
def test_why_no_trial_is_the_best(options: dict[str, Any], said: str, here: Path) -> None:
    lines = list(ending_lines(_ending(here, [{"loss": 1.0, "acc": 2.0}], **options), None))
    assert any(line.startswith(said) for line in lines)
    assert not any(line.startswith("best") for line in lines)


def test_repeats_count_by_their_mean(here: Path) -> None:
    ending = _ending(here, [1.0, 9.0, 3.0, 5.0], repeats=2)
    assert "best: s/2  mean loss=4  lr=0.1 opt=adam" in list(ending_lines(ending, None))
