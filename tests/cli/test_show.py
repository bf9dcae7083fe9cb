"""``whet show`` and ``whet best``: what a study did, and the command line of what was best."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.studies import begin, call, finish, script_settings
from tests.conftest import Whet
from whet.cli.ranking import Reached, pareto_front, reached, top
from whet.core.problem import Constraint, Objective, Problem
from whet.core.trial import State, Trial
from whet.space.space import Space

RECORD = ["number", "state", "cause", "config", "values", "attempts", "started_at", "duration_s"]
SWEPT = ["--lr", "[0.1, 0.01]", "--opt", "[sgd, adam]"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _numbers(text: str) -> list[int]:
    """The numbers of the trials in a page of `show`."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["TRIAL"])
    return [int(line.split()[0]) for line in lines[start + 1 :] if re.match(r" *\d+ ", line)]


# ---- a study
def test_show_says_what_a_study_is(tmp_path: Path) -> None:
    settings = {**script_settings(SWEPT, tmp_path), "limits": {"n_trials": 4, "target": 0.1}}
    finish(begin(settings=settings, constraints=["acc >= 0.5"]), [{"loss": 0.5, "acc": 0.9}, None])
    text = call("show", "a").out
    for expected in (
        "2 of 4 trials: 1 completed, 1 failed",
        "loss (minimize)",
        "acc >= 0.5",
        "n_trials=4 target=0.1",
        "train.py --lr '[0.1, 0.01]' --opt '[sgd, adam]'",
        str(tmp_path / ".whet" / "a"),
        "whet resume a",
    ):
        assert expected in text
    assert re.search(r"seed +1$", text, re.MULTILINE)
    assert re.search(r" 0 +completed +0.5 +0.9 +0.1 +sgd", text)
    assert re.search(r" 1 +failed: exit code +0.1 +adam", text)


def test_show_json_has_every_trial_with_its_command() -> None:
    finish(begin(space={"x": list(range(60))}, settings={}), range(60))
    objects = call("show", "a", "--json").objects
    assert [one["number"] for one in objects] == list(range(60))
    assert all(list(one) == [*RECORD, "command"] for one in objects)
    assert len(call("show", "a", "--json", "--limit", "7").objects) == 7


def test_pages_follow_one_another() -> None:
    finish(begin(space={"x": list(range(130))}), range(130))
    seen: list[int] = []
    more: list[str] = ["show", "a"]
    while more:
        text = call(*more).out
        seen += _numbers(text)
        found = re.search(r"^more: whet (.*)$", text, re.MULTILINE)
        more = shlex.split(found[1]) if found else []
    assert seen == list(range(130))


def test_a_page_that_ends_with_the_last_trial_offers_no_next_one() -> None:
    finish(begin(space={"x": list(range(51))}), range(50))
    assert "more:" not in call("show", "a").out


def test_nor_does_the_last_one_of_several_full_pages() -> None:
    finish(begin(space={"x": list(range(4))}), range(4))
    assert "more:" in call("show", "a", "--limit", 2).out
    last = call("show", "a", "--limit", 2, "--after", 1).out
    assert _numbers(last) == [2, 3]
    assert "more:" not in last


def test_trials_are_chosen_by_state() -> None:
    finish(begin(space={"x": list(range(300))}), [None if i % 100 == 99 else 0.0 for i in range(300)])
    assert _numbers(call("show", "a", "--state", "failed").out) == [99, 199, 299]
    page = call("show", "a", "--state", "failed", "--limit", "2").out
    assert "more: whet show --after 199 --state failed a" in page
    assert _numbers(call(*shlex.split("show --after 199 --state failed a")).out) == [299]
    both = call("show", "a", "--state", "failed", "--state", "completed", "--json")
    assert len(both.objects) == 300
    assert "no trials" in call("show", "a", "--state", "paused").out
    assert "completed" in call("show", "a", "--state", "broken", expect=2).err


@pytest.mark.parametrize(("direction", "order"), [("minimize", [2, 0, 4, 1, 3, 5]), ("maximize", [4, 0, 2, 1, 3, 5])])
def test_trials_are_sorted_by_value_the_best_first(direction: str, order: list[int]) -> None:
    study = begin(space={"x": list(range(6))}, objective={"loss": direction})
    finish(study, [0.5, None, 0.25, None, 0.75, None])
    assert _numbers(call("show", "a", "--sort", "value").out) == order
    assert [one["number"] for one in call("show", "a", "--sort", "value", "--json").objects] == order
    assert _numbers(call("show", "a", "--sort", "value", "--limit", "2").out) == order[:2]


