"""Options, script and arguments from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whet.cli.runoptions import RunCommand
from whet.errors import UsageError


def _parsed(*args: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    command = RunCommand(name="run", callback=lambda **options: seen.update(options))
    command.main(args=list(args), standalone_mode=False)
    return seen


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "sweep.yaml"
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def test_a_whole_file(written) -> None:
    path = written(
        """\
        script: -m pkg.train
        args:
          lr: loguniform(1e-5, 1e-1)
          wd: 1e-5            # YAML reads no number here; the spelling is kept either way
          seed: 007
          layers: [1, 2, 0x10]
          opt: [sgd, 'a, b', "it's", -1]
          shape: [[64, 64], [128]]
          fixed: "lit:[1, 2]"
          verbose: true
          quiet: false
          fast:
          none: ~
          drop: [1, null]
          text: 'true'
          +trainer.gpus: 2
          -b: 3
          shift: -1
        objective: [val_acc:max, loss:min]
        trials: 20
        trial-timeout: 10m
        retries: {timeout: 1, memory: 0}
        chdir: true
        max_trials: 5
        """
    )
    seen = _parsed("--config", path)
    assert list(seen["tokens"]) == [
        *("-m", "pkg.train"),
        *("--lr", "loguniform(1e-5, 1e-1)"),
        *("--wd", "1e-5"),
        *("--seed", "007"),
        *("--layers", "[1, 2, 0x10]"),
        *("--opt", "[sgd, 'a, b', 'it\\'s', -1]"),
        *("--shape", "[[64, 64], [128]]"),
        *("--fixed", "lit:[1, 2]"),
        "--verbose",
        *("--drop", "[1, None]"),
        *("--text", "true"),
        "+trainer.gpus=2",
        *("-b", "3"),
        "--shift=-1",
    ]
    assert seen["objectives"] == ("val_acc:max", "loss:min")
    assert seen["trials"].n == 20
    assert seen["trial_timeout_s"] == 600
    assert seen["retries"] == {"timeout": 1, "memory": 0}
    assert seen["chdir"] is True
    assert seen["max_trials"] == 5
    assert seen["workers"] == 1


def test_what_is_typed_wins_over_the_file(written) -> None:
    path = written("trials: 20\nworkers: 4\nobjective: a:min\nargs: {lr: 1}\n")
    seen = _parsed("--trials", "3", "--config", path, "--objective", "b:max", "train.py", "--lr", "2")
    assert seen["trials"].n == 3
    assert seen["workers"] == 4
    assert seen["objectives"] == ("b:max",)
    assert list(seen["tokens"]) == ["train.py", "--lr", "1", "--lr", "2"]


def test_an_empty_file_says_nothing(written) -> None:
    assert list(_parsed("--config", written("# nothing\n"), "train.py")["tokens"]) == ["train.py"]
    assert list(_parsed("--config", written("args: {lr: 1}\n"))["tokens"]) == []


def test_a_list_of_arguments_is_taken_word_by_word(written) -> None:
    path = written('script: [./a b.sh]\nargs: ["--lr", "[1, 2]", -x]\n')
    assert list(_parsed("--config", path)["tokens"]) == ["./a b.sh", "--lr", "[1, 2]", "-x"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("trials: 20\nworkers: [1\n", "line 3", "no YAML"),
        ("trials: 20\n\ttabs: 1\n", "line 2", "no YAML"),
        ("trials: many\n", "line 1", "trials: 'many': expected a whole number of trials"),
        ("args:\n  x: !!python/object/apply:os.system [ls]\n", "line 2", "the tag !!python/object/apply:os.system"),
        ("script: [a.sh, ~]\n", "line 1", "script: expected a value"),
        ("seed: 1\n\nworkers: 0\n", "line 3", "workers: 0 is not in the range"),
        ("seed: 1\ntrails: 2\n", "line 2", "trails is no option of whet run; did you mean trials?"),
        ("learning_rate: 2\n", "line 1", "belongs under `args:`"),
        ("trials: 1\ntrials: 2\n", "line 2", "given twice"),
        ("chdir: maybe\n", "line 1", "expected true or false"),
        ("name: [a, b]\n", "line 1", "expected one value"),
        ("- 1\n", "line 1", "key: value"),
        ("args: 3\n", "line 1", "flag: value"),
        ("args:\n  lr: {a: 1}\n", "line 2", "expected a value or a list"),
        ("script: 'a\"b'\n", "line 1", "script"),
        ("script: ''\n", "line 1", "expected a program"),
        ("? [a]\n: 1\n", "line 1", "expected a name"),
        ("config: other.yaml\n", "line 1", "no option"),
        ("a: 1\n---\nb: 2\n", "line 2", "no YAML"),
        ("name: !!python/object/apply:os.system [ls]\n", "line 1", "the tag !!python"),
    ],
)
def test_what_is_malformed_names_the_line(text: str, line: str, said: str, written) -> None:
    path = written(text)
    with pytest.raises(UsageError) as caught:
        _parsed("--config", path, "train.py")
    assert f"{path}, {line}" in str(caught.value)
    assert said in str(caught.value)


def test_files_that_cannot_be_read(written, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        _parsed("--config", str(tmp_path / "none.yaml"), "train.py")
    with pytest.raises(UsageError, match="cannot be read"):
        _parsed("--config", str(tmp_path), "train.py")
    with pytest.raises(UsageError, match="not UTF-8"):
        _parsed("--config", written("name: é", "latin-1"), "train.py")
    with pytest.raises(UsageError, match="holds itself"):
        _parsed("--config", written("args: {x: &a [*a]}"), "train.py")
    assert _parsed("--config", written("\ufeffseed: 3"), "train.py")["seed"] == 3


def test_the_program_twice_is_refused(written) -> None:
    with pytest.raises(UsageError, match=r"named twice: train\.py in"):
        _parsed("--config", written("script: train.py"), "other.py")
