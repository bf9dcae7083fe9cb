"""`whet resume` runs what is written in a store: not unasked where somebody else may have written it (issue 7.5)."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studies import call
from tests.faults.watching import watched


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study that could go on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("open('ran', 'a').write('x')\nprint('loss: 1')\n")
    call("run", "--name", "s", "--minimize", "loss", "--trials", 1, "train.py", "--x", "[1, 2, 3]")
    (tmp_path / "ran").unlink()
    return tmp_path


def _change(**changes: Any) -> None:
    with closing(sqlite3.connect(".whet/whet.db", isolation_level=None)) as database:
        (text,) = database.execute("SELECT settings FROM study").fetchone()
        settings = json.loads(text)
        settings["run"] |= changes
        database.execute("UPDATE study SET settings = ?", (json.dumps(settings),))
        database.execute("UPDATE event SET payload = ? WHERE kind = 'created'", (json.dumps(settings),))


def _refused(*arguments: object) -> str:
    with watched() as seen:
        said = call("resume", *arguments, "s", "--trials", "+1", expect=2)
    assert not seen.started
    assert not Path("ran").exists()
    return said.err


def test_ones_own_goes_on_unasked(here: Path) -> None:
    call("resume", "s", "--trials", "+1")
    assert (here / "ran").read_text() == "x"


@pytest.mark.parametrize("origin", [{}, {"user": "mallory (1000)"}, {"user": "", "store": ""}])
def test_a_study_of_another_user_is_not_run_unasked(origin: dict[str, str], here: Path) -> None:
    _change(origin=origin)
    said = _refused()
    assert "to resume 's' is to run the program that is written in its store" in said
    assert f"in {here}" in said
    assert "\ntrain.py --x '[1, 2, 3]'\n" in said
    assert said.endswith("If you trust that: whet resume --trust s\n")
    call("resume", "--trust", "s", "--trials", "+1")
    assert (here / "ran").read_text() == "x"
    call("resume", "s", "--trials", "+1")  # it is known now
    assert (here / "ran").read_text() == "xx"


def test_a_study_that_came_from_elsewhere_is_not_run_unasked(here: Path) -> None:
    shutil.copytree(here / ".whet", here / "downloads")
    said = _refused("--store", "downloads/whet.db")
    assert f"it was begun in {here}/.whet/whet.db, and is in {here}/downloads/whet.db now" in said
    assert "whet resume --store downloads/whet.db --trust s" in said


def test_a_project_that_was_moved_goes_on_where_it_is_now(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = here.with_name(f"{here.name}-moved")
    here.rename(moved)
    monkeypatch.chdir(moved)
    assert f"It runs, in {moved} by" in _refused()
    call("resume", "--trust", "s", "--trials", "+1")
    call("resume", "s", "--trials", "+1")
    assert (moved / "ran").read_text() == "xx"


def test_a_directory_that_is_gone_is_named_with_the_remedy(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = here.with_name(f"{here.name}.db")
    call("run", "--name", "s", "--minimize", "loss", "--store", store, "--trials", 1, "train.py", "--x", "[1, 2]")
    moved = here.with_name(f"{here.name}-moved")
    here.rename(moved)
    monkeypatch.chdir(moved)
    said = call("resume", "--store", store, "--trust", "s", "--trials", "+1", expect=2)
    assert f"the study was started in {here}, where nobody can go now" in said.err
    assert "put a link to it there" in said.err


def test_what_would_run_is_shown_and_cannot_command_the_terminal(here: Path) -> None:
    _change(
        origin={"user": "mallory\x1b]0;owned\x07 (0)"},
        python="/bin/sh",
        arguments=["\x1b[2J", "$(touch owned)", "a\nb"],
        environment={"LD_PRELOAD": "/tmp/evil.so"},
        program={"kind": "script", "target": "train.py"},
    )
    said = _refused()
    assert "by /bin/sh, with LD_PRELOAD in its environment" in said
    assert r"train.py $'\x1b[2J' '$(touch owned)' $'a\x0ab'" in said
    assert not {"\x1b", "\x07"} & set(said)


def test_nothing_of_it_runs_to_see_what_has_changed(here: Path) -> None:
    (here / "python").write_text(f"#!/bin/sh\ntouch {here}/owned\n")
    (here / "python").chmod(0o755)
    _change(origin={"user": "mallory"}, python=str(here / "python"))
    _refused()
    assert not (here / "owned").exists()


@pytest.mark.parametrize("command", ["status", "history", "doctor"])
def test_to_look_at_it_runs_nothing(command: str, here: Path) -> None:
    _change(origin={"user": "mallory"}, python="/bin/sh", cwd="/")
    with watched() as seen:
        call(command, expect=None)
    assert not [started for started in seen.started if "uname" not in started]


def test_limits_for_a_run_that_goes_on_need_no_trust(here: Path) -> None:
    """They run nothing here."""
    _change(origin={"user": "mallory"})
    store = here / ".whet/whet.db"
    from whet.storage.open import open_store

    holder = open_store(store)
    with holder.hold(holder.studies("s")[0].id):
        said = call("resume", "s", "--trials", "+1")
    holder.close()
    assert "told" in said.out
    assert not os.path.exists("ran")  # noqa: PTH110
