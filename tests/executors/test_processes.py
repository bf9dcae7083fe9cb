"""Functions in processes of their own: what is sent there, what a trial may do to itself, and what is left of it."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.executors.running import carrying, wait_for
from whet.core.protocols import Decision, Ended, Reported
from whet.errors import ExecutorError, UsageError
from whet.executors.calling import bind
from whet.executors.processes import ProcessExecutor
from whet.reporting import report as report_as_script
from whet.testing.executor_suite import ends_of, is_alive, launch_of, poll_until

Fn = Callable[..., Any]


@contextmanager
def running(fn: Fn, folder: Path, **options: Any) -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(bind(fn, has_fidelity=True), folder=folder, **{"grace_s": 5.0, **options})
    with closing(executor):
        yield executor


def end_of(fn: Fn, folder: Path, config: dict[str, Any] | None = None, **options: Any) -> Ended:
    with running(fn, folder, **options) as executor:
        executor.start(launch_of(config or {}))
        return ends_of(executor)[0]


# ---- what is sent
def test_lambdas_closures_partials_methods_and_objects_arrive(tmp_path: Path) -> None:
    factor = 3

    class Model:
        def __init__(self) -> None:
            self.offset = 10

        def train(self, config: dict[str, Any]) -> float:
            return config["x"] + self.offset

        def __call__(self, config: dict[str, Any]) -> float:
            return config["x"] - self.offset

    def with_data(config: dict[str, Any], data: list[int]) -> float:
        return config["x"] + sum(data)

    for fn, value in (
        (lambda config: config["x"] * factor, 6.0),
        (functools.partial(with_data, data=[1, 2]), 5.0),
        (Model().train, 12.0),
        (Model(), -8.0),
    ):
        end = end_of(fn, tmp_path, {"x": 2})
        assert (end.cause, dict(end.metrics)) == (None, {"value": value}), end.message


def test_configs_arrive_as_they_are(tmp_path: Path) -> None:
    config = {"a": (1, (2, "x")), "b": [None, True], "c": {"d": -0.0}, "é": "\u2028"}
    assert end_of(lambda c: c == config and type(c["a"]) is tuple, tmp_path, config).metrics == {"value": 1.0}


def test_functions_of_a_module_that_no_interpreter_could_import(tmp_path: Path) -> None:
    source = "def helper(x):\n    return x + 1\ndef train(config):\n    return helper(config['x'])\n"
    path = tmp_path / "elsewhere" / "made_by_hand.py"
    path.parent.mkdir()
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("made_by_hand", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["made_by_hand"] = module
    try:
        spec.loader.exec_module(module)
        assert end_of(module.train, tmp_path, {"x": 1}).metrics == {"value": 2.0}
        assert end_of(lambda config: module.helper(config["x"]), tmp_path, {"x": 5}).metrics == {"value": 6.0}
    finally:
        del sys.modules["made_by_hand"]


SCRIPT = """
    from pathlib import Path
    import sys, time
    from whet.executors.calling import bind
    from whet.executors.processes import ProcessExecutor
    from whet.testing.executor_suite import ends_of, launch_of

    print("top level", flush=True)

    class Net:
        scale = 2

    def train(config):
        return Net.scale * config["x"]

    executor = ProcessExecutor(bind(train, has_fidelity=False), folder=Path(sys.argv[1]))
    executor.start(launch_of({"x": 21}))
    print(ends_of(executor)[0].metrics["value"])
    executor.close()
