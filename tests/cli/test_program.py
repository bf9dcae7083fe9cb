"""What a trial starts: Python files, modules, executables, and everything that is none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from whet.cli.program import Program, misplaced_options, read_program
from whet.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str = "", mode: int = 0o644) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def output(argv: list[str]) -> str:
    return subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


def test_a_python_file_is_run_by_the_interpreter(folder):
    write("train.py", "import sys; print(*sys.argv)", 0o755)
    program, rest = read_program(["train.py", "--lr", "1"])
    assert (program, rest) == (Program("script", "train.py"), ["--lr", "1"])
    assert program.name == "train"
    assert program.argv("py") == ["py", "train.py"]
    assert program.argv("py", base=folder) == ["py", str(folder / "train.py")]
    assert output([*program.argv(sys.executable), *rest]) == "train.py --lr 1"


def test_a_python_file_without_a_suffix_says_so_in_its_first_line():
    write("train", "#!/usr/bin/env python3\nprint(1)")
    assert read_program(["train"])[0] == Program("script", "train")
    write("train", "#!/usr/bin/env python3\nprint(1)", 0o755)
    assert read_program(["./train"])[0] == Program("executable", "./train")


def test_a_script_whose_name_begins_with_a_dash():
    write("-x.py", "print('ran')")
    assert output(read_program(["-x.py"])[0].argv(sys.executable)) == "ran"


def test_a_module():
    write("pkg/train.py", "import sys; print(*sys.argv[1:])")
    program, rest = read_program(["-m", "pkg.train", "lr=1"])
    assert (program, rest) == (Program("module", "pkg.train"), ["lr=1"])
    assert program.name == "train"
    assert program.argv("py", base=Path("/elsewhere")) == ["py", "-m", "pkg.train"]
    assert output([*program.argv(sys.executable), *rest]) == "lr=1"


@pytest.mark.parametrize("tokens", [["train.sh"], ["./train.sh"], ["--", "./train.sh"]])
def test_an_executable_of_this_directory_is_not_looked_for_on_path(tokens, folder):
    write("train.sh", '#!/bin/sh\necho "$@"', 0o755)
    program, rest = read_program([*tokens, "--batch", "1"])
    assert program.kind == "executable"
    assert program.name == "train"
    assert program.argv("py") == ["./train.sh"]
    assert Path(program.argv("py", base=folder)[0]) == folder / "train.sh"
    assert output([*program.argv("py"), *rest]) == "--batch 1"


def test_a_program_on_path(monkeypatch, folder):
    write("bin/trainer", "#!/bin/sh\necho on path", 0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    program, rest = read_program(["trainer", "-x"])
    assert (program, rest) == (Program("executable", str(folder / "bin/trainer")), ["-x"])
    write("trainer/data.csv")  # a directory of that name does not hide it
    assert read_program(["trainer"])[0] == program


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "no program: expected SCRIPT"),
        (["--"], "no program: expected SCRIPT"),
        ([""], "is no program"),
        (["a\0b"], "is no program"),
        (["-m"], "-m: expected the name of a module"),
        (["-m", "--lr"], "-m: expected the name of a module"),
        (["-m", ""], "-m: expected the name of a module"),
        (["trian.py"], r"trian\.py does not exist here or on PATH: did you mean train\.py\?"),
        (["sub/model.py"], r"sub/model\.py does not exist: did you mean sub/models\.py\?"),
        (["nowhere/train.py"], "there is no directory nowhere"),
        (["no-such-program-7"], "expected a Python file, -m MODULE or an executable"),
        (["--lr"], "whet's options come before SCRIPT"),
        (["sub"], r"sub is a directory: expected the program in it, as in sub/train\.py"),
        (["sub/"], "is a directory"),
        (["data.csv"], r"neither a Python file nor executable: make it executable with `chmod \+x data\.csv`"),
        (["x" * 5000], "cannot be looked at: File name too long"),
    ],
)
def test_what_cannot_be_run_is_an_error_with_the_remedy(tokens, message):
    write("train.py")
    write("data.csv")
    write("sub/models.py")
    with pytest.raises(UsageError, match=message):
        read_program(tokens)


@pytest.mark.skipif(os.geteuid() == 0, reason="needs not to be root: root may read everything")
def test_a_file_or_folder_that_may_not_be_read():
    write("secret.py", mode=0o000)
    write("closed/train.py")
    with pytest.raises(UsageError, match=r"secret\.py cannot be read.*chmod \+r"):
        read_program(["secret.py"])
    Path("closed").chmod(0o000)
    try:
        with pytest.raises(UsageError, match=r"closed/train\.py cannot be looked at: Permission denied"):
            read_program(["closed/train.py"])
    finally:
        Path("closed").chmod(0o755)


@pytest.mark.parametrize("program", [["sub/train.py"], ["--", "sub/train.py"], ["-m", "train.py"]])
def test_an_option_of_whet_behind_the_script_is_noticed_once(program):
    options = {"--trials", "--seed", "--strategy", "-h"}
    tokens = [*program, "--lr", "1", "--trials", "3", "--seed=4", "--trials=5", "seed=1", "--", "--strategy"]
    assert misplaced_options(tokens, options) == [
        "--trials goes to train.py; put it before the script for whet: whet run --trials ... train.py",
        "--seed goes to train.py; put it before the script for whet: whet run --seed ... train.py",
    ]
    assert misplaced_options(program, options) == []
    assert misplaced_options([], options) == []
