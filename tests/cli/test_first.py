"""`whet run --first`: configs that are tried before any other, and the defaults of the program."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.studies import call
from whet.cli import scripthelp
from whet.cli.scripthelp import defaults_in, help_text
from whet.errors import UsageError
from whet.study import load

TRAIN = """\
import argparse
parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--lr", type=float, default=0.003, help="rate (default: a good one)")
parser.add_argument("--layers", type=int, default=2, help="how many")
parser.add_argument("--opt", default="sgd", help="optimiser")
parser.add_argument("--fast", action="store_true", help="no care")
parser.add_argument("--momentum", type=float, default=0.9, help="of sgd")
parser.add_argument("--silent", type=float, default=1.5)
args = parser.parse_args()
print("loss:", args.lr * args.layers)
"""
SWEPT = ("train.py", "--lr", "loguniform(1e-4, 1e-1)", "--layers", "int(1, 5)", "--opt", "[adam, sgd]")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with train.py in it, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


def _configs(*arguments: object, trials: int = 6) -> list[dict[str, Any]]:
    said = call("run", "--dry-run", "--json", "--seed", 1, "--trials", trials, *arguments)
    return [record["config"] for record in said.objects]


# ---- what it may be
def test_what_is_left_out_is_in_the_middle() -> None:
    configs = _configs("--first", "lr=1e-2", "--first", "layers=5,opt=sgd", *SWEPT)
    assert configs[0] == {"lr": 1e-2, "layers": 3, "opt": "adam"}
    assert configs[1] == {"lr": pytest.approx(10**-2.5), "layers": 5, "opt": "sgd"}
    assert len(configs) == 6


@pytest.mark.parametrize(
    "text",
    ["lr=0.01, opt='sgd'", '{"lr": 0.01, "opt": "sgd"}', "@one.yaml", "@one.json"],
)
def test_forms_of_the_same(here: Path, text: str) -> None:
    (here / "one.yaml").write_text("lr: 1e-2\nopt: sgd\n")
    (here / "one.json").write_text('{"lr": 0.01, "opt": "sgd"}')
    assert _configs("--first", text, *SWEPT)[0] == {"lr": 0.01, "layers": 3, "opt": "sgd"}


def test_a_file_with_several(here: Path) -> None:
    (here / "some.yaml").write_text("- {lr: 1e-2}\n- {lr: 1e-3, opt: sgd}\n")
    assert [config["lr"] for config in _configs("--first", "@some.yaml", *SWEPT)[:2]] == [0.01, 0.001]


def test_an_option_file_may_hold_them(here: Path) -> None:
    (here / "sweep.yaml").write_text(
        "script: train.py\nargs: {lr: 'loguniform(1e-4, 1e-1)', opt: [adam, sgd]}\ntrials: 3\n"
        "first:\n  - {lr: 1e-2, opt: sgd}\n  - lr=1e-3\n"
    )
    said = call("run", "--dry-run", "--json", "--config", "sweep.yaml")
    assert [record["config"] for record in said.objects[:2]] == [
        {"lr": 0.01, "opt": "sgd"},
        {"lr": 0.001, "opt": "adam"},
    ]


def test_the_spelling_of_a_value_is_the_users() -> None:
    swept = ("train.py", "--lr", "[1e-3, 0.10]", "--fast", "toggle()", "--opt", "['007', 'True', None]")
    said = call("run", "--dry-run", "--first", "lr=0.1,fast=true,opt=007", *swept)
    assert said.out.splitlines()[0].endswith("train.py --lr 0.10 --fast --opt 007")
    assert call("run", "--dry-run", "--first", "opt=None", *swept).out.splitlines()[0].endswith("--lr 0.10 --fast")
    assert call("run", "--dry-run", "--first", "opt=True", *swept).out.splitlines()[0].endswith("--fast --opt True")


def test_dashes_and_underscores_are_the_same(here: Path) -> None:
    (here / "train.py").write_text("")
    assert _configs("--first", "batch_size=2", "train.py", "--batch-size", "int(1, 9)")[0] == {"batch-size": 2}


def test_the_same_config_is_tried_once() -> None:
    said = call("run", "--dry-run", "--trials", 2, "--first", "lr=0.01", "--first", "lr=1e-2, layers=3", *SWEPT)
    assert sum("--lr 0.01 " in line for line in said.out.splitlines()) == 1
    assert "the same config is there already" in said.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lrr=1", "there is no parameter 'lrr'; did you mean 'lr'"),
        ("lr=7", r"--first lr=7: lr: expected a value of loguniform\(0.0001, 0.1\), came 7"),
        ("lr=x", "lr: expected a value of loguniform"),
        ("lr", "expected NAME=VALUE"),
        ("", "got nothing"),
        ("lr=1e-2,lr=1e-3", "--first .*: lr is given twice"),
        ("lr=1e-3 layers=2", "a comma goes between two of them, as in --first lr=1e-3,layers=2"),
        ("lr=", "--first .*: lr has no value behind its equals sign, as in --first"),
        ("layers=2,lr= ", "lr has no value behind its equals sign"),
        ("default", "did you mean --first defaults"),
        ('{"lr": 1e-3', "this is no JSON"),
        ('[{"lr": 1e-3}]', "expected one config; say --first for each"),
        ("{", "this is no JSON"),
        ("{}3", "this is no JSON"),
        ("@", "the file cannot be read"),
        ("@gone.yaml", r"@gone.yaml: the file cannot be read \(No such file"),
        ("@bad.yaml", "this is no YAML"),
        ("@binary.yaml", "this is no YAML"),
        ("@empty.yaml", "the file is empty"),
        ("@list.yaml", 'expected names and values, got "3"'),
        ("@odd.yaml", "there is no parameter '3'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(here: Path, text: str, said: str) -> None:
    (here / "bad.yaml").write_text("{")
    (here / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (here / "empty.yaml").write_text("")
    (here / "list.yaml").write_text("[3]")
    (here / "odd.yaml").write_text("3: 4")
    with pytest.raises(AssertionError, match=said):
        call("run", "--trials", 3, "--first", text, *SWEPT)
    assert call("run", "--trials", 3, "--first", text, *SWEPT, expect=2)
    assert not (here / ".whet").exists()


def test_it_needs_something_that_varies_and_room() -> None:
    assert "no value varies" in call("run", "--first", "lr=1", "train.py", "--lr", "1", expect=2).err
    err = call("run", "--trials", 1, "--first", "lr=0.01", "--first", "lr=0.02", *SWEPT, expect=2).err
    assert "--first gives 2 configs, and --trials 1 is less" in err


# ---- they run first, and once
@pytest.mark.parametrize("strategy", ["grid", "random", "quasi_random", "tpe", "auto"])
def test_a_finite_space_is_run_once_each(strategy: str) -> None:
    call(
        *("run", "--quiet", "--objective", "loss:min", "--strategy", strategy, "--first", "lr=3,layers=2"),
        *("train.py", "--lr", "[1, 2, 3]", "--layers", "[1, 2]"),
    )
    trials = load("train-1", ".whet/whet.db").trials
    assert trials[0].config == {"lr": 3, "layers": 2}
    assert trials[0].given == "enqueued"
    assert len({json.dumps(trial.config) for trial in trials}) == len(trials) == 6


def test_a_run_that_was_killed_before_they_were_written_has_them_when_resumed() -> None:
    call("run", "--quiet", "--trials", 2, "--name", "a", "--first", "lr=0.01", *SWEPT)
    study = load("a", ".whet/whet.db")
    settings = dict(study.ledger.history.settings)
    study.ledger.store.delete(study.ledger.study)
    study.ledger.store.create("a", settings)
    call("resume", "--quiet", "a")
    assert [(trial.config or {})["lr"] for trial in load("a", ".whet/whet.db").trials].count(0.01) == 1
    assert load("a", ".whet/whet.db").trials[0].given == "enqueued"


def test_repeats_of_a_first_config_share_it() -> None:
    said = call("run", "--dry-run", "--json", "--trials", 2, "--repeats", 2, "--first", "lr=0.01", *SWEPT)
    assert [record["number"] for record in said.objects] == [0, 1, 2, 3]
    assert [record["config"]["lr"] == 0.01 for record in said.objects] == [True, True, False, False]


# ---- the defaults of the program
def test_the_defaults_of_the_program_come_first() -> None:
    call("run", "--quiet", "--trials", 2, "--first", "defaults", *SWEPT, "--fast", "toggle()")
    assert load("train-1", ".whet/whet.db").trials[0].config == {"lr": 0.003, "layers": 2, "opt": "sgd", "fast": False}


def test_other_configs_are_filled_with_them() -> None:
    configs = _configs("--first", "opt=adam", "--first", "defaults", *SWEPT)
    assert configs[:2] == [{"lr": 0.003, "layers": 2, "opt": "adam"}, {"lr": 0.003, "layers": 2, "opt": "sgd"}]


def test_a_parameter_that_is_not_there_needs_no_default() -> None:
    options = ("--first", "defaults", "--when", "silent: opt == 'adam'", *SWEPT, "--silent", "uniform(1, 2)")
    assert _configs(*options)[0] == {"lr": 0.003, "layers": 2, "opt": "sgd"}


def test_parameters_without_a_default_are_listed() -> None:
    err = call("run", "--trials", 2, "--first", "defaults", *SWEPT, "--silent", "[1, 2]", "x=[1, 2]", expect=2).err
    assert "train.py --help names no default of silent, x" in err
    assert "give them yourself: --first silent=…,x=…" in err


def test_a_parameter_that_is_there_under_its_condition_needs_a_default() -> None:
    options = ("--first", "defaults", "--when", "depth: opt == 'sgd'", *SWEPT, "--depth", "int(1, 2)")
    err = call("run", "--trials", 2, *options, expect=2).err
    assert "train.py --help names no default of depth (expected" in err
    assert "give them yourself: --first depth=…" in err


def test_a_default_that_is_not_swept_is_refused() -> None:
    err = call("run", "--trials", 2, "--first", "defaults", "train.py", "--lr", "uniform(1, 2)", expect=2).err
    assert "lr: expected a value of uniform(1.0, 2.0), came 0.003; let what varies include it" in err


def test_a_program_that_fails_or_knows_no_help(here: Path) -> None:
    (here / "broken.py").write_text("import sys\nsys.exit('no data')")
    err = call("run", "--trials", 2, "--first", "defaults", "broken.py", "--lr", "uniform(1, 2)", expect=2).err
    assert "broken.py --help ended with exit code 1: no data; give them yourself" in err


def test_the_help_of_a_subcommand(here: Path) -> None:
    (here / "fit.py").write_text(
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "fit = parser.add_subparsers().add_parser('fit', formatter_class=argparse.ArgumentDefaultsHelpFormatter)\n"
        "fit.add_argument('--lr', default=0.25, type=float, help='rate')\n"
        "parser.parse_args()\n"
    )
    assert _configs("--first", "defaults", "fit.py", "fit", "--lr", "uniform(0, 1)")[0] == {"lr": 0.25}


ARGPARSE = """\
usage: x.py [-h] [--lr LR]

