"""Where a study keeps its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.storage.places import encoded_name, place_on_server, store_folder, study_dir

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
    assert store_folder("postgresql://host/db", Path("/project")) == Path("/project/.whet/db@host")
    assert store_folder(":memory:", Path("/project")) == Path("/project/.whet")
    assert study_dir("x.db", "s") == tmp_path / "x.db.whet" / "s"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://ada:secret@db.example/whet", "whet@db.example"),
        ("postgresql+psycopg://db.example:5433/whet?sslmode=require", "whet@db.example%3a5433"),
        ("postgres:///whet?host=/run/pg&port=1", "whet@%2frun%2fpg"),
        ("postgresql://one,two/../../etc", "%2e.%2f..%2fetc@one%2ctwo"),
        ("postgresql:///", "~e3b0c44298fc@~e3b0c44298fc"),
        ("postgresql://[::1/x", "@postgresql%3a%2f%2f%5b%3a%3a1%2fx"),
        ("sqlite:///x.db", ""),
        (":memory:", ""),
        ("x.db", ""),
    ],
)
def test_databases_on_servers_have_folders_of_their_own(url: str, place: str) -> None:
    assert place_on_server(url) == place
    if place:
        assert study_dir(url, "s", Path("/p")) == Path("/p/.whet") / place / "s"


@given(st.text())
def test_any_url_of_a_server_is_one_folder(text: str) -> None:
    folder = store_folder(f"postgresql://{text}", Path("/p"))
    assert folder.parent == Path("/p/.whet")
    assert "@" in folder.name
    assert store_folder("postgresql://other/db", Path("/p"), folder.name) == folder


@pytest.mark.parametrize("hostile", ["../../etc", "/etc@x", "a/../@b", "", "..", "x"])
def test_a_place_that_a_stranger_wrote_leads_nowhere_else(hostile: str) -> None:
    assert store_folder("postgresql://host/db", Path("/p"), hostile) == Path("/p/.whet/db@host")
    assert store_folder("x.db", Path("/p"), "a@b") == Path("/p/x.db.whet")
