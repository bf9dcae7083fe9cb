"""The example programs, run as their first lines say: from the file alone, in an empty folder."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import whet

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
LED_BY_WHET = ["tune_function.py", "torch_digits.py", "own_loop.py"]


def run(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a copy of an example in *folder*."""
    file = shutil.copy(EXAMPLES / name, folder)
    done = subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", LED_BY_WHET)
def test_the_first_lines_say_how_to_run_it(name: str) -> None:
    said = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))) or ""
    assert re.search(r"^    pip install whet", said, re.MULTILINE)
    assert f"    python {name}" in said.splitlines()


def test_every_script_is_tried() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert not {name for name in scripts if f'"{name}"' not in tests}
    assert set(LED_BY_WHET) <= scripts


@pytest.mark.slow
def test_the_smallest_finds_the_bump(tmp_path: Path) -> None:
    done = run("tune_function.py", tmp_path)
    found = re.fullmatch(r"squared error (\S+) with \{'height': (\S+), 'width': (\S+)\}\n", done.stdout)
    assert found, done.stdout
    assert float(found[1]) < 0.5
    assert float(found[2]) == pytest.approx(1.7, abs=0.5)
    assert "200 trials" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tune_function.py"]  # it leaves nothing behind


def test_the_own_loop_improves_on_what_was_used_before(tmp_path: Path) -> None:
    done = run("own_loop.py", tmp_path)
    assert "minimize loss" in done.stdout
    assert "30 trials" in done.stdout
    assert re.search(r"best loss=\S+ \(trial [1-9]", done.stdout)  # not trial 0, the one that was enqueued
    assert "failed" in done.stdout  # some rates diverge, and are told so
    assert [path.name for path in tmp_path.iterdir()] == ["own_loop.py"]


@pytest.mark.slow
def test_the_network_is_tuned_and_a_second_start_has_nothing_left_to_do(tmp_path: Path) -> None:
    done = run("torch_digits.py", tmp_path)
    found = re.search(r"best accuracy (\S+) with \{'lr': ", done.stdout)
    assert found, done.stdout
    assert float(found[1]) > 0.9

    study = whet.load("torch-digits", tmp_path / ".whet" / "whet.db")
    assert len(study.trials) == 10
    for trial in study.trials:
        assert [step for step, _ in trial.curve] == list(range(1, 9))
        assert list(trial.curve)[-1][1] == trial.values["val_acc"]
    assert run("torch_digits.py", tmp_path).stdout == done.stdout
    assert len(whet.load("torch-digits", tmp_path / ".whet" / "whet.db").trials) == 10


@pytest.mark.slow
def test_a_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """The example's own training, killed after its third epoch and run again.

    No trial has to import what torch puts off to the first optimizer: that was done once, for all of them.
    """
    shutil.copy(EXAMPLES / "torch_digits.py", tmp_path)
    program = """
import os, sys, whet, torch_digits as example

def killed_once(config, trial):
    assert "torch._dynamo" in sys.modules
    report = trial.report
    def until_three(values, step):
        report(values, step=step)
        with open("epochs.txt", "a") as file:
            print(step, file=file)
        if step == 3 and not os.path.exists("killed"):
            open("killed", "w").close()
            os._exit(9)
    trial.report = until_three
    return example.train(config, trial)

study = whet.tune(killed_once, example.SPACE, objective={"val_acc": "maximize"}, n_trials=1, seed=0,
                  retries={"exit_code": 1}, progress=False)
print([t.state.value for t in study.trials], study.trials[0].attempt)
"""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout
    assert (tmp_path / "epochs.txt").read_text(encoding="utf-8").split() == [str(n) for n in range(1, 9)]