Train (default: things)

options:
  -h, --help            show this help message and exit
  -l LR, --lr LR        learning rate (default: unknown) (default: 0.001)
  --layers {1,2,3}      number
                        of layers (default:
                        2)
  --dims DIMS           (default: [64, 64])
  --name NAME           the name (default: 'a b')
  --open OPEN           never closed (default: 1

other:
  not a flag (default: 4)
"""
CLICK = """\
Usage: t.py [OPTIONS]

Options:
  --lr FLOAT           Rate.  [default: 0.1; x>=0]
  -n, --n-layers INTEGER RANGE
                       N  [env var: N; default: 3; 1<=x<=5]
  --flag / --no-flag   [default: no-flag]
  --help               Show this message and exit.
"""
RICH = """\
╭─ Options ─────────────────────────────────────────────╮
│ --lr             FLOAT  Learning rate [default: 0.01] │
│ --opt            TEXT   opt                           │
│                         [default: adam]               │
╰───────────────────────────────────────────────────────╯
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ARGPARSE, {"-l": "0.001", "--lr": "0.001", "--layers": "2", "--dims": "[64, 64]", "--name": "a b"}),
        (CLICK, {"--lr": "0.1", "-n": "3", "--n-layers": "3", "--flag": "no-flag", "--no-flag": "no-flag"}),
        (RICH, {"--lr": "0.01", "--opt": "adam"}),
        ("", {}),
        ("--", {}),
        ("--x (default: )", {}),
        ("--x " + "(" * 10_000 + "default: 1", {}),
    ],
)
def test_defaults_are_found_in_a_help_text(text: str, found: dict[str, str]) -> None:
    assert defaults_in(text) == found


