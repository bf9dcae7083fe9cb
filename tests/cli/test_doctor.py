"""``whet doctor``: clean where all is well, a finding with a remedy where not, and nothing is ever overwritten."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.studies import STORE, begin, call, finish, script_settings
from tests.cli.test_status import held


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sound_store_is_clean() -> None:
    finish(begin(), [1, None])
    said = call("doctor").out
    assert said.endswith("\nall is well\n")
    assert "finding" not in said
    for fact in ("whet", "python", "sqlite", STORE):
        assert fact in said


def test_a_directory_without_a_store_is_clean_and_stays_empty(tmp_path: Path) -> None:
    said = call("doctor").out
    assert "not there yet" in said
    assert said.endswith("\nall is well\n")
    assert list(tmp_path.iterdir()) == []
    assert "does not exist" in call("doctor", "--store", "missing.db", expect=2).err


def test_a_damaged_store_is_a_finding_and_can_be_saved(tmp_path: Path) -> None:
    study = begin(space={"x": list(range(200))})
    finish(study, range(200))
    study.ledger.store.close()
    path = tmp_path / STORE
    data = bytearray(path.read_bytes())
    data[8192:8292] = b"\xff" * 100
    path.write_bytes(data)
    said = call("doctor", expect=1).out
    assert "finding: " in said
    assert "all is well" not in said
    assert f"whet doctor --store {path} --recover FILE" in said  # no advice to call what was just called
    saved = call("doctor", "--recover", "saved.db")
    assert "trials were saved" in saved.out
    assert "whet history --store saved.db" in saved.out
    assert path.read_bytes() == data
    assert call("history", "--store", "saved.db", "--json").objects[0]["study"]
    call("doctor", "--store", "saved.db")


def test_what_is_no_store_is_a_finding() -> None:
    Path("text.db").write_text("not a database, by any means" * 100)
    assert "finding: " in call("doctor", "--store", "text.db", expect=1).out
    with sqlite3.connect("other.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert "finding: " in call("doctor", "--store", "other.db", expect=1).out


def test_recovery_overwrites_nothing(tmp_path: Path) -> None:
    finish(begin(), [1])
    Path("saved.db").write_text("precious")
    assert "exists already" in call("doctor", "--recover", "saved.db", expect=2).err
    assert Path("saved.db").read_text() == "precious"
    assert "is no file" in call("doctor", "--store", "missing.db", "--recover", "new.db", expect=2).err
    assert not Path("new.db").exists()


@pytest.mark.parametrize("store", [":memory:", "sqlite://", "ftp://x"])
def test_what_is_no_file_is_refused(store: str) -> None:
    call("doctor", "--store", store, expect=2)


def test_a_url_is_checked_like_its_file() -> None:
    finish(begin(), [1])
    assert call("doctor", "--store", f"sqlite:///{STORE}").out.endswith("\nall is well\n")


def test_a_full_disk_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    assert "only 5.0 MB are free" in call("doctor", expect=1).out


def test_a_network_file_system_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.cli.doctor.shared_file_system", lambda _: "nfs4")
    assert "network file system (nfs4)" in call("doctor", expect=1).out


def test_a_place_that_cannot_be_written_to_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be written to" in call("doctor", expect=1).out


def test_a_killed_study_is_noted_and_no_finding(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    study.ask()
    said = call("doctor").out
    assert "a was killed with 1 trial running" in said
    assert "whet resume a" in said
    assert said.endswith("\nall is well\n")
    with held("a"):
        assert "was killed" not in call("doctor").out


def test_directories_of_no_study_are_noted_in_our_own_directory_only(tmp_path: Path) -> None:
    finish(begin(settings=script_settings(["--lr", "[1]"], tmp_path)), [1])
    for name in ("a", "gone"):
        (tmp_path / ".whet" / name).mkdir()
    said = call("doctor").out
    assert f"no study is known for {tmp_path / '.whet' / 'gone'}; " in said
    begin(store="x.db")
    (tmp_path / "mine").mkdir()
    assert "no study is known" not in call("doctor", "--store", "x.db").out


def test_doctor_works_while_a_run_goes_on() -> None:
    study = begin(space={"x": list(range(50))})
    with held("a"):
        for _ in range(5):
            finish(study, range(5))
            call("doctor")
