"""F26: names and texts that look like SQL or like paths are kept as they are, and lead nowhere."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whet
from tests.cli.studies import call
from whet.storage.places import encoded_name, study_dir

SQL = [
    "'; DROP TABLE study; --",
    "a' OR '1'='1",
    '"; DELETE FROM trial; --',
    "x'); ATTACH DATABASE 'owned' AS o; --",
    ":name",
    "?",
    "?1",
    "%s",
    "%(name)s",
    "$1",
    "{0}",
    "\\",
    "''",
    '"',
    "`",
    "--",
    "/* */",
    "study",
    "NULL",
    "%",
    "_",
    "x\\' OR 1=1; --",
]
PATHS = [
    "../../x",
    "..",
    ".",
    "/etc/passwd",
    "a/b",
    "a/../../b",
    "~",
    "~root",
    "%2e%2e",
    "%2f",
    "..%2f..",
    "con",
    "a\\b",
    "C:\\x",
    "whet.db",
    "whet.db-wal",
    "WHET.DB",
    "-rf",
    "*",
    "$(touch owned)",
    "a b",
    " a",
    "a ",
    "runner.lock",
    "x" * 200,
    "é" * 100,
    "A",
    ".hidden",
    "file:owned?mode=rwc",
    "a.whet",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text("print('loss: 1')\n")
    return folder


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _beside(top: Path) -> set[str]:
    """Return what there is at and below *top*, study folders aside."""
    return {str(path.relative_to(top)) for path in top.rglob("*") if ".whet" not in path.parts}


# ---- SQL
@pytest.mark.parametrize("text", SQL)
def test_every_field_comes_back(text: str, here: Path) -> None:
    study = whet.Study(
        {text: [text, f"{text}2"]}, {text: "minimize"}, store="x.db", name=text, settings={text: {text: [text]}}
    )
    before = _tables(here / "x.db")
    first, second = study.ask(2)
    study.report(first, {text: 2.0}, step=1)
    study.tell(first, {text: 1.0, f"other {text}": 2.0})
    study.fail(second, cause="error", message=text)
    study.annotate(first, {text: text}, note=text)
    study.annotate(attributes={text: text}, note=text)
    again = whet.load(text, "x.db")
    assert again.name == text
    assert again.ledger.history.settings[text] == {text: [text]}
    assert {trial.config[text] for trial in again.trials} == {text, f"{text}2"}
    trials = {trial.number: trial for trial in again.trials}
    assert trials[first.number].values == {text: 1.0, f"other {text}": 2.0}
    assert trials[first.number].note == text and trials[first.number].attributes == {text: text}
    assert trials[second.number].message == text
    assert (again.note, again.attributes) == (text, {text: text})
    assert _tables(here / "x.db") == before
    call("show", "--store", "x.db", "--", text)
    call("delete", "--store", "x.db", "--yes", "--", text)
    with pytest.raises(whet.errors.StudyNotFound):
        whet.load(text, "x.db")
    assert _tables(here / "x.db") == before
    assert not (here / "owned").exists()


@pytest.mark.parametrize("text", SQL[:4])
def test_a_sweep_of_it(text: str, here: Path) -> None:
    call(
        "run",
        "--name",
        text,
        "--minimize",
        text,
        "train.py",
        "--x",
        "['" + text.replace("'", "\\'") + "', 'b']",
        expect=None,
    )
    assert text in [study.name for study in whet.load(text).ledger.store.studies()]
    call("history")
    assert "study" in _tables(here / ".whet/whet.db")


def test_a_name_is_looked_up_as_it_is(here: Path) -> None:
    for name in ("a_c", "abc", "a%c", "A_C"):
        whet.Study({"x": [1]}, store="x.db", name=name)
    for name in ("a_c", "abc", "a%c", "A_C"):
        assert whet.load(name, "x.db").name == name
    with pytest.raises(whet.errors.StudyNotFound):
        whet.load("a%", "x.db")


# ---- paths
@pytest.mark.parametrize("name", PATHS)
def test_a_study_stays_in_its_folder(name: str, here: Path, tmp_path: Path) -> None:
    before = _beside(tmp_path)
    call("run", f"--name={name}", "--minimize", "loss", "train.py", "--x", "[1, 2]")
    (folder,) = [path for path in (here / ".whet").iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["0", "1"]
    assert (folder / "0/stdout.log").read_text() == "loss: 1\n"
    assert "loss: 1" in call("logs", "--", f"{name}/0").out
    assert _beside(tmp_path) == before
    call("delete", "--yes", "--", name)
    assert not folder.exists()
    assert (here / ".whet/whet.db").exists()
    assert _beside(tmp_path) == before


@pytest.mark.parametrize("name", PATHS)
def test_a_tuned_study_stays_in_its_folder(name: str, here: Path, tmp_path: Path) -> None:
    def fn(config: dict[str, int], trial: whet.LiveTrial) -> float:
        (trial.dir / "mine").write_text("x")
        return 1.0

    before = _beside(tmp_path)
    whet.tune(fn, {"x": [1]}, name=name, executor="inline", progress=False)
    (folder,) = [path for path in (here / ".whet").iterdir() if path.is_dir()]
    assert (folder / "0/mine").exists()
    assert _beside(tmp_path) == before


def test_every_name_has_a_folder_of_its_own() -> None:
    folders = {str(study_dir("x.db", name)).lower() for name in (*PATHS, *SQL)}
    assert len(folders) == len({*PATHS, *SQL})


NAMES = (
    st.text(max_size=300)
    | st.sampled_from([*PATHS, *SQL])
    | st.lists(st.sampled_from(list("./\\~%A a")), max_size=20).map("".join)
)


@settings(max_examples=500)
@given(NAMES, NAMES)
def test_an_encoded_name_is_one_harmless_name(one: str, other: str) -> None:
    encoded = encoded_name(one, "whet.db")
    assert encoded and encoded not in (".", "..") and len(encoded) < 200
    assert not {"/", "\\", "\0", ":"} & set(encoded)
    assert encoded.isascii() and encoded.isprintable()
    assert not encoded.startswith((".", "whet.db."))
    base = Path("/base")
    assert os.path.normpath(base / encoded) == str(base / encoded)
    if one != other:
        assert encoded.lower() != encoded_name(other, "whet.db").lower()
