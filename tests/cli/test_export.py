"""``whet export``: what comes out can be read back, byte by byte, and nothing is overwritten."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import stat
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.studies import STORE, begin, call, finish, script_settings, with_one_trial
from whet.cli.columns import spooled
from whet.cli.export import _csv_line, _of_one_type, _write_json
from whet.errors import StoreFull
from whet.frames import Columns

FIXED = {"number", "state", "cause", "attempts", "started_at", "duration_s"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# ---- CSV
def test_csv_has_a_row_for_each_trial_and_a_column_for_each_name() -> None:
    finish(begin(), [0.5, {"loss": 0.25, "acc": 0.9}, None])
    rows = _rows(call("export", "a", "--format", "csv").out)
    assert list(rows[0]) == [
        *("number", "state", "cause"),
        *("lr", "opt"),
        *("loss", "acc"),
        *("attempts", "started_at", "duration_s"),
    ]
    assert [(r["number"], r["state"], r["cause"], r["lr"], r["opt"], r["loss"], r["acc"]) for r in rows] == [
        ("0", "completed", "", "0.1", "sgd", "0.5", ""),
        ("1", "completed", "", "0.1", "adam", "0.25", "0.9"),
        ("2", "failed", "exit_code", "0.01", "sgd", "", ""),
    ]
    assert all(r["attempts"] == "1" and float(r["started_at"]) > 1e9 and float(r["duration_s"]) >= 0 for r in rows)


def test_floats_keep_every_digit_and_non_finite_values_their_names() -> None:
    values = {"a": 0.1 + 0.2, "b": math.nan, "c": -math.inf, "d": 5e-324}
    with_one_trial({"x": 1}, values)
    (row,) = _rows(call("export", "a", "--format", "csv").out)
    assert (row["a"], row["b"], row["c"], row["d"]) == ("0.30000000000000004", "nan", "-inf", "5e-324")


def test_names_that_are_there_twice_are_told_apart_and_only_those() -> None:
    with_one_trial({"lr": 1, "epoch": 2, "state": "x"}, {"lr": 3.0, "acc": 4.0, "number": 5.0})
    (row,) = _rows(call("export", "a", "--format", "csv").out)
    assert row["config.lr"] == "1"
    assert row["values.lr"] == "3.0"
    assert (row["epoch"], row["acc"]) == ("2", "4.0")
    assert (row["state"], row["config.state"]) == ("completed", "x")
    assert (row["number"], row["values.number"]) == ("0", "5.0")


def test_what_a_spreadsheet_takes_for_a_formula_is_left_as_it_is() -> None:
    hostile = {
        "f": "=1+cmd|' /C calc'!A0",
        "q": 'say "no", twice',
        "n": "two\nlines",
        "r": "a\rb",
        "empty": "",
        "s": " ",
    }
    with_one_trial(hostile, {})
    (row,) = _rows(call("export", "a", "--format", "csv").out)
    assert {name: row[name] for name in hostile} == hostile


def test_bytes_that_are_no_text_come_out_as_the_bytes_they_were() -> None:
    argument = os.fsdecode(b"caf\xe9")
    with_one_trial({"name": argument}, {})
    assert ",caf\udce9," in call("export", "a", "--format", "csv").out


@given(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1))
def test_csv_reads_back_what_was_written(cells: list[str]) -> None:
    text = _csv_line(cells).decode("utf-8", "surrogatepass")
    assert next(csv.reader(io.StringIO(text, newline=""), strict=True)) == cells


@given(st.lists(st.text(max_size=3), unique=True), st.lists(st.text(max_size=3), unique=True))
def test_no_two_columns_share_a_name(config: list[str], values: list[str]) -> None:
    names = Columns(config, values).names
    assert len(set(names)) == len(names) == len(FIXED) + len(config) + len(values)
    for name, n in Counter([*config, *values, *FIXED]).items():
        assert n > 1 or name in names


def test_a_column_that_looks_like_a_prefixed_one_is_not_taken() -> None:
    names = Columns(["lr", "config.lr"], ["lr"]).names
    assert len(set(names)) == len(names)
    assert {"config.lr", "config.config.lr", "values.lr"} <= set(names)


# ---- JSON
def test_json_is_one_array_of_strict_objects() -> None:
    with_one_trial({"x": [1, [2, None]], "flag": True}, {"nan": math.nan, "inf": math.inf, "acc": 0.5})
    (trial,) = json.loads(call("export", "a", "--format", "json").out, parse_constant=lambda text: pytest.fail(text))
    assert {**trial, "started_at": 0, "duration_s": 0} == {
        "number": 0,
        "state": "completed",
        "cause": None,
        "config": {"x": [1, [2, None]], "flag": True},
        "values": {"nan": "nan", "inf": "inf", "acc": 0.5},
        "attempts": 1,
        "started_at": 0,
        "duration_s": 0,
        "budget": None,
        "reached": None,
    }


# ---- how far trials came
def _partial(names: list[str] | None = None) -> None:
    """A study with a fidelity: one trial paused, one complete, one that runs, one that was added."""
    space = {name: [1, 2, 3, 4] if name == "x" else [0] for name in names or ["x"]}
    study = begin("a", space, scheduler="sha(eta=2)", fidelity={"epochs": (2, 4)})
    paused, running = study.ask(2)
    assert study.report(paused, {"loss": 0.5}, step=2) == "pause"
    study.report(running, {"loss": 0.4}, step=1)
    study.add_trials([({name: 3 if name == "x" else 0 for name in space}, {"loss": 0.25})])


def test_how_far_trials_came_is_exported() -> None:
    _partial()
    rows = _rows(call("export", "a", "--format", "csv").out)
    assert list(rows[0])[-3:] == ["duration_s", "budget", "reached"]
    found = [(r["state"], float(r["budget"]), float(r["reached"]) if r["reached"] else None) for r in rows]
    assert found == [("paused", 2, 2), ("running", 2, 1), ("completed", 4, None)]  # of the last nothing is known
    trials = json.loads(call("export", "a", "--format", "json").out)
    assert [(t["state"], t["budget"], t["reached"]) for t in trials] == found


def test_a_study_without_a_fidelity_has_no_such_columns_and_json_the_last_step() -> None:
    study = begin()
    trial = study.ask()
    study.report(trial, {"loss": 0.5}, step=7)
    (row,) = _rows(call("export", "a", "--format", "csv").out)
    assert not {"budget", "reached"} & set(row)
    (record,) = json.loads(call("export", "a", "--format", "json").out)
    assert (record["budget"], record["reached"]) == (None, 7)


def test_a_parameter_called_budget_is_told_from_how_far_a_trial_may_go() -> None:
    _partial(["x", "budget"])
    row = _rows(call("export", "a", "--format", "csv").out)[0]
    assert (row["config.budget"], float(row["budget"])) == ("0", 2)


def test_a_study_without_trials_is_an_empty_array_and_a_header() -> None:
    begin()
    assert json.loads(call("export", "a", "--format", "json").out) == []
    assert call("export", "a", "--format", "csv").out == ",".join(sorted(FIXED, key=_order)) + "\n"


def _order(name: str) -> int:
    return ["number", "state", "cause", "attempts", "started_at", "duration_s"].index(name)


def test_json_is_written_as_trials_come_and_not_held() -> None:
    n_alive = 0

    def records() -> object:
        nonlocal n_alive
        for number in range(1000):
            n_alive += 1
            yield {"number": number}

    class Sink(io.BytesIO):
        def write(self, data: object) -> int:
            nonlocal n_alive
            n_alive -= 1
            assert n_alive <= 1
            return super().write(data)  # type: ignore[arg-type]

    sink = Sink()
    _write_json(records(), sink)  # type: ignore[arg-type]
    assert len(json.loads(sink.getvalue())) == 1000


# ---- files
def test_a_file_is_made_and_not_overwritten_without_being_told_to(tmp_path: Path) -> None:
    finish(begin(), [0.5])
    target = tmp_path / "out.json"
    assert call("export", "a", "--format", "json", "--output", target).out == ""
    first = target.read_bytes()
    assert len(json.loads(first)) == 1
    refused = call("export", "a", "--format", "csv", "-o", target, expect=2)
    assert "--force" in refused.err
    assert target.read_bytes() == first
    call("export", "a", "--format", "csv", "-o", target, "--force")
    assert target.read_bytes().startswith(b"number,")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".whet", "out.json"]


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    begin()
    call("export", "a", "--format", "csv", "-o", "out.csv")
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("target", "says"), [(".", "directory"), ("missing/out.csv", "no directory"), ("pipe", "no regular file")]
)
def test_what_cannot_be_a_file_is_refused(target: str, says: str, tmp_path: Path) -> None:
    begin()
    os.mkfifo(tmp_path / "pipe")
    assert says in call("export", "a", "--format", "csv", "-o", target, "--force", expect=2).err


def test_a_link_that_leads_nowhere_is_not_overwritten_either(tmp_path: Path) -> None:
    begin()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    call("export", "a", "--format", "csv", "-o", "link", expect=2)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(begin(), [0.5])

    def fail(*_: object) -> None:
        raise StoreFull("the disk is gone")

    monkeypatch.setattr("whet.cli.export.trial_record", fail)
    assert "the disk is gone" in call("export", "a", "--format", "csv", "-o", "out.csv", expect=1).err
    assert [path.name for path in tmp_path.iterdir()] == [".whet"]


def test_a_file_that_appears_meanwhile_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(begin(), [0.5])

    def appear(trial: object) -> dict[str, object]:
        (tmp_path / "out.csv").write_text("precious")
        return {"config": {}, "values": {}, **dict.fromkeys(FIXED)}

    monkeypatch.setattr("whet.cli.export.trial_record", appear)
    assert "meanwhile" in call("export", "a", "--format", "csv", "-o", "out.csv", expect=2).err
    assert (tmp_path / "out.csv").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".whet", "out.csv"]


# ---- Parquet
def test_parquet_without_what_it_needs_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    begin()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused = call("export", "a", "--format", "parquet", "-o", "out.parquet", expect=2)
    assert "pip install pyarrow" in refused.err
    assert not Path("out.parquet").exists()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, None, 3], [1, None, 3]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, "a", None], ["1", "a", None]),
        ([True, 1], ["True", "1"]),
        ([[1, 2], None], ["[1, 2]", None]),
        ([2**70, 1], [str(2**70), "1"]),
        ([None, None], [None, None]),
        (["caf\udce9", "é"], ["caf\\udce9", "é"]),
    ],
)
def test_a_parquet_column_is_of_one_type(column: list[object], expected: list[object]) -> None:
    assert _of_one_type(column) == expected
    assert {type(value) for value in expected if value is not None} == {
        type(value) for value in _of_one_type(column) if value is not None
    }


# ---- all of them
def test_a_trial_that_was_running_when_whet_was_killed_is_not_called_running(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    study.ask()
    (row,) = _rows(call("export", "a", "--format", "csv").out)
    assert row["state"] == "waiting"


def test_an_unknown_study_and_an_unknown_format_are_refused() -> None:
    begin("train-1")
    assert "train-1" in call("export", "trian-1", "--format", "csv", expect=2).err
    assert "parquet" in call("export", "train-1", "--format", "xml", expect=2).err
    call("export", "train-1", expect=2)


def test_more_trials_than_a_page_come_out_in_order() -> None:
    finish(begin(space={"x": list(range(600))}), range(600))
    numbers = [row["number"] for row in _rows(call("export", "a", "--format", "csv", "--store", STORE).out)]
    assert numbers == [str(number) for number in range(600)]


def test_a_spool_gives_back_what_it_was_given() -> None:
    record = {"config": {"x": "a\nb"}, "values": {"v": math.inf}, **dict.fromkeys(FIXED)}
    with spooled([record, record]) as (columns, again):
        assert list(again()) == [record, record]
        assert list(again()) == [record, record]
        assert columns.row(record).count(math.inf) == 1
