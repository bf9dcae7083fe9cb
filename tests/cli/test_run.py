"""`whet run`, end to end: real scripts, real processes, a real store."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import call
from whet.cli.script import ScriptRun
from whet.core.trial import State
from whet.study import load

TRAIN = """\
import argparse, json, os, sys
parser = argparse.ArgumentParser()
for flag, kind in (("--lr", float), ("--layers", int), ("--batch", int), ("--alpha", float), ("--beta", int)):
    parser.add_argument(flag, type=kind, default=1)
args = parser.parse_args()
for epoch in range(3):
    print(f"epoch={epoch} val_acc={args.lr * args.layers * (epoch + 1):.6f} loss={1 / (epoch + 1)}")
"""
# Prints what it was started with, as one line of JSON that holds no metric.
ECHO = """\
import json, os, sys
seen = {"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}
open(os.path.join(os.environ["WHET_TRIAL_DIR"], "seen.json"), "w").write(json.dumps(seen))
print("loss: 1.0")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with train.py and echo.py in it, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "echo.py").write_text(ECHO)
    return tmp_path


def _argvs(*arguments: object) -> list[list[str]]:
    return [record["argv"] for record in call("run", "--dry-run", "--json", *arguments).objects]


def _seen(here: Path, study: str, number: int = 0) -> dict[str, Any]:
    return json.loads((here / ".whet" / study / str(number) / "seen.json").read_text())


# ---- the main job
def test_a_grid_over_an_unmodified_script(here: Path) -> None:
    said = call("run", "--objective", "val_acc:max", "train.py", "--lr", "[0.1, 0.2]", "--layers", "[1, 2, 3]")
    lines = said.out.splitlines()
    finished = [line for line in lines if line.startswith("[")]
    assert len(finished) == 6
    assert finished[0].startswith("[1/6] train-1/0  completed  val_acc=0.3")
    assert "lr=0.2 layers=3" in finished[5]
    assert "train-1: 6 trials: 6 completed" in said.out
    assert "best: train-1/5  val_acc=1.8  lr=0.2 layers=3" in said.out
    best = lines[lines.index(next(line for line in lines if line.startswith("best:"))) + 1].strip()
    assert best == f"{sys.executable} train.py --lr 0.2 --layers 3"
    assert "whet resume" not in said.out
    assert "6 trials by grid, seed " in said.err
    with closing(sqlite3.connect(here / ".whet" / "whet.db")) as store:
        assert store.execute("SELECT count(*) FROM lease").fetchone() == (0,)  # given back


def test_the_best_command_line_runs_as_it_is_printed(here: Path) -> None:
    (here / "a b.py").write_text(TRAIN)
    said = call("run", "--objective", "val_acc:max", "--json", "a b.py", "--layers", "[1, 2]", "--lr", "[0.5]")
    command = said.objects[-1]["best"]["command"]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, cwd=here)
    assert "val_acc=3.000000" in done.stdout
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    shown = call("best", "--store", here / ".whet/whet.db", "a b-1", "--json").objects[0]["command"]
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True, cwd=elsewhere)
    assert "val_acc=3.000000" in done.stdout


def test_random_search_draws_some_of_the_product_without_replacement(here: Path) -> None:
    arguments = ["train.py", "--alpha", "uniform(1e-5, 1e-1, 3)", "--beta", "[1, 2, 3, 4]"]
    said = call("run", "--seed", 3, "--strategy", "random_search", "--trials", 3, "--json", *arguments)
    configs = [(r["config"]["alpha"], r["config"]["beta"]) for r in said.objects if r["event"] == "trial_finished"]
    assert len(set(configs)) == 3
    product = {(argv[3], argv[5]) for argv in _argvs("--seed", 3, *arguments)}
    assert len(product) == 12
    assert {(repr(alpha), str(beta)) for alpha, beta in configs} <= product