def test_sorting_by_value_needs_one() -> None:
    begin(objective=())
    assert "no objective" in call("show", "a", "--sort", "value", expect=2).err
    begin("b")
    assert "--after" in call("show", "b", "--sort", "value", "--after", "3", expect=2).err


def test_show_reads_no_more_than_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from whet.storage.sql import SqlStore

    finish(begin(space={"x": list(range(700))}), range(700))
    read: list[int] = []
    trials = SqlStore.trials

    def counted(self: SqlStore, study: int, **options: object) -> list[Trial]:
        found = trials(self, study, **options)  # type: ignore[arg-type]
        read.append(len(found))
        return found

    monkeypatch.setattr(SqlStore, "trials", counted)
    call("show", "a", "--after", "600")
    assert sum(read) <= 100
    read.clear()
    call("show", "a", "--sort", "value")
    assert max(read) <= 250


# ---- a trial
def test_a_trial_shows_all_that_is_known_of_it(tmp_path: Path) -> None:
    study = begin(settings=script_settings(SWEPT, tmp_path), constraints=["acc >= 0"])
    trial = study.ask()
    for step in range(8):
        study.report(trial, {"loss": 1 / (step + 1)}, step=step)
    study.tell(trial, {"loss": 0.125, "acc": 0.1 + 0.2, "other": math.inf})
    folder = tmp_path / ".whet" / "a" / "0"
    folder.mkdir(parents=True)
    (folder / "stdout.log").write_bytes(b"x" * 1500)
    (folder / "model.pt").touch()
    text = call("show", "a/0").out
    for expected in (
        "a/0",
        "completed",
        "lr = 0.1",
        "opt = sgd",
        "acc = 0.30000000000000004",
        "other = inf",
        "chosen by  grid\n",
        f"{folder}\n",
        "stdout.log 1.5 kB, 1 other file",
        "train.py --lr 0.1 --opt sgd",
        "reports (the last of 8)",
    ):
        assert expected in text
    assert [line.split() for line in text.splitlines()[-2:]] == [["6", "0.142857"], ["7", "0.125"]]


def test_a_trial_that_failed_shows_why() -> None:
    study = begin()
    study.fail(study.ask(), cause="timeout", message="last words\n\x1b[31mof the trial")
    text = call("show", "a/0").out
    assert "ran out of time" in text
    assert re.search(r"message +last words\n +of the trial", text)
    (one,) = call("show", "a/0", "--json").objects
    assert (one["state"], one["cause"]) == ("failed", "timeout")
    assert one["message"] == "last words\n\x1b[31mof the trial"


def test_a_trials_json_has_the_record_the_command_and_the_rest(tmp_path: Path) -> None:
    study = begin(settings=script_settings(SWEPT, tmp_path))
    trial = study.ask()
    study.report(trial, {"loss": 0.5}, step=3)
    study.tell(trial, {"loss": 0.5, "other": math.nan})
    (one,) = call("show", "a/0", "--json").objects
    assert list(one)[: len(RECORD)] == RECORD
    assert one["values"] == {"loss": 0.5, "other": "nan"}
    assert one["command"].endswith("train.py --lr 0.1 --opt sgd")
    assert one["reports"] == [{"step": 3.0, "loss": 0.5}]
    assert one["directory"] == str(tmp_path / ".whet" / "a" / "0")


def test_a_trial_that_is_not_there_says_which_are() -> None:
    study = begin()
    assert "no trials yet" in call("show", "a/0", expect=2).err
    finish(study, [1, 2])
    assert "from 0 to 1" in call("show", "a/2", expect=2).err


def test_a_trial_whose_process_was_killed_is_not_shown_as_running(tmp_path: Path) -> None:
    study = begin(settings=script_settings(SWEPT, tmp_path))
    study.ask()
    assert call("show", "a/0", "--json").objects[0]["state"] == "waiting"
    assert "no trials" in call("show", "a", "--state", "running").out
    assert _numbers(call("show", "a", "--state", "waiting").out) == [0]


def test_a_trial_asked_in_this_process_is_running_and_shows_its_last_report() -> None:
    study = begin(constraints=["acc >= 0"])
    trial = study.ask()
    assert call("show", "a/0", "--json").objects[0]["state"] == "running"
    study.report(trial, {"loss": 0.75, "acc": 0.5}, step=1)
    study.report(trial, {"loss": 0.25}, step=2)
    assert re.search(r" 0 +running +0.25 +0.5 ", call("show", "a").out)


