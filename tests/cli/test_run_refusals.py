"""What `whet run` refuses, also before a dry run, and what it says where results are lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.studies import call


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.py").write_text("print('loss=1')\n")


@pytest.mark.parametrize(
    "option", ["--gpus=abc", "--gpus=0", "--store=", "--store=mysql://x/y", "--name=", "--retries=-1"]
)
def test_a_dry_run_refuses_what_the_run_refuses(option: str) -> None:
    said = call("run", "--dry-run", option, "t.py", "[1]", expect=2).err
    assert said == call("run", option, "t.py", "[1]", expect=2).err
    assert not Path(".whet").exists()


def test_results_that_cannot_be_written(whet) -> None:
    (whet.cwd / "t.py").write_text("print('loss=1')\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            whet.argv("run", "--json", "t.py", "[1, 2]"),
            cwd=whet.cwd,
            env=whet.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("results could not be written to standard output") == 1
    assert whet("show", "t-1").stdout.count("completed") >= 2


def test_a_directory_that_was_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "the working directory cannot be used" in call("run", str(tmp_path / "t.py"), "[1]", expect=1).err
    monkeypatch.chdir(tmp_path)
