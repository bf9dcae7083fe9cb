"""Every command with ``--store postgresql://…``; and the password in it is neither shown nor kept."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import whet as whet_package
from tests.cli.studies import Called, begin, call
from tests.conftest import Whet
from tests.servers.postgres import Database

SCRIPT = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
lr = parser.parse_args().lr
for epoch in range(1, 5):
    print(f"epoch={epoch} loss={lr + 1 / epoch:.4f}", flush=True)
open(os.path.join(os.environ["WHET_TRIAL_DIR"], "model.txt"), "w").write(str(lr))
"""
RUN = ("--minimize", "loss", "train.py", "--lr")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


class Commands:
    """Runs commands on a store, and keeps all that they say."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.said: list[str] = []

    def __call__(self, command: str, *arguments: object, expect: int | None = 0) -> Called:
        called = call(command, "--store", self._database.url, *arguments, expect=expect)
        self.said += [called.out, called.err]
        return called


@pytest.fixture
def commands(postgres: Database, here: Path) -> Iterator[Commands]:
    """The command line in an empty directory; at the end nothing may have the password."""
    commands = Commands(postgres)
    yield commands
    password = postgres.server.password
    assert password not in "".join(commands.said)
    for path in here.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path
    rows = postgres.server.do(
        "SELECT query_to_xml('SELECT * FROM whet.event', true, false, '')", database=postgres.name
    )
    rows += postgres.server.do(
        "SELECT query_to_xml('SELECT * FROM whet.study', true, false, '')", database=postgres.name
    )
    assert "train.py" in str(rows)
    assert password not in str(rows)


def test_a_sweep_from_its_first_look_to_its_end(commands: Commands, here: Path, postgres: Database) -> None:
    store = ["--store", f"postgresql://tester@127.0.0.1:{postgres.server.port}/{postgres.name}"]
    assert commands("run", "--dry-run", *RUN, "[0.1, 0.2]").out.count("train.py") == 2
    assert "not there yet" in commands("doctor").out
    said = commands("run", "--workers", 2, *RUN, "[0.1, 0.2, 0.3]")
    assert "loss" in said.out
    assert f"--store {store[1]}" in said.out + said.err  # what is printed to paste lacks the password only
    (standing,) = commands("status", "--json").objects
    assert (standing["study"], standing["state"], standing["counts"]) == ("train-1", "finished", {"completed": 3})
    assert len(commands("history", "--json").objects) == 1
    assert "train-1" in commands("status").out + commands("status", "train-1").out
    assert "0.1" in commands("show", "train-1").out
    assert commands("show", "train-1/0", "--json").objects[0]["config"] == {"lr": 0.1}
    assert commands("best", "train-1", "--json").objects[0]["number"] == 0
    assert "epoch=4 loss=0.3500" in commands("logs", "train-1/0").out
    assert "train-1/2" in commands("logs", "train-1").out
    assert "model.txt" in commands("artifacts", "train-1").out
    commands("artifacts", "train-1", "--copy-to", "copies")
    assert len(list(here.glob("copies/*/model.txt"))) == 3
    assert commands("export", "train-1", "--format", "csv").out.count("\n") == 4
    commands("explain", "train-1")
    assert "finished" in commands("resume", "train-1").out
    assert "/train-2/0" in commands("run", "--dry-run", *RUN, "[0.5]", "--into", "{trial_dir}").out
    assert "all is well" in commands("doctor").out
    assert "is not running" in commands("stop", "train-1").out
    assert "has ended already" in commands("stop", "train-1/0").out
    assert "nobody to ask" in commands("delete", "train-1", expect=2).err
    commands("run", "--name", "kept", *RUN, "[0.5]")
    assert "files of 3 trials" in commands("delete", "train-1", "--yes").out
    assert [path.name for path in (here / ".whet").glob("*/*")] == ["kept"]


def test_a_study_that_is_stopped_is_resumed(commands: Commands, here: Path, whet: Whet, postgres: Database) -> None:
    (here / "train.py").write_text("import sys, time\ntime.sleep(0.2)\nprint('loss:', sys.argv[2])\n")
    options = ["--store", postgres.url, "--name", "s", "--strategy", "random", "--trials", 60, "--workers", 2]
    process = whet.start("run", *options, *RUN, "uniform(0, 1)")
    try:
        _wait_for_trial(commands, process)
        (standing,) = commands("status", "--json").objects
        assert standing["state"] == "running"
        refusal = commands("resume", "s", expect=None).err
        assert f"is being run by pid {process.pid} on " in refusal
        assert " since 20" in refusal
        assert "is running" in commands("delete", "s", "--yes", expect=None).err
        commands("stop", "s/1")
        assert "stopped s" in commands("stop", "s").out
    finally:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert postgres.server.password not in out + err
    (standing,) = commands("status", "--json").objects
    assert standing["state"] == "stopped"
    commands("resume", "s", "--trials", "6")
    (standing,) = commands("status", "--json").objects
    assert standing["state"] == "finished"


def _wait_for_trial(commands: Commands, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not commands("show", "s/1", "--json", expect=None).out:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


def test_curves_are_simulated(commands: Commands) -> None:
    space = {"lr": whet_package.Float(0.01, 1.0)}
    study = begin(space=space, store=commands._database.url, sampler="random", fidelity={"epochs": (1, 9)})
    for _ in range(9):
        trial = study.ask()
        for epoch in range(1, 10):
            study.report(trial, {"loss": trial.config["lr"] + 1 / epoch}, step=epoch)
        study.tell(trial, {"loss": trial.config["lr"]})
    assert "asha" in commands("simulate", "a").out
    commands("run", "--name", "b", *RUN, "[1]")  # for what the fixture looks at


def test_from_another_machine(commands: Commands, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is in the database is there; what trials printed is not."""
    commands("run", "--name", "s", *RUN, "[0.1, 0.2]")
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(here / ".whet")
    monkeypatch.chdir(elsewhere)
    assert commands("best", "s", "--json").objects[0]["config"] == {"lr": 0.1}
    assert len(commands("export", "s", "--format", "json").out.splitlines()) >= 1
    commands("show", "s/0")
    assert "each machine keeps those of the trials that it ran" in commands("logs", "s/0", expect=1).err
    commands("artifacts", "s")
    assert list(elsewhere.iterdir()) == []