# ---- the best
def test_the_best_comes_with_its_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(begin(settings=script_settings(SWEPT, tmp_path)), [0.5, {"loss": 0.25, "acc": 0.9}, 0.75])
    lines = call("best", "a").out.splitlines()
    assert lines[0].split() == ["best", "a/1"]
    assert lines[1].split() == ["loss", "0.25"]
    assert "acc=0.9" in lines[3]
    assert shlex.split(lines[-1])[1:] == ["train.py", "--lr", "0.1", "--opt", "adam"]
    (one,) = call("best", "a", "--json").objects
    assert list(one) == [*RECORD, "command"]
    assert (one["number"], one["command"]) == (1, lines[-1])
    # From elsewhere, the line first goes to where the study was started.
    (tmp_path / "sub dir").mkdir()
    monkeypatch.chdir(tmp_path / "sub dir")
    line = call("best", "a", "--store", "../.whet/whet.db").out.splitlines()[-1]
    assert line.startswith(f"cd {shlex.quote(str(tmp_path))} && ")


def test_the_best_agrees_with_the_study() -> None:
    study = begin(space={"x": list(range(9))}, objective={"loss": "maximize"}, constraints=["acc <= 1"])
    values = [3.0, 9.0, math.nan, None, 7.0, 7.0, -math.inf, math.inf]
    finish(study, [v if v is None else {"loss": v, "acc": 2.0 if v == 9 else 0.5} for v in values])
    assert study.best.number == 4
    assert call("best", "a", "--json").objects[0]["number"] == 4
    top3 = call("best", "a", "--json", "--top", "3").objects
    assert [one["number"] for one in top3] == [4, 5, 0]
    assert len(call("best", "a", "--top", "99").out.splitlines()) == 1 + 3


def test_a_table_of_the_best_ends_with_the_command_of_the_first(tmp_path: Path) -> None:
    finish(begin(settings=script_settings(SWEPT, tmp_path)), [0.5, 0.25, 0.75])
    lines = call("best", "a", "--top", "2").out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["TRIAL", "loss"], ["1", "0.25"], ["0", "0.5"]]
    assert lines[-1].endswith("--lr 0.1 --opt adam")


def test_repeats_are_ranked_by_their_mean() -> None:
    study = begin(space={"x": [1, 2, 3]}, repeats=2)
    finish(study, [1.0, 9.0, 4.0, 4.5])
    assert study.best.number == 2
    text = call("best", "a").out
    assert "a/2" in text
    assert "4.25 ± 0.35 (mean ± standard deviation of 2 repeats)" in text
    (one,) = call("best", "a", "--json").objects
    assert (one["number"], one["n_completed"], one["means"]) == (2, 2, {"loss": 4.25})
    assert one["sds"]["loss"] == pytest.approx(0.353553, abs=1e-6)
    assert [one["number"] for one in call("best", "a", "--json", "--top", "5").objects] == [2, 0]


def test_a_config_with_one_completed_repeat_has_no_deviation() -> None:
    finish(begin(space={"x": [1, 2]}, repeats=2), [1.0, None])
    assert "±" not in call("best", "a").out
    assert call("best", "a", "--json").objects[0]["sds"] == {"loss": None}


def test_several_objectives_give_the_trials_that_none_beats(tmp_path: Path) -> None:
    objective = {"loss": "minimize", "acc": "maximize"}
    study = begin(objective=objective, settings=script_settings(SWEPT, tmp_path))
    finish(study, [{"loss": 1, "acc": 0.5}, {"loss": 2, "acc": 0.9}, {"loss": 3, "acc": 0.8}, {"loss": 1, "acc": 0.5}])
    text = call("best", "a").out
    assert "3 trials that no other one beats in all of: loss (minimize), acc (maximize)" in text
    assert _numbers(text) == [0, 1, 3]
    assert "whet show a/0" in text
    objects = call("best", "a", "--json").objects
    assert [one["number"] for one in objects] == [0, 1, 3]
    assert all(one["command"] for one in objects)


def test_without_an_objective_one_can_be_named() -> None:
    finish(begin(objective=()), [{"loss": 2, "val acc": 0.5}, {"loss": 1, "val acc": 0.4}])
    refused = call("best", "a", expect=2).err
    assert "no objective" in refused
    assert "whet best --objective loss:min a" in refused
    assert call("best", "a", "--objective", "loss:min", "--json").objects[0]["number"] == 1
    assert call("best", "a", "--objective", "val_acc:max", "--json").objects[0]["number"] == 0
    assert "loss" in call("best", "a", "--objective", "los", expect=2).err
    assert "NAME:min" in call("best", "a", "--objective", "loss:up", expect=2).err


