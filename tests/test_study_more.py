"""`Study`: what people add to it, the order in which things are told, threads, and many processes."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whet
from whet.core.trial import State
from whet.errors import ConfigError, NotReady, SearchExhausted, StaleAttempt, StateError, UsageError
from whet.study import Study, load

SPACE = {"x": (0.0, 1.0), "n": [1, 2, 3]}


def study(space: Any = None, **options: Any) -> Study:
    return Study(SPACE if space is None else space, **{"sampler": "random", "seed": 1, **options})


# ---- the order of tells
@given(order=st.permutations(range(6)))
def test_the_order_of_tells_changes_nothing_that_is_known(order: list[int]) -> None:
    searched = study()
    trials = searched.ask(6)
    for index in order:
        searched.tell(trials[index], float(index))
    assert [trial.values["value"] for trial in searched.trials] == [0, 1, 2, 3, 4, 5]
    assert searched.best.number == 0
    assert searched.ask().config == study().ask(7)[6].config


def test_a_tell_that_comes_late_is_taken_and_one_after_the_end_is_not() -> None:
    searched = study()
    early, late = searched.ask(2)
    searched.tell(early, 1.0)
    assert not searched.stop()
    searched.tell(late, 0.0)
    assert searched.best.number == late.number
    for again in (early, late.number):
        with pytest.raises((StateError, StaleAttempt)):
            searched.tell(again, 2.0)
    with pytest.raises(StateError, match="does not exist"):
        searched.tell(17, 2.0)
    assert [trial.values["value"] for trial in searched.trials] == [1.0, 0.0]


def test_a_bare_number_says_too_little_where_objectives_have_names() -> None:
    searched = study(objective={"acc": "maximize", "ms": "minimize"})
    trial = searched.ask()
    with pytest.raises(UsageError, match="acc, ms"):
        searched.tell(trial, 0.5)
    searched.tell(trial, {"acc": 0.5, "ms": 3})
    bare = study()
    trial = bare.ask()
    with pytest.raises(UsageError, match="loss, acc"):
        bare.tell(trial, {"loss": 0.5, "acc": 1})
    assert bare.tell(trial, 0.5).state is State.COMPLETED


# ---- given configs
def test_what_is_enqueued_comes_next_and_counts() -> None:
    searched = study()
    waiting = searched.enqueue({"x": 0.5, "n": 2})
    assert (waiting.number, waiting.state) == (0, State.WAITING)
    assert searched.ask().config == {"x": 0.5, "n": 2}
    assert searched.ask().number == 1
    for wrong in ({"x": 0.5}, {"x": 2.0, "n": 1}, {"x": 0.5, "n": 1, "m": 1}, {"x": "0.5", "n": 1}, {}):
        with pytest.raises(ConfigError):
            searched.enqueue(wrong)
    assert len(searched.trials) == 2


def test_what_is_enqueued_is_not_run_twice_by_a_grid() -> None:
    searched = study({"a": [1, 2, 3], "b": ["x", "y"]}, sampler="grid")
    searched.ask()
    searched.enqueue({"a": 3, "b": "y"})
    searched.enqueue({"a": 2, "b": "x"})
    seen = [tuple((trial.config or {}).values()) for trial in searched.trials[:1]]
    while True:
        try:
            seen.append(tuple((searched.ask().config or {}).values()))
        except SearchExhausted:
            break
    assert Counter(seen) == Counter((a, b) for a in (1, 2, 3) for b in "xy")


def test_added_trials_are_known_and_count_for_no_limit(tmp_path: Path) -> None:
    searched = study(store=tmp_path / "x.db")
    numbers = searched.add_trials([({"x": 0.1, "n": 1}, 3.0), ({"x": 0.2, "n": 2}, {"value": 1.0, "ms": 7})])
    assert numbers == [0, 1]
    assert searched.best_config == {"x": 0.2, "n": 2}
    assert searched.best.values == {"value": 1.0, "ms": 7.0}
    searched.run(lambda config: 5.0, n_trials=4, executor="inline", progress=False)
    assert [trial.given for trial in searched.trials] == ["added", "added", None, None, None, None]
    assert load("study", tmp_path / "x.db").best_value == 1.0
    with pytest.raises(UsageError, match="row 1"):
        searched.add_trials([({"x": 0.1, "n": 1}, 3.0), ({"x": 9.0, "n": 1}, 3.0)])
    with pytest.raises(UsageError, match="row 0"):
        searched.add_trials([({"x": 0.1, "n": 1}, "three")])  # type: ignore[list-item]
    assert len(searched.trials) == 6
    assert searched.add_trials([({"x": 0.1, "n": 1}, float("nan"))]) == [6]
    assert searched.trials[6].state is State.FAILED


# ---- attributes and notes
def test_attributes_and_notes(tmp_path: Path) -> None:
    searched = study(store=tmp_path / "x.db")
    trial = searched.ask()
    searched.annotate(trial, {"gpu": "A100", "commit": "abc"}, note="warm start")
    searched.tell(trial, 0.5)
    searched.annotate(trial.number, {"commit": None, "path": ["a", 1]})
    searched.annotate(attributes={"team": "vision"}, note="for the paper")
    with pytest.raises(UsageError, match="'bad'"):
        searched.annotate(attributes={"bad": object()})
    with pytest.raises(StateError):
        searched.annotate(12, {"a": 1})
    again = load("study", tmp_path / "x.db")
    (told,) = again.trials
    assert (dict(told.attributes), told.note) == ({"gpu": "A100", "path": ["a", 1]}, "warm start")
    assert (again.attributes, again.note) == ({"team": "vision"}, "for the paper")
    assert told.state is State.COMPLETED


# ---- how it shows
def test_a_study_shows_itself() -> None:
    searched = study(name="<b>odd & name</b>")
    assert "<b>odd" in repr(searched)
    searched.tell(searched.ask(), 0.25)
    assert "0.25" in repr(searched)
    shown = searched._repr_html_()
    assert "<b>odd" not in shown
    assert "&lt;b&gt;odd &amp; name" in shown
    assert "0.25" in shown
    assert len(searched.to_frame()["number"]) == 1


# ---- deterministic
def test_a_deterministic_study_waits_for_the_trials_it_builds_on() -> None:
    searched = study(lookahead=2)
    first, second = searched.ask(4)
    with pytest.raises(NotReady):
        searched.ask()
    searched.tell(second, 0.0)
    with pytest.raises(NotReady):
        searched.ask()
    searched.tell(first, 0.0)
    assert [trial.number for trial in searched.ask(5)] == [2, 3]
    with pytest.raises(UsageError, match="trial 2, which was asked by hand"):
        searched.run(lambda config: 0.0, n_trials=9, progress=False)
    for wrong in (0, -1, True, 2.0):
        with pytest.raises(UsageError, match="lookahead"):
            study(lookahead=wrong)


# ---- threads and processes
def test_threads_ask_and_tell_while_a_run_goes_on() -> None:
    searched = study({"n": list(range(300))})
    told: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                trial = searched.ask()
                searched.report(trial, 1.0, step=1)
                searched.tell(trial, float((trial.config or {})["n"]))
                told.append(trial.number)
        except SearchExhausted:
            pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    ended: list[int] = []

    def note(study: Study, trial: Any) -> None:
        if not ended:
            for thread in threads:
                thread.start()
        ended.append(trial.number)

    searched.run(lambda config: float(config["n"]), executor="inline", progress=False, on_trial_end=note)
    for thread in threads:
        thread.join(60)
    assert not errors
    assert sorted(int(trial.values["value"]) for trial in searched.trials) == list(range(300))
    assert len(set(told)) == len(told) < 300
    assert sorted(set(ended)) == sorted(ended)
    assert set(range(300)) - set(told) <= set(ended)


def test_several_studies_in_one_process() -> None:
    studies = [study({"x": (0.0, 1.0)}, name=f"s{k}", seed=k) for k in range(4)]
    threads = [
        threading.Thread(
            target=searched.run, args=[lambda config: config["x"]], kwargs={"n_trials": 5, "progress": False}
        )
        for searched in studies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for k, searched in enumerate(studies):
        alone = study({"x": (0.0, 1.0)}, seed=k).ask(5)
        assert [trial.config for trial in searched.trials] == [trial.config for trial in alone]
        assert all(trial.values["value"] == (trial.config or {})["x"] for trial in searched.trials)


WORKER = textwrap.dedent(
    """
    import sys, time, whet
    store, executor = sys.argv[1:]
    study = whet.load("study", store)
    study.run(lambda config: config["n"], n_trials=60, executor=executor, progress=False)
    print(study.outcome.reason)
    """
)


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_processes_share_a_study_and_its_limit(tmp_path: Path, executor: str) -> None:
    store = tmp_path / "x.db"
    searched = study({"n": list(range(100))}, store=store)
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(store), executor], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [worker.communicate(timeout=120)[0].strip() for worker in workers] == ["done"] * 4
    trials = searched.trials
    assert len(trials) == 60
    assert all(trial.state is State.COMPLETED for trial in trials)
    assert len({trial.values["value"] for trial in trials}) == 60


def test_stop_reaches_every_process(tmp_path: Path) -> None:
    store = tmp_path / "x.db"
    searched = study({"n": list(range(10_000))}, store=store)
    code = WORKER.replace("n_trials=60", "n_trials=10_000").replace('config["n"]', 'time.sleep(0.05) or config["n"]')
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(store), "inline"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    while len({trial.owner for trial in searched.trials if trial.owner}) < 3:
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.02)
    assert searched.stop()
    assert [worker.communicate(timeout=120)[0].strip() for worker in workers] == ["stopped"] * 3
    assert not [trial for trial in searched.trials if trial.state is State.RUNNING]


def test_a_killed_process_leaves_nothing_undone(tmp_path: Path) -> None:
    store = tmp_path / "x.db"
    searched = study({"n": list(range(40))}, store=store, sampler="grid")
    code = WORKER.replace('config["n"]', 'time.sleep(0.02) or config["n"]').replace("n_trials=60", "n_trials=40")
    rng = random.Random(3)
    for _ in range(3):
        worker = subprocess.Popen([sys.executable, "-c", code, str(store), "inline"], stdout=subprocess.DEVNULL)
        n_before = len(searched.trials)
        while len(searched.trials) < n_before + rng.randint(1, 5) and worker.poll() is None:
            time.sleep(0.01)
        worker.kill()
        worker.wait()
    searched.run(lambda config: config["n"], n_trials=40, executor="inline", progress=False)
    assert [trial.values["value"] for trial in searched.trials] == list(range(40))


def test_a_program_that_whet_run_holds_is_not_disturbed(tmp_path: Path) -> None:
    searched = study(store=tmp_path / "x.db")
    with searched.ledger.store.hold(searched.ledger.study), pytest.raises(whet.errors.StudyBusy):
        load("study", tmp_path / "x.db").run(lambda config: 0.0, n_trials=3, executor="inline", progress=False)