def test_two_spellings_of_a_server_lead_to_the_same_files(commands: Commands, here: Path, postgres: Database) -> None:
    commands("run", "--name", "s", *RUN, "[0.1]")
    for url in (postgres.socket_url, postgres.url.replace("127.0.0.1", "localhost")):
        assert "epoch=4" in call("logs", "s/0", "--store", url).out
    (folder,) = (here / ".whet").iterdir()
    assert "@127.0.0.1" in folder.name


def test_two_databases_keep_the_files_of_one_name_apart(commands: Commands, here: Path) -> None:
    commands("run", "--name", "s", *RUN, "[0.1]")
    call("run", "--name", "s", *RUN, "[0.2]")
    assert "loss=0.3500" in commands("logs", "s/0").out
    assert "loss=0.4500" in call("logs", "s/0").out
    assert "no study is known" not in call("doctor").out


def test_a_damaged_store_is_saved_and_nothing_overwritten(commands: Commands, here: Path, postgres: Database) -> None:
    commands("run", "--name", "s", *RUN, "[0.1, 0.2]")
    postgres.server.do("UPDATE whet.study SET counts = '{}'", database=postgres.name)
    assert "finding: " in commands("doctor", expect=1).out
    assert "2 trials were saved" in commands("doctor", "--recover", "saved.db").out
    before = (here / "saved.db").read_bytes()
    assert "exists already" in commands("doctor", "--recover", "saved.db", expect=2).err
    assert (here / "saved.db").read_bytes() == before
    assert len(call("export", "s", "--store", "saved.db", "--format", "json").out) > 10
    call("doctor", "--store", "saved.db")


def test_lost_processes_are_noted(commands: Commands, postgres: Database) -> None:
    study = begin(store=postgres.url, name="f")
    study.ask()
    postgres.server.do("UPDATE whet.lease SET ends_at = 0, for_s = -1e12", database=postgres.name)
    assert "1 trial ran in processes that are lost" in commands("doctor").out
    commands("run", "--name", "b", *RUN, "[1]")


@pytest.mark.parametrize(
    ("change", "said", "code"),
    [
        (("tester:", "nobody:"), "lets nobody in", 2),
        (("/whet_", "/missing_"), "has no database", 2),
        (("127.0.0.1", "nowhere.invalid"), "cannot be reached", 1),
        (("127.0.0.1", "[::1"), "cannot be read as the URL", 2),
    ],
)
def test_what_is_wrong_is_one_sentence(
    change: tuple[str, str], said: str, code: int, postgres: Database, here: Path
) -> None:
    scheme, rest = postgres.url.split("://")
    url = f"{scheme}://{rest.replace(*change, 1)}"
    for command in (["status"], ["run", *RUN, "[1]"], ["doctor"]):
        called = call(command[0], "--store", url, *command[1:], expect=None)
        shown = called.out + called.err
        assert said in shown
        assert called.code == (code if command == ["doctor"] else called.code) != 0
        assert "Traceback" not in shown
        assert postgres.server.password not in shown
    assert not (here / ".whet").exists()
