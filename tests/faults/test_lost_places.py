"""The place of the studies fills up, fails or goes away under a run: one line, and nothing to repair (F6, F7)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from tests.faults.disks import PowerDisk, fill, power_disk, small_disk
from whet.core.events import Kind
from whet.core.trial import State
from whet.storage.doctor import check
from whet.study import load

# Prints much, so that logs and the store both need room; goes on once there is a file `go`.
SCRIPT = """\
import os, sys, time
n = int(sys.argv[1])
print("loss:", n + 1, flush=True)
if n == 2:
    open(os.path.join(sys.argv[2], "there"), "w").close()
    while not os.path.exists(os.path.join(sys.argv[2], "go")):
        time.sleep(0.02)
for step in range(50):
    print("step", step, "loss:", n, "x" * 200)
"""
N_TRIALS = 6
AT_ONCE_S = 30  # instead of the minute that a run waits for room; on a busy machine nothing is at once


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """A folder on another disk, where test and trial give each other signs."""
    folder = tmp_path / "signs"
    folder.mkdir()
    return folder


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whet: Whet) -> Iterator[Path]:
    """Where the run is: a disk of 1 MB."""
    with small_disk(tmp_path / "disk", "1m") as folder:
        (folder / "fit.py").write_text(SCRIPT)
        whet.cwd = folder
        monkeypatch.chdir(folder)
        yield folder
        monkeypatch.undo()
        os.chdir("/")


def _started(whet: Whet, signs: Path) -> subprocess.Popen[str]:
    """Start a run; return once its third trial is in the middle."""
    options = ["--name", "s", "--minimize", "loss", "--grace", "1"]
    process = whet.start("run", *options, "fit.py", f"range({N_TRIALS})", signs)
    _wait_for(lambda: (signs / "there").exists())
    return process


def _wait_for(condition: Callable[[], Any], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(0.02)


def _check_whole() -> None:
    """All trials are complete, each once, and the store is sound."""
    study = load("s")
    assert [trial.state for trial in study.trials] == [State.COMPLETED] * N_TRIALS
    assert [trial.values["loss"] for trial in study.trials] == list(range(N_TRIALS))
    events = study.ledger.store.events(study.ledger.study)
    assert set(Counter(event.trial for event in events if event.kind is Kind.COMPLETED).values()) == {1}
    assert check(Path(".whet/whet.db")) == []


@pytest.mark.root
def test_a_full_disk_is_waited_for_without_work_and_then_it_goes_on(disk: Path, signs: Path, whet: Whet) -> None:
    process = _started(whet, signs)
    fill(disk / "ballast")
    (signs / "go").touch()
    assert process.stderr is not None
    said = ""
    while "no space left" not in said:
        said = process.stderr.readline()
        assert said, "it ended instead of waiting"
    assert "trying again for 60 s" in said
    before = psutil.Process(process.pid).cpu_times()
    time.sleep(2.0)
    after = psutil.Process(process.pid).cpu_times()
    assert after.user + after.system - before.user - before.system < 0.5  # of two seconds: it looks now and then
    assert process.poll() is None
    (disk / "ballast").unlink()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    _check_whole()


@pytest.mark.root
def test_whoever_is_killed_while_the_disk_is_full_can_be_resumed(
    disk: Path, signs: Path, whet: Whet, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = _started(whet, signs)
    fill(disk / "ballast")
    (signs / "go").touch()
    assert process.stderr is not None
    while "no space left" not in process.stderr.readline():
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    assert not whet.survivors(20)
    with monkeypatch.context() as context:
        context.setattr("whet.run._STORE_PATIENCE_S", 1.0)
        shown = call("resume", "s", expect=None)  # the disk is full still: it says so, or has room enough
    assert "Traceback" not in shown.err
    (disk / "ballast").unlink()
    call("resume", "s", expect=None if shown.code == 0 else 0)
    _check_whole()


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[PowerDisk]:
    with power_disk(tmp_path / "failing") as disk:
        yield disk


@pytest.mark.root
def test_a_disk_that_fails_under_a_run_ends_it_when_it_is_told_to(
    failing: PowerDisk, monkeypatch: pytest.MonkeyPatch, signs: Path, whet: Whet
) -> None:
    """Nothing can be written there any more, and nothing that has not been is there when it is back."""
    disk = failing
    (disk.folder / "fit.py").write_text(SCRIPT)
    whet.cwd = disk.folder
    process = _started(whet, signs)
    disk.cut_power()
    (signs / "go").touch()
    assert process.stderr is not None
    said = ""
    while "trying again" not in said:
        said = process.stderr.readline()
        assert said, "it ended by itself"
    process.terminate()
    _, err = process.communicate(timeout=AT_ONCE_S)
    assert process.returncode == 1
    assert "failing or gone?" in err or "whet doctor" in err  # what of the file is in memory still may not fit together
    assert "Traceback" not in err
    assert not whet.survivors(20)
    disk.restart()
    (disk.folder / "fit.py").write_text(SCRIPT)
    with monkeypatch.context() as context:
        context.chdir(disk.folder)
        call("resume", "s")
        _check_whole()


@pytest.mark.parametrize("which", ["the folder", "the files", "the folder, moved"])
def test_a_store_that_goes_away_under_a_run_ends_it(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signs: Path, whet: Whet
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.py").write_text(SCRIPT)
    process = _started(whet, signs)
    if which == "the folder":
        shutil.rmtree(tmp_path / ".whet")
    elif which == "the files":
        for file in tmp_path.glob(".whet/whet.db*"):
            file.unlink()
    else:
        (tmp_path / ".whet").rename(tmp_path / "kept")
    (signs / "go").touch()
    out, err = process.communicate(timeout=AT_ONCE_S)
    assert process.returncode == 1
    assert "was deleted, moved or replaced" in err
    assert "Traceback" not in out + err
    assert not whet.survivors(20)
    assert not (tmp_path / ".whet/whet.db").exists()
    if which == "the folder, moved":
        (tmp_path / "kept").rename(tmp_path / ".whet")
        call("resume", "s")
        _check_whole()


@pytest.mark.skipif(os.geteuid() == 0, reason="needs not to be root: root may write everywhere")
def test_a_folder_that_may_not_be_written_any_more_can_still_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.py").write_text("print('loss: 1')\n")
    call("run", "--name", "s", "--minimize", "loss", "fit.py", "range(2)")
    for path in (tmp_path / ".whet/whet.db", tmp_path / ".whet"):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert "2 completed" in call("show", "s").out
        shown = call("resume", "s", "--trials", "+2", expect=1)
        assert "cannot be written to" in shown.err
    finally:
        (tmp_path / ".whet").chmod(0o755)
