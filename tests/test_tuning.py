"""`whet.tune`: what one call does, again and again, and what it refuses."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.core.protocols import Decision
from whet.core.trial import State
from whet.errors import ConfigError, ExecutorError, SpaceError, StudyBusy, UsageError
from whet.samplers.names import name_of, options_of

SPACE = {"x": (-1.0, 1.0)}
EXECUTORS = pytest.mark.parametrize("executor", ["inline", "processes"])


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tune(fn: Any, space: Any = None, **options: Any) -> whet.Study:
    options = {"n_trials": 6, "seed": 1, "progress": False, **options}
    return whet.tune(fn, SPACE if space is None else space, **options)


# ---- what it does
@EXECUTORS
def test_the_best_config_of_a_lambda(executor: str) -> None:
    study = tune(lambda config: (config["x"] - 0.5) ** 2, n_trials=20, executor=executor)
    assert len(study.trials) == 20
    assert all(trial.state is State.COMPLETED for trial in study.trials)
    assert study.best_value == min(trial.values["value"] for trial in study.trials)
    assert study.best_value == (study.best_config["x"] - 0.5) ** 2
    assert study.outcome is not None
    assert study.outcome.reason == "done"


@EXECUTORS
def test_metrics_with_names_and_directions(executor: str) -> None:
    study = tune(
        lambda config: {"acc": 1 - config["x"] ** 2, "size": 3},
        objective={"acc": "maximize"},
        executor=executor,
    )
    assert study.best_value == max(trial.values["acc"] for trial in study.trials)
    assert study.best.values["size"] == 3


@EXECUTORS
def test_a_function_that_only_reports(executor: str) -> None:
    def train(config: Mapping[str, Any], trial: Any) -> None:
        for epoch in range(3):
            assert trial.report({"loss": config["x"] + epoch}, step=epoch) is Decision.CONTINUE

    study = tune(train, objective={"loss": "minimize"}, executor=executor)
    for trial in study.trials:
        assert trial.config is not None
        assert [tuple(row) for row in trial.curve] == [(epoch, trial.config["x"] + epoch) for epoch in range(3)]
        assert trial.values["loss"] == trial.config["x"] + 2


def test_workers_run_at_the_same_time(tmp_path: Path) -> None:
    def meet(config: Mapping[str, Any]) -> float:
        (tmp_path / str(config["n"])).touch()
        while len(list(tmp_path.glob("[0-9]"))) < 3:
            time.sleep(0.01)
        return 0.0

    assert tune(meet, {"n": [0, 1, 2]}, n_trials=None, workers=3, trial_timeout=60).best_value == 0.0


def test_the_same_seed_gives_the_same_trials() -> None:
    def value(config: Mapping[str, Any]) -> float:
        return float(config["x"])

    once, again = tune(value, executor="inline"), tune(value, workers=2)
    assert [trial.config for trial in once.trials] == [trial.config for trial in again.trials]
    assert once.best_config == again.best_config


def test_first_configs_come_first() -> None:
    study = tune(lambda config: config["x"] ** 2, first=[{"x": 0.25}, {"x": 0}], n_trials=4, executor="inline")
    assert [trial.config for trial in study.trials][:2] == [{"x": 0.25}, {"x": 0.0}]
    assert len(study.trials) == 4
    assert study.best_value == 0.0


def test_a_first_config_may_leave_something_out() -> None:
    space = {"x": (-1.0, 1.0), "n": (1, 9), "kind": ["a", "b"]}
    study = tune(lambda config: config["x"], space, first=[{"n": 2}, {"n": 2, "x": 0.0}, {"kind": "b"}], n_trials=4)
    assert [trial.config for trial in study.trials if trial.given] == [
        {"x": 0.0, "n": 2, "kind": "a"},
        {"x": 0.0, "n": 5, "kind": "b"},
    ]
    assert len(study.trials) == 4


def test_repeats_share_a_config_and_differ_in_their_seeds() -> None:
    def seed_of(trial: Any) -> float:
        return float(trial.seed % 1000)

    study = tune(seed_of, n_trials=3, repeats=2, executor="inline")
    values = [trial.values["value"] for trial in study.trials]
    configs = [trial.config for trial in study.trials]
    assert configs[0::2] == configs[1::2]
    assert values[0] != values[1]
    assert values[0::2] == [values[0]] * 3


# ---- a name
def test_a_sampler_goes_on_with_its_options_until_another_one_is_given() -> None:
    def options(**more: Any) -> dict[str, Any]:
        study = tune(lambda config: config["x"] ** 2, name="s", executor="inline", **more)
        kept = study.ledger.history.settings
        assert options_of(study.sampler) == options_of(whet.load("s").sampler) == kept["sampler_options"]
        assert name_of(study.sampler) == name_of(whet.load("s").sampler) == kept["sampler"]
        return {kept["sampler"]: kept["sampler_options"]}

    assert options(sampler="tpe(n_start=3)") == {"tpe": {"n_start": 3}}
    assert options(n_trials=7) == {"tpe": {"n_start": 3}}
    assert options(n_trials=8, sampler=whet.samplers.TPE(gamma=0.5)) == {"tpe": {"gamma": 0.5}}
    assert options(n_trials=9, sampler="gp(acquisition='ucb')") == {"gp": {"acquisition": "ucb"}}
    assert options(n_trials=10, sampler="bayes") == {"gp": {}}
    sources = {trial.why["source"] for trial in whet.load("s").trials}
    assert sources == {"start", "tpe", "gp"}


def test_another_sampler_under_the_same_name_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def said(n_trials: int, **more: Any) -> list[str]:
        tune(lambda config: config["x"] ** 2, name="s", executor="inline", n_trials=n_trials, **more)
        return [line for line in capfd.readouterr().err.splitlines() if "the sampler was" in line]

    assert said(2, sampler="random", progress=True) == []
    assert said(3, progress=True) == []
    assert said(4, sampler="tpe(n_start=3)", progress=True) == [
        "s: the sampler was random, from now on it is tpe(n_start=3)"
    ]
    assert said(5, sampler="tpe(n_start=3)", progress=True) == []
    assert said(6, sampler="random") == []


@pytest.mark.parametrize("first", [{"x": 0.5}, "defaults", b"x", 3, None])
def test_first_is_a_list_of_configs(first: Any) -> None:
    with pytest.raises(UsageError, match=r"first is a list of configs, as in first=.*, got") as caught:
        tune(lambda config: 0.0, first=first)
    assert ("for the command line" in str(caught.value)) == isinstance(first, str)


def test_a_sampler_given_to_load_is_for_that_object_alone() -> None:
    tune(lambda config: config["x"] ** 2, name="s", executor="inline", sampler="random")
    assert type(whet.load("s", sampler="gp").sampler) is whet.samplers.GP
    assert type(whet.load("s").sampler) is whet.samplers.Random


def test_the_same_call_goes_on_to_the_total() -> None:
    calls = tune(lambda config: config["x"] ** 2, name="again", n_trials=3, executor="inline")
    before = [trial.config for trial in calls.trials]
    assert len(before) == 3
    more = tune(lambda config: config["x"] ** 2, name="again", n_trials=5, executor="inline", first=[{"x": 0.5}])
    assert len(more.trials) == 5
    assert [trial.config for trial in more.trials][:3] == before
    assert {"x": 0.5} in [trial.config for trial in more.trials]
    same = tune(lambda config: 1 / 0, name="again", n_trials=5, executor="inline", first=[{"x": 0.5}])
    assert len(same.trials) == 5
    assert Path(".whet/whet.db").exists()


def test_another_search_under_the_same_name_shows_the_difference() -> None:
    tune(lambda config: 0.0, {"x": [1, 2], "old": [1]}, n_trials=None, name="s", executor="inline")
    with pytest.raises(UsageError) as caught:
        tune(lambda config: 0.0, {"x": [1, 3]}, n_trials=None, name="s", objective="maximize", seed=5)
    message = str(caught.value)
    for part in (
        "'s' exists and is another search",
        "space: x: was",
        "old",
        "objectives: was minimize value, is maximize value",
        "seed: was 1, is 5",
    ):
        assert part in message


def test_a_study_that_was_given_up_half_way_goes_on() -> None:
    """Kill -9 of the whole program, then the same program again: nothing is lost, nothing is done twice."""
    program = textwrap.dedent(
        """
        import os, sys, time, whet
        def train(config):
            with open("runs.txt", "a") as file:
                file.write(f"{config['n']}\\n")
            time.sleep(0.05)
            return config["n"]
        study = whet.tune(train, {"n": list(range(12))}, name="s", workers=2, sampler="grid", progress=False)
        print(len(study.trials), study.best_value)
        """
    )
    Path("program.py").write_text(program)
    first = subprocess.Popen([sys.executable, "program.py"], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if Path("runs.txt").exists() and len(Path("runs.txt").read_text().split()) >= 4:
            break
        time.sleep(0.01)
    first.kill()
    first.communicate()
    done = {trial.number for trial in whet.load("s").trials if trial.state is State.COMPLETED}
    assert len(done) < 12
    again = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, timeout=120, check=False)
    assert again.stdout.split() == ["12", "0.0"], again.stderr
    study = whet.load("s")
    assert [trial.values["value"] for trial in study.trials] == list(range(12))
    runs = [int(n) for n in Path("runs.txt").read_text().split()]
    assert all(runs.count(n) == 1 for n in done)


# ---- who ends it
def test_ctrl_c_returns_the_study_and_restores_the_handler() -> None:
    before = signal.getsignal(signal.SIGINT)
    pid = os.getpid()

    def train(config: Mapping[str, Any]) -> float:
        if config["n"] == 3:
            os.kill(pid, signal.SIGINT)
            time.sleep(60)
        return 0.0

    for executor in ("inline", "processes"):
        study = tune(train, {"n": list(range(6))}, n_trials=None, sampler="grid", executor=executor)
        assert study.outcome is not None
        assert study.outcome.reason == "interrupted"
        states = [trial.state for trial in study.trials]
        assert states[:3] == [State.COMPLETED] * 3
        assert states[3] is State.WAITING
        assert signal.getsignal(signal.SIGINT) is before
        assert study.best_value == 0.0


def test_sigterm_is_raised_again_once_everything_is_in_order() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: came.append(signum))
    try:
        study = whet.Study({"n": list(range(6))}, sampler="grid")
        pid = os.getpid()
        study.run(lambda config: config["n"] or os.kill(pid, signal.SIGTERM) or time.sleep(60), progress=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    assert study.outcome is not None
    assert study.outcome.reason == "terminated"


@EXECUTORS
def test_stop_from_a_callback(executor: str) -> None:
    seen: list[int] = []

    def enough(study: whet.Study, trial: Any) -> None:
        seen.append(trial.number)
        if len(seen) == 3:
            assert study.stop()

    study = tune(lambda config: 0.0, n_trials=50, executor=executor, on_trial_end=enough)
    assert study.outcome is not None
    assert study.outcome.reason == "stopped"
    assert seen == [0, 1, 2]
    assert not study.stop()


def test_stop_from_another_thread() -> None:
    study = whet.Study(SPACE, seed=1)

    def stop() -> None:
        while not study.ledger.history.running:
            time.sleep(0.05)
        study.stop()

    threading.Thread(target=stop).start()
    study.run(lambda config: time.sleep(60), n_trials=5, progress=False)
    assert study.outcome is not None
    assert study.outcome.reason == "stopped"
    assert [trial.state for trial in study.trials] == [State.WAITING]


@EXECUTORS
def test_a_callback_that_raises_ends_the_run_and_is_told(executor: str) -> None:
    def broken(study: whet.Study, trial: Any) -> None:
        raise ZeroDivisionError("mine")

    study = whet.Study(SPACE, seed=1)
    with pytest.raises(ZeroDivisionError, match="mine"):
        study.run(lambda config: 0.0, n_trials=5, executor=executor, on_trial_end=broken, progress=False)
    assert study.trials[0].state is State.COMPLETED
    assert not [trial for trial in study.trials if trial.state is State.RUNNING]
    assert len(study.run(lambda config: 0.0, n_trials=5, executor="inline", progress=False).trials) == 5


def test_a_callback_may_use_the_study() -> None:
    def more(study: whet.Study, trial: Any) -> None:
        study.annotate(trial, {"seen": True})
        if trial.number == 0:
            study.enqueue({"x": 0.125})

    study = tune(lambda config: config["x"] ** 2, executor="inline", on_trial_end=[more])
    assert all(trial.attributes == {"seen": True} for trial in study.trials)
    assert {"x": 0.125} in [trial.config for trial in study.trials]
    assert len(study.trials) == 6


def test_a_timeout_a_target_and_failures_end_the_run() -> None:
    slow = tune(lambda config: time.sleep(30), n_trials=None, timeout=0.5)
    assert slow.outcome is not None
    assert slow.outcome.reason == "timeout"
    good = tune(lambda config: 0.0, n_trials=50, target=0.5, executor="inline")
    assert good.outcome is not None
    assert (good.outcome.reason, len(good.trials)) == ("target", 1)
    bad = tune(lambda config: 1 / 0, n_trials=50, executor="inline")
    assert bad.outcome is not None
    assert (bad.outcome.reason, len(bad.trials)) == ("failures", 3)
    worse = tune(lambda config: 1 / 0, n_trials=50, max_failures=7, executor="inline")
    assert len(worse.trials) == 7


# ---- decisions
class StopsOdd:
    """A scheduler that stops every second trial at its first report."""

    def assign(self, history: Any, n: int, n_new: int) -> list[Any]:
        from whet.core.protocols import New

        return [New()] * n

    def decide(self, history: Any, number: int) -> Decision:
        return Decision.STOP if number % 2 else Decision.CONTINUE


@EXECUTORS
def test_a_report_raises_when_the_trial_is_to_stop(executor: str) -> None:
    def train(config: Mapping[str, Any], trial: Any) -> float:
        try:
            trial.report(0.5, step=1)
        except Exception:
            return -1.0  # TrialStopped is none: it goes through
        return 0.25

    study = tune(train, n_trials=6, executor=executor, scheduler=StopsOdd())
    states = [trial.state for trial in study.trials]
    assert states == [State.COMPLETED, State.STOPPED] * 3
    assert [trial.values for trial in study.trials] == [{"value": 0.25}, {"value": 0.5}] * 3


@EXECUTORS
def test_a_report_that_does_not_raise_returns_the_decision(executor: str) -> None:
    def train(config: Mapping[str, Any], trial: Any) -> float:
        return 1.0 if trial.report(0.5, step=1, raises=False) is Decision.CONTINUE else 2.0

    study = tune(train, n_trials=4, executor=executor, scheduler=StopsOdd())
    assert [trial.state for trial in study.trials] == [State.COMPLETED, State.STOPPED] * 2


@EXECUTORS
def test_a_function_may_stop_its_trial_itself(executor: str) -> None:
    def train(config: Mapping[str, Any], trial: Any) -> float:
        trial.report(0.5, step=1)
        raise whet.TrialStopped

    study = tune(train, n_trials=2, executor=executor)
    assert [trial.state for trial in study.trials] == [State.STOPPED] * 2


# ---- what it refuses
@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (lambda lr, dropout: 0.0, "lambda config"),
        (lambda: 0.0, "config"),
        (42, "42"),
        (dict, "class"),
    ],
)
def test_functions_that_cannot_be_called(fn: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tune(fn, name="never")
    assert not Path(".whet").exists()


def test_a_function_that_cannot_be_sent_names_what_it_holds() -> None:
    lock = threading.Lock()
    with pytest.raises(UsageError, match="lock"):
        tune(lambda config: lock.locked())
    assert tune(lambda config: float(lock.locked()), executor="inline").best_value == 0.0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"n_trials": None}, UsageError, "has no end"),
        ({"n_trials": 0}, UsageError, "n_trials"),
        ({"workers": 0}, UsageError, "workers"),
        ({"workers": 2, "executor": "inline"}, UsageError, "one trial after the other"),
        ({"executor": "inline", "trial_timeout": 3}, UsageError, "processes"),
        ({"executor": "thread"}, UsageError, "known: 'processes', 'inline'"),
        ({"executor": "ray"}, UsageError, "still to come"),
        ({"trial_timeout": 0}, UsageError, "trial_timeout"),
        ({"trial_memory": math.inf}, UsageError, "trial_memory"),
        ({"sampler": "gridd"}, UsageError, "did you mean 'grid'"),
        ({"sampler": "tpe(n_strat=3)"}, UsageError, "did you mean 'n_start'"),
        ({"sampler": "gp(acquisition=uc)"}, UsageError, "acquisition is one of .*, got 'uc'"),
        ({"sampler": "gp", "objective": {"a": "minimize", "b": "maximize"}}, UsageError, "exactly one objective"),
        ({"sampler": "tpe", "space": {"g": whet.NumpyDistribution("gamma", (2.0,))}}, SpaceError, "g: tpe needs"),
        ({"first": [{"y": 1}]}, ConfigError, "y"),
        ({"first": [{"x": 7.0}]}, ConfigError, "x"),
        ({"objective": "minimise it"}, UsageError, "minimise it"),
        ({"retries": {"eror": 1}}, UsageError, "eror"),
        ({"constraints": ["loss < 3"]}, UsageError, "loss < 3"),
        ({"space": {"x": "0..1"}}, SpaceError, "x"),
        ({"fidelity": {"epochs": 3}}, UsageError, "epochs"),
        ({"fidelity": {"epochs": (5, 2)}}, UsageError, "low < high"),
        ({"deterministic": True, "workers": 9}, UsageError, "9"),
        ({"repeats": 0}, UsageError, "repeats"),
        ({"name": ""}, UsageError, "name"),
        ({"trial_memory": 10}, UsageError, "number of bytes"),
        ({"sampler": 3}, UsageError, "a sampler is a name"),
        ({"scheduler": 3}, UsageError, "a scheduler is a name"),
        ({"scheduler": "ahsa"}, UsageError, "unknown scheduler"),
        ({"objective": ["minimize", "maximize"]}, UsageError, "metric names with their directions"),
        ({"name": 3}, UsageError, "name"),
        ({"store": 3}, UsageError, "a path, a URL or a Store"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        tune(lambda config: 0.0, **options)


@EXECUTORS
@pytest.mark.parametrize(
    ("returned", "state", "cause"),
    [
        ("True", State.COMPLETED, None),
        ("__import__('decimal').Decimal('0.5')", State.COMPLETED, None),
        ("__import__('numpy').float32(0.5)", State.COMPLETED, None),
        ("__import__('numpy').array([[0.5]])", State.COMPLETED, None),
        ("float('nan')", State.FAILED, "bad_value"),
        ("float('-inf')", State.FAILED, "bad_value"),
        ("None", State.FAILED, "no_metric"),
        ("'0.5'", State.FAILED, "bad_value"),
        ("1j", State.FAILED, "bad_value"),
        ("10**400", State.FAILED, "bad_value"),
        ("__import__('numpy').zeros(3)", State.FAILED, "bad_value"),
        ("[1.0]", State.FAILED, "bad_value"),
        ("{'loss': 1.0}", State.FAILED, "no_metric"),
        ("{'value': 'x'}", State.FAILED, "bad_value"),
        ("__import__('sys').exit(0)", State.FAILED, "error"),
        ("1 / 0", State.FAILED, "error"),
    ],
)
def test_what_a_function_returns(executor: str, returned: str, state: State, cause: str | None) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(f"def fn(config): return {returned}", "<fn>", "exec"), namespace)
    (trial,) = tune(namespace["fn"], n_trials=1, executor=executor).trials
    assert (trial.state, trial.cause) == (state, cause)
    assert (trial.message == "") is (state is State.COMPLETED)


@pytest.mark.parametrize(
    ("ending", "cause"),
    [("os._exit(3)", "exit_code"), ("os.kill(os.getpid(), 9)", "signal"), ("ctypes.string_at(0)", "signal")],
)
def test_what_ends_a_process_ends_only_its_trial(ending: str, cause: str) -> None:
    def fn(config: Mapping[str, Any]) -> float:
        import ctypes
        import os

        if config["n"] == 1:
            eval(ending, {"os": os, "ctypes": ctypes})
        return 0.0

    study = tune(fn, {"n": [0, 1, 2]}, n_trials=None, sampler="grid")
    assert [trial.cause for trial in study.trials] == [None, cause, None]


def test_a_trial_that_takes_too_long_or_too_much() -> None:
    def fn(config: Mapping[str, Any]) -> float:
        if config["n"] == 1:
            time.sleep(60)
        if config["n"] == 2:
            return float(len(bytearray(os.urandom(1 << 20) * 400)))
        return 0.0

    study = tune(fn, {"n": [0, 1, 2, 3]}, n_trials=None, sampler="grid", trial_timeout=3, trial_memory=300 << 20)
    assert [trial.cause for trial in study.trials] == [None, "timeout", "memory", None]


def test_a_failure_is_tried_again_where_that_is_wanted(tmp_path: Path) -> None:
    def fn(config: Mapping[str, Any]) -> float:
        with (tmp_path / "tries").open("a") as file:
            file.write("x")
        if len((tmp_path / "tries").read_text()) < 3:
            raise OSError("try again")
        return 0.0

    (trial,) = tune(fn, n_trials=1, retries={"error": 2}).trials
    assert (trial.state, trial.attempt) == (State.COMPLETED, 3)


def test_an_object_runs_once_at_a_time() -> None:
    study = whet.Study(SPACE)

    def again(study: whet.Study, trial: Any) -> None:
        study.run(lambda config: 0.0, n_trials=3, progress=False)

    with pytest.raises(StudyBusy, match="by this object already"):
        study.run(lambda config: 0.0, n_trials=3, executor="inline", progress=False, on_trial_end=again)


def test_an_executor_of_ones_own() -> None:
    from whet.executors.commands import Command, CommandExecutor

    def render(launch: Any) -> Command:
        code = f"print('value:', ({launch.config['x']}) ** 2)"
        return Command((sys.executable, "-c", code), Path.cwd(), dict(os.environ), Path("t", str(launch.number)))

    study = whet.Study(SPACE, seed=1)
    executor = CommandExecutor(render, watch=["value"])
    try:
        study.run(executor=executor, n_trials=3, progress=False)
        with pytest.raises(UsageError, match="leave out the function"):
            study.run(lambda config: 0.0, executor=executor, n_trials=5, progress=False)
    finally:
        executor.close()
    assert [trial.values["value"] for trial in study.trials] == [trial.config["x"] ** 2 for trial in study.trials]  # type: ignore[index]
    with pytest.raises(UsageError, match="nothing to run"):
        study.run(n_trials=5)


def test_a_broken_module_says_what_went_wrong() -> None:
    Path("broken_module.py").write_text("def fn(config):\n    return 0.0\n")
    sys.path.insert(0, str(Path.cwd()))
    try:
        import broken_module  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(Path.cwd()))
    Path("broken_module.py").write_text("raise RuntimeError('broken on purpose')\n")
    sys.path.insert(0, str(Path.cwd()))
    try:
        with pytest.raises(ExecutorError, match="broken on purpose"):
            tune(broken_module.fn)
    finally:
        sys.path.remove(str(Path.cwd()))
        del sys.modules["broken_module"]
