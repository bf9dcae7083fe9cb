"""Bad input and bad luck: one clear message, the right exit code, no traceback, nothing lost (F6, F7, F18)."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.studies import call
from tests.conftest import Whet
from tests.faults import disks
from whet import run as run_module
from whet.core.trial import State
from whet.study import load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import sys\nprint('loss:', float(sys.argv[-1]))\n")
    return tmp_path


# ---- what was typed
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], ["no program", "whet run train.py"]),
        (["missing.py"], ["missing.py does not exist"]),
        (["trian.py"], ["did you mean train.py"]),
        (["sub/train.py"], ["there is no directory sub"]),
        (["."], ["is a directory"]),
        (["./plain.txt"], ["chmod +x ./plain.txt"]),
        (["-m"], ["-m: expected the name of a module"]),
        (["--frobnicate", "train.py"], ["--frobnicate is no option", "whet run train.py --frobnicate"]),
        (["--trials"], ["--trials", "requires an argument"]),
        (["--trials", "0", "train.py"], ["--trials", "expected a whole number of trials"]),
        (["--trials", "+3", "train.py"], ["whet resume"]),
        (["--workers", "-1", "train.py"], ["--workers", "range"]),
        (["--timeout", "soon", "train.py"], ["--timeout", "10m"]),
        (["--memory", "lots", "train.py"], ["--memory", "4GiB"]),
        (["--retries", "oom=2", "train.py"], ["--retries", "'oom' is no cause"]),
        (["--objective", "loss:up", "train.py"], ["'loss:up'", "NAME:min"]),
        (["--objective", ":min", "train.py"], ["needs the name of a metric"]),
        (["--objective", "a:min", "--minimize", "a", "train.py"], ["'a' is given twice"]),
        (["--constraint", "loss < 3", "train.py"], ["NAME<=NUMBER"]),
        (["--take", "median", "train.py"], ["mean:N"]),
        (["--inf", "ignore", "train.py"], ["--inf", "worst"]),
        (["--metric-pattern", "(", "train.py"], ["--metric-pattern '('"]),
        (["--target", "3", "train.py"], ["--target needs an objective"]),
        (["--target", "nan", "--objective", "a:min", "train.py"], ["target must be a finite number"]),
        (["--strategy", "gird", "train.py"], ["did you mean grid"]),
        (["--strategy", "tpe", "train.py"], ["needs an objective"]),
        (["--strategy", "nsga2", "train.py"], ["not available in this version"]),
        (["--scheduler", "asha", "train.py"], ["asha needs a fidelity"]),
        (["--scheduler", "pbt", "train.py"], ["not available in this version"]),
        (["--config", "none.yaml"], ["none.yaml", "cannot be read"]),
        (["--literal", "lr", "train.py"], ["--literal lr", "no such argument"]),
        (["train.py", "--x", "uniform(1,"], ["--x", "column 8", "never closed"]),
        (["train.py", "--x", "(3, 3)"], ["--x", "range is empty", "lit:"]),
        (["train.py", "--x", "[]"], ["--x", "at least one value"]),
        (["train.py", "--x", "loguniform(0, 1, 3)"], ["--x", "low"]),
        (["train.py", "--x", "uniform(0, 1)"], ["no end of", "--trials N"]),
        (["--strategy", "grid", "train.py", "--x", "uniform(0, 1)"], ["--x", "has no size"]),
        (["train.py", "--x", "range(2000)"], ["2,000", "--max-trials", "--yes"]),
        (["--zip", "x,y", "train.py", "--x", "[1, 2]", "--y", "[1, 2, 3]"], ["zip"]),
        (["--when", "y: z == 1", "train.py", "--x", "[1, 2]"], ["--when", "y"]),
        (["--forbid", "x >", "train.py", "--x", "[1, 2]"], ["x >"]),
        (["--forbid", "x > 0", "train.py", "--x", "[1, 2]"], ["all 2 combinations are excluded"]),
        (["--gpus", "1.5", "train.py"], ["a part of one"]),
        (["--gpus", "2", "train.py"], ["none visible", "CUDA_VISIBLE_DEVICES"]),
        (["--python", "./plain.txt", "train.py"], ["not executable"]),
        (["--store", "", "train.py"], ["a store is a file"]),
        (["--store", "mysql://x/y", "train.py"], ["mysql://"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_refused_before_anything_is_stored(
    arguments: list[str], said: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "plain.txt").write_text("text")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shown = call("run", *arguments, expect=2)
    assert shown.out == ""
    for words in said:
        assert words in shown.err
    assert len(shown.err.splitlines()) <= 2
    assert not (here / ".whet").exists()


def test_messages_show_odd_names_without_obeying_them(here: Path) -> None:
    for name in ("a\x1b]0;owned\x07.py", "a\x9b2J", "a\rb", "\udcff.py"):
        shown = call("run", name, expect=2)
        assert not {"\x1b", "\x07", "\x9b", "\r"} & set(shown.err)


# ---- what the program does
def test_a_script_that_crashes_at_import_ends_after_three_trials(here: Path) -> None:
    (here / "crash.py").write_text("import no_such_module\n")
    shown = call("run", "--minimize", "loss", "crash.py", "--x", "range(100)", expect=3)
    assert load("crash-1").ledger.history.counts()[State.FAILED] == 3
    assert shown.err.count("ModuleNotFoundError: No module named 'no_such_module'") == 1
    assert "it seems to be the program, not its arguments" in shown.out
    assert f"to see it for yourself: {sys.executable} crash.py --x 0" in shown.out
    assert "whet resume crash-1" in shown.out
    quiet = call("run", "--quiet", "--max-failures", 5, "crash.py", "--x", "range(100)", expect=3)
    assert load("crash-2").ledger.history.counts()[State.FAILED] == 5
    assert quiet.out.count("No module named 'no_such_module'") == 1
    assert "--max-failures 5" in quiet.out
    assert quiet.err == ""


def test_an_objective_that_is_never_printed(here: Path) -> None:
    (here / "other.py").write_text("print('accuracy: 0.5 val_los: 3')\n")
    shown = call("run", "--minimize", "val_loss", "other.py", "--x", "range(9)", expect=3)
    assert "the objective 'val_loss' never appeared; metrics seen: accuracy, val_los" in shown.err
    assert "none of the first trials printed the objective val_loss" in shown.out
    (here / "silent.py").write_text("")
    shown = call("run", "--minimize", "val_loss", "silent.py", expect=3)
    assert "no metric was seen at all" in shown.err


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "-1e999", "NaN"])
def test_values_that_are_not_finite(text: str, here: Path) -> None:
    (here / "odd.py").write_text(f"import sys\nprint('loss: {text}' if sys.argv[1] == '2' else 'loss: 1')\n")
    shown = call("run", "--minimize", "loss", "odd.py", "[1, 2, 3]", expect=1)
    assert "failed: objective not finite" in shown.out
    assert "--inf worst" in shown.err
    shown = call("run", "--json", "--minimize", "loss", "--inf", "worst", "odd.py", "[1, 2, 3]")
    assert [r["values"]["loss"] for r in shown.objects[:-1]] == [1, "inf", 1]


def test_huge_and_tiny_values(here: Path) -> None:
    (here / "odd.py").write_text("import sys\nprint('loss:', sys.argv[1])\n")
    values = ["1e308", "-1.7976931348623157e308", "5e-324", "123456789012345678901234567890"]
    shown = call("run", "--json", "--minimize", "loss", "odd.py", f"[{', '.join(values)}]")
    assert [record["values"]["loss"] for record in shown.objects[:-1]] == [float(value) for value in values]
    assert shown.objects[-1]["best"]["number"] == 1


def test_nothing_that_a_program_prints_reaches_the_terminal_raw(here: Path) -> None:
    (here / "rude.py").write_text(
        "import os\n"
        "os.write(1, b'\\x1b]0;owned\\x07\\x1b[2J\\xff\\xfe\\x00loss\\x9b: 1\\n')\n"
        "os.write(1, bytes(range(256)))\n"
        "os.write(2, b'bad \\x1b[31m\\x08\\x08line \\xe2\\x80\\xae\\n')\n"
        "raise SystemExit(1)\n"
    )
    shown = call("run", "rude.py", expect=3)
    for text in (shown.out, shown.err):
        assert not [char for char in text if (ord(char) < 32 and char not in "\n\t") or 0x7F <= ord(char) < 0xA0]
        assert "\u202e" not in text
    assert "baline" in shown.err  # as a terminal would have shown it
    raw = (here / ".whet/rude-1/0/stderr.log").read_bytes()
    assert b"\x1b[31m\x08\x08" in raw


def test_hostile_values_stay_values(here: Path) -> None:
    (here / "echo.sh").write_text('#!/bin/sh\nprintf "%s" "$1" > "$WHET_TRIAL_DIR/got"\n')
    (here / "echo.sh").chmod(0o755)
    values = ["$(touch owned)", "`touch owned`", "; touch owned", "../../x", "a\nb", "é \U0001f600", "--trials"]
    quoted = ", ".join("'" + value.replace("\n", "\\n") + "'" for value in values)
    shown = call("run", "--name", "../../x; rm -rf .", "./echo.sh", f"[{quoted}]")
    (folder,) = [path for path in (here / ".whet").iterdir() if path.is_dir()]
    assert [(folder / str(n) / "got").read_text() for n in range(len(values))] == values
    assert not (here / "owned").exists()
    assert "\n[" in shown.out
    assert len([line for line in shown.out.splitlines() if line.startswith("[")]) == len(values)


# ---- the place where studies are kept
def test_a_folder_that_cannot_be_made(here: Path) -> None:
    (here / "file").write_text("")
    shown = call("run", "--store", "file/x.db", "train.py", "1", expect=1)
    assert "--store" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.skipif(os.geteuid() == 0, reason="needs not to be root: root may write everywhere")
def test_a_folder_that_cannot_be_written(here: Path) -> None:
    (here / ".whet").mkdir()
    (here / ".whet").chmod(stat.S_IRUSR | stat.S_IXUSR)
    shown = call("run", "train.py", "1", expect=1)
    assert ".whet" in shown.err
    (here / ".whet").chmod(stat.S_IRWXU)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + bytes(5000), b"x"])
def test_a_damaged_store_is_refused_and_left_as_it_is(content: bytes, here: Path) -> None:
    (here / ".whet").mkdir()
    (here / ".whet/whet.db").write_bytes(content)
    shown = call("run", "train.py", "1", expect=1)
    assert "whet.db" in shown.err
    assert "whet doctor" in shown.err or "--store" in shown.err
    assert (here / ".whet/whet.db").read_bytes() == content


def test_a_store_that_another_program_holds_for_a_while_is_waited_for(here: Path) -> None:
    call("run", "--name", "a", "train.py", "1")
    holder = sqlite3.connect(here / ".whet/whet.db", isolation_level=None, check_same_thread=False)
    holder.execute("begin immediate")
    timer = threading.Timer(1.0, holder.execute, ("rollback",))
    timer.start()
    shown = call("run", "--name", "b", "--minimize", "loss", "train.py", "[1, 2]")
    timer.join()
    holder.close()
    assert "2 completed" in shown.out


def test_a_store_that_is_deleted_while_it_is_used(whet: Whet, here: Path) -> None:
    (here / "slow.py").write_text("import time\nprint('loss: 1', flush=True)\ntime.sleep(1)\n")
    process = whet.start("run", "--name", "s", "--minimize", "loss", "slow.py", "--x", "range(50)")
    deadline = time.monotonic() + 30
    while not list(here.glob(".whet/s/*/stdout.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for file in here.glob(".whet/whet.db*"):
        file.unlink()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "deleted" in err
    assert "Traceback" not in err
    assert not whet.survivors(20)


def test_a_study_that_is_deleted_while_it_runs_in_another_process(whet: Whet, here: Path) -> None:
    call("run", "--name", "s", "train.py", "1")
    shown = call("resume", "gone", expect=2)
    assert "gone" in shown.err
    assert "Traceback" not in shown.err


@pytest.fixture
def small_disk(here: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with disks.small_disk(here / "small", "1m") as place:
        yield place
        os.chdir("/")


@pytest.mark.root
def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.chdir(small_disk)
    (small_disk / "fill.py").write_text(
        "import os, sys\n"
        "print('loss: 1', flush=True)\n"
        "if sys.argv[1] == '3' and not os.path.exists('ballast'):\n"
        "    with open('ballast', 'wb', buffering=0) as file:\n"
        "        try:\n"
        "            while True: file.write(bytes(4096))\n"
        "        except OSError: pass\n"
    )

    def free() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (small_disk / "ballast").exists():
            time.sleep(0.05)
        time.sleep(3)
        with suppress(FileNotFoundError):
            (small_disk / "ballast").unlink()

    thread = threading.Thread(target=free)
    thread.start()
    shown = call("run", "--name", "s", "--minimize", "loss", "fill.py", "range(8)", expect=None)
    thread.join()
    assert "Traceback" not in shown.err
    if shown.code != 0:
        call("resume", "s")
    assert "trying again" in shown.err or shown.code == 0
    assert [trial.state for trial in load("s").trials] == [State.COMPLETED] * 8


@pytest.mark.root
def test_a_disk_that_stays_full_is_an_error_and_the_study_can_be_resumed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_disk)
    monkeypatch.setattr(run_module, "_STORE_PATIENCE_S", 1.0)
    (small_disk / "fill.py").write_text(
        "import sys\n"
        "print('loss: 1', flush=True)\n"
        "if sys.argv[1] == '3':\n"
        "    with open('ballast', 'wb', buffering=0) as file:\n"
        "        try:\n"
        "            while True: file.write(bytes(4096))\n"
        "        except OSError: pass\n"
    )
    shown = call("run", "--name", "s", "--minimize", "loss", "fill.py", "range(400)", expect=1)
    assert "what is done is kept; to go on later: whet resume s" in shown.err
    assert "Traceback" not in shown.err
    (small_disk / "ballast").unlink()
    before = [trial.number for trial in load("s").trials if trial.state is State.COMPLETED]
    assert before[:3] == [0, 1, 2]
    (small_disk / "fill.py").write_text("print('loss: 1')\n")
    call("resume", "s", "--trials", 12)
    assert [trial.state for trial in load("s").trials] == [State.COMPLETED] * 12


@pytest.mark.root
def test_a_file_system_that_cannot_be_written(small_disk: Path, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    shown = call("run", "--store", small_disk / "x.db", "train.py", "1", expect=1)
    assert "x.db" in shown.err or str(small_disk) in shown.err
    assert "Traceback" not in shown.err
