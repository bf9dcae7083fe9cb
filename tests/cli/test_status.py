"""``whet status`` and ``whet history``: a killed study is never running, and what is shown is what is."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.studies import STORE, begin, call, finish, script_settings, with_one_trial
from tests.conftest import Whet
from whet.cli.lookup import find, hint, opened
from whet.cli.render import ago, distinct_numbers, fields, local_time, size, table, text_width
from whet.errors import StudyNotFound, UsageError

HOLD = """
import sys, time
from whet.storage.open import open_store
store = open_store(sys.argv[1])
with store.hold(store.studies(sys.argv[2])[0].id):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def held(name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a study, or so it says; it is killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, STORE, name], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


# ---- where there is nothing
@pytest.mark.parametrize("command", ["status", "history"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_store_is_no_error(command: str, options: list[str], tmp_path: Path) -> None:
    said = call(command, *options)
    assert said.out == ""
    assert "no studies here" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_was_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    assert "missing.db" in call("status", "--store", "missing.db", expect=2).err
    assert "missing.db" in call("history", "--store", "missing.db", expect=2).err
    assert list(tmp_path.iterdir()) == []


def test_a_named_study_where_there_is_no_store_is_an_error() -> None:
    assert "no studies" in call("status", "a", expect=2).err


# ---- states
def test_a_study_that_is_done_is_finished() -> None:
    finish(begin("grid"), [1, 2, 3, 4])
    finish(begin("limited", settings={"limits": {"n_trials": 2}}), [1, None])
    finish(begin("early", settings={"limits": {"n_trials": 3}}), [1, 2])
    states = {one["study"]: (one["state"], one["n_trials"]) for one in call("status", "--json").objects}
    assert states == {"grid": ("finished", 4), "limited": ("finished", 2), "early": ("stopped", 3)}


def test_a_target_that_is_met_finishes_a_study_of_either_direction() -> None:
    limits = {"limits": {"target": 0.5}}
    finish(begin("met", settings=limits), [0.4])
    finish(begin("not", settings=limits), [0.6])
    finish(begin("up", objective={"loss": "maximize"}, settings=limits), [0.6])
    states = {one["study"]: one["state"] for one in call("status", "--json").objects}
    assert states == {"met": "finished", "not": "stopped", "up": "finished"}


def test_forbidden_points_of_a_grid_are_not_waited_for() -> None:
    from whet.space.space import Space

    space = Space({"lr": [0.1, 0.01], "opt": ["sgd", "adam"]}, forbid=["lr == 0.1 and opt == 'adam'"])
    finish(begin(space=space), [1, 2])
    assert call("status", "a", "--json").objects[0]["state"] == "stopped"
    finish(begin("b", space), [1, 2, 3])
    assert (
        call("status", "b", "--json").objects[0] | {"n_trials": 3, "state": "finished"}
        == call("status", "b", "--json").objects[0]
    )


def test_a_study_is_running_as_long_as_its_process_lives(tmp_path: Path) -> None:
    study = begin(settings=script_settings(["--lr", "[0.1, 0.01]"], tmp_path))
    study.ask()
    with held("a") as process:
        (one,) = call("status", "--json").objects
        assert (one["state"], one["counts"], one["resume"]) == ("running", {"running": 1}, None)
        assert f"pid {process.pid}" in one["holder"]
        assert f"running (pid {process.pid}" in call("status").out
        process.kill()
        process.wait()
        (one,) = call("status", "--json").objects
        assert (one["state"], one["holder"], one["counts"]) == ("stopped", None, {"waiting": 1})
    said = call("status").out
    assert "running" not in said
    assert "whet resume a" in said
    assert "stopped, resumable" in call("status", "a").out
    assert "running" not in call("history").out


def test_a_study_that_no_program_runs_offers_no_whet_resume() -> None:
    finish(begin(), [1])
    assert "resum" not in call("status").out
    assert call("status", "--json").objects[0]["resume"] is None


# ---- what is shown
def test_status_json_has_counts_best_and_command(tmp_path: Path) -> None:
    settings = script_settings(["--lr", "[0.1, 0.01]"], tmp_path)
    finish(begin(settings=settings), [0.5, 0.25, None])
    (one,) = call("status", "a", "--json").objects
    assert one["counts"] == {"completed": 2, "failed": 1}
    assert one["best"]["number"] == 1
    assert one["best"]["values"] == {"loss": 0.25}
    assert one["best"]["command"].endswith("train.py --lr 0.1")
    assert one["command"] == "train.py --lr '[0.1, 0.01]'"
    assert one["resume"] == "whet resume a"
    assert one["elapsed_s"] >= 0


def test_with_several_objectives_no_trial_is_called_the_best() -> None:
    finish(begin(objective={"a": "minimize", "b": "minimize"}), [{"a": 1, "b": 2}])
    assert call("status", "--json").objects[0]["best"] is None
    assert call("status", "a").code == 0


def test_a_best_value_that_json_lacks_is_a_text() -> None:
    study = begin(settings={"rules": {"infinite": "worst"}})
    finish(study, [math.inf])
    assert call("status", "--json").objects[0]["best"]["values"] == {"loss": "inf"}


def test_status_shows_what_runs_first_and_history_all_in_order() -> None:
    for i in range(25):
        begin(f"s{i:02d}")
    with held("s03"):
        lines = call("status").out.splitlines()
        assert lines[1].startswith("s03")
        assert lines[2].startswith("s24")
        assert lines[-1] == "and 5 more; all of them: whet history"
        assert len(call("status", "--json").objects) == 25
    studies = [line.split()[0] for line in call("history").out.splitlines()[1:]]
    assert studies == [f"s{i:02d}" for i in range(25)]
    assert [one["study"] for one in call("history", "--json").objects] == studies


def test_hints_name_the_store_and_survive_odd_names(tmp_path: Path) -> None:
    assert hint("resume", "-x y", "my store.db") == "whet resume --store 'my store.db' -- '-x y'"
    settings = script_settings(["--lr", "[1, 2]"], tmp_path)
    begin("a", store="my store.db", settings=settings)
    assert "whet resume --store 'my store.db' a" in call("status", "--store", "my store.db").out


# ---- names
def test_an_unknown_name_lists_the_closest() -> None:
    begin("train-1")
    begin("train-2")
    said = call("status", "tran-1", expect=2).err
    assert "train-1" in said
    assert "Traceback" not in said


def test_a_whole_name_comes_before_a_trial(tmp_path: Path) -> None:
    finish(begin("a"), [1, 2])
    begin("a/1")
    with opened(None) as store:
        assert (find(store, "a/1").study.name, find(store, "a/1").number) == ("a/1", None)
        assert (find(store, "a/0").study.name, find(store, "a/0").number) == ("a", 0)
        assert find(store, "a/1/7").number == 7
        assert find(store, "a/007").number == 7
        for text in ("a/", "a/x", "a/-1", "a/1.5", "a/٣", "a/" + "9" * 40):
            with pytest.raises(UsageError, match="number of a trial"):
                find(store, text)
        for text in ("b/1", "/1", "", "b", "a/1/x/2"):
            with pytest.raises(StudyNotFound):
                find(store, text)


def test_a_trial_where_a_study_is_meant_is_refused() -> None:
    finish(begin("a"), [1])
    assert "is a trial" in call("status", "a/0", expect=2).err


HOSTILE = "\x1b]0;title\x07\x1b[31mred\x1b[0m\rback\u202egnp\x00"


def test_nothing_of_a_name_or_value_reaches_the_terminal_raw(tmp_path: Path) -> None:
    name = HOSTILE.replace("\0", "")
    settings = script_settings([HOSTILE.replace("\0", "")], tmp_path)
    with_one_trial({name: HOSTILE, "list": [HOSTILE]}, {name: 1.0}, name=name, settings=settings)
    for command in (["status"], ["history"], ["status", name], ["show", name], ["show", f"{name}/0"], ["logs", name]):
        for options in ([], ["--json"]) if command[0] != "logs" else ([],):
            said = call(*command, *options, expect=None)
            text = said.out + said.err
            assert text
            assert not [c for c in text if c != "\n" and (c < " " or "\x7f" <= c < "\xa0" or c == "\u202e")], command


# ---- while a run goes on
def test_status_is_there_before_during_and_after_a_run(
    whet: Whet, write_script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    write_script("train.py", "import sys, time\ntime.sleep(0.5)\nprint('loss:', sys.argv[2])\n")
    whet("status")
    run = whet.start("run", "--name", "a", "--objective", "loss:min", "train.py", "--lr", "[3, 1, 2]")
    deadline = time.monotonic() + 60
    while not (tmp_path / STORE).exists() or not call("status", "--json").out:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    seen = set()
    while run.poll() is None:
        (one,) = call("status", "a", "--json").objects
        seen.add(one["state"])
        call("show", "a")
        call("history")
    assert run.wait() == 0
    assert "running" in seen
    (one,) = call("status", "a", "--json").objects
    assert (one["state"], one["counts"], one["best"]["values"]["loss"]) == ("finished", {"completed": 3}, 1.0)


# ---- rendering
def test_a_table_is_aligned_and_drops_empty_columns() -> None:
    lines = list(table(("NAME", "N", "EMPTY", "WHAT"), [("a", "1", "", "x"), ("日本", "12", "", "y" * 100)]))
    assert lines == ["NAME   N  WHAT", "a      1  x", f"日本  12  {'y' * 59}…"]


def test_a_table_is_cut_to_the_terminal() -> None:
    for line in table(("NAME", "WHAT"), [("日本" * 10, "x" * 50)], width=33):
        assert text_width(line) <= 33


def test_different_numbers_look_different() -> None:
    assert distinct_numbers([0.1, 0.25, None, 3.0]) == ["0.1", "0.25", "", "3"]
    assert distinct_numbers([0.93, 0.93000001]) == ["0.93", "0.93000001"]
    assert distinct_numbers([1e300, math.nan, -math.inf]) == ["1e+300", "nan", "-inf"]
    assert distinct_numbers([123456789.0, 123456788.0]) == ["123456789", "123456788"]
    assert distinct_numbers([math.nan, math.nan, 0.1]) == ["nan", "nan", "0.1"]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(n_bytes: int, text: str) -> None:
    assert size(n_bytes) == text


def test_times() -> None:
    assert ago(100.0, now=112.0) == "12 s ago"
    assert ago(0.0, now=1e6) == local_time(0.0)
    assert ago(200.0, now=100.0) == local_time(200.0)  # a clock that was set back
    assert ago(None) == local_time(None) == ""
    assert local_time(1e300)


def test_fields_align_and_keep_lines_together() -> None:
    assert list(fields([("a", "1"), ("long", "x\ny\x1b[0m"), ("none", "")])) == ["a     1", "long  x", "      y"]


def test_of_several_that_can_go_on_none_is_picked(tmp_path: Path) -> None:
    begin("a", settings=script_settings(["--lr", "[1, 2]"], tmp_path))
    assert "to go on: whet resume a" in call("status").out
    begin("b", settings=script_settings(["--lr", "[1, 2]"], tmp_path))
    assert "to go on: whet resume NAME" in call("status").out
