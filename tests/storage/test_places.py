"""Where a study keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.storage.places import encoded_name, store_folder, study_dir

_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)  # lone surrogates included


@pytest.mark.parametrize("name", ["train-1", "a", "sweep_2.v3", "x" * 120])
def test_plain_names_are_kept(name: str) -> None:
    assert encoded_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\0b",
        ".hidden",
        "x" * 5000,
        "é",
        "a b",
        "\ud800",
        "~",
        "%2e",
        "A\n",
    ],
)
def test_hostile_names_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    folder = study_dir(str(tmp_path / ".whet" / "whet.db"), name)
    assert folder.parent == tmp_path / ".whet"
    assert folder.resolve().parent == tmp_path.resolve() / ".whet"
    folder.mkdir(parents=True)
    assert not folder.name.startswith(".")


@given(_TEXT)
def test_every_name_is_one_entry_that_any_file_system_takes(name: str) -> None:
    encoded = encoded_name(name, reserved="whet.db")
    assert encoded.isascii()
    assert os.sep not in encoded
    assert encoded not in ("", ".", "..")
    assert not encoded.startswith((".", "whet.db~", "whet.db-"))
    assert len(encoded) <= 150


@given(_TEXT, _TEXT)
def test_different_names_never_share_a_folder(one: str, other: str) -> None:
    if one != other:
        assert encoded_name(one).lower() != encoded_name(other).lower()


@pytest.mark.parametrize(
    ("one", "other"), [("Train", "train"), ("é", "%c3%a9"), ("x" * 121, "x" * 122), (".a", "%2ea")]
)
def test_names_that_look_alike_have_folders_of_their_own(one: str, other: str) -> None:
    assert encoded_name(one).lower() != encoded_name(other).lower()


@pytest.mark.parametrize("name", ["whet.db", "whet.db-wal", "whet.db.lock", "WHET.DB"])
def test_a_study_called_like_the_database_does_not_meet_its_files(name: str, tmp_path: Path) -> None:
    folder = study_dir(str(tmp_path / ".whet" / "whet.db"), name)
    assert "~" in folder.name
    assert folder.name.partition("~")[0] == "whet.db" or folder.name.lower().startswith("whet.db")
    assert folder.name not in ("whet.db", "whet.db-wal", "whet.db.lock")


def test_the_folder_is_that_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_folder(".whet/whet.db") == tmp_path / ".whet"
    assert store_folder("sqlite:///sub/x.db") == tmp_path / "sub" / "x.db.whet"
    assert store_folder("sqlite:////abs/x.db") == Path("/abs/x.db.whet")
    assert store_folder("/abs/.whet/whet.db") == Path("/abs/.whet")
    assert store_folder("/abs/.whet/other.db") == Path("/abs/.whet/other.db.whet")
    assert store_folder("postgresql://host/db", Path("/project")) == Path("/project/.whet")
    assert store_folder(":memory:", Path("/project")) == Path("/project/.whet")
    assert study_dir("x.db", "s") == tmp_path / "x.db.whet" / "s"