"""


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the user in place of the standard library')\n")
    done = subprocess.run(
        [sys.executable, "-P", script, tmp_path / "out"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.stdout, done.stderr) == ("top level\n42.0\n", "")


class Holder:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def train(self, config: dict[str, Any]) -> float:
        return 0.0


GUARD = threading.Lock()


def test_what_cannot_be_sent_is_named(tmp_path: Path) -> None:
    lock = threading.Lock()
    inner = {"deep": [1, lock]}

    def helper() -> object:
        return lock

    holder = Holder()
    cases: list[tuple[Fn, str]] = [
        (lambda config: lock, "captures 'lock', a _thread.lock"),
        (lambda config: inner, "inner['deep'][1]"),
        (lambda config: helper(), "helper -> lock"),
        (functools.partial(lambda config, guard: 0.0, guard=lock), "guard"),
        (lambda config, guard=lock: 0.0, "guard"),
        (holder.train, "self.lock"),
        (lambda config: [sys for _ in range(3) if (lambda: lock)()], "lock"),
        (lambda config: GUARD, "GUARD"),
    ]
    for fn, named in cases:
        if fn is cases[-1][0]:
            fn.__module__ = "__main__"  # as a module that is pickled by value
        with pytest.raises(UsageError, match="cannot be sent to another process") as caught:
            ProcessExecutor(bind(fn, has_fidelity=False), folder=tmp_path)
        assert named in str(caught.value)
        assert "create it inside the function, or use executor='inline'" in str(caught.value)


# ---- what is loaded
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> Any:
    """Write and import a module; its source can tell this import from others by the variable ``THE_CALLER``."""
    name = f"made_for_a_test_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setenv("THE_CALLER", "1")
        return importlib.import_module(name)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("raise RuntimeError('no \\x1b[31mdata')", "RuntimeError: no data"),
        ("sys.exit('bye')", "ends the program when it is imported"),
        ("import ctypes; ctypes.string_at(0)", "Segmentation fault"),
        ("import not_there_at_all", "no module 'not_there_at_all'"),
        ("print('x' * 500_000); raise ValueError('after much')", "after much"),
    ],
)
def test_a_function_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, says: str
) -> None:
    source = f"import os, sys\nif 'THE_CALLER' not in os.environ:\n    {does}\ndef train(config):\n    return 1.0\n"
    module = write_module(tmp_path, monkeypatch, source)
    with pytest.raises(ExecutorError) as caught:
        ProcessExecutor(bind(module.train, has_fidelity=False), folder=tmp_path / "out")
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert not [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def test_modules_are_imported_once_and_in_each_trial_where_they_start_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "imports"
    thread = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    for more, n_imports in (("pass", 1), (thread, 5)):
        source = f"""
            import os
            if "THE_CALLER" not in os.environ:
                open({str(note)!r}, "a").write("x")
                {more}
            def train(config):
                return os.getpid()
        """
        module = write_module(tmp_path, monkeypatch, source)
        note.write_text("")
        with running(module.train, tmp_path / "out") as executor:
            pids = set()
            for number in range(4):
                executor.start(launch_of({}, number))
                (end,) = ends_of(executor)
                assert end.cause is None, end.message
                pids.add(end.metrics["value"])
        assert len(pids) == 4
        assert len(note.read_text()) == n_imports


# ---- arrays
def test_a_captured_array_is_shared_and_what_a_trial_writes_is_its_own(tmp_path: Path) -> None:
    data = np.ones(50_000_000 // 8)
    frozen = np.arange(1000.0)
    frozen.flags.writeable = False

    def train(config: dict[str, Any]) -> dict[str, float]:
        def private_bytes() -> float:
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
            return 1024.0 * sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

        before = private_bytes()
        total = float(data.sum())
        read = private_bytes() - before
        data[:] = 7.0
        return {"total": total, "read": read, "written": private_bytes() - before, "fixed": not frozen.flags.writeable}

    with running(train, tmp_path) as executor:
        for number in range(2):
            executor.start(launch_of({}, number))
            (end,) = ends_of(executor)
            assert end.cause is None, end.message
            assert end.metrics["total"] == len(data)
            assert end.metrics["fixed"] == 1.0
            assert end.metrics["read"] < 5e6
            assert end.metrics["written"] > 45e6
    assert data[0] == 1.0


# ---- one trial after the other
STATE: list[int] = []


def test_nothing_leaks_from_trial_to_trial(tmp_path: Path) -> None:
    seen: dict[str, int] = {}

    def train(config: dict[str, Any]) -> float:
        n = len(seen) + len(STATE) + ("LEAK" in os.environ)
        seen["x"] = 1
        STATE.append(1)
        os.environ["LEAK"] = "1"
        os.chdir("/")
        return n

    with running(train, tmp_path) as executor:
        for number in range(3):
            executor.start(launch_of({}, number))
            assert ends_of(executor)[0].metrics == {"value": 0.0}


def test_global_generators_follow_the_seed_of_the_trial(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> dict[str, float]:
        return {"random": random.random(), "numpy": np.random.rand()}

    drawn = []
    with running(train, tmp_path) as executor:
        for number, seed in [(0, 1), (0, 2), (0, 1), (0, 2**62), (1, 1)]:
            executor.start(launch_of({}, number, seed=seed))
            drawn.append(dict(ends_of(executor)[0].metrics))
    assert drawn[0] == drawn[2]
    for name in ("random", "numpy"):
        assert len({row[name] for row in drawn}) == 4


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_trial_finds_itself_in_the_callers_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "é")
    monkeypatch.setenv("WHET_TRIAL", "stale")
    monkeypatch.chdir(tmp_path)

    def train(config: dict[str, Any], trial: Any, budget: float) -> dict[str, float]:
        assert os.environ["MINE"] == "é"
        assert (os.environ["WHET_STUDY"], os.environ["WHET_TRIAL"], os.environ["WHET_ATTEMPT"]) == ("suite", "7", "2")
        assert (os.environ["WHET_SEED"], os.environ["WHET_BUDGET"]) == ("5", "2.5")
        assert (Path.cwd(), Path(os.environ["WHET_TRIAL_DIR"]), trial.dir) == (tmp_path, *[tmp_path / "t" / "7"] * 2)
        assert sys.stdin.read() == ""
        assert os.getsid(0) == os.getpid()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
        links = {name: Path(f"/proc/self/fd/{name}").readlink() for name in map(str, range(100)) if is_open(int(name))}
        assert len(links) == 4, links  # standard input, output and errors, and the channel
        report_as_script(3, from_file=0.5)
        return {"number": trial.number, "budget": budget, "seed": trial.seed}

    with running(train, Path("t")) as executor:
        executor.start(launch_of({}, 7, 2, seed=5, budget=2.5))
        happened = poll_until(executor, lambda happened: any(isinstance(h, Ended) for h in happened))
    end = happened[-1]
    assert isinstance(end, Ended)
    assert end.cause is None, end.message
    assert dict(end.metrics) == {"number": 7.0, "budget": 2.5, "seed": 5.0, "from_file": 0.5}
    assert [row for h in happened if isinstance(h, Reported) for row in h.rows] == [(3.0, {"from_file": 0.5})]


# ---- what a trial leaves on disk
def test_a_trial_that_says_nothing_leaves_nothing(tmp_path: Path) -> None:
    assert end_of(lambda config: 1.0, tmp_path).cause is None
    assert list(tmp_path.iterdir()) == []


def test_output_and_rows_are_kept_and_stdout_is_no_metric(tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        print("epoch 1 loss: 0.5")
        print("odd \udcff", file=sys.stderr)
        os.write(1, b"raw\n")
        trial.report({"acc": 0.5})
        return 1.0

    end = end_of(train, tmp_path)
    assert (end.cause, dict(end.metrics)) == (None, {"acc": 0.5, "value": 1.0}), end.message
    assert (tmp_path / "0" / "stdout.log").read_text() == "epoch 1 loss: 0.5\nraw\n"
    assert (tmp_path / "0" / "stderr.log").read_text() == "odd \\udcff\n"
    (line,) = (tmp_path / "0" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == {"acc": 0.5}


def test_a_flood_of_output_is_capped(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> float:
        for _ in range(1000):
            print("x" * 99_999)
        return 1.0

    assert end_of(train, tmp_path, log_cap_bytes=1_000_000).cause is None
    assert 900_000 < (tmp_path / "0" / "stdout.log").stat().st_size < 1_100_000


def test_a_flood_of_reports_is_thinned(tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> None:
        for step in range(20_000):
            trial.report(step, step)
        trial.report({f"m{i}": 1.0 for i in range(1_500)})

    with running(train, tmp_path) as executor:
        executor.start(launch_of({}))
        time.sleep(1.0)
        happened = poll_until(executor, lambda happened: any(isinstance(h, Ended) for h in happened))
    end = happened[-1]
    assert isinstance(end, Ended)
    assert end.metrics["value"] == 19_999.0
    assert len(end.metrics) == 1_000


# ---- how a trial may end
@pytest.mark.parametrize(
    ("fn", "cause", "exit_code", "says"),
    [
        (lambda config: 1 / 0, "error", None, "ZeroDivisionError"),
        (lambda config: sys.exit(0), "error", None, "called sys.exit(0)"),
        (lambda config: sys.exit("why"), "error", None, "called sys.exit('why')"),
        (lambda config: os._exit(0), "exit_code", 0, "exit code 0 instead of returning"),
        (lambda config: os._exit(3), "exit_code", 3, "exit code 3 instead of returning"),
        (lambda config: ctypes.string_at(0), "signal", -signal.SIGSEGV, "SIGSEGV"),
        (lambda config: os.kill(os.getpid(), signal.SIGKILL), "signal", -signal.SIGKILL, "SIGKILL"),
        (lambda config: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60), "stopped", None, ""),
        (lambda config: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60), "error", None, "KeyboardInterrupt"),
        (lambda config: "0.5", "bad_value", None, "'0.5' (str)"),
        (lambda config: 10**400, "bad_value", None, "int"),
        (lambda config: np.zeros(3), "bad_value", None, "ndarray"),
    ],
)
def test_ends_that_are_not_good(tmp_path: Path, fn: Fn, cause: str, exit_code: int | None, says: str) -> None:
    with running(fn, tmp_path) as executor:
        executor.start(launch_of({}))
        (end,) = ends_of(executor)
        assert (end.cause, end.exit_code) == (cause, exit_code), end.message
        assert says in end.message
        executor.start(launch_of({}, 1))  # the slot lives on
        assert ends_of(executor)[0].cause == cause


def test_the_traceback_is_the_users_alone(tmp_path: Path) -> None:
    def inner() -> None:
        raise ValueError("no \x1b[31mgood")

    def train(config: dict[str, Any]) -> None:
        try:
            inner()
        except ValueError as error:
            raise RuntimeError("outer") from error

    message = end_of(train, tmp_path).message
    assert "ValueError: no good" in message
    assert "RuntimeError: outer" in message
    assert "in inner" in message
    assert "calling.py" not in message
    assert "trials.py" not in message


def test_a_segfault_shows_where_it_was(tmp_path: Path) -> None:
    def deep(config: dict[str, Any]) -> None:
        ctypes.string_at(0)

    message = end_of(deep, tmp_path).message
    assert "SIGSEGV" in message
    assert "in deep" in message


# ---- what a trial leaves behind
def test_threads_do_not_keep_a_trial_alive(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> float:
        threading.Thread(target=time.sleep, args=(600,)).start()
        return 1.0

    assert end_of(train, tmp_path).metrics == {"value": 1.0}


def test_children_end_with_their_trial_wherever_they_went(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"

    def forked() -> None:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with pid_file.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(600)

    def train(config: dict[str, Any]) -> float:
        if not os.fork():
            if not os.fork():
                forked()
            os._exit(0)
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        while len(wait_for(pid_file).splitlines()) < 1:
            time.sleep(0.01)
        with pid_file.open("a") as file:
            file.write(f"{child.pid}\n")
        return 1.0

    assert end_of(train, tmp_path / "t").metrics == {"value": 1.0}
    pids = [int(line) for line in pid_file.read_text().split()]
    assert len(pids) == 2
    assert not any(map(is_alive, pids))


def test_what_a_trial_registers_for_its_exit_is_called_and_the_guards_is_not(tmp_path: Path) -> None:
    import atexit

    note = tmp_path / "note"

    def train(config: dict[str, Any]) -> float:
        atexit.register(note.write_text, "left")
        return 1.0

    assert end_of(train, tmp_path / "t").metrics == {"value": 1.0}
    assert note.read_text() == "left"


# ---- limits and stops
def test_a_time_limit_lets_the_function_clean_up(tmp_path: Path) -> None:
    note = tmp_path / "note"

    def train(config: dict[str, Any], trial: Any) -> None:
        trial.report(0.5)
        try:
            time.sleep(600)
        finally:
            note.write_text("cleaned")

    end = end_of(train, tmp_path / "t", timeout_s=0.3)
    assert (end.cause, dict(end.metrics)) == ("timeout", {"value": 0.5})
    assert "longer than its limit of 0.3 s" in end.message
    assert note.read_text() == "cleaned"


def test_a_function_that_will_not_end_is_killed(tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> None:
        while True:
            try:
                trial.report(0.5, raises=False)
                time.sleep(0.01)
            except BaseException:
                pass

    with running(train, tmp_path, grace_s=0.2) as executor:
        launch = launch_of({}, waits=True)
        executor.start(launch)
        poll_until(executor, lambda happened: any(isinstance(h, Reported) for h in happened))
        executor.decided(launch.token, Decision.STOP)
        (end,) = ends_of(executor)
    assert end.cause == "signal"
    assert end.metrics == {"value": 0.5}


def test_a_memory_limit(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        hog = bytearray(os.urandom(1) * 400_000_000)
        time.sleep(600)
        del hog

    end = end_of(train, tmp_path, memory_bytes=250_000_000)
    assert end.cause == "memory"
    assert "above the limit" in end.message


COORDINATOR = """
    import os, sys, time
    from pathlib import Path
    from whet.executors.calling import bind
    from whet.executors.processes import ProcessExecutor
    from whet.testing.executor_suite import launch_of
    folder = Path(sys.argv[1])

    def train(config):
        if not os.fork():
            os.setsid()
        with open(folder / "pids", "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(600)

    executor = ProcessExecutor(bind(train, has_fidelity=False), slots=2, folder=folder, grace_s=0.5)
    for number in range(2):
        executor.start(launch_of({}, number))
    while True:
        executor.poll(1.0)
"""


@pytest.mark.parametrize("victims", ["coordinator", "guard", "slots and guard"])
def test_nothing_survives_those_beside_it(tmp_path: Path, victims: str) -> None:
    coordinator = subprocess.Popen([sys.executable, "-c", textwrap.dedent(COORDINATOR), tmp_path], cwd=tmp_path)
    try:
        while len(pids := [int(line) for line in wait_for(tmp_path / "pids").split()]) < 4:
            time.sleep(0.01)
        (guard,) = psutil.Process(coordinator.pid).children()
        doomed = [*guard.children(), guard]
        if victims == "coordinator":
            coordinator.kill()
        else:
            for process in doomed if victims == "slots and guard" else [guard]:
                process.kill()
        deadline = time.monotonic() + 30
        while any(map(is_alive, [*pids, *(process.pid for process in doomed)])):
            assert time.monotonic() < deadline, "a process has survived"
            time.sleep(0.05)
    finally:
        coordinator.kill()
        coordinator.wait()


def test_a_slot_that_dies_loses_its_attempt_only(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> float:
        time.sleep(config["s"])
        return 1.0

    with running(train, tmp_path, slots=2) as executor:
        first, second = launch_of({"s": 600.0}), launch_of({"s": 1.5}, 1)
        executor.start(first)
        slots = [slot for guard in psutil.Process().children() for slot in guard.children()]
        while not (busy := [slot for slot in slots if slot.children()]):
            time.sleep(0.01)
        executor.start(second)
        busy[0].kill()
        ends = {end.token: end for end in ends_of(executor, 2)}
        assert ends[first.token].cause == "lost"
        assert ends[second.token].cause is None
        assert not carrying(first.token)
        executor.start(launch_of({"s": 0.0}, 2))
        assert ends_of(executor)[0].cause is None


def test_a_child_that_the_function_forks_says_nothing_of_the_trial(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> float:
        return 0.0 if os.fork() == 0 else 1.0

    with running(train, tmp_path) as executor:
        executor.start(launch_of({}))
        assert dict(ends_of(executor)[0].metrics) == {"value": 1.0}


def test_a_first_attempt_does_not_go_on_from_what_lies_there(tmp_path: Path) -> None:
    def train(config: dict[str, Any], trial: Any) -> float:
        found = trial.load_checkpoint() is not None
        (tmp_path / "state").write_text("1")
        trial.save_checkpoint(tmp_path / "state")
        assert trial.load_checkpoint() is not None
        return float(found)

    with running(train, tmp_path) as executor:
        for attempt, found in [(1, 0.0), (1, 0.0), (2, 1.0)]:
            executor.start(launch_of({}, attempt=attempt))
            assert dict(ends_of(executor)[0].metrics) == {"value": found}
