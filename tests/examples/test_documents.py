"""What the documentation shows works as it is shown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, fenced, name_of, project_files
from tests.cli.studies import call

_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _shown_runs() -> list[object]:
    """Return every whole `whet run` line of the documentation; those with an ellipsis are sketches."""
    shown = {
        (page, line.split("  #")[0].strip())
        for page in project_files("*.md")
        for block in fenced(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.startswith("whet run ") and "…" not in line and "[OPTIONS]" not in line
    }
    assert len(shown) > 10
    return [pytest.param(line, id=f"{name_of(page)}: {line}") for page, line in sorted(shown)]


@pytest.fixture
def a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out the programs that the documentation sweeps, and go there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    package = tmp_path / "pkg"
    package.mkdir()
    for script in (tmp_path / "train.py", package / "train.py"):
        script.write_text("print('val_acc: 0.5')\n", encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for name in ("train.sh", "train"):
        (tmp_path / name).write_text("#!/bin/sh\necho val_acc: 0.5\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)


@pytest.mark.usefixtures("a_project")
@pytest.mark.parametrize("line", _shown_runs())
def test_the_runs_that_are_shown_are_understood(line: str) -> None:
    # There is no db.example.
    words = ["studies.db" if word.startswith("postgresql://") else word for word in shlex.split(line)]
    said = call("run", "--dry-run", *words[2:]).out
    assert "train" in said or "digits" in said


@pytest.mark.parametrize(
    ("index", "train", "best"),
    [
        (0, "import whet\n\ndef train(config):\n    return config['lr'] + config['layers']\n", ""),
        (1, "", "'act': 'gelu'"),
        (2, "def train(lr, layers):\n    return abs(lr - 1e-3) + layers\n", "'layers': 1"),
        (3, "", "stopped"),
    ],
)
def test_the_readme_searches_from_python(index: int, train: str, best: str, tmp_path: Path) -> None:
    blocks = _PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 4
    probe = f"{train}\n{blocks[index]}"
    done = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert best in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("tutorial/first-tune.md", "val_acc"),  # the study shows itself
        ("how-to/tune-a-function.md", "database"),  # what cannot be sent is named
        ("how-to/spend-a-budget.md", "stopped worse than trial"),
        ("how-to/tune-an-estimator.md", "Parameter width changes nothing"),
        ("how-to/fit-less.md", "of 200 fits"),
        ("how-to/run-a-long-search.md", "nan"),
        ("how-to/choose-honestly.md", "SelectionBias"),
    ],
)
def test_the_blocks_of_a_page_are_a_program(page: str, said: str, tmp_path: Path) -> None:
    """From the first to the last, in an empty folder; an ``assert`` in a page holds."""
    blocks = _PYTHON.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert len(blocks) >= 3
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.slow
def test_the_sampler_and_the_scheduler_of_the_manual_pass_their_suites(tmp_path: Path) -> None:
    blocks = _PYTHON.findall((ROOT / "docs" / "how-to" / "extend.md").read_text(encoding="utf-8"))
    file = tmp_path / "test_manual.py"
    file.write_text("\n\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", file],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)
