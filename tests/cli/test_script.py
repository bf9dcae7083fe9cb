"""What a study stores of its run, the command lines made from it, and what has changed since."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet._version import __version__
from whet.cli.launching import Launcher
from whet.cli.program import Program
from whet.cli.script import ScriptRun
from whet.cli.surroundings import Surroundings, chosen_python
from whet.core import jsontext
from whet.core.protocols import Launch
from whet.core.trial import Trial
from whet.errors import UsageError
from whet.executors.gpus import Gpus, gpu_amount

SCRIPT = Program("script", "train.py")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print('loss: 1')\n")
    return tmp_path


def _run(here: Path, *arguments: str, program: Program = SCRIPT, **fields: Any) -> ScriptRun:
    fields = {"seed": 7, "python": sys.executable, "strategy": "grid", **fields}
    return ScriptRun(program, arguments, str(here), **fields)


def _settings(run: ScriptRun) -> dict[str, Any]:
    """Settings as they come back from a store."""
    return jsontext.loads(jsontext.dumps({"seed": run.seed, "run": run.to_settings()}))


def _known(run: ScriptRun, number: int = 3) -> dict[str, str]:
    return run.placeholders("s", number, 11, Path("/trials") / str(number), None)


# ---- stored and read back
def test_a_run_survives_the_store(here: Path) -> None:
    run = _run(
        here,
        "--lr",
        "uniform(0, 1, 3)",
        "\udcff",
        literal=("a", "b"),
        zips=("x,y",),
        when=("a: b == 1",),
        forbid=("a > 1",),
        chdir=True,
        pty=True,
        workers=3,
        cpus=2,
        gpus="0.5",
        memory_bytes=10**10,
        trial_timeout_s=1.5,
        grace_s=3.0,
        log_cap_bytes=1000,
        metric_pattern="x",
        surroundings=Surroundings({"train.py": "ab"}, "3.11.7", {"numpy": "2"}, "0.1", "2.0"),
    )
    assert ScriptRun.from_settings(_settings(run)) == run
    assert json.loads(json.dumps(run.to_settings())) == run.to_settings()


def test_settings_of_a_later_version_are_read_as_far_as_they_are_known(here: Path) -> None:
    settings = _settings(_run(here))
    settings["run"]["novelty"] = 3
    assert ScriptRun.from_settings(settings) == _run(here)


def test_a_study_of_a_function_has_no_run() -> None:
    with pytest.raises(UsageError, match="not made by `whet run`"):
        ScriptRun.from_settings({"seed": 1})


def test_sized_draws_are_the_same_whenever_they_are_read(here: Path) -> None:
    run = _run(here, "--a", "uniform(0, 1, 3)", "--b", "uniform(0, 1, 3)")
    again = ScriptRun.from_settings(_settings(run))
    assert again.sweep.space == run.sweep.space
    assert run.sweep.space["a"] != run.sweep.space["b"]
    assert replace(run, seed=8).sweep.space != run.sweep.space
    drawn = np.random.default_rng(7).uniform(0, 1, 3).tolist()
    assert list(run.sweep.space["a"].values) == drawn


def test_the_strategy_none_reads_nothing_into_the_arguments(here: Path) -> None:
    run = _run(here, "--a", "[1, 2]", "{seed}", strategy="none")
    assert len(run.sweep.space) == 0
    assert run.argv({}, _known(run))[2:] == ["--a", "[1, 2]", "11"]


# ---- command lines
def test_the_command_of_a_trial(here: Path) -> None:
    run = _run(here, "--lr", "[1e-5, 0.10]", "--out={trial_dir}", "{study}-{number}-{seed}-{budget}-{unknown}", "-v")
    assert run.argv({"lr": 0.1}, _known(run)) == [
        sys.executable,
        "train.py",
        *("--lr", "0.10"),
        "--out=/trials/3",
        "s-3-11--{unknown}",
        "-v",
    ]


def test_the_budget_goes_as_far_as_there_is(here: Path) -> None:
    run = _run(here, "--epochs", "budget(1, 81)", "{budget}")
    assert run.argv({}, _known(run))[2:] == ["--epochs", "81", "81"]
    known = run.placeholders("s", 0, 1, here, 9)
    assert run.argv({}, known, 9)[2:] == ["--epochs", "9", "9"]


@pytest.mark.parametrize(
    ("program", "chdir", "head"),
    [
        (Program("script", "train.py"), False, ["PYTHON", "train.py"]),
        (Program("script", "sub/train.py"), True, ["PYTHON", "HERE/sub/train.py"]),
        (Program("script", "/abs/train.py"), True, ["PYTHON", "/abs/train.py"]),
        (Program("module", "pkg.train"), True, ["PYTHON", "-m", "pkg.train"]),
        (Program("executable", "./train.sh"), False, ["./train.sh"]),
        (Program("executable", "/bin/sh"), True, ["/bin/sh"]),
    ],
)
def test_the_head_of_a_command(program: Program, chdir: bool, head: list[str], here: Path) -> None:
    run = _run(here, program=program, chdir=chdir)
    expected = [part.replace("PYTHON", sys.executable).replace("HERE", str(here)) for part in head]
    assert run.argv({}, _known(run)) == expected


def test_a_line_to_paste(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run(here, "--text", "['a b', 'it''s', '$HOME;`ls`', 'é']", "{number}")
    trial = Trial(4, config={"text": "$HOME;`ls`"})
    line = run.command_line(trial, "s", here / "4")
    assert line == f"{sys.executable} train.py --text '$HOME;`ls`' 4"
    elsewhere = here / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    line = run.command_line(trial, "s", here / "4")
    assert line.startswith(f"cd {here} && ")
    (here / "train.py").write_text("import sys\nprint(sys.argv[1:])\n")
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "['--text', '$HOME;`ls`', '4']\n"


def test_the_line_of_a_repeat_has_its_seed(here: Path) -> None:
    run = _run(here, "{seed}")
    lines = {run.command_line(Trial(n, config={}, replicate=n % 2), "s", here) for n in range(4)}
    assert len(lines) == 2


# ---- what is started
def _command(run: ScriptRun, here: Path, gpus: Gpus | None = None) -> Any:
    return Launcher(run, here / "trials", gpus).command(Launch("s", 3, 2, "token", {}, 11))


def test_what_is_started(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "kept")
    monkeypatch.setenv("WHET_TRIAL", "of a run around this one")
    monkeypatch.setenv("WHET_TRACEBACK", "1")
    command = _command(_run(here, "-x", trial_timeout_s=5.0, memory_bytes=100, pty=True), here)
    assert command.argv == (sys.executable, "train.py", "-x")
    assert (command.cwd, command.trial_dir) == (here, here / "trials/3")
    assert (command.timeout_s, command.memory_bytes, command.pty) == (5.0, 100, True)
    assert {name: value for name, value in command.env.items() if name.startswith("WHET_")} == {
        "WHET_STUDY": "s",
        "WHET_TRIAL": "3",
        "WHET_ATTEMPT": "2",
        "WHET_TRIAL_DIR": str(here / "trials/3"),
        "WHET_SEED": "11",
        "WHET_BUDGET": "",
        "WHET_CHECKPOINT_IN": "",
        "WHET_CHECKPOINT_OUT": str(here / "trials/3/checkpoint"),
        "WHET_METRICS": command.env["WHET_METRICS"],
    }
    assert command.env["SECRET"] == "kept"
    assert "CUDA_VISIBLE_DEVICES" not in command.env or "CUDA_VISIBLE_DEVICES" in os.environ


def test_what_is_started_in_a_directory_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = _command(_run(here, chdir=True), here)
    assert command.cwd == here / "trials/3"
    assert command.argv == (sys.executable, str(here / "train.py"))
    assert command.env["PYTHONPATH"] == str(here)


@pytest.mark.parametrize(("cpus", "workers", "expected"), [(4, 1, "4"), (None, 1, None), (None, 10_000, "1")])
def test_threads(cpus: int | None, workers: int, expected: str | None, here: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "99")
    env = _command(_run(here, cpus=cpus, workers=workers), here).env
    assert env["MKL_NUM_THREADS"] == "99"
    assert int(env["OMP_NUM_THREADS"]) >= 1
    assert expected in (None, env["OMP_NUM_THREADS"])


def test_leased_devices_are_handed_on(here: Path) -> None:
    gpus = Gpus(["5", "6"], gpu_amount("2"), 1)
    gpus.lease("token")
    env = _command(_run(here, gpus="2"), here, gpus).env
    assert env["CUDA_VISIBLE_DEVICES"] == "5,6"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


# ---- what has changed
def _now(here: Path, program: Program = SCRIPT, *arguments: str) -> Surroundings:
    return Surroundings.now(program, arguments, sys.executable, here)


def test_nothing_has_changed(here: Path) -> None:
    now = _now(here)
    assert now.changes(now) == []
    assert now.whet == __version__
    assert now.numpy == np.__version__
    assert now.python == ".".join(map(str, sys.version_info[:3]))
    assert Surroundings.from_json(json.loads(json.dumps(now.to_json()))) == now


def test_changes_are_told(here: Path) -> None:
    run = replace(_run(here), surroundings=_now(here))
    assert run.changed_since() == []
    (here / "train.py").write_text("print('loss: 2')\n")
    assert run.changed_since() == ["train.py has changed"]
    (here / "train.py").unlink()
    assert run.changed_since() == ["train.py is gone"]
    old = replace(run.surroundings, files={}, python="2.7", whet="0.0", numpy="1.0")
    told = replace(run, surroundings=old).changed_since()
    assert [text.partition(" was ")[0] for text in told] == ["Python", "whet", "numpy beside whet"]


def test_changed_packages_are_named(here: Path) -> None:
    now = _now(here)
    then = replace(now, packages={**now.packages, "numpy": "0.1", "gone": "1.0", "whet": "0.0.1"})
    assert now.changes(then) == [f"2 packages changed: gone 1.0 → absent, numpy 0.1 → {np.__version__}"]
    many = replace(now, packages={f"p{i}": "1" for i in range(10)} | dict(now.packages))
    (told,) = now.changes(many)
    assert told.startswith("10 packages changed: p0 1 → absent")
    assert told.endswith("and 5 more")


def test_the_files_of_a_program(here: Path) -> None:
    (here / "pkg").mkdir()
    (here / "pkg/fit.py").touch()
    (here / "pkg/app").mkdir()
    (here / "pkg/app/__main__.py").touch()
    (here / "train.sh").touch()
    shell = Program("executable", "/bin/sh")
    assert set(_now(here, Program("module", "pkg.fit")).files) == {"pkg/fit.py"}
    assert set(_now(here, Program("module", "pkg.app")).files) == {"pkg/app/__main__.py"}
    assert set(_now(here, Program("module", "json.tool")).files) == set()
    assert set(_now(here, shell, "-e", "\0", "x" * 5000, "train.sh", "train.py").files) == {"/bin/sh", "train.sh"}
    assert _now(here, shell).python == ""
    assert _now(here, shell).packages == {}


def test_an_interpreter_that_does_not_run(here: Path) -> None:
    broken = here / "python"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="does not run"):
        Surroundings.now(SCRIPT, [], str(broken), here)
    broken.write_text("#!/bin/sh\necho something else\n")
    with pytest.raises(UsageError, match="is no Python: `-V` says 'something else'"):
        Surroundings.now(SCRIPT, [], str(broken), here)


def test_which_interpreter(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert chosen_python(None) == sys.executable
    monkeypatch.setenv("VIRTUAL_ENV", str(here / "gone"))
    assert chosen_python(None) == sys.executable
    (here / "env/bin").mkdir(parents=True)
    (here / "env/bin/python").symlink_to(sys.executable)
    monkeypatch.setenv("VIRTUAL_ENV", str(here / "env"))
    assert chosen_python(None) == str(here / "env/bin/python")
    assert chosen_python("env") == str(here / "env/bin/python")
    assert chosen_python("./env/bin/python") == str(here / "env/bin/python")
    monkeypatch.setenv("PATH", str(here / "env/bin"))
    assert chosen_python("python") == str(here / "env/bin/python")
    for wrong in ("python9.9", "./train.py", "./none", "env/bin"):
        with pytest.raises(UsageError, match="--python"):
            chosen_python(wrong)