@pytest.mark.parametrize("strategy", ["random", "quasi_random", "auto"])
def test_a_true_distribution(strategy: str, here: Path) -> None:
    options = ["--objective", "val_acc:max", "--trials", 4, "--workers", 2, "--strategy", strategy, "--seed", 5]
    said = call("run", "--json", *options, "train.py", "--lr", "loguniform(1e-5, 1e-1)")
    trials = [record for record in said.objects if record["event"] == "trial_finished"]
    by_number = {trial["number"]: trial["config"]["lr"] for trial in trials}
    assert sorted(by_number) == [0, 1, 2, 3]
    assert all(1e-5 <= lr <= 1e-1 for lr in by_number.values())
    planned = [float(argv[3]) for argv in _argvs(*options, "train.py", "--lr", "loguniform(1e-5, 1e-1)")]
    assert [by_number[number] for number in range(4)] == planned


def test_any_program(here: Path) -> None:
    script = here / "train.sh"
    script.write_text('#!/bin/sh\necho "loss: $2"\n')
    script.chmod(0o755)
    said = call("run", "--objective", "loss:min", "--", "./train.sh", "--batch", "(1, 10, 2)")
    assert "best: train-1/0  loss=1  batch=1" in said.out
    assert "./train.sh --batch 1" in said.out
    assert "range(1, 10, 2)" in said.err or "1 3 5 7 9" in said.err
    package = here / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "fit.py").write_text("import sys\nprint('loss', '=', float(sys.argv[1].partition('=')[2]))\n")
    said = call("run", "--minimize", "loss", "-m", "pkg.fit", "lr=[0.1, 0.01]")
    assert "best: fit-1/1  loss=0.01  lr=0.01" in said.out
    assert f"{sys.executable} -m pkg.fit lr=0.01" in said.out


def test_a_fresh_process_does_it_all(whet: Any, here: Path) -> None:
    done = whet("run", "--maximize", "val_acc", "--workers", 2, "train.py", "--lr", "[0.1, 0.2]")
    assert "best: train-1/1" in done.stdout
    assert "Traceback" not in done.stderr
    assert (here / ".whet/train-1/0/stdout.log").read_text().count("val_acc") == 3


def test_a_whole_run_in_the_order_of_its_numbers(here: Path) -> None:
    call("run", "--name", "s", "train.py", "--lr", "[1, 2]", "--layers", "[1, 2]", "--batch", "[7, 8]")
    configs = [tuple(trial.config.values()) for trial in load("s").trials]
    assert configs == [(lr, layers, batch) for lr in (1, 2) for layers in (1, 2) for batch in (7, 8)]


# ---- what a script sees
def test_the_environment_of_a_trial(here: Path) -> None:
    call("run", "--name", "s", "--seed", 9, "--workers", 2, "echo.py", "--x", "[1, 2]", "{seed} {number} {study}")
    seen = _seen(here, "s", 1)
    env = seen["env"]
    folder = str(here / ".whet/s/1")
    assert seen["cwd"] == str(here)
    assert seen["argv"] == ["--x", "2", f"{env['WHET_SEED']} 1 s"]
    assert (env["WHET_STUDY"], env["WHET_TRIAL"], env["WHET_ATTEMPT"]) == ("s", "1", "1")
    assert env["WHET_TRIAL_DIR"] == folder
    assert env["WHET_SEED"] == _seen(here, "s", 0)["env"]["WHET_SEED"]
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["WHET_METRICS"].startswith(folder)
    assert env["WHET_CHECKPOINT_OUT"].startswith(folder)
    assert env["WHET_CHECKPOINT_IN"] == env["WHET_BUDGET"] == ""


def test_threads_are_shared_out_unless_the_user_has_set_them(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "17")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    call("run", "--name", "s", "--cpus", 3, "echo.py")
    env = _seen(here, "s")["env"]
    assert (env["OMP_NUM_THREADS"], env["OPENBLAS_NUM_THREADS"], env["MKL_NUM_THREADS"]) == ("3", "3", "17")
    call("run", "--name", "t", "--workers", 1000, "--dry-run", "echo.py")
    call("run", "--name", "u", "echo.py")
    assert 1 <= int(_seen(here, "u")["env"]["OMP_NUM_THREADS"]) <= (os.cpu_count() or 1)


