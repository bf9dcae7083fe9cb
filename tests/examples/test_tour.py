"""The notebook of the examples: stored clean, runs in a real kernel, and shows what it says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOUR = ROOT / "examples" / "tour.ipynb"


def test_it_is_stored_without_what_running_it_leaves_behind() -> None:
    stored = json.loads(TOUR.read_text(encoding="utf-8"))
    nbformat.validate(stored)
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert stored["metadata"]["language_info"] == {"name": "python"}  # no version of whoever saved it
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    assert len({cell["id"] for cell in stored["cells"]}) == len(stored["cells"])
    assert not [cell["id"] for cell in stored["cells"] if cell["metadata"]]
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 10
    assert not [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each code cell shows, as text, after a run in an empty folder with a kernel of this interpreter."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("tour")
    kernels = home / "kernels" / "python3"
    kernels.mkdir(parents=True)
    argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernels / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "JUPYTER_PATH": home,
            "JUPYTER_RUNTIME_DIR": home / "runtime",
            "JUPYTER_CONFIG_DIR": home / "config",
            "IPYTHONDIR": home / "ipython",
            "JUPYTER_PLATFORM_DIRS": "1",
        }.items():
            patch.setenv(name, str(value))
        executed = _run(folder)
    assert sorted(path.name for path in folder.iterdir()) == [".whet"]
    yield [_text(cell) for cell in executed.cells if cell.cell_type == "code"]
    assert not (ROOT / "examples" / ".whet").exists()


def _run(folder: Path) -> Any:
    from nbclient import NotebookClient

    notebook = nbformat.read(TOUR, as_version=4)
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute(env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"})


def _text(cell: Any) -> str:
    """Return all that a cell's outputs say, as HTML where there is some."""
    shown = []
    for output in cell.outputs:
        assert output.output_type != "error", "\n".join(output.traceback)
        data = output.get("data", {})
        shown.append(output.get("text") or data.get("text/html") or data.get("text/plain", ""))
    return "\n".join(shown)


@pytest.mark.slow
def test_the_tour_shows_what_it_says(outputs: list[str]) -> None:
    _, ran, displayed, best, frame, went_on, noted, loaded, by_hand, failing, failed = outputs

    assert "decay: 60 trials in" in ran
    assert "best " in ran
    assert "<strong>decay</strong>: minimize value; 60 trials: 60 completed" in displayed
    assert displayed.count("<tr>") == 6  # a head and the five best
    assert "height" in displayed
    height, rate, value = (float(part) for part in _numbers(best))
    assert (1.5 < height < 2.5, 0.4 < rate < 1.0) == (True, True)
    assert value < 0.1
    assert "<table" in frame
    assert frame.count("completed") == 5
    assert went_on.splitlines()[-1].startswith("80 trials, the best value is 0.00")
    assert "noise of 0.05 was added" in noted
    assert "close to the truth" in noted
    assert loaded.strip() == "80 True noise of 0.05 was added"
    assert "10 trials: 10 completed" in by_hand
    assert "trial 1 failed (error)" in failing
    assert failing.count("ArithmeticError: the solver gave up at rate") == 1  # the first one; others are counted
    assert "ArithmeticError: the solver gave up at rate 5.00" in failing
    assert "trials failed: " in failing
    assert failed.endswith("ArithmeticError: the solver gave up at rate 5.00\n")


def _numbers(text: str) -> list[str]:
    import re

    return re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)