def test_a_help_that_does_not_end_is_ended(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripthelp, "_PATIENCE_S", 5.0)
    codes = [
        "import time; time.sleep(100)",
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])",
        "import os, time; os.close(1); os.close(2); time.sleep(100)",
        "while True: print('x' * 100_000)",
    ]
    folders = [here / str(n) for n in range(len(codes))]

    def wait(folder: Path, code: str) -> str:
        folder.mkdir()
        argv = [sys.executable, "-c", f"import os; open('group', 'w').write(str(os.getpgid(0)))\n{code}"]
        with pytest.raises(UsageError) as refused:
            help_text(argv, folder)
        return str(refused.value)

    with ThreadPoolExecutor(len(codes)) as beside:  # the patience is waited for once
        for said in beside.map(wait, folders, codes):
            assert "did not end within 5 s" in said
    groups = {int((folder / "group").read_text()) for folder in folders}
    assert len(groups) == len(codes)
    left = [process for process in psutil.process_iter() if _group_of(process) in groups]
    assert not psutil.wait_procs(left, timeout=10)[1]


def _group_of(process: psutil.Process) -> int | None:
    """Return the process group of what still runs."""
    with suppress(psutil.Error, OSError):
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getpgid(process.pid)
    return None


def test_a_help_that_is_no_text(here: Path) -> None:
    code = "import sys; sys.stdout.buffer.write(b'--x X  \\xff (default: 3)\\x1b[31m')"
    assert defaults_in(help_text([sys.executable, "-c", code], here)) == {"--x": "3"}


def test_a_program_that_cannot_be_started(here: Path) -> None:
    with pytest.raises(UsageError, match="cannot be started"):
        help_text(["./gone"], here)