def test_a_directory_for_each_trial(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "helper.py").write_text("VALUE = 4\n")
    (here / "pkg").mkdir()
    (here / "pkg/fit.py").write_text("import helper\nopen('made', 'w').write('x')\nprint('loss:', helper.VALUE)\n")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    said = call("run", "--chdir", "--minimize", "loss", "-m", "pkg.fit", "--x", "[1, 2]")
    assert "2 completed" in said.out
    assert (here / ".whet/fit-1/1/made").read_text() == "x"
    assert not (here / "made").exists()
    call("run", "--chdir", "--name", "s", "echo.py", "--x", "1")
    seen = _seen(here, "s")
    assert seen["cwd"] == str(here / ".whet/s/0")
    assert seen["env"]["PYTHONPATH"] == f"{here}:/somewhere"


def test_gpus_are_leased(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    call("run", "--name", "s", "--gpus", "1", "--workers", 2, "echo.py", "--x", "[1, 2, 3, 4]")
    assert {_seen(here, "s", number)["env"]["CUDA_VISIBLE_DEVICES"] for number in range(4)} <= {"4", "7"}
    call("run", "--name", "t", "--gpus", "2", "echo.py")
    assert sorted(_seen(here, "t")["env"]["CUDA_VISIBLE_DEVICES"]) == [",", "4", "7"]
    said = call("run", "--name", "u", "--gpus", "1", "--workers", 3, "echo.py", expect=2)
    assert "--workers 2" in said.err
    assert "u" not in {study["study"] for study in call("history", "--json").objects}


def test_the_interpreter(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _argvs("train.py")[0][0] == sys.executable
    assert _argvs("--python", sys.executable, "train.py")[0][0] == sys.executable
    environment = here / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to(sys.executable)
    assert _argvs("--python", environment, "train.py")[0][0] == str(environment / "bin/python")
    monkeypatch.setenv("VIRTUAL_ENV", str(environment))
    assert _argvs("train.py")[0][0] == str(environment / "bin/python")
    said = call("run", "--python", "no-such-python", "train.py", expect=2)
    assert "--python no-such-python: no such interpreter" in said.err
    (here / "text").write_text("x")
    assert "not executable" in call("run", "--python", "./text", "train.py", expect=2).err


def test_a_terminal_for_programs_that_want_one(here: Path) -> None:
    (here / "tty.py").write_text("import sys\nprint('loss:', 1 if sys.stdout.isatty() else 2)\n")
    assert "loss=1" in call("run", "--pty", "--minimize", "loss", "tty.py").out
    assert "loss=2" in call("run", "--minimize", "loss", "tty.py").out


def test_odd_arguments_arrive_as_they_are(here: Path) -> None:
    odd = ["--x=-1", "-rf", "a b", "'\"", "\n", "=", "é", "$HOME", "`ls`", "*", "", "--", "--trials", "[not, swept"]
    call("run", "--name", "s", "--literal", "arg5", "echo.py", *odd[:-1], "[1, 2]")
    seen = _seen(here, "s")["argv"]
    assert seen[: len(odd) - 1] == odd[:-1]


# ---- dry run
def test_a_dry_run_prints_what_would_run_and_stores_nothing(here: Path) -> None:
    said = call("run", "--dry-run", "train.py", "--lr", "[1e-5, 0.10]", "--layers", "[1, 2]")
    lines = said.out.splitlines()
    assert lines[:-1] == [
        f"{sys.executable} train.py --lr {lr} --layers {layers}" for lr in ("1e-5", "0.10") for layers in (1, 2)
    ]
    assert lines[-1] == "# 4 trials; nothing was run"
    assert not (here / ".whet").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-trials", 3, "train.py", "--x", "[1, 2, 3, 4]"], "# 4 trials; nothing was run"),
        (
            ["--timeout", 9, "train.py", "--x", "uniform(0, 1)"],
            "# the first 10 trials, there is no end of them; nothing was run",
        ),
    ],
)
def test_a_dry_run_says_how_much_it_shows(arguments: list[Any], said: str, here: Path) -> None:
    assert call("run", "--dry-run", *arguments).out.splitlines()[-1] == said


