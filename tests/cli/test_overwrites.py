"""Trials that write over each other's files are noticed, and only those."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.studies import call
from whet.cli.overwrites import Overwrites
from whet.core.trial import Trial


def _write(path: Path, at: float) -> None:
    path.write_text(str(at))
    os.utime(path, (at, at))


def _trial(number: int, start: float, end: float | None = None) -> Trial:
    return Trial(number, started_at=start, ended_at=end)


def test_one_after_the_other(tmp_path: Path) -> None:
    _write(tmp_path / "train.py", 5)
    watch = Overwrites(tmp_path)
    watch.started(_trial(0, 10))
    _write(tmp_path / "model.pt", 15)
    _write(tmp_path / "train.py", 15)
    assert watch.ended(_trial(0, 10, 20)) is None
    watch.started(_trial(1, 21))
    _write(tmp_path / "train.py", 25)
    _write(tmp_path / "model.pt", 25)
    warning = watch.ended(_trial(1, 21, 30))
    assert warning is not None
    assert warning.startswith("model.pt was written by one trial and then by another")
    watch.started(_trial(2, 31))
    _write(tmp_path / "model.pt", 35)
    assert watch.ended(_trial(2, 31, 40)) is None


def test_what_one_trial_writes_again_and_again_is_its_own(tmp_path: Path) -> None:
    watch = Overwrites(tmp_path)
    watch.started(_trial(0, 10))
    watch.started(_trial(1, 10))
    _write(tmp_path / "a", 15)
    assert watch.ended(_trial(1, 10, 20)) is None
    watch.started(_trial(2, 21))
    _write(tmp_path / "a", 25)  # by trial 0, which has run all the time
    assert watch.ended(_trial(2, 21, 30)) is None


def test_what_was_there_before_or_is_written_by_nobody_is_no_matter(tmp_path: Path) -> None:
    watch = Overwrites(tmp_path)
    _write(tmp_path / "data.csv", 5)
    for number in range(3):
        watch.started(_trial(number, 10 * number + 10))
        _write(tmp_path / f"made-{number}", 10 * number + 15)
        assert watch.ended(_trial(number, 10 * number + 10, 10 * number + 18)) is None
        _write(tmp_path / "notes", 10 * number + 19)


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    watch = Overwrites(tmp_path / "none")
    watch.started(_trial(0, 10))
    assert watch.ended(_trial(0, 10, 20)) is None


def test_a_run_warns_once_and_not_with_directories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.py").write_text("import time\nopen('model.pt', 'w').write('x')\ntime.sleep(0.05)\n")
    assert call("run", "fit.py", "--x", "[1, 2, 3, 4]").err.count("model.pt was written") == 1
    assert "model.pt" not in call("run", "--chdir", "fit.py", "--x", "[1, 2, 3, 4]").err