@pytest.mark.parametrize("options", [[], ["--json"], ["--top", "3"]])
def test_nothing_completed_is_exit_code_3(options: list[str]) -> None:
    study = begin()
    said = call("best", "a", *options, expect=3)
    assert said.out == ""
    assert "no trial has completed yet" in said.err
    finish(study, [None])
    assert "1 failed" in call("best", "a", *options, expect=3).err


def test_what_keeps_completed_trials_from_being_the_best_is_said() -> None:
    finish(begin("bound", constraints=["loss <= 0"]), [1.0])
    assert "meets the constraints" in call("best", "bound", expect=3).err
    study = begin("repeated", repeats=3)
    finish(study, [1.0])
    study.ask()
    assert "repeats" in call("best", "repeated", expect=3).err


def test_a_command_line_that_cannot_be_put_together_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    finish(begin(settings=script_settings(["--lr", "uniform(1, 2, oops"], tmp_path)), [1.0])
    text = call("best", "a").out
    assert "a/0" in text
    assert "cannot be put together again" in text
    assert call("best", "a", "--json").objects[0]["command"] is None
    assert "cannot be put together again" in call("show", "a/0").out
    call("show", "a")
    call("status")


# ---- ranking
LOSS, ACC = Objective("loss"), Objective("acc", "maximize")


def _trials(values: Iterable[tuple[float, float]]) -> list[Trial]:
    return [Trial(i, State.COMPLETED, {}, values={"loss": a, "acc": b}, group=i) for i, (a, b) in enumerate(values)]


POINTS = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf, math.nan])] * 2), max_size=12)


@given(POINTS)
def test_a_pareto_front_is_what_its_definition_says(values: list[tuple[float, float]]) -> None:
    problem = Problem(Space({"x": [1]}), (LOSS, ACC))
    front = [one.number for one in pareto_front(reached(problem, _trials(values), problem.objectives), (LOSS, ACC))]
    valid = {i: (a, -b) for i, (a, b) in enumerate(values) if not math.isnan(a) and not math.isnan(b)}
    expected = [
        i for i, p in valid.items() if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in valid.values())
    ]
    assert front == expected


@given(st.lists(st.floats(-10, 10)), st.integers(1, 5))
def test_top_is_the_beginning_of_the_sorted_list(values: list[float], n: int) -> None:
    configs = [Reached(i, (value,)) for i, value in enumerate(values)]
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:n]
    assert [one.number for one in top(configs, ACC, n)] == expected


def test_only_completed_feasible_trials_are_ranked() -> None:
    problem = Problem(Space({"x": [1]}), (LOSS,), (Constraint("acc", ">=", 0.5),))
    values = {"loss": 1.0, "acc": 0.9}
    trials = [Trial(i, state, {}, values=values, group=i) for i, state in enumerate(State)]
    trials.append(Trial(90, State.COMPLETED, {}, values={"loss": 0.0, "acc": 0.1}, group=90))
    trials.append(Trial(91, State.COMPLETED, {}, values={"loss": 0.0}, group=91))
    found = reached(problem, trials, [LOSS])
    assert [one.number for one in found] == [list(State).index(State.COMPLETED)]


# ---- end to end
def test_the_line_that_best_prints_runs_the_best_trial_again(
    whet: Whet, write_script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    script = "import sys\nprint('args', sys.argv[1:])\nprint(f'loss: {len(sys.argv[2])}')\n"
    write_script("train.py", script)
    whet("run", "--name", "a b", "--objective", "loss:max", "train.py", "--text", "['x', \"it's $HOME\", 'a;b']")
    (one,) = whet("best", "a b", "--json").stdout.splitlines()
    line = whet("best", "a b").stdout.splitlines()[-1]
    printed = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[0] == "args ['--text', \"it's $HOME\"]"
    assert "it's $HOME" in one


def test_repeats_tell_the_best_single_trial_from_the_mean() -> None:
    study = begin("s", repeats=3, settings={"limits": {"n_trials": 2}})
    finish(study, [4.0, 1.0, 3.0])
    said = call("show", "s").out
    assert "loss 1 (best single trial: 1)" in said
    assert "2 configs × 3 repeats" in said