def test_a_dry_run_shows_the_repeats_and_fills_in_placeholders(here: Path) -> None:
    options = ["--dry-run", "--json", "--seed", 1, "--repeats", 2]
    records = call("run", *options, "train.py", "--x", "[1, 2]", "{number}-{seed}")
    assert [record["number"] for record in records.objects] == [0, 1, 2, 3]
    assert [record["config"] for record in records.objects] == [{"x": 1}, {"x": 1}, {"x": 2}, {"x": 2}]
    last = [record["argv"][-1] for record in records.objects]
    assert [text.partition("-")[0] for text in last] == ["0", "1", "2", "3"]
    assert last[0].partition("-")[2] == last[2].partition("-")[2] != last[1].partition("-")[2]
    assert "4 trials" in records.err


def test_a_dry_run_of_more_than_anyone_can_read(here: Path) -> None:
    big = [f"--{name}=range(1000)" for name in "abcd"]
    said = call("run", "--dry-run", "train.py", *big)
    lines = said.out.splitlines()
    assert len(lines) == 11
    assert lines[1].endswith("--a=0 --b=0 --c=0 --d=1")
    assert lines[-1] == "# the first 10 of 1,000,000,000,000 trials; nothing was run"
    assert len(_argvs("--trials", 1500, "--strategy", "grid", "train.py", *big)) == 1500


def test_a_dry_run_is_what_a_run_does(here: Path) -> None:
    options = ["--seed", 11, "--strategy", "random", "--trials", 5]
    arguments = ["echo.py", "--x", "normal(0, 1)", "--y", "['a b', 'c']"]
    planned = _argvs(*options, *arguments)
    call("run", "--name", "s", *options, *arguments)
    assert [_seen(here, "s", number)["argv"] for number in range(5)] == [argv[2:] for argv in planned]


# ---- how it is shown
def test_json(here: Path) -> None:
    said = call("run", "--json", "--maximize", "val_acc", "train.py", "--lr", "[0.1, 0.2]")
    *trials, last = said.objects
    assert [trial["event"] for trial in trials] == ["trial_finished"] * 2
    assert trials[0] | {"started_at": 0, "duration_s": 0} == {
        "event": "trial_finished",
        "study": "train-1",
        "number": 0,
        "state": "completed",
        "cause": None,
        "config": {"lr": 0.1},
        "values": {"val_acc": 0.3, "loss": pytest.approx(1 / 3)},
        "attempts": 1,
        "started_at": 0,
        "duration_s": 0,
    }
    assert last["event"] == "study_finished"
    assert last["study"] == "train-1"
    assert last["best"]["number"] == 1
    assert last["best"]["command"] == f"{sys.executable} train.py --lr 0.2"
    assert last["reason"] == "done"
    assert last["resume"] is None


def test_quiet_shows_only_the_end(here: Path) -> None:
    said = call("run", "--quiet", "--maximize", "val_acc", "train.py", "--lr", "[0.1, 0.2]")
    assert said.out.startswith("train-1: 2 trials: 2 completed")
    assert said.err == ""


def test_without_an_objective_nothing_is_best(here: Path) -> None:
    said = call("run", "train.py", "--lr", "[0.1, 0.2]")
    assert "best" not in said.out.replace("is the best one", "")
    assert "--objective NAME:min" in said.out
    assert "val_acc=0.3" in said.out


def test_several_objectives_and_constraints(here: Path) -> None:
    said = call("run", "--objective", "val_acc:max", "--objective", "loss", "train.py", "--lr", "[0.1, 0.2]")
    assert "several objectives (val_acc, loss)" in said.out
    assert "loss is made small" in said.err
    said = call("run", "--maximize", "val_acc", "--constraint", "val_acc <= 0.4", "train.py", "--lr", "[0.1, 0.2]")
    assert "best: train-2/0" in said.out
    said = call("run", "--maximize", "val_acc", "--constraint", "val_acc <= 0", "train.py", "--lr", "[0.1, 0.2]")
    assert "no completed trial meets the constraints" in said.out


