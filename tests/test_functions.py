"""Runs of a function beside other users of the study: threads, callbacks, commands, errors that end a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import whet
from whet.core.history import History
from whet.core.protocols import Decision, New, Suggestion
from whet.core.trial import State
from whet.errors import UsageError
from whet.executors.inline import InlineExecutor
from whet.executors.live import LiveTrial

SPACE = {"x": (-1.0, 1.0)}


@pytest.fixture
def slow_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[..., float], Path]]:
    """Give a function whose module takes two minutes to load elsewhere, and a file that is there once it is loaded."""
    mark, name = tmp_path / "mark", "whet_slow_to_load"
    (tmp_path / f"{name}.py").write_text(
        "import os, pathlib, time\n"
        "if os.environ.get('WHETTEST_SLOW'):\n"
        f"    pathlib.Path({str(mark)!r}).touch()\n"
        "    time.sleep(float(os.environ['WHETTEST_SLOW']))\n"
        "def fn(config):\n"
        "    return config['x']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__(name)
    monkeypatch.setenv("WHETTEST_SLOW", "120")
    yield module.fn, mark
    sys.modules.pop(name)


def when_there(path: Path, act: Callable[[], object]) -> threading.Thread:
    def go() -> None:
        while not path.exists():
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=go)
    thread.start()
    return thread


def test_ctrl_c_while_the_function_is_loaded_returns_the_study_and_leaves_nothing(
    slow_to_load: tuple[Callable[..., float], Path],
) -> None:
    fn, mark = slow_to_load
    thread = when_there(mark, lambda: os.kill(os.getpid(), signal.SIGINT))
    study = whet.tune(fn, SPACE, n_trials=2, progress=False)
    thread.join()
    assert study.outcome is not None
    assert study.outcome.reason == "interrupted"
    assert study.trials == []
    assert not [child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline())]


def test_a_stop_while_the_function_is_loaded_is_heard(
    slow_to_load: tuple[Callable[..., float], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fn, mark = slow_to_load
    monkeypatch.setenv("WHETTEST_SLOW", "0.5")
    study = whet.Study(SPACE)
    said: list[bool] = []
    thread = when_there(mark, lambda: said.append(study.stop()))
    study.run(fn, n_trials=200, progress=False)
    thread.join()
    assert said == [True]
    assert study.outcome is not None
    assert study.outcome.reason == "stopped"
    study.run(fn, n_trials=3, executor="inline", progress=False)  # a stop of the past stops nothing more
    assert len(study.trials) == 3


def test_threads_run_one_study_beside_each_other(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    first = whet.Study(SPACE, store=store, name="shared", seed=1)
    met = threading.Barrier(2, timeout=30)
    errors: list[BaseException] = []

    def together(study: whet.Study, trial: Any) -> None:
        if not met.broken and not seen.is_set():
            met.wait()  # both are running now
            seen.set()

    seen = threading.Event()

    def go(study: whet.Study) -> None:
        try:
            study.run(
                lambda config: config["x"] + (time.sleep(0.05) or 0.0),
                n_trials=30,
                on_trial_end=together,
                progress=False,
            )
        except BaseException as error:
            errors.append(error)
            met.abort()

    threads = [threading.Thread(target=go, args=(study,)) for study in (first, whet.load("shared", store))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [trial.number for trial in first.trials] == list(range(30))
    assert not list(tmp_path.rglob("runner-*.lock"))


@pytest.mark.parametrize("options", [{"executor": "inline"}, {"workers": 2}])
def test_a_callback_may_end_a_trial_that_is_about_to_start(options: dict[str, Any]) -> None:
    def fail_all(study: whet.Study, trial: Any) -> None:
        for other in study.trials:
            if other.state is State.RUNNING:
                study.fail(other.number, message="not wanted")

    study = whet.tune(
        lambda config: config["x"], SPACE, n_trials=6, on_trial_end=fail_all, max_failures=99, progress=False, **options
    )
    assert {trial.state for trial in study.trials} == {State.COMPLETED, State.FAILED}
    assert len(study.trials) == 6


class _Faulty:
    """A sampler with a bug, the fourth time."""

    needs_history = False

    def __init__(self) -> None:
        self.n = 0

    def suggest(self, history: History, numbers: Any, rng_of: Any) -> list[Suggestion]:
        self.n += 1
        if self.n == 4:
            raise ValueError("a bug")
        return [Suggestion({"x": 0.5}) for _ in numbers]


@pytest.mark.parametrize("options", [{"executor": "inline"}, {"workers": 2}])
def test_a_run_that_an_error_ends_gives_back_what_it_holds(options: dict[str, Any]) -> None:
    study = whet.Study(SPACE, sampler=_Faulty())
    with pytest.raises(ValueError, match="a bug"):
        study.run(lambda config: time.sleep(0.05) or config["x"], n_trials=8, progress=False, **options)
    assert State.RUNNING not in {trial.state for trial in study.trials}
    study.run(lambda config: config["x"], n_trials=8, progress=False, **options)
    assert [(trial.number, trial.state) for trial in study.trials] == [(n, State.COMPLETED) for n in range(8)]


def test_an_inline_executor_with_slots_runs_each_trial_once() -> None:
    def fn(trial: LiveTrial) -> float:
        for step in range(3):
            time.sleep(0.06)  # long enough for the run to look around
            trial.report(1.0, step)
        return 1.0

    study = whet.Study(SPACE)
    study.run(executor=InlineExecutor(fn, slots=2), n_trials=5, progress=False)
    assert [(trial.state, trial.attempt) for trial in study.trials] == [(State.COMPLETED, 1)] * 5


class _Waits:
    """A scheduler whose trials wait for its word."""

    def assign(self, history: History, n: int, n_new: int) -> list[New]:
        return [New() for _ in range(n)]

    def decide(self, history: History, number: int) -> Decision:
        return Decision.CONTINUE


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_report_of_which_nothing_counts_is_answered(executor: Any) -> None:
    def fn(trial: LiveTrial) -> float:
        for step in range(4):  # of more metrics than are kept
            trial.report({f"m{step}_{i}": 1.0 for i in range(400)}, step)
        return 1.0

    objective = {"m0_0": "minimize"}
    study = whet.tune(
        lambda trial: {"m0_0": fn(trial)},
        SPACE,
        objective=objective,
        n_trials=1,
        scheduler=_Waits(),
        executor=executor,
        trial_timeout=None if executor == "inline" else 30,
        progress=False,
    )
    assert study.trials[0].state is State.COMPLETED


def test_another_search_of_that_name_changes_nothing_of_the_first(tmp_path: Path) -> None:
    def go(space: Any, **options: Any) -> None:
        whet.tune(
            lambda config: 1.0,
            space,
            n_trials=2,
            name="a",
            store=tmp_path / "a.db",
            executor="inline",
            progress=False,
            **options,
        )

    go(SPACE)
    with pytest.raises(UsageError, match="another search"):
        go({"y": (0.0, 1.0)}, sampler="random")
    assert whet.load("a", tmp_path / "a.db").ledger.history.settings["sampler"] == "auto"


@pytest.mark.parametrize(
    "options",
    [
        {"trial_memory": "2GB"},
        {"trial_timeout": True},
        {"retries": 3},
        {"retries": {"error": "once"}},
        {"on_trial_end": 3},
        {"on_trial_end": ["a"]},
    ],
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        whet.tune(lambda config: 1.0, SPACE, n_trials=2, progress=False, **options)


def test_sigterm_leaves_no_folder_of_a_study_in_memory(tmp_path: Path) -> None:
    program = (
        "import time, whet\n"
        "def fn(config):\n"
        "    time.sleep(0.01)\n"
        "    return config['x']\n"
        "def told(study, trial):\n"
        "    print(trial.number, flush=True)\n"
        "whet.tune(fn, {'x': (0.0, 1.0)}, n_trials=10_000, on_trial_end=told, progress=False)\n"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.stdout.read()
    assert process.returncode == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_trial_is_found_whatever_other_threads_have_written_since() -> None:
    study = whet.Study(SPACE)
    trial = study.ask()
    study.tell(trial, 1.0)
    study.annotate(note="written by another thread, right after the end")
    assert study.ledger.trial(trial.number).state is State.COMPLETED