def test_repeats_are_ranked_by_their_mean(here: Path) -> None:
    (here / "noisy.py").write_text(
        "import os, sys\nprint('loss:', float(sys.argv[1]) + int(os.environ['WHET_TRIAL']) % 2)\n"
    )
    said = call("run", "--repeats", 2, "--minimize", "loss", "noisy.py", "[3, 1, 2]")
    assert "best: noisy-1/2  mean loss=1.5  arg1=1" in said.out
    assert "3 trials × 2 repeats" in said.err


# ---- names
def test_names_count_up_and_taken_ones_are_refused(here: Path) -> None:
    for n in (1, 2):
        assert f"train-{n}: 1 trial" in call("run", "train.py").out
    call("run", "--name", "train-7", "train.py")
    assert "train-8: 1 trial" in call("run", "train.py").out
    said = call("run", "--name", "train-7", "train.py", expect=2)
    assert "whet resume train-7" in said.err
    for name in ("", " ", "a\nb", "x" * 300):
        assert "--name" in call("run", "--name", name, "train.py", expect=2).err


def test_a_store_of_ones_own(here: Path) -> None:
    said = call("run", "--store", "sub/my.db", "--trials", 1, "train.py", "--lr", "[1, 2]")
    assert (here / "sub/my.db.whet/train-1/0/stdout.log").exists()
    assert not (here / ".whet").exists()
    assert said.err.count("--store sub/my.db") == 1


# ---- settings of a study
def test_what_was_asked_is_stored(here: Path) -> None:
    options = ["--seed", 4, "--chdir", "--retries", "timeout=2", "--take", "best", "--zip", "lr,layers"]
    options += ["--trial-timeout", "10m", "--memory", "4G", "--cpus", 2, "--max-failures", 9, "--timeout", "1h"]
    call("run", "--name", "s", *options, "train.py", "--lr", "[1, 2]", "--layers", "[3, 4]")
    settings = load("s").ledger.history.settings
    run = ScriptRun.from_settings(settings)
    assert (run.program.kind, run.program.target, run.cwd, run.seed) == ("script", "train.py", str(here), 4)
    assert run.arguments == ("--lr", "[1, 2]", "--layers", "[3, 4]")
    assert (run.chdir, run.zips, run.trial_timeout_s, run.memory_bytes, run.cpus) == (True, ("lr,layers",), 600, 4e9, 2)
    assert settings["limits"] == {"n_trials": 2, "timeout_s": 3600, "target": None, "max_failures": 9}
    assert settings["rules"]["retries"] == {"timeout": 2}
    assert run.surroundings.python == ".".join(map(str, sys.version_info[:3]))
    assert run.surroundings.files.keys() == {"train.py"}
    assert "numpy" in run.surroundings.packages
    assert not any("PATH" in json.dumps(value) for value in run.to_settings().values())


def test_a_config_is_stored_before_its_trial_starts(here: Path) -> None:
    (here / "look.py").write_text(
        "import json, sqlite3, sys\n"
        "store = sqlite3.connect('file:.whet/whet.db?mode=ro', uri=True)\n"
        "configs = [json.loads(row[0]) for row in store.execute('select config from trial') if row[0]]\n"
        "print('loss:', configs.index({'x': int(sys.argv[2])}))\n"
    )
    call("run", "--name", "s", "--minimize", "loss", "look.py", "--x", "[5, 6, 7]")
    assert [trial.values["loss"] for trial in load("s").trials] == [0, 1, 2]


# ---- failures
def test_a_failing_trial_shows_its_last_lines_and_the_run_goes_on(here: Path) -> None:
    (here / "some.py").write_text(
        "import sys\nprint('loss: 1')\nif sys.argv[1] in '24': sys.exit('it broke at ' + sys.argv[1])\n"
    )
    said = call("run", "--minimize", "loss", "some.py", "[1, 2, 3, 4]", expect=1)
    assert "some-1/1  failed: exit code 1  loss=1  arg1=2" in said.out
    assert said.err.count("it broke at 2") == 1
    assert "it broke at 4" not in said.err
    assert "4 trials: 2 completed, 2 failed" in said.out
    assert "failed: 2 × exit code" in said.out
    assert str(here / ".whet/some-1/1") in said.err


def test_retries(here: Path) -> None:
    (here / "flaky.py").write_text("import os, sys\nprint('loss: 1')\nsys.exit(os.environ['WHET_ATTEMPT'] == '1')\n")
    said = call("run", "--retries", 1, "--minimize", "loss", "flaky.py", "[1, 2]")
    assert said.out.count("it will run again") == 2
    assert "2 completed" in said.out
    assert {trial.attempt for trial in load("flaky-1").trials} == {2}


def test_limits_of_a_trial(here: Path) -> None:
    (here / "hang.py").write_text("import time\nprint('loss: 1', flush=True)\ntime.sleep(60)\n")
    said = call("run", "--trial-timeout", "0.5s", "--grace", "1", "--minimize", "loss", "hang.py", expect=3)
    assert "failed: ran out of time" in said.out
    (here / "fat.py").write_text("import time\nx = bytearray(400_000_000)\ntime.sleep(60)\n")
    said = call("run", "--memory", "150M", "fat.py", expect=3)
    assert "failed: ran out of memory" in said.out


def test_a_run_that_is_out_of_time_can_be_resumed(here: Path) -> None:
    (here / "nap.py").write_text("import time\ntime.sleep(30)\n")
    said = call("run", "--timeout", "1s", "--grace", "1", "--name", "s", "nap.py", expect=3)
    assert "the time is up" in said.out
    assert "whet resume s" in said.out
    assert load("s").trials[0].state is State.WAITING


def test_a_target_ends_the_run(here: Path) -> None:
    said = call("run", "--target", 0.5, "--maximize", "val_acc", "train.py", "--lr", "[0.1, 0.2, 0.3, 0.4]")
    assert "the target is reached" in said.out
    assert "2 completed" in said.out


# ---- options that come from a file
def test_a_run_from_a_file(here: Path) -> None:
    (here / "sweep.yaml").write_text(
        "script: train.py\nargs:\n  lr: [0.1, 0.20]\n  layers: range(1, 3)\nobjective: val_acc:max\nname: filed\n"
    )
    said = call("run", "--config", "sweep.yaml")
    assert "filed: 4 trials: 4 completed" in said.out
    assert "train.py --lr 0.20 --layers 2" in said.out


def test_notices_are_given_once(here: Path) -> None:
    arguments = ["train.py", "--lr", "uniform(1e-5, 1e-1, 3)", "--layers", "[1, 2, 2]", "--trials", "5"]
    said = call("run", "--dry-run", *arguments)
    assert len(re.findall("loguniform", said.err)) == 1
    assert len(re.findall("twice", said.err)) == 1
    assert "--trials goes to train.py" in said.err


def test_an_error_names_the_option_that_would_mend_it_where_the_script_has_got_that(here: Path) -> None:
    said = call("run", "train.py", "--lr", "uniform(0, 1)", "--trials", "5", expect=2).err.splitlines()
    assert "say when to end with --trials N" in said[0]
    assert said[1:] == ["--trials goes to train.py; put it before the script for whet: whet run --trials ... train.py"]


def test_a_constraint_whose_metric_never_appears_is_said(here: Path) -> None:
    (here / "some.py").write_text("print('loss: 1')\nprint('size: 5')\n")
    said = call("run", "--minimize", "loss", "--constraint", "lat<=1", "some.py", "[1, 2]")
    assert "no completed trial meets the constraints" in said.out
    assert "the metric of a constraint, lat, never appeared; metrics seen: loss, size" in said.out
    said = call("run", "--minimize", "loss", "--constraint", "size<=1", "some.py", "[1, 2]")
    assert "no completed trial meets the constraints" in said.out
    assert "never appeared" not in said.out
